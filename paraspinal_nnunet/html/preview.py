"""Still pictures of a mask on its scan: a file beside the mask, a page's montage for paper, a batch's thumbnails."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from paraspinal_nnunet.anatomy import BY_LABEL
from paraspinal_nnunet.html.viewer.colours import LABEL_COLOURS, UNKNOWN_COLOUR
from paraspinal_nnunet.html.viewer.slices import DisplayStack, display_stack, encoded, font, slice_image
from paraspinal_nnunet.image_io.volume import Volume

SLICES, COLUMNS = 6, 3
SLICE_PX, THUMBNAIL_PX = 300, 150
MARGIN_MM = 15.0
_GAP, _LINE = 6, 22
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class Tile:
    """One slice as a picture.

    Attributes:
        number: Of the slice, from 1 at the feet.
        mm: RAS z of its middle.
        picture: With outlines and the marks R and L.
    """

    number: int
    mm: float
    picture: Image.Image

    @property
    def place(self) -> str:
        """Where it lies, in words."""
        return f"slice {self.number}, z = {self.mm:.0f} mm"


def preview_png(image: Volume, labels: Volume, *, slices: int = SLICES, title: str = "") -> bytes:
    """`preview_picture` as a PNG file."""
    return encoded(preview_picture(image, labels, slices=slices, title=title), "PNG")


def preview_picture(image: Volume, labels: Volume, *, slices: int = SLICES, title: str = "") -> Image.Image:
    """A picture of a few slices with the muscles' outlines, the marks R and L, and the legend.

    Args:
        image: The scan.
        labels: Canonical labels on its grid.
        slices: How many, evenly spread over the labelled part.
        title: A line above.

    Raises:
        GeometryError: Two shapes.
    """
    tiles = montage(image, labels, slices=slices, height_px=SLICE_PX)
    columns = min(COLUMNS, len(tiles))
    width, height = tiles[0].picture.size
    rows = -(-len(tiles) // columns)
    top = _GAP + (_LINE if title else 0)
    size = (max(columns * (width + _GAP) + _GAP, 420), top + rows * (height + _LINE + _GAP) + 3 * _LINE)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((_GAP, _GAP), title, fill="black", font=font(16))
    for n, tile in enumerate(tiles):
        x, y = _GAP + (n % columns) * (width + _GAP), top + (n // columns) * (height + _LINE + _GAP)
        sheet.paste(tile.picture, (x, y))
        draw.text((x, y + height + 2), tile.place, fill="#444", font=font(13))
    bottom = _draw_legend(draw, labels, top + rows * (height + _LINE + _GAP), size[0])
    return sheet.crop((0, 0, size[0], min(bottom + _GAP, size[1])))


def montage(image: Volume, labels: Volume, *, slices: int, height_px: int) -> list[Tile]:
    """Slices evenly spread over the labelled part of a scan, from head to feet.

    Args:
        image: The scan.
        labels: Canonical labels on its grid.
        slices: How many at most.
        height_px: Height of each picture.

    Raises:
        GeometryError: Two shapes.
    """
    stack = display_stack(image.array, {"muscles": labels.array}, image.affine, margin_mm=MARGIN_MM)
    return [
        Tile(stack.numbers[k], stack.positions_mm[k], _outlined(stack, k, height_px))
        for k in reversed(_chosen(stack, slices))
    ]


def thumbnail(image: Volume, labels: Volume) -> bytes:
    """The middle slice of the labelled part with outlines, as a JPEG."""
    (tile,) = montage(image, labels, slices=1, height_px=THUMBNAIL_PX)
    return jpeg(tile.picture)


def jpeg(picture: Image.Image) -> bytes:
    """A picture as a JPEG without loss of colour resolution, so that thin outlines keep their hue."""
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=_JPEG_QUALITY, subsampling=0)  # optimising fails on pictures full of detail
    return target.getvalue()


def legend(labels: Volume) -> list[tuple[str, tuple[int, int, int]]]:
    """Names and colours of the labels in a map."""
    values = [int(value) for value in np.unique(labels.array) if value]
    names = [BY_LABEL[value].display_name if value in BY_LABEL else f"label {value}" for value in values]
    return [(name, LABEL_COLOURS.get(value, UNKNOWN_COLOUR)) for name, value in zip(names, values, strict=True)]


def _chosen(stack: DisplayStack, count: int) -> Sequence[int]:
    """Places of slices from the feet upwards: evenly over those with a label, or over all where none has one."""
    labelled = np.flatnonzero(stack.labels["muscles"].any(axis=(1, 2)))
    among = labelled if labelled.size else np.arange(len(stack.grey))
    if count >= among.size:
        return among.tolist()
    edges = (np.arange(count) + 0.5) * among.size / count
    return among[edges.astype(int)].tolist()


def _outlined(stack: DisplayStack, index: int, height_px: int) -> Image.Image:
    return slice_image(stack, index, "muscles", height_px=height_px, outlined=True)


def _draw_legend(draw: ImageDraw.ImageDraw, labels: Volume, y: int, width: int) -> int:
    """Draw the legend in lines; returns where it ends."""
    x = _GAP
    for text, colour in legend(labels):
        needed = 18 + round(draw.textlength(text, font=font(13))) + 14
        if x + needed > width and x > _GAP:
            x, y = _GAP, y + _LINE
        draw.rectangle((x, y + 3, x + 12, y + 15), fill=colour, outline="black")
        draw.text((x + 18, y + 1), text, fill="black", font=font(13))
        x += needed
    return y + _LINE
