"""Sex, age and body mass index from headers; pseudonyms that tell nothing; messages without identifiers."""

import pytest

from paraspinal_nnunet.dicom import deidentify
from paraspinal_nnunet.dicom.records import Patient
from paraspinal_nnunet.errors import InputError


@pytest.mark.parametrize(
    ("age", "born", "scanned", "years"),
    [
        ("063Y", "", "", 63),
        ("018M", "", "", 1),
        ("024M", "", "", 2),
        ("089Y", "", "", 89),
        ("097Y", "", "", 90),
        ("", "19500615", "20200614", 69),
        ("", "19500615", "20200615", 70),
        ("", "19200101", "20200101", 90),
        ("", "19500615", "", None),
        ("", "20300615", "20200614", None),
        ("000Y", "19500615", "20200614", None),
        ("ABC", "", "", None),
        ("", "15.06.1950", "20200614", None),
    ],
)
def test_age(age, born, scanned, years):
    assert deidentify.age_of(Patient(age=age, birth_date=born, study_date=scanned)) == years


@pytest.mark.parametrize(
    ("size", "weight", "bmi"),
    [(1.6, 72, 28.1), (160, 72, None), (0.0, 72, None), (1.6, None, None), (None, 72, None), (1.6, 0, None)],
)
def test_bmi(size, weight, bmi):
    """72 / 1.6^2 = 28.125."""
    assert deidentify.bmi_of(Patient(size_m=size, weight_kg=weight)) == bmi


@pytest.mark.parametrize(("stored", "sex"), [("F", "F"), ("m", "M"), (" O", "O"), ("", ""), ("X", ""), ("Female", "F")])
def test_sex(stored, sex):
    assert deidentify.sex_of(Patient(sex=stored)) == sex


def test_pseudonyms_are_stable_and_one_per_patient():
    patients = [
        Patient(patient_id=i, study_uid=s) for i, s in (("B", "1"), ("A", "2"), ("B", "3"), ("", "4"), ("", "5"))
    ]
    names = deidentify.pseudonyms(patients)
    assert sorted(names.values()) == ["case001", "case002", "case003", "case004"]
    assert deidentify.pseudonyms(patients[::-1]) == names
    many = deidentify.pseudonyms([Patient(patient_id=str(n)) for n in range(1200)])
    assert {len(name) for name in many.values()} == {8}


def test_a_table_of_ids(tmp_path):
    path = tmp_path / "ids.tsv"
    path.write_text("PatientID\tsubject\nA\tsub-01\nB\tsub-02\n")
    table = deidentify.read_ids(path)
    assert deidentify.pseudonyms([Patient(patient_id="B")], table=table) == {"id:B": "sub-02"}
    with pytest.raises(InputError, match=r"no row for 1 of 2 patients") as caught:
        deidentify.pseudonyms([Patient(patient_id="B"), Patient(patient_id="PID-9")], table=table)
    assert "PID-9" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("A sub-01\n", "line 1 does not"), ("A\tx\nA\ty\n", "line 2 repeats"), ("A\tx\nB\tx\n", "line 2 repeats")],
)
def test_bad_tables_of_ids(tmp_path, text, message):
    (tmp_path / "ids.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        deidentify.read_ids(tmp_path / "ids.tsv")


def test_messages_without_identifiers():
    patient = Patient(patient_id="PID-4711", name="Geheimrat^Adelheid^^Dr", birth_date="19500615", study_uid="1.2.3")
    text = "PID-4711/Geheimrat, Adelheid 19500615 [1.2.3]: Dr slice 4"
    assert deidentify.without_identifiers(text, [patient]) == "***/***, *** *** [***]: Dr slice 4"


def test_representations_hide_the_patient(tmp_path):
    pytest.importorskip("pydicom")
    from helpers.dicom_files import SECRETS, save_series, slices

    from paraspinal_nnunet.dicom import find_series

    save_series(slices(), tmp_path)
    (series,) = find_series(tmp_path)
    shown = f"{series!r} {series.frames[0]!r} {series.acquisition} {series.name}"
    assert not [secret for secret in SECRETS if secret in shown]
    assert deidentify.bmi_of(series.header.patient) == 28.1
    assert deidentify.age_of(series.header.patient) == 69
    assert deidentify.identity_of(series.header.patient) == "id:PID-4711-Z"
