"""Masks on the pixels of a source series: which voxels a frame shows is found by geometry, never by order."""

from collections.abc import Sequence

import numpy as np

from paraspinal_nnunet.anatomy import Structure
from paraspinal_nnunet.dicom.records import Frame
from paraspinal_nnunet.errors import GeometryError, LabelError
from paraspinal_nnunet.image_io.geometry import RAS_FROM_LPS
from paraspinal_nnunet.image_io.volume import Volume

ON_GRID_TOLERANCE = 0.02
"""Pixels of the source lie on the mask's voxels within this share of a voxel: positions have few digits."""


def numbered(labels: Volume, structures: Sequence[Structure]) -> Volume:
    """The mask with the numbers of the segments, which count from 1, in place of the labels."""
    values = [int(value) for value in np.unique(labels.array) if value]
    known = [structure.label for structure in structures]
    unknown = sorted(set(values) - set(known))
    if unknown or not known or len(set(known)) != len(known):
        raise LabelError(f"the mask holds labels {values}, the segments are for {known}; name every label once")
    table = np.zeros(max(known) + 1, np.uint8)
    table[known] = range(1, len(known) + 1)
    return Volume(table[labels.array], labels.affine)


def mask_planes(labels: Volume, frames: Sequence[Frame], name: str) -> np.ndarray:
    """(frames, rows, columns) of the mask at the pixels of every frame."""
    into_voxels = np.linalg.inv(labels.affine)
    planes = np.zeros((len(frames), frames[0].rows, frames[0].columns), np.uint8)
    for n, frame in enumerate(frames):
        if (frame.rows, frame.columns) != planes.shape[1:]:
            raise GeometryError(f"{name}: the source mixes slices of several sizes; choose one part of the series")
        planes[n] = _plane(labels.array, into_voxels @ pixel_affine(frame), frame, name)
    lost = int(np.count_nonzero(labels.array)) - int(np.count_nonzero(planes))
    if lost:
        raise GeometryError(
            f"{name}: {lost} labelled voxels lie outside the {len(frames)} slices of the source; give the whole series "
            "that was segmented"
        )
    return planes


def _plane(array: np.ndarray, to_voxels: np.ndarray, frame: Frame, name: str) -> np.ndarray:
    """(rows, columns) of the array at a frame's pixels; `to_voxels` is (4, 3), from (column, row, 1)."""
    steps = to_voxels[:3]
    corners = np.array([[c, r, 1.0] for c in (0, frame.columns - 1) for r in (0, frame.rows - 1)]) @ steps.T
    off = float(np.abs(corners - corners.round()).max())
    turned = np.abs(np.abs(steps[:, :2]).sum(axis=1).max() - 1)
    if off > ON_GRID_TOLERANCE or turned > ON_GRID_TOLERANCE:
        raise GeometryError(
            f"{name}: pixels of {frame.shown} lie off the mask's voxels (by {off:.2g} voxel); the mask is on another "
            "grid than the series"
        )
    whole = steps[:, :2].round().astype(int)
    start = corners[0].round().astype(int)
    columns, rows = np.arange(frame.columns), np.arange(frame.rows)[:, None]
    index = [start[axis] + whole[axis, 0] * columns + whole[axis, 1] * rows for axis in range(3)]
    inside = np.all([(i >= 0) & (i < n) for i, n in zip(index, array.shape, strict=True)], axis=0)
    plane = np.zeros((frame.rows, frame.columns), np.uint8)
    plane[inside] = array[tuple(i[inside] for i in index)]
    return plane


def pixel_affine(frame: Frame) -> np.ndarray:
    """(4, 3): (column, row, 1) to mm in RAS+. Source: DICOM PS3.3 C.7.6.2.1.1."""
    orientation, spacing = np.array(frame.orientation), np.array(frame.pixel_spacing_mm)
    position = np.array(frame.position_mm)
    lps = np.stack([orientation[:3] * spacing[1], orientation[3:] * spacing[0], position], axis=1)
    return np.vstack([RAS_FROM_LPS[:3, :3] @ lps, [0.0, 0.0, 1.0]])
