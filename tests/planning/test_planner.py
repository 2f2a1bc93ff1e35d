import json

import pytest

pytest.importorskip("nnunetv2")

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.planning.planner import ParaspinalPlanner, patch_size
from paraspinal_nnunet.protocol.overrides import override, parse_settings
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.protocol.plans import ENTRY

CONFIGURATIONS = ("2d", "3d_fullres")


def planned(tiny_copy, shape, spacing, settings=(), configurations=CONFIGURATIONS, cases=5):
    """Plans for a cohort of images of one shape, told by the fingerprint alone."""
    path = tiny_copy.preprocessed / "dataset_fingerprint.json"
    fingerprint = json.loads(path.read_text())
    fingerprint |= {"shapes_after_crop": [shape] * cases, "spacings": [spacing] * cases}
    path.write_text(json.dumps(fingerprint))
    ParaspinalPlanner(
        tiny_copy.name, plans_name="P", overrides=parse_settings(list(settings)), configurations=configurations
    ).plan_experiment()
    return json.loads((tiny_copy.preprocessed / "P.json").read_text())


@pytest.mark.slow
def test_a_cohort_like_the_papers_gets_the_papers_numbers(tiny_copy):
    plans = planned(tiny_copy, (80, 512, 512), (4.0, 0.39, 0.39))  # 64 slices of 5 mm
    two, three = (plans["configurations"][name] for name in CONFIGURATIONS)
    assert (two["patch_size"], two["batch_size"]) == ([256, 256], 200)
    assert (three["patch_size"], three["batch_size"]) == ([32, 256, 256], 10)
    for numbers in (two, three):
        assert numbers["spacing"] == [5.0, 0.39, 0.39]
        assert numbers["median_image_size_in_voxels"] == [64, 512, 512]
        assert numbers["normalization_schemes"] == ["ZScoreNormalization"]
        assert numbers["use_mask_for_norm"] == [True]
        data, labels = numbers["resampling_fn_data_kwargs"], numbers["resampling_fn_seg_kwargs"]
        assert (data["is_seg"], data["order"], data["order_z"]) == (False, 1, 1)
        assert (labels["is_seg"], labels["order"], labels["order_z"]) == (True, 1, 0)
        arguments = numbers["architecture"]["arch_kwargs"]
        assert arguments["channels"] == [16, 32, 64, 128, 256]
        assert arguments["strides"] == [1, 2, 2, 2]
    assert two["architecture"]["arch_kwargs"]["spatial_dims"] == 2
    assert three["architecture"]["arch_kwargs"]["spatial_dims"] == 3
    assert plans["image_reader_writer"] == "NibabelIOWithReorient"
    assert (plans["transpose_forward"], plans["transpose_backward"]) == ([0, 1, 2], [0, 1, 2])
    assert plans[ENTRY]["overrides"] == {}
    assert plans[ENTRY]["adapted"] == {}


def test_one_identifier_named_after_the_preprocessing(tiny_copy):
    plans = planned(tiny_copy, (80, 512, 512), (4.0, 0.39, 0.39), ["iterations=5", "batch_size=3", "patch_size=64,64"])
    names = {numbers["data_identifier"] for numbers in plans["configurations"].values()}
    assert names == {"paraspinal_RAS_5x0.39x0.39mm_zscore-nonzero_order11"}


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("spacing=4,1,0.5", "paraspinal_RAS_4x1x0.5mm_zscore-nonzero_order11"),
        ("interpolation_order_z=0", "paraspinal_RAS_5x0.39x0.39mm_zscore-nonzero_order10"),
        ("interpolation_order=3", "paraspinal_RAS_5x0.39x0.39mm_zscore-nonzero_order31"),
    ],
)
def test_other_preprocessing_has_another_identifier(tiny_copy, setting, name):
    plans = planned(tiny_copy, (80, 512, 512), (4.0, 0.39, 0.39), [setting])
    assert plans["configurations"]["2d"]["data_identifier"] == name


@pytest.mark.parametrize(
    ("slices", "edge"), [(10, 16), (20, 16), (32, 16), (50, 16), (63, 16), (63.5, 16), (64, 32), (100, 32), (200, 32)]
)
def test_the_patchs_slices(slices, edge):
    patch, reason = patch_size(PAPER, "3d_fullres", (slices, 512, 512), {})
    assert patch == (edge, 256, 256)
    assert bool(reason) == (edge != 32)


@pytest.mark.parametrize(
    ("voxels", "edge"),
    [(10, 16), (16, 16), (31, 16), (128, 128), (130, 128), (200, 192), (255, 240), (256, 256), (512, 256)],
)
def test_the_patchs_edges_in_plane(voxels, edge):
    assert patch_size(PAPER, "2d", (64, voxels, 512), {})[0] == (edge, 256)
    assert patch_size(PAPER, "3d_fullres", (64, 512, voxels), {})[0] == (32, 256, edge)


def test_an_adapted_patch_says_why(tiny_copy):
    plans = planned(tiny_copy, (50, 200, 512), (5.0, 0.39, 0.39))
    reason = "the median image has 50 x 200 x 512 voxels (z, y, x)"
    assert plans[ENTRY]["adapted"] == {"2d.patch_size": reason, "3d_fullres.patch_size": reason}
    assert plans["configurations"]["3d_fullres"]["patch_size"] == [16, 192, 256]


def test_slices_are_counted_after_resampling(tiny_copy):
    plans = planned(tiny_copy, (32, 256, 256), (10.0, 0.78, 0.78))  # 64 slices, 512 voxels
    assert plans["configurations"]["3d_fullres"]["patch_size"] == [32, 256, 256]
    assert plans[ENTRY]["adapted"] == {}


@pytest.mark.parametrize(
    ("settings", "median", "patch", "adapted"),
    [
        (["3d_fullres.patch_size=8,64,64"], (20, 100, 100), (8, 64, 64), False),
        (["patch_size=64,48"], (64, 512, 512), (32, 64, 48), False),
        (["patch_size=64,48"], (20, 512, 512), (16, 64, 48), True),
    ],
)
def test_what_the_user_set_stays(settings, median, patch, adapted):
    overrides = parse_settings(settings)
    found, reason = patch_size(override(PAPER, overrides), "3d_fullres", median, overrides)
    assert found == patch
    assert bool(reason) == adapted


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("patch_size=100,96", "patch size 100 x 96 does not fit strides"),
        ("3d_fullres.patch_size=25,96,96", "patch size 25 x 96 x 96"),
        ("channels=8,16", r"2 levels \(8, 16\) needs 1 strides, got 4"),
    ],
)
def test_networks_and_patches_that_cannot_be_are_refused(tiny_copy, setting, message):
    before = sorted(p.name for p in tiny_copy.preprocessed.iterdir())
    with pytest.raises(ProtocolError, match=message):
        planned(tiny_copy, (80, 512, 512), (4.0, 0.39, 0.39), [setting])
    assert sorted(p.name for p in tiny_copy.preprocessed.iterdir()) == before


def test_only_the_configurations_asked_for_are_written(tiny_copy):
    plans = planned(tiny_copy, (80, 512, 512), (4.0, 0.39, 0.39), configurations=("2d",))
    assert list(plans["configurations"]) == ["2d"]


def test_nnunets_argument_for_the_spacing_is_refused(tiny_copy):
    with pytest.raises(ProtocolError, match="use the override 'spacing'"):
        ParaspinalPlanner(tiny_copy.name, overwrite_target_spacing=(1, 1, 1))


def test_the_preprocessed_labels_and_images_have_one_grid(tiny):
    import blosc2

    plans = json.loads(tiny.plans_file.read_text())
    folder = tiny.preprocessed / plans["configurations"]["2d"]["data_identifier"]
    for path in folder.glob("*_seg.b2nd"):
        labels, image = (blosc2.open(str(p))[:] for p in (path, path.with_name(path.name.replace("_seg", ""))))
        assert labels.shape == image.shape
        inside = image[0][labels[0] >= 0]
        assert inside.mean() == pytest.approx(0, abs=1e-4)  # z-score over the image without its empty surroundings
        assert inside.std() == pytest.approx(1, abs=1e-3)
        assert set(range(1, 7)) & set(labels.ravel().tolist())
