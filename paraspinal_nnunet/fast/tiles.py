"""Sliding windows as nnU-Net moves them: its tile positions, its Gaussian weights, and its sums in half precision.

nnU-Net keeps weighted sums of logits in float16, so that labels are equal only if every sum is rounded as it rounds
them: each tile's logits are weighted in float32, added in float32 and stored as float16, tile after tile in its order.
Source: nnU-Net 2.8, sliding_window_prediction.py and predict_from_raw_data.py.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from math import ceil

import numpy as np

from paraspinal_nnunet.errors import InputError

Stream = Callable[[Iterable[tuple[int, np.ndarray]]], Iterator[np.ndarray]]
"""Runs (fold, batch) requests and yields their logits (batch, classes, *spatial) in the same order."""

PEAK = 10
"""Largest weight."""


@dataclass(frozen=True)
class Tiling:
    """How windows are laid and what is done with them.

    Attributes:
        patch_size: (y, x) or (z, y, x).
        step_size: As a share of the patch.
        folds: How many networks are averaged.
        flips: Axes to mirror, sets of (y, x) or (z, y, x) axes; the empty set is the image as it is.
    """

    patch_size: tuple[int, ...]
    step_size: float
    folds: int
    flips: tuple[tuple[int, ...], ...] = ((),)


def mirror_sets(axes: Sequence[int] | None) -> tuple[tuple[int, ...], ...]:
    """All combinations of axes, beginning with none, in nnU-Net's order."""
    if not axes:
        return ((),)
    return tuple(c for size in range(len(axes) + 1) for c in combinations(axes, size))


@lru_cache(maxsize=8)
def gaussian_weights(patch_size: tuple[int, ...]) -> np.ndarray:
    """Weights of a tile, float16: a Gaussian of an eighth of the patch, `PEAK` at its middle."""
    from scipy.ndimage import gaussian_filter

    weights = np.zeros(patch_size)
    weights[tuple(size // 2 for size in patch_size)] = 1
    weights = gaussian_filter(weights, [size / 8 for size in patch_size], 0, mode="constant", cval=0)
    weights /= weights.max() / PEAK
    half = weights.astype(np.float32).astype(np.float16)  # torch converts by way of float32
    half[half == 0] = half[half != 0].min()
    return half


def tile_starts(size: int, tile: int, step_size: float) -> list[int]:
    """Where tiles begin along one axis: evenly spaced, at most a step apart.

    >>> tile_starts(110, 64, 0.5)
    [0, 23, 46]
    """
    count = ceil((size - tile) / (tile * step_size)) + 1
    distance = (size - tile) / (count - 1) if count > 1 else 0.0
    return [int(np.round(distance * place)) for place in range(count)]


def padding(shape: Sequence[int], patch_size: Sequence[int]) -> list[tuple[int, int]]:
    """Voxels to add before and behind on each axis, so that a tile fits; the odd one goes behind."""
    missing = [max(tile - size, 0) for size, tile in zip(shape, patch_size, strict=True)]
    return [(n // 2, n - n // 2) for n in missing]


def slice_logits(data: np.ndarray, tiling: Tiling, stream: Stream) -> Iterator[list[np.ndarray]]:
    """Logits of a network of slices, slice by slice.

    Args:
        data: (channels, z, y, x) float32.
        tiling: With a patch of (y, x).
        stream: The networks.

    Yields:
        For each z one (classes, y, x) float16 array per fold.
    """
    pads = padding(data.shape[2:], tiling.patch_size)
    if any(map(any, pads)):
        data = np.pad(data, [(0, 0), (0, 0), *pads])
    windows = _windows(data.shape[2:], tiling)
    jobs = [(z, window) for z in range(data.shape[1]) for window in windows]
    constants = [_constant(data[(slice(None), z, *window)]) for z, window in jobs]
    results = _predictions([(data[:, z], window) for z, window in jobs], constants, tiling, stream, len(windows))
    keep = tuple(slice(low, size - high) for (low, high), size in zip(pads, data.shape[2:], strict=True))
    weight_sum = _weight_sum(data.shape[2:], windows, tiling.patch_size)
    for _ in range(data.shape[1]):
        folds = []
        for _ in range(tiling.folds):
            folds.append(_accumulated(results, windows, data.shape[2:], weight_sum, tiling)[(slice(None), *keep)])
        yield folds


def volume_logits(data: np.ndarray, tiling: Tiling, stream: Stream) -> Iterator[np.ndarray]:
    """Logits of a network of volumes or stacks, one (classes, z, y, x) float16 array per fold.

    Args:
        data: (channels, z, y, x) float32.
        tiling: With a patch of (z, y, x).
        stream: The networks.
    """
    pads = padding(data.shape[1:], tiling.patch_size)
    if any(map(any, pads)):
        data = np.pad(data, [(0, 0), *pads])
    shape = data.shape[1:]
    windows = _windows(shape, tiling)
    constants = [_constant(data[(slice(None), *window)]) for window in windows]
    results = _predictions([(data, window) for window in windows], constants, tiling, stream, len(windows))
    keep = tuple(slice(low, size - high) for (low, high), size in zip(pads, shape, strict=True))
    weight_sum = _weight_sum(shape, windows, tiling.patch_size)
    for _ in range(tiling.folds):
        yield _accumulated(results, windows, shape, weight_sum, tiling)[(slice(None), *keep)]


def averaged(folds: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over folds, summed and divided in half precision."""
    total = folds[0]
    if len(folds) == 1:
        return total
    total = total.copy()
    for other in folds[1:]:
        total += other
    total /= np.float16(len(folds))
    return total


def _windows(shape: Sequence[int], tiling: Tiling) -> list[tuple[slice, ...]]:
    starts = [tile_starts(n, t, tiling.step_size) for n, t in zip(shape, tiling.patch_size, strict=True)]
    return [tuple(slice(s, s + t) for s, t in zip(at, tiling.patch_size, strict=True)) for at in product(*starts)]


def _constant(tile: np.ndarray) -> float | None:
    """The one value of a tile that has no other, e.g. of the empty margin of a scan."""
    value = tile.flat[0]
    return float(value) if tile[..., 0, 0].max() == value and bool((tile == value).all()) else None


def _predictions(
    jobs: "list[tuple[np.ndarray, tuple[slice, ...]]]",
    constants: "list[float | None]",
    tiling: Tiling,
    stream: Stream,
    per_fold: int,
) -> Iterator[np.ndarray]:
    """Averaged logits (classes, *patch) float32 of each job, fold after fold for every `per_fold` jobs.

    A tile of one value throughout is computed once per fold, since equal tiles have equal logits.
    """
    order = [
        (fold, place)
        for first in range(0, len(jobs), per_fold)
        for fold in range(tiling.folds)
        for place in range(first, first + per_fold)
    ]
    asked: set[tuple[int, float]] = set()

    def requests() -> Iterator[tuple[int, np.ndarray]]:
        for fold, place in order:
            value = constants[place]
            if value is not None:
                if (fold, value) in asked:
                    continue
                asked.add((fold, value))
            image, window = jobs[place]
            tile = image[(slice(None), *window)][None]
            for axes in tiling.flips:
                flipped = np.flip(tile, [a + 2 for a in axes]) if axes else tile
                yield fold, np.ascontiguousarray(flipped)

    answers = stream(requests())
    known: dict[tuple[int, float], np.ndarray] = {}
    for fold, place in order:
        value = constants[place]
        if value is None:
            yield _mirrored(answers, tiling)
            continue
        if (fold, value) not in known:
            known[fold, value] = _mirrored(answers, tiling).copy()
        yield known[fold, value]


def _mirrored(answers: Iterator[np.ndarray], tiling: Tiling) -> np.ndarray:
    logits = next(answers)[0]
    if len(tiling.flips) == 1:
        return logits
    total = logits.copy()
    for axes in tiling.flips[1:]:
        total += np.flip(next(answers)[0], [a + 1 for a in axes])
    total /= len(tiling.flips)
    return total


def _accumulated(
    results: Iterator[np.ndarray],
    windows: Sequence[tuple[slice, ...]],
    shape: Sequence[int],
    weight_sum: np.ndarray,
    tiling: Tiling,
) -> np.ndarray:
    weights = gaussian_weights(tiling.patch_size).astype(np.float32)
    total: np.ndarray | None = None
    for window in windows:
        logits = next(results)
        if total is None:
            total = np.zeros((len(logits), *shape), np.float16)
        part = total[(slice(None), *window)]
        for label in range(len(logits)):
            weighted = logits[label] * weights
            weighted += part[label]
            part[label] = weighted
    if total is None:
        raise InputError("no tile fits the scan")
    for label in range(len(total)):
        total[label] = total[label].astype(np.float32) / weight_sum
    if np.isinf(total).any():
        raise InputError("the network's logits are beyond half precision; this model is damaged or foreign to the scan")
    return total


def _weight_sum(shape: Sequence[int], windows: Sequence[tuple[slice, ...]], patch_size: tuple[int, ...]) -> np.ndarray:
    """Sum of the weights at each voxel, rounded to float16 at each addition, as float32."""
    weights = gaussian_weights(patch_size)
    total = np.zeros(tuple(shape), np.float16)
    for window in windows:
        total[window] += weights
    return total.astype(np.float32)
