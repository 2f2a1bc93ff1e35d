"""Scans with MuscleMap's masks: made-up ones in both models' codes, and the real pair."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.scans import SHAPE, grey, save

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.cli import main
from paraspinal_nnunet.dataset_conversion.sources.musclemap_codes import OTHER_CODES
from paraspinal_nnunet.nnunet.datasets import read_cases

WHOLEBODY = {1: 5102, 2: 5101, 3: 5112, 4: 5111, 5: 5122, 6: 5121, 7: 5132, 8: 5131}
"""Code of the canonical value."""


def canonical():
    labels = np.zeros(SHAPE, np.int16)
    for right, rows in ((1, slice(1, 4)), (3, slice(5, 8)), (5, slice(9, 12)), (7, slice(13, 15))):
        labels[12:15, rows, 1:5] = right
        labels[4:7, rows, 1:5] = right + 1
    return labels


def wholebody(**extra):
    coded = np.zeros(SHAPE, np.int16)
    for value, code in WHOLEBODY.items():
        coded[canonical() == value] = code
    coded[0, :, 0] = extra.get("other", 6121)
    return coded


def scan(stem, seed, coded, image=""):
    save(Path(f"{stem}{image}.nii.gz"), grey(seed))
    save(Path(f"{stem}_dseg.nii.gz"), coded)


@pytest.fixture
def scans(tmp_path):
    return tmp_path / "scans"


def convert(folder, *flags):
    return main(["convert", "musclemap", "-i", str(folder), "-d", "505", "-np", "1", *flags])


def labels(raw, case):
    return np.asanyarray(nib.load(raw / f"Dataset505_MuscleMap/labelsTr/{case}.nii.gz").dataobj)


def test_the_code_table_is_complete():
    """MuscleMap documents 99 structures; eight are ours."""
    assert len(OTHER_CODES) == 91
    assert not OTHER_CODES.keys() & LABEL_SCHEMES["musclemap"].values.keys()
    assert all(name.endswith({1: "left", 2: "right", 0: "sacrum"}[code % 10]) for code, name in OTHER_CODES.items())


@pytest.mark.parametrize(("flags", "most"), [((), 6), (("--quadratus",), 8), (("--codes", "wholebody"), 6)])
def test_wholebody_codes(scans, raw, capsys, flags, most):
    scan(scans / "a", 1, wholebody())
    scan(scans / "b", 2, wholebody(), image="_image")
    assert convert(scans, *flags) == 0
    for case in "ab":
        np.testing.assert_array_equal(labels(raw, case), np.where(canonical() <= most, canonical(), 0))
    report = json.loads((raw / "Dataset505_MuscleMap/conversion_report.json").read_text())
    assert report["label_scheme"] == "musclemap"
    assert report["dropped_values"]["6121"] == "gluteus maximus left"
    assert "6121" in str(report["cases"][0]["dropped_voxels"])
    told = "read as --codes wholebody says" if "--codes" in flags else "codes of 'musclemap': 2 of 2 maps looked at"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("flags", [(), ("--codes", "abdomen")])
def test_abdomen_codes(scans, raw, flags):
    scan(scans / "a", 1, canonical())
    assert convert(scans, *flags) == 0
    np.testing.assert_array_equal(labels(raw, "a"), np.where(canonical() <= 6, canonical(), 0))


def test_scans_of_one_name_in_several_folders_are_told_apart(scans, raw, capsys):
    for seed, folder in enumerate(("sub-01/ses-1", "sub-01/ses-2", "sub-02/ses-1")):
        scan(scans / folder / "lumbar", seed, canonical())
    save(scans / "sub-02/ses-1/thigh.nii.gz", canonical())
    (scans / "participants.tsv").write_text("participant_id\tsex\nsub-01\tF\nsub-02\tM\n")
    assert convert(scans) == 0
    cases = read_cases(raw / "Dataset505_MuscleMap")
    assert list(cases["case"]) == ["sub-01_ses-1_lumbar", "sub-01_ses-2_lumbar", "sub-02_ses-1_lumbar"]
    assert list(cases["subject"]) == ["sub-01", "sub-01", "sub-02"]
    assert list(cases["sex"]) == ["F", "F", "M"]
    assert "scans without a mask beside them, left out: 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("coded", "flags", "message"),
    [
        (wholebody(other=5199), (), "unknown label value 5199"),
        (wholebody(), ("--codes", "abdomen"), "unknown label value 5101, 5102"),
        (canonical() + 100, (), "are of neither MuscleMap model"),
        (canonical() * 0, (), "nothing is labelled here"),
        (canonical(), ("--codes", "wholebody"), "unknown label value 1, 2"),
    ],
)
def test_other_values_are_refused(scans, raw, capsys, coded, flags, message):
    scan(scans / "a", 1, coded)
    assert convert(scans, *flags) == 1
    assert message in capsys.readouterr().err


def test_maps_of_both_models_are_refused_with_one_of_each(scans, raw, capsys):
    scan(scans / "a", 1, wholebody())
    scan(scans / "b", 2, canonical())
    assert convert(scans) == 1
    err = capsys.readouterr().err
    assert "a_dseg.nii.gz has values of 'musclemap'" in err
    assert "b_dseg.nii.gz has values of 'musclemap-abdomen'" in err


def test_a_mask_without_scan_and_a_folder_without_mask(scans, raw, capsys):
    scan(scans / "a", 1, canonical())
    save(scans / "b_dseg.nii.gz", canonical())
    assert convert(scans) == 1
    assert "b_dseg.nii.gz: is a label without image" in capsys.readouterr().err
    save(scans / "none/a.nii.gz", canonical())
    assert convert(scans / "none") == 1
    assert "no file ends in _dseg.nii.gz" in capsys.readouterr().err


@pytest.mark.real_data
def test_the_real_pair(raw, capsys):
    real = os.environ.get("PARASPINAL_REAL_DATA")
    if not real:
        pytest.skip("PARASPINAL_REAL_DATA is not set")
    assert convert(real, "--quadratus") == 0
    assert list(read_cases(raw / "Dataset505_MuscleMap")["case"]) == ["abdomen01"]
    source = np.asanyarray(nib.load(Path(real) / "abdomen01_dseg.nii.gz").dataobj)
    np.testing.assert_array_equal(labels(raw, "abdomen01"), source)
    image = nib.load(Path(real) / "abdomen01_image.nii.gz")
    written = nib.load(raw / "Dataset505_MuscleMap/imagesTr/abdomen01_0000.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), np.asanyarray(image.dataobj))
    assert "codes of 'musclemap-abdomen': 1 of 1 maps looked at hold the values 1, 2, 3, 4" in capsys.readouterr().out
