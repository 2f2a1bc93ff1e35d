"""From the places of slices to one grid, or to a sentence that says why there is none."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from paraspinal_nnunet.dicom.packages import get_highdicom
from paraspinal_nnunet.dicom.records import Frame
from paraspinal_nnunet.dicom.splitting import ORIENTATION_TOLERANCE, POSITION_TOLERANCE_MM, SPACING_TOLERANCE
from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.image_io.geometry import RAS_FROM_LPS, SHEAR_TOLERANCE

SPACING_RATIO_TOLERANCE = 0.01
"""Distances of slices may differ by this share, as highdicom's `get_volume_positions` has it: positions are stored
with few digits."""

IN_PLANE_TOLERANCE_MM = 0.1
"""A slice that lies off the line of the others by more was moved."""

UNIT_TOLERANCE = 1e-3
"""Direction cosines are unit vectors at right angles within this."""

_LISTED = 3
_AXES = "xyz"


@dataclass(frozen=True)
class SliceGrid:
    """Slices in order and the grid that they make.

    Attributes:
        frames: Sorted along the normal (rows x columns) of the slices.
        affine: (4, 4) voxel (column, row, slice) to mm in RAS+.
        spacing_mm: Voxel size along columns, rows, slices.
    """

    frames: tuple[Frame, ...]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along column index, row index and slice index."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)


def slice_grid(frames: Sequence[Frame], name: str) -> SliceGrid:
    """Sort slices by their place along the normal and check that they make one regular grid.

    Neither file names nor instance numbers are looked at.

    Args:
        frames: The slices of one stack, in any order.
        name: The series, for messages.

    Raises:
        GeometryError: Headers without geometry, slices of several sizes, spacings or orientations, a single slice,
            slices missing, twice or at unequal distances, or a stack that leans.
    """
    _check_present(frames, name)
    _check_alike(frames, name)
    first = frames[0]
    if len(frames) == 1:
        raise GeometryError(f"{name}: is a single slice ({first.shown}); a stack of slices is needed")
    frames = with_one_geometry(frames)
    first = frames[0]
    orientation = np.array(first.orientation)
    _check_axes(orientation, name)
    normal = np.cross(orientation[:3], orientation[3:])
    places = np.array([f.position_mm for f in frames]) @ normal
    ordered = tuple(frames[n] for n in np.argsort(places, kind="stable"))
    positions = np.array([f.position_mm for f in ordered])
    _check_distances(ordered, positions, normal, name)
    _check_line(ordered, positions, normal, name)
    return SliceGrid(ordered, _affine(positions, first, name))


def with_one_geometry(frames: Sequence[Frame]) -> list[Frame]:
    """Slices whose orientations and spacings differ by rounding, with the values of most digits for all."""
    orientation, spacing = (
        _most_precise([v for f in frames if (v := getattr(f, name)) is not None])
        for name in ("orientation", "pixel_spacing_mm")
    )
    if all(f.orientation == orientation and f.pixel_spacing_mm == spacing for f in frames):
        return list(frames)
    return [replace(f, orientation=orientation, pixel_spacing_mm=spacing) for f in frames]


def _most_precise(values: Sequence[tuple[float, ...]]) -> tuple[float, ...] | None:
    """Of several values the one with most digits; of these the most frequent."""
    counts = Counter(values)
    return max(counts, key=lambda v: (sum(len(f"{n:.12g}") for n in v), counts[v])) if counts else None


def _affine(positions: np.ndarray, first: Frame, name: str) -> np.ndarray:
    """The affine by highdicom, with the mean distance of the slices, in RAS+."""
    highdicom = get_highdicom()
    spacing, _ = highdicom.spatial.get_volume_positions(
        positions, first.orientation, rtol=SPACING_RATIO_TOLERANCE * 2, perpendicular_tol=SHEAR_TOLERANCE
    )
    if spacing is None:
        raise GeometryError(f"{name}: the slices make no regular grid; export it again")
    mean_mm = float(np.linalg.norm(positions[-1] - positions[0])) / (len(positions) - 1)
    lps = highdicom.spatial.create_affine_matrix_from_attributes(
        image_position=list(positions[0]),
        image_orientation=first.orientation,
        pixel_spacing=first.pixel_spacing_mm,
        spacing_between_slices=mean_mm,
        index_convention="RD",
    )
    return RAS_FROM_LPS @ lps


def _check_present(frames: Sequence[Frame], name: str) -> None:
    for attribute, keyword in (
        ("position_mm", "ImagePositionPatient"),
        ("orientation", "ImageOrientationPatient"),
        ("pixel_spacing_mm", "PixelSpacing"),
    ):
        without = [f for f in frames if getattr(f, attribute) is None]
        if without:
            raise GeometryError(
                f"{name}: {len(without)} of {len(frames)} slices have no valid {keyword} (first: {without[0].shown}), "
                "so their place is unknown; export the original series"
            )
    if any(min(f.pixel_spacing_mm or (0,)) <= 0 for f in frames):
        raise GeometryError(f"{name}: PixelSpacing is not positive; export the original series")


def _check_alike(frames: Sequence[Frame], name: str) -> None:
    sizes = sorted({f"{f.columns} x {f.rows}" for f in frames})
    if len(sizes) > 1:
        raise GeometryError(f"{name}: mixes slices of {_listed(sizes)} voxels; choose one part of the series")
    spacing = np.array([f.pixel_spacing_mm for f in frames])
    if np.ptp(np.log(spacing), axis=0).max() > 2 * SPACING_TOLERANCE:
        mixed = sorted({f"{row:.4g} x {column:.4g}" for row, column in spacing})
        raise GeometryError(f"{name}: mixes pixels of {_listed(mixed)} mm; choose one part of the series")
    orientation = np.array([f.orientation for f in frames])
    other = np.abs(orientation - orientation[0]).max(axis=1) > 2 * ORIENTATION_TOLERANCE
    if other.any():
        raise GeometryError(
            f"{name}: {int(other.sum())} of {len(frames)} slices stand in another orientation than the first; choose "
            "one part of the series"
        )


def _check_axes(orientation: np.ndarray, name: str) -> None:
    row, column = orientation[:3], orientation[3:]
    faults = abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)
    if max(faults) > UNIT_TOLERANCE:
        raise GeometryError(
            f"{name}: ImageOrientationPatient {tuple(np.round(orientation, 4).tolist())} does not hold two unit "
            "vectors at right angles; export the original series"
        )


def _check_distances(frames: Sequence[Frame], positions: np.ndarray, normal: np.ndarray, name: str) -> None:
    distances = np.diff(positions @ normal)
    axis = int(np.argmax(np.abs(normal)))

    def at(n: int) -> str:
        return f"{positions[n][axis]:.1f}"

    double = np.flatnonzero(distances < POSITION_TOLERANCE_MM)
    if len(double):
        first = int(double[0])
        raise GeometryError(
            f"{name}: {len(double)} slices lie where another does, e.g. at {_AXES[axis]} = {at(first)} mm "
            f"({frames[first].shown} and {frames[first + 1].shown}); keep one of each"
        )
    step = _common_step(distances, frames[0].header.slice_distance_mm, frames[0].header.slice_thickness_mm)
    steps = distances / step
    whole = np.rint(steps)
    tolerance = SPACING_RATIO_TOLERANCE * np.maximum(whole, 1) + POSITION_TOLERANCE_MM / step
    if np.any(np.abs(steps - whole) > tolerance):
        worst = int(np.argmax(np.abs(steps - whole)))
        raise GeometryError(
            f"{name}: slices are unequally spaced, {distances.min():.2f} to {distances.max():.2f} mm (e.g. "
            f"{distances[worst]:.2f} mm between {_AXES[axis]} = {at(worst)} and {at(worst + 1)} mm); export it again"
        )
    gaps = [int(n) for n in np.flatnonzero(whole > 1)]
    if gaps:
        missing = int(whole.sum()) - len(whole)
        where = [f"{_AXES[axis]} = {at(n)} and {at(n + 1)} mm" for n in gaps]
        noun = "slice" if missing == 1 else f"{missing} slices"
        raise GeometryError(f"{name}: {noun} missing between {_listed(where)}; copy the whole series")


def _common_step(distances: np.ndarray, stored_mm: float | None, thickness_mm: float | None) -> float:
    """The distance of neighbours: the smallest one, or the header's where all found are whole multiples of it.

    A header's distance below the thickness is the gap, which some writers give in its place.
    """
    smallest = float(np.median(distances[distances <= distances.min() * (1 + 2 * SPACING_RATIO_TOLERANCE)]))
    if stored_mm and stored_mm > 0.99 * (thickness_mm or 0):
        ratio = smallest / stored_mm
        if round(ratio) > 1 and abs(ratio - round(ratio)) < SPACING_RATIO_TOLERANCE * ratio:
            return smallest / round(ratio)
    return smallest


def _check_line(frames: Sequence[Frame], positions: np.ndarray, normal: np.ndarray, name: str) -> None:
    along = positions - positions[0]
    beside = along - np.outer(along @ normal, normal)
    height = float(along[-1] @ normal)
    lean = float(np.linalg.norm(beside[-1]))
    steady = np.linalg.norm(beside - np.outer((along @ normal) / height, beside[-1]), axis=1)
    if steady.max() > IN_PLANE_TOLERANCE_MM:
        moved = int(np.argmax(steady))
        raise GeometryError(
            f"{name}: {frames[moved].shown} lies {steady[moved]:.1f} mm beside the line of the other slices; the "
            "slices make no regular grid"
        )
    if lean / height > SHEAR_TOLERANCE:
        raise GeometryError(
            f"{name}: the stack leans by {np.degrees(np.arctan2(lean, height)):.1f} degrees against the normal of its "
            "slices (as with a tilted gantry); resample it to a regular grid"
        )


def _listed(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:_LISTED])
    return shown if len(texts) <= _LISTED else f"{shown} and {len(texts) - _LISTED} more"
