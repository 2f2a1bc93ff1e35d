"""Images that are in memory already: arrays with their affine, nibabel's and SimpleITK's objects, as volumes."""

from typing import Any

import numpy as np

from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.image_io.geometry import affine_from_lps, check_axes
from paraspinal_nnunet.image_io.nifti_header import MM_PER_UNIT
from paraspinal_nnunet.image_io.volume import Volume, check_finite


def volume_of(given: Any, what: str) -> Volume:
    """Wrap an image.

    Args:
        given: A `Volume`, a nibabel image, a SimpleITK image, or a pair of an array (i, j, k) and its affine (voxel to
            mm in RAS+).
        what: What it is called in messages.

    Raises:
        InputError: Not three-dimensional, no numbers, NaN or infinite voxels, or a kind that is not known.
        GeometryError: Voxels without size, sheared axes, no orientation, an unknown unit of length.
    """
    array, affine = _array_and_affine(given, what)
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(f"{what}: has shape {array.shape}; give one volume with three dimensions")
    if array.dtype.kind not in "iufb":
        raise InputError(f"{what}: holds {array.dtype} values; give numbers")
    if affine.shape != (4, 4):
        raise GeometryError(f"{what}: the affine has shape {affine.shape}, not 4 x 4")
    check_axes(affine, what)
    check_finite(array, what)
    return Volume(array.astype(np.uint8) if array.dtype.kind == "b" else array, affine)


def _array_and_affine(given: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(given, Volume):
        return given.array, given.affine
    if isinstance(given, tuple) and len(given) == 2:
        return np.asarray(given[0]), np.asarray(given[1], dtype=np.float64)
    if hasattr(given, "dataobj") and hasattr(given, "affine"):
        return np.asanyarray(given.dataobj), _nibabel_affine(given, what)
    if hasattr(given, "GetDirection") and hasattr(given, "GetSpacing"):
        return _simpleitk_array_and_affine(given, what)
    raise InputError(
        f"{what}: a {type(given).__name__} cannot be measured; give a path, a nibabel or SimpleITK image, or (array, "
        "affine)"
    )


def _nibabel_affine(image: Any, what: str) -> np.ndarray:
    """In mm, as the same image's file would give it."""
    header = image.header
    if "sform_code" not in header or "xyzt_units" not in header:  # another format than NIfTI
        return np.asarray(image.affine, dtype=np.float64)
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        raise GeometryError(f"{what}: header has neither sform nor qform, so left and right are unknown; set one")
    unit = int(header["xyzt_units"]) & 7
    if unit not in MM_PER_UNIT:
        raise GeometryError(f"{what}: header gives an unknown unit of length (xyzt_units {unit}); set it to mm")
    to_mm = MM_PER_UNIT[unit]
    return np.diag([to_mm, to_mm, to_mm, 1.0]) @ np.asarray(image.affine, dtype=np.float64)


def _simpleitk_array_and_affine(image: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{what}: the SimpleITK image is not one 3D volume of grey values; extract it first")
    import SimpleITK as sitk  # noqa: N813

    affine = affine_from_lps(np.reshape(image.GetDirection(), (3, 3)), image.GetSpacing(), image.GetOrigin())
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), affine
