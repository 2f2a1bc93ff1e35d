"""Where a NIfTI header says that voxels lie: in mm and without contradictions, or refused in one line."""

from pathlib import Path

import nibabel as nib
import numpy as np

from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.image_io.geometry import axis_codes, by_text, spacing_mm

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two voxel axes: a qform cannot hold a shear, and readers that go by it would see another
grid."""

SPACING_TOLERANCE = 0.01
"""Share by which two statements of the voxel size may differ: rounding stays far below, a wrong size far above."""

FORM_TOLERANCE_MM = 0.1
"""Largest distance between a voxel's places after sform and after qform that needs no remark."""

_UNIT_NAMES = {1: "metres", 3: "micrometres"}
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Codes of the NIfTI standard's xyzt_units: unknown (taken as mm, as all readers do), metre, millimetre, micron."""


def affine_mm(image: nib.Nifti1Image, content: bytes, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine of a file in mm, and what was odd about its header.

    Args:
        image: The file as nibabel reads it.
        content: Its bytes, unpacked; nibabel mends some of what they say.
        path: For messages.

    Raises:
        GeometryError: No orientation, contradicting orientations or voxel sizes, sheared or degenerate axes, negative
            voxel sizes, unknown unit.
    """
    header = image.header
    sform, qform = (header.get_sform(coded=True)[0], header.get_qform(coded=True)[0])
    if sform is None and qform is None:
        raise GeometryError(f"{path}: header has neither sform nor qform, so left and right are unknown; export again")
    unit = int(header["xyzt_units"]) & 7
    if unit not in _MM_PER_UNIT:
        raise GeometryError(f"{path}: header gives an unknown unit of length (xyzt_units {unit}); set it to mm")
    to_mm = _MM_PER_UNIT[unit]
    pixdim = tuple(size * to_mm for size in _stored_pixdim(image, content))
    sform, qform = (None if form is None else np.diag([to_mm, to_mm, to_mm, 1]) @ form for form in (sform, qform))
    if qform is not None and not min(pixdim) > 0:
        raise GeometryError(
            f"{path}: header gives a voxel size of {by_text(pixdim)} mm; programs differ on the side that a negative "
            "or zero size means, so left and right are uncertain; mend the header"
        )
    for affine in (sform, qform):
        if affine is not None:
            check_axes(affine, path)
    remarks = _compared(sform, qform, pixdim, image.shape[:3], path) if sform is not None else []
    if unit in _UNIT_NAMES:
        remarks.append(f"header counts in {_UNIT_NAMES[unit]}")
    return np.array(sform if sform is not None else qform, dtype=np.float64), tuple(remarks)


def check_axes(affine: np.ndarray, path: Path | str) -> None:
    """Refuse a grid whose voxels have no size or whose axes are not at right angles.

    Args:
        affine: Voxel to mm in RAS+.
        path: File or case, for the message.

    Raises:
        GeometryError: Degenerate or sheared axes.
    """
    spacing = spacing_mm(affine)
    if not np.isfinite(affine).all() or min(spacing) <= 0:
        raise GeometryError(f"{path}: the affine has no valid voxel size {spacing}; mend the header")
    axes = affine[:3, :3] / spacing
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > SHEAR_TOLERANCE:
        raise GeometryError(
            f"{path}: voxel axes are not at right angles (cosine {cosine:.3g}); resample it to a regular grid"
        )


def _stored_pixdim(image: nib.Nifti1Image, content: bytes) -> tuple[float, ...]:
    """Voxel size as the file has it; nibabel mends what it reads."""
    kind = type(image).header_class
    stored = kind(content[: kind.template_dtype.itemsize], check=False)
    return tuple(float(size) for size in stored["pixdim"][1:4])


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
            "and right are uncertain; mend the header"
        )
    if not same_size:
        raise GeometryError(
            f"{path}: sform and qform contradict each other in voxel size ({by_text(spacing)} against "
            f"{by_text(pixdim)} mm), so volumes are uncertain; mend the header"
        )
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    distance = float(np.linalg.norm(corners @ (sform - qform).T, axis=1).max())
    return [f"sform and qform lie up to {distance:.3g} mm apart; sform taken"] if distance > FORM_TOLERANCE_MM else []
