"""Drawing axial slices with label overlays, as radiologists look at them: the patient's right on the viewer's left.

Arrays are in NIfTI order (i, j, k) with their affine, and are turned to RAS here. Label maps hold canonical values.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.html.viewer.colours import LABEL_COLOURS, UNKNOWN_COLOUR
from paraspinal_nnunet.html.viewer.window import display_window, windowed
from paraspinal_nnunet.image_io.geometry import spacing_mm, to_ras

FILL_OPACITY, OUTLINE_OPACITY = 0.38, 0.95
SURROUNDINGS_MM = 15.0
"""How far around the muscles grey values count for the window."""

_MARK_SHARE = 0.06  # height of the letters L and R as a share of the slice's
_TWO_PIXELS_FROM = 200  # pictures at least so high have outlines of two pixels


@dataclass(frozen=True)
class ViewerCase:
    """One scan with what is to be seen on it.

    Attributes:
        name: Shown above the slices.
        image: (i, j, k), any real dtype.
        affine: 4 x 4, to mm in RAS+; of the image and all label maps.
        reference: Label map on the image's grid, or None.
        predictions: Model name -> label map on the image's grid.
        caption: A line below the name, e.g. the case's Dice.
        legend: Value -> name and colour, where the label maps hold other than canonical values.
        levels: Number of a slice, from 1 at the feet -> vertebral level, where known.
        expected: Canonical labels that every prediction should have; those of the reference are expected anyway.
    """

    name: str
    image: np.ndarray
    affine: np.ndarray
    reference: np.ndarray | None = None
    predictions: Mapping[str, np.ndarray] = field(default_factory=dict)
    caption: str = ""
    legend: Mapping[int, tuple[str, tuple[int, int, int]]] = field(default_factory=dict)
    levels: Mapping[int, str] = field(default_factory=dict)
    expected: Sequence[int] = ()

    @property
    def label_maps(self) -> dict[str, np.ndarray]:
        """Reference and predictions by the name that the viewer shows."""
        reference = {} if self.reference is None else {"reference": self.reference}
        return {**reference, **self.predictions}


@dataclass(frozen=True)
class DisplayStack:
    """Slices in display order, from the feet upwards.

    Attributes:
        grey: uint8 (slices, rows, columns); row 0 is anterior, column 0 the patient's right.
        labels: Name -> uint8 label maps of the same shape.
        pixel_mm: Height and width of a pixel.
        positions_mm: Each slice's place along the patient's axis (RAS z of the slice's middle).
        numbers: Each slice's number in the scan, counted from 1 at the feet.
        total: Slices of the scan.
        window: Intensities of the scan that are black and white.
    """

    grey: np.ndarray
    labels: Mapping[str, np.ndarray]
    pixel_mm: tuple[float, float]
    positions_mm: tuple[float, ...]
    numbers: tuple[int, ...]
    total: int
    window: tuple[float, float]

    @property
    def display_size(self) -> tuple[int, int]:
        """Width and height in square pixels as large as the smaller side of a voxel."""
        unit = min(self.pixel_mm)
        return round(self.grey.shape[2] * self.pixel_mm[1] / unit), round(self.grey.shape[1] * self.pixel_mm[0] / unit)


def display_stack(
    image: np.ndarray,
    labels_by_name: Mapping[str, np.ndarray],
    affine: np.ndarray,
    *,
    most_slices: int | None = None,
    margin_mm: float | None = None,
) -> DisplayStack:
    """Turn a scan and its label maps into slices as they are shown.

    Args:
        image: (i, j, k).
        labels_by_name: Label maps of the same shape.
        affine: Of all of them.
        most_slices: Show so many slices at most, evenly spread; None shows all.
        margin_mm: Crop each slice to the labels' common bounding box and so much around it; None shows all.

    Raises:
        GeometryError: A label map of another shape, or an image that is not three-dimensional.
    """
    for name, array in {"image": image, **labels_by_name}.items():
        if array.ndim != 3 or array.shape != image.shape:
            raise GeometryError(f"{name} has shape {array.shape}, the image {image.shape}; they need one 3D grid")
    grey, ras = to_ras(image, affine)
    labels = {name: to_ras(np.asarray(array, np.uint8), affine)[0] for name, array in labels_by_name.items()}
    spacing = spacing_mm(ras)
    maps = list(labels.values())
    box = _crop_box(grey.shape, maps, spacing, margin_mm)
    around = (*_crop_box(grey.shape, maps, spacing, SURROUNDINGS_MM), _labelled_range(maps))
    window = display_window(grey[around], [array[around] for array in maps])
    chosen = _spread(grey.shape[2], most_slices)
    middle = [(n - 1) / 2 for n in grey.shape[:2]]
    return DisplayStack(
        grey=windowed(_as_displayed(grey, box, chosen), window),
        labels={name: _as_displayed(array, box, chosen) for name, array in labels.items()},
        pixel_mm=(spacing[1], spacing[0]),
        positions_mm=tuple(float(ras[2] @ [*middle, k, 1]) for k in chosen),
        numbers=tuple(int(k) + 1 for k in chosen),
        total=int(grey.shape[2]),
        window=window,
    )


def difference_map(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Where two label maps disagree, by the values of `DIFFERENCES`; uint8 of their shape."""
    difference = np.zeros(reference.shape, np.uint8)
    difference[(reference != 0) & (prediction == 0)] = 1
    difference[(reference == 0) & (prediction != 0)] = 2
    difference[(reference != 0) & (prediction != 0) & (reference != prediction)] = 3
    return difference


def overlay_image(
    labels: np.ndarray,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
    *,
    fill_opacity: float = FILL_OPACITY,
) -> Image.Image:
    """A transparent palette image of one slice's labels, filled lightly with a strong outline.

    Args:
        labels: uint8 (rows, columns).
        colours: Colour of each value; None takes `LABEL_COLOURS`. Others are grey.
        fill_opacity: Of the inside, 0 to 1.
    """
    colours = LABEL_COLOURS if colours is None else colours
    values = [int(v) for v in np.unique(labels) if v]
    indices = np.zeros(256, np.uint8)
    indices[values] = range(1, len(values) + 1)
    filled = indices[labels]
    picture = Image.fromarray(np.where(_outline(labels), filled + np.uint8(len(values)), filled))
    flat = [channel for value in values for channel in colours.get(value, UNKNOWN_COLOUR)]
    picture.putpalette([0, 0, 0, *flat, *flat])
    opacities = [fill_opacity] * len(values) + [OUTLINE_OPACITY] * len(values)
    picture.info["transparency"] = bytes([0, *(round(255 * opacity) for opacity in opacities)])
    return picture


def slice_image(
    stack: DisplayStack,
    index: int,
    overlay: str | None,
    *,
    height_px: int | None = None,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
    outlined: bool = False,
) -> Image.Image:
    """One slice as a finished picture with its marks L and R.

    Args:
        stack: What `display_stack` gave.
        index: Which slice of it.
        overlay: Name of the label map to draw, or None.
        height_px: Height of the picture; None keeps the smaller side of a voxel one pixel wide.
        colours: As in `overlay_image`.
        outlined: Draw outlines only.
    """
    width, height = stack.display_size
    if height_px:
        width, height = max(1, round(width * height_px / height)), height_px
    picture = Image.fromarray(stack.grey[index]).resize((width, height), Image.Resampling.BILINEAR).convert("RGBA")
    if overlay is not None:
        # Enlarged before the outline is drawn, so that outlines stay one pixel wide.
        plane = Image.fromarray(stack.labels[overlay][index]).resize((width, height), Image.Resampling.NEAREST)
        labels = np.asarray(plane)
        if outlined:
            edge = _outline(labels)
            edge |= _outline(np.where(edge, 0, labels)) if height >= _TWO_PIXELS_FROM else edge
            labels = np.where(edge, labels, 0).astype(np.uint8)
        picture.alpha_composite(overlay_image(labels, colours).convert("RGBA"))
    picture = picture.convert("RGB")
    _draw_sides(picture)
    return picture


def render_slices(
    image: np.ndarray,
    labels_by_name: Mapping[str, np.ndarray],
    affine: np.ndarray,
    *,
    most_slices: int | None = None,
    margin_mm: float | None = None,
    height_px: int | None = None,
    outlined: bool = False,
) -> dict[str, list[bytes]]:
    """Every slice with each label map drawn on it, as RGB PNG files.

    Args:
        image: (i, j, k).
        labels_by_name: Name -> label map; none at all gives the bare slices under the name 'image'.
        affine: Of all of them.
        most_slices: As in `display_stack`.
        margin_mm: As in `display_stack`.
        height_px: As in `slice_image`.
        outlined: As in `slice_image`.

    Returns:
        Name -> one PNG per slice, from the feet upwards.
    """
    stack = display_stack(image, labels_by_name, affine, most_slices=most_slices, margin_mm=margin_mm)
    overlays: dict[str, str | None] = {name: name for name in labels_by_name} or {"image": None}
    return {
        name: [
            encoded(slice_image(stack, index, overlay, height_px=height_px, outlined=outlined), "PNG")
            for index in range(len(stack.grey))
        ]
        for name, overlay in overlays.items()
    }


def encoded(picture: Image.Image, kind: str) -> bytes:
    """A picture as the bytes of a PNG or JPEG file; a palette keeps its transparency."""
    target = io.BytesIO()
    options = {"quality": 80} if kind == "JPEG" else {"optimize": True}
    picture.save(target, kind, **options)
    return target.getvalue()


@cache
def font(height_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface."""
    return ImageFont.load_default(size=height_px)


def _spread(count: int, most: int | None) -> np.ndarray:
    if most is None or most >= count:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, max(most, 1) + 2)[1:-1].round().astype(int))


def _crop_box(
    shape: Sequence[int], labels: list[np.ndarray], spacing: Sequence[float], margin_mm: float | None
) -> tuple[slice, slice]:
    """The in-plane box (along RAS x and y) to show."""
    used = np.any([np.zeros(shape[:2], bool), *(array.any(axis=2) for array in labels)], axis=0)
    if margin_mm is None or not used.any():
        return slice(0, shape[0]), slice(0, shape[1])
    box = []
    for axis in range(2):
        inside = np.flatnonzero(used.any(axis=1 - axis))
        margin = round(margin_mm / spacing[axis])
        box.append(slice(max(0, int(inside[0]) - margin), min(shape[axis], int(inside[-1]) + 1 + margin)))
    return box[0], box[1]


def _labelled_range(labels: list[np.ndarray]) -> slice:
    """From the lowest to the highest slice with a label; all where there is none."""
    used = np.flatnonzero(np.any([array.any(axis=(0, 1)) for array in labels], axis=0)) if labels else np.array([])
    return slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(None)


def _as_displayed(array: np.ndarray, box: tuple[slice, slice], chosen: np.ndarray) -> np.ndarray:
    """(x, y, z) in RAS to (slices, rows from anterior, columns from the patient's right)."""
    return np.ascontiguousarray(array[box][:, :, chosen][::-1, ::-1].transpose(2, 1, 0))


def _outline(labels: np.ndarray) -> np.ndarray:
    """Labelled pixels that touch another value on one of four sides."""
    padded = np.pad(labels, 1)
    sides = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    return (labels != 0) & np.any([side != labels for side in sides], axis=0)


def _draw_sides(picture: Image.Image) -> None:
    draw, size = ImageDraw.Draw(picture), max(9, round(_MARK_SHARE * picture.height))
    for letter, x, anchor in (("R", 0.02, "lm"), ("L", 0.98, "rm")):
        place = (x * picture.width, 0.5 * picture.height)
        draw.text(place, letter, fill="white", font=font(size), anchor=anchor, stroke_width=1, stroke_fill="black")
