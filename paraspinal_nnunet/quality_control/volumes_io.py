"""Reading images and label maps of anybody's data set: NIfTI as everywhere here, other formats through SimpleITK."""

from pathlib import Path

import numpy as np

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.nifti import ENDINGS, Volume, read_image, read_labels

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])


def read_any_image(path: Path) -> Volume:
    """Read a scan of any format that nnU-Net takes in three dimensions.

    Raises:
        InputError: Missing, damaged, or not one 3D volume of one channel.
        GeometryError: As `nifti.read_image`.
    """
    return read_image(path) if path.name.endswith(ENDINGS) else _read_by_simpleitk(path)


def read_any_labels(path: Path) -> Volume:
    """Read a label map; see `read_any_image`.

    Raises:
        InputError: As `read_any_image`.
        LabelError: Values that are not integers.
    """
    if path.name.endswith(ENDINGS):
        return read_labels(path)
    volume = _read_by_simpleitk(path)
    if volume.array.dtype.kind not in "iu":
        raise InputError(f"{path}: holds {volume.array.dtype} numbers, not integer labels")
    return volume


def _read_by_simpleitk(path: Path) -> Volume:
    import SimpleITK as sitk  # noqa: N813 - its usual name; 90 MB that NIfTI does not need

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())[-120:]})") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path}: has {image.GetDimension()} dimensions, not one 3D volume of one channel")
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = _RAS_FROM_LPS @ direction * np.array(image.GetSpacing())
    affine[:3, 3] = _RAS_FROM_LPS @ np.array(image.GetOrigin())
    return Volume(sitk.GetArrayFromImage(image).transpose(2, 1, 0), affine)
