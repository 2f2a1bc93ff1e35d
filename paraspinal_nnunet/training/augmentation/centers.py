"""Where crops of augmented images are centred: voxels are proposed until one is of the wanted kind."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from paraspinal_nnunet.training.augmentation.deformation import PointMaps, Sources
from paraspinal_nnunet.training.sampling import draw_muscle, is_kind

PROPOSALS = 16
"""Voxels that are drawn at once while a centre is sought."""

ROUNDS = 64
"""Rounds of `PROPOSALS` before the whole augmented label map is computed instead."""


@dataclass
class DeformedLabels:
    """The labels of one augmented image, computed where they are asked for; left and right are not yet exchanged.

    Attributes:
        points: From voxels of the image to points in its case, one row.
        source: Where the case's labels lie, one row.
        labels: A row of labels, on the device of the other two.
        shape: (z, y, x).
        ignore: Label of voxels that no crop is centred on.
        muscles: Labels of the case of which one is drawn before a muscle voxel; empty draws any muscle voxel.
    """

    points: PointMaps
    source: Sources
    labels: torch.Tensor
    shape: tuple[int, int, int]
    ignore: int | None = None
    muscles: tuple[int, ...] = ()
    _whole: np.ndarray | None = field(default=None, repr=False)

    def on_points(self, points: torch.Tensor) -> torch.Tensor:
        """Labels at points of the case, (1, 3, ...) -> (...), marks of voxels outside the mask taken as background."""
        return self.source.sample_labels(self.labels, points)[0].clamp_(min=0)

    def draw_center(self, generator: np.random.Generator, foreground: bool) -> tuple[int, ...]:
        """A voxel, uniform over all foreground or all background voxels of the augmented image, or of a drawn muscle.

        Voxels are proposed uniformly over the image until one is of the wanted kind. Where none turns up, the whole
        label map is computed, which also finds out that the image has no such voxel: then one of the other kind is
        given, as MONAI does; where a muscle was drawn that the deformation moved out, one of any muscle. What was
        computed for other crops does not bear on the voxel.
        """
        muscle = draw_muscle(generator, self.muscles) if foreground else None
        return self.search(generator, foreground, muscle)

    def search(
        self, generator: np.random.Generator, foreground: bool, muscle: int | None, *, rounds: int = 0
    ) -> tuple[int, ...]:
        """As `draw_center`, once the muscle is drawn.

        Args:
            generator: Source of randomness.
            foreground: Which kind is wanted.
            muscle: The one that is wanted; None for any.
            rounds: How many rounds were drawn from the generator already, in vain.
        """
        for _ in range(rounds, ROUNDS):
            voxels = propose(generator, self.shape, 1)
            hits = np.flatnonzero(is_kind(self.at(voxels), foreground, self.ignore, muscle))
            if len(hits):
                return tuple(int(v) for v in voxels[hits[0]])
        labels = self.whole()
        wanted = ((foreground, muscle), (foreground, None), (not foreground, None))
        kinds = (np.flatnonzero(is_kind(labels, kind, self.ignore, one)) for kind, one in wanted)
        candidates = next((voxels for voxels in kinds if len(voxels)), np.arange(labels.size))
        return tuple(int(v) for v in np.unravel_index(candidates[generator.integers(len(candidates))], self.shape))

    def at(self, voxels: np.ndarray) -> np.ndarray:
        """Labels of single voxels, (points, 3) -> (points,)."""
        if self._whole is not None:
            return self._whole[tuple(voxels.T)]
        points = self.points.at(torch.from_numpy(voxels).to(self.labels.device)[None])
        return self.on_points(points.mT).cpu().numpy()

    def whole(self) -> np.ndarray:
        """The labels of all voxels, shape (z, y, x); kept."""
        if self._whole is None:
            size = (1, *self.shape[1:])
            starts = (torch.tensor([[z, 0, 0]], device=self.labels.device) for z in range(self.shape[0]))
            slices = [self.on_points(self.points.on_boxes(start, size)) for start in starts]
            self._whole = torch.cat(slices).cpu().numpy()
        return self._whole


def propose(generator: np.random.Generator, shape: Sequence[int], rounds: int) -> np.ndarray:
    """The next voxels that are proposed, shape (rounds * PROPOSALS, 3)."""
    return generator.integers(0, shape, size=(rounds * PROPOSALS, 3))


def first_hits(
    labels: torch.Tensor, foreground: torch.Tensor, muscles: torch.Tensor, ignore: int | None
) -> torch.Tensor:
    """Per crop, which proposal is the first of the wanted kind; their number where none is.

    Args:
        labels: At the proposals, shape (crops, proposals).
        foreground: Which kind each crop wants, shape (crops,).
        muscles: The muscle that each crop wants, 0 for any, shape (crops,).
        ignore: Label of voxels that are of neither kind.
    """
    muscle = torch.where(muscles[:, None] > 0, labels == muscles[:, None], is_kind(labels, True, ignore))
    hits = torch.where(foreground[:, None], muscle, is_kind(labels, False, ignore))
    count = labels.shape[1]
    return torch.where(hits, torch.arange(count, device=labels.device), count).amin(1)
