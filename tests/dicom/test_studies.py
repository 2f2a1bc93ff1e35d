"""Nobody is counted as another, and a damaged file stops the studies that it may belong to, and no others."""

import shutil

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from helpers.dicom_files import save, save_series, slices
from pydicom.uid import generate_uid

from paraspinal_nnunet.dicom import Kind, scan_study
from paraspinal_nnunet.dicom.studies import check_one_patient, check_series_apart, part_studies
from paraspinal_nnunet.errors import InputError


def person(n, **more):
    return {"PatientID": f"P{n}", "StudyInstanceUID": generate_uid(), **more}


def damage(path):
    path.write_bytes(path.read_bytes()[:400])


@pytest.mark.parametrize(
    ("stacks", "damaged", "sound"),
    [
        ({"": 1, "other": 2}, "IM0005", ["P2"]),
        ({"a/S1": 1, "a/S2": 1, "b": 2}, "a/S3/IM1", ["P2"]),
        ({"a": 1, "b": 2}, "c/IM1", ["P1", "P2"]),
        ({"S1": 1, "S2": 1}, "S3/IM1", []),
        ({"a/S1": 1, "b/S1": 2}, "a/S2/IM1", ["P2"]),
    ],
)
def test_a_damaged_file_touches_the_studies_around_it(tmp_path, stacks, damaged, sound):
    people = {n: person(n) for n in stacks.values()}
    for number, (folder, n) in enumerate(stacks.items()):
        save_series(slices(SeriesNumber=number, **people[n]), tmp_path / folder)
    damage(save(slices()[0], tmp_path / damaged))
    studies, alone = part_studies(scan_study(tmp_path))
    assert sorted({s.series[0].header.patient.patient_id for s in studies if not s.damaged}) == sound
    for study in studies:
        if study.damaged:
            with pytest.raises(InputError, match=rf"^{damaged}: is a damaged DICOM file"):
                study.check_sound()
    assert bool(alone) == (len(sound) == len(people))


def test_an_empty_file_of_a_scanners_name_is_damaged(tmp_path):
    save_series(slices(), tmp_path)
    (tmp_path / "IM0100").touch()
    (tmp_path / "cut.DCM").write_bytes(bytes(100))
    (tmp_path / "notes").touch()
    found = scan_study(tmp_path)
    assert sorted(file.path.name for file in found.damaged) == ["IM0100", "cut.DCM"]
    assert found.other_files == 1


def test_series_without_study_uid_are_parted_by_folder_and_patient(tmp_path):
    nobody = {"StudyInstanceUID": "", "PatientID": "", "PatientName": "", "PatientBirthDate": ""}
    save_series(slices(**nobody), tmp_path / "a")
    save_series(slices(**nobody), tmp_path / "b")
    save_series(slices(**nobody), tmp_path / "b" / "same")
    for n, names in enumerate((None, [f"x{k}" for k in range(10)])):
        save_series(slices(**{**nobody, "PatientID": "P1", "SeriesNumber": n}), tmp_path / "c", names=names)
    for n in range(2):
        save_series(slices(**nobody), tmp_path / "flat", names=[f"{n}{k}" for k in range(10)])
    studies, _ = part_studies(scan_study(tmp_path))
    assert sorted(len(study.series) for study in studies) == [1, 1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    "other",
    [{"PatientID": "P2"}, {"PatientID": ""}, {"PatientName": "Else^Who"}, {"PatientBirthDate": "19010101"}],
)
def test_two_patients_under_one_series_are_refused_by_their_files(tmp_path, other):
    shared = {"SeriesInstanceUID": generate_uid(), "StudyInstanceUID": generate_uid()}
    save_series(slices(**shared), tmp_path / "a")
    save_series(slices(**{**shared, **other}), tmp_path / "b")
    (study,), _ = part_studies(scan_study(tmp_path))
    with pytest.raises(InputError, match=r"2 patients under one SeriesInstanceUID \(a/IM0000 and 9 more; b/IM0000"):
        check_one_patient(study)


def test_one_name_written_differently_is_one_patient(tmp_path):
    made = slices(PatientName="Geheimrat^Adelheid^von")
    for dataset in made[::2]:
        dataset.PatientName = "GEHEIMRAT^ADELHEID^VON^^"
    save_series(made, tmp_path)
    (study,), _ = part_studies(scan_study(tmp_path))
    check_one_patient(study)
    assert [len(s.frames) for s in study.of_kind(Kind.IMAGE)] == [10]


def test_a_series_in_two_studies_is_refused_in_both(tmp_path):
    uid = generate_uid()
    for n in (1, 2):
        save_series(slices(SeriesInstanceUID=uid, **person(n)), tmp_path / str(n))
    save_series(slices(**person(3)), tmp_path / "3")
    studies, _ = part_studies(scan_study(tmp_path))
    faults = check_series_apart(studies)
    assert len(faults) == 2
    assert all("1/IM0000 and 9 more; 2/IM0000 and 9 more" in fault for fault in faults.values())


def test_copies_are_left_out_and_files_that_differ_under_one_uid_are_faults(tmp_path):
    files = save_series(slices(), tmp_path / "a")
    (tmp_path / "backup").mkdir()
    for file in files[:3]:
        shutil.copy(file, tmp_path / "backup" / file.name)
    found = scan_study(tmp_path)
    assert [len(s.frames) for s in found.series] == [10]
    assert (found.copies, found.damaged) == (3, ())
    changed = slices()[4]
    first = slices()[4]
    first.SOPInstanceUID = changed.SOPInstanceUID = generate_uid()
    changed.EchoTime = 50.0
    save(first, tmp_path / "c" / "x")
    save(changed, tmp_path / "c" / "y")
    assert "y: differs from x, but has its SOPInstanceUID" in scan_study(tmp_path / "c").damaged[0].reason
