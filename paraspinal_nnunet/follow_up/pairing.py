"""Which scans are of one person: by subject or case name, or by a table that says so."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.follow_up.scans import MeasuredScan
from paraspinal_nnunet.nnunet.people import subject_of
from paraspinal_nnunet.utils.tables import read_table
from paraspinal_nnunet.utils.text import pluralize

Scans = Mapping[str, MeasuredScan]
_SESSION = re.compile(r"sub-[A-Za-z0-9]+_ses-([A-Za-z0-9]+)(?:_|$)")
_FIRST_WORDS = ("pre", "preop", "before", "baseline", "base", "bl", "initial", "first", "screening", "admission")
_LAST_WORDS = ("post", "postop", "after", "followup", "fu", "final", "last", "discharge")
"""Sessions' names that say themselves what they are, beside any number."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """Two scans of one person.

    Attributes:
        person: Name for tables and pages.
        earlier: The first scan.
        later: The second.
        assumed: Nothing but their being alone says that they are of one person.
    """

    person: str
    earlier: MeasuredScan
    later: MeasuredScan
    assumed: bool = False

    @property
    def same_stack(self) -> bool:
        """Whether both have the same slices at the same place, as two masks of one scan have."""
        first, second = (scan.record["stack"] for scan in (self.earlier, self.later))
        return bool(first["shape"] == second["shape"] and first["affine_ras"] == second["affine_ras"])


def pair_scans(earlier: Scans, later: Scans, table: Path | None = None) -> tuple[Pair, ...]:
    """Pair the scans of two time points.

    Scans of one BIDS subject belong together, else scans of one case name; of two folders with one scan each those two.

    Args:
        earlier: The first time point, by case.
        later: The second.
        table: Columns earlier, later (names of cases) and, if wanted, person.

    Raises:
        InputError: Nobody has two scans, a person has several in one folder, two subjects in one pair, unknown cases.
    """
    if table is not None:
        return _by_table(earlier, later, table)
    groups = [_by_person(scans, which) for scans, which in ((earlier, "earlier"), (later, "later"))]
    common = [person for person in groups[0] if person in groups[1]]
    if common:
        for group, other, which in ((*groups, "earlier"), (*groups[::-1], "later")):
            _tell_alone([person for person in group if person not in other], f"only {which}")
        return tuple(Pair(person, groups[0][person], groups[1][person]) for person in common)
    if len(earlier) == len(later) == 1:
        return (_only_pair(next(iter(earlier.values())), next(iter(later.values()))),)
    shown = " and ".join(", ".join(list(group)[:3]) for group in groups)
    raise InputError(f"no person has two scans (earlier and later: {shown}); say which belong together with --pairs")


def pair_sessions(scans: Scans, where: Path) -> tuple[Pair, ...]:
    """Pair the two sessions that each BIDS subject of one folder has, in the order that their names tell.

    Args:
        scans: By case, ``sub-*_ses-*``.
        where: Their folder, for messages.

    Raises:
        InputError: A name without session, nobody with two sessions, a subject with more than two scans or two of one
            session, or sessions whose names do not tell which is the earlier.
    """
    found: dict[str, list[MeasuredScan]] = {}
    for case in sorted(scans):
        if not session_of(case):
            raise InputError(f"{where}: {case} names no session (sub-*_ses-*); give two folders, or --pairs")
        found.setdefault(subject_of(case), []).append(scans[case])
    for subject, own in found.items():
        if len(own) > 2:
            names = ", ".join(scan.case for scan in own[:4])
            raise InputError(f"{where}: {subject} has {len(own)} scans ({names}); say which two count with --pairs")
    _tell_alone([subject for subject, own in found.items() if len(own) == 1], "one session")
    pairs = tuple(_in_order(subject, own, where) for subject, own in found.items() if len(own) == 2)
    if not pairs:
        raise InputError(f"{where}: no subject has two sessions; give two folders, or --pairs")
    return pairs


def session_comes_first(one: str, other: str) -> bool | None:
    """Whether a session is the earlier one by its name; None where the names do not tell.

    They tell where they differ in a number alone, in one letter alone, or where one of them is a word for the first or
    the last visit.

    >>> session_comes_first("2", "10"), session_comes_first("post", "pre"), session_comes_first("1y", "6m")
    (True, False, None)
    """
    (words, numbers), (other_words, other_numbers) = _parts(one), _parts(other)
    if words == other_words:
        return None if numbers == other_numbers else numbers < other_numbers
    for known, comes_first in ((_FIRST_WORDS, True), (_LAST_WORDS, False)):
        told = [each.replace("#", "") in known for each in (words, other_words)]
        if told[0] != told[1]:
            return told[0] is comes_first
    return words < other_words if len(words) == len(other_words) == 1 and (words + other_words).isalpha() else None


def session_of(case: str) -> str:
    """The session that a case's name tells, as BIDS writes it, or an empty text.

    >>> session_of("sub-07_ses-2_T2w"), session_of("sub-07_T2w")
    ('2', '')
    """
    found = _SESSION.match(case)
    return found[1] if found else ""


def _parts(session: str) -> tuple[str, tuple[int, ...]]:
    """A session's name with ``#`` for each number, and the numbers."""
    return re.sub(r"\d+", "#", session.lower()), tuple(map(int, re.findall(r"\d+", session)))


def _in_order(subject: str, own: Sequence[MeasuredScan], where: Path) -> Pair:
    sessions = [session_of(scan.case) for scan in own]
    if sessions[0] == sessions[1]:
        names = " and ".join(scan.case for scan in own)
        raise InputError(f"{where}: {names} are of one session; say which scans count with --pairs")
    first = session_comes_first(*sessions)
    if first is None:
        raise InputError(
            f"{where}: the names of {subject}'s sessions, {' and '.join(sessions)}, do not tell which is the earlier; "
            "give two folders, or --pairs"
        )
    earlier, later = own if first else own[::-1]
    return Pair(subject, earlier, later)


def _tell_alone(people: Sequence[str], where: str) -> None:
    if people:
        names = ", ".join(people[:5]) + (", ..." if len(people) > 5 else "")
        log.warning(
            "%s without a second scan (%s), left out: %s", pluralize(len(people), "person", "people"), where, names
        )


def _by_person(scans: Scans, which: str) -> dict[str, MeasuredScan]:
    found: dict[str, MeasuredScan] = {}
    for case, scan in scans.items():
        person = subject_of(case) or case
        if person in found:
            raise InputError(
                f"{which}: {person} has several scans ({found[person].case}, {case}); say which count with --pairs"
            )
        found[person] = scan
    return found


def _only_pair(earlier: MeasuredScan, later: MeasuredScan) -> Pair:
    _refuse_two_people(earlier, later, "")
    return Pair(f"{earlier.case} and {later.case}", earlier, later, assumed=True)


def _by_table(earlier: Scans, later: Scans, table: Path) -> tuple[Pair, ...]:
    rows = read_table(table, ("earlier", "later"), lower=True)
    pairs: list[Pair] = []
    for line, row in rows.iterrows():
        where = f"{table}: line {line}"
        for column, scans in (("earlier", earlier), ("later", later)):
            if row[column] not in scans:
                raise InputError(
                    f"{where}: {row[column] or 'nothing'} is no {column} scan; there are {', '.join(list(scans)[:5])}"
                    f"{', ...' if len(scans) > 5 else ''} ({pluralize(len(scans), 'case')})"
                )
        first, second = earlier[row["earlier"]], later[row["later"]]
        person = row.get("person", "")
        if not person:
            _refuse_two_people(first, second, f"{where}: ")
            person = subject_of(first.case) or subject_of(second.case) or first.case
        if person in {pair.person for pair in pairs}:
            raise InputError(f"{where}: {person} has a pair already; give each pair its own name in a column person")
        pairs.append(Pair(person, first, second))
    if not pairs:
        raise InputError(f"{table}: names no pair")
    return tuple(pairs)


def _refuse_two_people(earlier: MeasuredScan, later: MeasuredScan, where: str) -> None:
    subjects = subject_of(earlier.case), subject_of(later.case)
    if all(subjects) and subjects[0] != subjects[1]:
        raise InputError(
            f"{where}{earlier.case} is of {subjects[0]}, {later.case} of {subjects[1]}: two people; if they are one, "
            "say so with --pairs and a column person"
        )
