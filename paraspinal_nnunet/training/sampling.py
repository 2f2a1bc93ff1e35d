"""Which crops a training batch holds: a pure function of seed, fold and batch number, with MONAI's choice of centres.

Source: Methods, Training ('randomly cropped ... with the center being a foreground or background voxel based on a
positive/negative ratio of one'); the reference is MONAI's RandCropByPosNegLabel.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import gcd
from typing import TypeVar

import numpy as np
import torch

STREAMS = {"train": 0, "val": 1}
PASS_STREAM = 3
"""Added to a stream's number it gives the stream that orders the passes; 2 is the augmented pool's."""

INDEPENDENT, PASSES = 1, 2
"""Rules by which cases come into batches: each batch drawn for itself (checkpoints of 0.1.0), or pass by pass."""

FOLD_ALL = 1_000_000
"""Stands for fold 'all' where a number is needed."""

RowReader = Callable[[int, int], np.ndarray]
"""(z, y) -> labels of that row, shape (x,)."""


@dataclass(frozen=True)
class Crop:
    """One sample of a batch: which case, and the random number stream that places the crop in it."""

    case: str
    entropy: tuple[int, ...]

    def generator(self) -> np.random.Generator:
        """A fresh generator; the same crop always gets the same numbers."""
        return np.random.default_rng(self.entropy)


@dataclass(frozen=True)
class BatchSchedule:
    """Composes batches: all cases come in a random order before one comes again, with several crops of each.

    That is what a shuffled loader does, as the paper's framework has it. MONAI's ends each pass with a smaller batch,
    or drops it (`drop_last`); here batches always have their full size, and the one in which a pass ends goes on with
    the next pass, whose first cases are then others.

    Attributes:
        cases: Case ids to draw from.
        batch_size: Crops per batch over all processes.
        crops_per_case: Crops that one drawn case gives.
        seed: The protocol's seed.
        fold: nnU-Net's fold; `FOLD_ALL` for 'all'.
        stream: ``'train'`` or ``'val'``.
        rule: `PASSES`, or `INDEPENDENT` to go on with a training that began so.
    """

    cases: tuple[str, ...]
    batch_size: int
    crops_per_case: int
    seed: int
    fold: int
    stream: str = "train"
    rule: int = PASSES

    def batch(self, number: int, share: slice = slice(None)) -> list[Crop]:
        """The crops of batch `number`.

        Args:
            number: Batch number from 0.
            share: The part of the batch that this process makes; which crops the whole batch holds does not depend
                on it.
        """
        entropy = (self.seed, self.fold, STREAMS[self.stream], number)
        wanted = -(-self.batch_size // self.crops_per_case)
        drawn = self._pass_by_pass(number, wanted) if self.rule == PASSES else self._independently(entropy, wanted)
        crops = [Crop(drawn[i // self.crops_per_case], (*entropy, 1 + i)) for i in range(self.batch_size)]
        return crops[share]

    def _pass_by_pass(self, number: int, wanted: int) -> list[str]:
        entropy = (self.seed, self.fold, PASS_STREAM + STREAMS[self.stream])
        places = (divmod(place, len(self.cases)) for place in range(number * wanted, (number + 1) * wanted))
        return [self.cases[pass_order(len(self.cases), wanted, entropy, n)[place]] for n, place in places]

    def _independently(self, entropy: tuple[int, ...], wanted: int) -> list[str]:
        generator = np.random.default_rng(entropy)
        drawn: list[str] = []
        while len(drawn) < wanted:
            drawn.extend(self.cases[i] for i in generator.permutation(len(self.cases)))
        return drawn[:wanted]


@lru_cache(maxsize=256)
def pass_order(cases: int, per_batch: int, entropy: tuple[int, ...], number: int) -> tuple[int, ...]:
    """In which order the cases come in one pass over all of them.

    Where a pass begins in the middle of a batch, the cases that the pass before gave to this batch come later. So its
    order follows from that of the pass before, back to the last pass that began with a batch.

    Args:
        cases: How many there are.
        per_batch: How many a batch takes.
        entropy: Seeds the orders of all passes.
        number: Of the pass, from 0.
    """
    aligned = number - number % (per_batch // gcd(cases, per_batch))
    order: list[int] = []
    for current in range(aligned, number + 1):
        before = current * cases % per_batch
        taken = order[cases - before :] if before and per_batch <= cases else []
        drawn = np.random.default_rng((*entropy, current)).permutation(cases).tolist()
        order = _others_first(drawn, taken, per_batch - len(taken))
    return tuple(order)


def _others_first(order: Sequence[int], taken: Collection[int], count: int) -> list[int]:
    """An order whose first `count` entries are none of those `taken`; else it stays as it is."""
    first = [case for case in order if case not in taken][:count]
    return [*first, *(case for case in order if case not in set(first))] if taken else list(order)


@dataclass(frozen=True)
class VoxelIndex:
    """Finds the n-th muscle or background voxel of a case from counts per row, without keeping the voxels themselves.

    A list of all foreground voxels of one 512 x 512 x 50 scan would take megabytes; counts take 300 KiB.

    Attributes:
        foreground: Muscle voxels per row, shape (z, y).
        background: Background voxels per row, shape (z, y).
        row_length: Voxels per row.
        ignore: Label of the voxels that are neither; None where there are none.
        muscles: Label -> its voxels per row, where muscles are drawn before voxels; else empty.
    """

    foreground: np.ndarray
    background: np.ndarray
    row_length: int
    ignore: int | None = None
    muscles: Mapping[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: np.ndarray, ignore: int | None = None, *, by_muscle: bool = False) -> "VoxelIndex":
        """Index a label map of shape (z, y, x); everything above 0 but the label `ignore` is foreground."""
        foreground, background = (
            np.count_nonzero(is_kind(labels, kind, ignore), axis=2).astype(np.int32) for kind in (True, False)
        )
        present = muscles_of(labels, ignore) if by_muscle else ()
        muscles = {m: np.count_nonzero(labels == m, axis=2).astype(np.int32) for m in present}
        return cls(foreground, background, labels.shape[2], ignore, muscles)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (z, y, x) of the label map."""
        return self.foreground.shape[0], self.foreground.shape[1], self.row_length

    @cached_property
    def _ends(self) -> dict[bool, np.ndarray]:
        """Whether muscle -> voxels of that kind up to the end of each row."""
        return {kind: np.cumsum(c, dtype=np.int64) for kind, c in ((True, self.foreground), (False, self.background))}

    def draw(self, generator: np.random.Generator, foreground: bool, read_row: RowReader) -> tuple[int, int, int]:
        """A voxel, uniform over all foreground or all background voxels of the case, or over those of a drawn muscle.

        A case without voxels of the wanted kind gives one of the other kind, as MONAI does.

        Args:
            generator: Source of randomness; one number is drawn, and one before it for the muscle.
            foreground: Which kind is wanted.
            read_row: Reads the one row that the voxel turns out to lie in.

        Returns:
            (z, y, x).
        """
        muscle = draw_muscle(generator, tuple(self.muscles)) if foreground else None
        if muscle is None and not self._ends[foreground][-1]:
            foreground = not foreground
        if muscle is None:
            counts, ends = (self.foreground if foreground else self.background), self._ends[foreground]
        else:
            counts, ends = self.muscles[muscle], np.cumsum(self.muscles[muscle], dtype=np.int64)
        rank = int(generator.integers(ends[-1]))
        row = int(np.searchsorted(ends, rank, side="right"))
        rank -= int(ends[row] - counts.flat[row])
        z, y = divmod(row, self.foreground.shape[1])
        x = int(np.flatnonzero(is_kind(read_row(z, y), foreground, self.ignore, muscle))[rank])
        return z, y, x


def crop_start(center: Sequence[int], size: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Where a crop begins along each axis.

    Near a border the crop is shifted to stay inside, as MONAI does (nnU-Net lets it stick out and pads it). An image
    smaller than the crop is centred in it, so the start is negative.

    >>> crop_start((5, 250, 300), (1, 256, 256), (10, 512, 512))
    (5, 122, 172)
    >>> crop_start((0, 3, 511), (1, 256, 256), (10, 512, 512))
    (0, 0, 256)
    >>> crop_start((0, 3, 3), (1, 256, 256), (10, 200, 512))
    (0, -28, 0)
    """
    return tuple(
        min(max(c - s // 2, 0), n - s) if n >= s else -((s - n) // 2)
        for c, s, n in zip(center, size, shape, strict=True)
    )


def muscles_of(labels: np.ndarray, ignore: int | None) -> tuple[int, ...]:
    """The labels above 0 of a label map, without the label `ignore`."""
    return tuple(int(label) for label in np.unique(labels) if label > 0 and label != ignore)


def draw_muscle(generator: np.random.Generator, muscles: Sequence[int]) -> int | None:
    """One of some labels, each as likely as the others; None, and no number drawn, where there are none."""
    return muscles[int(generator.integers(len(muscles)))] if muscles else None


Labels = TypeVar("Labels", np.ndarray, torch.Tensor)


def is_kind(labels: Labels, foreground: bool, ignore: int | None, muscle: int | None = None) -> Labels:
    """Which voxels are muscle, or one muscle, or which are background; the label `ignore` is neither."""
    if not foreground:
        return labels <= 0
    if muscle is not None:
        return labels == muscle
    return labels > 0 if ignore is None else (labels > 0) & (labels != ignore)


def distributed_share(batch_size: int, rank: int, world_size: int) -> slice:
    """The crops of a batch that one of several processes makes: contiguous, of sizes that differ by one at most."""
    share, extra = divmod(batch_size, world_size)
    start = rank * share + min(rank, extra)
    return slice(start, start + share + (rank < extra))
