"""Sliding windows as nnU-Net moves them: its tile positions, its Gaussian weights, and its sums in half precision.

nnU-Net keeps weighted sums of logits in float16, so that labels are equal only if every sum is rounded as it rounds
them: each tile's logits are weighted in float32, added in float32 and stored as float16, tile after tile in its order.
Source: nnU-Net 2.8, sliding_window_prediction.py and predict_from_raw_data.py.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product, tee
from math import ceil

import numpy as np

from paraspinal_nnunet.errors import InputError

Stream = Callable[[Iterable[tuple[int, np.ndarray]]], Iterator[np.ndarray]]
"""Runs (fold, batch) requests and yields their logits (batch, classes, *spatial) in the same order."""

PEAK = 10
"""Largest weight."""

UNSEEN = 10.0
"""Logit of the background where no window lies."""


Window = tuple[slice, ...]


@dataclass(frozen=True)
class Tiling:
    """What is done with each window.

    Attributes:
        patch_size: (y, x) or (z, y, x).
        folds: How many networks are averaged.
        flips: Axes to mirror, sets of (y, x) or (z, y, x) axes; the empty set is the image as it is.
        half: Keep sums in half precision, as nnU-Net does.
    """

    patch_size: tuple[int, ...]
    folds: int
    flips: tuple[tuple[int, ...], ...] = ((),)
    half: bool = True


@dataclass(frozen=True)
class TiledLayer:
    """One slice, or one whole volume, and the windows that are laid over it.

    Attributes:
        image: (channels, y, x) or (channels, z, y, x) float32.
        windows: In the order in which their logits are summed.
    """

    image: np.ndarray
    windows: tuple[Window, ...]


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


def lay_windows(shape: Sequence[int], patch_size: Sequence[int], steps: Sequence[float]) -> tuple[Window, ...]:
    """Windows over a whole slice or volume, in nnU-Net's order.

    Args:
        shape: Of the padded image.
        patch_size: Of the windows.
        steps: Per axis, as a share of the patch.
    """
    starts = [tile_starts(n, t, step) for n, t, step in zip(shape, patch_size, steps, strict=True)]
    return tuple(
        tuple(slice(s, s + t) for s, t in zip(at, patch_size, strict=True)) for at in product(*starts)
    )  # fmt: skip


def padded(data: np.ndarray, patch_size: Sequence[int]) -> tuple[np.ndarray, Window]:
    """The image with zeros around it where a tile would not fit, and the slices that take them off again."""
    spatial = data.shape[-len(patch_size) :]
    pads = padding(spatial, patch_size)
    keep = tuple(slice(low, low + size) for (low, _), size in zip(pads, spatial, strict=True))
    if any(map(any, pads)):
        data = np.pad(data, [(0, 0)] * (data.ndim - len(pads)) + pads)
    return data, keep


def layer_logits(layers: Iterable[TiledLayer], tiling: Tiling, stream: Stream) -> Iterator[list[np.ndarray]]:
    """Logits of each layer: one (classes, *spatial) array per fold, float16 where sums are kept in half precision.

    Voxels that no window covers get `UNSEEN` for the background and 0 for the rest.

    Args:
        layers: Taken one ahead of what is yielded.
        tiling: The windows' patch and folds.
        stream: The networks.
    """
    for_requests, for_sums = tee((layer, [_constant(layer.image[whole_classes(w)]) for w in layer.windows])
                                 for layer in layers)  # fmt: skip
    answers = stream(_requests(for_requests, tiling))
    known: dict[tuple[int, float], np.ndarray] = {}
    for layer, constants in for_sums:
        weights_there = weight_sum(layer.image.shape[1:], layer.windows, tiling.patch_size, half=tiling.half)
        folds = []
        for fold in range(tiling.folds):
            predictions = (_prediction(answers, tiling, fold, value, known) for value in constants)
            total = _summed(predictions, layer, weights_there, tiling)
            if not _fits_half(total):
                raise InputError(
                    "the network's logits are no numbers or beyond half precision; the model is damaged or foreign here"
                )
            folds.append(total)
        yield folds


def weight_sum(
    shape: Sequence[int], windows: Sequence[Window], patch_size: tuple[int, ...], *, half: bool
) -> np.ndarray:
    """Sum of the weights of some windows at each voxel.

    Args:
        shape: Of the slice or volume.
        windows: All of one size.
        patch_size: That size.
        half: Round to float16 at each addition, as nnU-Net does.

    Returns:
        float32, shared between calls: not to be written to.
    """
    bounds = tuple(tuple((side.start, side.stop) for side in window) for window in windows)
    return _weight_sum_of(tuple(shape), bounds, patch_size, half=half)


def whole_classes(window: Window) -> Window:
    """The window in an array whose first axis, of channels or classes, is taken whole."""
    return (slice(None), *window)


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


def _constant(tile: np.ndarray) -> float | None:
    """The one value of a tile that has no other, e.g. of the empty margin of a scan."""
    value = tile.flat[0]
    return float(value) if tile[..., 0, 0].max() == value and bool((tile == value).all()) else None


def _requests(
    layers: "Iterable[tuple[TiledLayer, list[float | None]]]", tiling: Tiling
) -> Iterator[tuple[int, np.ndarray]]:
    """A tile of one value throughout is asked for once per fold, since equal tiles have equal logits."""
    asked: set[tuple[int, float]] = set()
    for layer, constants in layers:
        for fold, (window, value) in product(range(tiling.folds), zip(layer.windows, constants, strict=True)):
            if value is not None:
                if (fold, value) in asked:
                    continue
                asked.add((fold, value))
            tile = layer.image[whole_classes(window)][None]
            for axes in tiling.flips:
                yield fold, np.ascontiguousarray(np.flip(tile, tuple(a + 2 for a in axes)) if axes else tile)


def _prediction(
    answers: Iterator[np.ndarray],
    tiling: Tiling,
    fold: int,
    value: float | None,
    known: dict[tuple[int, float], np.ndarray],
) -> np.ndarray:
    if value is None:
        return _mirrored(answers, tiling)
    if (fold, value) not in known:
        known[fold, value] = _mirrored(answers, tiling).copy()
    return known[fold, value]


def _mirrored(answers: Iterator[np.ndarray], tiling: Tiling) -> np.ndarray:
    logits = next(answers)[0]
    if len(tiling.flips) == 1:
        return logits
    total = logits.copy()
    for axes in tiling.flips[1:]:
        total += np.flip(next(answers)[0], tuple(a + 1 for a in axes))
    total /= len(tiling.flips)
    return total


def _summed(predictions: Iterator[np.ndarray], layer: TiledLayer, weight_sum: np.ndarray, tiling: Tiling) -> np.ndarray:
    weights = gaussian_weights(tiling.patch_size).astype(np.float32)
    add = _add_in_half if tiling.half else _add
    total: np.ndarray | None = None
    for window, logits in zip(layer.windows, predictions, strict=True):
        if total is None:
            shape = (len(logits), *layer.image.shape[1:])
            total = np.zeros(shape, np.float16 if tiling.half else np.float32)
        add(total[whole_classes(window)], logits, weights, weight_sum[window])
    if total is None:
        raise InputError("no tile fits the scan")
    unseen = weight_sum == 0
    if tiling.half:
        divisor = np.where(unseen, np.float32(1), weight_sum)
        for label in range(len(total)):
            total[label] = total[label].astype(np.float32) / divisor
    total[0][unseen] = UNSEEN
    return total


def _fits_half(total: np.ndarray) -> bool:
    if total.dtype == np.float16:
        return bool(np.isfinite(total).all())
    return bool(max(total.max(), -total.min()) <= np.finfo(np.float16).max)


def _add_in_half(total: np.ndarray, logits: np.ndarray, weights: np.ndarray, _: np.ndarray) -> None:
    """Add a window's logits, to be divided once all are there."""
    for label in range(len(logits)):
        weighted = logits[label] * weights
        weighted += total[label]
        total[label] = weighted


def _add(total: np.ndarray, logits: np.ndarray, weights: np.ndarray, weight_sum: np.ndarray) -> None:
    """Add a window's share of the mean; a window that has its voxels to itself is taken as it is."""
    shares = weights / weight_sum
    if (shares == 1).all():
        total[:] = logits
        return
    for label in range(len(logits)):
        total[label] += logits[label] * shares


@lru_cache(maxsize=4)
def _weight_sum_of(
    shape: tuple[int, ...], bounds: tuple[tuple[tuple[int, int], ...], ...], patch_size: tuple[int, ...], *, half: bool
) -> np.ndarray:
    weights = gaussian_weights(patch_size)
    total = np.zeros(shape, np.float16 if half else np.float32)
    for window in bounds:
        total[tuple(slice(start, stop) for start, stop in window)] += weights
    return total.astype(np.float32)
