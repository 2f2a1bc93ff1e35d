"""The classes of anybody's nnU-Net data set: their values, names and sides, and the muscles of ours among them."""

import colorsys
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paraspinal_nnunet.anatomy import BY_KEY, STRUCTURES, Structure
from paraspinal_nnunet.image_io.masks.label_names import class_called

_ALIASES = {alias.lower(): s for s in STRUCTURES for alias in (s.key, s.abbreviation)}
_SIDED = re.compile(r"^(?:(?P<before>right|left|r|l)_(?P<after_name>.+)|(?P<name>.+)_(?P<after>right|left|r|l))$")
_GOLDEN_RATIO = 0.618034


@dataclass(frozen=True)
class LabelClass:
    """One class of a data set.

    Attributes:
        value: In the label maps.
        name: As dataset.json has it.
    """

    value: int
    name: str

    @property
    def structure(self) -> Structure | None:
        """Which of our structures the name means, or None."""
        found = BY_KEY.get(class_called(self.name))
        return _ALIASES.get(_plain(self.name)) or (found if found in STRUCTURES else None)

    @property
    def muscle(self) -> str:
        """The name without its side."""
        if self.structure is not None:
            return self.structure.muscle.value
        sided = _SIDED.match(_plain(self.name))
        return self.name if sided is None else sided["name"] or sided["after_name"]

    @property
    def side(self) -> str:
        """``'right'``, ``'left'``, or '' where the name tells none."""
        if self.structure is not None:
            return self.structure.side.value
        sided = _SIDED.match(_plain(self.name))
        letter = "" if sided is None else (sided["before"] or sided["after"])[0]
        return {"r": "right", "l": "left", "": ""}[letter]

    @property
    def display_name(self) -> str:
        """For tables and figures."""
        return self.name.replace("_", " ") if self.structure is None else self.structure.display_name

    @property
    def colour(self) -> tuple[int, int, int]:
        """The structure's own colour, or one that stays apart from its neighbours'."""
        if self.structure is not None:
            return self.structure.colour
        red, green, blue = colorsys.hsv_to_rgb(self.value * _GOLDEN_RATIO % 1, 0.75, 0.95)
        return round(255 * red), round(255 * green), round(255 * blue)


@dataclass(frozen=True)
class SidePair:
    """The two classes of one muscle."""

    muscle: str
    right: LabelClass
    left: LabelClass


def classes_of(labels: Mapping[str, Any]) -> tuple[LabelClass, ...]:
    """The classes of dataset.json's ``labels``, in the order of their values.

    Background and 'ignore' are none. Regions (lists of values) stand for classes without a name of their own: a value
    that only regions have is named after them.

    Args:
        labels: Name -> value or list of values.
    """
    named = {v: name for name, v in labels.items() if isinstance(v, int) and not isinstance(v, bool)}
    for name, values in labels.items():
        for value in values if isinstance(values, Sequence) and not isinstance(values, str) else ():
            if isinstance(value, int):
                named.setdefault(value, name if len(values) == 1 else f"label {value}")
    return tuple(LabelClass(v, n) for v, n in sorted(named.items()) if v != 0 and n.lower() != "ignore")


def side_pairs_of(classes: Sequence[LabelClass]) -> tuple[SidePair, ...]:
    """Every muscle that has a right and a left class, by names alone."""
    sides: dict[str, dict[str, LabelClass]] = {}
    for label in classes:
        if label.side:
            sides.setdefault(label.muscle, {})[label.side] = label
    return tuple(SidePair(m, pair["right"], pair["left"]) for m, pair in sides.items() if len(pair) == 2)


def viewer_values(classes: Sequence[LabelClass]) -> Mapping[int, int]:
    """The data set's values -> canonical values, where all of its classes are ours; else nothing."""
    known = {c.value: c.structure.label for c in classes if c.structure is not None}
    return known if len(known) == len(classes) and len(set(known.values())) == len(known) else {}


def canonical_key(label: LabelClass) -> str:
    """The canonical key of a class, or '' where it is none of ours."""
    return label.structure.key if label.structure is not None and label.structure.key in BY_KEY else ""


def _plain(name: str) -> str:
    return re.sub(r"[\s\-.]+|(?<=[a-z])(?=[A-Z])", "_", name.strip()).lower()
