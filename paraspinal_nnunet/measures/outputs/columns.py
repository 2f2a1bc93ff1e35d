"""The data dictionary: every column of the tables that measuring writes, declared once."""

from collections.abc import Sequence
from dataclasses import dataclass

from paraspinal_nnunet.measures.thresholds import METHODS
from paraspinal_nnunet.protocol.paper import DOI, PAPER
from paraspinal_nnunet.utils import spreadsheet

THRESHOLD_METHODS = tuple(METHODS)
DEFAULT_METHOD = THRESHOLD_METHODS[0]
"""The threshold that is taken where none is named; see `thresholds.AGREEMENT`."""
DIXON = "dixon"
FAT_METHODS = (*THRESHOLD_METHODS, DIXON)
TABLES = ("measures", "slices", "levels", "asymmetry", "flags")

METHOD = "{method}"
"""Stands in a column's name for each way in which fat was measured."""

_PAPER = f"Wesselink et al. 2022, doi:{DOI}"
_THRESHOLDS = (
    "Otsu 1979, doi:10.1109/TSMC.1979.4310076; k-means and Gaussian mixtures as in MuscleMap's mm_extract_metrics "
    "and Wesselink et al. 2024, doi:10.1016/j.xnsj.2024.100313"
)
_FCSA = "the field's functional or fat-free CSA, e.g. Fortin et al. 2013, Phys Ther 93:1540-1550"


@dataclass(frozen=True)
class Column(spreadsheet.Column):
    """One column; its name may hold `METHOD`.

    Attributes:
        methods: Ways of measuring fat that have it.
    """

    methods: tuple[str, ...] = FAT_METHODS

    @property
    def field(self) -> str:
        """The name without the way in which fat was measured."""
        return self.name.replace(f"_{METHOD}", "")


_WHO = (
    Column("case", "", "name of the case: the label map's file name without its ending"),
    Column("muscle", "", "multifidus, erector_spinae, psoas_major, or another that the label map has"),
    Column("side", "", "the patient's own side: right or left"),
)
_FAT_FRACTION = (
    "share of fat, 0 to 1: voxels above the threshold among all voxels (thresholds), or the mean over voxels with "
    "signal of fat / (water + fat) (Dixon)"
)
_MEASURES = (
    *_WHO,
    Column("label", "", "value in the canonical label map", "the authors' public code: MF, ES, PM; right before left"),
    Column("voxels", "count", "voxels with the label"),
    Column("volume_ml", "ml", "voxels x volume of a voxel"),
    Column("length_mm", "mm", "slices with the label x distance between slices, along the stack's normal"),
    Column(
        "extent_mm",
        "mm",
        "from the lowest to the highest slice with the label, those without it in between included; `length_mm` of "
        "`paraspinal inspect`",
    ),
    Column("slices", "count", "slices with at least one voxel of the label"),
    Column("gap_slices", "count", "slices without the label between the first and the last with it"),
    Column("first_slice", "", "lowest slice with the label; slices count from 1 at the feet"),
    Column("last_slice", "", "highest slice with the label"),
    Column("csa_mean_mm2", "mm2", "mean over these slices of the area in the plane of the stack; = volume / length"),
    Column("csa_max_mm2", "mm2", "largest area in one slice"),
    Column("csa_max_slice", "", "its slice; of equal ones the lowest"),
    Column("csa_max_level", "", "the level of that slice, where levels are given"),
    Column("intensity_mean", "image units", "mean intensity of the voxels"),
    Column("intensity_sd", "image units", "standard deviation of their intensity (n - 1)"),
    Column(
        "intensity_z",
        "1",
        "(mean intensity - mean of the image's nonzero voxels) / their standard deviation (n)",
        "the normalisation of the authors' public code",
    ),
    Column("pieces", "count", "connected pieces; voxels that share a face, an edge or a corner belong together"),
    Column("fragments_ml", "ml", "volume outside the largest piece"),
    Column("border_voxels", "count", "voxels in the outermost row or column of the image plane"),
    Column(
        "in_first_slice", "", "whether the label reaches the lowest slice of the stack: what lies below is not seen"
    ),
    Column("in_last_slice", "", "whether it reaches the highest slice"),
    Column(
        "cohort_mean_ml",
        "ml",
        f"mean volume of {PAPER.cohort.subjects} people after low back pain",
        f"{_PAPER}, Results",
    ),
    Column("cohort_sd_ml", "ml", "its standard deviation", f"{_PAPER}, Results"),
    Column("cohort_z", "1", "(volume - cohort mean) / cohort standard deviation"),
    Column("cohort_percentile", "%", "normal-theory percentile: the standard normal distribution function of cohort_z"),
    Column("cohort_note", "", "what speaks against the comparison, e.g. a shorter field of view"),
    Column(
        f"threshold_{METHOD}", "image units", "fat is above it; equal is lean", _THRESHOLDS, methods=THRESHOLD_METHODS
    ),
    Column(f"fat_fraction_{METHOD}", "1", _FAT_FRACTION, _THRESHOLDS),
    Column(f"fat_volume_{METHOD}_ml", "ml", "fat fraction x volume"),
    Column(f"lean_volume_{METHOD}_ml", "ml", "volume - fat volume"),
    Column(
        f"functional_csa_mean_{METHOD}_mm2",
        "mm2",
        "mean over the slices of area x (1 - fat fraction of the slice)",
        _FCSA,
    ),
    Column(f"functional_csa_max_{METHOD}_mm2", "mm2", "the largest of these"),
    Column(
        f"zero_signal_voxels_{METHOD}",
        "count",
        "voxels in which water and fat are both 0: left out of the mean",
        methods=(DIXON,),
    ),
    Column(f"reason_{METHOD}", "", "why there are no numbers of fat; empty where there are"),
)
_SLICES = (
    *_WHO,
    Column("slice", "", "from 1 at the feet; slices without the label have no row"),
    Column("z_mm", "mm", "RAS z of the middle of the slice"),
    Column("level", "", "level that the slice belongs to, where levels are given"),
    Column("csa_mm2", "mm2", "area in the plane of the stack"),
    Column("intensity_mean", "image units", "mean intensity of the label's voxels in the slice"),
    Column(f"fat_fraction_{METHOD}", "1", f"within the slice: {_FAT_FRACTION}", _THRESHOLDS),
    Column(f"functional_csa_{METHOD}_mm2", "mm2", "area x (1 - fat fraction)", _FCSA),
)
_LEVELS = (
    *_WHO,
    Column("level", "", "e.g. L4 or L4-L5"),
    Column("kind", "", "vertebra, disc or other"),
    Column("first_slice", "", "lowest slice of the level"),
    Column("last_slice", "", "highest slice of the level"),
    Column("mid_slice", "", "middle of the level: the given slice, or the middle of its slices (of two the lower)"),
    Column("mid_z_mm", "mm", "RAS z of the middle of that slice"),
    Column("slices", "count", "slices of the level with the label"),
    Column("volume_ml", "ml", "volume within the level's slices; empty where only the level's middle is known"),
    Column("csa_mean_mm2", "mm2", "mean area over the level's slices with the label; empty as above"),
    Column("csa_mid_mm2", "mm2", "area in the middle slice; 0 where the label does not reach it"),
    Column(f"fat_fraction_{METHOD}", "1", f"within the level's slices: {_FAT_FRACTION}", _THRESHOLDS),
    Column(
        f"functional_csa_mean_{METHOD}_mm2", "mm2", "mean over the level's slices with the label; empty as above", _FCSA
    ),
    Column(f"functional_csa_mid_{METHOD}_mm2", "mm2", "area x (1 - fat fraction) in the middle slice", _FCSA),
)
_ASYMMETRY = (
    _WHO[0],
    _WHO[1],
    Column("measure", "", "volume_ml, csa_mean_mm2, csa_max_mm2, fat_fraction or functional_csa_mean_mm2"),
    Column("method", "", "way in which fat was measured; empty for measures of size"),
    Column("right", "", "the right side's value, in the measure's unit"),
    Column("left", "", "the left side's value"),
    Column(
        "difference_percent",
        "%",
        "100 x (right - left) / mean of both: positive where the right side is larger; empty where the mean is 0",
        "ours: the paper defines no asymmetry; the symmetric form does not depend on which side is called normal",
    ),
)
_FLAGS = (
    _WHO[0],
    Column("kind", "", "what was looked at"),
    Column("severity", "", "info, warning or serious"),
    Column("subject", "", "structure or muscle; empty for the case"),
    Column("text", "", "what was found"),
    Column("value", "", "what was compared, in the unit that the text names"),
    Column("threshold", "", "what it was compared with"),
)
COLUMNS: dict[str, tuple[Column, ...]] = {
    "measures": _MEASURES,
    "slices": _SLICES,
    "levels": _LEVELS,
    "asymmetry": _ASYMMETRY,
    "flags": _FLAGS,
}
"""Table -> its columns, in order."""


def columns(table: str, methods: Sequence[str]) -> tuple[tuple[str, Column, str], ...]:
    """Names in the header with their declaration and method; those of fat stand together, method by method.

    Args:
        table: A name in `TABLES`.
        methods: Ways in which fat was measured, in order.
    """
    plain = [(c.name, c, "") for c in COLUMNS[table] if METHOD not in c.name]
    fat = [
        (c.name.replace(METHOD, method), c, method)
        for method in methods
        for c in COLUMNS[table]
        if METHOD in c.name and method in c.methods
    ]
    return (*plain, *fat)


def column_names(table: str, methods: Sequence[str]) -> tuple[str, ...]:
    """The header of a table."""
    return tuple(name for name, _, _ in columns(table, methods))


def dictionary_rows(methods: Sequence[str] = FAT_METHODS) -> list[dict[str, str]]:
    """The data dictionary: table, column, unit, definition, source."""
    return [
        {"table": table, "column": name, "unit": c.unit, "definition": c.definition, "source": c.source}
        for table in TABLES
        for name, c, _ in columns(table, methods)
    ]
