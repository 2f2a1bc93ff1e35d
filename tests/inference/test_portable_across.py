"""Logits smoothed along the stack: weights by hand, and a model whose one odd slice is outvoted by its neighbours."""

import json
from math import exp

import numpy as np
import pytest
from helpers.tiny_portable import write_tiny_model

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.portable import open_model
from paraspinal_nnunet.inference.portable.across import smoothed_across
from paraspinal_nnunet.inference.portable.pipeline import ACROSS_KEY
from paraspinal_nnunet.models.manifest import file_entries


def smoothed(values, sigma):
    slices = (np.full((1, 1, 1), v, np.float32) for v in values)
    return [float(a[0, 0, 0]) for a in smoothed_across(slices, sigma)]


def test_weights_are_those_of_a_bell_over_the_slices_that_there_are():
    """At a sigma of half a slice neighbours weigh exp(-2) against 1, and those further away are out of reach."""
    w = exp(-2)
    assert smoothed([0, 1, 0], 0.5) == pytest.approx([w / (1 + w), 1 / (1 + 2 * w), w / (1 + w)])
    assert smoothed([1, 0, 0, 0], 0.5) == pytest.approx([1 / (1 + w), w / (1 + 2 * w), 0, 0])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0, 3.0])
def test_every_slice_is_the_mean_weighed_by_distance(count, sigma):
    values = np.random.default_rng(count).normal(size=count)
    expected = []
    for place in range(count):
        far = np.abs(np.arange(count) - place)
        weights = np.where(far <= int(2.5 * sigma), np.exp(-0.5 * (far / sigma) ** 2), 0)
        expected.append(float((weights * values).sum() / weights.sum()))
    assert smoothed(values, sigma) == pytest.approx(expected, abs=1e-6)


def test_the_type_is_kept():
    (half,) = smoothed_across(iter([np.ones((2, 2, 2), np.float16)]), 2.0)
    assert half.dtype == np.float16


def model_with(folder, across):
    """The tiny model on (y, x) only, with the manifest's entry."""
    write_tiny_model(folder)
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["preprocessing"] |= {"spacing_mm": [1.0, 1.0], ACROSS_KEY: across}
    content["files"] = [e.__dict__ for e in file_entries(folder)]
    path.write_text(json.dumps(content))
    return folder


def test_an_odd_slice_is_outvoted_where_slices_lie_close(tmp_path):
    """Grey 300 is class 3 and grey 400 class 4. Logits are linear in class c: with four slices of 300 around one of 400
    and weights 1, exp(-0.5), exp(-2) the mean grey is 300 + 100 / (1 + 2 exp(-0.5) + 2 exp(-2)) = 340: class 3."""
    array = np.full((20, 20, 5), 300.0, np.float32)
    array[0, 0], array[0, 1] = 0, 600  # the tiny model scales grey values to 0..1
    array[..., 2][2:, 2:] = 400
    plain, across = (open_model(model_with(tmp_path / str(mm), mm)) for mm in (0, 2.0))
    affine = np.diag([1.0, 1.0, 2.0, 1.0])  # slices 2 mm apart: a sigma of one slice
    assert (plain.segment(Volume(array, affine)).labels[2:, 2:, 2] == 4).all()
    assert (across.segment(Volume(array, affine)).labels[2:, 2:, 2] == 3).all()
    apart = np.diag([1.0, 1.0, 8.0, 1.0])  # a quarter of a slice: no neighbour is in reach
    assert (across.segment(Volume(array, apart)).labels[2:, 2:, 2] == 4).all()


@pytest.mark.parametrize("wrong", [-1, 21, "5", True])
def test_a_manifest_that_says_nonsense_is_refused(tmp_path, wrong):
    with pytest.raises(InputError, match=f"'{ACROSS_KEY}' holds"):
        open_model(model_with(tmp_path / "model", wrong))
