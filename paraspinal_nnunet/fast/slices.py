"""Logits of a whole scan, slice by slice: with nnU-Net's tiles, or with as few tiles as cover the muscles.

The network normalises each window by the window's own mean and spread (instance normalisation), so that larger windows
than it was trained on give other labels. The fast way therefore keeps the trained window, lays no more of them than the
muscles need, and looks for the muscles in a few slices first.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil

import numpy as np

from paraspinal_nnunet.fast.pipeline import Pipeline
from paraspinal_nnunet.fast.resampling import largest_class
from paraspinal_nnunet.fast.tiles import (
    UNSEEN,
    Layer,
    Stream,
    Tiling,
    Window,
    averaged,
    lay_windows,
    layer_logits,
    padded,
    whole_classes,
)

SCOUTED_EVERY_MM = 40
"""Distance of the slices in which the muscles are looked for."""

MARGIN_MM = 30
"""Around the muscles' box: what they may bulge between two scouted slices, and as much of their surroundings as
nnU-Net's tiles hold. With 8 or 12 mm the mean Dice moved by up to 0.027 on scans of a kind unknown to the network."""

Box = tuple[tuple[int, int], tuple[int, int]]


def all_slices(data: np.ndarray, tiling: Tiling, stream: Stream, steps: Sequence[float]) -> Iterator[list[np.ndarray]]:
    """Logits as nnU-Net's sliding window gives them.

    Args:
        data: (channels, z, y, x) float32.
        tiling: With a patch of (y, x), or of (z, y, x).
        stream: The networks.
        steps: Between tiles, per axis of the patch, as a share of it.

    Yields:
        For each z one (classes, y, x) float16 array per fold.
    """
    image, keep = padded(data, tiling.patch_size)
    shape = image.shape[-len(tiling.patch_size) :]
    windows = lay_windows(shape, tiling.patch_size, steps)
    if len(tiling.patch_size) == 2:
        layers = (Layer(image[:, z], windows) for z in range(data.shape[1]))
        for folds in layer_logits(layers, tiling, stream):
            yield [fold[whole_classes(keep)] for fold in folds]
        return
    (volumes,) = layer_logits([Layer(image, windows)], tiling, stream)
    kept = [volume[whole_classes(keep)] for volume in volumes]
    for z in range(data.shape[1]):
        yield [volume[:, z] for volume in kept]


def fast_slices(
    data: np.ndarray, tiling: Tiling, stream: Stream, pipeline: Pipeline, step: float
) -> Iterator[list[np.ndarray]]:
    """Logits from as few tiles as cover the muscles.

    A network of slices first sees some slices whole, tile beside tile; each slice between two of them gets the fewest
    tiles that cover the muscles of both and a margin, none where both are empty, and is done again whole where a muscle
    reaches the edge of what was covered. Networks of volumes and stacks get tiles side by side within slices.

    Args:
        data: (channels, z, y, x) float32.
        tiling: With a patch of (y, x), or of (z, y, x).
        stream: The networks.
        pipeline: For spacings.
        step: Between tiles across slices, as a share of the patch.

    Yields:
        For each z one (classes, y, x) array per fold.
    """
    if len(tiling.patch_size) == 3:
        yield from all_slices(data, tiling, stream, (step, 1, 1))
        return
    image, keep = padded(data, tiling.patch_size)
    whole = lay_windows(image.shape[2:], tiling.patch_size, (1, 1))
    scouted = _scouted(image.shape[1], pipeline.spacing_mm)
    found = dict(zip(scouted, layer_logits([Layer(image[:, z], whole) for z in scouted], tiling, stream), strict=True))
    boxes = {z: muscle_box(largest_class(averaged(folds))) for z, folds in found.items()}
    plans = _plans(boxes, image.shape[1], image.shape[2:], tiling.patch_size, pipeline.spacing_mm[-2:])
    between = layer_logits((Layer(image[:, z], plan) for z, plan in plans.items() if plan), tiling, stream)
    empty = _empty(found[scouted[0]])
    for z in range(image.shape[1]):
        if z in found:
            folds = found.pop(z)
        elif not plans[z]:
            folds = empty
        else:
            folds = next(between)
            if plans[z] != whole and _reaches_edge(averaged(folds), plans[z]):
                (folds,) = layer_logits([Layer(image[:, z], whole)], tiling, stream)
        yield [fold[whole_classes(keep)] for fold in folds]


def muscle_box(labels: np.ndarray) -> Box | None:
    """Rows and columns that hold a label, half open; None when there is none."""
    rows, columns = (np.flatnonzero((labels > 0).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def fewest_windows(box: Box, shape: Sequence[int], patch_size: Sequence[int]) -> tuple[Window, ...]:
    """As few windows as cover a box, evenly spread over it and inside the image.

    >>> [(w[0].start, w[1].start) for w in fewest_windows(((10, 50), (0, 130)), (512, 512), (64, 64))]
    [(0, 0), (0, 33), (0, 66)]
    """
    starts = []
    for (first, end), size, tile in zip(box, shape, patch_size, strict=True):
        count = ceil((end - first) / tile)
        if count == 1:
            starts.append([min(max((first + end - tile) // 2, 0), size - tile)])
        else:
            starts.append([first + round((end - first - tile) * place / (count - 1)) for place in range(count)])
    return tuple(tuple(slice(s, s + t) for s, t in zip(at, patch_size, strict=True)) for at in product(*starts))


def _scouted(slices: int, spacing_mm: Sequence[float]) -> list[int]:
    """Evenly spread slices, the first and the last among them."""
    distance = spacing_mm[0] if len(spacing_mm) == 3 else SCOUTED_EVERY_MM / 8
    count = max(ceil((slices - 1) * distance / SCOUTED_EVERY_MM) + 1, 2)
    return sorted({int(z) for z in np.linspace(0, slices - 1, min(count, slices)).round()})


def _plans(
    boxes: dict[int, Box | None],
    slices: int,
    shape: Sequence[int],
    patch_size: Sequence[int],
    spacing_mm: Sequence[float],
) -> dict[int, tuple[Window, ...]]:
    """Windows of each slice that was not scouted; every slice is done whole where no muscle was found at all."""
    scouted = sorted(boxes)
    nothing = all(box is None for box in boxes.values())
    everywhere = tuple((0, size) for size in shape)
    plans = {}
    for z in (z for z in range(slices) if z not in boxes):
        after = next(place for place, at in enumerate(scouted) if at > z)
        near = [box for box in (boxes[scouted[after - 1]], boxes[scouted[after]]) if box]
        if nothing:
            near = [everywhere]  # type: ignore[list-item]
        plans[z] = fewest_windows(_joined(near, shape, spacing_mm), shape, patch_size) if near else ()
    return plans


def _joined(boxes: Sequence[Box], shape: Sequence[int], spacing_mm: Sequence[float]) -> Box:
    rows, columns = (
        (
            max(min(box[axis][0] for box in boxes) - round(MARGIN_MM / mm), 0),
            min(max(box[axis][1] for box in boxes) + round(MARGIN_MM / mm), size),
        )
        for axis, (size, mm) in enumerate(zip(shape, spacing_mm, strict=True))
    )
    return rows, columns


def _reaches_edge(logits: np.ndarray, windows: Sequence[Window]) -> bool:
    """Whether a muscle lies on the border of what the windows cover, the image's own border left aside."""
    for axis, size in enumerate(logits.shape[1:]):
        first, end = min(w[axis].start for w in windows), max(w[axis].stop for w in windows)
        ends = [first] * (first > 0) + [end - 1] * (end < size)
        if ends and largest_class(logits.take(ends, axis + 1)).any():
            return True
    return False


def _empty(folds: Sequence[np.ndarray]) -> list[np.ndarray]:
    blank = np.zeros_like(folds[0])
    blank[0] = UNSEEN
    return [blank] * len(folds)
