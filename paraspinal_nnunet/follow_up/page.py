"""The page of a follow-up: for each person what speaks against the pair, both pictures, and the changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.follow_up.changes import COMMON, LEVEL, WHOLE, Change
from paraspinal_nnunet.follow_up.outputs import PairResult
from paraspinal_nnunet.follow_up.scans import MeasuredScan
from paraspinal_nnunet.html.case_page import ordered_flags
from paraspinal_nnunet.html.document import document
from paraspinal_nnunet.html.measure_tables import METHODS, MISSING, NOTHING, muscle_name
from paraspinal_nnunet.html.tables import Heading, PageCell, PageRow, PageTable
from paraspinal_nnunet.html.viewer.colours import hex_colour, overlay_colour
from paraspinal_nnunet.utils.files import write_text
from paraspinal_nnunet.utils.text import number_text, pluralize

MOST_PEOPLE = 200
"""People with tables on the page, the first; the tables hold all."""

_BEYOND = {"yes": "yes", "no": "no", "unknown": "not known", "": NOTHING}


@dataclass(frozen=True)
class _Shown:
    """How a measure is displayed: its name, unit, digits after the point, and what values are multiplied by."""

    title: str
    unit: str
    digits: int
    factor: float = 1.0


_WHOLES = {
    "volume_ml": _Shown("Volume", "ml", 1),
    "csa_max_mm2": _Shown("Largest cross-sectional area in one slice", "mm²", 0),
    "fat_fraction": _Shown("Fat", "% of the muscle", 1, 100.0),
}
_LEVELS = {
    "csa_mid_mm2": _Shown("Cross-sectional area in the level's middle slice", "mm²", 0),
    "fat_fraction": _Shown("Fat", "% of the muscle", 1, 100.0),
}


def follow_up_page(results: Sequence[PairResult], *, about: str) -> str:
    """The whole page.

    Args:
        results: Of all pairs.
        about: Where the smallest detectable changes come from.
    """
    return document(
        "follow_up.html",
        "Follow-up: paraspinal muscles",
        parts=("follow_up", "tables"),
        opening=f"Two scans of {pluralize(len(results), 'person', 'people')} compared.",
        about=about,
        people=[_person(result) for result in results[:MOST_PEOPLE]],
        left_out=len(results) - MOST_PEOPLE if len(results) > MOST_PEOPLE else 0,
    )


def _person(result: PairResult) -> dict[str, Any]:
    pair = result.pair
    return {
        "name": pair.person,
        "scans": [(when, scan.case, _picture(scan)) for when, scan in _times(result)],
        "flags": ordered_flags(result.flags),
        "tables": [*_whole_tables(result.changes), *_level_tables(result.changes)],
    }


def _times(result: PairResult) -> tuple[tuple[str, MeasuredScan], ...]:
    return ("Earlier", result.pair.earlier), ("Later", result.pair.later)


def _picture(scan: MeasuredScan) -> bytes:
    """The picture that `paraspinal predict` leaves beside the mask, two folders above the measures; nothing else."""
    path = scan.folder.parent.parent / f"{scan.case}.png"
    return path.read_bytes() if path.is_file() else b""


def _whole_tables(changes: Sequence[Change]) -> list[PageTable]:
    found = []
    for measure, shown in _measures(changes, WHOLE, _WHOLES):
        own = [c for c in changes if c.scope in (WHOLE, COMMON) and c.measure == measure]
        rows = [_row(change, shown) for change in own]
        headings = (
            Heading("Muscle", is_name=True), Heading("Side", is_name=True), Heading("Part", is_name=True),
            *(Heading(text, shown.unit) for text in ("Earlier", "Later", "Change")),
            Heading("Change", "% of the earlier value"), Heading("Smallest detectable", shown.unit),
            Heading("Beyond it"),
        )  # fmt: skip
        found.append(PageTable(headings, _grouped(own, rows), _title(measure, shown)))
    return found


def _row(change: Change, shown: _Shown) -> tuple[PageCell, ...]:
    numbers = [_number(v * shown.factor, shown.digits) for v in (change.earlier, change.later)]
    limit = _number(change.detectable * shown.factor, shown.digits)
    limit = f"at most {limit}" if change.detectable_kind == "upper bound" else limit
    no_voxels = isnan(change.change) and "no voxels" in change.note
    cells = [
        MISSING if no_voxels and isnan(v) else n for v, n in zip((change.earlier, change.later), numbers, strict=True)
    ]
    mark = "*" if change.note and change.scope == WHOLE and not no_voxels else ""
    return (
        *_names(change),
        PageCell(change.place or f"whole{mark}", kind="name"),
        *(PageCell(text, kind="missing" if text == MISSING else "") for text in cells),
        PageCell(_signed(change.change * shown.factor, shown.digits)),
        PageCell(_signed(change.change_percent, 1)),
        PageCell(limit),
        PageCell(_BEYOND[change.beyond], kind="beyond" if change.beyond == "yes" else ""),
    )


def _level_tables(changes: Sequence[Change]) -> list[PageTable]:
    """A column per level; in each cell earlier, later and the change, bold where that is beyond the detectable."""
    found = []
    places = list(dict.fromkeys(c.place for c in changes if c.scope == LEVEL))
    for measure, shown in _measures(changes, LEVEL, _LEVELS):
        own = {(c.muscle, c.side, c.place): c for c in changes if c.scope == LEVEL and c.measure == measure}
        firsts = [own[next(k for k in own if k[:2] == who)] for who in dict.fromkeys(key[:2] for key in own)]
        rows = [
            (*_names(first), *(_level_cell(own.get((first.muscle, first.side, place)), shown) for place in places))
            for first in firsts
        ]
        headings = (
            Heading("Muscle", is_name=True), Heading("Side", is_name=True),
            *(Heading(place, shown.unit) for place in places),
        )  # fmt: skip
        found.append(
            PageTable(headings, _grouped(firsts, rows), f"{_title(measure, shown)}, by level: earlier → later (change)")
        )
    return found


def _level_cell(change: Change | None, shown: _Shown) -> PageCell:
    if change is None:
        return PageCell(NOTHING)
    values = [_number(v * shown.factor, shown.digits) for v in (change.earlier, change.later)]
    text = f"{values[0]} → {values[1]} ({_signed(change.change * shown.factor, shown.digits)})"
    return PageCell(text, kind="beyond" if change.beyond == "yes" else "")


def _measures(changes: Sequence[Change], scope: str, shown: dict[str, _Shown]) -> list[tuple[str, _Shown]]:
    """The columns of a scope that the page shows, each method's fat by itself."""
    names = list(dict.fromkeys(c.measure for c in changes if c.scope == scope))
    return [(name, look) for start, look in shown.items() for name in names if name == start or _method(name, start)]


def _method(measure: str, start: str) -> str:
    """The way in which fat was measured, from a column's name; empty for other columns."""
    method = measure.removeprefix(f"{start}_")
    return method if start == "fat_fraction" and method in METHODS else ""


def _title(measure: str, shown: _Shown) -> str:
    method = _method(measure, "fat_fraction")
    return f"{shown.title}: {METHODS[method]}" if method else shown.title


def _names(change: Change) -> tuple[PageCell, PageCell]:
    structure = BY_KEY[f"{change.muscle}_{change.side}"]
    colour = hex_colour(overlay_colour(structure))
    return PageCell(muscle_name(change.muscle), is_name=True, colour=colour), PageCell(change.side, kind="name")


def _grouped(changes: Sequence[Change], rows: Sequence[tuple[PageCell, ...]]) -> tuple[PageRow, ...]:
    """Rows with a line above each new muscle."""
    muscles = [change.muscle for change in changes]
    starts = [place > 0 and muscles[place] != muscles[place - 1] for place in range(len(rows))]
    return tuple(PageRow(cells, starts_group=start) for cells, start in zip(rows, starts, strict=True))


def _number(value: float, digits: int) -> str:
    return number_text(value, decimals=digits, missing=NOTHING)


def _signed(value: float, digits: int) -> str:
    text = _number(value, digits)
    return text if isnan(value) or float(text) <= 0 else f"+{text}"


def write_page(path: Path, results: Sequence[PairResult], *, about: str) -> Path:
    """Write it; see `follow_up_page`."""
    write_text(path, follow_up_page(results, about=about))
    return path
