"""A case as it is shown: its image, its label map in values that the viewer draws, their names and colours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.anatomy import Side
from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.html.viewer.colours import LABEL_COLOURS, LUMINANCE, Colour, lightened, overlay_colour
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.quality_control.classes import LabelClass, viewer_values
from paraspinal_nnunet.quality_control.dataset import CaseFiles

UNKNOWN = 255
"""Stands for all values that are none of the classes; drawn grey."""


@dataclass(frozen=True)
class ShownCase:
    """What is drawn of a case, in RAS.

    Attributes:
        image: First channel, (x, y, z).
        affine: To mm.
        labels: uint8 on the same grid, in `legend`'s values; None where the label map is missing or does not fit.
    """

    image: np.ndarray
    affine: np.ndarray
    labels: np.ndarray | None


def legend(classes: Sequence[LabelClass]) -> dict[int, tuple[str, Colour]]:
    """Value -> name and colour on a scan; canonical values where all classes are ours, else 1, 2, ... in order."""
    canonical = viewer_values(classes)
    if canonical:
        return {canonical[c.value]: (c.display_name, LABEL_COLOURS[canonical[c.value]]) for c in classes}
    return {n: (c.display_name, _on_scan(c)) for n, c in enumerate(classes[: UNKNOWN - 1], start=1)}


def _on_scan(label: LabelClass) -> Colour:
    if label.structure is not None:
        return overlay_colour(label.structure)
    return lightened(label.colour, LUMINANCE[Side.RIGHT])


def load_shown(files: CaseFiles, classes: Sequence[LabelClass]) -> ShownCase:
    """Read what is drawn of a case.

    Raises:
        InputError: No readable image.
    """
    if not files.images:
        raise InputError(f"{files.case}: has no image")
    image = read_image(files.images[0])
    array, affine = to_ras(image.array, image.affine)
    try:
        labels = None if files.labels is None else read_labels(files.labels)
    except InputError:
        labels = None
    if labels is None:
        return ShownCase(array, affine, None)
    shown, _ = to_ras(_shown_values(labels.array, classes), labels.affine)
    return ShownCase(array, affine, shown if shown.shape == array.shape else None)


def labelled_slices(case: ShownCase, number: int) -> np.ndarray:
    """Indices of a few slices, evenly spread over the labelled ones, or over all where there are no labels."""
    total = case.image.shape[2]
    used = np.arange(total) if case.labels is None else np.flatnonzero(case.labels.any(axis=(0, 1)))
    used = used if len(used) else np.arange(total)
    places = (np.arange(number) + 0.5) / number * (used[-1] - used[0]) + used[0]
    return np.unique(np.rint(places).astype(int))


def _shown_values(array: np.ndarray, classes: Sequence[LabelClass]) -> np.ndarray:
    if len(classes) >= UNKNOWN:
        raise GeometryError(f"{len(classes)} classes are too many to be drawn")
    canonical = viewer_values(classes)
    shown = np.where(array != 0, np.uint8(UNKNOWN), np.uint8(0)).astype(np.uint8)
    for number, label in enumerate(classes, start=1):
        shown[array == label.value] = canonical.get(label.value, number)
    return shown
