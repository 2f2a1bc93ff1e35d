"""Vertebral levels: which slices of a stack belong to which vertebra or disc, from a label map or a table of slices."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.image_io.images import ending_of
from paraspinal_nnunet.image_io.level_table import read_levels
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.inputs import ImageLike, as_labels, nearest_labels

Kind = Literal["vertebra", "disc", "other"]

_LUMBAR = ("L1", "L2", "L3", "L4", "L5")
_THORACIC = tuple(f"T{n}" for n in range(1, 13))

TOTALSPINESEG: Mapping[int, str] = MappingProxyType(
    dict(enumerate(_THORACIC, start=21))
    | dict(enumerate((*_LUMBAR, "L6"), start=41))
    | {50: "sacrum"}
    | dict(enumerate((f"{upper}-{lower}" for upper, lower in pairwise(("C7", *_THORACIC))), start=71))
    | {91: "T12-L1", 92: "L1-L2", 93: "L2-L3", 94: "L3-L4", 95: "L4-L5", 100: "L5-S1"}
)
"""Thoracic and lumbar values of TotalSpineSeg's output. Source: its list of classes (labels_maps/tss_map.json)."""

_VERTEBRA = re.compile(r"([TLS])(\d{1,2})")
_DISC = re.compile(r"([TL]\d{1,2})\s*[-/_]?\s*([TLS]\d{0,2})")
_RANK_BASE = {"T": 0, "L": 12, "S": 18}
_SACRUM = "sacrum"


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
    """

    all: tuple[Level, ...] = ()
    source: str = ""

    def name_of(self, slice_number: int) -> str:
        """The level of a slice, or an empty text."""
        return next((level.name for level in self.all if slice_number in level.slices), "")


def find_levels(
    given: "Levels | Mapping[str, int] | ImageLike | None",
    grid: Volume,
    *,
    case: str,
    names: Mapping[int, str] = TOTALSPINESEG,
) -> Levels:
    """Levels from whatever says where they are.

    Args:
        given: A label map (path, image or array with affine; on any grid), a CSV or TSV table with the columns case,
            level and slice, a mapping of level to slice (from 1 at the feet), levels found before, or None.
        grid: The muscles' label map in RAS order.
        case: Whose rows of a table count.
        names: Value in the label map -> level; other values are passed over.

    Raises:
        InputError: A table without the case, slices that the scan does not have, levels in the wrong order.
        LabelError: A label map without any level.
    """
    if given is None:
        return Levels()
    if isinstance(given, Levels):
        return given
    if isinstance(given, Mapping):
        return from_slices(given, grid.shape[2], "slices")
    if isinstance(given, str | Path) and not ending_of(str(given)):
        return from_slices(_rows(Path(given), case), grid.shape[2], Path(given).name)
    return from_map(given, grid, names)


def from_map(given: ImageLike, grid: Volume, names: Mapping[int, str] = TOTALSPINESEG) -> Levels:
    """Levels from a label map: each slice belongs to the level that has the most voxels in it.

    A map on another grid is looked up at the stack's voxels (nearest neighbour). A level's middle is the middle of its
    slices.

    Args:
        given: Label map of vertebrae and discs.
        grid: The stack, in RAS order.
        names: Value -> level; other values are passed over.

    Raises:
        LabelError: None of the values lies in the stack.
    """
    labels = as_labels(given, "levels")
    placed = nearest_labels(labels, grid)
    values = np.array(sorted(names))
    counts = np.stack([np.count_nonzero(placed == value, axis=(0, 1)) for value in values])
    if not counts.any():
        raise LabelError(
            f"{labels.name}: has no voxel of a level in the muscles' stack; known values are "
            f"{_some([str(v) for v in values])}; give the map of its values"
        )
    winner = np.where(counts.any(axis=0), values[np.argmax(counts, axis=0)], 0)
    levels = []
    for value in np.unique(winner[winner > 0]):
        slices = tuple(int(k) + 1 for k in np.flatnonzero(winner == value))
        name = standard_name(names[int(value)])
        levels.append(Level(name, kind_of(name), slices, slices[(len(slices) - 1) // 2], whole=True))
    return Levels(_head_first(levels), labels.name)


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


def read_level_names(path: Path) -> dict[int, str]:
    """Value -> level from a JSON or YAML file of either direction.

    Raises:
        InputError: Unreadable, or no such mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    content = _parsed(text, path)
    names: dict[int, str] = {}
    for key, value in content.items():
        number, name = (value, key) if isinstance(value, int) else (key, value)
        if not str(number).isdecimal() or not isinstance(name, str) or not name:
            raise InputError(f"{path}: '{key}: {value}' names no level; write e.g. 41: L1")
        names[int(number)] = name
    if not names:
        raise InputError(f"{path}: names no level; write e.g. 41: L1")
    return names


def standard_name(text: str) -> str:
    """One spelling for each level.

    >>> [standard_name(t) for t in ("l4", "L4/L5", "L5-S", "vertebrae_L3", "Sacrum")]
    ['L4', 'L4-L5', 'L5-S1', 'L3', 'sacrum']
    """
    name = re.sub(r"^(vertebrae?|disc)_", "", text.strip(), flags=re.IGNORECASE)
    if name.lower() == _SACRUM:
        return _SACRUM
    if _VERTEBRA.fullmatch(name.upper()):
        return name.upper()
    disc = _DISC.fullmatch(name.upper())
    if disc is None:
        return name
    lower = "S1" if disc[2] == "S" else disc[2]
    return f"{disc[1]}-{lower}"


def kind_of(name: str) -> Kind:
    """Whether a standard name is a vertebra's, a disc's or another's."""
    if name == _SACRUM or _VERTEBRA.fullmatch(name):
        return "vertebra"
    return "disc" if _DISC.fullmatch(name) else "other"


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
    ranked = sorted((_rank(name), number, name) for name, number in named.items() if kind_of(name) != "other")
    for (_, upper, upper_name), (_, lower, lower_name) in pairwise(ranked):
        if upper <= lower:
            raise InputError(
                f"{source}: {upper_name} in slice {upper} does not lie above {lower_name} in slice {lower}; slices "
                "count from 1 at the feet"
            )


def _rank(name: str) -> float:
    """Place along the spine, rising towards the feet."""
    if name == _SACRUM:
        return _RANK_BASE["S"] + 1.5
    first = _VERTEBRA.match(name)
    if first is None:
        raise InputError(f"level '{name}' has no known place along the spine")
    return _RANK_BASE[first[1]] + int(first[2]) + (0.5 if "-" in name else 0.0)


def _head_first(levels: list[Level]) -> tuple[Level, ...]:
    return tuple(sorted(levels, key=lambda level: (-level.mid_slice, level.name)))


def _parsed(text: str, path: Path) -> dict[Any, Any]:
    import yaml

    try:
        content = yaml.safe_load(text) if path.suffix.lower() in (".yaml", ".yml") else json.loads(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: is no valid JSON or YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a mapping of values to levels")
    return content


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
