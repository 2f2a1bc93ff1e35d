"""The muscles and their sides: label values, names, colours and codes, and the label schemes of other sources."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

BACKGROUND = 0


class Muscle(str, Enum):
    """A muscle without its side."""

    MULTIFIDUS = "multifidus"
    ERECTOR_SPINAE = "erector_spinae"
    PSOAS_MAJOR = "psoas_major"
    QUADRATUS_LUMBORUM = "quadratus_lumborum"
    ERECTOR_SPINAE_AND_MULTIFIDUS = "erector_spinae_and_multifidus"
    AUTOCHTHON = "autochthon"
    ILIOPSOAS = "iliopsoas"

    @property
    def display_name(self) -> str:
        """The name for tables and figures, e.g. ``'Erector spinae'``."""
        return self.value.replace("_", " ").capitalize()

    @property
    def abbreviation(self) -> str:
        """The field's short name: MF, ES, PM, QL; of the coarse classes ESMF, AUT and IP."""
        return _ABBREVIATIONS[self.value]


_ABBREVIATIONS = MappingProxyType(
    {
        "multifidus": "MF",
        "erector_spinae": "ES",
        "psoas_major": "PM",
        "quadratus_lumborum": "QL",
        "erector_spinae_and_multifidus": "ESMF",
        "autochthon": "AUT",
        "iliopsoas": "IP",
    }
)


class Side(str, Enum):
    """The patient's own side."""

    RIGHT = "right"
    LEFT = "left"


@dataclass(frozen=True)
class Code:
    """A concept of a medical terminology: coding scheme, value and meaning, as DICOM writes them."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Structure:
    """One label of the canonical scheme: a muscle on one side.

    Attributes:
        label: Value in label maps. Source: the order of the authors' public code (MF, ES, PM; right before left).
        muscle: The muscle.
        side: The patient's side.
        colour: Red, green, blue in 0-255. Source: Figures 3 and 4 (MF orange, ES blue, PM green; right dark, left
            light); quadratus lumborum and the coarse classes are not in the paper and take hues that stay apart.
    """

    label: int
    muscle: Muscle
    side: Side
    colour: tuple[int, int, int]

    @property
    def key(self) -> str:
        """The name in dataset.json and in tables, e.g. ``'multifidus_right'``."""
        return f"{self.muscle.value}_{self.side.value}"

    @property
    def display_name(self) -> str:
        """The name for tables and figures, e.g. ``'Multifidus right'``."""
        return f"{self.muscle.display_name} {self.side.value}"

    @property
    def abbreviation(self) -> str:
        """The short name, e.g. ``'MF_R'``."""
        return f"{self.muscle.abbreviation}_{self.side.value[0].upper()}"

    @property
    def hex_colour(self) -> str:
        """The colour as ``'#rrggbb'``."""
        return "#{:02x}{:02x}{:02x}".format(*self.colour)


PARASPINAL: tuple[Structure, ...] = (
    Structure(1, Muscle.MULTIFIDUS, Side.RIGHT, (204, 85, 0)),
    Structure(2, Muscle.MULTIFIDUS, Side.LEFT, (255, 178, 102)),
    Structure(3, Muscle.ERECTOR_SPINAE, Side.RIGHT, (0, 70, 160)),
    Structure(4, Muscle.ERECTOR_SPINAE, Side.LEFT, (110, 180, 255)),
    Structure(5, Muscle.PSOAS_MAJOR, Side.RIGHT, (0, 110, 50)),
    Structure(6, Muscle.PSOAS_MAJOR, Side.LEFT, (120, 220, 130)),
)
"""The paper's six classes, in the order of their label values 1 to 6."""

QUADRATUS: tuple[Structure, ...] = (
    Structure(7, Muscle.QUADRATUS_LUMBORUM, Side.RIGHT, (110, 50, 140)),
    Structure(8, Muscle.QUADRATUS_LUMBORUM, Side.LEFT, (205, 150, 230)),
)
"""Optional classes of sources that have them; never part of the paper's six."""

STRUCTURES: tuple[Structure, ...] = PARASPINAL + QUADRATUS
"""The single muscles."""

COARSE: tuple[Structure, ...] = (
    Structure(9, Muscle.ERECTOR_SPINAE_AND_MULTIFIDUS, Side.RIGHT, (140, 20, 70)),
    Structure(10, Muscle.ERECTOR_SPINAE_AND_MULTIFIDUS, Side.LEFT, (245, 140, 175)),
    Structure(11, Muscle.AUTOCHTHON, Side.RIGHT, (0, 95, 100)),
    Structure(12, Muscle.AUTOCHTHON, Side.LEFT, (95, 205, 205)),
    Structure(13, Muscle.ILIOPSOAS, Side.RIGHT, (100, 105, 0)),
    Structure(14, Muscle.ILIOPSOAS, Side.LEFT, (205, 210, 80)),
)
"""Classes that hold several muscles, of sources that do not tell them apart: never one of the single muscles.

MyoSegmenTUM draws erector spinae and multifidus as one; TotalSegmentator's autochthon is all deep muscles of the back,
its iliopsoas is psoas major with iliacus.
"""

ALL_STRUCTURES: tuple[Structure, ...] = STRUCTURES + COARSE
BY_LABEL: Mapping[int, Structure] = MappingProxyType({s.label: s for s in ALL_STRUCTURES})
BY_KEY: Mapping[str, Structure] = MappingProxyType({s.key: s for s in ALL_STRUCTURES})

MUSCLE_CODES: Mapping[Muscle, Code] = MappingProxyType(
    {
        Muscle.MULTIFIDUS: Code("SCT", "5709001", "Multifidus muscles"),
        Muscle.ERECTOR_SPINAE: Code("SCT", "44947003", "Erector spinae muscle"),
        Muscle.PSOAS_MAJOR: Code("FMA", "18060", "Psoas major"),
        Muscle.QUADRATUS_LUMBORUM: Code("SCT", "6001004", "Quadratus lumborum muscle"),
        Muscle.ERECTOR_SPINAE_AND_MULTIFIDUS: Code("SCT", "244849004", "Deep muscle of back"),
        Muscle.AUTOCHTHON: Code("SCT", "244849004", "Deep muscle of back"),
        Muscle.ILIOPSOAS: Code("SCT", "68455001", "Iliopsoas muscle"),
    }
)
"""Terminology codes: SNOMED CT where it has the muscle, else the Foundational Model of Anatomy.

Source of the coarse classes': TotalSegmentator's SNOMED mapping; erector spinae with multifidus has no concept of its
own and takes the next wider one.
"""

SIDE_CODES: Mapping[Side, Code] = MappingProxyType(
    {Side.RIGHT: Code("SCT", "24028007", "Right"), Side.LEFT: Code("SCT", "7771000", "Left")}
)


@dataclass(frozen=True)
class LabelScheme:
    """How one source numbers the muscles.

    Attributes:
        name: Short name, as ``--labels`` and dataset.json carry it.
        values: Source value -> canonical key. Background 0 is always understood and never listed.
        note: Where the numbers come from.
    """

    name: str
    values: Mapping[int, str]
    note: str

    @property
    def structures(self) -> tuple[Structure, ...]:
        """The structures that the scheme knows, in canonical order."""
        keys = set(self.values.values())
        return tuple(s for s in ALL_STRUCTURES if s.key in keys)


def _scheme(name: str, values: dict[int, str], note: str) -> LabelScheme:
    return LabelScheme(name, MappingProxyType(values), note)


CANONICAL_VALUES = {s.label: s.key for s in PARASPINAL}

LABEL_SCHEMES: Mapping[str, LabelScheme] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            _scheme("author", dict(CANONICAL_VALUES), "the authors' public code: MF, ES, PM; right before left"),
            _scheme(
                "lpm",
                {
                    1: "erector_spinae_right",
                    2: "multifidus_right",
                    3: "multifidus_left",
                    4: "erector_spinae_left",
                },
                "LPM_Segmentator release; its own name list calls 3 and 4 'ES2' and 'MF2', which the geometry of the "
                "masks contradicts",
            ),
            _scheme(
                "musclemap",
                {
                    5101: "multifidus_left",
                    5102: "multifidus_right",
                    5111: "erector_spinae_left",
                    5112: "erector_spinae_right",
                    5121: "psoas_major_left",
                    5122: "psoas_major_right",
                    5131: "quadratus_lumborum_left",
                    5132: "quadratus_lumborum_right",
                },
                "MuscleMap whole-body codes; the last digit is 1 for left and 2 for right",
            ),
            _scheme(
                "musclemap-abdomen",
                {s.label: s.key for s in STRUCTURES},
                "MuscleMap's earlier abdomen model",
            ),
        )
    }
)
"""Label schemes of the sources that people have, by name."""


def opposite(structure: Structure) -> Structure:
    """The same muscle on the other side.

    >>> opposite(BY_KEY["multifidus_right"]).key
    'multifidus_left'
    """
    other = Side.LEFT if structure.side is Side.RIGHT else Side.RIGHT
    return BY_KEY[f"{structure.muscle.value}_{other.value}"]


def side_pairs(structures: tuple[Structure, ...]) -> tuple[tuple[Structure, Structure], ...]:
    """(right, left) of every muscle that has both sides among `structures`."""
    return tuple((s, opposite(s)) for s in structures if s.side is Side.RIGHT and opposite(s) in structures)
