"""Closed outlines that change along the spine, and their distances on a slice.

Lengths are in mm in the frame of the spinal canal: x to the patient's right, y to anterior. Positions along the spine
are levels: 0 is the middle of L1, 4 of L5, 5 of S1, downwards. Slices are (x, y) arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import gaussian_filter

ANGLES = 128
"""Directions in which an outline's radius is tabulated."""

STEP_LEVELS = 0.125
"""Distance of a tube's tabulated outlines, as a share of the distance between two vertebrae."""

FAR_MM = 50.0
"""Distance given to points outside the window in which an outline is evaluated."""

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Section:
    """One outline around a centre from which all of it can be seen.

    Attributes:
        x_mm: Centre.
        y_mm: Centre.
        radii_mm: (ANGLES,) distance of the outline from the centre, from the x axis counter-clockwise.
    """

    x_mm: float
    y_mm: float
    radii_mm: np.ndarray

    @property
    def area_mm2(self) -> float:
        """Area inside the outline."""
        return float((self.radii_mm**2).sum() * np.pi / ANGLES)

    def distance(self, x_mm: np.ndarray, y_mm: np.ndarray, margin_mm: float) -> tuple[Window, np.ndarray]:
        """Signed distance from the outline, negative inside, exact to first order near the outline.

        Args:
            x_mm: (nx,) voxel centres, evenly spaced and growing.
            y_mm: (ny,) likewise.
            margin_mm: How far around the outline to evaluate.

        Returns:
            The window of the slice that was evaluated, and the float32 distances in it.
        """
        reach = float(self.radii_mm.max()) + margin_mm
        window = window_of(x_mm, y_mm, (self.x_mm - reach, self.x_mm + reach), (self.y_mm - reach, self.y_mm + reach))
        dx = (x_mm[window[0], None] - self.x_mm).astype(np.float32)
        dy = (y_mm[None, window[1]] - self.y_mm).astype(np.float32)
        position = np.arctan2(dy, dx) * np.float32(ANGLES / (2 * np.pi)) + np.float32(ANGLES)
        index = position.astype(np.int32)
        part = position - index
        slope = (np.roll(self.radii_mm, -1) - np.roll(self.radii_mm, 1)) * (ANGLES / (4 * np.pi))
        obliquity = 1 / np.sqrt(1 + (slope / self.radii_mm) ** 2)
        radius = np.append(self.radii_mm, self.radii_mm[0]).astype(np.float32)
        index %= ANGLES
        edge = radius[index] + part * np.diff(radius)[index]
        return window, (np.sqrt(dx * dx + dy * dy) - edge) * obliquity.astype(np.float32)[index]


@dataclass(frozen=True)
class Tube:
    """Outlines at evenly spaced levels, interpolated linearly between them.

    Attributes:
        first_level: Level of the first outline.
        centres_mm: (n, 2).
        radii_mm: (n, ANGLES).
    """

    first_level: float
    centres_mm: np.ndarray
    radii_mm: np.ndarray

    @classmethod
    def from_points(cls, levels: Sequence[float], points_mm: Sequence[np.ndarray]) -> "Tube":
        """Draw a smooth outline through the points of each level and interpolate smoothly between the levels.

        Args:
            levels: (n,) growing.
            points_mm: n arrays (points, 2), each going once around its outline.
        """
        tables = np.array([_tabulate(np.asarray(points, float)) for points in points_mm])
        fine = np.arange(levels[0], levels[-1] + STEP_LEVELS / 2, STEP_LEVELS)
        table = PchipInterpolator(levels, tables)(np.minimum(fine, levels[-1]))
        return cls(float(levels[0]), table[:, :2], table[:, 2:])

    def section(self, level: float) -> Section:
        """The outline at a level; the first or last one beyond the ends."""
        position = float(np.clip((level - self.first_level) / STEP_LEVELS, 0, len(self.radii_mm) - 1))
        low = min(int(position), len(self.radii_mm) - 2)
        part = position - low
        x, y = (1 - part) * self.centres_mm[low] + part * self.centres_mm[low + 1]
        return Section(float(x), float(y), (1 - part) * self.radii_mm[low] + part * self.radii_mm[low + 1])

    def jittered(self, sd_mm: float, offset_mm: float, rng: np.random.Generator) -> "Tube":
        """Move the outline in and out by a random field that is smooth around and along the tube.

        Args:
            sd_mm: Standard deviation; less where the outline is small (at most a seventh of its radius).
            offset_mm: Added everywhere.
            rng: Source of the field.
        """
        field = gaussian_filter(
            rng.standard_normal(self.radii_mm.shape), (0.4 / STEP_LEVELS, ANGLES / 20), mode=("nearest", "wrap")
        )
        field /= field.std()
        size = self.radii_mm.mean(axis=1, keepdims=True)
        moved = self.radii_mm + np.minimum(sd_mm, size / 7) * field + np.minimum(offset_mm, size / 7)
        return Tube(self.first_level, self.centres_mm, np.maximum(moved, 0.25 * self.radii_mm))


def ellipse(
    x_mm: np.ndarray, y_mm: np.ndarray, centre_mm: tuple[float, float], half_mm: tuple[float, float], power: float = 2.0
) -> tuple[Window, np.ndarray]:
    """Signed distance (first order) from a superellipse, as `Section.distance` gives it.

    Args:
        x_mm: (nx,) voxel centres.
        y_mm: (ny,) voxel centres.
        centre_mm: Its centre.
        half_mm: Its half axes.
        power: 2 is an ellipse; more is squarer.
    """
    (cx, cy), (a, b) = centre_mm, half_mm
    window = window_of(x_mm, y_mm, (cx - a - 4, cx + a + 4), (cy - b - 4, cy + b + 4))
    dx = np.abs((x_mm[window[0], None] - cx) / a).astype(np.float32)
    dy = np.abs((y_mm[None, window[1]] - cy) / b).astype(np.float32)
    size = (dx**power + dy**power) ** np.float32(1 / power)
    return window, (size - 1) * np.float32(min(a, b))


def capsule(
    x_mm: np.ndarray, y_mm: np.ndarray, start_mm: tuple[float, float], end_mm: tuple[float, float], radius_mm: float
) -> tuple[Window, np.ndarray]:
    """Signed distance from a bar with round ends, as `Section.distance` gives it."""
    (ax, ay), (bx, by) = start_mm, end_mm
    reach = radius_mm + 4
    window = window_of(
        x_mm, y_mm, (min(ax, bx) - reach, max(ax, bx) + reach), (min(ay, by) - reach, max(ay, by) + reach)
    )
    dx = (x_mm[window[0], None] - ax).astype(np.float32)
    dy = (y_mm[None, window[1]] - ay).astype(np.float32)
    length2 = (bx - ax) ** 2 + (by - ay) ** 2
    along = np.clip((dx * (bx - ax) + dy * (by - ay)) / max(length2, 1e-6), 0, 1)
    return window, np.hypot(dx - along * (bx - ax), dy - along * (by - ay)) - np.float32(radius_mm)


def window_of(x_mm: np.ndarray, y_mm: np.ndarray, x_range: tuple[float, float], y_range: tuple[float, float]) -> Window:
    """The part of a slice inside two ranges (mm); empty when they lie outside."""
    return (
        slice(*np.searchsorted(x_mm, x_range).tolist()),
        slice(*np.searchsorted(y_mm, y_range).tolist()),
    )


def _tabulate(points: np.ndarray) -> np.ndarray:
    closed = np.vstack([points, points[:1]])
    chord = np.r_[0, np.cumsum(np.sqrt(np.hypot(*np.diff(closed, axis=0).T)))]  # centripetal: no loops at corners
    curve = CubicSpline(chord, closed, bc_type="periodic")(np.linspace(0, chord[-1], 400, endpoint=False))
    centre = _centroid(curve)
    offset = curve - centre
    angle, radius = np.arctan2(offset[:, 1], offset[:, 0]), np.hypot(*offset.T)
    order = np.argsort(angle)
    wanted = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    return np.r_[centre, np.interp(wanted, angle[order], radius[order], period=2 * np.pi)]


def _centroid(curve: np.ndarray) -> np.ndarray:
    following = np.roll(curve, -1, axis=0)
    cross = curve[:, 0] * following[:, 1] - following[:, 0] * curve[:, 1]
    return ((curve + following) * cross[:, None]).sum(axis=0) / (3 * cross.sum())
