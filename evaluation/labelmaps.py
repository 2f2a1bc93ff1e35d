"""Reading pairs of label maps fast and bringing them onto one grid."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk  # noqa: N813
from nibabel.filebasedimages import ImageFileError

from paraspinal_nnunet.errors import GeometryError, InputError, LabelError
from paraspinal_nnunet.evaluation.metrics.confusion import LABEL_LIMIT
from paraspinal_nnunet.image_io.geometry import grid_difference, to_ras

_UNREADABLE = (OSError, EOFError, zlib.error, ImageFileError, ValueError)


@dataclass(frozen=True)
class LabelMap:
    """A label map in the order in which it is stored.

    Attributes:
        labels: uint8, (i, j, k).
        affine: 4 x 4, to mm in RAS+.
        owner: Keeps alive the memory that `labels` may be a view of.
    """

    labels: np.ndarray
    affine: np.ndarray
    owner: object = None

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml, from the header."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000


def read_label_map(path: Path, name: str) -> LabelMap:
    """Read a NIfTI label map.

    The affine is nibabel's and the voxels are SimpleITK's, which decompresses faster. Files that hold floating-point
    numbers, or directions that SimpleITK refuses, are read by nibabel alone.

    Args:
        path: The file.
        name: Case or file, for messages.

    Raises:
        InputError: Missing or unreadable, or not three-dimensional.
        LabelError: Values that are not whole numbers from 0 to 255.
    """
    if not path.is_file():
        raise InputError(f"{name}: {path} does not exist")
    try:
        header = nibabel.load(path)
        voxels, owner = _voxels(path, header)
    except _UNREADABLE as error:
        raise InputError(f"{name}: {path} cannot be read as NIfTI ({error}); replace the file") from error
    shape = tuple(header.shape)
    if len(shape) < 3 or any(n != 1 for n in shape[3:]) or voxels.size != np.prod(shape):
        raise InputError(f"{name}: {path} has shape {shape}; a label map has three dimensions")
    labels = _as_uint8(voxels.reshape(shape[:3], order="F"), f"{name}: {path}")
    return LabelMap(labels, np.asarray(header.affine, float), owner)


def on_reference_grid(reference: LabelMap, prediction: LabelMap, name: str) -> tuple[LabelMap, LabelMap]:
    """The two maps on one grid; a mere difference in stored orientation is undone.

    Args:
        reference: The reference.
        prediction: The prediction.
        name: Case and model, for messages.

    Raises:
        GeometryError: The voxels do not lie at the same places of the patient.
    """
    pairs = [(m.labels, m.affine) for m in (reference, prediction)]
    difference = _difference(pairs)
    if difference is None:
        return reference, prediction
    pairs = [to_ras(labels, affine) for labels, affine in pairs]
    if _difference(pairs) is not None:
        raise GeometryError(
            f"{name}: reference and prediction are not on one grid: {difference}; resample the prediction onto the "
            "reference's grid"
        )
    return LabelMap(*pairs[0], reference.owner), LabelMap(*pairs[1], prediction.owner)


def _difference(pairs: list[tuple[np.ndarray, np.ndarray]]) -> str | None:
    (reference, reference_affine), (prediction, prediction_affine) = pairs
    return grid_difference(reference.shape, reference_affine, prediction.shape, prediction_affine)


def _voxels(path: Path, header: nibabel.nifti1.Nifti1Image) -> tuple[np.ndarray, object]:
    """All voxels, with the first stored axis running fastest in memory, and what owns the memory."""
    if header.get_data_dtype().kind == "f":  # SimpleITK turns NaN into 0 on reading
        return np.asanyarray(header.dataobj).ravel(order="F"), None
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:  # e.g. directions that are not orthonormal
        return np.asanyarray(header.dataobj).ravel(order="F"), None
    return sitk.GetArrayViewFromImage(image).ravel(), image


def _as_uint8(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "iuf":
        raise LabelError(f"{name} holds {values.dtype} values; labels are whole numbers")
    if values.dtype.kind == "f":
        _check_whole(values, name)
    low, high = values.min(), values.max()
    if low < 0 or high >= LABEL_LIMIT:
        raise LabelError(f"{name} holds the value {low if low < 0 else high:g}; labels lie between 0 and 255")
    return values.astype(np.uint8)


def _check_whole(values: np.ndarray, name: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        raise LabelError(
            f"{name} holds {int((~finite).sum())} voxels that are NaN or infinite; labels are whole numbers"
        )
    broken = values[values != np.rint(values)]
    if broken.size:
        raise LabelError(
            f"{name} holds the value {broken[0]:g} ({broken.size} voxels are not whole numbers); give label maps, not "
            "probabilities"
        )
