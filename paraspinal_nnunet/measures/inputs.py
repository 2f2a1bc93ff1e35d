"""What can be measured: files, nibabel or SimpleITK images, or arrays with their affine, brought onto one grid."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.image_io.geometry import axis_codes, by_text, grid_difference, spacing_mm, to_ras
from paraspinal_nnunet.image_io.images import read_image
from paraspinal_nnunet.image_io.in_memory import volume_of
from paraspinal_nnunet.image_io.volume import Volume, with_integers

ImageLike = Any
"""A path, a `Volume`, a nibabel image, a SimpleITK image, or a pair of an array (i, j, k) and its affine (RAS+)."""

Regrid = Literal["refuse", "resample", "by-voxel"]
REGRIDS: tuple[Regrid, ...] = ("refuse", "resample", "by-voxel")
"""What happens to an image that is not on the labels' grid: refused; interpolated at the labels' voxels; or taken voxel
by voxel, for images of one acquisition whose headers differ."""

BY_VOXEL_SPACING = 0.01
"""Relative difference in spacing up to which two grids of one shape may be taken voxel by voxel. Source: ours."""


@dataclass(frozen=True)
class Input:
    """A volume with where it came from.

    Attributes:
        volume: In the order in which it was given.
        name: File name, or ``'array'``; for messages and records.
    """

    volume: Volume
    name: str


def as_input(given: ImageLike, what: str) -> Input:
    """Read or wrap an image.

    Args:
        given: See `ImageLike`.
        what: ``'image'``, ``'labels'``..., for messages.

    Raises:
        InputError: Unreadable, not three-dimensional, no numbers, NaN or infinite voxels, or a kind that is not known.
        GeometryError: Voxels without size, sheared axes, no orientation.
    """
    if isinstance(given, Input):
        return given
    if isinstance(given, str | Path):
        return Input(read_image(Path(given)), Path(given).name)
    return Input(volume_of(given, what), what)


def as_labels(given: ImageLike, what: str) -> Input:
    """As `as_input`, for label maps: whole numbers as int32, or as uint8 where they are stored so.

    Raises:
        LabelError: Values that are no whole numbers.
        InputError: As `as_input`.
    """
    found = as_input(given, what)
    labels = with_integers(found.volume, found.name)
    array = labels.array if labels.array.dtype == np.uint8 else labels.array.astype(np.int32, copy=False)
    return Input(replace(labels, array=array), found.name)


def on_grid(image: Input, grid: Volume, what: str, *, regrid: Regrid = "refuse", needed: np.ndarray) -> np.ndarray:
    """The image's values on a grid in RAS order.

    A mere difference in stored orientation is undone; no voxel changes.

    Args:
        image: What is brought there.
        grid: In RAS order.
        what: ``'image'``, ``'water'``..., for messages.
        regrid: What to do where the voxels lie elsewhere.
        needed: bool, the grid's shape: voxels that must lie inside the image.

    Returns:
        float64 or the image's own type where nothing was interpolated, (x, y, z).

    Raises:
        GeometryError: Other grids and `regrid` does not allow for them.
    """
    array, affine = to_ras(image.volume.array, image.volume.affine)
    difference = grid_difference(array.shape, affine, grid.shape, grid.affine)
    if difference is None:
        return array
    if regrid == "refuse":
        raise GeometryError(
            f"{image.name}: the {what} is not on the labels' grid ({difference}); allow 'resample' where both headers "
            "are right, or 'by-voxel' where both come from one acquisition"
        )
    if regrid == "by-voxel":
        _check_by_voxel(image, array, affine, grid, what)
        return array
    return _interpolated(image, Volume(array, affine), grid, what, needed)


def nearest_labels(labels: Input, grid: Volume) -> np.ndarray:
    """A label map at the voxels of another grid, by nearest neighbour; outside it is 0.

    Args:
        labels: On any grid.
        grid: In RAS order.

    Returns:
        int32, (x, y, z).
    """
    array, affine = to_ras(labels.volume.array, labels.volume.affine)
    if grid_difference(array.shape, affine, grid.shape, grid.affine) is None:
        return array
    return _sampled(array, affine, grid, order=0).astype(np.int32)


def _check_by_voxel(image: Input, array: np.ndarray, affine: np.ndarray, grid: Volume, what: str) -> None:
    same = array.shape == grid.shape and axis_codes(affine) == axis_codes(grid.affine)
    if not same or not np.allclose(spacing_mm(affine), grid.spacing_mm, rtol=BY_VOXEL_SPACING):
        raise GeometryError(
            f"{image.name}: the {what} cannot be taken voxel by voxel: shape {array.shape} against {grid.shape}, "
            f"spacing {by_text(spacing_mm(affine))} against {by_text(grid.spacing_mm)} mm"
        )


def _interpolated(image: Input, source: Volume, grid: Volume, what: str, needed: np.ndarray) -> np.ndarray:
    inside = _sampled(np.ones(source.shape, np.uint8), source.affine, grid, order=0)
    missing = int(np.count_nonzero(needed & (inside == 0)))
    if missing:
        raise GeometryError(
            f"{image.name}: {missing} of {int(np.count_nonzero(needed))} labelled voxels lie outside the {what}; the "
            "two were not scanned in one place, or a header lost its origin"
        )
    return _sampled(source.array.astype(np.float64), source.affine, grid, order=1, mode="nearest")


def _sampled(array: np.ndarray, affine: np.ndarray, grid: Volume, *, order: int, mode: str = "constant") -> np.ndarray:
    to_source = np.linalg.inv(affine) @ grid.affine
    return ndimage.affine_transform(
        array, to_source[:3, :3], to_source[:3, 3], output_shape=grid.shape, order=order, mode=mode
    )
