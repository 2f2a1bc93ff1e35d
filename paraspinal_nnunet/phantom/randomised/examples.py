"""Training examples from drawn slices: deformed, painted with a contrast and passed through a scanner, each anew."""

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from paraspinal_nnunet.phantom.randomised.canvas import BACK_MM, LEFT_MM, SHAPE, SPACING_MM
from paraspinal_nnunet.phantom.randomised.painting import normalized, paint, scan
from paraspinal_nnunet.phantom.randomised.pool import Pool
from paraspinal_nnunet.phantom.randomised.sampling import FINER, Frame, Pose
from paraspinal_nnunet.phantom.randomised.tissues import LABELLED

EXCHANGED = torch.tensor([0, 2, 1, 4, 3, 6, 5])
"""Labels in a mirror."""


class Examples(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Endless examples of a pool by number: each is a function of the pool, the seed and its number alone.

    Args:
        pool: Drawn slices.
        frame: Of the images.
        seed: 0 or greater.
        count: How many there are to be.
    """

    def __init__(self, pool: Pool, frame: Frame, *, seed: int, count: int) -> None:
        self.pool, self.frame, self.seed, self.count = pool, frame, seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Image, float32 (1, rows, columns) of about unit variance, and labels, int64 of the same shape."""
        rng = np.random.default_rng([self.seed, number])
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        index, pose = int(rng.integers(len(self.pool.tissue))), Pose.draw(rng)
        tissue, fat = self.pool.tissue[index].ravel(), self.pool.fat[index].ravel()
        places = pose.places(self.frame, generator)
        seen = pose.seen(self.frame)
        labels = taken(tissue, places)
        labels = torch.where((labels <= LABELLED) & seen, labels, 0)
        if pose.mirrored:
            labels = EXCHANGED[labels]
        fine = functional.interpolate(places, scale_factor=FINER, mode="bilinear")
        signal = paint(taken(tissue, fine), taken(fat, fine).float() / 255, self.frame, rng, generator)
        image = normalized(scan(signal, self.frame, rng, generator), seen, rng)
        return image[None], labels[None]


def taken(values: np.ndarray, places: torch.Tensor) -> torch.Tensor:
    """Values of a slice at places in mm, 0 outside: int64 (rows, columns)."""
    column = ((places[0, 0] - (LEFT_MM + SPACING_MM / 2)) / SPACING_MM).round_().int()
    row = ((places[0, 1] - (BACK_MM + SPACING_MM / 2)) / SPACING_MM).round_().int()
    inside = (column >= 0) & (column < SHAPE[1]) & (row >= 0) & (row < SHAPE[0])
    place = torch.where(inside, row * SHAPE[1] + column, 0).numpy()
    return torch.where(inside, torch.from_numpy(values[place]).long(), 0)
