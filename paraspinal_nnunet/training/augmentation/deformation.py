"""Where the voxels of an augmented image come from, and their values, for as many voxels as are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from paraspinal_nnunet.training.augmentation.elastic import ElasticField
from paraspinal_nnunet.training.augmentation.transform import ImageTransform

BoxReader = Callable[[tuple[slice, slice, slice]], np.ndarray]
"""Box of voxels -> image there, shape (channels, *box)."""


@dataclass(frozen=True)
class PointMap:
    """From voxels of the augmented image to points in the case, all in voxels (z, y, x) from the first one.

    Each point depends on its voxel alone: boxes, slices and single voxels give bit for bit the same.

    Attributes:
        shape: Of the image, before and after.
        matrix: `ImageTransform.matrix`.
        flip: Whether the case is mirrored along x.
        field: Elastic displacement, added before the matrix.
    """

    shape: tuple[int, int, int]
    matrix: np.ndarray
    flip: bool
    field: ElasticField | None

    @classmethod
    def of(cls, transform: ImageTransform, shape: Sequence[int], spacing_mm: Sequence[float]) -> "PointMap":
        """The map of one augmented image.

        Args:
            transform: Its parameters.
            shape: (z, y, x) of the case.
            spacing_mm: (z, y, x) of the case.
        """
        z, y, x = shape
        return cls((z, y, x), transform.matrix(spacing_mm), transform.flip, transform.field(shape))

    def on_box(self, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """Source points of the voxels of a box inside the image, shape (3, *size), float64, inside the case."""
        points = np.empty((3, *size))
        for number in range(size[0]):  # a slice at a time stays in the processor's cache
            corner, extent = (start[0] + number, *start[1:]), (1, *size[1:])
            voxels = np.ogrid[tuple(slice(c, c + e) for c, e in zip(corner, extent, strict=True))]
            displacement = None if self.field is None else self.field.on_box(corner, extent)
            points[:, number : number + 1] = self._map(voxels, displacement, extent)
        return points

    def map_points(self, voxels: np.ndarray) -> np.ndarray:
        """Source points of single voxels.

        Args:
            voxels: (n, 3) whole numbers inside the image.

        Returns:
            (n, 3) float64, inside the case.
        """
        displacement = None if self.field is None else self.field.at(voxels).T
        return self._map(list(voxels.T), displacement, (len(voxels),)).T

    def _map(
        self, voxels: Sequence[np.ndarray], displacement: np.ndarray | None, extent: tuple[int, ...]
    ) -> np.ndarray:
        centers = [(n - 1) / 2 for n in self.shape]
        centered = [v - c for v, c in zip(voxels, centers, strict=True)]
        if displacement is not None:
            centered = [c + d for c, d in zip(centered, displacement, strict=True)]
        points = np.empty((3, *extent))
        for axis, (n, center) in enumerate(zip(self.shape, centers, strict=True)):
            a, b, c, shift = self.matrix[axis]
            point = a * centered[0] + b * centered[1] + c * centered[2] + (shift + center)
            if axis == 2 and self.flip:
                point = (n - 1) - point
            points[axis] = np.clip(point, 0, n - 1)  # 'border': beyond the case its edge goes on
        return points


def sample_image(read: BoxReader, points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Image values at source points, linear between voxels.

    Args:
        read: Reads the box of the case that the points need, and no more.
        points: (3, slices, ...) inside the case.
        shape: (z, y, x) of the case.

    Returns:
        (channels, slices, ...) float32.
    """
    flat = points.reshape(3, -1)
    first = np.floor(flat.min(axis=1)).astype(int)
    last = np.minimum(np.floor(flat.max(axis=1)).astype(int) + 1, np.asarray(shape) - 1)
    z, y, x = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    box = np.asarray(read((z, y, x)), dtype=np.float32)
    sampled = np.empty((len(box), *points.shape[1:]), np.float32)
    for number in range(points.shape[1]):
        inside = points[:, number] - first.reshape(3, *[1] * (points.ndim - 2))
        for channel, values in zip(box, sampled, strict=True):
            map_coordinates(channel, inside, output=values[number], order=1, mode="nearest", prefilter=False)
    return sampled


def sample_labels(labels: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Labels of the voxels nearest to source points.

    Args:
        labels: (z, y, x) of the whole case.
        points: (3, ...) inside the case.
    """
    z, y, x = np.rint(points).astype(np.intp)
    return labels[z, y, x]
