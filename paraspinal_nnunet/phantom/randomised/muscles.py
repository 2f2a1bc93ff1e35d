"""The muscles along the spine: the back muscles' compartment, multifidus in it, psoas and quadratus."""

from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.phantom.muscles import COURSES, LEVELS
from paraspinal_nnunet.phantom.points import between, oval, smooth
from paraspinal_nnunet.phantom.randomised.canvas import Canvas
from paraspinal_nnunet.phantom.randomised.multifidus import ANCHOR, gap_outline, multifidus_outline, oval_outline
from paraspinal_nnunet.phantom.randomised.tissues import Tissue

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
    gap: np.ndarray | None
    psoas: np.ndarray | None
    quadratus: np.ndarray | None


def paint_muscles(canvas: Canvas) -> None:
    """Paint both sides."""
    for side in (0, 1):
        found = outlines(canvas, side)
        if found.quadratus is not None:
            canvas.fill(Tissue.QL_RIGHT + side, found.quadratus)
        if found.compartment is not None:
            if canvas.body.fascia:
                tissue = Tissue.LIGAMENT if canvas.body.fascia > 0 else Tissue.FAT
                canvas.fill(tissue, _grown(found.compartment, abs(canvas.body.fascia)))
            canvas.fill(Tissue.ES_RIGHT + side, found.compartment)
        if found.multifidus is not None:
            inside = canvas.array() == Tissue.ES_RIGHT + side
            canvas.paint(canvas.mask(found.multifidus) & inside, Tissue.MF_RIGHT + side)
        if found.gap is not None:
            inside = canvas.array() == Tissue.MF_RIGHT + side
            canvas.paint(canvas.mask(found.gap) & inside, Tissue.FAT)
        if found.psoas is not None:
            canvas.fill(Tissue.PM_RIGHT + side, found.psoas)


def outlines(canvas: Canvas, side: int) -> Outlines:
    """Where a body's muscles lie, side 0 right and 1 left."""
    body, level = canvas.body, canvas.level
    flip = np.array([1 if side == 0 else -1, 1])
    compartment = multifidus = gap = psoas = quadratus = None
    if level < LAST_BACK_LEVEL:
        scale = np.array([body.width[side], body.depth[side]])
        table = between(COMPARTMENT, COMPARTMENT_LEVELS, level)
        compartment = smooth(ANCHOR + (table - ANCHOR) * scale) * flip
        back = float(table[:, 1].min())
        if body.oval is None:
            inner = multifidus_outline(body.border, level, side, back)
        else:
            inner = oval_outline(body.oval, level, side)
        multifidus = (ANCHOR + (inner - ANCHOR) * scale) * flip
        free = gap_outline(body.border, level, back)
        gap = None if free is None else (ANCHOR + (free - ANCHOR) * scale) * flip
    if PSOAS_LEVELS[0] < level < PSOAS_LEVELS[1]:
        psoas = _psoas(canvas, side) * flip
    if QUADRATUS_LEVELS[0] < level < QUADRATUS_LEVELS[1]:
        points = between(QUADRATUS, LEVELS, level) * body.quadratus[0]
        middle = points.mean(axis=0)
        axis = np.array([0.93, -0.37])
        across = np.array([0.37, 0.93])
        offset = points - middle
        thick = body.quadratus[1] * (1.0 if level < 3 else 1.4)
        points = middle + np.outer(offset @ axis, axis) + np.outer(offset @ across, across) * thick
        quadratus = (points + np.array([0, 2.0 - body.quadratus[2]])) * flip
    return Outlines(compartment, multifidus, gap, psoas, quadratus)


def _psoas(canvas: Canvas, side: int) -> np.ndarray:
    body, level = canvas.body, canvas.level
    points = between(PSOAS, LEVELS, level)
    middle = points.mean(axis=0)
    scale = np.sqrt(1.2 * body.psoas_area[side])
    if body.organs[19] < 0.5:  # rounder than the table
        half = np.ptp(points, axis=0) / 2
        points = (
            0.4 * points
            + 0.6
            * oval(float(middle[0]), float(middle[1]), half[0] * 1.0, half[1] * 0.95, 2.2, len(points))[
                _start_of(points - middle)
            ]
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


def _grown(outline: np.ndarray, by_mm: float) -> np.ndarray:
    offset = outline - outline.mean(axis=0)
    grown: np.ndarray = outline + offset / np.hypot(*offset.T)[:, None] * by_mm
    return grown
