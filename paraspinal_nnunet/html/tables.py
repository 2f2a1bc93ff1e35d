"""Tables of measures for a page: the columns that a reader wants, with units, rounded, right beside left."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.html.viewer.page import as_text


@dataclass(frozen=True)
class Shown:
    """How a column is shown.

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
    Shown("volume_ml", "Volume", "ml", 1, "All voxels of the muscle within the scan."),
    Shown(
        "cohort_percentile", "Percentile", "%", 0,
        "Where the volume stands among the people of Wesselink et al. 2022. It depends on how much of the muscle the "
        "scan covers.",
    ),
    Shown("length_mm", "Length", "mm", 0, "Slices with the muscle times their distance."),
    Shown("csa_mean_mm2", "Mean CSA", "mm²", 0, "Cross-sectional area in the plane of the slices, mean over them."),
    Shown("csa_max_mm2", "Largest CSA", "mm²", 0, "The largest area in one slice."),
    Shown("csa_max_slice", "in slice", "", 0, "Slices count from 1 at the feet."),
    Shown("intensity_mean", "Mean intensity", "image units", 0, "Not comparable between scanners or sequences."),
)  # fmt: skip
FAT = (
    Shown("fat_fraction_{}", "Fat", "%", 1, "Share of fat within the muscle's outline, by the method named.", 100.0),
    Shown("lean_volume_{}_ml", "Lean volume", "ml", 1, "Volume without fat."),
    Shown("functional_csa_mean_{}_mm2", "Mean lean CSA", "mm²", 0, "Mean area without fat (functional CSA)."),
)
LEVEL = (
    Shown("csa_mid_mm2", "CSA, middle of level", "mm²", 0, "Area in the level's middle slice."),
    Shown("csa_mean_mm2", "Mean CSA", "mm²", 0, "Mean area over the level's slices."),
    Shown("volume_ml", "Volume", "ml", 1, "Volume within the level's slices."),
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
    "csa_mean_mm2": "Mean CSA",
    "csa_max_mm2": "Largest CSA",
    "fat_fraction": "Fat",
    "functional_csa_mean_mm2": "Mean lean CSA",
}
NOTHING = "–"


def measures_html(tables: Mapping[str, pd.DataFrame]) -> str:
    """The tables of a case, each only with what it has."""
    parts = []
    measures = tables.get("measures")
    if measures is not None and len(measures):
        parts.append(_table("Size", _head(["Muscle", "Side"], SIZE, measures), _rows(measures, SIZE)))
        parts += _fat(measures)
    asymmetry = tables.get("asymmetry")
    if asymmetry is not None and len(asymmetry):
        parts.append(_asymmetry(asymmetry))
    levels = tables.get("levels")
    if levels is not None and len(levels):
        head = _head(["Level", "Muscle", "Side"], LEVEL, levels)
        parts.append(_table("By vertebral level", head, _rows(levels, LEVEL, before="level")))
    return "".join(parts)


def meanings_html(tables: Mapping[str, pd.DataFrame]) -> str:
    """What each shown number means, one line each."""
    measures = tables.get("measures")
    names = set() if measures is None else set(measures.columns)
    lines = [(s.heading, s.meaning) for s in SIZE if s.name in names and s.name != "csa_max_slice"]
    if any(name.startswith("fat_fraction_") for name in names):
        lines += [(s.heading, s.meaning) for s in FAT]
    if "asymmetry" in tables and len(tables["asymmetry"]):
        lines.append(("Asymmetry", ASYMMETRY_MEANING))
    items = "".join(f"<dt>{as_text(name)}</dt><dd>{as_text(meaning)}</dd>" for name, meaning in lines)
    return f'<dl class="meanings">{items}</dl>' if items else ""


def number(value: Any, digits: int, factor: float = 1.0) -> str:
    """A rounded number, or a dash where there is none."""
    if value is None or isinstance(value, str) or pd.isna(value):
        return NOTHING if not isinstance(value, str) else as_text(value)
    return f"{float(value) * factor:.{digits}f}"


def muscle_name(key: str) -> str:
    """A muscle's name for a reader."""
    return key.replace("_", " ").capitalize()


def swatch(muscle: str, side: str) -> str:
    """The muscle's colour as a small square."""
    structure = BY_KEY.get(f"{muscle}_{side}")
    return f'<i class="swatch" style="background:{structure.hex_colour}"></i>' if structure else ""


def _fat(measures: pd.DataFrame) -> Iterable[str]:
    for method, title in METHODS.items():
        shown = [_with_method(s, method) for s in FAT]
        if f"fat_fraction_{method}" in measures.columns:
            head = _head(["Muscle", "Side"], shown, measures)
            yield _table(f"Fat: {title}", head, _rows(measures, shown))


def _with_method(shown: Shown, method: str) -> Shown:
    return Shown(shown.name.format(method), shown.heading, shown.unit, shown.digits, shown.meaning, shown.factor)


def _asymmetry(table: pd.DataFrame) -> str:
    keyed = table.assign(kind=list(zip(table["measure"], table["method"].fillna(""), strict=True)))
    kinds = list(dict.fromkeys(keyed["kind"]))
    names = [_ASYMMETRY.get(kind, kind) + (f", {METHODS.get(by, by)}" if by else "") for kind, by in kinds]
    head = (
        "<tr><th class=name>Muscle</th>"
        + "".join(f"<th>{as_text(name)}<small>%</small></th>" for name in names)
        + "</tr>"
    )
    rows = []
    for muscle, group in keyed.groupby("muscle", sort=False):
        values = dict(zip(group["kind"], group["difference_percent"], strict=True))
        cells = "".join(f"<td>{_signed(values.get(kind))}</td>" for kind in kinds)
        rows.append(f"<tr><th>{as_text(muscle_name(str(muscle)))}</th>{cells}</tr>")
    return _table("Asymmetry, right minus left", head, rows)


def _signed(value: Any) -> str:
    return NOTHING if value is None or pd.isna(value) else f"{value:+.1f}"


def _head(first: Sequence[str], shown: Sequence[Shown], table: pd.DataFrame) -> str:
    cells = [f"<th class=name>{name}</th>" for name in first]
    cells += [f"<th>{s.heading}<small>{s.unit}</small></th>" for s in shown if s.name in table.columns]
    return f"<tr>{''.join(cells)}</tr>"


def _rows(table: pd.DataFrame, shown: Sequence[Shown], *, before: str = "") -> list[str]:
    rows, last = [], None
    for row in table.to_dict("records"):
        cells = [f"<th>{as_text(str(row[before]))}</th>"] if before else []
        muscle, side = str(row["muscle"]), str(row["side"])
        cells += [
            f"<th>{swatch(muscle, side)}{as_text(muscle_name(muscle))}</th>",
            f"<td class=name>{as_text(side)}</td>",
        ]
        cells += [f"<td>{number(row[s.name], s.digits, s.factor)}</td>" for s in shown if s.name in table.columns]
        group = (row[before], muscle) if before else muscle
        rows.append(f"<tr{' class=next' if last not in (None, group) else ''}>{''.join(cells)}</tr>")
        last = group
    return rows


def _table(title: str, head: str, rows: Sequence[str]) -> str:
    caption = f"<caption>{as_text(title)}</caption>"
    return f'<div class="wide"><table>{caption}<thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
