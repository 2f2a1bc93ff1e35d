"""Cropping to the labelled slices: along the through-plane axis alone, so that no slice loses a part of its plane."""

from collections.abc import Sequence

import numpy as np

from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.image_io.geometry import through_plane_axis
from paraspinal_nnunet.image_io.masks.boxes import cut_out
from paraspinal_nnunet.image_io.volume import Volume


def labelled_range(maps: Sequence[np.ndarray], affine: np.ndarray, name: str, *, margin: int) -> slice:
    """The slices that any of the label maps reaches, and some on either side.

    Args:
        maps: (i, j, k) label maps of one scan: the range is that of all raters together, so that none loses a voxel.
        affine: The grid's, which says which axis runs through the slices.
        name: Label file, for the message.
        margin: Slices kept beyond the labelled ones, as far as there are any.

    Raises:
        LabelError: A single slice would be left.
    """
    axis = through_plane_axis(affine)
    others = tuple(a for a in range(3) if a != axis)
    labelled = np.flatnonzero(np.any([(m != 0).any(axis=others) for m in maps], axis=0))
    kept = slice(max(0, int(labelled[0]) - margin), min(maps[0].shape[axis], int(labelled[-1]) + margin + 1))
    if kept.stop - kept.start < 2:
        raise LabelError(f"{name}: labels one slice only, which is no 3D scan; give --crop-to-labels {margin + 1}")
    return kept


def cropped(volume: Volume, kept: slice) -> Volume:
    """A volume's slices `kept` along the through-plane axis; every voxel stays where it is in the patient."""
    axis = through_plane_axis(volume.affine)
    where = [kept if each == axis else slice(0, size) for each, size in enumerate(volume.shape)]
    return cut_out(volume, (where[0], where[1], where[2]))
