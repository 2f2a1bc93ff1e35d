"""What is demanded of a case on its way in; every check is a refusal that names the file and what was found."""

import hashlib

import numpy as np

from paraspinal_nnunet.anatomy import Structure
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError
from paraspinal_nnunet.image_io.geometry import by_text, check_axial, grid_difference, through_plane_axis, to_ras
from paraspinal_nnunet.image_io.volume import Volume

SPACING_RANGE_MM = (0.05, 20.0)
"""Wider than any scanner's; values outside mean that the header counts in other units."""

FIELD_OF_VIEW_RANGE_MM = (50.0, 700.0)
"""In plane: from a small coil to more than any bore."""


def check_image(image: Volume, name: str) -> None:
    """Refuse an image that is no plausible axial 3D scan.

    Args:
        image: Finite voxels (see `nifti.read_image`).
        name: File, for the messages.

    Raises:
        InputError: One slice only, or one grey value only.
        GeometryError: Implausible voxels or field of view, or slices that are not axial.
    """
    if min(image.shape) < 2:
        raise InputError(f"{name}: is a single slice {image.shape}; a 3D scan is needed")
    check_axial(image.affine, image.shape, name)
    _check_extent(image, name)
    if image.array.min() == image.array.max():
        raise InputError(f"{name}: all voxels are {image.array.flat[0]}; the image is empty")


def match_grid(labels: Volume, image: Volume, name: str, *, resample: bool) -> tuple[Volume, str | None]:
    """Bring a label map onto its image's grid, or refuse it.

    Args:
        labels: Integers.
        image: The image it belongs to.
        name: Label file, for the message.
        resample: Resample (nearest neighbour) instead of refusing.

    Returns:
        The labels on the image's grid, and how the grids differed or None.

    Raises:
        GeometryError: Another grid, and `resample` is off.
    """
    difference = grid_difference(labels.shape, labels.affine, image.shape, image.affine)
    if difference is None:
        return Volume(labels.array, image.affine), None
    if not resample:
        raise GeometryError(
            f"{name}: lies on another grid than its image ({difference}); give --resample-labels if it belongs to it"
        )
    to_source = np.linalg.inv(labels.affine) @ image.affine
    from scipy.ndimage import affine_transform  # takes longer to import than a mask to read

    array = affine_transform(
        labels.array, to_source[:3, :3], to_source[:3, 3], output_shape=image.shape, order=0, mode="grid-constant"
    )
    return Volume(array, image.affine), difference


def on_reference_grid(reference: Volume, prediction: Volume, name: str) -> tuple[Volume, Volume]:
    """The two maps on one grid; a mere difference in stored orientation is undone.

    Args:
        reference: The reference.
        prediction: The prediction.
        name: Case and model, for messages.

    Raises:
        GeometryError: The voxels do not lie at the same places of the patient.
    """
    pairs = [(m.array, m.affine) for m in (reference, prediction)]
    difference = _difference(pairs)
    if difference is None:
        return reference, prediction
    pairs = [to_ras(array, affine) for array, affine in pairs]
    if _difference(pairs) is not None:
        raise GeometryError(
            f"{name}: reference and prediction are not on one grid: {difference}; resample the prediction onto the "
            "reference's grid"
        )
    return Volume(*pairs[0]), Volume(*pairs[1])


def check_classes(canonical: np.ndarray, required: tuple[Structure, ...], name: str, *, allow_empty: bool) -> list[str]:
    """Refuse a label map that lacks a required class.

    Args:
        canonical: Labels in the values of `anatomy.STRUCTURES`.
        required: The classes of the data set.
        name: Label file, for the message.
        allow_empty: Accept it unless all classes are missing.

    Returns:
        Keys of the missing classes.

    Raises:
        LabelError: A class without voxels.
    """
    counts = np.bincount(canonical[canonical != 0], minlength=256)
    missing = [s.key for s in required if not counts[s.label]]
    if len(missing) == len(required):
        raise LabelError(f"{name}: holds none of the classes {', '.join(missing)}; is it the right file?")
    if missing and not allow_empty:
        raise LabelError(f"{name}: no voxel is {' or '.join(missing)}; label it or give --allow-empty-label")
    return missing


def voxel_hash(*channels: Volume) -> str:
    """SHA-256 of an image's voxels, the same for every stored orientation and number type."""
    digest = hashlib.sha256()
    for channel in channels:
        array, _ = to_ras(channel.array, channel.affine)
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array, dtype=np.float32).data)
    return digest.hexdigest()


def _check_extent(image: Volume, name: str) -> None:
    spacing = image.spacing_mm
    extent = [n * mm for n, mm in zip(image.shape, spacing, strict=True)]
    in_plane = [mm for axis, mm in enumerate(extent) if axis != through_plane_axis(image.affine)]
    low, high = SPACING_RANGE_MM
    narrow, wide = FIELD_OF_VIEW_RANGE_MM
    if not all(low <= mm <= high for mm in spacing) or not all(narrow <= mm <= wide for mm in in_plane):
        raise GeometryError(
            f"{name}: voxels of {by_text(spacing)} mm and a field of view of {by_text(in_plane)} mm are implausible "
            f"(expected {low:g} to {high:g} and {narrow:g} to {wide:g}); does the header count in another unit?"
        )


def _difference(pairs: list[tuple[np.ndarray, np.ndarray]]) -> str | None:
    (reference, reference_affine), (prediction, prediction_affine) = pairs
    return grid_difference(reference.shape, reference_affine, prediction.shape, prediction_affine)
