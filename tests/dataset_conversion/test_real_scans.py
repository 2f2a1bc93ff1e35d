"""Real scans through the converters, compared voxel by voxel with the files they come from."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.nnunet.datasets import read_cases

pytestmark = pytest.mark.real_data

ABDOMEN = ["--image-pattern", "{case}_image.nii.gz", "--label-pattern", "{case}_dseg.nii.gz"]


@pytest.fixture(scope="module")
def real():
    folder = os.environ.get("PARASPINAL_REAL_DATA")
    if not folder:
        pytest.skip("PARASPINAL_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    return tmp_path


def convert(real, verb, *flags):
    return main(["convert", verb, "-i", str(real), "-d", "502", "-np", "2", *flags])


def array(path):
    return np.asanyarray(nib.load(path).dataobj)


@pytest.mark.slow
def test_lpm(real, raw):
    assert convert(real, "lpm") == 0
    dataset = raw / "Dataset502_LPM"
    cases = read_cases(dataset)
    assert list(cases["case"]) == ["TUM01_fat", "TUM01_water"]
    assert set(cases["subject"]) == {"TUM01"}
    for case, image, label in zip(cases["case"], cases["source"], cases["label_source"], strict=True):
        stored, written = nib.load(real / image), nib.load(dataset / f"imagesTr/{case}_0000.nii.gz")
        np.testing.assert_array_equal(np.asanyarray(written.dataobj), np.asanyarray(stored.dataobj, dtype=np.float32))
        np.testing.assert_allclose(written.affine, stored.affine, atol=1e-5)
        source, converted = array(real / label), array(dataset / f"labelsTr/{case}.nii.gz")
        # the release: 1 ES R, 2 MF R, 3 MF L, 4 ES L; the data set: 1 MF R, 2 MF L, 3 ES R, 4 ES L
        for theirs, ours in ((1, 3), (2, 1), (3, 2), (4, 4)):
            np.testing.assert_array_equal(source == theirs, converted == ours)


@pytest.mark.slow
def test_lpm_sides_lie_on_their_sides(real, raw):
    convert(real, "lpm")
    for path in (raw / "Dataset502_LPM/labelsTr").iterdir():
        image = nib.load(path)
        labels = np.asanyarray(image.dataobj)
        x = {v: (image.affine @ [*np.argwhere(labels == v).mean(axis=0), 1])[0] for v in (1, 2, 3, 4)}
        assert x[3] > x[1] > x[2] > x[4], "erector spinae right, multifidus right, multifidus left, erector spinae left"


@pytest.mark.parametrize(("flags", "classes"), [((), 6), (("--quadratus",), 8)])
def test_abdomen_pairs(real, raw, flags, classes):
    assert convert(real, "pairs", "-n", "A", *ABDOMEN, "--labels", "musclemap-abdomen", *flags) == 0
    source, converted = array(real / "abdomen01_dseg.nii.gz"), array(raw / "Dataset502_A/labelsTr/abdomen01.nii.gz")
    np.testing.assert_array_equal(converted, np.where(source <= classes, source, 0))


def test_fat_image_with_water_label_is_refused(real, raw, tmp_path, capsys):
    (tmp_path / "mixed").mkdir()
    fat, water = "TUM01_fat_img_img_L2-L5.nii.gz", "TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label.nii.gz"
    (tmp_path / "mixed/a_img.nii.gz").symlink_to(real / fat)
    (tmp_path / "mixed/a_GT.nii.gz").symlink_to(real / water)
    given = ["--image-pattern", "{case}_img.nii.gz", "--label-pattern", "{case}_GT.nii.gz", "--labels", "lpm"]
    assert convert(tmp_path / "mixed", "pairs", "-n", "A", *given) == 1
    assert "another grid than its image (origin" in capsys.readouterr().err


@pytest.mark.slow
def test_nnunet_accepts_the_data_set(real, raw):
    pytest.importorskip("nnunetv2")
    convert(real, "lpm")
    program = (
        "from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity as v;"
        f"v({str(raw / 'Dataset502_LPM')!r}, 1)"
    )
    environment = {**os.environ, "nnUNet_preprocessed": str(raw), "nnUNet_results": str(raw)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "verify_dataset_integrity Done" in done.stdout
    description = json.loads((raw / "Dataset502_LPM/dataset.json").read_text())
    assert description["overwrite_image_reader_writer"] in done.stdout


def test_lpm_fat_and_water_lie_on_each_other_voxel_by_voxel(real, raw):
    """The water image's origin is lost, yet both label maps are the same in every voxel: one acquisition, one grid."""
    fat, water = (
        next(real.glob(pattern)) for pattern in ("TUM01_fat_manual_label_*.nii.gz", "TUM01_water_*-label.nii.gz")
    )
    np.testing.assert_array_equal(array(fat), array(water))
    assert convert(real, "lpm", "--dixon", "channels", "--crop-to-labels") == 0
    dataset = raw / "Dataset502_LPM"
    written = [nib.load(dataset / f"imagesTr/TUM01_000{channel}.nii.gz") for channel in (0, 1)]
    for image, contrast in zip(written, ("fat", "water"), strict=True):
        stored = nib.load(real / f"TUM01_{contrast}_img_img_L2-L5.nii.gz")
        np.testing.assert_array_equal(
            np.asanyarray(image.dataobj), np.asanyarray(stored.dataobj, dtype=np.float32)[..., : image.shape[2]]
        )
    np.testing.assert_array_equal(written[0].affine, written[1].affine)
    assert written[0].affine[0, 3] == pytest.approx(204.5075, abs=1e-3)


def test_images_that_do_not_show_the_same_place_are_not_resampled_onto_each_other(real, raw, capsys):
    """Taken as any two channels, by their headers, fat and water images do not overlap."""
    given = ["--image-pattern", "{case}_fat_img_img_L2-L5.nii.gz", "--channel", "fat"]
    given += ["--image-pattern", "{case}_water_img_img_L2-L5.nii.gz", "--channel", "water"]
    given += ["--label-pattern", "{case}_fat_manual_label_segmentation_L2-L5.nii.gz", "--labels", "lpm", "-n", "A"]
    assert convert(real, "pairs", *given) == 1
    assert "lies on another grid" in capsys.readouterr().err
    assert convert(real, "pairs", *given, "--resample-channels") == 1
    assert "voxels before" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--swap-sides", "--trust-labels"])
def test_real_labels_with_their_sides_exchanged_are_mended(real, raw, tmp_path, flag):
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "a_image.nii.gz").symlink_to(real / "abdomen01_image.nii.gz")
    stored = nib.load(real / "abdomen01_dseg.nii.gz")
    values = np.asanyarray(stored.dataobj).astype(np.uint8)
    exchanged = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7], np.uint8)[values]
    nib.save(nib.Nifti1Image(exchanged, stored.affine), folder / "a_dseg.nii.gz")
    given = ["-n", "A", *ABDOMEN, "--labels", "musclemap-abdomen", "--quadratus", flag]
    assert convert(folder, "pairs", *given) == 0
    labels = nib.load(raw / "Dataset502_A/labelsTr/a.nii.gz")
    expected = values if flag == "--swap-sides" else exchanged
    np.testing.assert_array_equal(np.asanyarray(labels.dataobj), expected)
    x = [(labels.affine @ [*np.argwhere(np.asanyarray(labels.dataobj) == v).mean(axis=0), 1])[0] for v in range(1, 9)]
    assert all(right > left for right, left in zip(x[::2], x[1::2], strict=True))
