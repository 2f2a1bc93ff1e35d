"""DICOM as scanners and archives hand it out, through `paraspinal convert dicom`: nothing mixed, halved or dropped."""

import json

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from helpers.dicom_files import phantom_labels, save, save_seg, save_series, segmentation, slices, voxels
from pydicom.uid import generate_uid

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.image_io.images import read_image

SHAPE = (24, 20, 16)
NOBODY = {"PatientID": "", "PatientName": "", "PatientBirthDate": "", "StudyInstanceUID": ""}


@pytest.fixture
def studies(tmp_path):
    return tmp_path / "in"


def person(n):
    return {"PatientID": f"P{n}", "StudyInstanceUID": generate_uid()}


def stack(n=0, change=None, **headers):
    """16 slices; `change` edits each, given its place."""
    made = slices(voxels(SHAPE, seed=n), **{**person(n), **headers})
    for place, dataset in enumerate(made):
        if change:
            change(dataset, place)
    return made


def add(folder, made, *, preamble=True):
    """Write a stack and its SEG."""
    for place, dataset in enumerate(made):
        save(dataset, folder / f"IM{place:02d}", preamble=preamble)
    save_seg(segmentation(made, phantom_labels(SHAPE)), folder / "seg" / "SEG")


def convert(folder, *flags):
    return main(["convert", "dicom", "-i", str(folder), "-d", "601", "-np", "1", *map(str, flags)])


def images(raw):
    return sorted((raw / "Dataset601_Dicom" / "imagesTr").glob("*.nii.gz"))


def expected(array):
    """As read from an axial DICOM: columns to the left, rows to the back, slices upwards, turned to RAS+."""
    return array[::-1, ::-1]


def in_ras(path):
    volume = read_image(path)
    return np.asarray(to_ras(volume.array, volume.affine)[0])


def refused(raw, capsys, folder, *flags):
    """The message of a conversion that wrote nothing."""
    assert convert(folder, *flags) == 1
    assert images(raw) == []
    return capsys.readouterr().err


@pytest.mark.parametrize("value", [lambda k: 102 if k < 9 else 102.3, lambda k: 102 if k % 2 else 102.3])
def test_rounded_echo_times_are_one_stack(raw, studies, value):
    add(studies / "a", stack(change=lambda dataset, k: setattr(dataset, "EchoTime", value(k))))
    assert convert(studies) == 0
    (image,) = images(raw)
    np.testing.assert_array_equal(in_ras(image), expected(voxels(SHAPE)))


@pytest.mark.parametrize("study", ["one", "two"])
def test_two_patients_in_one_series_are_refused_by_their_files(raw, studies, capsys, study):
    shared = {"SeriesInstanceUID": generate_uid()}
    if study == "one":
        shared["StudyInstanceUID"] = generate_uid()
    add(studies / "s" / "a", stack(1, **shared))
    save_series(stack(2, **shared), studies / "s" / "b", names=[f"IM{k:02d}" for k in range(16)])
    assert "(a/IM00 and 15 more; b/IM00 and 15 more)" in refused(raw, capsys, studies)


def test_a_series_in_two_folders_is_refused_in_both_by_its_files(raw, studies, capsys, tmp_path):
    uid = generate_uid()
    for n in (1, 2):
        add(studies / f"Oberhuber{n}", stack(n, SeriesInstanceUID=uid))
    err = refused(raw, capsys, studies, "--report", tmp_path / "report.json")
    both = "; ".join(f"{studies / f'Oberhuber{n}'}/IM00 and 15 more" for n in (1, 2))
    assert err.count(f"({both})") == 2
    assert "Oberhuber" not in (tmp_path / "report.json").read_text()


@pytest.mark.parametrize("places", [("a", "b"), ("", "b"), ("", "")])
def test_nobody_without_study_uid_is_dropped(raw, studies, capsys, places):
    for n, place in enumerate(places):
        save_series(stack(n, **NOBODY), studies / "s" / place, names=[f"{n}{k:02d}" for k in range(16)])
    save_seg(segmentation(stack(0, **{**NOBODY, "PatientID": "P"}), phantom_labels(SHAPE)), studies / "s" / "SEG")
    err = refused(raw, capsys, studies)
    assert "holds 2 studies that have no StudyInstanceUID (" in err
    assert all(f"{n}00 and 15 more" in err for n in range(2))


def test_people_without_any_id_stay_two_subjects(raw, studies):
    for n in range(2):
        add(studies / f"s{n}", stack(n, **NOBODY))
    assert convert(studies) == 0
    rows = (raw / "Dataset601_Dicom" / "cases.tsv").read_text().splitlines()[1:]
    assert len({row.split("\t")[1] for row in rows}) == 2
    found = {in_ras(image).tobytes() for image in images(raw)}
    assert found == {expected(voxels(SHAPE, seed=n)).tobytes() for n in range(2)}


def test_one_patient_without_study_uid_is_one_study(raw, studies):
    add(studies / "s", stack(1, StudyInstanceUID=""))
    sagittal = stack(1, StudyInstanceUID="", orientation=(0, 1, 0, 0, 0, -1), SeriesNumber=2)
    save_series(sagittal, studies / "s" / "b")
    assert convert(studies) == 0
    assert len(images(raw)) == 1


def test_a_damaged_file_refuses_its_own_study_alone(raw, studies, capsys):
    add(studies / "cut", stack(1))
    add(studies / "whole", stack(2))
    file = studies / "cut" / "IM05"
    file.write_bytes(file.read_bytes()[:300])
    assert f"{studies / 'cut'}: IM05: is a damaged DICOM file" in refused(raw, capsys, studies)
    assert convert(studies, "--skip-refused") == 1
    (image,) = images(raw)
    np.testing.assert_array_equal(in_ras(image), expected(voxels(SHAPE, seed=2)))


def test_files_without_preamble(raw, studies):
    add(studies / "a", stack(), preamble=False)
    assert convert(studies) == 0
    np.testing.assert_array_equal(in_ras(images(raw)[0]), expected(voxels(SHAPE)))


def test_inverted_grey_values_are_turned_and_said(raw, studies, capsys):
    add(studies / "a", stack(change=lambda dataset, _: setattr(dataset, "PhotometricInterpretation", "MONOCHROME1")))
    assert convert(studies) == 0
    assert "MONOCHROME1" in capsys.readouterr().out
    np.testing.assert_array_equal(in_ras(images(raw)[0]), expected(65535 - voxels(SHAPE)))


def test_identifiers_are_kept_and_several_studies_in_a_folder_are_not_one(raw, studies, capsys):
    add(studies / "Meier", stack(1))
    shared = person(2)
    for n in range(2):
        save_series(stack(2, **{**shared, "StudyInstanceUID": generate_uid()}), studies / "Huber" / f"visit{n}")
    err = refused(raw, capsys, studies, "--keep-identifiers")
    assert f"{studies / 'Huber'}: holds 2 studies (visit" in err
    assert convert(studies, "--keep-identifiers", "--skip-refused") == 1
    assert [path.name for path in images(raw)] == ["Meier_0000.nii.gz"]


def test_results_inside_the_input_are_refused_and_the_input_stays(raw, studies, capsys):
    add(studies / "Meier", stack(1))
    before = {path: path.read_bytes() for path in studies.rglob("*") if path.is_file()}
    (inside := studies / "results").mkdir()
    assert convert(studies, "--keep-identifiers", "--raw", inside) == 1
    assert str(studies) in capsys.readouterr().err
    assert convert(studies, "--keep-identifiers", "--report", studies / "Meier" / "IM00") == 1
    assert {path: path.read_bytes() for path in studies.rglob("*") if path.is_file()} == before


def test_a_report_of_everything_that_was_refused(raw, studies, tmp_path):
    add(studies / "good", stack(1))
    (studies / "empty").mkdir()
    assert convert(studies, "--report", tmp_path / "report.json") == 1
    assert json.loads((tmp_path / "report.json").read_text())["cases_refused"] == 1
    assert images(raw) == []


def test_where_no_study_is_sound_the_reason_is_the_damage(raw, studies, capsys):
    for file in save_series(stack(1), studies / "cut"):
        file.write_bytes(file.read_bytes()[:300])
    assert f"{studies / 'cut'}: IM0000: is a damaged DICOM file" in refused(raw, capsys, studies)
