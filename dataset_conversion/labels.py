"""From a source's label values to a data set's: which value is which muscle, and what is dropped."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet.anatomy import (
    ALL_STRUCTURES,
    BACKGROUND,
    BY_KEY,
    LABEL_SCHEMES,
    QUADRATUS,
    LabelScheme,
    Structure,
)
from paraspinal_nnunet.errors import LabelError

DROPPED_NAMES = ("ignore", "background")
"""Names in a label map file whose values become background."""

LARGEST_VALUE = 65535
"""Source values are looked up in a table; larger ones are no label of any known scheme."""


@dataclass(frozen=True)
class LabelMap:
    """Source values and what they stand for.

    Attributes:
        name: Scheme or file name, for the provenance.
        values: Source value -> canonical key.
        dropped: Source value -> name, of values that become background.
    """

    name: str
    values: Mapping[int, str]
    dropped: Mapping[int, str]

    @property
    def structures(self) -> tuple[Structure, ...]:
        """The classes of the data set, in canonical order."""
        keys = set(self.values.values())
        return tuple(s for s in ALL_STRUCTURES if s.key in keys)

    @property
    def dataset_labels(self) -> dict[str, int]:
        """Canonical key -> value in the data set: consecutive, as nnU-Net demands, in canonical order."""
        return {s.key: value for value, s in enumerate(self.structures, start=1)}

    def canonical(self, array: np.ndarray, name: str) -> np.ndarray:
        """Translate source values to the values of `anatomy.ALL_STRUCTURES`.

        Args:
            array: Integers of any shape.
            name: File, for the message.

        Returns:
            uint8 of the same shape.

        Raises:
            LabelError: A value that the map does not know.
        """
        known = {BACKGROUND, *self.values, *self.dropped}
        low, high = int(array.min(initial=0)), int(array.max(initial=0))
        if low < 0 or high > LARGEST_VALUE:
            raise LabelError(self._unknown([low if low < 0 else high], name))
        table = np.zeros(high + 1, dtype=np.uint8)
        for value, key in self.values.items():
            if value <= high:
                table[value] = BY_KEY[key].label
        present = np.flatnonzero(np.bincount(array[array != 0], minlength=high + 1))
        unknown = [int(value) for value in present if int(value) not in known]
        if unknown:
            raise LabelError(self._unknown(unknown, name))
        return table[array]

    def renumber(self, canonical: np.ndarray) -> np.ndarray:
        """Translate canonical values to the data set's consecutive ones (uint8)."""
        table = np.zeros(max(s.label for s in ALL_STRUCTURES) + 1, dtype=np.uint8)
        for structure in self.structures:
            table[structure.label] = self.dataset_labels[structure.key]
        return table[canonical]

    def _unknown(self, values: list[int], name: str) -> str:
        known = ", ".join(str(v) for v in sorted({*self.values, *self.dropped}))
        found = ", ".join(str(v) for v in values[:5]) + (" ..." if len(values) > 5 else "")
        return f"{name}: unknown label value {found}; '{self.name}' knows {known}; map it or mark it 'ignore'"


def label_map(name: str, *, quadratus: bool = False) -> LabelMap:
    """A label map by scheme name or from a file.

    Args:
        name: A name in `anatomy.LABEL_SCHEMES`, or a JSON file of source value -> canonical key or of canonical key ->
            source value or list of values; ``'ignore'`` and ``'background'`` stand for what is dropped.
        quadratus: Keep quadratus lumborum, which is not among the paper's classes and else becomes background.

    Raises:
        LabelError: No such scheme or file, or a file that cannot be understood.
    """
    if name in LABEL_SCHEMES:
        return from_scheme(LABEL_SCHEMES[name], quadratus=quadratus)
    path = Path(name)
    if not path.is_file():
        raise LabelError(f"--labels {name}: neither a scheme ({', '.join(LABEL_SCHEMES)}) nor a JSON file")
    return _split(path.name, _entries(path), quadratus)


def from_scheme(scheme: LabelScheme, *, quadratus: bool = False) -> LabelMap:
    """The label map of a known scheme."""
    return _split(scheme.name, dict(scheme.values), quadratus)


def _split(name: str, entries: Mapping[int, str], quadratus: bool) -> LabelMap:
    optional = set() if quadratus else {s.key for s in QUADRATUS}
    values = {v: key for v, key in sorted(entries.items()) if key in BY_KEY and key not in optional}
    dropped = {v: key for v, key in sorted(entries.items()) if v not in values and v != BACKGROUND}
    if not values:
        raise LabelError(f"{name}: maps no value to a class; classes are {', '.join(BY_KEY)}")
    return LabelMap(name, values, dropped)


def _entries(path: Path) -> dict[int, str]:
    content = _json(path)
    if all(_is_integer(key) for key in content):
        pairs = [(int(key), value) for key, value in content.items()]
    elif not any(_is_integer(key) for key in content):
        pairs = [(v, key) for key, value in content.items() for v in (value if isinstance(value, list) else [value])]
    else:
        raise LabelError(f"{path}: mixes 'value: class' with 'class: value'; use one of them")
    entries: dict[int, str] = {}
    for value, key in pairs:
        _check_entry(value, key, path)
        if entries.setdefault(value, key) != key:
            raise LabelError(f"{path}: value {value} stands for both {entries[value]} and {key}")
    return entries


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repetition)
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise LabelError(f"{path}: is no valid label map ({error})") from error
    if not isinstance(content, dict) or not content:
        raise LabelError(f'{path}: write an object such as {{"1": "multifidus_right", "2": "ignore"}}')
    return content


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("an entry stands there twice")
    return content


def _is_integer(text: str) -> bool:
    return text.strip().lstrip("-").isdecimal()


def _check_entry(value: Any, key: Any, path: Path) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_VALUE:
        raise LabelError(f"{path}: '{value}' is no label value; use whole numbers from 0 to {LARGEST_VALUE}")
    if key not in BY_KEY and key not in DROPPED_NAMES:
        raise LabelError(f"{path}: unknown class '{key}'; classes are {', '.join((*BY_KEY, *DROPPED_NAMES))}")
    if value == BACKGROUND and key not in DROPPED_NAMES:
        raise LabelError(f"{path}: value 0 is always background, not {key}")
