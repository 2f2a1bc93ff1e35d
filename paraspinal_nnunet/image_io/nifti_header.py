"""Where a NIfTI header says that voxels lie: in mm and without contradictions, or refused in one line."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.image_io.geometry import axis_codes, by_text, check_axes, spacing_mm
from paraspinal_nnunet.image_io.nibabel_alone import nib
from paraspinal_nnunet.image_io.volume import volume_shape

SPACING_TOLERANCE = 0.01
"""Share by which two statements of the voxel size may differ: rounding stays far below, a wrong size far above."""

FORM_TOLERANCE_MM = 0.1
"""Largest distance between a voxel's places after sform and after qform that needs no remark."""

_MOST_OFFSET = 2**40
"""Header extensions before the voxels are far smaller."""

_UNIT_NAMES = {1: "metres", 3: "micrometres"}
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Codes of the NIfTI standard's xyzt_units: unknown (taken as mm, as all readers do), metre, millimetre, micron."""


@dataclass(frozen=True)
class NiftiHeader:
    """The header of a file of one 3D volume.

    Attributes:
        checked: As nibabel reads it, which corrects some of what it says.
        pixdim: Voxel size as the file has it.
        shape: Voxels along i, j, k.
        dtype: Of the stored voxels.
        offset: Byte at which the voxels begin.
        size: Byte behind the last voxel.
    """

    checked: nib.Nifti1Header
    pixdim: tuple[float, ...]
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    size: int


def parse_header(start: bytes, path: Path) -> NiftiHeader:
    """Read a header and check what it states, before any memory is taken for the voxels.

    Args:
        start: The first bytes of the unpacked file, at least those of its header.
        path: For messages.

    Raises:
        InputError: No NIfTI, not one 3D volume of one channel, voxels where none can be.
    """
    kind = next((k for k in (nib.Nifti1Header, nib.Nifti2Header) if k.may_contain_header(start)), None)
    if kind is None:
        raise InputError(f"{path}: is no NIfTI file; convert it to .nii.gz first")
    block = start[: kind.template_dtype.itemsize]
    stored, checked = kind(block, check=False), kind(block)
    if stored["magic"].item().rstrip(b"\0") == kind.pair_magic:
        raise InputError(f"{path}: is the header of a .hdr/.img pair; save it as one .nii.gz file")
    dtype = checked.get_data_dtype()
    if dtype.fields is not None or dtype.kind not in "iuf":
        raise InputError(f"{path}: has more than one channel ({dtype.name or dtype}); this needs one grey value")
    axes = int(stored["dim"][0])
    shape = volume_shape(tuple(int(n) for n in stored["dim"][1 : max(0, axes) + 1]), path)
    offset = float(stored["vox_offset"])
    if not kind.single_vox_offset <= offset < _MOST_OFFSET or offset % 1:
        raise InputError(f"{path}: header says that voxels begin at byte {offset:g}; copy or export it again")
    pixdim = tuple(float(size) for size in stored["pixdim"][1:4])
    return NiftiHeader(checked, pixdim, shape, dtype, int(offset), int(offset) + math.prod(shape) * dtype.itemsize)


def affine_mm(header: NiftiHeader, path: Path, *, allow_shear: bool = False) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine of a file in mm, and what was odd about its header.

    Args:
        header: The file's.
        path: For messages.
        allow_shear: See `check_axes`.

    Raises:
        GeometryError: No orientation, contradicting orientations or voxel sizes, sheared or degenerate axes, negative
            voxel sizes, unknown unit.
    """
    checked = header.checked
    sform, qform = (checked.get_sform(coded=True)[0], checked.get_qform(coded=True)[0])
    if sform is None and qform is None:
        raise GeometryError(f"{path}: header has neither sform nor qform, so left and right are unknown; export again")
    unit = int(checked["xyzt_units"]) & 7
    if unit not in MM_PER_UNIT:
        raise GeometryError(f"{path}: header gives an unknown unit of length (xyzt_units {unit}); set it to mm")
    to_mm = MM_PER_UNIT[unit]
    pixdim = tuple(size * to_mm for size in header.pixdim)
    sform, qform = (None if form is None else np.diag([to_mm, to_mm, to_mm, 1]) @ form for form in (sform, qform))
    if qform is not None and not min(pixdim) > 0:
        raise GeometryError(
            f"{path}: header gives a voxel size of {by_text(pixdim)} mm; programs differ on the side that a negative "
            "or zero size means, so left and right are uncertain; correct the header"
        )
    for affine in (sform, qform):
        if affine is not None:
            check_axes(affine, path, allow_shear=allow_shear)
    remarks = _compared(sform, qform, pixdim, header.shape, path) if sform is not None else []
    if unit in _UNIT_NAMES:
        remarks.append(f"header counts in {_UNIT_NAMES[unit]}")
    return np.array(sform if sform is not None else qform, dtype=np.float64), tuple(remarks)


def _compared(
    sform: np.ndarray, qform: np.ndarray | None, pixdim: tuple[float, ...], shape: tuple[int, ...], path: Path
) -> list[str]:
    """Refuse an sform that contradicts the rest of the header in what is measured; remark on smaller differences.

    The sform is what nibabel and nnU-Net go by.
    """
    spacing = spacing_mm(sform)
    same_size = np.allclose(pixdim, spacing, rtol=SPACING_TOLERANCE, atol=0)
    if qform is None:
        return [] if same_size else [f"pixdim says voxels of {by_text(pixdim)} mm; sform's {by_text(spacing)} taken"]
    if axis_codes(sform) != axis_codes(qform):
        raise GeometryError(
            f"{path}: sform and qform contradict each other ({axis_codes(sform)} against {axis_codes(qform)}), so left "
            "and right are uncertain; correct the header"
        )
    if not same_size:
        raise GeometryError(
            f"{path}: sform and qform contradict each other in voxel size ({by_text(spacing)} against "
            f"{by_text(pixdim)} mm), so volumes are uncertain; correct the header"
        )
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    distance = float(np.linalg.norm(corners @ (sform - qform).T, axis=1).max())
    return [f"sform and qform lie up to {distance:.3g} mm apart; sform taken"] if distance > FORM_TOLERANCE_MM else []
