"""The model that comes with the program: found without a name, whole, honest about itself, and as good as its card."""

import os
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff

from paraspinal_nnunet import segment
from paraspinal_nnunet.cli import main
from paraspinal_nnunet.default_model.generator import generator_hash
from paraspinal_nnunet.default_model.recipe import MEMBERS, VERSION
from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.image_io.images import read_image
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.portable import open_model
from paraspinal_nnunet.inference.portable.stability import disagreement
from paraspinal_nnunet.inference.scan_checks import check_is_mr
from paraspinal_nnunet.measures.evidence import SCAN_TEXTS
from paraspinal_nnunet.models.manifest import CAUTION
from paraspinal_nnunet.models.shipped import resolve_model, shipped_models
from paraspinal_nnunet.phantom.randomised.cohort import draw_stack
from paraspinal_nnunet.utils.fingerprint import file_sha256

LPM = {1: 3, 2: 1, 3: 2, 4: 4}
"""Codes of the TUM labels: erector spinae right, multifidus right, multifidus left, erector spinae left."""


@pytest.fixture
def real_data():
    if not os.environ.get("PARASPINAL_REAL_DATA"):
        pytest.skip("PARASPINAL_REAL_DATA is not set")
    return Path(os.environ["PARASPINAL_REAL_DATA"])


@pytest.fixture(scope="module")
def model():
    return open_model(resolve_model(None))


def test_the_archive_is_what_the_recipe_says():
    (shipped,) = shipped_models()
    assert shipped.version == VERSION
    assert shipped.path.stat().st_size < 8e6
    assert shipped.sha256 == file_sha256(shipped.path)
    training = shipped.manifest["training"]
    assert training["computed_only"] is True
    told = [training["recipe"], *(other["recipe"] for other in training["others"])]
    assert [(r["seed"], r["ovals"], r["iterations"]) for r in told] == [
        (recipe.seed, recipe.ovals, recipe.iterations) for recipe in MEMBERS
    ]
    assert len(shipped.manifest["folds"]) == len(MEMBERS)
    assert set(training["scan_ranges"]) == set(SCAN_TEXTS)
    assert [e["key"] for e in shipped.manifest["labels"]][:2] == ["multifidus_right", "multifidus_left"]
    assert "/" not in shipped.manifest["licence"]


def test_the_generator_still_draws_what_the_model_was_trained_on():
    (shipped,) = shipped_models()
    training = shipped.manifest["training"]
    told = [training["generator"], *(other["generator"] for other in training["others"])]
    assert told == [generator_hash(recipe.seed, recipe.ovals) for recipe in MEMBERS]


def test_a_path_goes_before_a_name(tmp_path, monkeypatch):
    assert resolve_model(None) == resolve_model("default") == shipped_models()[-1].path
    assert resolve_model(tmp_path / "mine.zip") == tmp_path / "mine.zip"
    monkeypatch.chdir(tmp_path)
    Path("default").mkdir()
    assert resolve_model("default") == Path("default")


def test_models_lists_it(capsys):
    assert main(["models"]) == 0
    (shipped,) = shipped_models()
    printed = capsys.readouterr().out
    assert shipped.sha256 in printed
    assert CAUTION in printed
    assert f"version {VERSION}" in printed


def test_the_card_tells_the_hashes_of_what_is_shipped():
    (shipped,) = shipped_models()
    card = (Path(__file__).parents[2] / "docs" / "model_card.md").read_text(encoding="utf-8")
    assert shipped.sha256 in card
    assert shipped.manifest["training"]["generator"] in card
    assert all(other["generator"] in card for other in shipped.manifest["training"]["others"])


def test_an_empty_scan_and_ct_are_refused():
    with pytest.raises(InputError, match="every voxel of the scan is 0"):
        check_is_mr(Volume(np.zeros((8, 8, 4), np.int16), np.eye(4)))
    ct = np.full((8, 8, 4), -1000, np.int16)
    ct[2:6, 2:6] = 40
    with pytest.raises(InputError, match="Hounsfield"):
        check_is_mr(Volume(ct, np.eye(4)))
    check_is_mr(Volume(np.arange(256).reshape(8, 8, 4) - 20, np.eye(4)))  # a little below zero is no CT


OTHER_PLANES = {"sagittal": (4.4, 0.7, 0.7), "coronal": (0.7, 4.4, 0.7)}
"""Voxels in RAS, mm, of lumbar stacks as they are usually scanned."""


def other_plane(name):
    shape = tuple(8 if mm > 1 else 48 for mm in OTHER_PLANES[name])
    array = np.random.default_rng(0).integers(20, 900, shape).astype(np.int16)
    return array, np.diag([*OTHER_PLANES[name], 1.0])


@pytest.mark.parametrize("plane", OTHER_PLANES)
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_stack_of_another_plane_is_refused_however_it_is_stored(plane, order):
    array, affine = other_plane(plane)
    turn = np.array([(axis, 1) for axis in order], float)
    turned = apply_orientation(array, turn), affine @ inv_ornt_aff(turn, array.shape)
    with pytest.raises(GeometryError, match=f"slices are {plane}.*needs axial slices"):
        segment(turned)


@pytest.mark.slow
def test_predict_names_a_sagittal_stack_writes_nothing_of_it_and_goes_on(tmp_path, caplog):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    array, affine = other_plane("sagittal")
    nib.save(nib.Nifti1Image(array, affine), scans / "a_sagittal.nii.gz")
    stack = draw_stack(99, 0)
    nib.save(nib.Nifti1Image(stack.image[..., 8:10], stack.affine), scans / "b_axial.nii.gz")
    assert main(["predict", "-i", str(scans), "-o", str(out), "--no-pages"]) == 1
    assert "slices are sagittal" in caplog.text
    assert [path.name for path in out.glob("*.nii.gz")] == ["b_axial.nii.gz"]


def test_disagreement_is_one_minus_dice_over_the_changed_scans():
    """Of 40 voxels of 1 and 20 of 0.45, gamma 0.75 brings the 20 over 0.5, as 0.45 ** 0.75 = 0.55; 1.33 brings none."""
    array = np.zeros((20, 20, 1), np.float32)
    array[5:9, 5:15], array[12:14, 5:15] = 1.0, 0.45

    def find(volume):
        return (volume.array > 0.5).astype(np.uint8)

    scan = Volume(array, np.eye(4))
    # Dice 2 * 40 / (40 + 60) = 0.8 with the first copy and 1 with the second
    assert disagreement(find(scan), scan, find) == pytest.approx({1: (0.2 + 0.0) / 2})
    empty = Volume(np.zeros((20, 20, 1), np.float32), np.eye(4))
    assert disagreement(find(empty), empty, find) == {}


@pytest.mark.slow
def test_drawn_trunks_of_another_seed_are_segmented(model):
    overlaps = []
    for case in range(4):
        stack = draw_stack(99, case)
        middle = slice(stack.image.shape[2] // 2 - 2, stack.image.shape[2] // 2 + 2)
        found = model.segment(Volume(stack.image[..., middle], stack.affine)).labels
        true = stack.labels[..., middle]
        overlaps += [dice(found, true, k) for k in range(1, 7) if (true == k).sum() > 200]
    assert np.median(overlaps) > 0.75


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "knee", "spheres", "noise"])
def test_nothing_is_found_where_there_is_no_trunk(model, kind):
    found = model.segment(NOT_TRUNKS[kind]()).labels
    assert (found > 0).mean() < 1e-3


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("image", "labels", "codes", "least"),
    [
        (
            "TUM01_water_img_img_L2-L5.nii.gz",
            "TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label.nii.gz",
            LPM,
            {"MF": 0.763, "ES": 0.884},
        ),
        (
            "TUM01_fat_img_img_L2-L5.nii.gz",
            "TUM01_fat_manual_label_segmentation_L2-L5.nii.gz",
            LPM,
            {"MF": 0.816, "ES": 0.898},
        ),
        (
            "abdomen01_image.nii.gz",
            "abdomen01_dseg.nii.gz",
            {k: k for k in range(1, 7)},
            {"MF": 0.869, "ES": 0.876, "PM": 0.886},
        ),
    ],
)
def test_real_scans_are_segmented_as_the_card_says(model, real_data, image, labels, codes, least):
    """Least values: those of the card less 0.01, mean of the two sides."""
    found = segment(real_data / image, model).labels
    stored = np.asarray(nib.load(real_data / labels).dataobj).astype(int)
    true = np.zeros_like(stored)
    for code, label in codes.items():
        true[stored == code] = label
    for name, (right, left) in {"MF": (1, 2), "ES": (3, 4), "PM": (5, 6)}.items():
        if name in least:
            assert np.mean([dice(found, true, right), dice(found, true, left)]) >= least[name]
            # no side is exchanged: hardly a voxel of one side carries the other's label
            assert ((found == left) & (true == right)).sum() < 0.005 * (true == right).sum()
            assert ((found == right) & (true == left)).sum() < 0.005 * (true == left).sum()


@pytest.mark.slow
@pytest.mark.real_data
def test_all_48_orientations_give_the_same_mask(model, real_data):
    whole = read_image(real_data / "abdomen01_image.nii.gz")
    affine = whole.affine.copy()
    affine[:3, 3] += affine[:3, 2] * 9
    scan = Volume(np.ascontiguousarray(whole.array[..., 9:12]), affine)
    expected = model.segment(scan).labels
    assert len(np.unique(expected)) == 7
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        turn = np.array(list(zip(order, signs, strict=True)), float)
        turned = Volume(
            np.ascontiguousarray(apply_orientation(scan.array, turn)), affine @ inv_ornt_aff(turn, scan.shape)
        )
        np.testing.assert_array_equal(model.segment(turned).labels, apply_orientation(expected, turn))


@pytest.mark.slow
@pytest.mark.real_data
def test_every_output_says_by_which_weights_and_that_masks_must_be_looked_at(tmp_path, real_data):
    whole = nib.load(real_data / "abdomen01_image.nii.gz")
    scan = tmp_path / "scan.nii.gz"
    nib.save(whole.slicer[:, :, 9:13], scan)
    assert main(["predict", "-i", str(scan), "-o", str(tmp_path / "out")]) == 0
    (shipped,) = shipped_models()
    weights = shipped.manifest["files"][0]["sha256"]
    record = (tmp_path / "out" / "records" / "scan.json").read_text()
    page = (tmp_path / "out" / "pages" / "scan.html").read_text()
    table = (tmp_path / "out" / "measures" / "scan" / "measures.json").read_text()
    assert weights in record
    assert weights in page
    for text in (record, page, table):
        assert CAUTION in text
    result = segment(scan)
    assert result.settings["caution"] == CAUTION


def dice(found, true, label):
    a, b = found == label, true == label
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)


def grid(shape=(200, 200, 3), spacing=(1.2, 1.2, 5.0)):
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    x, y, _ = np.meshgrid(*axes, indexing="ij")
    return x, y, np.diag([*spacing, 1.0])


def noisy(image, affine, sd=12.0):
    rng = np.random.default_rng(0)
    return Volume(np.hypot(image + rng.normal(0, sd, image.shape), rng.normal(0, sd, image.shape)).astype("f4"), affine)


def head():
    x, y, affine = grid()
    radius = np.hypot(x / 75, y / 95)
    image = np.select(
        [radius < 0.25, radius < 0.8, radius < 0.87, radius < 0.93, radius < 1], [300, 520, 900, 60, 700], 0
    )
    image = np.where((np.abs(np.abs(x) - 32) < 12) & (np.abs(y - 84) < 10), 950, image)
    return noisy(image.astype(float), affine)


def knee():
    x, y, affine = grid()
    image = np.select([np.hypot(x, y) < 62, np.hypot(x, y) < 70], [250, 800], 0).astype(float)
    image[np.hypot(x, y - 22) < 34] = 550
    image[np.hypot(x, y - 58) < 8] = 500
    image[np.hypot(x, y + 38) < 6] = 900
    return noisy(image, affine)


def spheres():
    x, y, affine = grid()
    image = np.where(np.hypot(x, y) < 95, 600.0, 0.0)
    for angle in np.arange(0, 2 * np.pi, np.pi / 4):
        image[np.hypot(x - 60 * np.cos(angle), y - 60 * np.sin(angle)) < 12] = 100
    return noisy(image, affine)


def noise():
    _, _, affine = grid()
    return noisy(np.zeros((200, 200, 3)), affine, 100.0)


NOT_TRUNKS = {"head": head, "knee": knee, "spheres": spheres, "noise": noise}
