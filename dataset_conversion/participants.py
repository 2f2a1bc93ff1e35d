"""participants.tsv: sex, age and body mass index of the subjects."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from paraspinal_nnunet.dataset_conversion.case import Demographics, Found
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.nnunet.people import read_amount, read_sex
from paraspinal_nnunet.utils.tables import read_table

FILE_NAME = "participants.tsv"


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
    cells = {"sex": sex, "age": age, "bmi": bmi}
    known: dict[str, Any] = {}
    for column, text in cells.items():
        try:
            known[column] = read_sex(text) if column == "sex" else read_amount(text, column)
        except ValueError as error:
            raise InputError(f"{path}: {column} of {name} is '{text}'; {error}") from error
    return Demographics(**known)


def with_people(found: Found, people: Mapping[str, Demographics], file_name: str) -> Found:
    """Give each case what is known of its subject, and note the subjects that are not in the table."""
    cases = tuple(replace(c, person=people.get(_bare(c.subject), c.person)) for c in found.cases)
    absent = sorted({c.subject for c in found.cases if _bare(c.subject) not in people})
    notes = (f"{file_name} has no row for {', '.join(absent)}",) if absent else ()
    return replace(found, cases=cases, notes=found.notes + notes)


def _bare(name: str) -> str:
    return name.strip().removeprefix("sub-")
