"""From a trunk to a T2-weighted scan: tissues, fat inside the muscles, coil profile and noise."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri

from paraspinal_nnunet.anatomy import Muscle, Side, Structure
from paraspinal_nnunet.phantom.anatomy import FIELD_OF_VIEW_MM, Grid, Trunk
from paraspinal_nnunet.phantom.muscles import COURSES
from paraspinal_nnunet.phantom.organs import bones, organs
from paraspinal_nnunet.phantom.shapes import Window

SIGNAL: Mapping[str, float] = {
    "air": 0.0,
    "fat": 0.80,
    "skin": 0.30,
    "muscle": 0.15,
    "cortex": 0.05,
    "marrow": 0.40,
    "annulus": 0.10,
    "nucleus": 0.45,
    "csf": 1.00,
    "fluid": 0.90,
    "nerve": 0.35,
    "ligament": 0.12,
    "liver": 0.22,
    "spleen": 0.38,
    "kidney": 0.48,
    "medulla": 0.58,
    "vessel_wall": 0.20,
    "flow_void": 0.03,
    "slow_flow": 0.14,
    "bowel_wall": 0.25,
    "stool": 0.35,
    "gas": 0.03,
}
"""Signal of a T2-weighted turbo spin echo, against cerebrospinal fluid."""

MUSCLE_SIGNAL: Mapping[Muscle, float] = {
    Muscle.MULTIFIDUS: 0.165,
    Muscle.ERECTOR_SPINAE: 0.145,
    Muscle.PSOAS_MAJOR: 0.125,
    Muscle.QUADRATUS_LUMBORUM: 0.135,
}

SEPTUM_MM = 0.7
"""Fat between a muscle's outline and its first fibres: two neighbours are parted by twice as much."""

WOBBLE_MM = 0.7
"""Irregularity of the outlines of bones and organs."""

THIN = ("nerve", "fluid", "ligament")
"""Tissues whose shapes are too small for it."""

SUBSLICES_MM = (-1.0, 1.0)
"""Where within its thickness a slice is sampled; a slice is as thick at every number of slices."""

FINE_GRID_MM, BROAD_GRID_MM, SLICE_GRID_MM = 0.8, 2.5, 5.0
"""Steps of the grids on which textures are drawn."""


@dataclass(frozen=True)
class Rendering:
    """A scan in RAS order.

    Attributes:
        image: Int16 (nx, ny, nz).
        fat_fraction: Mean share of fat in the voxels of each labelled muscle, 0 to 1: the fat between its fibres, and
            that around them which lies within its label (`SEPTUM_MM`, and what border voxels share).
    """

    image: np.ndarray
    fat_fraction: dict[Structure, float]


class Texture:
    """A random field of unit variance, fixed in space whatever the voxel size is."""

    def __init__(self, spacing_mm: float, smooth_mm: tuple[float, float, float], rng: np.random.Generator) -> None:
        counts = [int(length / spacing_mm) + 3 for length in FIELD_OF_VIEW_MM[:2]]
        counts.append(int(FIELD_OF_VIEW_MM[2] / SLICE_GRID_MM) + 3)
        steps = (spacing_mm, spacing_mm, SLICE_GRID_MM)
        white = rng.standard_normal(counts, dtype=np.float32)
        field = gaussian_filter(white, [s / step for s, step in zip(smooth_mm, steps, strict=True)], truncate=3)
        self._field = np.ascontiguousarray(np.moveaxis(field / field.std(), 2, 0))
        self._spacing_mm = spacing_mm

    def slice(self, z_mm: float, x_mm: np.ndarray, y_mm: np.ndarray) -> np.ndarray:
        """The field on one slice: float32 (nx, ny)."""
        coarse = _interpolate(self._field, np.array([z_mm]), SLICE_GRID_MM)[0]
        rows = _interpolate(coarse, x_mm, self._spacing_mm)
        return _interpolate(rows.T, y_mm, self._spacing_mm).T


def render(trunk: Trunk, grid: Grid, labels: np.ndarray, rng: np.random.Generator) -> Rendering:
    """Paint a trunk, slice by slice, and pass it through the scanner.

    Args:
        trunk: Geometry.
        grid: Voxels.
        labels: Uint8 (nx, ny, nz) label map of the trunk, RAS: where the fat fraction is taken.
        rng: Source of textures, coil profile and noise.
    """
    painter = _Painter(trunk, grid, rng)
    image = np.empty(grid.shape, np.float32)
    fat_sum, count = np.zeros(256), np.zeros(256, int)
    for k, z in enumerate(grid.axis_mm(2)):
        signal, fat = np.mean([painter.paint(float(z) + offset) for offset in SUBSLICES_MM], axis=0)
        image[..., k] = signal
        flat = labels[..., k].ravel()
        fat_sum += np.bincount(flat, fat.ravel(), 256)
        count += np.bincount(flat, minlength=256)
    fractions = {s: float(fat_sum[s.label] / count[s.label]) for s in trunk.tubes if count[s.label]}
    return Rendering(_scan(image, grid, rng), fractions)


class _Painter:
    def __init__(self, trunk: Trunk, grid: Grid, rng: np.random.Generator) -> None:
        self._trunk, self._grid = trunk, grid
        self._x, self._y = grid.axis_mm(0), grid.axis_mm(1)
        self._edge_mm = max(grid.spacing_mm[0], grid.spacing_mm[1], 0.9)
        self._fine = Texture(FINE_GRID_MM, (0.7, 1.5, 6.0), rng)
        self._broad = Texture(BROAD_GRID_MM, (2.5, 4.5, 12.0), rng)
        self._loops, self._contents = (Texture(BROAD_GRID_MM, (6.0, 6.0, 12.0), rng) for _ in range(2))
        age = trunk.person.age_years - 45
        self._signal = dict(SIGNAL)
        self._signal["marrow"] *= float(np.exp(0.006 * age + 0.06 * rng.standard_normal()))
        self._signal["nucleus"] *= float(np.exp(-0.012 * age + 0.15 * rng.standard_normal()))
        self._signal["stool"] *= float(np.exp(0.3 * rng.standard_normal()))

    def paint(self, z_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Signal and share of fat of every voxel of one slice, float32 (nx, ny)."""
        trunk, person = self._trunk, self._trunk.person
        level = trunk.level(z_mm)
        x0, y0 = trunk.canal_mm(level)
        x, y = self._x - x0, self._y - y0
        streaks, broad = (t.slice(z_mm, self._x, self._y) for t in (self._fine, self._broad))
        wobble = np.float32(WOBBLE_MM) * broad
        fatty = (streaks + broad) / np.float32(np.sqrt(2))
        signal = np.float32(self._signal["fat"]) * (1 + np.float32(0.03) * streaks + np.float32(0.03) * broad)
        canvas = _Canvas(signal, np.ones_like(signal), self._edge_mm)
        self._paint_bowel(canvas, z_mm, x, y, level)
        for shape in (*organs(level, person.skeleton), *bones(level, person.skeleton)):
            window, distance = shape.distance(x, y)
            signal = self._signal[shape.tissue] * (1 + np.float32(0.04) * streaks[window])
            if shape.tissue not in THIN:
                distance = distance + wobble[window]
            canvas.cover(window, distance, signal, opacity=shape.opacity)
        self._paint_muscles(canvas, z_mm, level, fatty, x, y)
        self._paint_outside(canvas, level)
        return canvas.signal, canvas.fat

    def _paint_muscles(
        self, canvas: "_Canvas", z_mm: float, level: float, texture: np.ndarray, x: np.ndarray, y: np.ndarray
    ) -> None:
        for structure, distance in self._trunk.distances(z_mm, self._grid).items():
            window = _window_inside(distance)
            share = COURSES[structure.muscle].fat_share(level) * self._trunk.person.fat
            field = texture[window]
            if structure.muscle is Muscle.MULTIFIDUS:  # fat gathers deep and medial, along the laminae
                outward = x if structure.side is Side.RIGHT else -x
                depth = 1.2 - outward[window[0], None] / 30 + (y[None, window[1]] + 25) / 20
                field = (field + 0.8 * depth) / 1.25
            inside = np.clip((field + ndtri(min(share, 0.6))) / 0.9 + 0.5, 0, 1).astype(np.float32)
            fibres = np.float32(MUSCLE_SIGNAL[structure.muscle]) * (1 + np.float32(0.16) * texture[window])
            signal = fibres + inside * (np.float32(0.92 * self._signal["fat"]) - fibres)
            canvas.cover(window, distance[window] + np.float32(SEPTUM_MM), signal, inside)

    def _paint_bowel(self, canvas: "_Canvas", z_mm: float, x: np.ndarray, y: np.ndarray, level: float) -> None:
        loops, contents = (t.slice(z_mm, self._x, self._y) for t in (self._loops, self._contents))
        wall = np.clip((loops + 0.1) / 0.2, 0, 1)
        lumen = np.clip((loops - 0.3) / 0.2, 0, 1)
        inner = np.where(contents < -0.9, self._signal["gas"], 0.35 + 0.25 * np.tanh(contents))
        signal = self._signal["bowel_wall"] + lumen * (inner - self._signal["bowel_wall"])
        front = 62 + 0.0025 * x[:, None] ** 2 - 8 * min(level, 3.0)
        opacity = wall * np.clip((y[None, :] - front + 4 * contents) / 5 + 0.5, 0, 1)
        canvas.cover_share((slice(None), slice(None)), opacity, signal)

    def _paint_outside(self, canvas: "_Canvas", level: float) -> None:
        x = self._x - self._trunk.canal_mm(level)[0]
        furrow = 3.5 * np.exp(-((x / 9) ** 2))
        skin = self._trunk.skin_mm(level) + furrow + x**2 / 620
        depth = (skin[:, None] - self._y[None, :]).astype(np.float32)  # grows out of the body
        window = (slice(None), slice(None))
        canvas.cover(window, np.abs(depth + 1) - 1, np.full_like(depth, self._signal["skin"]))
        canvas.cover(window, -depth, np.full_like(depth, self._signal["air"]))


@dataclass(frozen=True)
class _Canvas:
    """One slice that tissues are painted on, the later ones over the earlier ones.

    Attributes:
        signal: Float32 (nx, ny).
        fat: Float32 (nx, ny), share of fat.
        edge_mm: Over how many mm the border of a shape fades.
    """

    signal: np.ndarray
    fat: np.ndarray
    edge_mm: float

    def cover(
        self,
        window: Window,
        distance: np.ndarray,
        signal: np.ndarray,
        fat: np.ndarray | float = 0.0,
        *,
        opacity: float = 1.0,
    ) -> None:
        """Paint a shape, given by its distance in mm that is negative inside, with its signal and its share of fat."""
        share = np.clip(np.float32(0.5) - distance / np.float32(self.edge_mm), 0, 1) * np.float32(opacity)
        self.cover_share(window, share, signal, fat)

    def cover_share(self, window: Window, share: np.ndarray, signal: np.ndarray, fat: np.ndarray | float = 0.0) -> None:
        """Paint over the share of each voxel that a tissue fills."""
        for canvas, value in ((self.signal, signal), (self.fat, fat)):
            part = canvas[window]
            part += (share * (value - part)).astype(np.float32)


def _scan(signal: np.ndarray, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Coil profile, blur of the acquisition, Rician noise and a scale of its own, as int16."""
    x, y, z = (grid.axis_mm(a)[tuple(slice(None) if b == a else None for b in range(3))] / 100 for a in range(3))
    tilt = 0.12 * rng.standard_normal(4)
    profile = np.exp(-(0.28 + tilt[0]) * y + tilt[1] * x + tilt[2] * z + 0.3 * tilt[3] * x * y).astype(np.float32)
    signal = gaussian_filter(signal, (0.35 / grid.spacing_mm[0], 0.35 / grid.spacing_mm[1], 0), truncate=3) * profile
    sd = np.float32(rng.uniform(0.012, 0.025))
    real = signal + sd * rng.standard_normal(grid.shape, dtype=np.float32)
    imaginary = sd * rng.standard_normal(grid.shape, dtype=np.float32)
    scale = np.float32(np.exp(rng.uniform(np.log(300), np.log(2500))))
    return np.minimum(np.rint(scale * np.hypot(real, imaginary)), np.iinfo(np.int16).max).astype(np.int16)


def _interpolate(values: np.ndarray, position_mm: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Linear interpolation along the first axis of a float32 grid that lies around 0."""
    place = np.clip(position_mm / spacing_mm + (len(values) - 1) / 2, 0, len(values) - 1.001)
    low = place.astype(int)
    part = (place - low).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return values[low] * (1 - part) + values[low + 1] * part


def _window_inside(distance: np.ndarray) -> Window:
    """The smallest window that holds the outline and its blurred rim."""
    near = distance < 3
    bounds = []
    for axis in (1, 0):
        hits = np.flatnonzero(near.any(axis=axis))
        bounds.append(slice(int(hits[0]), int(hits[-1]) + 1) if len(hits) else slice(0, 0))
    return bounds[0], bounds[1]
