"""Tables of measures for a page: the columns that a reader wants, with units, rounded, right beside left."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.html.tables import Heading, PageCell, PageRow, PageTable
from paraspinal_nnunet.html.viewer.colours import hex_colour, overlay_colour
from paraspinal_nnunet.utils.text import number_text


@dataclass(frozen=True)
class MeasureColumn:
    """How a column of measures is displayed.

    Attributes:
        name: In the table of measures.
        heading: Above the column.
        unit: Below the heading.
        digits: After the point.
        meaning: One line for the reader.
        factor: What values are multiplied by.
    """

    name: str
    heading: str
    unit: str
    digits: int
    meaning: str
    factor: float = 1.0


SIZE = (
    MeasureColumn("volume_ml", "Volume", "ml", 1, "All voxels of the muscle within the scan."),
    MeasureColumn(
        "cohort_percentile", "Percentile", "%", 0,
        "Where the volume stands among the people of Wesselink et al. 2022; not given where the scan is too short for "
        "the comparison.",
    ),
    MeasureColumn("length_mm", "Length", "mm", 0, "Slices with the muscle times their distance."),
    MeasureColumn("csa_mean_mm2", "Mean area", "mm²", 0, "Cross-sectional area in the plane of the slices, mean."),
    MeasureColumn("csa_max_mm2", "Largest area", "mm²", 0, "The largest area in one slice."),
    MeasureColumn("csa_max_slice", "in slice", "", 0, "Slices count from 1 at the feet."),
    MeasureColumn("intensity_mean", "Mean intensity", "image units", 0, "Not comparable between scanners."),
)  # fmt: skip
FAT = (
    MeasureColumn("fat_fraction_{}", "Fat", "%", 1, "Share of fat within the outline, by the method named.", 100.0),
    MeasureColumn("lean_volume_{}_ml", "Lean volume", "ml", 1, "Volume without fat."),
    MeasureColumn(
        "functional_csa_mean_{}_mm2",
        "Mean lean area",
        "mm²",
        0,
        "Mean area without fat (functional cross-sectional area).",
    ),
)
LEVEL = (
    MeasureColumn("csa_mid_mm2", "Area, middle of level", "mm²", 0, "Area in the level's middle slice."),
    MeasureColumn("csa_mean_mm2", "Mean area", "mm²", 0, "Mean area over the level's slices."),
    MeasureColumn("volume_ml", "Volume", "ml", 1, "Volume within the level's slices."),
)
METHODS = {
    "dixon": "Dixon",
    "gmm3": "three-component Gaussian mixture",
    "otsu": "Otsu threshold",
    "kmeans": "k-means threshold",
    "gmm": "Gaussian mixture threshold",
}
ASYMMETRY_MEANING = "Right minus left in percent of the mean of both sides: positive where the right side is larger."
_ASYMMETRY = {
    "volume_ml": "Volume",
    "csa_mean_mm2": "Mean area",
    "csa_max_mm2": "Largest area",
    "fat_fraction": "Fat",
    "functional_csa_mean_mm2": "Mean lean area",
}
NOTHING, MISSING = "–", "missing"
"""What stands where there is no number, and where a muscle that was looked for has no voxels."""


def measure_tables(tables: Mapping[str, pd.DataFrame]) -> list[PageTable]:
    """The tables of a case, each only with what it has."""
    found = []
    measures = tables.get("measures")
    if measures is not None and len(measures):
        found.append(_table("Size", ["Muscle", "Side"], SIZE, measures))
        found += _fat(measures)
    asymmetry = tables.get("asymmetry")
    if asymmetry is not None and len(asymmetry):
        found.append(_asymmetry(asymmetry))
    levels = tables.get("levels")
    if levels is not None and len(levels):
        found.append(_table("By vertebral level", ["Level", "Muscle", "Side"], LEVEL, levels, before="level"))
    return found


def meanings(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, str]]:
    """What each shown number means, one line each."""
    measures = tables.get("measures")
    names = set() if measures is None else set(measures.columns)
    lines = [(c.heading, c.meaning) for c in SIZE if c.name in names and c.name != "csa_max_slice"]
    if any(name.startswith("fat_fraction_") for name in names):
        lines += [(c.heading, c.meaning) for c in FAT]
    if "asymmetry" in tables and len(tables["asymmetry"]):
        lines.append(("Asymmetry", ASYMMETRY_MEANING))
    return lines


def number(value: Any, digits: int, factor: float = 1.0) -> str:
    """A rounded number, or a dash where there is none."""
    if isinstance(value, str):
        return value
    return NOTHING if value is None or pd.isna(value) else number_text(float(value) * factor, decimals=digits)


def muscle_name(key: str) -> str:
    """A muscle's name for a reader."""
    return key.replace("_", " ").capitalize()


def _fat(measures: pd.DataFrame) -> Iterable[PageTable]:
    for method, title in METHODS.items():
        columns = [replace(column, name=column.name.format(method)) for column in FAT]
        if f"fat_fraction_{method}" in measures.columns:
            yield _table(f"Fat: {title}", ["Muscle", "Side"], columns, measures)


def _asymmetry(table: pd.DataFrame) -> PageTable:
    keyed = table.assign(kind=list(zip(table["measure"], table["method"].fillna(""), strict=True)))
    kinds = list(dict.fromkeys(keyed["kind"]))
    names = [_ASYMMETRY.get(kind, kind) + (f", {METHODS.get(by, by)}" if by else "") for kind, by in kinds]
    headings = (Heading("Muscle", is_name=True), *(Heading(name, "%") for name in names))
    rows = []
    for muscle, group in keyed.groupby("muscle", sort=False):
        values = dict(zip(group["kind"], group["difference_percent"], strict=True))
        cells = (PageCell(_signed(values.get(kind))) for kind in kinds)
        rows.append(PageRow((PageCell(muscle_name(str(muscle)), is_name=True), *cells)))
    return PageTable(headings, tuple(rows), "Asymmetry, right minus left")


def _values(row: Mapping[Any, Any], columns: Sequence[MeasureColumn]) -> list[PageCell]:
    if row.get("voxels") == 0:
        return [PageCell(MISSING if place == 0 else NOTHING, kind="missing") for place, _ in enumerate(columns)]
    # A volume that only part of the muscle has cannot be ranked among whole ones.
    hidden = {"cohort_percentile"} if isinstance(row.get("cohort_note"), str) and row["cohort_note"] else set()
    return [PageCell(NOTHING if c.name in hidden else number(row[c.name], c.digits, c.factor)) for c in columns]


def _colour(muscle: str, side: str) -> str:
    structure = BY_KEY.get(f"{muscle}_{side}")
    return hex_colour(overlay_colour(structure)) if structure else ""


def _signed(value: Any) -> str:
    return NOTHING if value is None or pd.isna(value) else f"{value:+.1f}"


def _table(
    title: str, first: Sequence[str], columns: Sequence[MeasureColumn], table: pd.DataFrame, *, before: str = ""
) -> PageTable:
    present = [column for column in columns if column.name in table.columns]
    headings = [Heading(name, is_name=True) for name in first]
    headings += [Heading(column.heading, column.unit) for column in present]
    rows, last = [], None
    for row in table.to_dict("records"):
        muscle, side = str(row["muscle"]), str(row["side"])
        cells = [PageCell(str(row[before]), is_name=True)] if before else []
        cells.append(PageCell(muscle_name(muscle), is_name=True, colour=_colour(muscle, side)))
        cells.append(PageCell(side, kind="name"))
        cells += _values(row, present)
        group = (row[before], muscle) if before else muscle
        rows.append(PageRow(tuple(cells), starts_group=last not in (None, group)))
        last = group
    return PageTable(tuple(headings), tuple(rows), title)
