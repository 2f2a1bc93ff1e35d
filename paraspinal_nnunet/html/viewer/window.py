"""Grey values of a scan on a screen, by the muscles and what surrounds them, not by the bright fat at the coil."""

from collections.abc import Sequence

import numpy as np

MUSCLE_GREY = 0.28
"""Grey of the muscles, 0 (black) to 1: dark as in T2, with room above for the fat within and between them."""

TISSUE_PERCENTILES = (1.0, 99.5)
_MUSCLE_PERCENTILE = 90.0  # of the muscles' own voxels, which should not be white
_MOST_VOXELS = 400_000


def display_window(grey: np.ndarray, label_maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """The intensities to be shown black and white.

    With labels: black is the darkest of the part given, and white is chosen so that the median muscle is shown at
    `MUSCLE_GREY`, unless more than a tenth of the muscles' voxels, or nothing in the part, would be brighter. Without:
    two percentiles of the tissue, that is of the values above 0 where the scan has any.

    Args:
        grey: Any shape and real type: the scan, or the part around the muscles.
        label_maps: Of the same shape.

    Returns:
        Two intensities, the first the lower.
    """
    if grey.dtype.kind in "iu" and grey.dtype.itemsize <= 2 and not any(array.any() for array in label_maps):
        return _apart(*_percentiles_of_counts(grey))
    part, labels = _sampled(grey, label_maps)
    middles = [float(np.median(part[labels == value])) for value in np.unique(labels) if value]
    tissue = part[part > 0] if (part > 0).any() else part
    low, brightest = (float(v) for v in np.percentile(tissue, TISSUE_PERCENTILES))
    if not middles:
        return _apart(low, brightest)
    high = low + (float(np.median(middles)) - low) / MUSCLE_GREY
    high = max(high, float(np.percentile(part[labels != 0], _MUSCLE_PERCENTILE)))
    return _apart(low, min(high, brightest) if brightest > low else high)


def windowed(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Grey values 0-255 between the limits of a window; slice by slice, since each step takes a copy of its own."""
    if values.ndim > 2:
        shown = np.empty(values.shape, np.uint8)
        for place, plane in enumerate(values):
            shown[place] = windowed(plane, window)
        return shown
    low, high = window
    grey = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    return (np.clip((grey - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)


def _sampled(grey: np.ndarray, label_maps: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Values and labels of every voxel, or of evenly spaced ones where there are too many."""
    step = max(1, -(-grey.size // _MOST_VOXELS)) | 1  # odd, so that no rows of even length are missed
    chosen = np.unravel_index(np.arange(0, grey.size, step), grey.shape)  # a part of a scan has no flat view
    values = np.nan_to_num(grey[chosen].astype(np.float32), posinf=0, neginf=0)
    labels = np.zeros(values.shape, np.uint8)
    for array in label_maps:
        labels = np.where(labels == 0, array[chosen], labels)
    return values, labels


def _apart(low: float, high: float) -> tuple[float, float]:
    return low, high if high > low else low + 1


def _percentiles_of_counts(image: np.ndarray) -> tuple[float, float]:
    """As `np.percentile` of the tissue, from the counts of each value: much faster on scans of whole numbers."""
    lowest = int(image.min())
    counts = np.bincount((image.ravel(order="K").astype(np.int32) - lowest).astype(np.intp, copy=False))
    values = np.arange(lowest, lowest + len(counts))
    if (values > 0).any():
        counts, values = counts[values > 0], values[values > 0]
    reached = np.cumsum(counts)
    places = np.array(TISSUE_PERCENTILES) / 100 * (reached[-1] - 1)
    below, above = (values[np.searchsorted(reached, f(places), side="right")] for f in (np.floor, np.ceil))
    low, high = below + (above - below) * (places % 1)
    return float(low), float(high)
