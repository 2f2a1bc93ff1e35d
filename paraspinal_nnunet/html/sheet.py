"""A sheet for viewers that show pictures only: slices with outlines, a table of measures, and what made them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.html.measure_tables import FAT, METHODS, MISSING, SIZE, MeasureColumn, number
from paraspinal_nnunet.html.preview import preview_picture
from paraspinal_nnunet.html.viewer.slices import font
from paraspinal_nnunet.image_io.volume import Volume

_SHOWN = ("volume_ml", "length_mm", "csa_mean_mm2", "csa_max_mm2")
_LINE, _GAP, _FIRST, _WIDTH = 24, 12, 210, 900


def result_sheet(
    image: Volume, labels: Volume, measures: pd.DataFrame | None, *, title: str, lines: Sequence[str]
) -> np.ndarray:
    """Draw the sheet.

    Args:
        image: The scan.
        labels: Canonical labels on its grid.
        measures: The table of measures; None without.
        title: A line above.
        lines: Below the table: what made it, and cautions.

    Returns:
        (rows, columns, 3) uint8.

    Raises:
        GeometryError: Two shapes.
    """
    pictures = preview_picture(image, labels, title=title)
    head, rows = ([], []) if measures is None else _cells(measures)
    width = max(pictures.width, _WIDTH)
    height = pictures.height + (len(rows) + bool(head) * 2 + len(lines)) * _LINE + 3 * _GAP
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(pictures, (0, 0))
    draw, y = ImageDraw.Draw(sheet), pictures.height + _GAP
    for n, row in enumerate([*head, *rows]):
        _draw_row(draw, row, y, width, bold=n < len(head))
        y += _LINE
    y += _GAP
    for line in lines:
        draw.text((_GAP, y), line, fill="#333", font=font(14))
        y += _LINE
    return np.asarray(sheet)


def _cells(measures: pd.DataFrame) -> tuple[list[list[str]], list[list[str]]]:
    """Two lines of headings, and one line per structure."""
    columns: list[MeasureColumn] = [column for column in SIZE if column.name in _SHOWN]
    names = [(column.heading, column.unit.replace("²", "2")) for column in columns]  # Pillow's typeface has no ²
    fat = [(m, FAT[0].name.format(m)) for m in METHODS if FAT[0].name.format(m) in measures]
    if fat:
        names.append(("Fat", f"%, {fat[0][0]}"))
    rows = []
    for row in measures.to_dict("records"):
        structure = BY_KEY[f"{row['muscle']}_{row['side']}"]
        if not row["voxels"]:
            rows.append([structure.display_name, MISSING])
            continue
        values = [number(row[c.name], c.digits, c.factor) for c in columns]
        rows.append([structure.display_name, *values, *_fat_cell(row, fat)])
    return [["", *(heading for heading, _ in names)], ["", *(unit for _, unit in names)]], rows


def _fat_cell(row: Mapping[Any, Any], fat: Sequence[tuple[str, str]]) -> list[str]:
    return [number(row[fat[0][1]], FAT[0].digits, FAT[0].factor)] if fat else []


def _draw_row(draw: ImageDraw.ImageDraw, cells: Sequence[str], y: int, width: int, *, bold: bool) -> None:
    draw.text((_GAP, y), cells[0], fill="black", font=font(16))
    step = (width - _FIRST - _GAP) / 5
    for n, text in enumerate(cells[1:], start=1):
        colour = "#b00020" if text == MISSING else "#555" if bold else "black"
        at = _FIRST + step * n - draw.textlength(text, font=font(16))
        draw.text((at, y), text, fill=colour, font=font(16))
