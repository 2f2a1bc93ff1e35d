"""Vertebrae, discs, sacrum, canal and the great vessels of a slice."""

import numpy as np

from paraspinal_nnunet.phantom.points import bar, oval, smooth
from paraspinal_nnunet.phantom.randomised.canvas import Canvas
from paraspinal_nnunet.phantom.randomised.tissues import Tissue


def paint_front(canvas: Canvas) -> None:
    """Vessels, crura, vertebral body or disc, pedicles: what the muscles later lie beside."""
    level, r = canvas.level, canvas.body.organs
    _paint_vessels(canvas)
    if level < 1.6:  # crura of the diaphragm
        for side, low in ((1, 1.6), (-1, 1.0)):
            if level < low:
                canvas.fill(Tissue.MUSCLE, oval(side * 19, 36 + 6 * r[1], 7 * (0.4 + r[2]), 12))
    if level > 4.55:
        _paint_sacrum(canvas)
        return
    half = (21.5 + 1.1 * level, 15.5 + 0.5 * level)
    y = 9 + half[1]
    phase = level - round(level)
    if abs(phase) > 0.5 - canvas.body.disc / 2:
        canvas.fill(Tissue.ANNULUS, oval(0, y, half[0] + 2, half[1] + 1.5, 2.5))
        if r[3] < 0.7:
            canvas.fill(Tissue.NUCLEUS, oval(0, y - 1, half[0] * 0.62, half[1] * 0.6, 2.2))
    else:
        canvas.fill(Tissue.CORTEX, _bean(y, half[0], half[1]))
        canvas.fill(Tissue.MARROW, _bean(y, half[0] - 1.3, half[1] - 1.3))


def paint_back(canvas: Canvas) -> None:
    """Processes, laminae, joints and the canal: what cuts into the muscles."""
    level = canvas.level
    if level <= 4.55:
        _paint_processes(canvas, level - round(level))
    _paint_canal(canvas)
    if canvas.body.implant:
        _paint_implant(canvas)


def _bean(y: float, a: float, b: float) -> np.ndarray:
    """A vertebral body: an oval, flat or hollow behind."""
    outline = oval(0, y, a, b, 2.4)
    behind = np.clip((y - outline[:, 1]) / b, 0, 1)
    outline[:, 1] += 2.5 * behind * np.exp(-((outline[:, 0] / (0.5 * a)) ** 2))
    return outline


def _paint_processes(canvas: Canvas, phase: float) -> None:
    level, r = canvas.level, canvas.body.organs
    transverse, facet = abs(phase + 0.05) < 0.2, abs(phase) > 0.22
    tip = -40.0 - 6 * (r[4] - 0.5) + 7 * max(level - 3, 0)
    canvas.line(Tissue.FAT if r[5] < 0.4 else Tissue.LIGAMENT, np.array([(0, -12), (0, tip - 6)]), 3.0 + 4 * r[6])
    if level < -0.1:  # ribs beside the last thoracic vertebrae
        for side in (-1, 1):
            out = 26 - 34 * level
            _bone(canvas, bar((side * (out - 9), -8 - 0.2 * out), (side * (out + 9), -13 - 0.2 * out), 4.2), 1.3)
    for side in (-1, 1):
        if transverse:
            long = (30 + 14 * r[7]) * (1 if level > -0.2 else 0.6)
            _bone(canvas, bar((side * 16, -1), (side * long, -6 - 3 * r[8]), 4.2, 2.6), 1.2)
            _bone(canvas, bar((side * 16, 12), (side * 16, -3), 5.0), 1.4)
        if facet:
            wide = 5.0 + 3.5 * r[9]
            _bone(canvas, oval(side * 18, -8, wide + 1, wide + 2), 2.2)
            canvas.line(
                Tissue.FLUID if r[10] < 0.6 else Tissue.CORTEX, np.array([(side * 15, -2), (side * 18, -13)]), 1.4
            )
        _bone(canvas, bar((side * 14, -7), (side * 1.5, -15), 2.8), 1.2 if phase > -0.1 else 3)
    if phase > -0.28:
        end = -15 + (tip + 15) * np.clip((phase + 0.28) / 0.25, 0.3, 1)
        _bone(canvas, bar((0, -14), (0, float(end)), 3.0 + 1.5 * r[11], 3.6 + 2.0 * r[12]), 1.2)


def _bone(canvas: Canvas, outline: np.ndarray, cortex_mm: float) -> None:
    canvas.fill(Tissue.CORTEX, outline)
    middle = outline.mean(axis=0)
    offset = outline - middle
    # a bar's ends come in by the cortex as its sides do
    values, axes = np.linalg.eigh(np.cov(offset.T))
    half = np.abs(offset @ axes).max(axis=0)
    inner = (offset @ axes) * np.clip((half - cortex_mm) / np.maximum(half, 1e-6), 0, 1)
    if values.min() > 0:
        canvas.fill(Tissue.MARROW, middle + inner @ axes.T)


def _paint_sacrum(canvas: Canvas) -> None:
    """Body and wings, which reach the ilium; a groove for the back muscles behind, between crest and ilium."""
    level, r = canvas.level, canvas.body.organs
    wide = float(np.clip((level - 4.45 - 0.4 * r[17]) / 0.4, 0, 1))
    deep = max(19 - 3.0 * (level - 4.6), 8) * (0.8 + 0.45 * r[5])
    top = 8 + 2 * deep - 5 * max(level - 5, 0)
    reach = 24 + (24 + 14 * r[6]) * wide
    slope, hollow = 4 + 14 * r[7], 4 * (r[8] - 0.5)
    outline = [
        (0, top),
        (16, top - 1),
        (28, top - 0.4 * slope),
        (reach, top - slope),
        (reach + 3, top - slope - 10),
        (reach - 2, 4 - 6 * r[9]),
        (reach - 10, -7 - 6 * r[9] + hollow),
        (24, -8 + hollow),
        (14, -11),
        (3, -17),
    ]
    full = np.array(outline + [(-x, y) for x, y in reversed(outline[1:])], float)
    _bone(canvas, smooth(full, 80), 0.8 + 1.2 * r[4])
    _bone(canvas, bar((0, -14), (0, -20.0 - 8 * r[11]), 3.0), 1.2)
    if r[12] < 0.6:  # arches that slope from the crest to the joints
        for side in (-1, 1):
            _bone(canvas, bar((side * 2, -17), (side * 20, -9), 2.6), 1.2)
    apart = 18 + 6 * r[10]
    for side in (-1, 1):
        canvas.fill(Tissue.FAT, oval(side * apart, 8, 4 + 3 * r[2], 6 + 3 * r[1]))
        canvas.fill(Tissue.NERVE, oval(side * apart, 8, 2.8, 3.2))


def _paint_canal(canvas: Canvas) -> None:
    level, r = canvas.level, canvas.body.organs
    narrow = 1 - 0.12 * max(level - 3.5, 0)
    canvas.fill(Tissue.FAT, oval(0, -2, 11.0, 9.0))
    canvas.fill(Tissue.CSF, oval(0, 0.5, (7 + 3 * r[13]) * narrow, (5.5 + 3 * r[14]) * narrow))
    if level < 0.3:
        canvas.fill(Tissue.NERVE, oval(0, 0, 4.5, 3.5))
    elif level < 4.5:
        for number in range(7):
            angle = np.pi * (1.1 + 0.13 * number)
            canvas.fill(
                Tissue.NERVE, oval(6 * narrow * np.cos(angle), 0.5 + 4.5 * narrow * np.sin(angle), 1, 1, count=8)
            )
    if abs(level - round(level)) > 0.2 and level < 4.5:
        for side in (-1, 1):  # foramina with their roots
            canvas.fill(Tissue.FAT, oval(side * 16, 5, 5, 5))
            canvas.fill(Tissue.NERVE, oval(side * 17, 4, 2.6, 2.6, count=16))


def _paint_vessels(canvas: Canvas) -> None:
    level, r = canvas.level, canvas.body.organs
    y = 48 + 8 * r[15]
    size = 0.8 + 0.5 * r[16]
    if level < 3.3:
        canvas.fill(Tissue.LIGAMENT, oval(-10, y + 5, 9.5 * size, 9.5 * size))
        canvas.fill(Tissue.FLOW_VOID, oval(-10, y + 5, 8.2 * size, 8.2 * size))
        canvas.fill(Tissue.SLOW_FLOW, oval(16, y, 11.5 * size, 7.5 * size))
    else:  # on their way to the psoas' inner edge
        apart = min((level - 3.3) * (13 + 14 * r[18]), 44)
        for side in (-1, 1):
            canvas.fill(Tissue.FLOW_VOID, oval(side * (9 + apart), y + 5 - 0.1 * apart, 5.5 * size, 5.5 * size))
            canvas.fill(Tissue.SLOW_FLOW, oval(side * (14 + apart), y - 6 - 0.1 * apart, 7 * size, 5.5 * size))


def _paint_implant(canvas: Canvas) -> None:
    radius, phase = canvas.body.implant, canvas.level - round(canvas.level)
    if not 0.5 < canvas.level < 4.9:
        return
    for side in (-1, 1):
        if abs(phase) < 0.2:
            canvas.fill(Tissue.VOID, bar((side * 20, -18), (side * 12, 28), radius))
        canvas.fill(Tissue.VOID, oval(side * 22, -20, radius * 2, radius * 2))
