"""Scans of several channels: paired, held to one grid, resampled where asked; Dixon pairs as channels or as cases."""

import json

import numpy as np
import pytest

from paraspinal_nnunet.dataset_conversion.images.channels import match_channels
from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.image_io.volume import Volume

TWO = ["--image-pattern", "{case}_fat.nii.gz", "--image-pattern", "{case}_water.nii.gz"]
NAMES = ["--channel", "fat", "--channel", "water"]
REST = ["--label-pattern", "{case}_GT.nii.gz", "--labels", "author", "-n", "Paraspinal"]


@pytest.fixture
def dixon(scans):
    for case in "ab":
        scans.save(f"{case}_fat.nii.gz", scans.image(ord(case)))
        scans.save(f"{case}_water.nii.gz", scans.image(ord(case) + 100))
        scans.save(f"{case}_GT.nii.gz", scans.labels())
    return scans


def test_each_channel_is_a_file_of_the_case(dixon):
    assert dixon.convert(*TWO, *NAMES, *REST, verb="pairs") == 0
    files = sorted(p.name for p in (dixon.dataset / "imagesTr").iterdir())
    assert files == ["a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz"]
    np.testing.assert_array_equal(dixon.load("imagesTr/b_0000.nii.gz")[0], dixon.image(ord("b")))
    np.testing.assert_array_equal(dixon.load("imagesTr/b_0001.nii.gz")[0], dixon.image(ord("b") + 100))
    description = json.loads((dixon.dataset / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "fat", "1": "water"}
    assert description["numTraining"] == 2


def test_channels_may_differ_in_one_and_cases_then_not_count_as_repeated(dixon):
    dixon.save("b_fat.nii.gz", dixon.image(ord("a")))
    assert dixon.convert(*TWO, *NAMES, *REST, verb="pairs") == 0


@pytest.mark.parametrize("names", [[], ["--channel", "fat"]])
def test_every_channel_needs_a_name(dixon, names, capsys):
    assert dixon.convert(*TWO, *names, *REST, verb="pairs") == 1
    assert "2 times --image-pattern, 1 channel names; give one --channel for each" in capsys.readouterr().err


def test_a_missing_channel_and_a_channel_without_case_are_refused(dixon, capsys):
    (dixon.folder / "a_water.nii.gz").rename(dixon.folder / "c_water.nii.gz")
    assert dixon.convert(*TWO, *NAMES, *REST, verb="pairs") == 1
    error = capsys.readouterr().err
    assert "a_fat.nii.gz: has no channel 2 ('{case}_water.nii.gz')" in error
    assert "c_water.nii.gz: is channel 2 ('{case}_water.nii.gz') of no case" in error


def test_channels_on_another_grid_are_refused_or_resampled(dixon, capsys):
    """A channel whose grid is moved by a quarter voxel along i, on which the values are 100 i."""
    ramp = np.broadcast_to(100 * np.arange(20, dtype=np.int16)[:, None, None], (20, 16, 6))
    moved = dixon.ras.copy()
    moved[0, 3] += 1
    dixon.save("a_water.nii.gz", np.ascontiguousarray(ramp), moved)
    assert dixon.convert(*TWO, *NAMES, *REST, verb="pairs") == 1
    error = capsys.readouterr().err
    assert "a_water.nii.gz: lies on another grid than" in error
    assert "--resample-channels" in error
    assert dixon.convert(*TWO, *NAMES, *REST, "--resample-channels", verb="pairs") == 0
    array, affine = dixon.load("imagesTr/a_0001.nii.gz")
    np.testing.assert_array_equal(affine, dixon.ras)
    # the first grid's voxel i lies a quarter of a voxel before the moved one's
    np.testing.assert_allclose(array[1:], ramp[1:] - 25, atol=1e-3)
    np.testing.assert_array_equal(array[0], 0)
    first, second = dixon.report()["cases"]
    assert first["channels_resampled"]["water"].startswith("origin")
    assert "channels_resampled" not in second


def test_a_channel_that_shows_another_region_is_not_resampled(scans):
    first = Volume(scans.image(), scans.ras)
    for millimetres, fits in ((4.0, True), (4.1, False)):
        moved = scans.ras.copy()
        moved[0, 3] += millimetres
        pair = [first, Volume(scans.image(1), moved)]
        if fits:
            match_channels(pair, ["a", "b"], resample=True)
        else:
            with pytest.raises(GeometryError, match=r"b: ends 1\.0 voxels before a does"):
                match_channels(pair, ["a", "b"], resample=True)


def test_every_channel_is_cropped_and_mirrored_alike(dixon):
    exchanged = np.array([0, 2, 1, 4, 3, 6, 5], np.uint8)[dixon.labels()]
    dixon.save("a_GT.nii.gz", exchanged)
    assert dixon.convert(*TWO, *NAMES, *REST, "--trust-labels", "--crop-to-labels", verb="pairs") == 0
    expected = dixon.load("labelsTr/a.nii.gz")[1]
    for channel, seed in enumerate((ord("a"), ord("a") + 100)):
        array, affine = dixon.load(f"imagesTr/a_000{channel}.nii.gz")
        np.testing.assert_array_equal(array, dixon.image(seed)[:, :, 1:5])
        np.testing.assert_array_equal(affine, expected)


# The LPM release


@pytest.fixture
def lpm(scans):
    """One subject; the water image has lost its origin, as in the release."""
    codes = np.array([0, 2, 3, 1, 4, 0, 0], np.int16)[scans.labels()]
    lost = scans.ras.copy()
    lost[:3, 3] = 0
    scans.save("TUM01_fat_img_img_L2-L5.nii.gz", scans.image(1))
    scans.save("TUM01_fat_manual_label_segmentation_L2-L5.nii.gz", codes)
    scans.save("TUM01_water_img_img_L2-L5.nii.gz", scans.image(2), lost)
    scans.save("TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label.nii.gz", codes, lost)
    return scans


def test_fat_and_water_become_the_channels_of_one_case_on_the_fat_images_grid(lpm, capsys):
    assert lpm.convert("--dixon", "channels", "-n", "Paraspinal", verb="lpm") == 0
    files = sorted(p.name for p in (lpm.dataset / "imagesTr").iterdir())
    assert files == ["TUM01_0000.nii.gz", "TUM01_0001.nii.gz"]
    for channel in (0, 1):
        array, affine = lpm.load(f"imagesTr/TUM01_000{channel}.nii.gz")
        np.testing.assert_array_equal(array, lpm.image(channel + 1))
        np.testing.assert_array_equal(affine, lpm.ras)
    labels = lpm.labels()
    labels[labels > 4] = 0
    np.testing.assert_array_equal(lpm.load("labelsTr/TUM01.nii.gz")[0], labels)
    description = json.loads((lpm.dataset / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "Dixon fat", "1": "Dixon water"}
    assert description["provenance"]["settings"] == {"dixon": "channels"}
    assert "the fat images' labels are used, not those of the water images (1)" in capsys.readouterr().out


def test_a_water_image_with_another_place_of_its_own_is_not_moved(lpm, capsys):
    moved = lpm.ras.copy()
    moved[2, 3] += 1
    lpm.save("TUM01_water_img_img_L2-L5.nii.gz", lpm.image(2), moved)
    assert lpm.convert("--dixon", "channels", verb="lpm") == 1
    assert "lies on another grid" in capsys.readouterr().err


def test_a_subject_without_water_image_is_refused_as_channels_only(lpm, capsys):
    (lpm.folder / "TUM01_water_img_img_L2-L5.nii.gz").unlink()
    (lpm.folder / "TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label.nii.gz").unlink()
    assert lpm.convert("--dixon", "channels", verb="lpm") == 1
    assert "TUM01_fat_img_img_L2-L5.nii.gz: has no water image" in capsys.readouterr().err
    assert lpm.convert("--dixon", "cases", verb="lpm") == 0
