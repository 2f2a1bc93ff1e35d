"""Where the voxels of augmented images come from, and their values, for the boxes that are asked for, on any device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch

from paraspinal_nnunet.training.augmentation.elastic import ElasticFields
from paraspinal_nnunet.training.augmentation.transform import ImageTransform

Rows = torch.Tensor | slice

VOXELS = {"cpu": 2**16, "cuda": 2**22}
"""Voxels that are worked on at once, by device: what stays in a processor's cache, and what keeps a GPU busy."""


@dataclass(frozen=True)
class PointMaps:
    """From voxels of augmented images to points in their cases, all in voxels (z, y, x) from the first one.

    Each point depends on its voxel alone: boxes, slices and single voxels give bit for bit the same.

    Attributes:
        shapes: Of each image, before and after, shape (images, 3).
        matrices: The upper rows of `ImageTransform.matrix`, shape (images, 3, 4), float64.
        flips: Whether the case is mirrored along x, shape (images,).
        fields: Elastic displacements, added before the matrix.
    """

    shapes: torch.Tensor
    matrices: torch.Tensor
    flips: torch.Tensor
    fields: ElasticFields | None

    @classmethod
    def of(
        cls,
        transforms: Sequence[ImageTransform],
        shapes: Sequence[Sequence[int]],
        spacing_mm: Sequence[float],
        device: torch.device = torch.device("cpu"),  # noqa: B008 - a constant
        noise: torch.Tensor | None = None,
    ) -> "PointMaps":
        """The maps of augmented images.

        Args:
            transforms: Their parameters.
            shapes: (z, y, x) of their cases.
            spacing_mm: (z, y, x) of the cases.
            device: Where points are computed.
            noise: See `ElasticFields.of`.
        """
        matrices = np.stack([t.matrix(spacing_mm)[:3] for t in transforms])
        return cls(
            shapes=torch.tensor([list(s) for s in shapes], device=device),
            matrices=torch.from_numpy(matrices).to(device),
            flips=torch.tensor([t.flip for t in transforms], device=device),
            fields=ElasticFields.of(transforms, shapes, device, noise),
        )

    def rows(self, index: Rows) -> "PointMaps":
        """The maps of some images, by their rows; a row may be asked for several times."""
        fields = None if self.fields is None else self.fields.rows(index)
        return PointMaps(self.shapes[index], self.matrices[index], self.flips[index], fields)

    def on_boxes(self, starts: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Source points of the voxels of one box in each image.

        Args:
            starts: First voxel (z, y, x) of each box, shape (images, 3).
            size: Of all boxes, (z, y, x).

        Returns:
            (images, 3, *size), float64, inside the case.
        """
        points = torch.empty((len(starts), 3, *size), dtype=torch.float64, device=starts.device)
        displacement = None if self.fields is None else self.fields.on_boxes(starts, size)
        z, y, x = box_voxels(starts, size)
        for part in slabs(points):
            voxels = (z[:, part], y, x)
            self._map(voxels, None if displacement is None else displacement[:, :, part], points[:, :, part])
        return points

    def at(self, voxels: torch.Tensor) -> torch.Tensor:
        """Source points of single voxels of each image.

        Args:
            voxels: Whole numbers (z, y, x) inside the image, shape (images, points, 3).

        Returns:
            (images, points, 3), float64, inside the case.
        """
        displacement = None if self.fields is None else self.fields.at(voxels).mT
        points = torch.empty(voxels.mT.shape, dtype=torch.float64, device=voxels.device)
        self._map(voxels.unbind(2), displacement, points)
        return points.mT

    def _map(self, voxels: Sequence[torch.Tensor], displacement: torch.Tensor | None, points: torch.Tensor) -> None:
        """Write the points of voxels, given per axis as (images, ...), into (images, 3, ...)."""
        ones = [1] * (points.ndim - 2)
        centers = (self.shapes - 1).double() / 2
        centered = [v - centers[:, axis].reshape(-1, *ones) for axis, v in enumerate(voxels)]
        if displacement is not None:
            centered = [c + displacement[:, axis] for axis, c in enumerate(centered)]
        for axis in range(3):
            a, b, c, shift = (value.reshape(-1, *ones) for value in self.matrices[:, axis].unbind(1))
            last = (self.shapes[:, axis] - 1).double().reshape(-1, *ones)
            point = a * centered[0] + b * centered[1] + c * centered[2] + (shift + centers[:, axis].reshape(-1, *ones))
            if axis == 2:
                point = torch.where(self.flips.reshape(-1, *ones), last - point, point)
            torch.minimum(point.clamp_(min=0), last, out=points[:, axis])  # beyond the case its edge goes on: 'border'


@dataclass(frozen=True)
class Sources:
    """Where the voxels of some cases, or boxes of them, lie in rows of voxels; all tensors lie on one device.

    Attributes:
        offsets: Of each one's first voxel, shape (cases,).
        shapes: (z, y, x) of each, shape (cases, 3).
    """

    offsets: torch.Tensor
    shapes: torch.Tensor

    @classmethod
    def one(cls, shape: Sequence[int]) -> "Sources":
        """A single case that fills its row, in the processor's memory."""
        return cls(torch.zeros(1, dtype=torch.int64), torch.tensor([list(shape)]))

    def rows(self, index: Rows) -> "Sources":
        """Some cases, by their rows."""
        return Sources(self.offsets[index], self.shapes[index])

    def sample_image(self, voxels: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Image values at points inside the cases, linear between voxels.

        Args:
            voxels: Rows of voxels, shape (channels, voxels).
            points: (cases, 3, slices, ...), float64.

        Returns:
            (cases, channels, slices, ...) float32.
        """
        sampled = torch.empty((len(points), len(voxels), *points.shape[2:]), dtype=torch.float32, device=points.device)
        for part in slabs(points):
            lower, upper, share = self._neighbours(points[:, :, part])
            for row, channel in zip(voxels, sampled.unbind(1), strict=True):
                channel[:, part] = _trilinear(row, lower, upper, share)
        return sampled

    def sample_labels(self, voxels: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Labels of the voxels nearest to points inside the cases.

        Args:
            voxels: One row of labels, shape (voxels,).
            points: (cases, 3, ...), float64.

        Returns:
            (cases, ...), of the labels' type.
        """
        z, y, x = points.round().long().unbind(1)
        return _take(voxels, self.index(z, y, x))

    def index(self, z: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Where voxels lie in the row; per axis (cases, ...), of shapes that are broadcast."""
        form = (-1, *[1] * (z.ndim - 1))
        of_y, of_x = self.shapes[:, 1].reshape(form), self.shapes[:, 2].reshape(form)
        return (z * of_y + y) * of_x + x + self.offsets.reshape(form)

    def _neighbours(self, points: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
        """Per axis: index of the voxel before and after, and how far each point lies between them, float32."""
        form = (-1, *[1] * (points.ndim - 2))
        strides = ((self.shapes[:, 1] * self.shapes[:, 2]), self.shapes[:, 2], torch.ones_like(self.offsets))
        lower, upper, share = [], [], []
        for axis, stride in enumerate(strides):
            before = points[:, axis].floor()
            share.append((points[:, axis] - before).float())
            index = before.long()
            after = torch.minimum(index + 1, (self.shapes[:, axis] - 1).reshape(form))
            lower.append(index * stride.reshape(form))
            upper.append(after * stride.reshape(form))
        lower[0] += self.offsets.reshape(form)
        upper[0] += self.offsets.reshape(form)
        return lower, upper, share


def box_voxels(starts: torch.Tensor, size: Sequence[int]) -> list[torch.Tensor]:
    """Voxels of boxes per axis, shapes (boxes, z, 1, 1), (boxes, 1, y, 1) and (boxes, 1, 1, x).

    Args:
        starts: First voxel (z, y, x) of each box, shape (boxes, 3).
        size: Of all boxes, (z, y, x).
    """
    return [
        (starts[:, axis, None] + torch.arange(length, device=starts.device)).reshape(
            len(starts), *[length if a == axis else 1 for a in range(3)]
        )
        for axis, length in enumerate(size)
    ]


def slabs(points: torch.Tensor) -> Iterator[slice]:
    """Runs of slices of (boxes, 3, slices, ...) that are worked on at once."""
    per_slice = len(points) * prod(points.shape[3:])
    step = max(1, VOXELS.get(points.device.type, VOXELS["cpu"]) // max(per_slice, 1))
    return (slice(first, first + step) for first in range(0, points.shape[2], step))


def _trilinear(
    voxels: torch.Tensor, lower: list[torch.Tensor], upper: list[torch.Tensor], share: list[torch.Tensor]
) -> torch.Tensor:
    """Between the eight voxels around each point."""
    planes = []
    for z in (lower[0], upper[0]):
        lines = []
        for y in (lower[1], upper[1]):
            line = z + y
            first, second = (_take(voxels, line + x).float() for x in (lower[2], upper[2]))
            lines.append(torch.lerp(first, second, share[2]))
        planes.append(torch.lerp(lines[0], lines[1], share[1]))
    return torch.lerp(planes[0], planes[1], share[0])


def _take(voxels: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return voxels.index_select(0, index.reshape(-1)).reshape(index.shape)
