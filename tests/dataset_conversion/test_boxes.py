"""A data set of boxes: cut out around the masks of folds that never saw the case, with the folds kept."""

import json

import numpy as np
import pytest
from helpers.scans import save

from paraspinal_nnunet.nnunet.datasets import read_cases

FOLDS = {"a": 0, "b": 1, "c": 2}
BOX = np.s_[2:17, 0:7, 0:6]
"""8 mm around multifidus at i = 4..14, j = 2..4, k = 1..4: 2 voxels of 4 mm, and 2 slices of 5 mm as far as there are
any."""


@pytest.fixture
def model(scans, tmp_path):
    """Masks that find every multifidus but for its first row, and an island far away."""
    scans.add(*FOLDS)
    scans.save("rater2/b_GT.nii.gz", scans.labels())
    (scans.folder / "participants.tsv").write_text("participant_id\tsex\tage\tbmi\na\tF\t40\t22.5\n")
    assert scans.convert() == 0
    mask = scans.labels()
    mask[14, 2:5, 1:5], mask[4, 2:5, 1:5] = 1, 2
    mask[19, 15, 5] = 1
    for case, fold in FOLDS.items():
        save(tmp_path / f"model/fold_{fold}/validation/{case}.nii.gz", mask, scans.ras)
    return tmp_path / "model"


def boxes(scans, model, *flags):
    from paraspinal_nnunet.cli import main

    given = ["convert", "boxes", "-i", scans.dataset, "--masks", model, "-d", 502, "-n", "Boxes", "-np", 1]
    return main([str(argument) for argument in (*given, "--raw", scans.raw, *flags)])


def test_image_and_labels_are_cut_out_and_stay_in_place(scans, model):
    assert boxes(scans, model, "--margin", "8") == 0
    image, whole = (scans.load(f"{place}imagesTr/b_0000.nii.gz") for place in ("../Dataset502_Boxes/", ""))
    np.testing.assert_array_equal(image[0], whole[0][BOX])
    np.testing.assert_allclose(image[1][:3, 3], (whole[1] @ [2, 0, 0, 1])[:3])
    for folder in ("labelsTr", "labels_rater2"):
        labels, drawn = (scans.load(f"{place}{folder}/b.nii.gz")[0] for place in ("../Dataset502_Boxes/", ""))
        np.testing.assert_array_equal(labels, np.where(drawn[BOX] < 3, drawn[BOX], 0))


def test_the_data_set_says_what_it_is_and_keeps_folds_and_people(scans, model):
    assert boxes(scans, model, "--margin", "8") == 0
    folder = scans.raw / "Dataset502_Boxes"
    content = json.loads((folder / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "multifidus_right": 1, "multifidus_left": 2}
    assert content["box"] == {"muscles": ["multifidus"], "margin_mm": 8.0}
    assert json.loads((folder / "splits_final.json").read_text()) == [
        {"train": ["b", "c"], "val": ["a"]}, {"train": ["a", "c"], "val": ["b"]}, {"train": ["a", "b"], "val": ["c"]},
    ]  # fmt: skip
    first = read_cases(folder).iloc[0]
    assert (first["case"], first["sex"], first["age"], first["bmi"]) == ("a", "F", 40, 22.5)


def test_a_muscle_with_other_values_in_the_new_data_set(scans, model):
    assert boxes(scans, model, "--muscles", "psoas_major", "--margin", "0") == 0
    labels, _ = scans.load("../Dataset502_Boxes/labelsTr/a.nii.gz")
    drawn = scans.labels()[4:15, 11:14, 1:5]
    np.testing.assert_array_equal(labels, np.where(drawn == 5, 1, np.where(drawn == 6, 2, 0)))


def error(scans, model, capsys, *flags):
    assert boxes(scans, model, *flags) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    return line


def test_a_case_that_no_fold_tested_is_refused(scans, model, capsys):
    (model / "fold_1/validation/b.nii.gz").unlink()
    assert "has no validation mask of it; validate all folds, or leave it out" in error(scans, model, capsys)
    assert boxes(scans, model, "--exclude", "b") == 0


def test_a_mask_without_the_muscle_is_refused(scans, model, capsys):
    save(model / "fold_1/validation/b.nii.gz", np.zeros((20, 16, 6), np.uint8), scans.ras)
    assert "b.nii.gz: holds no multifidus" in error(scans, model, capsys)


def test_a_mask_of_another_grid_is_refused(scans, model, capsys):
    save(model / "fold_1/validation/b.nii.gz", scans.labels(), scans.ras + np.diag([1, 0, 0, 0]))
    assert "b.nii.gz: is no mask of b_0000.nii.gz" in error(scans, model, capsys)


def test_masks_of_two_folds_are_refused(scans, model, capsys):
    save(model / "fold_2/validation/b.nii.gz", scans.labels(), scans.ras)
    assert "a case is tested by one fold" in error(scans, model, capsys)


def test_a_folder_without_masks_and_a_muscle_that_is_no_label_are_refused(scans, model, tmp_path, capsys):
    assert "holds no fold_*/validation" in error(scans, tmp_path / "nothing", capsys)
    assert "has no quadratus_lumborum_left" in error(scans, model, capsys, "--muscles", "quadratus_lumborum")
