"""The converters through the command line: what they write, and that every bad input is one line and no data set."""

import itertools
import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.scans import RAS, SHAPE
from helpers.scans import grey as ras_image
from helpers.scans import labels as ras_labels
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.dataset_conversion import convert_case as take
from paraspinal_nnunet.dataset_conversion.engine import convert
from paraspinal_nnunet.dataset_conversion.sources.author import author_source
from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.nnunet.datasets import read_cases


def save(path, array, affine=RAS, unit="mm"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)


def reoriented(array, codes):
    """The same volume stored with other axes."""
    transform = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    return nib.orientations.apply_orientation(array, transform), RAS @ inv_ornt_aff(transform, SHAPE)


def load(path):
    image = nib.load(path)
    return np.asanyarray(image.dataobj), image.affine


@pytest.fixture
def raw(tmp_path, monkeypatch):
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_raw", str(folder))
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def source(tmp_path):
    """Two good cases, a and b."""
    folder = tmp_path / "scans"
    for seed, case in enumerate("ab"):
        save(folder / f"{case}_img.nii.gz", ras_image(seed))
        save(folder / f"{case}_GT.nii.gz", ras_labels())
    return folder


def author(source, *flags):
    return main(["convert", "author", "-i", str(source), "-d", "501", "-np", "1", *map(str, flags)])


def pairs(source, *flags, labels="author"):
    patterns = ["--image-pattern", "{case}_img.nii.gz", "--label-pattern", "{case}_GT.nii.gz"]
    given = ["-i", str(source), "-d", "501", "-n", "Pairs", "-np", "1", "--labels", str(labels)]
    return main(["convert", "pairs", *given, *patterns, *map(str, flags)])


def errors(capsys):
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("paraspinal convert: error: ")]


def visible(folder):
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def refused(capsys, raw, result, *texts):
    """One line of error with all texts; no data set in the raw folder."""
    assert result == 1
    lines = errors(capsys)
    assert len(lines) == 1
    for text in texts:
        assert text in lines[0]
    assert visible(raw) == []


# What is written


def test_the_data_set(source, raw, capsys):
    assert author(source) == 0
    dataset = raw / "Dataset501_Paraspinal"
    assert [p.name for p in raw.iterdir()] == [dataset.name]
    files = sorted(p.relative_to(dataset).as_posix() for p in dataset.rglob("*") if p.is_file())
    assert files == [
        "cases.tsv",
        "conversion_report.json",
        "conversion_report.tsv",
        "dataset.json",
        "imagesTr/a_0000.nii.gz",
        "imagesTr/b_0000.nii.gz",
        "labelsTr/a.nii.gz",
        "labelsTr/b.nii.gz",
    ]
    description = json.loads((dataset / "dataset.json").read_text())
    assert description["labels"] == {
        "background": 0,
        "multifidus_right": 1,
        "multifidus_left": 2,
        "erector_spinae_right": 3,
        "erector_spinae_left": 4,
        "psoas_major_right": 5,
        "psoas_major_left": 6,
    }
    assert description["channel_names"] == {"0": "T2"}
    assert description["numTraining"] == 2
    assert description["file_ending"] == ".nii.gz"
    assert description["overwrite_image_reader_writer"] == "NibabelIOWithReorient"
    assert description["provenance"]["source_folder"] == "scans"
    assert str(source.parent) not in (dataset / "dataset.json").read_text()
    assert str(source.parent) not in (dataset / "conversion_report.json").read_text()
    assert "2 cases of 2 subjects accepted" in capsys.readouterr().out


def test_images_keep_voxels_type_and_grid(source, raw):
    author(source)
    array, affine = load(raw / "Dataset501_Paraspinal/imagesTr/b_0000.nii.gz")
    assert array.dtype == np.int16
    np.testing.assert_array_equal(array, ras_image(1))
    np.testing.assert_array_equal(affine, RAS)
    labels, affine = load(raw / "Dataset501_Paraspinal/labelsTr/b.nii.gz")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, ras_labels())
    np.testing.assert_array_equal(affine, RAS)


def test_the_report_holds_hand_counted_volumes(source, raw):
    author(source)
    report = json.loads((raw / "Dataset501_Paraspinal/conversion_report.json").read_text())
    first = report["cases"][0]
    # 3 x 3 x 4 voxels of 4 x 4 x 5 mm = 36 x 80 mm3 = 2.88 ml
    assert set(first["volumes_ml"].values()) == {2.88}
    # i = 12..14, mean 13, is at -38 + 4 x 13 = 14 mm; i = 4..6 at -18 mm
    assert first["centroids_x_mm"]["Psoas major"] == {"right": 14.0, "left": -18.0}


def test_all_48_stored_orientations_keep_voxels_and_sides(tmp_path, raw):
    names = [
        "".join(axes) for order in itertools.permutations(["RL", "AP", "SI"]) for axes in itertools.product(*order)
    ]
    assert len(names) == 48
    for seed, codes in enumerate(names):
        save(tmp_path / f"scans/{codes}_img.nii.gz", *reoriented(ras_image(seed), codes))
        save(tmp_path / f"scans/{codes}_GT.nii.gz", *reoriented(ras_labels(), codes))
    assert author(tmp_path / "scans") == 0
    dataset = raw / "Dataset501_Paraspinal"
    for seed, codes in enumerate(names):
        stored, affine = load(dataset / f"imagesTr/{codes}_0000.nii.gz")
        np.testing.assert_array_equal(stored, reoriented(ras_image(seed), codes)[0])
        array, affine = to_ras(stored, affine)
        np.testing.assert_array_equal(array, ras_image(seed))
        np.testing.assert_allclose(affine, RAS, atol=1e-4)
        np.testing.assert_array_equal(to_ras(*load(dataset / f"labelsTr/{codes}.nii.gz"))[0], ras_labels())


def test_participants_and_second_rater_of_an_author_folder(source, raw):
    table = "participant_id\tsex\tage\tbmi\nsub-a\tfemale\t41\t24.5\nb\tM\tn/a\t\n"
    (source / "participants.tsv").write_text(table)
    second = ras_labels()
    second[12, 2, 1] = 0
    save(source / "rater2/b_GT.nii.gz", second)
    assert author(source, "-n", "Own", "--rater2") == 0
    dataset = raw / "Dataset501_Own"
    assert (dataset / "cases.tsv").read_text() == (
        "case\tsubject\tsex\tage\tbmi\tsource\tlabel_source\n"
        "a\ta\tF\t41\t24.5\ta_img.nii.gz\ta_GT.nii.gz\n"
        "b\tb\tM\tn/a\tn/a\tb_img.nii.gz\tb_GT.nii.gz\n"
    )
    assert list(read_cases(dataset)["sex"]) == ["F", "M"]
    assert [p.name for p in (dataset / "labels_rater2").iterdir()] == ["b.nii.gz"]
    np.testing.assert_array_equal(load(dataset / "labels_rater2/b.nii.gz")[0], second)
    np.testing.assert_array_equal(load(dataset / "labelsTr/b.nii.gz")[0], ras_labels())


def test_pairs_in_sub_folders_with_subjects_and_participants(tmp_path, raw):
    for n, name in enumerate(("01_a", "01_b", "02_a")):
        save(tmp_path / f"scans/sub-{name[:2]}/anat/{name}_T2w.nii.gz", ras_image(n))
        save(tmp_path / f"scans/derivatives/{name}_dseg.nii.gz", ras_labels())
    (tmp_path / "people.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    given = ["--image-pattern", "sub-*/anat/{case}_T2w.nii.gz", "--label-pattern", "derivatives/{case}_dseg.nii.gz"]
    given += ["--subject-pattern", r"^(\d+)_", "--participants", str(tmp_path / "people.tsv"), "--channel", "T1"]
    given += ["--labels", "author", "--licence", "CC0", "--reference", "a paper", "-np", "1"]
    assert main(["convert", "pairs", "-i", str(tmp_path / "scans"), "-d", "7", "-n", "X", *given]) == 0
    cases = read_cases(raw / "Dataset007_X")
    assert list(cases["case"]) == ["01_a", "01_b", "02_a"]
    assert list(cases["subject"]) == ["01", "01", "02"]
    assert list(cases["age"].fillna(-1)) == [30, 30, -1]
    assert cases["source"][0] == "sub-01/anat/01_a_T2w.nii.gz"
    description = json.loads((raw / "Dataset007_X/dataset.json").read_text())
    assert description["channel_names"] == {"0": "T1"}
    assert (description["licence"], description["reference"]) == ("CC0", "a paper")
    report = json.loads((raw / "Dataset007_X/conversion_report.json").read_text())
    assert report["notes"] == ["people.tsv has no row for 02"]
    assert report["subjects"] == 2


def test_a_label_file_maps_merges_and_drops(source, raw, tmp_path):
    labels = ras_labels().astype(np.float32) * 10
    labels[10, 0, 0], labels[3, 0, 0] = 11, 99
    for case in "ab":
        save(source / f"{case}_GT.nii.gz", labels)
    mapping = {"multifidus_right": [10, 11], "multifidus_left": 20, "psoas_major_right": 50, "psoas_major_left": 60}
    (tmp_path / "map.json").write_text(json.dumps({**mapping, "ignore": [30, 40], "background": 99}))
    assert pairs(source, labels=tmp_path / "map.json") == 0
    dataset = raw / "Dataset501_Pairs"
    expected = ras_labels()
    expected[np.isin(expected, (3, 4))] = 0
    expected[expected == 5], expected[expected == 6] = 3, 4
    expected[10, 0, 0] = 1
    np.testing.assert_array_equal(load(dataset / "labelsTr/a.nii.gz")[0], expected)
    description = json.loads((dataset / "dataset.json").read_text())
    assert list(description["labels"].items())[3:] == [("psoas_major_right", 3), ("psoas_major_left", 4)]
    report = json.loads((dataset / "conversion_report.json").read_text())
    assert report["cases"][0]["dropped_voxels"] == {"30": 36, "40": 36, "99": 1}
    assert any("renumbered" in note for note in report["notes"])


@pytest.mark.parametrize(("flags", "expected"), [((), [0, 1, 2, 3, 4, 5, 6]), (("--quadratus",), list(range(9)))])
def test_quadratus_is_kept_only_when_asked_for(source, raw, flags, expected, capsys):
    labels = ras_labels()
    labels[17, 6:9, 1:5], labels[1, 6:9, 1:5] = 7, 8
    for case in "ab":
        save(source / f"{case}_GT.nii.gz", labels)
    assert pairs(source, *flags, labels="musclemap-abdomen") == 0
    assert np.unique(load(raw / "Dataset501_Pairs/labelsTr/a.nii.gz")[0]).tolist() == expected
    assert ("quadratus lumborum (values 7, 8) becomes background" in capsys.readouterr().out) == (not flags)


def test_lpm_makes_two_cases_of_one_subject(tmp_path, raw):
    codes = np.array([0, 2, 3, 1, 4], np.int16)  # canonical MF R, MF L, ES R, ES L in the release's numbers
    labels = ras_labels()
    labels[labels > 4] = 0
    save(tmp_path / "scans/TUM01_water_img_img_L2-L5.nii.gz", ras_image(0))
    save(tmp_path / "scans/TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label.nii.gz", codes[labels])
    save(tmp_path / "scans/TUM01_fat_img_img_L2-L5.nii.gz", ras_image(1))
    save(tmp_path / "scans/TUM01_fat_manual_label_segmentation_L2-L5.nii.gz", codes[labels])
    assert main(["convert", "lpm", "-i", str(tmp_path / "scans"), "-d", "502", "-np", "1"]) == 0
    dataset = raw / "Dataset502_LPM"
    cases = read_cases(dataset)
    assert list(cases["case"]) == ["TUM01_fat", "TUM01_water"]
    assert list(cases["subject"]) == ["TUM01", "TUM01"]
    assert list(json.loads((dataset / "dataset.json").read_text())["labels"].values()) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(load(dataset / "labelsTr/TUM01_fat.nii.gz")[0], labels)


@pytest.mark.slow
def test_two_processes_write_what_one_writes(source, raw, tmp_path):
    (tmp_path / "other").mkdir()
    assert author(source) == 0
    assert (
        main(["convert", "author", "-i", str(source), "-d", "501", "-np", "2", "--raw", str(tmp_path / "other")]) == 0
    )
    one, two = raw / "Dataset501_Paraspinal", tmp_path / "other/Dataset501_Paraspinal"
    files = sorted(p.relative_to(one) for p in one.rglob("*.*"))
    assert files == sorted(p.relative_to(two) for p in two.rglob("*.*"))
    assert all((one / f).read_bytes() == (two / f).read_bytes() for f in files)


# One bad file each: a change to the good folder, and what the one line must say.


def cut(path, *, keep=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def _labels_with(change):
    def apply(folder):
        labels = ras_labels()
        save(folder / "a_GT.nii.gz", np.asarray(change(labels)))

    return apply


def _put(labels, where, value):
    labels[where] = value
    return labels


def _image_with(array, affine=RAS, unit="mm"):
    return lambda folder: save(folder / "a_img.nii.gz", array() if callable(array) else array, affine, unit)


def _both(affine, shape_change=lambda array: array, unit="mm"):
    def apply(folder):
        save(folder / "a_img.nii.gz", shape_change(ras_image()), affine, unit)
        save(folder / "a_GT.nii.gz", shape_change(ras_labels()), affine, unit)

    return apply


SHIFTED = RAS + np.array([[0, 0, 0, 0.01], [0] * 4, [0] * 4, [0] * 4])
SAGITTAL = RAS @ np.diag([2.5, 1, 0.8, 1])
SWAPPED = np.array([0, 2, 1, 4, 3, 6, 5], np.uint8)

BAD = {
    "truncated image": (lambda f: cut(f / "a_img.nii.gz"), "a_img.nii.gz", "truncated"),
    "truncated label": (lambda f: cut(f / "a_GT.nii.gz", keep=0.9), "a_GT.nii.gz", "truncated"),
    "no NIfTI": (lambda f: (f / "a_img.nii.gz").write_text("hello" * 99), "a_img.nii.gz", "is no NIfTI"),
    "empty file": (lambda f: (f / "a_img.nii.gz").write_bytes(b""), "a_img.nii.gz", "is empty"),
    "four dimensions": (_image_with(np.ones((*SHAPE, 2), np.int16)), "a_img.nii.gz", "4 dimensions"),
    "two dimensions": (_image_with(np.ones(SHAPE[:2], np.int16)), "a_img.nii.gz", "2 dimensions"),
    "one slice": (_image_with(np.ones((20, 16, 1), np.int16)), "a_img.nii.gz", "single slice"),
    "colours": (
        _image_with(np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        "a_img.nii.gz",
        "more than one channel",
    ),
    "label shifted": (
        lambda f: save(f / "a_GT.nii.gz", ras_labels(), SHIFTED),
        "a_GT.nii.gz",
        "another grid",
        "origin",
    ),
    "label smaller": (_labels_with(lambda a: a[:, :, 1:]), "a_GT.nii.gz", "shape (20, 16, 5)"),
    "NaN": (_image_with(lambda: _put(ras_image().astype("f4"), (0, 0, 0), np.nan)), "a_img.nii.gz", "NaN"),
    "infinity": (_image_with(lambda: _put(ras_image().astype("f4"), (0, 0, 0), np.inf)), "a_img.nii.gz", "infinite"),
    "constant image": (_image_with(np.full(SHAPE, 7, np.int16)), "a_img.nii.gz", "all voxels are 7"),
    "half labels": (_labels_with(lambda a: a.astype("f4") / 2), "a_GT.nii.gz", "no integer label"),
    "unknown label": (_labels_with(lambda a: _put(a, (0, 0, 0), 9)), "a_GT.nii.gz", "unknown label value 9"),
    "negative label": (
        _labels_with(lambda a: _put(a.astype("i2"), (0, 0, 0), -1)),
        "a_GT.nii.gz",
        "unknown label value -1",
    ),
    "empty class": (_labels_with(lambda a: np.where(a == 4, 0, a)), "a_GT.nii.gz", "no voxel is erector_spinae_left"),
    "no class": (_labels_with(np.zeros_like), "a_GT.nii.gz", "none of the classes"),
    "sagittal slices": (_both(SAGITTAL), "a_img.nii.gz", "sagittal"),
    "sides swapped": (
        _labels_with(lambda a: SWAPPED[a]),
        "a_GT.nii.gz",
        "Multifidus: right at x = -18.0 mm, left at x = 14.0 mm",
    ),
    "unit in the header wrong": (_both(RAS, unit="meter"), "a_img.nii.gz", "another unit"),
    "metres without saying so": (_both(np.diag([0.001, 0.001, 0.001, 1]) @ RAS), "a_img.nii.gz", "another unit"),
    "image without label": (lambda f: (f / "a_GT.nii.gz").unlink(), "a_img.nii.gz", "image without label"),
    "label without image": (lambda f: (f / "a_img.nii.gz").unlink(), "a_GT.nii.gz", "label without image"),
    "second rater without image": (
        lambda f: save(f / "rater2/c_GT.nii.gz", ras_labels()),
        "rater2/c_GT.nii.gz",
        "label without image",
    ),
    "second rater on another grid": (
        lambda f: save(f / "rater2/a_GT.nii.gz", ras_labels(), SHIFTED),
        "rater2/a_GT.nii.gz",
        "another grid",
    ),
    "same image twice": (
        lambda f: (
            save(f / "b_img.nii.gz", *reoriented(ras_image(0), "LPS"))
            or save(f / "b_GT.nii.gz", *reoriented(ras_labels(), "LPS"))
        ),
        "b_img.nii.gz",
        "same voxels as",
    ),
    "capitals only": (
        lambda f: (f / "a_img.nii.gz").rename(f / "B_img.nii.gz") and (f / "a_GT.nii.gz").rename(f / "B_GT.nii.gz"),
        "b_img.nii.gz",
        "capitals",
    ),
    "strange id": (
        lambda f: (f / "a_img.nii.gz").rename(f / "a c_img.nii.gz") and (f / "a_GT.nii.gz").rename(f / "a c_GT.nii.gz"),
        "a c_img.nii.gz",
        "letters",
    ),
    "participants": (
        lambda f: (f / "participants.tsv").write_text("participant_id\tage\na\told\n"),
        "participants.tsv",
        "age of a is 'old'",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_input_is_one_line_and_no_data_set(fault, source, raw, capsys):
    change, *texts = BAD[fault]
    change(source)
    refused(capsys, raw, author(source, *["--rater2"] * (source / "rater2").exists()), *texts)


def test_a_case_id_met_twice_is_refused(tmp_path, raw, capsys):
    for folder in ("one", "two"):
        save(tmp_path / f"scans/{folder}/a_img.nii.gz", ras_image())
    save(tmp_path / "scans/a_GT.nii.gz", ras_labels())
    given = ["-i", str(tmp_path / "scans"), "-d", "501", "-n", "X", "--labels", "author"]
    result = main(
        ["convert", "pairs", *given, "--image-pattern", "*/{case}_img.nii.gz", "--label-pattern", "{case}_GT.nii.gz"]
    )
    refused(capsys, raw, result, "one/a_img.nii.gz", "two/a_img.nii.gz", "share the case id a")


@pytest.mark.parametrize("verb", ["author", "lpm"])
def test_folders_without_cases_are_refused(verb, tmp_path, raw, capsys):
    given = ["convert", verb, "-d", "501", "-i"]
    refused(capsys, raw, main([*given, str(tmp_path / "absent")]), "absent: no such folder")
    (tmp_path / "empty").mkdir()
    refused(capsys, raw, main([*given, str(tmp_path / "empty")]), "is empty")
    (tmp_path / "empty/notes.txt").touch()
    refused(capsys, raw, main([*given, str(tmp_path / "empty")]), "no file")


def test_each_of_several_refusals_is_one_line(source, raw, capsys):
    cut(source / "a_img.nii.gz")
    _put_labels = _labels_with(lambda a: SWAPPED[a])
    _put_labels(source)
    cut(source / "b_GT.nii.gz")
    save(source / "c_img.nii.gz", ras_image(3))
    save(source / "c_GT.nii.gz", ras_labels())
    assert author(source) == 1
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if "error:" in line]
    assert len(lines) == 3
    assert "a_img.nii.gz" in lines[0]
    assert "b_GT.nii.gz" in lines[1]
    assert lines[2] == "paraspinal convert: error: 2 of 3 cases refused; Dataset501_Paraspinal was not written"
    assert "1 case fit, 2 refused; nothing was written" in captured.out
    assert visible(raw) == []


# Flags


@pytest.mark.parametrize(("flags", "result"), [((), 1), (("--allow-empty-label",), 0)])
def test_allow_empty_label(source, raw, flags, result):
    BAD["empty class"][0](source)
    assert author(source, *flags) == result


def test_allow_empty_label_still_wants_some_class(source, raw, capsys):
    BAD["no class"][0](source)
    refused(capsys, raw, author(source, "--allow-empty-label"), "none of the classes")


def test_resample_labels_brings_a_finer_label_onto_the_images_grid(source, raw):
    fine = ras_labels().repeat(2, axis=0).repeat(2, axis=1)
    affine = RAS @ np.diag([0.5, 0.5, 1, 1])
    affine[:3, 3] = RAS[:3, 3] - [1, 1, 0]  # the first voxel of 2 mm is centred 1 mm before that of 4 mm
    save(source / "a_GT.nii.gz", fine, affine)
    assert author(source) == 1
    assert author(source, "--resample-labels") == 0
    labels, written = load(raw / "Dataset501_Paraspinal/labelsTr/a.nii.gz")
    np.testing.assert_array_equal(labels, ras_labels())
    np.testing.assert_array_equal(written, RAS)
    report = json.loads((raw / "Dataset501_Paraspinal/conversion_report.json").read_text())
    assert report["cases"][0]["resampled"]["labelled_ml"] == [17.28, 17.28]


def test_resampling_keeps_the_voxels_at_the_border():
    from paraspinal_nnunet.image_io.checks import match_grid
    from paraspinal_nnunet.image_io.volume import Volume

    full = Volume(np.ones(SHAPE, np.uint8), RAS)
    nudged = RAS.copy()
    nudged[:3, 3] += 0.5
    moved, _ = match_grid(full, Volume(np.zeros(SHAPE), nudged), "x", resample=True)
    assert moved.array.all()


@pytest.mark.parametrize(("number", "status"), [("0", 1), ("1000", 1), ("1", 0), ("999", 0)])
def test_numbers_of_data_sets(source, raw, number, status):
    assert main(["convert", "author", "-i", str(source), "-d", number, "-np", "1"]) == status
    assert len(list(raw.iterdir())) == 1 - status


def test_a_taken_number_names_its_owner(source, raw, capsys):
    (raw / "Dataset501_Other").mkdir()
    assert author(source) == 1
    assert "taken by Dataset501_Other" in errors(capsys)[0]
    assert [p.name for p in raw.iterdir()] == ["Dataset501_Other"]


def test_overwrite_replaces_whatever_has_the_number(source, raw):
    (raw / "Dataset501_Other").mkdir()
    author(source, "--overwrite")
    assert [p.name for p in raw.iterdir()] == ["Dataset501_Paraspinal"]
    (source / "b_img.nii.gz").unlink()
    (source / "b_GT.nii.gz").unlink()
    assert author(source, "--overwrite") == 0
    assert [p.name for p in raw.iterdir()] == ["Dataset501_Paraspinal"]
    assert len(list((raw / "Dataset501_Paraspinal/imagesTr").iterdir())) == 1


def test_a_refused_conversion_leaves_the_old_data_set(source, raw):
    author(source)
    before = (raw / "Dataset501_Paraspinal/dataset.json").stat().st_mtime_ns
    cut(source / "a_img.nii.gz")
    assert author(source, "--overwrite") == 1
    assert visible(raw) == ["Dataset501_Paraspinal"]
    assert (raw / "Dataset501_Paraspinal/dataset.json").stat().st_mtime_ns == before
    assert len(list((raw / "Dataset501_Paraspinal/imagesTr").iterdir())) == 2


def test_overwrite_does_not_remove_its_own_input(source, raw, capsys):
    shutil.copytree(source, raw / "Dataset501_Paraspinal")
    assert author(raw / "Dataset501_Paraspinal", "--overwrite") == 1
    assert "--overwrite would remove" in errors(capsys)[0]
    assert (raw / "Dataset501_Paraspinal/a_img.nii.gz").exists()


def test_a_number_taken_in_the_preprocessed_folder_is_refused(source, raw, tmp_path, monkeypatch, capsys):
    (tmp_path / "pre/Dataset501_Other").mkdir(parents=True)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "pre"))
    refused(capsys, raw, author(source), "pre/Dataset501_Other")


def test_stale_plans_are_noted(source, raw, tmp_path, monkeypatch, capsys):
    (tmp_path / "pre/Dataset501_Paraspinal").mkdir(parents=True)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "pre"))
    assert author(source) == 0
    assert "plan and train again" in capsys.readouterr().out


def test_without_nnunet_raw_the_line_says_what_to_export(source, raw, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw")
    refused(capsys, raw, author(source), "export nnUNet_raw=")


def test_raw_overrides_the_variable(source, raw, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    assert author(source, "--raw", tmp_path / "elsewhere") == 0
    assert list(raw.iterdir()) == []
    assert (tmp_path / "elsewhere/Dataset501_Paraspinal").is_dir()
    assert author(source, "--raw", tmp_path / "absent") == 1


def test_a_label_scheme_that_does_not_exist(source, raw, capsys):
    refused(capsys, raw, pairs(source, labels="theirs"), "--labels theirs", "musclemap-abdomen")


@pytest.mark.parametrize("regex", ["(", "a", "(x)"])
def test_a_subject_pattern_that_does_not_fit(source, raw, regex, capsys):
    refused(capsys, raw, pairs(source, "--subject-pattern", regex), f"--subject-pattern '{regex}'")


@pytest.mark.parametrize("workers", ["0", "-1", "x"])
def test_workers_below_one_are_wrong_usage(source, raw, workers):
    with pytest.raises(SystemExit) as caught:
        author(source, "-np", workers)
    assert caught.value.code == 2


# Atomicity


@pytest.mark.parametrize("error", [RuntimeError("crash"), KeyboardInterrupt()])
def test_a_crash_leaves_nothing(source, raw, monkeypatch, error):
    def crash(*_args):
        raise error

    monkeypatch.setattr(take, "write_labels", crash)
    with pytest.raises(type(error)):
        convert(author_source(), source, number=501, name="X", raw=raw)
    assert list(raw.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(source, raw, monkeypatch, capsys):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(take, "write_labels", full)
    refused(capsys, raw, author(source), "Dataset501_Paraspinal: cannot be written", "No space left")


def test_a_failed_exchange_brings_the_old_data_set_back(source, raw, monkeypatch):
    author(source)
    exchange = os.replace

    def fail(old, new):
        if ".unfinished" in str(old) and Path(new).name == "Dataset501_Paraspinal":
            raise OSError(5, "Input/output error")
        exchange(old, new)

    monkeypatch.setattr(os, "replace", fail)
    assert author(source, "--overwrite") == 1
    assert visible(raw) == ["Dataset501_Paraspinal"]
    assert (raw / "Dataset501_Paraspinal/dataset.json").exists()


def test_a_dead_worker_is_one_line(source, raw, capsys):
    from dataclasses import replace

    dying = replace(author_source(), read_images=_die)
    with pytest.raises(DatasetError, match=r"a worker process died while converting [ab] .*--exclude"):
        convert(dying, source, number=501, name="X", raw=raw, workers=2)
    assert list(raw.iterdir()) == []


def _die(_case):
    os._exit(1)


def test_n4_changes_the_image_alone_and_is_recorded(source, raw):
    assert author(source) == 0
    (dataset,) = raw.iterdir()
    plain = load(next((dataset / "imagesTr").iterdir()))[0]
    labels = {p.name: load(p)[0] for p in (dataset / "labelsTr").iterdir()}
    assert author(source, "--n4", "--overwrite") == 0
    corrected = load(next((dataset / "imagesTr").iterdir()))[0]
    assert corrected.dtype == np.float32
    assert not np.array_equal(corrected, plain)
    assert all(np.array_equal(load(dataset / "labelsTr" / name)[0], array) for name, array in labels.items())
    assert json.loads((dataset / "dataset.json").read_text())["provenance"]["n4_bias_field_correction"] is True


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1000.0), ("meter", 0.001)])
def test_what_was_odd_about_a_header_stands_in_the_report(source, raw, capsys, unit, factor):
    for name, array in (("img", ras_image()), ("GT", ras_labels())):
        save(source / f"a_{name}.nii.gz", array, np.diag([factor] * 3 + [1.0]) @ RAS, unit)
    assert author(source) == 0
    said = {"micron": "header counts in micrometres", "meter": "header counts in metres"}[unit]
    out = capsys.readouterr().out
    assert out.count(f"image: {said}; label: {said}") == 1
    first, second = json.loads((raw / "Dataset501_Paraspinal/conversion_report.json").read_text())["cases"]
    assert (first["image_header"], first["label_header"]) == ([said], [said])
    assert "image_header" not in second


def test_labels_that_lie_elsewhere_are_not_called_empty(source, raw, capsys):
    away = RAS.copy()
    away[2, 3] += 500
    save(source / "a_GT.nii.gz", ras_labels(), away)
    refused(capsys, raw, author(source, "--resample-labels"), "a_GT.nii.gz: lies wholly outside its image", "500 mm")


def test_a_report_that_would_replace_a_folder_is_refused_first(source, raw, tmp_path, capsys):
    assert author(source, "--report", tmp_path) == 1
    captured = capsys.readouterr()
    assert "is a folder; give a file" in captured.err
    assert list(raw.iterdir()) == []


def test_a_report_that_cannot_be_written_does_not_hide_the_data_set(source, raw, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert author(source, "--report", tmp_path / "file" / "report.json") == 1
    captured = capsys.readouterr()
    assert f"written to {raw / 'Dataset501_Paraspinal'}" in captured.out
    assert "report.json: cannot be written" in captured.err


def test_capitals_in_a_format_s_ending_do_not_count(source, raw):
    for path in list(source.iterdir()):
        path.rename(path.with_name(path.name.replace(".nii.gz", ".NII.GZ")))
    assert author(source) == 0
    assert len(list((raw / "Dataset501_Paraspinal/labelsTr").iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "hint"),
    [("{}_IMG.nii.gz", "_IMG.nii.gz differs in capitals only"), ("in/{}_img.nii.gz", "lies in a sub-folder")],
)
def test_a_near_miss_of_the_pattern_is_told(source, raw, capsys, name, hint):
    (source / "in").mkdir()
    for case in "ab":
        (source / f"{case}_img.nii.gz").rename(source / name.format(case))
    refused(capsys, raw, author(source), "no file matches the image pattern", hint)
