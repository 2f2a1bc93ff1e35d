"""Logits of a whole scan, slice by slice: with all of nnU-Net's tiles, or with those of them that the muscles need.

The network normalises each window by the window's own mean and spread (instance normalisation), and sees less where a
window ends, so that windows of another size or at other places give other labels. The fast way therefore moves none of
nnU-Net's windows: it leaves out those that hardly weigh on the muscles, which it looks for in a few slices first.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from math import ceil

import numpy as np

from paraspinal_nnunet.inference.portable.pipeline import Pipeline
from paraspinal_nnunet.inference.portable.resampling import largest_class
from paraspinal_nnunet.inference.portable.tiles import (
    UNSEEN,
    Stream,
    TiledLayer,
    Tiling,
    Window,
    averaged,
    gaussian_weights,
    lay_windows,
    layer_logits,
    padded,
    weight_sum,
    whole_classes,
)

SCOUTED_EVERY_MM = 40
"""Distance of the slices in which the muscles are looked for."""

MARGIN_MM = 5
"""Around the muscles of the scouted slices on either side: what they may bulge or move between these."""

LEAST_PART = 0.03
"""A window may be left out where less than this part of all weight on the muscles and their margin is its own; a slice
is done again whole where more than this part of its muscles turns out to lie at doubtful voxels."""

DOUBTFUL, UNSEEN_FROM = 0.25, 0.95
"""A voxel is doubtful where the windows left out have more than the first part of its weight. None of the muscles and
their margin may lack the second.

All of these were chosen on four of eight unseen phantoms; ``benchmarks/fast_mode.py`` measures what they cost."""


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
        layers = (TiledLayer(image[:, z], windows) for z in range(data.shape[1]))
        for folds in layer_logits(layers, tiling, stream):
            yield [fold[whole_classes(keep)] for fold in folds]
        return
    (volumes,) = layer_logits([TiledLayer(image, windows)], tiling, stream)
    kept = [volume[whole_classes(keep)] for volume in volumes]
    for z in range(data.shape[1]):
        yield [volume[:, z] for volume in kept]


def fast_slices(
    data: np.ndarray, tiling: Tiling, stream: Stream, pipeline: Pipeline, steps: Sequence[float]
) -> Iterator[list[np.ndarray]]:
    """Logits from those of nnU-Net's windows that the muscles need.

    A network of slices first sees some slices whole. Each slice between two of them gets the windows that weigh on the
    muscles of both and a margin, none where both are empty; it is done again whole where much muscle is found at voxels
    that lack a good part of their weight. Networks of volumes and stacks get all windows.

    Args:
        data: (channels, z, y, x) float32.
        tiling: With a patch of (y, x), or of (z, y, x).
        stream: The networks.
        pipeline: For spacings.
        steps: Between windows, per axis of the patch, as a share of it.

    Yields:
        For each z one (classes, y, x) array per fold.
    """
    if len(tiling.patch_size) == 3:
        yield from all_slices(data, tiling, stream, steps)
        return
    image, keep = padded(data, tiling.patch_size)
    layout = TileLayout(image.shape[2:], tiling.patch_size, steps)
    scouted = _scouted(image.shape[1], pipeline.spacing_mm)
    whole = [TiledLayer(image[:, z], layout.windows) for z in scouted]
    found = dict(zip(scouted, layer_logits(whole, tiling, stream), strict=True))
    muscles = {z: largest_class(averaged(folds)) > 0 for z, folds in found.items()}
    plans = _plans(muscles, image.shape[1], layout, pipeline.spacing_mm[-2:])
    between = layer_logits(
        (TiledLayer(image[:, z], layout.chosen(plan)) for z, plan in plans.items() if plan), tiling, stream
    )
    empty = _empty(found[scouted[0]])
    for z in range(image.shape[1]):
        if z in found:
            folds = found.pop(z)
        elif not plans[z]:
            folds = empty
        else:
            folds = next(between)
            if layout.lacks(plans[z], averaged(folds)):
                (folds,) = layer_logits([TiledLayer(image[:, z], layout.windows)], tiling, stream)
        yield [fold[whole_classes(keep)] for fold in folds]


class TileLayout:
    """nnU-Net's windows over a slice, and how much each weighs where.

    Attributes:
        windows: All of them, in nnU-Net's order.
    """

    def __init__(self, shape: Sequence[int], patch_size: tuple[int, ...], steps: Sequence[float]) -> None:
        self.windows = lay_windows(shape, patch_size, steps)
        self._weights = gaussian_weights(patch_size).astype(np.float32)
        self._shape, self._patch_size = tuple(shape), patch_size
        self._total = self._sum(range(len(self.windows)))
        self._doubtful = cache(lambda plan: np.nonzero(self._sum(plan) < (1 - DOUBTFUL) * self._total))

    def chosen(self, plan: Iterable[int]) -> tuple[Window, ...]:
        """Windows by their numbers."""
        return tuple(self.windows[number] for number in plan)

    def needed(self, region: np.ndarray) -> tuple[int, ...]:
        """Numbers of the windows that weigh on a region; none for an empty one.

        Args:
            region: (y, x) bool.
        """
        weighs = self._weights_on(region)
        plan = set(np.flatnonzero(weighs > LEAST_PART * region.sum()).tolist())
        while (uncovered := region & (self._sum(plan) < (1 - UNSEEN_FROM) * self._total)).any():
            further = self._weights_on(uncovered)
            further[list(plan)] = 0
            plan.add(int(further.argmax()))
        return tuple(sorted(plan))

    def lacks(self, plan: tuple[int, ...], logits: np.ndarray) -> bool:
        """Whether too many doubtful voxels turned out to be of muscles.

        Args:
            plan: The windows that were laid.
            logits: (classes, y, x) that they gave.
        """
        if len(plan) == len(self.windows):
            return False
        rows, columns = self._doubtful(plan)
        found = int(np.count_nonzero(largest_class(logits[:, rows, columns])))
        return found > 0 and found > LEAST_PART * int(np.count_nonzero(largest_class(logits)))

    def _weights_on(self, region: np.ndarray) -> np.ndarray:
        return np.array([(self._weights / self._total[w])[region[w]].sum() for w in self.windows])

    def _sum(self, plan: Iterable[int]) -> np.ndarray:
        return weight_sum(self._shape, self.chosen(plan), self._patch_size, half=False)


def _scouted(slices: int, spacing_mm: Sequence[float]) -> list[int]:
    """Evenly spread slices, the first and the last among them."""
    distance = spacing_mm[0] if len(spacing_mm) == 3 else SCOUTED_EVERY_MM / 8
    count = max(ceil((slices - 1) * distance / SCOUTED_EVERY_MM) + 1, 2)
    return sorted({int(z) for z in np.linspace(0, slices - 1, min(count, slices)).round()})


def _plans(
    muscles: dict[int, np.ndarray], slices: int, layout: TileLayout, spacing_mm: Sequence[float]
) -> dict[int, tuple[int, ...]]:
    """Windows of each slice that was not scouted, by number; all of them where no muscle was found in any slice."""
    scouted = sorted(muscles)
    nothing = not any(muscle.any() for muscle in muscles.values())
    plans = {}
    for first, last in pairwise(scouted):
        region = _widened(muscles[first] | muscles[last], spacing_mm)
        plan = layout.needed(np.ones_like(region) if nothing else region)
        plans.update(dict.fromkeys(range(first + 1, last), plan))
    return {z: plans[z] for z in range(slices) if z in plans}


def _widened(region: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """A region and `MARGIN_MM` around it."""
    from scipy.ndimage import maximum_filter

    sizes = [2 * round(MARGIN_MM / mm) + 1 for mm in spacing_mm]
    return np.asarray(maximum_filter(region.astype(np.uint8), sizes, mode="constant")) > 0


def _empty(folds: Sequence[np.ndarray]) -> list[np.ndarray]:
    blank = np.zeros_like(folds[0])
    blank[0] = UNSEEN
    return [blank] * len(folds)
