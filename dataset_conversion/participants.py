"""participants.tsv: sex, age and body mass index of the subjects."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from paraspinal_nnunet.dataset_conversion.case import Demographics, Found
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.nnunet.datasets import MISSING
from paraspinal_nnunet.utils.tables import number, read_table

FILE_NAME = "participants.tsv"

_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M", "o": "O", "other": "O"}
_NOT_KNOWN = ("", MISSING, "na", "nan")


def read_participants(path: Path) -> dict[str, Demographics]:
    """Read a table as BIDS has it.

    Args:
        path: With participant_id and any of sex (F, M, O or in full), age (years), bmi (kg/m2); other
            columns are left out.

    Returns:
        Participant id, without a leading ``sub-``, to what is known.

    Raises:
        InputError: Missing, no such column, an id twice, or a value that cannot be understood.
    """
    table = read_table(path, ("participant_id",), lower=True)
    people: dict[str, Demographics] = {}
    for row in table.to_dict("records"):
        name = _bare(str(row["participant_id"]))
        if name in people:
            raise InputError(f"{path}: participant {name} stands there twice")
        known = {column: str(row.get(column, "")) for column in ("sex", "age", "bmi")}
        people[name] = person_of(name, path=path, **known)
    return people


def person_of(name: str, *, path: Path, sex: str = "", age: str = "", bmi: str = "") -> Demographics:
    """A person from the cells of a table.

    Args:
        name: For messages.
        path: The table, for messages.
        sex: F, M, O or in full; '' and n/a where it is not known, here and below.
        age: Years.
        bmi: kg/m2.

    Raises:
        InputError: A value that cannot be understood.
    """
    return Demographics(
        _sex(sex, path, name), _number(age, path, f"age of {name}"), _number(bmi, path, f"bmi of {name}")
    )


def with_people(found: Found, people: Mapping[str, Demographics], file_name: str) -> Found:
    """Give each case what is known of its subject, and note the subjects that are not in the table."""
    cases = tuple(replace(c, person=people.get(_bare(c.subject), c.person)) for c in found.cases)
    absent = sorted({c.subject for c in found.cases if _bare(c.subject) not in people})
    notes = (f"{file_name} has no row for {', '.join(absent)}",) if absent else ()
    return replace(found, cases=cases, notes=found.notes + notes)


def _bare(name: str) -> str:
    return name.strip().removeprefix("sub-")


def _sex(text: str, path: Path, name: str) -> str:
    known = text.strip().lower()
    if known in _NOT_KNOWN:
        return ""
    if known not in _SEXES:
        raise InputError(f"{path}: sex of {name} is '{text}'; write F, M, O or {MISSING}")
    return _SEXES[known]


def _number(text: str, path: Path, what: str) -> float | None:
    if text.strip().lower() in _NOT_KNOWN:
        return None
    try:
        value = number(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise InputError(f"{path}: {what} is '{text}'; write a number greater than 0 or {MISSING}")
    return value
