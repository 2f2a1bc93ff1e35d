"""What may leave of a patient: sex, age in years and body mass index; names of subjects are pseudonyms."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from paraspinal_nnunet.dicom.records import Patient
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.tables import read_rows

AGE_CAP_YEARS = 90
"""Ages above 89 count as identifying and are given as this. Source: 45 CFR 164.514(b)(2)(i)(C)."""

DAYS_PER_YEAR = 365.25
_YEARS_PER_UNIT = {"Y": 1.0, "M": 1 / 12, "W": 7 / DAYS_PER_YEAR, "D": 1 / DAYS_PER_YEAR}
_SEXES = ("F", "M", "O")
_BMI_RANGE = (8.0, 100.0)
"""Outside lies a header that counts in centimetres or pounds, or holds zeros."""


def sex_of(patient: Patient) -> str:
    """``'F'``, ``'M'``, ``'O'``, or ``''`` where the header does not say."""
    sex = patient.sex.strip().upper()[:1]
    return sex if sex in _SEXES else ""


def age_of(patient: Patient) -> float | None:
    """Whole years at the scan: by PatientAge, else by the dates; at most `AGE_CAP_YEARS`; None where unknown.

    >>> age_of(Patient(age="063Y"))
    63.0
    >>> age_of(Patient(birth_date="19500615", study_date="20200614"))
    69.0
    """
    text = patient.age.strip().upper()
    years: float | None = None
    if len(text) > 1 and text[:-1].isdecimal() and text[-1] in _YEARS_PER_UNIT:
        years = float(int(int(text[:-1]) * _YEARS_PER_UNIT[text[-1]] + 1e-9))
    elif _is_date(patient.birth_date) and _is_date(patient.study_date):
        before_birthday = patient.study_date[4:] < patient.birth_date[4:]
        years = float(int(patient.study_date[:4]) - int(patient.birth_date[:4]) - before_birthday)
    if years is None or not 0 < years < 150:
        return None
    return min(years, float(AGE_CAP_YEARS))


def bmi_of(patient: Patient) -> float | None:
    """Body mass index in kg/m2 to one decimal, from weight and height; None where one is missing or implausible."""
    if not patient.size_m or not patient.weight_kg:
        return None
    bmi = patient.weight_kg / patient.size_m**2
    return round(bmi, 1) if _BMI_RANGE[0] < bmi < _BMI_RANGE[1] else None


def identity_of(patient: Patient) -> str:
    """What tells one patient from another within a batch: PatientID, or the study where that is empty.

    A study without either is nobody else's: its `study_uid` must have been given a name of its own before.
    """
    return f"id:{patient.patient_id}" if patient.patient_id else f"study:{patient.study_uid}"


def order_of(text: str) -> bytes:
    """A key to sort by that tells nothing of the text."""
    return hashlib.sha256(text.encode()).digest()


def pseudonyms(patients: Iterable[Patient], *, table: Mapping[str, str] | None = None) -> dict[str, str]:
    """Subject names for a batch of patients.

    Without a table they are ``case001``, ``case002``, ... in the order of a hash of the identity, so that the same
    batch always gets the same names, and neither order nor name tells anything of the patient.

    Args:
        patients: One per study; the same patient may come several times.
        table: PatientID -> subject.

    Returns:
        `identity_of` -> subject.

    Raises:
        InputError: A patient who is not in the table.
    """
    by_identity = {identity_of(p): p for p in patients}
    if table is not None:
        absent = [p for p in by_identity.values() if p.patient_id not in table]
        if absent:
            raise InputError(f"--ids: has no row for {len(absent)} of {len(by_identity)} patients; add their PatientID")
        return {identity: table[p.patient_id] for identity, p in by_identity.items()}
    ordered = sorted(by_identity, key=order_of)
    digits = max(3, len(str(len(ordered))))
    return {identity: f"case{n:0{digits}d}" for n, identity in enumerate(ordered, start=1)}


def read_ids(path: Path) -> dict[str, str]:
    """A table of PatientID and subject, with or without a heading that begins with ``PatientID``.

    Raises:
        InputError: Unreadable, a line without two columns, a PatientID or subject twice.
    """
    rows = read_rows(path)
    if rows and rows[0][1][0].lower() in ("patientid", "patient_id"):
        rows = rows[1:]
    table: dict[str, str] = {}
    for n, cells in rows:
        if len(cells) != 2 or not all(cells):
            raise InputError(f"{path}: line {n} does not hold a PatientID and a subject")
        if cells[0] in table or cells[1] in table.values():
            raise InputError(f"{path}: line {n} repeats a PatientID or a subject")
        table[cells[0]] = cells[1]
    return table


def identifiers(patient: Patient) -> tuple[str, ...]:
    """The texts that must not be found in anything written: names, id, dates and study UID, also by part."""
    names = [part for part in patient.name.replace("^", " ").replace("=", " ").split() if len(part) > 2]
    texts = (patient.patient_id, patient.birth_date, patient.study_date, patient.study_uid, *names)
    return tuple(dict.fromkeys(t for t in texts if len(t) > 2))


def without_identifiers(text: str, patients: Sequence[Patient]) -> str:
    """A message with everything that identifies a patient replaced by ``***``."""
    for patient in patients:
        for secret in sorted(identifiers(patient), key=len, reverse=True):
            text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    return text


def _is_date(text: str) -> bool:
    return len(text) == 8 and text.isdecimal()
