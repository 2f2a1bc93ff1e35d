"""NIfTI files in and out: whole, three-dimensional, in mm, with a known left and right, or refused in one line.

Arrays are in the file's own order (i, j, k); see `geometry` beside this module for the affines that go with them.
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from paraspinal_nnunet.errors import InputError, LabelError, one_line
from paraspinal_nnunet.image_io.geometry import spacing_mm
from paraspinal_nnunet.image_io.nifti_header import affine_mm
from paraspinal_nnunet.image_io.nifti_header import check_axes as check_axes

ENDINGS = (".nii.gz", ".nii")

INTEGER_TOLERANCE = 1e-4
"""Label values off an integer by less than this come from a rounded scl_slope and are taken as the integer."""

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Volume:
    """A three-dimensional scan or label map as it is stored.

    Attributes:
        array: (i, j, k) voxels: the stored integer type, or float32.
        affine: (4, 4) float64, voxel to mm in RAS+.
        remarks: What was odd about the file's header and how it was understood.
    """

    array: np.ndarray
    affine: np.ndarray
    remarks: tuple[str, ...] = ()

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


def stem_of(name: str, endings: Sequence[str] = ENDINGS) -> str:
    """A file's name without its ending, in whatever case, and nnU-Net's channel number.

    >>> stem_of("sub-01_0000.nii.gz"), stem_of("SUB-01.NII"), stem_of("notes.txt")
    ('sub-01', 'SUB-01', 'notes.txt')
    """
    ending = next((e for e in endings if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)].removesuffix("_0000")


def read_image(path: Path) -> Volume:
    """Read a scan.

    scl_slope and scl_inter are applied; trailing axes of length one are dropped; integers keep their type, other
    numbers become float32.

    Args:
        path: A .nii or .nii.gz file, NIfTI-1 or -2.

    Raises:
        InputError: Missing, damaged, truncated, no NIfTI, not 3D, more than one channel, NaN or infinite voxels.
        GeometryError: No orientation, contradicting orientations or voxel sizes, sheared or degenerate axes, negative
            voxel sizes, unknown unit.
    """
    volume = _read(Path(path))
    check_finite(volume.array, path)
    return volume


def read_labels(path: Path) -> Volume:
    """Read a label map of whatever scheme.

    Args:
        path: A .nii or .nii.gz file; floating-point files are taken when all values are integers.

    Returns:
        The map with an integer type: the stored one, or int32.

    Raises:
        InputError: As `read_image`.
        GeometryError: As `read_image`.
        LabelError: Values that are not integers.
    """
    return with_integers(read_image(path), path)


def check_finite(array: np.ndarray, path: Path | str) -> None:
    """Refuse NaN and infinite voxels.

    Raises:
        InputError: With their number.
    """
    broken = array.size - int(np.count_nonzero(np.isfinite(array))) if array.dtype.kind == "f" else 0
    if broken:
        raise InputError(f"{path}: {broken} of {array.size} voxels are NaN or infinite; export it again")


def with_integers(volume: Volume, path: Path | str) -> Volume:
    """A label map with an integer type: the stored one, or int32 where floating-point values are all integers.

    Raises:
        LabelError: Values that are not integers.
    """
    if volume.array.dtype.kind in "iu":
        return volume
    rounded = np.rint(volume.array)
    off = np.abs(volume.array - rounded) > INTEGER_TOLERANCE
    if off.any():
        raise LabelError(
            f"{path}: {int(off.sum())} voxels have no integer label, e.g. {volume.array[off][0]:.4g}; resample label "
            "maps with nearest neighbour"
        )
    if np.abs(rounded).max(initial=0) > np.iinfo(np.int32).max:
        raise LabelError(f"{path}: label value {np.abs(rounded).max():.4g} is too large")
    return Volume(rounded.astype(np.int32), volume.affine, volume.remarks)


def write_image(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write a scan with its type and grid, in mm, sform and qform both set to `affine`.

    Args:
        path: Ends in .nii or .nii.gz.
        array: (i, j, k), an integer type that NIfTI has or float32.
        affine: Voxel to mm in RAS+.
    """
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    nib.save(image, path)


def write_labels(path: Path, labels: np.ndarray, affine: np.ndarray) -> None:
    """Write a label map as uint8.

    Args:
        path: Ends in .nii or .nii.gz.
        labels: (i, j, k) integers in 0..255.
        affine: Voxel to mm in RAS+.

    Raises:
        LabelError: A value that uint8 cannot hold.
    """
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high > np.iinfo(np.uint8).max:
        raise LabelError(f"{path}: label values {low}..{high} do not fit 0..255")
    write_image(path, labels.astype(np.uint8), affine)


def _read(path: Path) -> Volume:
    content = _content(path)
    try:
        image = _nifti_class(content, path).from_bytes(content)
        affine, remarks = affine_mm(image, content, path)
        return Volume(_voxels(image, path), affine, remarks)
    except (ImageFileError, HeaderDataError, WrapStructError, ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: truncated or damaged ({one_line(error)}); copy or export it again") from error


def _content(path: Path) -> bytes:
    """The whole file, unpacked: this alone notices every missing byte and every wrong checksum."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not content:
        raise InputError(f"{path}: is empty")
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: truncated or damaged ({one_line(error)}); copy or export it again") from error


def _nifti_class(content: bytes, path: Path) -> "type[nib.Nifti1Image]":
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        if kind.header_class.may_contain_header(content):
            return kind
    raise InputError(f"{path}: is no NIfTI file; convert it to .nii.gz first")


def _voxels(image: nib.Nifti1Image, path: Path) -> np.ndarray:
    shape = tuple(int(n) for n in image.shape)
    stored = image.get_data_dtype()
    if stored.fields is not None or stored.kind == "c":
        raise InputError(f"{path}: has more than one channel ({stored.name or stored}); this needs one grey value")
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise InputError(f"{path}: has {len(shape)} dimensions {shape}, not one 3D volume; split or export it again")
    if 0 in shape:
        raise InputError(f"{path}: has no voxels {shape}")
    return plain_numbers(np.asanyarray(image.dataobj).reshape(shape[:3], order="F"))


def plain_numbers(array: np.ndarray) -> np.ndarray:
    """Native byte order; types that readers of NIfTI-1 all understand."""
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)
    if array.dtype.itemsize == 8:
        fits = np.iinfo(np.int32).min <= array.min() and array.max() <= np.iinfo(np.int32).max
        return array.astype(np.int32 if fits else np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
