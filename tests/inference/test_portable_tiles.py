"""Sliding windows, held bit by bit to nnU-Net's predictor with the same torch network."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from helpers.portable_models import PLAIN_3D, make_model, make_plans, nnunet_predictor

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.inference.portable.pipeline import read_pipeline
from paraspinal_nnunet.inference.portable.slices import TileLayout, all_slices, fast_slices
from paraspinal_nnunet.inference.portable.tiles import (
    UNSEEN,
    Tiling,
    averaged,
    gaussian_weights,
    lay_windows,
    mirror_sets,
    padding,
    tile_starts,
)

THREE_D = {"patch_size": [8, 16, 16], "architecture": PLAIN_3D}


class Counted:
    """The torch networks of a predictor as a stream; counts what it is asked."""

    def __init__(self, predictor):
        self.predictor, self.asked = predictor, 0

    def __call__(self, requests):
        for fold, patch in requests:
            self.asked += 1
            self.predictor.network.load_state_dict(self.predictor.list_of_parameters[fold])
            with torch.inference_mode():
                yield self.predictor.network.eval()(torch.from_numpy(patch)).numpy()


def noise(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "plans", "folds", "mirroring", "step"),
    [
        ((1, 3, 37, 51), {}, 1, None, 0.5),
        ((1, 2, 37, 51), {}, 2, None, 0.75),
        ((1, 2, 13, 51), {}, 1, (0, 1), 0.5),
        ((1, 2, 15, 9), {}, 1, None, 1.0),
        ((1, 11, 21, 30), THREE_D, 2, (2,), 0.5),
        ((1, 5, 16, 30), THREE_D, 1, None, 0.5),
    ],
)
def test_logits_are_nnunets_to_the_last_bit(shape, plans, folds, mirroring, step, tmp_path, one_thread):
    name = "3d_fullres" if plans else "2d"
    model = make_model(tmp_path, make_plans(name, **plans), tuple(map(str, range(folds))), mirroring)
    predictor = nnunet_predictor(model, step)
    data = noise(*shape)
    expected = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).numpy()
    patch = tuple(model.plans["configurations"][name]["patch_size"])
    tiling = Tiling(patch, folds, mirror_sets(mirroring))
    found = [averaged(f) for f in all_slices(data, tiling, Counted(predictor), (step,) * len(patch))]
    found = np.stack(found, axis=1)
    assert found.dtype == expected.dtype == np.float16
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("step", "closest"), [(0.5, 1e-5), (1.0, 0)])
def test_sums_in_single_precision_differ_by_the_rounding_of_half_only(step, closest):
    data = noise(1, 2, 32, 72)
    halves, singles = (
        np.stack([f[0] for f in all_slices(data, Tiling((16, 24), 1, half=half), blobs, (step, step))], axis=1)
        for half in (True, False)
    )
    assert (halves.dtype, singles.dtype) == (np.float16, np.float32)
    np.testing.assert_allclose(singles[1], data[0] - 0.5, atol=closest)  # this network answers voxel by voxel
    np.testing.assert_allclose(halves.astype(np.float32), singles, atol=0.05)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_logits_beyond_half_precision_are_refused_in_either_mode(half, sign):
    data = sign * np.full((1, 1, 16, 24), 70_000, np.float32)  # float16 ends at 65,504
    data[0, 0, 0, 0] = 0
    with pytest.raises(InputError, match="beyond half precision"):
        list(all_slices(data, Tiling((16, 24), 1, half=half), blobs, (1.0, 1.0)))


def test_weights_and_positions_are_nnunets():
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window

    for size in ((16, 24), (8, 16, 20), (96, 96)):
        theirs = compute_gaussian(size, sigma_scale=1 / 8, value_scaling_factor=10, device=torch.device("cpu"))
        np.testing.assert_array_equal(gaussian_weights(size), theirs.numpy())
    for size in (96, 97, 128, 250, 511):
        for step in (0.25, 0.5, 0.75, 1.0):
            assert [tile_starts(size, 96, step)] == compute_steps_for_sliding_window((size,), (96,), step)


def test_the_odd_voxel_of_padding_goes_behind():
    assert padding((5, 30), (8, 16)) == [(1, 2), (0, 0)]


def test_tiles_of_one_value_are_computed_once(tmp_path):
    model = make_model(tmp_path, make_plans())
    predictor = nnunet_predictor(model)
    data = noise(1, 2, 32, 48)
    data[:, 1, :, :24] = -0.5
    expected = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).numpy()
    stream = Counted(predictor)
    found = np.stack([f[0] for f in all_slices(data, Tiling((16, 24), 1), stream, (0.5, 0.5))], axis=1)
    np.testing.assert_array_equal(found, expected)
    assert stream.asked == 9 + (9 - 3) + 1


def blobs(requests):
    """A 'network' that sees: logits of class 1 where the image is bright."""
    for _, patch in requests:
        yield np.concatenate([np.zeros_like(patch), patch - 0.5], axis=1)


def logits_of(muscle):
    return np.stack([~muscle, muscle]).astype(np.float32)


def scan_with_a_muscle():
    data = np.zeros((1, 40, 96, 96), np.float32)
    for z in range(8, 30):
        data[0, z, 40 : 50 + z // 4, 30:42] = 1
    return data


def test_the_fast_way_sees_all_of_the_muscles_with_fewer_windows():
    pipeline = read_pipeline(_entry(), "made")
    data = scan_with_a_muscle()
    data[0, 12, 1:5, 92:96] = 1  # far from what the scouted slices hold
    asked = []

    def counted(requests):
        def told():
            for request in requests:
                asked.append(request)
                yield request

        return blobs(told())

    tiling = Tiling((32, 32), 1, half=False)
    labels = np.stack([f[0].argmax(0) for f in fast_slices(data, tiling, counted, pipeline, (0.5, 0.5))])
    near = data[0].copy()
    near[12, 1:5, 92:96] = 0
    np.testing.assert_array_equal(labels, near > 0.5)  # what no window covers is background
    assert len(asked) < 40 * len(lay_windows((96, 96), (32, 32), (0.5, 0.5))) / 2


def test_windows_are_nnunets_and_none_that_matters_is_left_out():
    rng = np.random.default_rng(0)
    weights = gaussian_weights((32, 32)).astype(np.float64)
    for _ in range(20):
        region = np.zeros((96, 112), bool)
        for y, x in rng.integers(0, 90, (3, 2)):
            region[y : y + 20, x : x + 25] = True
        layout = TileLayout(region.shape, (32, 32), (0.5, 0.5))
        assert layout.windows == lay_windows(region.shape, (32, 32), (0.5, 0.5))
        total, plan = np.zeros(region.shape), layout.needed(region)
        kept = np.zeros(region.shape)
        for number, window in enumerate(layout.windows):
            total[window] += weights
            kept[window] += weights * (number in plan)
        assert (kept[region] >= 0.05 * total[region] * (1 - 1e-5)).all()
        for number, window in enumerate(layout.windows):
            own = (weights / total[window])[region[window]].sum() / region.sum()
            assert number in plan or own <= 0.03
        doubtful = kept < 0.74 * total
        assert not layout.lacks(plan, logits_of(region & (kept > 0.76 * total)))
        assert layout.lacks(plan, logits_of(doubtful)) == bool(doubtful.any())
        assert len(plan) < len(layout.windows)
    assert layout.needed(np.zeros_like(region)) == ()


def test_a_slice_with_muscle_where_windows_lack_is_done_again_whole():
    pipeline = read_pipeline(_entry(), "made")
    data = scan_with_a_muscle()
    data[0, 13, 40:50, 30:90] = 1  # not scouted, far wider than its neighbours
    labels = np.stack([f[0].argmax(0) for f in fast_slices(data, Tiling((32, 32), 1), blobs, pipeline, (0.5, 0.5))])
    np.testing.assert_array_equal(labels, data[0] > 0.5)


def test_an_empty_scan_is_seen_whole_and_empty():
    pipeline = read_pipeline(_entry(), "made")
    data = np.full((1, 12, 40, 40), -1, np.float32)
    found = list(fast_slices(data, Tiling((32, 32), 1), blobs, pipeline, (0.5, 0.5)))
    assert len(found) == 12
    assert not any(f[0].argmax(0).any() for f in found)


def test_unseen_voxels_are_background():
    pipeline = read_pipeline(_entry(), "made")
    last = list(fast_slices(scan_with_a_muscle(), Tiling((32, 32), 1), blobs, pipeline, (0.5, 0.5)))[14][0]
    assert (last[0] == UNSEEN).any()
    assert (last[1][last[0] == UNSEEN] == 0).all()


def _entry():
    from paraspinal_nnunet.export.run import preprocessing_entry

    return preprocessing_entry(make_model("made", make_plans(patch_size=[32, 32], spacing=[4.0, 3.0, 3.0])))
