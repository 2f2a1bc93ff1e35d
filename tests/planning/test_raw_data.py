"""Raw data sets that nobody converted: what would be read wrongly is refused by name, all cases at once."""

import json
import logging
import shutil

import nibabel as nib
import numpy as np
import pytest
from helpers.scans import grey, labels

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.planning.dataset_json import read_description
from paraspinal_nnunet.planning.raw_data import check_raw_data, side_label_pairs

AFFINE = np.diag([1.5, 1.5, 5.0, 1.0])
AFFINE[:3, 3] = -40, -30, 10
LABELS = {"background": 0, **{s.key: s.label for s in PARASPINAL}}
DESCRIPTION = {
    "channel_names": {"0": "T2"},
    "labels": LABELS,
    "file_ending": ".nii.gz",
    "numTraining": 3,
    "overwrite_image_reader_writer": "NibabelIOWithReorient",
}


class RawData:
    """Three sound cases, a, b and c, in the labels of `anatomy`; x grows to the right."""

    def __init__(self, folder):
        self.folder = folder / "Dataset501_Foreign"
        for number, case in enumerate("abc"):
            self.image(case, grey(number))
            self.label(case, labels())
        self.describe()

    def describe(self, **changes):
        content = {key: value for key, value in {**DESCRIPTION, **changes}.items() if value is not None}
        (self.folder / "dataset.json").write_text(json.dumps(content))

    def image(self, case, array, affine=AFFINE, channel=0, unit="mm"):
        self.save(self.folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz", array, affine, unit)

    def label(self, case, array, affine=AFFINE, unit="mm"):
        self.save(self.folder / "labelsTr" / f"{case}.nii.gz", array, affine, unit)

    @staticmethod
    def save(path, array, affine, unit):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(array, affine)
        image.header.set_xyzt_units(unit)
        nib.save(image, path)

    def problem(self):
        with pytest.raises(DatasetError) as error:
            check_raw_data(self.folder, processes=1)
        assert "\n" not in str(error.value)
        return str(error.value)


@pytest.fixture
def data(tmp_path):
    return RawData(tmp_path)


def mirrored(affine, axis, shape, *, about_centre):
    """The header mirrored along one axis; the voxels stay as they are stored."""
    turned = affine.copy()
    turned[:3, axis] *= -1
    if about_centre:
        turned[:3, 3] = affine[:3, 3] + affine[:3, axis] * (shape[axis] - 1)
    return turned


def test_a_sound_data_set_passes(data):
    check_raw_data(data.folder, processes=1)


@pytest.mark.parametrize("about_centre", [True, False])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_label_header_is_refused(data, axis, about_centre):
    data.label("b", labels(), mirrored(AFFINE, axis, labels().shape, about_centre=about_centre))
    problem = data.problem()
    assert "1 of 3 cases cannot be trained on: b: b.nii.gz: is stored in" in problem


def test_a_header_that_is_mirrored_in_image_and_label_is_refused(data):
    turned = mirrored(AFFINE, 0, labels().shape, about_centre=True)
    data.image("b", grey(1), turned)
    data.label("b", labels(), turned)
    assert "b: labels contradict the scanner's left and right (multifidus_right at x = " in data.problem()


def test_a_lone_side_is_judged_against_the_other_muscles(data):
    values = labels()
    values[values == LABELS["psoas_major_left"]] = 0
    values[values == LABELS["psoas_major_right"]] = LABELS["psoas_major_left"]
    data.label("c", values)
    assert "c: labels contradict the scanner's left and right (psoas_major_right at x = " in data.problem()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda a: a @ np.diag([1.01, 1, 1, 1]), "lies on another grid than b_0000.nii.gz (spacing"),
        (lambda a: a + np.array([[0, 0, 0, 3]] + [[0] * 4] * 3), "lies on another grid than b_0000.nii.gz (origin"),
    ],
)
def test_another_grid_is_refused(data, change, text):
    data.label("b", labels(), change(AFFINE))
    assert text in data.problem()


def test_values_of_another_scheme_are_refused(data):
    """LPM's values (1 ES R, 2 MF R, 3 MF L, 4 ES L) under our names."""
    ours, theirs = labels(), np.zeros_like(labels())
    names = ("erector_spinae_right", "multifidus_right", "multifidus_left", "erector_spinae_left")
    for value, name in enumerate(names, start=1):
        theirs[ours == LABELS[name]] = value
    data.label("b", theirs)
    problem = data.problem()
    assert "1 of 3 cases" in problem
    assert "b: labels" in problem


def test_another_shape_is_refused(data):
    data.label("b", labels()[:, :, :-1])
    assert "lies on another grid than b_0000.nii.gz (shape" in data.problem()


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (9, np.int16, "b.nii.gz: has label values [9], which dataset.json does not name"),
        (-1, np.int16, "b.nii.gz: has label values [-1], which dataset.json does not name"),
        (1.5, np.float32, "b.nii.gz: 1 voxels have no integer label, e.g. 1.5"),
        (0.99999, np.float32, "b.nii.gz: 1 voxels have no integer label, e.g. 0.99999"),
        (np.nan, np.float32, "b.nii.gz: 1 of"),
    ],
)
def test_label_values_that_dataset_json_does_not_know_are_refused(data, value, kind, text):
    values = labels().astype(kind)
    values[0, 0, 0] = value
    data.label("b", values)
    assert text in data.problem()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_no_numbers_are_refused(data, value):
    image = grey(1).astype(np.float32)
    image[3, 3, 3] = value
    data.image("b", image)
    assert f"b_0000.nii.gz: 1 of {image.size} voxels are NaN or infinite" in data.problem()


def test_empty_images_and_labels_are_refused(data):
    data.image("a", np.full_like(grey(0), 7))
    data.label("b", np.zeros_like(labels()))
    problem = data.problem()
    assert "a: a_0000.nii.gz: all voxels are 7" in problem
    assert "b: b.nii.gz: no voxel is labelled" in problem


def test_every_case_is_named_at_once_and_logged_in_a_line_of_its_own(data, caplog):
    data.label("a", labels(), mirrored(AFFINE, 0, labels().shape, about_centre=True))
    image = grey(2).astype(np.float32)
    image[0, 0, 0] = np.nan
    data.image("c", image)
    with caplog.at_level(logging.ERROR):
        problem = data.problem()
    assert "2 of 3 cases cannot be trained on: a: " in problem
    assert " | c: " in problem
    assert [record.getMessage()[:3] for record in caplog.records] == ["a: ", "c: "]


def test_metres_and_four_dimensions_are_refused(data):
    data.image("a", grey(0), unit="meter")
    data.image("b", grey(1)[..., None])
    problem = data.problem()
    assert "a: a_0000.nii.gz: header counts in metres, which nnU-Net's reader takes for mm" in problem
    assert "b: b_0000.nii.gz: has 4 dimensions" in problem


def test_a_header_without_orientation_is_refused(data):
    path = data.folder / "imagesTr" / "b_0000.nii.gz"
    image = nib.load(path)
    image = nib.Nifti1Image(grey(1), None)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, path)
    assert "b_0000.nii.gz: header has neither sform nor qform" in data.problem()


def test_missing_and_additional_channels_are_refused(data):
    data.image("b", grey(8), channel=1)
    assert "b: dataset.json names 1 channels, imagesTr holds b_0000.nii.gz, b_0001.nii.gz" in data.problem()
    data.describe(channel_names={"0": "T2", "1": "water"})
    problem = data.problem()
    assert "a: dataset.json names 2 channels, imagesTr holds a_0000.nii.gz" in problem
    assert "b: " not in problem


def test_channels_lie_on_one_grid(data):
    data.describe(channel_names={"0": "T2", "1": "water"})
    for number, case in enumerate("abc"):
        data.image(case, grey(10 + number), channel=1)
    data.image("c", grey(12), AFFINE + np.array([[0, 0, 0, 3]] + [[0] * 4] * 3), channel=1)
    assert "c: c_0001.nii.gz: lies on another grid than c_0000.nii.gz (origin" in data.problem()


def test_one_image_of_two_subjects_is_refused(data):
    data.image("c", grey(0))
    assert "c: has the same image as a, which is another subject's" in data.problem()
    (data.folder / "cases.tsv").write_text("case\tsubject\na\t1\nb\t2\nc\t1\n")
    check_raw_data(data.folder, processes=1)


def test_a_class_that_no_case_has_is_refused_and_one_that_some_lack_is_told(data, caplog):
    values = labels()
    values[values == LABELS["psoas_major_left"]] = 0
    data.label("b", values)
    check_raw_data(data.folder, processes=1)
    assert "b: no voxel is psoas_major_left" in caplog.text
    for case in "ac":
        data.label(case, values)
    assert "dataset.json names psoas_major_left (6), but no case has a voxel of it" in data.problem()


@pytest.mark.parametrize("name", ["d_0000.NII.GZ", "d_0000.nii", "d_0000.mha", "d_0000.nrrd"])
def test_images_that_would_be_passed_over_are_refused(data, name):
    shutil.copy(data.folder / "imagesTr" / "a_0000.nii.gz", data.folder / "imagesTr" / name)
    assert f"{name} is no .nii.gz file (1 such) and would be passed over" in data.problem()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"file_ending": ".mha"}, "file_ending is '.mha'; all commands take .nii.gz only: write the data set"),
        ({"file_ending": ".nrrd"}, "'paraspinal convert pairs'"),
        ({"labels": {**LABELS, "multifidus": [1, 2]}}, "label 'multifidus' defines regions"),
        ({"regions_class_order": [1, 2]}, "regions_class_order defines regions"),
        ({"labels": {"background": 0, "a": 2}}, r"label values are \[0, 2\]"),
        ({"labels": {"a": 1, "b": 2}}, r"label values are \[1, 2\]"),
        ({"labels": {"background": 0, "a": "1"}}, "label 'a' has the value '1', which is no whole number"),
        ({"labels": {"background": 0, "ignore": 1, "a": 2}}, "label 'ignore' must have the highest value, 2"),
        ({"labels": {"background": 0}}, "names no label but the background"),
        ({"channel_names": {"1": "T2"}}, "number the channels from 0"),
        ({"channel_names": None}, "number the channels from 0"),
        ({"dataset": {}}, "lists its own files under 'dataset'"),
        ({"overwrite_image_reader_writer": None}, "the default reader, which feeds scans in their stored orientation"),
    ],
)
def test_descriptions_that_cannot_be_followed_are_refused(data, changes, text):
    data.describe(**changes)
    with pytest.raises(DatasetError, match=text):
        read_description(data.folder)


def test_an_ignored_label_is_no_class(data):
    data.describe(labels={**LABELS, "ignore": 7})
    values = labels()
    values[0, 0, :2] = 7
    data.label("a", values)
    check_raw_data(data.folder, processes=1)
    data.label("a", np.where(labels() > 0, 7, 0).astype(np.uint8))
    assert "a: a.nii.gz: no voxel is labelled" in data.problem()


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("psoas_right", "psoas_left"), [("psoas_right", "psoas_left")]),
        (("Left Psoas", "Right Psoas"), [("Right Psoas", "Left Psoas")]),
        (("MF_L", "MF_R", "bright", "sacrum"), [("MF_R", "MF_L")]),
        (("right_only",), []),
        (("MultifidusRight", "MultifidusLeft"), [("MultifidusRight", "MultifidusLeft")]),
        (("MFL", "ES left", "MFR", "erector_spinae_right"), [("MFR", "MFL"), ("erector_spinae_right", "ES left")]),
    ],
)
def test_sides_are_known_by_their_names(names, pairs):
    assert side_label_pairs({name: value for value, name in enumerate(names, 1)}) == pairs
