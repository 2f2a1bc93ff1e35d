"""Reading scans and label maps of the formats that people keep beside NIfTI: MetaImage and NRRD, through SimpleITK.

SimpleITK turns NaN and infinity of a NIfTI file into zero without a word, so NIfTI is read by
`paraspinal_nnunet.image_io.nifti` alone.
"""

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name

from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.image_io import nifti
from paraspinal_nnunet.image_io.nifti import Volume

ITK_ENDINGS = (".mha", ".mhd", ".nrrd", ".nhdr")
ENDINGS = (*nifti.ENDINGS, *ITK_ENDINGS)

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_HEADER_BYTES = 65536
_DIRECTIONS = {
    ".mha": rb"(?im)^(TransformMatrix|Orientation|Rotation)\s*=",
    ".mhd": rb"(?im)^(TransformMatrix|Orientation|Rotation)\s*=",
    ".nrrd": rb"(?im)^space:\s*(left|right)-(anterior|posterior)-(superior|inferior)\s*$|^space:\s*[LR][AP][SI]\s*$",
    ".nhdr": rb"(?im)^space:\s*(left|right)-(anterior|posterior)-(superior|inferior)\s*$|^space:\s*[LR][AP][SI]\s*$",
}
"""Header fields without which a file does not say where the patient's left is."""


def ending_of(name: str) -> str:
    """The format of a file by its name, e.g. ``'.nii.gz'``; '' where it is none of `ENDINGS`."""
    return next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")


def read_image(path: Path) -> Volume:
    """Read a scan: NIfTI, MetaImage or NRRD.

    Args:
        path: Its ending tells the format.

    Raises:
        InputError: Missing, damaged, truncated, not 3D, more than one channel, NaN or infinite voxels.
        GeometryError: No orientation, sheared or degenerate axes.
    """
    if ending_of(path.name) not in ITK_ENDINGS:
        return nifti.read_image(path)
    _check_orientation(path)
    image = _itk_image(path)
    array = nifti.plain_numbers(np.asfortranarray(sitk.GetArrayFromImage(image).T))
    nifti.check_finite(array, path)
    return Volume(array, _affine(image, path))


def read_labels(path: Path) -> Volume:
    """Read a label map: NIfTI, MetaImage or NRRD.

    Args:
        path: Its ending tells the format.

    Returns:
        The map with an integer type.

    Raises:
        InputError: As `read_image`.
        GeometryError: As `read_image`.
        LabelError: Values that are not integers.
    """
    return nifti.with_integers(read_image(path), path)


def _check_orientation(path: Path) -> None:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    header = re.split(rb"(?im)\r?\n\r?\n|^ElementDataFile.*$", header)[0].replace(b"\r", b"")
    if not re.search(_DIRECTIONS[ending_of(path.name)], header):
        raise GeometryError(f"{path}: header gives no orientation, so left and right are unknown; export it again")


def _itk_image(path: Path) -> sitk.Image:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: truncated, damaged or without its data file; copy or export it again") from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path}: has more than one channel; this needs one grey value")
    size = image.GetSize()
    if len(size) > 3 and all(n == 1 for n in size[3:]):
        return sitk.Extract(image, [*size[:3], *([0] * len(size[3:]))])
    if len(size) != 3:
        raise InputError(f"{path}: has {len(size)} dimensions {size}, not one 3D volume; split or export it again")
    return image


def _affine(image: sitk.Image, path: Path) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    nifti.check_axes(affine, path)
    return _LPS_TO_RAS @ affine
