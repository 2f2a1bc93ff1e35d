"""People: whose a scan is by its name, and sex, age and body mass index as tables have them, alike in all commands."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from paraspinal_nnunet.utils.tables import number

NOT_KNOWN = ("", "n/a", "na", "nan", "unknown", "none", "null", "?", ".")
"""Cells, in small letters, that say that nothing is known."""

RANGES: Mapping[str, tuple[float, float]] = MappingProxyType({"age": (0.0, 120.0), "bmi": (8.0, 100.0)})
"""Years and kg/m2, more than the first and at most the second: beyond lie -999 and the like, months, other units."""

_SEXES = {"f": "F", "female": "F", "woman": "F", "m": "M", "male": "M", "man": "M", "o": "O", "other": "O"}

_SUBJECT = re.compile(r"(sub-[A-Za-z0-9]+)(?:_|$)")


def subject_of(case: str) -> str:
    """The subject that a case's name tells, as BIDS writes it, or an empty text.

    >>> subject_of("sub-07_ses-2_T2w"), subject_of("anna_2019")
    ('sub-07', '')
    """
    found = _SUBJECT.match(case)
    return found[1] if found else ""


def read_sex(text: str) -> str:
    """``'F'``, ``'M'``, ``'O'``, or ``''`` where it is not known.

    Raises:
        ValueError: Anything else; codes in numbers mean one thing here and another there.

    >>> read_sex(" female"), read_sex("N/A")
    ('F', '')
    """
    known = text.strip().lower()
    if known in NOT_KNOWN:
        return ""
    if known not in _SEXES:
        raise ValueError("write F, M, O or n/a")
    return _SEXES[known]


def read_amount(text: str, column: str) -> float | None:
    """An age or a body mass index; None where it is not known.

    Args:
        text: The cell.
        column: A key of `RANGES`.

    Raises:
        ValueError: No number, or one that nobody has.

    >>> read_amount("45,5", "age"), read_amount("unknown", "age")
    (45.5, None)
    """
    if text.strip().lower() in NOT_KNOWN:
        return None
    low, high = RANGES[column]
    try:
        value = number(text)
    except ValueError:
        value = low
    if not low < value <= high:
        raise ValueError(f"write a number greater than {low:g} and up to {high:g}, or n/a")
    return value
