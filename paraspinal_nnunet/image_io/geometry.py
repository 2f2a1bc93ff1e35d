"""Where voxels lie in the patient: affines, orientations, grids and the check that left is left.

Affines are 4 x 4, voxel (i, j, k) to millimetres in RAS+ (x grows to the patient's right, y to anterior, z to
superior), as nibabel gives them. Arrays in this module are in NIfTI order (i, j, k), not nnU-Net's (z, y, x).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from paraspinal_nnunet.anatomy import Structure, side_pairs
from paraspinal_nnunet.errors import GeometryError, LabelError
from paraspinal_nnunet.image_io.nibabel_alone import orientations

GRID_TOLERANCE = 1e-3
"""Two grids are one when every affine element agrees within this many millimetres (data checks of the converters)."""

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two voxel axes: a qform cannot hold a shear, and readers that go by it would see another
grid."""

POSSIBLE_SPACING_MM = (0.02, 60.0)
"""Also of localisers; values outside mean that the header counts in metres or micrometres."""

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the patient's axes as DICOM and ITK have them (left, posterior, superior) to those of affines here."""


def spacing_mm(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel size along i, j, k in mm."""
    i, j, k = np.sqrt((np.asarray(affine, float)[:3, :3] ** 2).sum(axis=0))
    return float(i), float(j), float(k)


def orientation_of(affine: np.ndarray) -> np.ndarray:
    """(3, 2) the patient's axis nearest to each stored one, and its direction, as nibabel has it; not to be written to.

    It is asked for many times of each scan, and the same for most scans of a scanner.
    """
    return _orientation_of(np.ascontiguousarray(np.asarray(affine, float)[:3, :3]).tobytes())


@lru_cache(maxsize=64)
def _orientation_of(axes: bytes) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.frombuffer(axes).reshape(3, 3)
    found: np.ndarray = orientations.io_orientation(affine)
    found.flags.writeable = False
    return found


def axis_codes(affine: np.ndarray) -> str:
    """The closest anatomical orientation of the stored axes, e.g. ``'LPS'``."""
    return "".join(code or "?" for code in orientations.ornt2axcodes(orientation_of(affine)))


def through_plane_axis(affine: np.ndarray) -> int:
    """The stored axis (0, 1 or 2) that runs most along the patient's head-foot direction.

    Found from the affine alone, never from the order of the array.
    """
    return int(np.flatnonzero(orientation_of(affine)[:, 0] == 2)[0])


def check_axial(affine: np.ndarray, shape: Sequence[int], name: str) -> None:
    """Refuse a scan whose slices are not axial.

    Args:
        affine: The scan's affine.
        shape: Its (i, j, k) shape.
        name: File or case, for the message.

    Raises:
        GeometryError: Voxels as no scanner makes them, or when the coarsest axis is not the one nearest to head-foot.
    """
    check_spacing(affine, name)
    spacing = spacing_mm(affine)
    coarsest = int(np.argmax(spacing))
    anisotropic = spacing[coarsest] > 1.5 * sorted(spacing)[1]
    if anisotropic and coarsest != through_plane_axis(affine):
        plane = {0: "sagittal", 1: "coronal"}[int(orientation_of(affine)[coarsest, 0])]
        raise GeometryError(
            f"{name}: slices are {plane} (voxels of {by_text(spacing)} mm stored {axis_codes(affine)}, shape "
            f"{tuple(shape)}); this protocol needs axial slices"
        )


def check_spacing(affine: np.ndarray, name: str) -> None:
    """Refuse voxels as no scanner makes them: of unknown units readers take millimetres.

    Args:
        affine: Voxel to mm in RAS+.
        name: File or case, for the message.

    Raises:
        GeometryError: With the voxel size.
    """
    spacing = spacing_mm(affine)
    low, high = POSSIBLE_SPACING_MM
    if not all(low <= mm <= high for mm in spacing):
        raise GeometryError(
            f"{name}: voxels of {by_text(spacing)} mm are impossible (expected {low:g} to {high:g}); does the header "
            "count in another unit?"
        )


def check_axes(affine: np.ndarray, path: Path | str, *, allow_shear: bool = False) -> None:
    """Refuse a grid whose voxels have no size or whose axes are not at right angles.

    Args:
        affine: Voxel to mm in RAS+.
        path: File or case, for the message.
        allow_shear: Refuse the first alone: volumes and overlaps of maps on one grid do not depend on angles.

    Raises:
        GeometryError: Degenerate or sheared axes.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        spacing = spacing_mm(affine)
    if not np.isfinite([*np.ravel(affine), *spacing]).all() or min(spacing) <= 0:
        raise GeometryError(f"{path}: the affine has no valid voxel size {spacing}; correct the header")
    axes = affine[:3, :3] / spacing
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > SHEAR_TOLERANCE and not allow_shear:
        raise GeometryError(
            f"{path}: voxel axes are not at right angles (cosine {cosine:.3g}); resample it to a regular grid"
        )


def affine_from_lps(
    direction: np.ndarray, spacing: Sequence[float] | np.ndarray, origin: Sequence[float] | np.ndarray
) -> np.ndarray:
    """The affine of an image of ITK's kind.

    Args:
        direction: (3, 3), one unit vector per column: how the stored axes run in LPS.
        spacing: Voxel size in mm along the stored axes.
        origin: Centre of the first voxel in LPS, in mm.
    """
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(direction, (3, 3)) * np.asarray(spacing, float)
    affine[:3, 3] = origin
    return RAS_FROM_LPS @ affine


def grid_difference(
    shape_a: Sequence[int], affine_a: np.ndarray, shape_b: Sequence[int], affine_b: np.ndarray
) -> str | None:
    """Say in a few words how two grids differ, or None when they are one within `GRID_TOLERANCE`."""
    if tuple(shape_a) != tuple(shape_b):
        return f"shape {tuple(shape_a)} against {tuple(shape_b)}"
    spacing_a, spacing_b = spacing_mm(affine_a), spacing_mm(affine_b)
    if not np.allclose(spacing_a, spacing_b, rtol=0, atol=GRID_TOLERANCE):
        off = np.abs(np.subtract(spacing_a, spacing_b)).max()
        return f"spacing {by_text(spacing_a)} against {by_text(spacing_b)} mm, {off:.4g} mm apart"
    direction_a, direction_b = affine_a[:3, :3] / spacing_a, affine_b[:3, :3] / spacing_b
    if not np.allclose(direction_a, direction_b, rtol=0, atol=GRID_TOLERANCE):
        angles = np.degrees(np.arccos(np.clip((direction_a * direction_b).sum(axis=0), -1, 1)))
        return f"direction {axis_codes(affine_a)} against {axis_codes(affine_b)}, {angles.max():.4g} degrees apart"
    if not np.allclose(affine_a[:3, 3], affine_b[:3, 3], rtol=0, atol=GRID_TOLERANCE):
        off = np.abs(affine_a[:3, 3] - affine_b[:3, 3]).max()
        return f"origin {by_text(affine_a[:3, 3])} against {by_text(affine_b[:3, 3])} mm, {off:.4g} mm apart"
    return None


def to_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flip and permute the stored axes to the orientation closest to RAS; no voxel changes its place or value.

    Args:
        array: (i, j, k) in any stored order.
        affine: Its affine.

    Returns:
        The array (a view) and its new affine.
    """
    orientation = orientation_of(affine)
    return orientations.apply_orientation(array, orientation), affine @ orientations.inv_ornt_aff(
        orientation, array.shape
    )


def from_ras(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Undo `to_ras`: bring an array in RAS order back to the stored order of an affine.

    Args:
        array: (x, y, z) as `to_ras` returned it.
        affine: The stored array's affine.

    Returns:
        (i, j, k), a view.
    """
    ras = np.array([[0, 1], [1, 1], [2, 1]])
    return orientations.apply_orientation(array, orientations.ornt_transform(ras, orientation_of(affine)))


@dataclass(frozen=True)
class SideEvidence:
    """Where the two sides of a muscle lie, in mm along the patient's left-to-right axis (RAS x)."""

    muscle: str
    right_x_mm: float
    left_x_mm: float

    @property
    def agrees(self) -> bool:
        """Whether the right label lies to the patient's right of the left one."""
        return self.right_x_mm > self.left_x_mm

    def __str__(self) -> str:
        return f"{self.muscle}: right at x = {self.right_x_mm:.1f} mm, left at x = {self.left_x_mm:.1f} mm"


def side_evidence(labels: np.ndarray, affine: np.ndarray, structures: tuple[Structure, ...]) -> list[SideEvidence]:
    """Centroids of each muscle's two sides in the patient.

    Args:
        labels: (i, j, k) canonical label map.
        affine: Its affine.
        structures: The structures that may be present.

    Returns:
        One entry per muscle that has both sides in the map.
    """
    x_mm = centroids_x_mm(labels, affine)
    return [
        SideEvidence(right.muscle.display_name, x_mm[right.label], x_mm[left.label])
        for right, left in side_pairs(structures)
        if right.label in x_mm and left.label in x_mm
    ]


def lone_side_evidence(labels: np.ndarray, affine: np.ndarray, structures: tuple[Structure, ...]) -> list[SideEvidence]:
    """Of muscles labelled on one side only: where that side lies against the other side of the other muscles.

    Args:
        labels: (i, j, k) canonical label map.
        affine: Its affine.
        structures: The structures that may be present.

    Returns:
        One entry per structure whose partner has no voxel; none where the map has labels of one side only.
    """
    x_mm = centroids_x_mm(labels, affine)
    pairs = side_pairs(structures)
    right_x, left_x = ([x_mm[pair[n].label] for pair in pairs if pair[n].label in x_mm] for n in (0, 1))
    if not right_x or not left_x:
        return []
    evidence = []
    for right, left in pairs:
        if right.label in x_mm and left.label not in x_mm:
            name = f"{right.display_name} against the left of other muscles"
            evidence.append(SideEvidence(name, x_mm[right.label], float(np.mean(left_x))))
        elif left.label in x_mm and right.label not in x_mm:
            name = f"{left.display_name} against the right of other muscles"
            evidence.append(SideEvidence(name, float(np.mean(right_x)), x_mm[left.label]))
    return evidence


def check_sides(labels: np.ndarray, affine: np.ndarray, structures: tuple[Structure, ...], name: str) -> None:
    """Refuse a label map in which any muscle's right side lies to the left of its left side.

    Raises:
        LabelError: With the centroids as evidence.
    """
    wrong = [e for e in side_evidence(labels, affine, structures) if not e.agrees]
    if wrong:
        raise LabelError(
            f"{name}: labels contradict the scanner's left and right ({'; '.join(map(str, wrong))}; x grows to the "
            "patient's right); correct the label map or the header"
        )


def centroids_x_mm(labels: np.ndarray, affine: np.ndarray) -> dict[int, float]:
    """Label value -> x of its centroid."""
    values, where = labelled_voxels(labels)
    counts = np.bincount(values)
    sums = [np.bincount(values, weights=index) for index in where]
    return {
        int(value): float(affine[0, :3] @ [total[value] / counts[value] for total in sums] + affine[0, 3])
        for value in np.flatnonzero(counts)
    }


def labelled_voxels(labels: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Values other than 0 and their i, j and k; one pass over the map, in the order in which it lies in memory.

    The places are int32 where that holds them: a large scan has millions.
    """
    order: Literal["F", "C"] = "F" if labels.flags.f_contiguous else "C"
    flat = labels.ravel(order)
    labelled = np.flatnonzero(flat)
    values, rest = flat[labelled], labelled.astype(np.int32 if flat.size < 2**31 else np.int64)
    where: dict[int, np.ndarray] = {}
    for axis in (0, 1) if order == "F" else (2, 1):  # from the one that runs fastest
        where[axis] = rest % labels.shape[axis]
        rest //= labels.shape[axis]
    where[3 - sum(where)] = rest
    return values, (where[0], where[1], where[2])


def by_text(values: Sequence[float] | np.ndarray) -> str:
    """Sizes along the axes as messages have them, e.g. ``'0.39 x 0.39 x 5'``."""
    return " x ".join(f"{v:.4g}" for v in values)
