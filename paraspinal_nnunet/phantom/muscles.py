"""Outlines of the muscles of an average trunk, level by level.

The outlines follow axial scans from the last thoracic to the second sacral vertebra. Points are (x, y) in mm from the
middle of the spinal canal, for the right side, each going once around its muscle; the left side is their mirror image.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.anatomy import Muscle

Points = tuple[tuple[float, float], ...]

LEVELS = (-1.5, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
"""Where outlines are given: T11/T12, L1, ..., L5, S1, S2."""


@dataclass(frozen=True)
class Course:
    """A muscle along the spine.

    Attributes:
        outlines: One per entry of `LEVELS`.
        anchor_mm: The point that stays where it is when the muscle is larger or smaller.
        labelled: First and last level at which it is labelled.
        area_scale: Brings the cohort's mean volume to the paper's.
        fat: Share of fat at the mean age, per entry of `LEVELS`.
    """

    outlines: tuple[Points, ...]
    anchor_mm: tuple[float, float]
    labelled: tuple[float, float]
    area_scale: float
    fat: tuple[float, ...]

    def points(self, index: int) -> np.ndarray:
        """The outline at ``LEVELS[index]`` as a (points, 2) array."""
        return np.array(self.outlines[index], float)

    def fat_share(self, level: float) -> float:
        """Share of fat at a level, at the mean age."""
        return float(np.interp(level, LEVELS, self.fat))


LABELLED = (-0.45, 4.85)

_MULTIFIDUS: tuple[Points, ...] = (
    ((4.5, -12), (10, -12), (13.5, -19), (13.5, -29), (10, -38), (6, -41), (3.8, -33), (3.8, -21)),
    ((4.5, -13), (12, -12), (16.5, -19), (17, -30), (13, -40), (7, -44), (3.8, -35), (3.8, -22)),
    ((4.5, -13), (13, -11), (19.5, -19), (20.5, -31), (15, -43), (8, -48), (4, -38), (4, -23)),
    ((5, -13), (15, -10.5), (23, -19), (24, -33), (18, -47), (9, -52), (4, -41), (4, -24)),
    ((5, -13), (17, -10), (28, -19), (30, -35), (22, -51), (10, -56), (4, -43), (4, -25)),
    ((5, -14), (20, -10), (35, -18), (38, -33), (28, -49), (11, -54), (4, -42), (4, -25)),
    ((6, -17), (22, -14), (40, -19), (44, -30), (32, -43), (11, -46), (4, -37), (4, -26)),
    ((5, -20), (20, -17), (36, -20), (39, -28), (28, -35), (10, -37), (4, -33), (4, -26)),
)

_ERECTOR_SPINAE: tuple[Points, ...] = (
    ((13, -11), (30, -10), (46, -15), (60, -26), (60, -38), (44, -48), (24, -50), (11, -43), (15, -29), (14.5, -18)),
    ((14, -10), (32, -9), (52, -14), (68, -25), (67, -38), (48, -51), (26, -54), (13.5, -48), (18, -31), (17.5, -19)),
    ((17, -9), (34, -6), (54, -11), (74, -23), (73, -39), (52, -53), (28, -56), (15.5, -50), (22, -32), (21, -19)),
    ((21, -8), (37, -4), (56, -10), (76, -23), (75, -39), (54, -54), (32, -58), (18.5, -54), (25.5, -34), (24.5, -18)),
    ((27, -8), (40, -3), (56, -9), (72, -22), (71, -36), (54, -51), (38, -57), (25, -55), (32, -35), (30, -18)),
    ((34, -8), (44, -3), (55, -7), (65, -18), (63, -30), (54, -41), (44, -48), (32, -50), (39.5, -33), (37, -18)),
    ((44, -11), (49, -8), (55, -11), (60, -18), (59, -25), (54, -33), (47, -38), (40, -41), (46, -30), (44.5, -19)),
    ((45, -20), (47, -18), (50, -19), (52, -22), (51, -25), (49, -28), (45, -29), (43, -28), (44, -25), (44, -22)),
)

_PSOAS_MAJOR: tuple[Points, ...] = (
    ((26, 6), (27, 6), (28, 7.5), (28, 9), (27, 10), (26, 10), (25.5, 8)),
    ((26, 4), (30, 5), (33, 11), (33, 18), (30, 23), (27, 20), (26, 12)),
    ((26, -1), (33, 0), (39, 8), (41, 19), (37, 30), (30, 34), (27, 26), (26, 12)),
    ((27, -2), (37, -2), (47, 6), (51, 18), (47, 31), (37, 37), (29, 31), (28, 13)),
    ((29, 2), (40, 0), (53, 7), (60, 20), (57, 34), (45, 42), (34, 37), (30, 20)),
    ((32, 14), (42, 9), (56, 14), (64, 26), (62, 40), (51, 49), (39, 46), (32, 32)),
    ((41, 38), (50, 32), (62, 37), (69, 50), (67, 62), (57, 70), (46, 66), (41, 52)),
    ((50, 58), (58, 53), (68, 57), (74, 68), (72, 78), (64, 84), (55, 81), (50, 70)),
)

_QUADRATUS_LUMBORUM: tuple[Points, ...] = (
    ((36, -3), (44, -3), (52, -6), (58, -11), (57, -14), (50, -12), (43, -9), (37, -8)),
    ((36, 0), (46, 0), (58, -5), (69, -13), (68, -19), (57, -13), (46, -8), (37, -6)),
    ((37, 2), (49, 2), (64, -4), (79, -15), (78, -23), (63, -15), (48, -8), (38, -5)),
    ((41, 5), (54, 6), (70, -1), (86, -13), (85, -22), (69, -14), (53, -7), (42, -4)),
    ((44, 6), (58, 8), (73, 3), (88, -9), (87, -20), (72, -13), (57, -5), (45, -3)),
    ((60, 6), (64, 7), (68, 6), (71, 4), (70, 2), (67, 1), (63, 1), (60, 3)),
    ((64, 5), (65, 5.5), (66, 5), (66.5, 4.5), (66, 4), (65, 4), (64.5, 4), (64, 4.5)),
    ((64, 5), (65, 5.5), (66, 5), (66.5, 4.5), (66, 4), (65, 4), (64.5, 4), (64, 4.5)),
)

COURSES: Mapping[Muscle, Course] = {
    Muscle.MULTIFIDUS: Course(
        _MULTIFIDUS, (3.0, -12.0), LABELLED, 0.835, (0.05, 0.06, 0.08, 0.11, 0.16, 0.22, 0.26, 0.30)
    ),
    Muscle.ERECTOR_SPINAE: Course(
        _ERECTOR_SPINAE, (3.0, -12.0), LABELLED, 0.935, (0.05, 0.05, 0.06, 0.08, 0.12, 0.19, 0.26, 0.35)
    ),
    Muscle.PSOAS_MAJOR: Course(
        _PSOAS_MAJOR, (25.0, 12.0), (0.05, 4.85), 1.29, (0.04, 0.04, 0.03, 0.025, 0.025, 0.03, 0.03, 0.03)
    ),
    Muscle.QUADRATUS_LUMBORUM: Course(
        _QUADRATUS_LUMBORUM, (40.0, 0.0), LABELLED, 1.0, (0.05, 0.05, 0.05, 0.06, 0.08, 0.10, 0.10, 0.10)
    ),
}
"""Fat is worst in multifidus and at the lower levels. Source: Crawford et al., Spine 2019;44:1294-1302."""
