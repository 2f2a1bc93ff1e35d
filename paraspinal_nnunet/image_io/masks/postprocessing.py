"""Named clean-ups of a label map, off by default as in the paper: largest pieces, filled holes, closed clefts."""

from collections.abc import Sequence

import numpy as np
import scipy

from paraspinal_nnunet.errors import ProtocolError

NEIGHBOURS = np.ones((3, 3, 3), bool)
"""Voxels that share a face, an edge or a corner belong to one piece."""

CLOSING_MM, MOST_CLOSING_MM = 2.0, 20.0
"""Radius of the ball that closes clefts, and the largest that is taken. Source: ours."""


def largest_component(labels: np.ndarray) -> np.ndarray:
    """Keep the largest connected piece of each label; the rest becomes background.

    Of pieces of equal size the first in memory is kept. Source: Discussion ('retaining the largest dense connected
    3D-volume for each muscle').

    Args:
        labels: Integer (any axis order) label map; 0 is background.
    """
    cleaned = labels.copy()
    for value, box in _boxes(labels):
        mask = labels[box] == value
        pieces, count = scipy.ndimage.label(mask, NEIGHBOURS)
        if count > 1:
            largest = np.bincount(pieces[mask]).argmax()
            cleaned[box][mask & (pieces != largest)] = 0
    return cleaned


def fill_holes(labels: np.ndarray) -> np.ndarray:
    """Give each label the background that it encloses on all sides; other labels are never overwritten.

    Args:
        labels: Integer (any axis order) label map; 0 is background.
    """
    filled = labels.copy()
    for value, box in _boxes(labels):
        holes = scipy.ndimage.binary_fill_holes(labels[box] == value) & (labels[box] == 0)
        filled[box][holes] = value
    return filled


def close_clefts(labels: np.ndarray, spacing_mm: Sequence[float], radius_mm: float = CLOSING_MM) -> np.ndarray:
    """Morphological closing of each label by a ball in mm; only background is ever filled.

    Along an axis whose voxels lie farther apart than the radius nothing is closed. A voxel that two muscles would fill
    stays background, so that the result depends on no order and muscles do not grow together.

    Args:
        labels: Integer (any axis order) label map; 0 is background.
        spacing_mm: Voxel size along the axes of `labels`.
        radius_mm: Of the ball; clefts up to twice as wide are closed.

    Source: Discussion ('morphological closing'); Serra J. Image Analysis and Mathematical Morphology, 1982. The default
    radius is ours.
    """
    margin = [int(radius_mm // size) + 1 for size in spacing_mm]
    claims: np.ndarray = np.zeros(labels.shape, np.uint8)
    closed = labels.copy()
    for value, box in _boxes(labels):
        mask = np.pad(labels[box] == value, [(m, m) for m in margin])
        grown = scipy.ndimage.distance_transform_edt(~mask, sampling=spacing_mm) <= radius_mm
        grown = np.pad(grown, 1)  # what lies beyond is background
        full = scipy.ndimage.distance_transform_edt(grown, sampling=spacing_mm) > radius_mm
        inside = full[tuple(slice(m + 1, -m - 1) for m in margin)]  # a closing stays within the bounding box
        filled = inside & (labels[box] == 0)
        claims[box] += filled
        closed[box][filled] = value
    closed[claims > 1] = 0
    return closed


STEPS = ("largest-component", "fill-holes", "closing")
"""The names that ``--post`` takes; ``closing=3`` gives closing another radius in mm."""


def check_steps(steps: Sequence[str]) -> None:
    """Refuse names that are not in `STEPS`, and radii that are none.

    Raises:
        ProtocolError: Naming what can be chosen.
    """
    for step in steps:
        name, given, text = step.partition("=")
        if name not in STEPS:
            raise ProtocolError(f"unknown post-processing '{name}'; choose from {', '.join(STEPS)}")
        if given and (name != "closing" or not 0 < _number(text) <= MOST_CLOSING_MM):
            raise ProtocolError(
                f"post-processing '{step}': closing alone takes a number, its radius of up to {MOST_CLOSING_MM:g} mm, "
                "e.g. closing=3"
            )


def postprocess(labels: np.ndarray, steps: Sequence[str], spacing_mm: Sequence[float]) -> np.ndarray:
    """Apply named steps in the given order.

    Args:
        labels: Integer (any axis order) label map; 0 is background.
        steps: See `STEPS`.
        spacing_mm: Voxel size along the axes of `labels`.

    Raises:
        ProtocolError: An unknown name.
    """
    check_steps(steps)
    for step in steps:
        name, _, radius = step.partition("=")
        if name == "largest-component":
            labels = largest_component(labels)
        elif name == "fill-holes":
            labels = fill_holes(labels)
        else:
            labels = close_clefts(labels, spacing_mm, _number(radius) if radius else CLOSING_MM)
    return labels


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _boxes(labels: np.ndarray) -> list[tuple[int, tuple[slice, ...]]]:
    """Each label with the box around it."""
    found = scipy.ndimage.find_objects(labels)
    return [(value, box) for value, box in enumerate(found, start=1) if box is not None]
