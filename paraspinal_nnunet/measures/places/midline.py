"""The body's midline slice by slice, and pieces of a muscle that lie beyond it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from paraspinal_nnunet.anatomy import Side
from paraspinal_nnunet.measures.shapes import LabelShape

MIDLINE_MARGIN_MM = 3.0
"""A piece of a slice counts as beyond the midline when its centroid lies so far beyond. Source: ours."""

WINDOW_SLICES = 4
"""The midline of a slice is the median over the muscles there and in so many slices below and above."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class BeyondMidline:
    """Pieces of a structure that lie on the other side of the body.

    Attributes:
        slices: Where, from 1 at the feet.
        volume_ml: How much.
        share: Of the structure's volume.
    """

    slices: tuple[int, ...]
    volume_ml: float
    share: float


def midlines(pairs: Sequence[tuple[LabelShape, LabelShape]], slices: int) -> np.ndarray:
    """RAS x in mm of the body's midline in each slice: half-way between the largest pieces of the two sides.

    Args:
        pairs: Right and left shape of every muscle that has both.
        slices: Of the stack.

    Returns:
        (slices,), between and beyond known slices as in the nearest; NaN without any slice that holds both sides.
    """
    return _smoothed(np.array([(_largest_x(right) + _largest_x(left)) / 2 for right, left in pairs]), slices)


def beyond_midline(shape: LabelShape, side: Side, midline_mm: np.ndarray) -> BeyondMidline | None:
    """What of a structure lies on the other side, or None.

    Args:
        shape: The structure's.
        side: On which it belongs.
        midline_mm: See `midlines`.
    """
    if not shape.voxels:
        return None
    pieces = shape.slice_pieces
    away = (pieces.x_mm - midline_mm[pieces.slice_index]) * (1 if side is Side.RIGHT else -1)
    wrong = away < -MIDLINE_MARGIN_MM  # NaN compares as False
    voxels = int(pieces.voxels[wrong].sum())
    if not voxels:
        return None
    slices = tuple(int(k) + 1 for k in np.unique(pieces.slice_index[wrong]))
    return BeyondMidline(slices, voxels * shape.stack.voxel_ml, voxels / shape.voxels)


def all_beyond_midline(
    sided: Mapping[Key, tuple[LabelShape, Side]], pairs: Sequence[tuple[LabelShape, LabelShape]]
) -> dict[Key, BeyondMidline]:
    """What of each structure lies beyond the midline; most often nothing, which costs little to see.

    Args:
        sided: Name -> shape of each structure and the side on which it belongs.
        pairs: Right and left shape of every muscle that has both.
    """
    if not sided:
        return {}
    slices = next(iter(sided.values()))[0].stack.slices
    rough = _smoothed(np.array([(right.centres_mm[:, 0] + left.centres_mm[:, 0]) / 2 for right, left in pairs]), slices)
    if not any(_reaches_beyond(shape, side, rough) for shape, side in sided.values()):
        return {}
    middle = midlines(pairs, slices)
    found = {key: beyond_midline(shape, side, middle) for key, (shape, side) in sided.items()}
    return {key: pieces for key, pieces in found.items() if pieces is not None}


def _smoothed(middles: np.ndarray, slices: int) -> np.ndarray:
    middles = middles.reshape(-1, slices)
    found = np.full(slices, np.nan)
    for k in range(slices):
        window = middles[:, max(0, k - WINDOW_SLICES) : k + WINDOW_SLICES + 1]
        if np.isfinite(window).any():
            found[k] = np.nanmedian(window)
    known = np.flatnonzero(np.isfinite(found))
    return np.interp(np.arange(slices), known, found[known]) if known.size else found


def _reaches_beyond(shape: LabelShape, side: Side, midline_mm: np.ndarray) -> bool:
    """Whether any voxel lies beyond the midline by more than the margin."""
    if not shape.voxels:
        return False
    inside = shape.present - shape.corner[2]
    columns = np.count_nonzero(shape.mask, axis=1)[:, inside] > 0  # (x, slices)
    sign = 1 if side is Side.RIGHT else -1
    ends = shape.corner[0] + (columns.argmax(axis=0) if sign > 0 else len(columns) - 1 - columns[::-1].argmax(axis=0))
    rows = np.count_nonzero(shape.mask, axis=0)[:, inside]  # (y, slices)
    middle_y = shape.corner[1] + np.arange(len(rows)) @ rows / rows.sum(axis=0)
    affine = shape.stack.affine
    x_mm = affine[0, 0] * ends + affine[0, 1] * middle_y + affine[0, 2] * shape.present + affine[0, 3]
    return bool(((x_mm - midline_mm[shape.present]) * sign < -MIDLINE_MARGIN_MM).any())


def _largest_x(shape: LabelShape) -> np.ndarray:
    """(slices,) RAS x of the largest piece in each slice; NaN where there is none."""
    found = np.full(shape.stack.slices, np.nan)
    if shape.voxels:
        pieces = shape.slice_pieces
        order = np.argsort(pieces.voxels, kind="stable")
        found[pieces.slice_index[order]] = pieces.x_mm[order]  # of several the last, the largest, stays
    return found
