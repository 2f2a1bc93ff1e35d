"""What measuring a case gives: numbers per structure, slice and level, asymmetry, flags, and their tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from paraspinal_nnunet.anatomy import Muscle, Structure
from paraspinal_nnunet.measures.columns import TABLES, column_names
from paraspinal_nnunet.measures.levels import Levels
from paraspinal_nnunet.measures.shapes import Stack
from paraspinal_nnunet.measures.tables import Row, plain_row, table_rows

SCHEMA = "paraspinal-nnunet measures"
SCHEMA_VERSION = 1

_WHOLE_OR_EMPTY = ("first_slice", "last_slice", "csa_max_slice")

Severity = Literal["info", "warning", "serious"]


@dataclass(frozen=True)
class FatMeasures:
    """Fat of one structure by one method; the columns of the same names say what each is.

    Attributes:
        method: ``'gmm3'``, ``'otsu'``, ``'kmeans'``, ``'gmm'`` or ``'dixon'``.
        threshold: NaN for Dixon and where there is none.
        reason: Why there are no numbers; empty where there are.
    """

    method: str
    threshold: float
    fat_fraction: float
    fat_volume_ml: float
    lean_volume_ml: float
    functional_csa_mean_mm2: float
    functional_csa_max_mm2: float
    zero_signal_voxels: int
    reason: str


@dataclass(frozen=True)
class CohortPlace:
    """Where a volume stands among the paper's people; NaN where the paper has no value."""

    mean_ml: float
    sd_ml: float
    z: float
    percentile: float
    note: str


@dataclass(frozen=True)
class StructureMeasures:
    """One muscle on one side; the columns of the same names say what each is. Slices are None where it is missing."""

    structure: Structure
    voxels: int
    volume_ml: float
    length_mm: float
    extent_mm: float
    slices: int
    gap_slices: int
    first_slice: int | None
    last_slice: int | None
    csa_mean_mm2: float
    csa_max_mm2: float
    csa_max_slice: int | None
    csa_max_level: str
    intensity_mean: float
    intensity_sd: float
    intensity_z: float
    pieces: int
    fragments_ml: float
    border_voxels: int
    in_first_slice: bool
    in_last_slice: bool
    cohort: CohortPlace
    fat: tuple[FatMeasures, ...]

    def fat_by(self, method: str) -> FatMeasures:
        """The fat by a method.

        Raises:
            KeyError: The method was not asked for.
        """
        return _by_method(self.fat, method)


@dataclass(frozen=True)
class SliceFat:
    """Fat of one structure in one slice."""

    method: str
    fat_fraction: float
    functional_csa_mm2: float


@dataclass(frozen=True)
class SliceMeasures:
    """One structure in one slice that it reaches."""

    structure: Structure
    slice: int
    z_mm: float
    level: str
    csa_mm2: float
    intensity_mean: float
    fat: tuple[SliceFat, ...]

    def fat_by(self, method: str) -> SliceFat:
        """The fat by a method; raises KeyError when it was not asked for."""
        return _by_method(self.fat, method)


@dataclass(frozen=True)
class LevelFat:
    """Fat of one structure at one level."""

    method: str
    fat_fraction: float
    functional_csa_mean_mm2: float
    functional_csa_mid_mm2: float


@dataclass(frozen=True)
class LevelMeasures:
    """One structure at one level."""

    structure: Structure
    level: str
    kind: str
    first_slice: int
    last_slice: int
    mid_slice: int
    mid_z_mm: float
    slices: int
    volume_ml: float
    csa_mean_mm2: float
    csa_mid_mm2: float
    fat: tuple[LevelFat, ...]

    def fat_by(self, method: str) -> LevelFat:
        """The fat by a method; raises KeyError when it was not asked for."""
        return _by_method(self.fat, method)


@dataclass(frozen=True)
class Asymmetry:
    """A measure of both sides of a muscle; `method` is empty where it is no measure of fat."""

    muscle: Muscle
    measure: str
    method: str
    right: float
    left: float
    difference_percent: float


@dataclass(frozen=True)
class Flag:
    """Something about a case that a person should look at.

    Attributes:
        kind: E.g. ``'volume'``; see `quality.KINDS`.
        severity: How urgent it is.
        subject: Structure's or muscle's key, or empty for the case.
        text: What was found, in one sentence.
        value: What was compared.
        threshold: What it was compared with.
    """

    kind: str
    severity: Severity
    subject: str
    text: str
    value: float
    threshold: float


@dataclass(frozen=True)
class CaseMeasures:
    """All measures of a case.

    Attributes:
        case: Its name.
        stack: The slices that were measured.
        levels: The levels that were given.
        structures: Per muscle and side, in canonical order.
        slices: Per muscle, side and slice that it reaches, from the feet upwards.
        at_levels: Per muscle, side and level, from head to feet.
        asymmetry: Per muscle and measure.
        flags: The worst first.
        severity: Order of review: the larger, the sooner; see `quality.severity_score`.
        methods: Ways in which fat was measured.
        inputs: What was measured: ``'image'``, ``'labels'``... -> file name.
        settings: How.
        versions: Of this package and what it rests on.
    """

    case: str
    stack: Stack
    levels: Levels
    structures: tuple[StructureMeasures, ...]
    slices: tuple[SliceMeasures, ...]
    at_levels: tuple[LevelMeasures, ...]
    asymmetry: tuple[Asymmetry, ...]
    flags: tuple[Flag, ...]
    severity: float
    methods: tuple[str, ...]
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    def structure(self, key: str) -> StructureMeasures:
        """The measures of a structure by its key, e.g. ``'multifidus_right'``.

        Raises:
            KeyError: It was not measured.
        """
        for each in self.structures:
            if each.structure.key == key:
                return each
        raise KeyError(key)

    def table(self, name: str = "measures") -> pd.DataFrame:
        """One of the tables: measures, slices, levels, asymmetry or flags.

        Raises:
            KeyError: Another name.
        """
        if name not in TABLES:
            raise KeyError(f"no table '{name}'; there are {', '.join(TABLES)}")
        table = pd.DataFrame(self._rows(name), columns=list(column_names(name, self.methods)))
        return table.astype({column: "Int64" for column in _WHOLE_OR_EMPTY if column in table.columns})

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON: every table's rows, settings, versions and inputs; null for what is not known."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "case": self.case,
            "inputs": dict(self.inputs),
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "stack": {
                "shape": list(self.stack.shape),
                "affine_ras": self.stack.affine.tolist(),
                "slices": self.stack.slices,
                "slice_spacing_mm": self.stack.slice_spacing_mm,
                "pixel_mm2": self.stack.pixel_mm2,
                "length_mm": self.stack.length_mm,
            },
            "levels_scheme": self.levels.scheme or None,
            "severity": self.severity,
            **{name: [plain_row(row) for row in self._rows(name)] for name in TABLES},
        }

    def _rows(self, table: str) -> list[Row]:
        entries: dict[str, tuple[Any, ...]] = {
            "measures": self.structures,
            "slices": self.slices,
            "levels": self.at_levels,
            "asymmetry": self.asymmetry,
            "flags": self.flags,
        }
        return list(table_rows(table, self.case, entries[table], self.methods))


def _by_method(fat: tuple[Any, ...], method: str) -> Any:
    for each in fat:
        if each.method == method:
            return each
    raise KeyError(method)
