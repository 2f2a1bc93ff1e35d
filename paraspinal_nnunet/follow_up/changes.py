"""What changed between two scans: whole muscles, their levels and, where no levels are known, slices by position."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

from paraspinal_nnunet.follow_up.pairing import Pair
from paraspinal_nnunet.follow_up.scans import Key, MeasuredScan, Row, value_of
from paraspinal_nnunet.measures.outputs.columns import columns

WHOLE, COMMON, LEVEL, SLICE = "whole", "common levels", "level", "slice"
"""What a change is about: a whole muscle, its levels that both scans show whole, one level, or one slice."""

MEASURES = {
    WHOLE: (
        "volume_ml", "csa_mean_mm2", "csa_max_mm2",
        "fat_fraction", "lean_volume_ml", "functional_csa_mean_mm2", "functional_csa_max_mm2",
    ),
    LEVEL: (
        "volume_ml", "csa_mean_mm2", "csa_mid_mm2",
        "fat_fraction", "functional_csa_mean_mm2", "functional_csa_mid_mm2",
    ),
    SLICE: ("csa_mm2", "fat_fraction", "functional_csa_mm2"),
}  # fmt: skip
"""What is compared, by the names of the measures' columns without the way in which fat was measured."""

TABLE_OF = {WHOLE: "measures", LEVEL: "levels", SLICE: "slices"}
BY_LEVEL, BY_POSITION = "level", "position"


@dataclass(frozen=True)
class Change:
    """One measure of one muscle at both times.

    Attributes:
        person: Whose.
        muscle: Muscle.
        side: The patient's own.
        scope: `WHOLE`, `COMMON`, `LEVEL` or `SLICE`.
        place: Level, or levels; empty for whole muscles and slices.
        earlier_slice: Of slices, from 1 at the feet.
        later_slice: Likewise.
        matched_by: How the place was found again: ``'level'``, ``'position'`` or empty.
        measure: Column of the tables of measures.
        unit: Of the measure.
        earlier: Value; NaN where there is none.
        later: Value.
        cut: The stacks show unequal lengths of a muscle that reaches their ends, so that the scans differ, whatever the
            muscle did.
        note: What speaks against the number, or why there is none.
        detectable: The smallest detectable change in the measure's unit; NaN where it is not known.
        detectable_kind: ``'measured'``, ``'upper bound'`` or empty.
    """

    person: str
    muscle: str
    side: str
    scope: str
    place: str
    earlier_slice: int | None
    later_slice: int | None
    matched_by: str
    measure: str
    unit: str
    earlier: float
    later: float
    cut: bool = False
    note: str = ""
    detectable: float = nan
    detectable_kind: str = ""

    @property
    def change(self) -> float:
        """Later minus earlier; NaN where one is not known."""
        return self.later - self.earlier

    @property
    def change_percent(self) -> float:
        """The change in percent of the earlier value; NaN where that is 0 or not known."""
        return 100 * self.change / self.earlier if self.earlier else nan

    @property
    def beyond(self) -> str:
        """Whether the change is larger than the smallest detectable one.

        ``'yes'``, ``'no'``, ``'unknown'`` (no more than an upper bound is known, and the change is below it), or empty
        where nothing can be said.
        """
        if isnan(self.change) or isnan(self.detectable) or self.cut:
            return ""
        if abs(self.change) > self.detectable:
            return "yes"
        return "no" if self.detectable_kind == "measured" else "unknown"


def changes_of(pair: Pair) -> tuple[Change, ...]:
    """Everything that both scans have, compared.

    Args:
        pair: Two scans of one person.

    Returns:
        Muscle by muscle: whole, then level by level from head to feet, or slice by slice where a scan has no levels.
    """
    methods = common_methods(pair)
    found: list[Change] = []
    for muscle, side, _ in [key for key in pair.earlier.wholes if key in pair.later.wholes]:
        found += _whole(pair, muscle, side, methods)
        levels = _levels(pair, muscle, side, methods)
        found += levels or _slices(pair, muscle, side, methods)
    return tuple(found)


def common_methods(pair: Pair) -> tuple[str, ...]:
    """Ways in which fat was measured in both scans."""
    return tuple(method for method in pair.earlier.methods if method in pair.later.methods)


def has_levels(pair: Pair) -> bool:
    """Whether both scans share a vertebral level."""
    return bool({key[2] for key in pair.earlier.levels} & {key[2] for key in pair.later.levels})


def cut_lengths(pair: Pair, muscle: str, side: str) -> tuple[float, float] | None:
    """The lengths in mm that both stacks show of a muscle that reaches an end of a stack, where these differ.

    Equal, to within the larger distance of slices, they are as comparable as scans of a part can be; so are two masks
    of one scan, whatever their lengths.
    """
    if pair.same_stack:
        return None
    rows = [scan.wholes[muscle, side, ""] for scan in (pair.earlier, pair.later)]
    if not any(row["in_first_slice"] or row["in_last_slice"] for row in rows):
        return None
    lengths = value_of(rows[0], "length_mm"), value_of(rows[1], "length_mm")
    step = max(pair.earlier.slice_spacing_mm, pair.later.slice_spacing_mm)
    return lengths if abs(lengths[1] - lengths[0]) > step * 1.001 else None


def absent(row: Row) -> bool:
    """Whether a muscle that was looked for has no voxel."""
    return not row["voxels"]


def _columns(scope: str, methods: Sequence[str]) -> list[tuple[str, str]]:
    """Column and unit of what is compared."""
    declared = columns(TABLE_OF[scope], methods)
    return [(name, c.unit) for wanted in MEASURES[scope] for name, c, _ in declared if c.field == wanted]


def _compared(
    pair: Pair, key: Key, scope: str, rows: tuple[Row, Row], methods: Sequence[str], **more: object
) -> Iterator[Change]:
    muscle, side, place = key
    blank = Change(pair.person, muscle, side, scope, place, None, None, "", "", "", nan, nan)
    for name, unit in _columns(scope, methods):
        values = value_of(rows[0], name), value_of(rows[1], name)
        if not all(map(isnan, values)):
            yield replace(blank, measure=name, unit=unit, earlier=values[0], later=values[1], **more)  # type: ignore[arg-type]


def _whole(pair: Pair, muscle: str, side: str, methods: Sequence[str]) -> Iterator[Change]:
    rows = pair.earlier.wholes[muscle, side, ""], pair.later.wholes[muscle, side, ""]
    missing = [when for when, row in zip(("earlier", "later"), rows, strict=True) if absent(row)]
    if missing:
        note = f"no voxels in the {' and the '.join(missing)} scan"
        earlier, later = (nan if absent(row) else value_of(row, "volume_ml") for row in rows)
        yield Change(
            pair.person, muscle, side, WHOLE, "", None, None, "", "volume_ml", "ml", earlier, later, note=note
        )  # fmt: skip
        return
    lengths = cut_lengths(pair, muscle, side)
    reaches = any(row["in_first_slice"] or row["in_last_slice"] for row in rows)
    note = "reaches an end of a stack: not all of it is seen" if reaches else ""
    if lengths:
        note = f"reaches an end of a stack: {lengths[0]:.0f} mm of it are seen, then {lengths[1]:.0f} mm"
    yield from _compared(pair, (muscle, side, ""), WHOLE, rows, methods, cut=lengths is not None, note=note)


def _levels(pair: Pair, muscle: str, side: str, methods: Sequence[str]) -> list[Change]:
    found: list[Change] = []
    volumes: dict[str, tuple[float, float]] = {}
    for key in [key for key in pair.earlier.levels if key[:2] == (muscle, side) and key in pair.later.levels]:
        rows = pair.earlier.levels[key], pair.later.levels[key]
        if not all(row["slices"] for row in rows):
            continue  # the muscle ends before this level in one of the scans
        ends = any(_at_an_end(row, scan) for row, scan in zip(rows, (pair.earlier, pair.later), strict=True))
        note = "the level reaches an end of a stack: perhaps not all of it is seen" if ends else ""
        found += _compared(pair, key, LEVEL, rows, methods, matched_by=BY_LEVEL, note=note, cut=ends)
        values = value_of(rows[0], "volume_ml"), value_of(rows[1], "volume_ml")
        if not ends and not any(map(isnan, values)):
            volumes[key[2]] = values
    if len(volumes) > 1:
        found.insert(0, _common(pair, muscle, side, volumes))
    return [replace(c, cut=c.cut and "_mid_" not in c.measure) for c in found]


def _common(pair: Pair, muscle: str, side: str, volumes: dict[str, tuple[float, float]]) -> Change:
    names = list(volumes)
    earlier, later = (sum(values[time] for values in volumes.values()) for time in (0, 1))
    place = f"{names[0]} to {names[-1]}"
    return Change(
        pair.person, muscle, side, COMMON, place, None, None, BY_LEVEL, "volume_ml", "ml", earlier, later,
        note=f"sum over {', '.join(names)}",
    )  # fmt: skip


def _at_an_end(row: Row, scan: MeasuredScan) -> bool:
    return row["first_slice"] == 1 or row["last_slice"] == scan.stack_slices


def _slices(pair: Pair, muscle: str, side: str, methods: Sequence[str]) -> list[Change]:
    """Slices at the same height in the scanner: the nearest to each slice of the coarser stack."""
    lists = pair.earlier.slices(muscle, side), pair.later.slices(muscle, side)
    coarse = int(pair.later.slice_spacing_mm > pair.earlier.slice_spacing_mm)
    reach = max(pair.earlier.slice_spacing_mm, pair.later.slice_spacing_mm) / 2 * 1.001
    found: list[Change] = []
    for row in lists[coarse]:
        other = min(lists[1 - coarse], key=lambda r: abs(r["z_mm"] - row["z_mm"]), default=None)
        if other is None or abs(other["z_mm"] - row["z_mm"]) > reach:
            continue
        rows = (other, row) if coarse else (row, other)
        places = {"earlier_slice": int(rows[0]["slice"]), "later_slice": int(rows[1]["slice"])}
        found += _compared(pair, (muscle, side, ""), SLICE, rows, methods, matched_by=BY_POSITION, **places)
    return found
