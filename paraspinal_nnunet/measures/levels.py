"""Vertebral levels: which slices of a stack belong to which vertebra or disc, from a label map or a table of slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.image_io.images import ending_of
from paraspinal_nnunet.image_io.level_table import read_levels
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.inputs import ImageLike, as_labels, nearest_labels
from paraspinal_nnunet.measures.level_names import (
    LEVEL_SCHEMES,
    SACRUM,
    Kind,
    is_lumbar,
    kind_of,
    may_follow,
    rank,
    standard_name,
)

EXTENT_MM = (15.0, 60.0)
"""A vertebra of a map is at least and at most so high along the stack, give or take a slice. Source: ours; bodies are
some 25 to 30 mm high, with arch and processes up to 55 mm."""

MOST_SACRUM_MM = 160.0

_ASK = "say which with --levels-scheme, or give the map of its values with --level-names"


@dataclass(frozen=True)
class Level:
    """A vertebra, a disc or another level of a stack.

    Attributes:
        name: ``'L4'``, ``'L4-L5'``...
        kind: What it is.
        slices: Its slices, from 1 at the feet; rising.
        mid_slice: Its middle; of two the one nearer to the feet.
        whole: Whether `slices` is all of it; False where only its middle was given.
    """

    name: str
    kind: Kind
    slices: tuple[int, ...]
    mid_slice: int
    whole: bool


@dataclass(frozen=True)
class Levels:
    """The levels of a stack, from head to feet.

    Attributes:
        all: At most one per slice.
        source: Where they come from, for records.
        scheme: By which the values of a levels label map were read; empty where names were given or none are needed.
    """

    all: tuple[Level, ...] = ()
    source: str = ""
    scheme: str = ""

    @property
    def by_slice(self) -> dict[int, str]:
        """Number of a slice -> its level."""
        return {number: level.name for level in self.all for number in level.slices}

    def name_of(self, slice_number: int) -> str:
        """The level of a slice, or an empty text."""
        return next((level.name for level in self.all if slice_number in level.slices), "")


def find_levels(
    given: "Levels | Mapping[str, int] | ImageLike | None",
    grid: Volume,
    *,
    case: str,
    names: Mapping[int, str] | None = None,
    scheme: str | None = None,
) -> Levels:
    """Levels from whatever says where they are.

    Args:
        given: A label map (path, image or array with affine; on any grid), a CSV or TSV table with the columns case,
            level and slice, a mapping of level to slice (from 1 at the feet), levels found before, or None.
        grid: The muscles' label map in RAS order.
        case: Whose rows of a table count.
        names: See `from_map`.
        scheme: See `from_map`.

    Raises:
        InputError: A table without the case, slices that the scan does not have, levels in the wrong order.
        LabelError: A label map without any level, or whose values could mean several things.
    """
    if given is None:
        return Levels()
    if isinstance(given, Levels):
        return given
    if isinstance(given, Mapping):
        return from_slices(given, grid.shape[2], "slices")
    if isinstance(given, str | Path) and not ending_of(str(given)):
        return from_slices(_rows(Path(given), case), grid.shape[2], Path(given).name)
    return from_map(given, grid, names, scheme=scheme)


def from_map(
    given: ImageLike, grid: Volume, names: Mapping[int, str] | None = None, *, scheme: str | None = None
) -> Levels:
    """Levels from a label map: each slice belongs to the level that has the most voxels in it.

    A map on another grid is looked up at the stack's voxels (nearest neighbour). A level's middle is the middle of its
    slices. Without names or a scheme, the one known scheme counts that knows all values of the map and by which they
    are plausible levels of the lumbar spine; where several say different things, the map is refused.

    Args:
        given: Label map of vertebrae and discs.
        grid: The stack, in RAS order.
        names: Value -> level; other values do not count.
        scheme: A name in `level_names.LEVEL_SCHEMES`; None where `names` are given or the scheme is not known.

    Raises:
        LabelError: None of the values lies in the stack, no scheme or several fit, or levels that no spine has: out
            of order, twice, with a neighbour missing, too low or too high.
        InputError: An unknown scheme.
    """
    labels = as_labels(given, "levels")
    placed = nearest_labels(labels, grid)
    if names is None and scheme is None:
        return _recognised(placed, grid, labels.name)
    if names is None and scheme not in LEVEL_SCHEMES:
        raise InputError(f"levels scheme '{scheme}' is unknown; choose from {', '.join(LEVEL_SCHEMES)}")
    named = LEVEL_SCHEMES[scheme].names if names is None and scheme else names or {}
    levels = _read(placed, named)
    if not levels:
        raise LabelError(
            f"{labels.name}: has no voxel of a level in the muscles' stack; known values are "
            f"{_some([str(v) for v in sorted(named)])}; give the map of its values"
        )
    if fault := _fault(levels, grid):
        raise LabelError(f"{labels.name}: {fault}; turn the map, or name its scheme (--levels-scheme) or its values")
    return Levels(levels, labels.name, "" if names is not None else scheme or "")


def from_slices(given: Mapping[str, int], slices: int, source: str) -> Levels:
    """Levels from single slices: the middles of discs, of vertebrae, or both.

    A vertebra between two given discs has all slices between them; its middle is the given one, or the middle of these.

    Args:
        given: Level -> slice, from 1 at the feet.
        slices: How many slices the stack has.
        source: For messages and records.

    Raises:
        InputError: A slice that the scan does not have, a level twice, or levels out of their order along the spine.
    """
    named: dict[str, int] = {}
    for text, number in given.items():
        name = standard_name(text)
        if name in named:
            raise InputError(f"{source}: gives the level {name} twice")
        if not 1 <= number <= slices:
            raise InputError(f"{source}: {name} is said to be slice {number} of {slices}")
        named[name] = int(number)
    _check_order(named, source)
    found = {name: Level(name, kind_of(name), (number,), number, whole=False) for name, number in named.items()}
    found |= {level.name: level for level in _between_discs(named)}
    return Levels(_head_first(list(found.values())), source)


def _rows(path: Path, case: str) -> dict[str, int]:
    table = read_levels(path)
    rows = table[table["case"] == case]
    if rows.empty:
        raise InputError(f"{path}: has no level of case {case}; it has {_some(sorted(set(table['case'])))}")
    return {str(level): int(number) for level, number in zip(rows["level"], rows["slice"], strict=True)}


def _between_discs(named: Mapping[str, int]) -> list[Level]:
    """Vertebrae whose two discs are known."""
    below = {name.split("-")[0]: number for name, number in named.items() if kind_of(name) == "disc"}
    above = {name.split("-")[1]: number for name, number in named.items() if kind_of(name) == "disc"}
    levels = []
    for name in below.keys() & above.keys():
        slices = tuple(range(below[name] + 1, above[name]))
        if slices:
            middle = named.get(name, slices[(len(slices) - 1) // 2])
            levels.append(Level(name, "vertebra", slices, middle, whole=True))
    return levels


def _check_order(named: Mapping[str, int], source: str) -> None:
    """Levels must rise towards the head; tables that count slices from the head are the usual mistake."""
    ranked = sorted((rank(name), number, name) for name, number in named.items() if kind_of(name) != "other")
    for (_, upper, upper_name), (_, lower, lower_name) in pairwise(ranked):
        if upper <= lower:
            raise InputError(
                f"{source}: {upper_name} in slice {upper} does not lie above {lower_name} in slice {lower}; slices "
                "count from 1 at the feet"
            )


def _read(placed: np.ndarray, names: Mapping[int, str]) -> tuple[Level, ...]:
    """The levels of a map by some names; two values may have one name."""
    values = np.array([v for v in np.unique(placed) if v in names], dtype=placed.dtype)
    if not values.size:
        return ()
    counts = np.stack([np.count_nonzero(placed == value, axis=(0, 1)) for value in values])
    winner = np.where(counts.any(axis=0), values[np.argmax(counts, axis=0)], 0)
    levels = []
    for value in np.unique(winner[winner > 0]):
        slices = tuple(int(k) + 1 for k in np.flatnonzero(winner == value))
        name = standard_name(names[int(value)])
        levels.append(Level(name, kind_of(name), slices, slices[(len(slices) - 1) // 2], whole=True))
    return _head_first(levels)


def _recognised(placed: np.ndarray, grid: Volume, name: str) -> Levels:
    present = [int(v) for v in np.unique(placed) if v]
    readings: dict[tuple[Level, ...], str] = {}
    faults: dict[str, str] = {}
    for scheme, known in LEVEL_SCHEMES.items():
        levels = _read(placed, known.names)
        if not known.knows(present) or not any(is_lumbar(level.name) for level in levels):
            continue
        if fault := _fault(levels, grid):
            faults[scheme] = fault
        else:
            readings.setdefault(levels, scheme)
    if len(readings) == 1:
        ((levels, scheme),) = readings.items()
        return Levels(levels, name, scheme)
    if readings:
        told = "; ".join(f"{scheme} ({_told(levels)})" for levels, scheme in readings.items())
        raise LabelError(f"{name}: the values of its levels fit several schemes: {told}; {_ASK}")
    values = _some([str(v) for v in present]) or "none"
    if faults:
        told = "; ".join(f"{scheme}: {fault}" for scheme, fault in faults.items())
        raise LabelError(f"{name}: the values of its levels ({values}) fit no known scheme ({told}); {_ASK}")
    raise LabelError(
        f"{name}: has no voxel of a level in the muscles' stack by a known scheme; values there are {values}; {_ASK}"
    )


def _fault(levels: Sequence[Level], grid: Volume) -> str:
    """Why these are no levels of a spine, or an empty text."""
    placed = [level for level in levels if level.kind != "other"]
    twice = [a.name for a, b in pairwise(sorted(placed, key=lambda level: level.name)) if a.name == b.name]
    if twice:
        return f"{twice[0]} is there twice"
    for upper, lower in pairwise(placed):
        if rank(upper.name) >= rank(lower.name):
            return f"{upper.name} ({_where(upper)}) lies above {lower.name} ({_where(lower)})"
    vertebrae = [level for level in placed if level.kind == "vertebra"]
    for upper, lower in pairwise(vertebrae):
        gap_mm = (upper.slices[0] - lower.slices[-1] - 1) * grid.spacing_mm[2]
        if not may_follow(upper.name, lower.name) and gap_mm < EXTENT_MM[0]:
            names = f"{upper.name} ({_where(upper)}) and {lower.name} ({_where(lower)})"
            return f"{names} are neighbours without what is between"
    return next(filter(None, (_extent_fault(level, grid) for level in vertebrae)), "")


def _extent_fault(level: Level, grid: Volume) -> str:
    step = grid.spacing_mm[2]
    height = (level.slices[-1] - level.slices[0] + 1) * step
    cut = level.slices[0] == 1 or level.slices[-1] == grid.shape[2]
    lowest, highest = EXTENT_MM[0], MOST_SACRUM_MM if level.name in (SACRUM, "S1") else EXTENT_MM[1]
    if height - step > highest or (height + step < lowest and not cut):
        return f"{level.name} ({_where(level)}) is {height:.0f} mm high, not {lowest:g} to {highest:g} mm"
    return ""


def _where(level: Level) -> str:
    first, last = level.slices[0], level.slices[-1]
    return f"slice {first}" if first == last else f"slices {first}-{last}"


def _told(levels: Sequence[Level]) -> str:
    return levels[0].name if len(levels) == 1 else f"{levels[0].name} to {levels[-1].name}"


def _head_first(levels: list[Level]) -> tuple[Level, ...]:
    return tuple(sorted(levels, key=lambda level: (-level.mid_slice, level.name)))


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
