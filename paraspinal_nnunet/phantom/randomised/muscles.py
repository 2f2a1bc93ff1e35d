"""The muscles along the spine: the back muscles' compartment, multifidus in it, psoas and quadratus, and their fat."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, zoom
from scipy.special import ndtri

from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.phantom.muscles import COURSES, LEVELS
from paraspinal_nnunet.phantom.randomised.canvas import SHAPE, X_MM, Y_MM, Canvas, oval, smooth
from paraspinal_nnunet.phantom.randomised.tissues import Tissue

ANCHOR = np.array([3.0, -12.0])
"""The point of the back muscles' compartment that stays where it is, whatever their size."""

COMPARTMENT = np.array(
    (
        (
            (4.5, -12),
            (12, -11),
            (24, -10),
            (36, -11),
            (48, -15),
            (61, -28),
            (58, -40),
            (44, -49),
            (24, -50),
            (7, -44),
            (3.8, -28),
        ),
        (
            (4.5, -13),
            (14, -11),
            (24, -9.5),
            (38, -9),
            (54, -13),
            (69, -28),
            (66, -41),
            (48, -52),
            (26, -54),
            (7, -47),
            (3.8, -30),
        ),
        (
            (4.5, -13),
            (15, -11),
            (26, -8),
            (40, -7),
            (56, -11),
            (75, -28),
            (72, -42),
            (52, -54),
            (28, -57),
            (8, -50),
            (4, -30),
        ),
        (
            (5, -13),
            (16, -10),
            (28, -6),
            (40, -4),
            (58, -10),
            (77, -28),
            (74, -42),
            (54, -55),
            (31, -59),
            (9, -54),
            (4, -32),
        ),
        (
            (5, -13),
            (18, -10),
            (30, -6),
            (42, -3),
            (57, -8),
            (73, -25),
            (70, -38),
            (54, -52),
            (36, -58),
            (10, -57),
            (4, -34),
        ),
        (
            (5, -14),
            (20, -10),
            (32, -7),
            (44, -3),
            (56, -7),
            (66, -20),
            (62, -30),
            (51, -40),
            (34, -51),
            (11, -54),
            (4, -34),
        ),
        (
            (6, -17),
            (22, -14),
            (36, -12),
            (48, -9),
            (56, -12),
            (61, -20),
            (58, -25),
            (49, -31),
            (34, -43),
            (11, -46),
            (4, -32),
        ),
        (
            (5, -20),
            (18, -18),
            (30, -17),
            (40, -18),
            (47, -19),
            (52, -23),
            (50, -27),
            (44, -31),
            (30, -35),
            (10, -37),
            (4, -29),
        ),
        (
            (5, -20),
            (12, -19),
            (18, -19),
            (22, -20),
            (25, -21),
            (27, -23),
            (26, -25),
            (23, -27),
            (16, -29),
            (8, -30),
            (4, -26),
        ),
    ),
    float,
)
"""Right outline of multifidus and erector spinae together at `LEVELS` and S3; mm around the canal."""

COMPARTMENT_LEVELS = (*LEVELS, 7.2)

MULTIFIDUS = np.array([smooth(np.array(p, float)) for p in COURSES[Muscle.MULTIFIDUS].outlines])
PSOAS = np.array([smooth(np.array(p, float)) for p in COURSES[Muscle.PSOAS_MAJOR].outlines])
QUADRATUS = np.array([smooth(np.array(p, float)) for p in COURSES[Muscle.QUADRATUS_LUMBORUM].outlines])

PSOAS_LEVELS = (-0.25, 7.5)
QUADRATUS_LEVELS = (-0.6, 3.9)
LAST_BACK_LEVEL = 6.8
"""Where the muscles begin and end; the back muscles have no upper end in what is drawn."""


@dataclass(frozen=True)
class Outlines:
    """Right or left outlines of one slice in the frame of the spine, (n, 2) mm each; None where there is none."""

    compartment: np.ndarray | None
    multifidus: np.ndarray | None
    psoas: np.ndarray | None
    quadratus: np.ndarray | None


def paint_muscles(canvas: Canvas) -> None:
    """Paint both sides."""
    for side in (0, 1):
        found = outlines(canvas, side)
        if found.quadratus is not None:
            canvas.fill(Tissue.QL_RIGHT + side, found.quadratus)
        if found.compartment is not None:
            canvas.fill(Tissue.LIGAMENT, _grown(found.compartment, 0.9 + 0.9 * canvas.body.organs[18]))
            canvas.fill(Tissue.ES_RIGHT + side, found.compartment)
        if found.multifidus is not None:
            inside = canvas.array() == Tissue.ES_RIGHT + side
            canvas.paint(canvas.mask(found.multifidus) & inside, Tissue.MF_RIGHT + side)
        if found.psoas is not None:
            canvas.fill(Tissue.PM_RIGHT + side, found.psoas)


def outlines(canvas: Canvas, side: int) -> Outlines:
    """Where a body's muscles lie, side 0 right and 1 left."""
    body, level = canvas.body, canvas.level
    flip = np.array([1 if side == 0 else -1, 1])
    part = float(np.clip(level / 5, -0.3, 1.2))
    compartment = multifidus = psoas = quadratus = None
    if level < LAST_BACK_LEVEL:
        scale = np.array([body.width[side], body.depth[side]])
        points = ANCHOR + (_between(COMPARTMENT, COMPARTMENT_LEVELS, level) - ANCHOR) * scale
        compartment = smooth(points) * flip
        wide = body.multifidus_width[0] + part * (body.multifidus_width[1] - body.multifidus_width[0])
        deep = body.multifidus_depth[0] + part * (body.multifidus_depth[1] - body.multifidus_depth[0])
        inner = _between(MULTIFIDUS, LEVELS, level)
        taper = 1 - 0.6 * max(level - 6, 0)
        own = np.array([body.width[side] * wide * taper, body.depth[side] * deep * taper])
        multifidus = (ANCHOR + (inner - ANCHOR) * own + (-1.5, 1.0)) * flip
    if PSOAS_LEVELS[0] < level < PSOAS_LEVELS[1]:
        psoas = _psoas(canvas, side) * flip
    if QUADRATUS_LEVELS[0] < level < QUADRATUS_LEVELS[1]:
        points = _between(QUADRATUS, LEVELS, level) * body.quadratus[0]
        middle = points.mean(axis=0)
        axis = np.array([0.93, -0.37])
        across = np.array([0.37, 0.93])
        offset = points - middle
        thick = body.quadratus[1] * (1.0 if level < 3 else 1.4)
        points = middle + np.outer(offset @ axis, axis) + np.outer(offset @ across, across) * thick
        quadratus = (points + (0, 2.0)) * flip
    return Outlines(compartment, multifidus, psoas, quadratus)


def _psoas(canvas: Canvas, side: int) -> np.ndarray:
    body, level = canvas.body, canvas.level
    points = _between(PSOAS, LEVELS, level)
    middle = points.mean(axis=0)
    scale = np.sqrt(1.2 * body.psoas_area[side])
    if body.organs[19] < 0.5:  # rounder than the table
        half = np.ptp(points, axis=0) / 2
        points = (
            0.4 * points
            + 0.6 * oval(*middle, half[0] * 1.0, half[1] * 0.95, 2.2, len(points))[_start_of(points - middle)]
        )
    c, s = np.cos(body.psoas_turn), np.sin(body.psoas_turn)
    offset = (points - middle) @ np.array([[c, s], [-s, c]]) * scale
    offset *= (np.sqrt(body.psoas_aspect), 1 / np.sqrt(body.psoas_aspect))
    grown = middle[0] + max(scale - 1, 0) * 12 + body.psoas_shift[0], middle[1] + body.psoas_shift[1]
    placed: np.ndarray = offset + grown
    return placed


def _start_of(offset: np.ndarray) -> np.ndarray:
    """Order in which an oval's points follow those of an outline of as many points."""
    count = len(offset)
    angle = np.arctan2(offset[:, 1], offset[:, 0]) % (2 * np.pi)
    index: np.ndarray = np.rint(angle / (2 * np.pi) * count).astype(int) % count
    return index


def fat_share(canvas: Canvas, tissue: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of fat inside the muscles: float32 (rows, columns), 0 elsewhere.

    Streaks along no direction of their own, more in multifidus and at the lower levels, deep and medial before
    elsewhere; a sheet between multifidus and erector spinae; and fat that fills what a wasted muscle has left.
    """
    body, level = canvas.body, canvas.level
    gradient = float(np.exp(0.28 * (np.clip(level, -1.5, 6) - 2)))
    fine, broad = _streaks(rng, 1.0, 1.6), _streaks(rng, 4.0, 4.0)
    texture = (fine + broad) / np.float32(np.sqrt(2))
    share = np.zeros(SHAPE, np.float32)
    for muscle, factor in (
        (Tissue.MF_RIGHT, 1.6),
        (Tissue.ES_RIGHT, 1.1),
        (Tissue.PM_RIGHT, 0.3),
        (Tissue.QL_RIGHT, 0.5),
    ):
        for side in (0, 1):
            place = tissue == muscle + side
            if not place.any():
                continue
            mean = min(body.fat * factor * gradient, 0.75)
            field = texture[place]
            if muscle == Tissue.MF_RIGHT:
                x, y = _coordinates(place)
                field = (field + 0.8 * (1.0 - np.abs(x) / 30 + (y + 28) / 20)) / 1.25
            share[place] = np.clip((field + ndtri(mean)) / 0.9 + 0.5, 0, 1)
    for side in (0, 1):
        _add_sheets(canvas, tissue, share, side, fine)
    return share


def _add_sheets(canvas: Canvas, tissue: np.ndarray, share: np.ndarray, side: int, fine: np.ndarray) -> None:
    body, level = canvas.body, canvas.level
    inner, outer = tissue == Tissue.MF_RIGHT + side, tissue == Tissue.ES_RIGHT + side
    if not inner.any() or not outer.any():
        return
    rows, columns = np.where(inner | outer)
    window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    a = gaussian_filter(inner[window].astype(np.float32), 2.0)
    b = gaussian_filter(outer[window].astype(np.float32), 2.0)
    thick = body.septum * (0.5 + 0.2 * max(level, 0))
    between = np.clip((4 * a * b - 1.02 + 0.12 * thick) * 8 + 0.3 * fine[window], 0, 1) * min(thick, 1.0)
    both = inner[window] | outer[window]
    share[window] = np.where(both, np.maximum(share[window], between), share[window])
    deep = body.deep_fat[side] * (0.3 + 0.25 * max(level, 0))
    if deep > 1:
        x, y = np.meshgrid(X_MM[window[1]], Y_MM[window[0]])
        edge = -13.0 * body.size - deep + 2 * fine[window] - 0.15 * np.abs(x)
        near = np.clip((y - edge) / 2 + 0.5, 0, 1) * (np.abs(x) < 34)
        share[window] = np.where(both, np.maximum(share[window], near), share[window])


def _coordinates(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.where(place)
    return X_MM[columns], Y_MM[rows]


def _streaks(rng: np.random.Generator, across_mm: float, along_mm: float) -> np.ndarray:
    step = 1 if across_mm < 2 else 2
    small = rng.standard_normal((SHAPE[0] // (2 * step) + 1, SHAPE[1] // step + 1), dtype=np.float32)
    small = gaussian_filter(small, (along_mm / (2 * step), across_mm / step), truncate=3)
    big: np.ndarray = zoom(small / small.std(), (2 * step, step), order=1)
    rows = np.zeros(SHAPE, np.float32)
    rows[:] = big[: SHAPE[0], : SHAPE[1]]
    return rows


def _between(table: np.ndarray, levels: tuple[float, ...], level: float) -> np.ndarray:
    """A table's outline at a level; the first or last one beyond its ends."""
    place = float(np.interp(level, levels, np.arange(len(levels))))
    low = min(int(place), len(levels) - 2)
    found: np.ndarray = table[low] + (place - low) * (table[low + 1] - table[low])
    return found


def _grown(outline: np.ndarray, by_mm: float) -> np.ndarray:
    offset = outline - outline.mean(axis=0)
    grown: np.ndarray = outline + offset / np.hypot(*offset.T)[:, None] * by_mm
    return grown
