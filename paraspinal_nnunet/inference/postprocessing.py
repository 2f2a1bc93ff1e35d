"""Named clean-ups of a label map, off by default as in the paper: the largest piece of each muscle, and its holes."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from paraspinal_nnunet.errors import ProtocolError

NEIGHBOURS = ndimage.generate_binary_structure(3, 3)
"""Voxels that share a face, an edge or a corner belong to one piece."""


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
        pieces, count = ndimage.label(mask, NEIGHBOURS)
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
        holes = ndimage.binary_fill_holes(labels[box] == value) & (labels[box] == 0)
        filled[box][holes] = value
    return filled


STEPS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {"largest-component": largest_component, "fill-holes": fill_holes}
)
"""By the names that ``--post`` takes."""


def check_steps(steps: Sequence[str]) -> None:
    """Refuse names that are not in `STEPS`.

    Raises:
        ProtocolError: Naming what can be chosen.
    """
    unknown = [name for name in steps if name not in STEPS]
    if unknown:
        raise ProtocolError(f"unknown post-processing '{unknown[0]}'; choose from {', '.join(STEPS)}")


def postprocess(labels: np.ndarray, steps: Sequence[str]) -> np.ndarray:
    """Apply named steps in the given order.

    Raises:
        ProtocolError: An unknown name.
    """
    check_steps(steps)
    for name in steps:
        labels = STEPS[name](labels)
    return labels


def _boxes(labels: np.ndarray) -> list[tuple[int, tuple[slice, ...]]]:
    """Each label with the box around it."""
    found = ndimage.find_objects(labels.astype(np.int32, copy=False))
    return [(value, box) for value, box in enumerate(found, start=1) if box is not None]
