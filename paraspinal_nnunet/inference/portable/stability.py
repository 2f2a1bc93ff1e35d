"""How much a mask depends on what should not matter: the scan's contrast and its frame."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from paraspinal_nnunet.anatomy import BY_LABEL
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.portable.model import Segmentation

GAMMAS = (0.75, 1.33)
"""Exponents of the scan's grey values between their lowest and their 99.5th percentile."""

CUT_SHARE = 0.06
"""Share of the width, or of the height, that is cut off on one side, so that tiles and statistics are others."""


def with_disagreement(made: Segmentation, volume: Volume, segment: Callable[[Volume], Segmentation]) -> Segmentation:
    """A segmentation with its `disagreement` by structure; each changed scan takes as long as the scan itself.

    Args:
        made: Of the scan as it is, by one fold.
        volume: The scan.
        segment: What made it.
    """
    found = disagreement(made.labels, volume, lambda changed: segment(changed).labels)
    return replace(made, disagreement={BY_LABEL[v].key: share for v, share in found.items() if v in BY_LABEL})


def disagreement(labels: np.ndarray, volume: Volume, segment: Callable[[Volume], np.ndarray]) -> dict[int, float]:
    """Mean of 1 - Dice between a mask and those of the scan in other contrast and frame.

    Args:
        labels: (i, j, k) of the scan as it is.
        volume: The scan.
        segment: Labels of a scan on its own grid.

    Returns:
        Per value of `labels` or of another mask; 0 where neither has it.
    """
    turned, affine = to_ras(volume.array, volume.affine)
    scan, own = Volume(turned, affine), to_ras(labels, volume.affine)[0]
    black, white = float(turned.min()), float(np.percentile(turned, 99.5))
    found = [_lost(own, scan, (black, white), axis, segment) for axis in range(len(GAMMAS))]
    values = sorted({value for lost in found for value in lost})
    return {value: float(np.mean([lost.get(value, 0.0) for lost in found])) for value in values}


def _lost(
    own: np.ndarray,
    scan: Volume,
    black_white: tuple[float, float],
    axis: int,
    segment: Callable[[Volume], np.ndarray],
) -> dict[int, float]:
    """Value -> 1 - Dice with the mask of one changed scan; values that neither has are left out."""
    cut = round(CUT_SHARE * own.shape[axis])
    window = tuple(slice(cut if a == axis else 0, None) for a in range(3))
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, axis] * cut
    mask = segment(Volume(_in_other_contrast(scan.array[window], *black_white, GAMMAS[axis]), affine))
    both = _joint_counts(own[window], mask)
    sizes = both.sum(axis=1) + both.sum(axis=0)
    return {int(v): float(1 - 2 * both[v, v] / sizes[v]) for v in np.flatnonzero(sizes) if v}


def _in_other_contrast(grey: np.ndarray, black: float, white: float, gamma: float) -> np.ndarray:
    """A single copy, changed in place: a large scan fits into memory a few times at most."""
    changed = grey.astype(np.float32, order="C")
    changed -= black
    np.maximum(changed, 0, out=changed)
    changed /= max(white - black, 1e-6)
    return np.power(changed, gamma, out=changed)


def _joint_counts(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(256, 256) how many voxels have a value in one uint8 map and a value in the other."""
    counts = np.zeros(1 << 16, np.int64)
    for a, b in zip(np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0), strict=True):
        counts += np.bincount((a.astype(np.uint16) << 8 | b).ravel(), minlength=counts.size)
    return counts.reshape(256, 256)
