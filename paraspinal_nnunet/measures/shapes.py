"""The shape of each label of a map: its voxels by axial slice, its lengths, pieces, borders and where it lies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from paraspinal_nnunet.image_io.masks.postprocessing import NEIGHBOURS

_IN_PLANE = np.zeros((3, 3, 3), bool)
_IN_PLANE[:, :, 1] = True
"""Voxels of one slice that share an edge or a corner belong to one piece of the slice."""


@dataclass(frozen=True)
class Stack:
    """The axial stack of a case in RAS order; slices are counted from 1 at the feet.

    The slices are the stack's own: in an oblique stack areas lie in its plane, and lengths run along its normal.

    Attributes:
        shape: Voxels along x, y, z.
        affine: 4 x 4, voxel of the RAS-ordered array to mm.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def slices(self) -> int:
        """How many slices there are."""
        return self.shape[2]

    @property
    def pixel_mm2(self) -> float:
        """Area of a voxel in the plane of the slices."""
        return float(np.linalg.norm(np.cross(self.affine[:3, 0], self.affine[:3, 1])))

    @property
    def slice_spacing_mm(self) -> float:
        """Distance between the middles of neighbouring slices."""
        return float(np.linalg.norm(self.affine[:3, 2]))

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def length_mm(self) -> float:
        """From the lower face of the first slice to the upper face of the last."""
        return self.slices * self.slice_spacing_mm

    @property
    def z_mm(self) -> np.ndarray:
        """(slices,) RAS z of the middle of each slice."""
        middle = [(n - 1) / 2 for n in self.shape[:2]]
        offset = float(self.affine[2, :2] @ middle + self.affine[2, 3])
        return offset + self.affine[2, 2] * np.arange(self.slices)


@dataclass(frozen=True)
class SlicePieces:
    """The connected pieces of one label, each within one slice.

    Attributes:
        slice_index: (n,) slice of each, from 0 at the feet.
        voxels: (n,) its size.
        x_mm: (n,) RAS x of its centroid.
    """

    slice_index: np.ndarray
    voxels: np.ndarray
    x_mm: np.ndarray


@dataclass(frozen=True)
class LabelShape:
    """One label of a map in RAS order; everything is 0, NaN or empty where the map does not have it.

    Attributes:
        stack: The map's.
        corner: First voxel of the box around the label, along x, y, z.
        mask: (x, y, z) bool, within the box.
    """

    stack: Stack
    corner: tuple[int, int, int]
    mask: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """(slices,) voxels in each slice."""
        counts = np.zeros(self.stack.slices, np.int64)
        first = self.corner[2]
        counts[first : first + self.mask.shape[2]] = np.count_nonzero(self.mask, axis=(0, 1))
        return counts

    @property
    def voxels(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    @property
    def volume_ml(self) -> float:
        """Voxels x volume of a voxel."""
        return self.voxels * self.stack.voxel_ml

    @property
    def area_mm2(self) -> np.ndarray:
        """(slices,) area in each slice."""
        return self.counts * self.stack.pixel_mm2

    @cached_property
    def present(self) -> np.ndarray:
        """Slices, from 0, that the label reaches."""
        return np.flatnonzero(self.counts)

    @property
    def gaps(self) -> tuple[int, ...]:
        """Slices, from 1, without the label between slices with it."""
        if not self.voxels:
            return ()
        return tuple(k + 1 for k in range(self.present[0], self.present[-1]) if not self.counts[k])

    @property
    def length_mm(self) -> float:
        """Slices with the label x distance between slices; gaps do not count."""
        return len(self.present) * self.stack.slice_spacing_mm

    @property
    def extent_mm(self) -> float:
        """From the lower face of the lowest slice with the label to the upper face of the highest; gaps count."""
        return (len(self.present) + len(self.gaps)) * self.stack.slice_spacing_mm

    @cached_property
    def pieces(self) -> tuple[int, int]:
        """How many pieces there are, and the voxels outside the largest."""
        return _pieces(self.mask)

    @cached_property
    def pieces_across_gaps(self) -> tuple[int, int]:
        """The same where slices on both sides of a gap count as neighbours."""
        if not self.gaps:
            return self.pieces
        return _pieces(self.mask[:, :, self.mask.any(axis=(0, 1))])

    @property
    def border_voxels(self) -> int:
        """Voxels in the outermost rows and columns of the image plane."""
        edge = np.zeros(self.mask.shape[:2], bool)
        for axis in (0, 1):
            end = self.corner[axis] + self.mask.shape[axis] == self.stack.shape[axis]
            np.moveaxis(edge, axis, 0)[:1] |= self.corner[axis] == 0
            np.moveaxis(edge, axis, 0)[-1:] |= end
        return int(np.count_nonzero(self.mask[edge])) if edge.any() else 0

    @cached_property
    def centres_mm(self) -> np.ndarray:
        """(slices, 3) RAS x, y, z of the label's centroid in each slice; NaN where it is not."""
        places = np.full((self.stack.slices, 3), np.nan)
        own = self.counts[self.present]
        box = self.present - self.corner[2]
        for axis in (0, 1):
            along = np.count_nonzero(self.mask, axis=1 - axis)[:, box]
            places[self.present, axis] = self.corner[axis] + np.arange(self.mask.shape[axis]) @ along / own
        places[self.present, 2] = self.present
        return places @ self.stack.affine[:3, :3].T + self.stack.affine[:3, 3]

    @property
    def centre_mm(self) -> np.ndarray:
        """(3,) RAS x, y, z of the label's centroid."""
        if not self.voxels:
            return np.full(3, np.nan)
        return self.counts[self.present] @ self.centres_mm[self.present] / self.voxels

    @cached_property
    def slice_pieces(self) -> SlicePieces:
        """The label's pieces slice by slice."""
        numbered, count = ndimage.label(self.mask, _IN_PLANE)
        places = np.nonzero(numbered)
        piece = numbered[places] - 1
        sizes = np.bincount(piece, minlength=count)
        means = [np.bincount(piece, weights=place, minlength=count) / sizes for place in places]
        centres = np.stack(means, axis=1) + self.corner
        slices = np.rint(centres[:, 2]).astype(int)
        return SlicePieces(slices, sizes, centres @ self.stack.affine[0, :3] + self.stack.affine[0, 3])


def measure_shapes(labels: np.ndarray, stack: Stack, values: Iterable[int]) -> dict[int, LabelShape]:
    """The shape of each label.

    Args:
        labels: (x, y, z) integers in RAS order.
        stack: Their grid.
        values: Which ones; they need not be in the map.

    Returns:
        Value -> its shape.
    """
    values = list(values)
    nothing = LabelShape(stack, (0, 0, 0), np.zeros((0, 0, 0), bool))
    shapes = {}
    for value, box in _boxes(labels, values).items():
        if box is None:
            shapes[value] = nothing
        else:
            corner = (box[0].start, box[1].start, box[2].start)
            shapes[value] = LabelShape(stack, corner, labels[box] == value)
    return shapes


def _boxes(labels: np.ndarray, values: Sequence[int]) -> dict[int, tuple[slice, ...] | None]:
    """The bounding box of each value, None where it is absent."""
    if labels.min(initial=0) >= 0 and labels.max(initial=0) <= 255:
        found = ndimage.find_objects(labels.astype(np.uint8, copy=False), max_label=max(values, default=0))
        return {v: found[v - 1] if v > 0 else None for v in values}
    boxes = {}
    for value in values:
        found = ndimage.find_objects((labels == value).astype(np.uint8))
        boxes[value] = found[0] if found else None
    return boxes


def _pieces(mask: np.ndarray) -> tuple[int, int]:
    if not mask.size:
        return 0, 0
    numbered, count = ndimage.label(mask, NEIGHBOURS)
    sizes = np.bincount(numbered[mask])[1:]
    return int(count), int(sizes.sum() - sizes.max())
