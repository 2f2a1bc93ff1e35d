"""Names of vertebrae and discs as people write them, and the values by which known tools number them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.tables import read_mapping, whole_number

Kind = Literal["vertebra", "disc", "other"]

SACRUM = "sacrum"

_CERVICAL = tuple(f"C{n}" for n in range(1, 8))
_THORACIC = tuple(f"T{n}" for n in range(1, 13))
_LUMBAR = tuple(f"L{n}" for n in range(1, 6))
_SACRAL = tuple(f"S{n}" for n in range(1, 6))
_RANKS = {name: float(n) for n, name in enumerate((*_CERVICAL, *_THORACIC, "T13", *_LUMBAR, "L6", *_SACRAL))}
_NEXT = {
    **{upper: {lower} for upper, lower in pairwise((*_CERVICAL, *_THORACIC))},
    **{upper: {lower} for upper, lower in pairwise(_LUMBAR)},
    **{upper: {lower} for upper, lower in pairwise(_SACRAL)},
    **{"T11": {"T12", "L1"}, "T12": {"T13", "L1"}, "T13": {"L1"}},
    **{"L4": {"L5", "S1", SACRUM}, "L5": {"L6", "S1", SACRUM}, "L6": {"S1", SACRUM}, "S1": {"S2", SACRUM}},
}
"""Vertebra -> what may follow below it, the usual variants in number included."""

_LETTERS = {"TH": "T", "D": "T", "HW": "C", "HWK": "C", "BW": "T", "BWK": "T", "LW": "L", "LWK": "L", "SW": "S"}
_LETTERS |= {"SWK": "S"}
"""Other letters for the parts of the spine: D and Th for thoracic, the German ones by whole words."""

_ONE = r"(?P<letter{0}>[HBLS]WK?|TH|[CTDLS])[ ._]?0*(?P<number{0}>[1-9]\d?)"
_VERTEBRA = re.compile(_ONE.format(1))
_DISC = re.compile(_ONE.format(1) + r"\s*[-/_ –—]?\s*(?:" + _ONE.format(2) + r"|(?P<sacral>S)|0*(?P<bare>[1-9]\d?))")
_WORDS = re.compile(
    r"^(vertebrae?|vertebral[ _-]body|corpus|intervertebral[ _-]dis[ck]|dis[ck]us|dis[ck]s?|ivd)[ _-]*", re.I
)


def standard_name(text: str) -> str:
    """One spelling for each level; names that are no vertebra's and no disc's stay as they are.

    Raises:
        InputError: A vertebra that nobody has, or a disc between vertebrae that are no neighbours.

    >>> [standard_name(t) for t in ("l4", "L4/L5", "L5-S", "vertebrae_L3", "Sacrum", "Th12", "D 12", "LWK3", "L4/5")]
    ['L4', 'L4-L5', 'L5-S1', 'L3', 'sacrum', 'T12', 'T12', 'L3', 'L4-L5']
    """
    name = _WORDS.sub("", " ".join(text.split()))
    upper = name.upper()
    if upper in ("SACRUM", "OS SACRUM"):
        return SACRUM
    if single := _VERTEBRA.fullmatch(upper):
        return _known(single, 1, text)
    disc = _DISC.fullmatch(upper)
    if disc is None:
        return name
    above = _known(disc, 1, text)
    below = _known(disc, 2, text) if disc["letter2"] else "S1" if disc["sacral"] else f"{above[0]}{disc['bare']}"
    if below not in _NEXT.get(above, ()):
        raise InputError(f"level '{text}': {above} and {below} are no neighbours, so there is no disc between them")
    return f"{above}-{below}"


def kind_of(name: str) -> Kind:
    """Whether a standard name is a vertebra's, a disc's or another's."""
    if name == SACRUM or name in _RANKS:
        return "vertebra"
    above, dash, below = name.partition("-")
    return "disc" if dash and above in _RANKS and below in _RANKS else "other"


def rank(name: str) -> float:
    """Place of a vertebra or disc along the spine, rising towards the feet.

    >>> rank("L4") < rank("L4-L5") < rank("L5") < rank("sacrum")
    True
    """
    if name == SACRUM:
        return _RANKS["S1"] + 0.25
    above, dash, _ = name.partition("-")
    return _RANKS[above] + (0.5 if dash else 0.0)


def may_follow(upper: str, lower: str) -> bool:
    """Whether nothing is missing between two vertebrae."""
    return lower in _NEXT.get(upper, ())


def is_lumbar(name: str) -> bool:
    """Whether a standard name is one of L1 to L5, or a disc at one of them."""
    return bool({*name.split("-")} & set(_LUMBAR))


@dataclass(frozen=True)
class LevelScheme:
    """How a tool numbers vertebrae and discs.

    Attributes:
        names: Value -> level.
        others: Further values that it writes, which are no levels.
    """

    names: Mapping[int, str]
    others: frozenset[int] = frozenset()

    def knows(self, values: Iterable[int]) -> bool:
        """Whether all values are its own."""
        return all(value in self.names or value in self.others for value in values)


def _discs(vertebrae: Iterable[str], first: int) -> dict[int, str]:
    return {first + n: f"{upper}-{lower}" for n, (upper, lower) in enumerate(pairwise(vertebrae))}


def _from_below(first: int, names: Iterable[str]) -> dict[int, str]:
    return dict(enumerate(reversed(tuple(names)), start=first))


def _discs_from_below(first: int, vertebrae: Iterable[str]) -> dict[int, str]:
    return _from_below(first, _discs(vertebrae, 0).values())


_T1_TO_L5 = (*_THORACIC, *_LUMBAR)
_T9_TO_L5 = _T1_TO_L5[8:]
_C1_TO_L5 = (*_CERVICAL, *_T1_TO_L5)

TOTALSPINESEG: Mapping[int, str] = MappingProxyType(
    dict(enumerate(_THORACIC, start=21))
    | dict(enumerate((*_LUMBAR, "L6"), start=41))
    | {50: SACRUM}
    | _discs(("C7", *_THORACIC), 71)
    | {91: "T12-L1", **_discs(_LUMBAR, 92), 100: "L5-S1"}
)
"""Thoracic and lumbar values of TotalSpineSeg's output. Source: its list of classes (labels_maps/tss_map.json)."""

_VERSE = {**dict(enumerate((*_C1_TO_L5, "L6"), start=1)), 26: SACRUM, 28: "T13"}
_SPINEPS_DISCS = {100 + n: f"{_VERSE[n]}-{_VERSE[n + 1]}" for n in range(2, 24)} | {124: "L5-S1", 125: "L6-S1"}

LEVEL_SCHEMES: Mapping[str, LevelScheme] = MappingProxyType(
    {
        "totalspineseg": LevelScheme(TOTALSPINESEG, frozenset({1, 2, *range(11, 18), *range(60, 71)})),
        "totalsegmentator": LevelScheme(
            {25: SACRUM, 26: "S1", **_from_below(27, _C1_TO_L5)}, frozenset({*range(1, 25), *range(51, 118)})
        ),
        "totalsegmentator-v1": LevelScheme(_from_below(18, _C1_TO_L5), frozenset({*range(1, 18), *range(42, 105)})),
        "totalsegmentator-mr": LevelScheme({1: SACRUM, **_from_below(2, _C1_TO_L5)}),
        "verse": LevelScheme(_VERSE, frozenset({27})),
        "spineps": LevelScheme(_VERSE | _SPINEPS_DISCS, frozenset({27, *range(101, 129), *range(201, 229)})),
        "spider": LevelScheme(
            _from_below(1, _T1_TO_L5) | {201: "L5-S1", **_discs_from_below(202, _T1_TO_L5)},
            frozenset({100, *range(18, 26), *range(101, 126), *range(218, 226)}),
        ),
        "mrspineseg": LevelScheme(
            {1: SACRUM, **_from_below(2, _T9_TO_L5), 11: "L5-S1", **_discs_from_below(12, _T9_TO_L5)}
        ),
    }
)
"""By the names that ``--levels-scheme`` takes.

Sources: TotalSpineSeg's list of classes; TotalSegmentator's class maps 'total' (second and first version) and
'vertebrae_mr'; VerSe (Sekuboyina et al. 2021, doi:10.1016/j.media.2021.102166); SPINEPS, discs 100 above the vertebra
that they lie below; SPIDER (van der Graaf et al. 2024, doi:10.1038/s41597-024-03090-w), which numbers from below,
whatever the lowest vertebra is: taken for L5; MRSpineSeg's challenge.
"""


def read_level_names(path: Path) -> dict[int, str]:
    """Value -> level from a JSON or YAML file of either direction.

    Raises:
        InputError: Unreadable, or no such mapping.
    """
    path = Path(path)
    names: dict[int, str] = {}
    for key, value in read_mapping(path).items():
        given, name = (str(value), key) if isinstance(value, int) else (key, value)
        number = whole_number(given)
        if number is None or number < 0 or not isinstance(name, str) or not name:
            raise InputError(f"{path}: '{key[:40]}: {str(value)[:40]}' names no level; write e.g. 41: L1")
        if names.setdefault(number, name) != name:
            raise InputError(f"{path}: {number} stands for both {names[number]} and {name}; remove one")
    return names


def _known(match: "re.Match[str]", group: int, text: str) -> str:
    letter = match[f"letter{group}"]
    name = f"{_LETTERS.get(letter, letter)}{int(match[f'number{group}'])}"
    if name not in _RANKS:
        raise InputError(f"level '{text}': there is no vertebra {name}")
    return name
