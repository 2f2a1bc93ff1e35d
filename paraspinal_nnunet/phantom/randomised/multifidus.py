"""Where multifidus ends and erector spinae begins: a border drawn across the back muscles' compartment.

From L1 to S1 multifidus grows wider, and its border, which leans towards the midline behind at the upper levels, stands
upright at L5 and leans outwards on the sacrum; above L4 erector spinae closes behind it, below it meets the fascia.
In some scans it is rather seen as an oval that lies within erector spinae: the other idea of it that is drawn here.
"""

from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.phantom.muscles import COURSES, LEVELS
from paraspinal_nnunet.phantom.points import between, smooth

ANCHOR = np.array([3.0, -12.0])
"""The point of the back muscles' compartment that stays where it is, whatever their size."""

DEEP_X_MM = (12.5, 15.0, 18.0, 21.0, 24.5, 29.0, 33.0, 33.0)
"""Where the border begins at the deep face, from the midline, at `LEVELS`."""

BACK_OVER_DEEP = (0.55, 0.58, 0.62, 0.68, 0.82, 1.0, 1.25, 1.3)
"""How far from the midline it ends behind, against that, at `LEVELS`."""

BOW = 0.22
"""How far it bows outwards half way, against where it begins."""

FRONT_Y_MM = -11.0
WASTES_BELOW = 6.0
"""Level from which multifidus becomes narrow."""


@dataclass(frozen=True)
class Border:
    """One person's border. Pairs are values at L1 and S1.

    Attributes:
        width: Of multifidus against the average.
        sides: The same for (right, left), on top of it.
        lean: Added to `BACK_OVER_DEEP`.
        bow: Added to `BOW`.
        reach: How far back multifidus goes where erector spinae covers it, and where it does not; 1 is the fascia.
        covered: Level above which erector spinae covers it.
        blunt: Exponent of its end: large is square.
        gap_mm: Fat between multifidus and the spinous process at the lower levels that no label counts in.
    """

    width: tuple[float, float]
    sides: tuple[float, float]
    lean: tuple[float, float]
    bow: float
    reach: tuple[float, float]
    covered: float
    blunt: float
    gap_mm: float


OVALS = np.array([smooth(np.array(p, float)) for p in COURSES[Muscle.MULTIFIDUS].outlines])
"""Outlines of an average oval multifidus at `LEVELS`."""


@dataclass(frozen=True)
class Oval:
    """One person's multifidus where it is an oval. Pairs are values at L1 and S1, against the average.

    Attributes:
        width: Across.
        depth: From front to back.
        sides: Width of (right, left), on top of it.
    """

    width: tuple[float, float]
    depth: tuple[float, float]
    sides: tuple[float, float]


def draw_oval(rng: np.random.Generator) -> Oval:
    """Draw one person's."""
    asymmetry = float(rng.normal(0, 0.05))
    return Oval(
        width=(_around(rng, 1.02, 0.24), _around(rng, 1.02, 0.17)),
        depth=(float(rng.uniform(0.5, 1.05)), float(rng.uniform(0.92, 1.25))),
        sides=(float(np.exp(asymmetry)), float(np.exp(-asymmetry))),
    )


def oval_outline(oval: Oval, level: float, side: int) -> np.ndarray:
    """Outline of an oval multifidus that is to be cut by that of the compartment.

    Args:
        oval: The person's.
        level: 0 is the middle of L1, 5 of S1.
        side: 0 right, 1 left; the outline is that of a right one.

    Returns:
        (n, 2) mm in the frame of an average body.
    """
    part = float(np.clip(level / 5, -0.3, 1.2))
    width, depth = (first + part * (last - first) for first, last in (oval.width, oval.depth))
    taper = 1 - 0.6 * max(level - WASTES_BELOW, 0)
    own = np.array([width * oval.sides[side] * taper, depth * taper])
    outline: np.ndarray = ANCHOR + (between(OVALS, LEVELS, level) - ANCHOR) * own + (-1.5, 1.0)
    return outline


def draw_border(rng: np.random.Generator) -> Border:
    """Draw one person's."""
    asymmetry = float(rng.normal(0, 0.05))
    return Border(
        width=(_around(rng, 1.0, 0.2), _around(rng, 1.0, 0.18)),
        sides=(float(np.exp(asymmetry)), float(np.exp(-asymmetry))),
        lean=(float(rng.normal(0, 0.18)), float(rng.normal(0, 0.2))),
        bow=float(rng.normal(0, 0.1)),
        reach=(float(rng.uniform(0.6, 1.02)), float(rng.uniform(1.0, 1.3))),
        covered=float(rng.normal(2.8, 0.7)),
        blunt=float(rng.uniform(2.5, 8)),
        gap_mm=float(rng.uniform(2, 12)) if rng.random() < 0.25 else 0.0,
    )


def multifidus_outline(border: Border, level: float, side: int, back_y_mm: float) -> np.ndarray:
    """Outline of multifidus that is to be cut by that of the compartment.

    Args:
        border: The person's.
        level: 0 is the middle of L1, 5 of S1.
        side: 0 right, 1 left; the outline is that of a right one.
        back_y_mm: The compartment's hindmost point.

    Returns:
        (n, 2) mm in the frame of an average body.
    """
    part = float(np.clip(level / 5, -0.3, 1.2))
    width = (border.width[0] + part * (border.width[1] - border.width[0])) * border.sides[side]
    deep = width * float(np.interp(level, LEVELS, DEEP_X_MM)) * (1 - 0.6 * max(level - WASTES_BELOW, 0))
    lean = border.lean[0] + part * (border.lean[1] - border.lean[0])
    back = deep * max(float(np.interp(level, LEVELS, BACK_OVER_DEEP)) + lean, 0.25)
    free = float(np.clip((level - border.covered) / 1.2 + 0.5, 0, 1))
    end_y = FRONT_Y_MM + (border.reach[0] + free * (border.reach[1] - border.reach[0])) * (back_y_mm - FRONT_Y_MM)
    s = np.linspace(0, 1, 32)
    x = deep + (back - deep) * s + 4 * (BOW + border.bow) * deep * s * (1 - s)
    x = x * (1 - s**border.blunt) ** (1 / 2.2)
    y = FRONT_Y_MM + (end_y - FRONT_Y_MM) * s
    before, behind = [(-6.0, 8.0), (deep, 8.0)], [(-6.0, end_y)]
    return np.vstack([before, np.stack([x, y], 1), behind])


def gap_outline(border: Border, level: float, back_y_mm: float) -> np.ndarray | None:
    """Outline of the fat between multifidus and the spinous process; None where there is none."""
    wide = border.gap_mm * float(np.clip((level - 2.6) / 1.2, 0, 1))
    if wide < 1:
        return None
    low = FRONT_Y_MM + 0.8 * (back_y_mm - FRONT_Y_MM)
    return np.array([(-2, 4), (4 + wide, 4), (4 + wide, FRONT_Y_MM - 6), (4 + 0.4 * wide, low), (-2, low - 4)], float)


def _around(rng: np.random.Generator, mean: float, log_sd: float) -> float:
    return float(mean * np.exp(np.clip(rng.standard_normal(), -2.5, 2.5) * log_sd))
