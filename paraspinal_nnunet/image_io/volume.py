"""A three-dimensional scan or label map in memory, and what is demanded of its voxels whatever file they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.image_io.geometry import spacing_mm
from paraspinal_nnunet.image_io.limits import check_voxels

INTEGER_TOLERANCE = 1e-4
"""Label values off an integer by less than this come from a rounded scl_slope and are taken as the integer."""


@dataclass(frozen=True)
class Volume:
    """A three-dimensional scan or label map as it is stored.

    Attributes:
        array: (i, j, k) voxels: the stored integer type, or float32.
        affine: (4, 4) float64, voxel to mm in RAS+.
        remarks: What was odd about the file's header and how it was understood.
        value_names: Value -> what the file itself calls it; 3D Slicer's segmentations do.
    """

    array: np.ndarray
    affine: np.ndarray
    remarks: tuple[str, ...] = ()
    value_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        i, j, k = self.array.shape
        return i, j, k

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along i, j, k."""
        return spacing_mm(self.affine)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


def volume_shape(sizes: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    """The (i, j, k) shape of a file, before any memory is taken for it.

    Args:
        sizes: Of all axes as the header states them; trailing axes of length one are dropped.
        path: For messages.

    Raises:
        InputError: Not one 3D volume, without voxels, or with more than `limits.max_voxels`.
    """
    if len(sizes) < 3 or any(n != 1 for n in sizes[3:]):
        raise InputError(
            f"{path}: has {len(sizes)} dimensions, shape {sizes}, not one 3D volume; split or export it again"
        )
    if min(sizes) < 1:
        raise InputError(f"{path}: has no voxels {sizes}")
    check_voxels(sizes, path)
    i, j, k = sizes[:3]
    return i, j, k


def plain_numbers(array: np.ndarray) -> np.ndarray:
    """Native byte order; types that readers of NIfTI-1 all understand."""
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)
    if array.dtype.itemsize == 8:
        fits = np.iinfo(np.int32).min <= array.min() and array.max() <= np.iinfo(np.int32).max
        return array.astype(np.int32 if fits else np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_finite(array: np.ndarray, path: Path | str, kind: type[InputError] = InputError) -> None:
    """Refuse NaN and infinite voxels.

    Args:
        array: Of any type.
        path: For the message.
        kind: Of the error.

    Raises:
        InputError: With their number.
    """
    broken = array.size - int(np.count_nonzero(np.isfinite(array))) if array.dtype.kind == "f" else 0
    if broken:
        raise kind(f"{path}: {broken} of {array.size} voxels are NaN or infinite; export it again")


def with_integers(volume: Volume, path: Path | str) -> Volume:
    """A label map with an integer type: the stored one, or int32 where floating-point values are all integers.

    Raises:
        LabelError: Values that are not integers.
    """
    if volume.array.dtype.kind in "iu":
        return volume
    check_finite(volume.array, path, LabelError)
    rounded = np.rint(volume.array)
    off = np.abs(volume.array - rounded) > INTEGER_TOLERANCE
    if off.any():
        raise LabelError(
            f"{path}: {int(off.sum())} voxels have no integer label, e.g. {volume.array[off][0]:.4g}; give label maps, "
            "not probabilities, and resample them with nearest neighbour"
        )
    if np.abs(rounded).max(initial=0) > np.iinfo(np.int32).max:
        raise LabelError(f"{path}: label value {np.abs(rounded).max():.4g} is too large")
    return replace(volume, array=rounded.astype(np.int32))


def as_uint8(volume: Volume, path: Path | str) -> Volume:
    """A label map as uint8; not copied where it is one already.

    Raises:
        LabelError: Values that are not integers from 0 to 255.
    """
    array = with_integers(volume, path).array
    if array.dtype == np.uint8:
        return volume
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    if low < 0 or high > np.iinfo(np.uint8).max:
        value = low if low < 0 else high
        raise LabelError(f"{path}: holds the value {value}; labels lie between 0 and 255")
    return replace(volume, array=array.astype(np.uint8))
