"""The TotalSegmentator layout, on made-up scans."""

import json

import nibabel as nib
import numpy as np
import pytest
from helpers.scans import RAS, SAGITTAL, SHAPE, grey, save

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.nnunet.datasets import read_cases

RIGHT, LEFT = slice(12, 15), slice(4, 7)
BOXES = {
    "autochthon_right": (RIGHT, slice(2, 5)),
    "autochthon_left": (LEFT, slice(2, 5)),
    "iliopsoas_right": (RIGHT, slice(9, 12)),
    "iliopsoas_left": (LEFT, slice(9, 12)),
}


def mask(*box):
    array = np.zeros(SHAPE, np.uint8)
    if box:
        array[box[0], box[1], 1:5] = 1
    return array


def scan(folder, seed, boxes=BOXES, affine=RAS):
    save(folder / "mri.nii.gz", grey(seed), affine)
    for name in BOXES:
        save(folder / f"segmentations/{name}.nii.gz", mask(*boxes.get(name, ())), affine)
    save(folder / "segmentations/liver.nii.gz", mask(slice(0, 3), slice(0, 3)), affine)


@pytest.fixture
def release(tmp_path):
    """Two scans with the muscles and one without, and what is known of them."""
    folder = tmp_path / "release"
    scan(folder / "s0001", 1)
    scan(folder / "s0002", 2)
    scan(folder / "s0003", 3, boxes={})
    (folder / "meta.csv").write_text("image_id;age;gender;institute\ns0001;63;m;A\ns0002;;f;B\ns0003;20.0;f;B\n")
    return folder


def convert(folder, *flags):
    return main(["convert", "totalsegmentator", "-i", str(folder), "-d", "504", "-np", "1", *flags])


def test_four_coarse_classes_under_names_of_their_own(release, raw, capsys):
    assert convert(release) == 0
    dataset = raw / "Dataset504_TotalSegmentatorMR"
    description = json.loads((dataset / "dataset.json").read_text())
    assert description["labels"] == {
        "background": 0,
        "autochthon_right": 1,
        "autochthon_left": 2,
        "iliopsoas_right": 3,
        "iliopsoas_left": 4,
    }
    assert description["channel_names"] == {"0": "MRI"}
    cases = read_cases(dataset)
    assert list(cases["case"]) == ["s0001", "s0002"]
    assert list(cases["sex"]) == ["M", "F"]
    assert cases["age"].iloc[0] == 63
    assert np.isnan(cases["age"].iloc[1])
    assert list(cases["label_source"]) == ["s0001/segmentations", "s0002/segmentations"]
    labels = np.asanyarray(nib.load(dataset / "labelsTr/s0002.nii.gz").dataobj)
    expected = sum(value * mask(*BOXES[name]) for name, value in list(description["labels"].items())[1:])
    np.testing.assert_array_equal(labels, expected)
    assert "left out, since they show none of the four classes: 1" in capsys.readouterr().out


def test_a_scan_that_shows_some_of_the_classes_is_the_users_choice(release, raw, capsys):
    scan(release / "s0004", 4, boxes={k: v for k, v in BOXES.items() if k.startswith("auto")})
    assert convert(release) == 1
    assert "no voxel is iliopsoas_right or iliopsoas_left" in capsys.readouterr().err
    assert convert(release, "--allow-empty-label") == 0
    out = capsys.readouterr().out
    assert "3 cases of 3 subjects accepted" in out
    assert "meta.csv has no row for s0004" in out


def test_a_sagittal_scan_is_refused_and_can_be_left_out(release, raw, capsys):
    scan(release / "s0005", 5, affine=SAGITTAL)
    assert convert(release) == 1
    assert "s0005/mri.nii.gz: slices are sagittal" in capsys.readouterr().err
    assert not list(raw.glob("Dataset*"))
    assert convert(release, "--skip-refused") == 1
    assert list(read_cases(raw / "Dataset504_TotalSegmentatorMR")["case"]) == ["s0001", "s0002"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: save(f / "autochthon_left.nii.gz", mask(LEFT, slice(2, 10))),
            "12 voxels (0.96 ml) of iliopsoas_left",
        ),
        (lambda f: save(f / "iliopsoas_left.nii.gz", mask(LEFT, slice(9, 12))[:, :15]), "lies on another grid than"),
        (
            lambda f: save(f / "iliopsoas_left.nii.gz", mask(LEFT, slice(9, 12)) * np.arange(6, dtype=np.uint8)),
            "1, 2, 3",
        ),
        (lambda f: (f / "autochthon_right.nii.gz").write_bytes(b""), "is empty"),
        (lambda f: f.rename(f.with_name("masks")), "is an image without a folder segmentations (case s0002)"),
    ],
)
def test_faulty_masks_are_refused(release, raw, capsys, change, message):
    change(release / "s0002/segmentations")
    assert convert(release) == 1
    assert message in capsys.readouterr().err
    assert not list(raw.glob("Dataset*"))


def test_the_ct_data_set_is_named(tmp_path, raw, capsys):
    save(tmp_path / "ct/s1/ct.nii.gz", mask())
    assert convert(tmp_path / "ct") == 1
    assert "no folder in it holds mri.nii.gz; it is the CT data set" in capsys.readouterr().err
