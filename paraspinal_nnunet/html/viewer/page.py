"""The overlay viewer as a piece of HTML that needs no network, and the contact sheet that prints."""

import zlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

from paraspinal_nnunet.anatomy import BY_LABEL
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.html.document import base64_text, document, fragment
from paraspinal_nnunet.html.viewer.colours import (
    DIFFERENCE_COLOURS,
    DIFFERENCES,
    LABEL_COLOURS,
    UNKNOWN_COLOUR,
    hex_colour,
)
from paraspinal_nnunet.html.viewer.slices import (
    FILL_OPACITY,
    DisplayStack,
    ViewerCase,
    difference_map,
    display_stack,
    encoded,
    font,
    slice_image,
)

MARGIN_MM = 15.0
"""Shown around the muscles."""

DIFFERENCE_OPACITY = 0.75
"""Differences are thin, and what lies below them is of less interest."""
_NO_OVERLAY = {"name": "none", "legend": [], "missing": [], "opacity": FILL_OPACITY, "labels": ""}


def viewer_html(
    cases: Sequence[ViewerCase], title: str, *, most_slices: int | None = 24, margin_mm: float | None = MARGIN_MM
) -> Markup:
    """A viewer of one or more cases, to be placed anywhere in a page; several may stand in one page.

    Slices are scrolled by wheel, keys and slider; grey values are windowed, and overlays filled or outlined, as the
    reader likes. Overlays are none, the reference, each prediction, and each prediction's difference from the
    reference.

    Args:
        cases: At least one.
        title: Heading; any text.
        most_slices: Slices of each case, evenly spread; None takes all.
        margin_mm: Shown around the labels; None shows whole slices.

    Returns:
        HTML with the pictures in it, for a page made with the part ``'viewer'``.

    Raises:
        InputError: No cases.
        GeometryError: A label map that does not fit its image.
    """
    if not cases:
        raise InputError("a viewer needs at least one case")
    data = [_case_data(case, most_slices, margin_mm) for case in cases]
    return fragment("parts.html", "viewer", title, data)


def viewer_page(cases: Sequence[ViewerCase], title: str, **options: Any) -> str:
    """A whole HTML page that holds nothing but `viewer_html`."""
    return document("viewer.html", title, parts=("viewer",), viewer=viewer_html(cases, title, **options))


def contact_sheet(
    cases: Sequence[ViewerCase],
    *,
    overlay: str | None = "reference",
    slices: int = 6,
    height_px: int = 160,
    margin_mm: float | None = MARGIN_MM,
    title: str = "",
) -> Image.Image:
    """One picture with a row of slices for each case, and the legend below.

    Args:
        cases: At least one.
        overlay: ``'reference'`` or a prediction's name; cases without it, or None, show bare slices.
        slices: Slices of each case, evenly spread between feet and head.
        height_px: Height of a slice.
        margin_mm: As in `viewer_html`.
        title: Heading.

    Raises:
        InputError: No cases.
    """
    if not cases:
        raise InputError("a contact sheet needs at least one case")
    rows, present = [], set()
    for case in cases:
        maps = {name: labels for name, labels in case.label_maps.items() if name == overlay}
        stack = display_stack(case.image, maps, case.affine, most_slices=slices, margin_mm=margin_mm)
        shown = overlay if maps else None
        present |= {int(v) for array in maps.values() for v in np.unique(array) if v}
        tiles = [slice_image(stack, index, shown, height_px=height_px) for index in range(len(stack.grey))]
        rows.append((f"{case.name}   {case.caption}".strip(), tiles))
    return _sheet(title, rows, _legend(sorted(present), LABEL_COLOURS))


def _case_data(case: ViewerCase, most_slices: int | None, margin_mm: float | None) -> dict[str, Any]:
    stack = display_stack(case.image, case.label_maps, case.affine, most_slices=most_slices, margin_mm=margin_mm)
    width, height = stack.display_size
    overlays: list[dict[str, Any]] = [_NO_OVERLAY]
    names = {value: name for value, (name, _) in case.legend.items()}
    colours = {value: colour for value, (_, colour) in case.legend.items()} or LABEL_COLOURS
    expected = {*case.expected, *(() if case.reference is None else np.unique(case.reference).tolist())} - {0}
    for name, labels in stack.labels.items():
        wanted = expected if name in case.predictions else ()
        overlays.append(_overlay(name, labels, colours, names, expected=sorted(wanted)))
    if case.reference is not None:
        for name in case.predictions:
            difference = difference_map(stack.labels["reference"], stack.labels[name])
            heading = "difference" if len(case.predictions) == 1 else f"difference of {name}"
            overlays.append(_overlay(heading, difference, DIFFERENCE_COLOURS))
    return {
        "name": case.name,
        "caption": case.caption,
        "width": width,
        "height": height,
        "rows": stack.grey.shape[1],
        "columns": stack.grey.shape[2],
        "window": [float(f"{value:.4g}") for value in stack.window],
        "count": stack.total,
        "start": min(1, len(overlays) - 1),
        "overlays": overlays,
        "slices": _slices(stack, case.levels),
    }


def _slices(stack: DisplayStack, levels: Mapping[int, str]) -> list[dict[str, Any]]:
    return [
        {
            "image": base64_text(encoded(Image.fromarray(plane), "JPEG")),
            "number": number,
            "mm": f"{position:.0f}",
            "level": levels.get(number, ""),
        }
        for plane, number, position in zip(stack.grey, stack.numbers, stack.positions_mm, strict=True)
    ]


def _overlay(
    name: str,
    labels: np.ndarray,
    colours: Mapping[int, tuple[int, int, int]],
    names: Mapping[int, str] = MappingProxyType({}),
    *,
    expected: Sequence[int] = (),
) -> dict[str, Any]:
    """One choice of the viewer, with its labels (slices, rows, columns) deflated.

    Pixels read back from a picture would not be exact in every browser.
    """
    values = [int(value) for value in np.unique(labels) if value]
    if colours is DIFFERENCE_COLOURS:
        opacity, named = DIFFERENCE_OPACITY, list(DIFFERENCES)
    else:
        legend = _legend(values, colours, names)
        opacity, named = FILL_OPACITY, [(v, text, colour) for v, (text, colour) in zip(values, legend, strict=True)]
    return {
        "name": name,
        "legend": [{"value": value, "name": text, "colour": hex_colour(colour)} for value, text, colour in named],
        "missing": [names.get(value) or _canonical_name(value) for value in expected if value not in values],
        "opacity": opacity,
        "labels": base64_text(zlib.compress(labels.tobytes())) if values else "",
    }


def _legend(
    values: Sequence[int],
    colours: Mapping[int, tuple[int, int, int]],
    names: Mapping[int, str] = MappingProxyType({}),
) -> list[tuple[str, tuple[int, int, int]]]:
    return [(names.get(value) or _canonical_name(value), colours.get(value, UNKNOWN_COLOUR)) for value in values]


def _canonical_name(value: int) -> str:
    return BY_LABEL[value].display_name if value in BY_LABEL else f"label {value}"


def _sheet(
    title: str, rows: list[tuple[str, list[Image.Image]]], legend: list[tuple[str, tuple[int, int, int]]]
) -> Image.Image:
    gap, line = 6, 20
    width = max(max(sum(t.width + gap for t in tiles) for _, tiles in rows) + gap, 640)
    height = (line + gap if title else 0) + sum(line + tiles[0].height + gap for _, tiles in rows) + 2 * line + gap
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    y = gap
    if title:
        draw.text((gap, y), title, fill="black", font=font(17))
        y += line + gap
    for name, tiles in rows:
        draw.text((gap, y), name, fill="black", font=font(13))
        y += line
        x = gap
        for tile in tiles:
            sheet.paste(tile, (x, y))
            x += tile.width + gap
        y += tiles[0].height + gap
    x = gap
    for text, colour in legend:
        needed = 18 + round(draw.textlength(text, font=font(12))) + 14
        if x + needed > width:
            x, y = gap, y + line
        draw.rectangle((x, y + 2, x + 12, y + 14), fill=colour, outline="black")
        draw.text((x + 18, y + 1), text, fill="black", font=font(12))
        x += needed
    return sheet
