"""What lies around the muscles: bones, discs, canal, vessels, kidneys, bowel, liver, abdominal wall, as painted shapes.

All lengths are mm in the frame of the spinal canal, see `paraspinal_nnunet.phantom.shapes`. Shapes are listed in the
order in which they are painted: a later one covers an earlier one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.phantom.shapes import Window, capsule, ellipse

Pair = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """One painted shape of a slice.

    Attributes:
        tissue: Name in `image.SIGNAL`.
        distance: Gives window and signed distance from the voxel centres (x, y).
        opacity: How much of what lies below it covers.
    """

    tissue: str
    distance: Callable[[np.ndarray, np.ndarray], tuple[Window, np.ndarray]]
    opacity: float = 1.0


def organs(level: float, size: float) -> Iterator[Shape]:
    """Soft organs of the abdomen; left and right differ as they do in people.

    Args:
        level: Where along the spine.
        size: Linear size against the average.
    """
    yield from _abdominal_wall(level, size)
    if level < 1.7:  # liver on the right, spleen on the left
        yield _ellipse("liver", (104, 52), (46 * _round(level, -1.5, 3.2), 50 * _round(level, -1.5, 3.2)), size)
    if level < 0.4:
        yield _ellipse("spleen", (-96, 34), (30 * _round(level, -1.3, 1.7), 34 * _round(level, -1.3, 1.7)), size)
    yield from _colon(level, size)
    yield from _kidney(level - 0.75, 1, size)  # the right kidney lies half a vertebra lower
    yield from _kidney(level - 0.25, -1, size)
    yield from _vessels(level, size)


def bones(level: float, size: float) -> Iterator[Shape]:
    """Vertebra or sacrum, disc, processes, pelvis and what the canal holds."""
    phase = level - round(level)  # -0.5 at the upper disc, 0 in the middle of the body, 0.5 at the lower disc
    if level < -0.1:
        yield from _rib(level, size)
    if level > 3.3:
        yield from _pelvis(level, size)
    if level > 4.6:
        yield from _sacrum(level, size)
    else:
        yield from _vertebra(level, phase, size)
    yield from _canal(level, size)


def _vertebra(level: float, phase: float, size: float) -> Iterator[Shape]:
    half = (22 + 0.9 * level, 16.0 + 0.3 * level)
    middle = (0.0, 8 + half[1])
    body = float(np.clip((0.36 - abs(phase)) / 0.06 + 0.5, 0, 1))
    yield _ellipse("annulus", middle, (half[0] + 1.5, half[1] + 1.5), size, 2.4)
    yield _ellipse("nucleus", (0.0, middle[1] - 1), (half[0] * 0.62, half[1] * 0.58), size, 2.2)
    if body > 0:
        waist = 1 - 0.06 * (1 - (phase / 0.4) ** 2)
        yield _ellipse("cortex", middle, (half[0] * waist, half[1] * waist), size, 2.4, body)
        yield _ellipse("marrow", middle, (half[0] * waist - 1.3, half[1] * waist - 1.3), size, 2.4, body)
    spinous = float(np.clip((phase + 0.22) / 0.12, 0, 1))
    tip = -38.0 + 8 * max(level - 3, 0)
    yield _bar("ligament", (0, -12), (0, tip - 3), 2.2, size)
    for side in (-1, 1):
        yield from _arch(phase, side, size)
    if spinous > 0:
        yield _bar("cortex", (0, -13), (0, tip), 3.2, size, spinous)
        yield _bar("marrow", (0, -13), (0, tip), 2.0, size, spinous)


def _arch(phase: float, side: int, size: float) -> Iterator[Shape]:
    transverse = float(np.clip((0.22 - abs(phase + 0.05)) / 0.08, 0, 1))
    if transverse > 0:
        yield _bar("cortex", (side * 17, 0), (side * 40, -4), 3.6, size, transverse)
        yield _bar("marrow", (side * 17, 0), (side * 40, -4), 2.2, size, transverse)
        yield _bar("cortex", (side * 16, 10), (side * 16, -4), 4.6, size, transverse)  # pedicle
        yield _bar("marrow", (side * 16, 10), (side * 16, -4), 3.2, size, transverse)
    facet = float(np.clip((abs(phase) - 0.2) / 0.1, 0, 1))
    if facet > 0:
        yield _bar("cortex", (side * 17, -4), (side * 14, -12), 6.0, size, facet)
        yield _bar("marrow", (side * 18.5, -2), (side * 17.5, -8), 3.0, size, facet)
        yield _bar("fluid", (side * 14.5, -4), (side * 12, -11), 0.6, size, 0.7 * facet)  # joint space
    yield _bar("cortex", (side * 12, -8), (side * 1.5, -14), 2.6, size)  # lamina


def _sacrum(level: float, size: float) -> Iterator[Shape]:
    wide = float(np.clip((level - 4.6) / 0.35, 0, 1))
    deep = 17 - 3.0 * (level - 4.6)
    for side in (-1, 1):
        yield _bar("cortex", (side * 14, 14), (side * (22 + 28 * wide), 13 + 6 * wide), 9 + 3 * wide, size)
        yield _bar("marrow", (side * 14, 14), (side * (22 + 28 * wide), 13 + 6 * wide), 7.6 + 3 * wide, size)
    yield _ellipse("cortex", (0, 8 + deep), (26, deep), size, 2.4)
    yield _ellipse("marrow", (0, 8 + deep), (24.6, deep - 1.4), size, 2.4)
    for side in (-1, 1):
        yield _ellipse("fat", (side * 20, 9), (5.0, 5.5), size)  # foramen with its root
        yield _ellipse("nerve", (side * 20, 9), (2.6, 2.8), size)
        yield _bar("cortex", (side * 13, -6), (side * 2, -15), 3.0, size)
        yield _bar("cortex", (side * 14, -6), (side * 38, -2), 3.4, size, wide)
    yield _bar("cortex", (0, -15), (0, -25), 2.6, size)


def _canal(level: float, size: float) -> Iterator[Shape]:
    narrow = 1 - 0.12 * max(level - 3.5, 0)
    yield _ellipse("fat", (0, -2), (12.0, 9.5), size, 2.0)
    yield _ellipse("csf", (0, 0.5), (9.0 * narrow, 7.0 * narrow), size)
    if level < 0.3:
        yield _ellipse("nerve", (0, 0), (4.5, 3.5), size)  # conus
    for number in range(14):  # cauda equina, settled at the back of the sac
        angle = np.pi * (1.08 + 0.065 * number)
        radius = 0.62 + 0.2 * np.sin(2.4 * number)
        place = (9.0 * narrow * radius * np.cos(angle), 0.5 + 7.0 * narrow * radius * np.sin(angle))
        yield _ellipse("nerve", (float(place[0]), float(place[1])), (0.9, 0.9), size)
    for side in (-1, 1):
        yield _ellipse("nerve", (side * 15.5, 3.0), (2.4, 1.8), size)


def _vessels(level: float, size: float) -> Iterator[Shape]:
    if level < 3.3:
        yield _ellipse("vessel_wall", (-11, 54), (9.5, 9.5), size)
        yield _ellipse("flow_void", (-11, 54), (8.2, 8.2), size)  # aorta, left of the midline
        yield _ellipse("slow_flow", (17, 50), (11.5, 7.5), size)  # inferior vena cava, right
    else:
        apart = min((level - 3.3) * 14, 34)
        for side in (-1, 1):
            yield _ellipse("flow_void", (side * (9 + apart), 56 - 0.15 * apart), (6, 6), size)
            yield _ellipse("slow_flow", (side * (13 + apart), 46 - 0.1 * apart), (7, 5.5), size)


def _kidney(level: float, side: int, size: float) -> Iterator[Shape]:
    reach = _round(level, 0, 1.45)
    if reach <= 0.1:
        return
    middle = (side * (64 + 4 * level), 28.0 - 3 * level)
    yield _ellipse("kidney", middle, (24 * reach, 27 * reach), size)
    yield _ellipse("medulla", (middle[0] - side * 2, middle[1]), (16 * reach, 19 * reach), size)
    if abs(level) < 0.8:
        yield _ellipse("fat", (middle[0] - side * 9, middle[1] + 5), (10, 8), size)
        yield _ellipse("fluid", (middle[0] - side * 11, middle[1] + 6), (4, 3), size)


def _colon(level: float, size: float) -> Iterator[Shape]:
    if level > 1.6:
        yield _ellipse("bowel_wall", (80, 36), (24 * _round(level, 3.6, 2.6), 22 * _round(level, 3.6, 2.6)), size)
        yield _ellipse("stool", (80, 36), (21 * _round(level, 3.6, 2.6), 19 * _round(level, 3.6, 2.6)), size)
    yield _ellipse("bowel_wall", (-86, 36 + 2 * level), (13, 14), size)
    yield _ellipse("gas", (-86, 38 + 2 * level), (9, 9), size)


def _abdominal_wall(level: float, size: float) -> Iterator[Shape]:
    if level > 3.6:
        return
    for side in (-1, 1):
        for number, gap in enumerate((0.0, 5.5, 11.0)):
            start = (side * (84 + 0.7 * gap), -16.0 - 0.4 * gap)
            yield _bar("muscle", start, (side * (98 + gap), 14 - 2.0 * number), 2.3, size)
            yield _bar("muscle", (side * (98 + gap), 14 - 2.0 * number), (side * (110 + gap), 90), 2.3, size)


def _pelvis(level: float, size: float) -> Iterator[Shape]:
    down = min(level - 3.3, 2.2)
    for side in (-1, 1):
        near, far = (side * (84 - 13 * down), -22.0 - 2 * down), (side * (104 - 2 * down), 34.0 + 10 * down)
        yield _bar("muscle", (near[0] + side * 6, near[1] + 16), (far[0] - side * 7, far[1]), 6 + 3 * down, size)
        yield _bar("muscle", (near[0] + side * 14, near[1] - 6), (far[0] + side * 14, 20), 3 + 5 * down, size)
        yield _bar("cortex", near, far, 5.0, size)
        yield _bar("marrow", near, far, 3.4, size)


def _rib(level: float, size: float) -> Iterator[Shape]:
    out = 30 - 42 * (level + 0.1)
    for side in (-1, 1):
        middle = (side * min(out, 92.0), -6 - 0.28 * min(out, 92.0))
        yield _bar("cortex", (middle[0] - side * 7, middle[1] + 2), (middle[0] + side * 7, middle[1] - 2), 4.0, size)
        yield _bar("marrow", (middle[0] - side * 6, middle[1] + 2), (middle[0] + side * 6, middle[1] - 2), 2.4, size)


def _round(level: float, middle: float, half: float) -> float:
    """Radius of an ellipsoid of unit radius at a level."""
    return float(np.sqrt(max(1 - ((level - middle) / half) ** 2, 0.0)))


def _ellipse(tissue: str, centre: Pair, half: Pair, size: float, power: float = 2.0, opacity: float = 1.0) -> Shape:
    centre, half = (centre[0] * size, centre[1] * size), (max(half[0], 0.3) * size, max(half[1], 0.3) * size)
    return Shape(tissue, lambda x, y: ellipse(x, y, centre, half, power), opacity)


def _bar(tissue: str, start: Pair, end: Pair, radius: float, size: float, opacity: float = 1.0) -> Shape:
    start, end = (start[0] * size, start[1] * size), (end[0] * size, end[1] * size)
    return Shape(tissue, lambda x, y: capsule(x, y, start, end, radius * size), opacity)
