"""How much a mask depends on what should not matter: the scan's contrast and its frame."""

from collections.abc import Callable, Iterator
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
    volume, labels = Volume(turned, affine), to_ras(labels, volume.affine)[0]
    found: dict[int, list[float]] = {}
    others = [(segment(changed), window) for changed, window in _changed(volume)]
    values = {int(v) for mask in (labels, *(m for m, _ in others)) for v in np.unique(mask) if v}
    for mask, window in others:
        own = labels[window]
        for value in values:
            a, b = own == value, mask == value
            total = int(a.sum()) + int(b.sum())
            found.setdefault(value, []).append(1 - 2 * int((a & b).sum()) / total if total else 0.0)
    return {value: float(np.mean(each)) for value, each in found.items()}


def _changed(volume: Volume) -> Iterator[tuple[Volume, tuple[slice, ...]]]:
    array = np.asarray(volume.array, np.float32)
    low, high = float(array.min()), float(np.percentile(array, 99.5))
    scaled = np.maximum(array - low, 0) / max(high - low, 1e-6)
    for axis, gamma in enumerate(GAMMAS):
        cut = round(CUT_SHARE * array.shape[axis])
        window = tuple(slice(cut if a == axis else 0, None) for a in range(3))
        affine = volume.affine.copy()
        affine[:3, 3] += affine[:3, axis] * cut
        yield Volume(np.ascontiguousarray(scaled[window] ** gamma), affine), window
