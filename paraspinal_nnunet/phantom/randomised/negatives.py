"""Slices of anything but a lumbar trunk, in which nothing is to be found."""

from collections.abc import Callable

import numpy as np

from paraspinal_nnunet.phantom.points import bar, oval, smooth
from paraspinal_nnunet.phantom.randomised.body import draw_body
from paraspinal_nnunet.phantom.randomised.canvas import BACK_MM, FRONT_MM, LEFT_MM, RIGHT_MM, Canvas
from paraspinal_nnunet.phantom.randomised.slices import Slice
from paraspinal_nnunet.phantom.randomised.tissues import Tissue

Painter = Callable[[Canvas, np.random.Generator], None]
BLOBS = (Tissue.BLOB_1, Tissue.BLOB_2, Tissue.BLOB_3, Tissue.MUSCLE, Tissue.FAT, Tissue.FLUID, Tissue.CORTEX)


def draw_negative(rng: np.random.Generator) -> Slice:
    """Draw a head, limbs, a deep pelvis, a thorax, round things, or nothing."""
    canvas = Canvas(draw_body(rng), float(rng.uniform(0, 5)))
    painters: tuple[Painter, ...] = (_head, _limbs, _pelvis, _thorax, _blobs, _blobs, _spheres, _nothing)
    painters[int(rng.integers(len(painters)))](canvas, rng)
    tissue = canvas.array()
    return Slice(tissue, np.zeros_like(tissue))


def _head(canvas: Canvas, rng: np.random.Generator) -> None:
    x, y = rng.normal(0, 20, 2)
    a, b = rng.uniform(62, 85), rng.uniform(78, 105)
    for tissue, inset in (
        (Tissue.SKIN, 0.0),
        (Tissue.SUBCUTANEOUS, 2.0),
        (Tissue.CORTEX, 6.0),
        (Tissue.CSF, 12.0),
        (Tissue.BRAIN, 15.0),
    ):
        canvas.fill(tissue, oval(x, y, a - inset, b - inset))
    for side in (-1, 1):
        if rng.random() < 0.5:
            canvas.fill(Tissue.CSF, bar((x + side * 6, y + 25), (x + side * 10, y - 25), rng.uniform(2, 8)))
        if rng.random() < 0.4:
            canvas.fill(Tissue.FLUID, oval(x + side * 30, y + 0.8 * b, 12, 12))
        if rng.random() < 0.4:
            canvas.fill(Tissue.BLOB_1, oval(x + side * 25, y - 0.6 * b, 25, 18))
        if rng.random() < 0.4:
            canvas.fill(Tissue.MUSCLE, oval(x + side * 30, y - 0.8 * b, 22, 14))


def _limbs(canvas: Canvas, rng: np.random.Generator) -> None:
    radius = rng.uniform(45, 90)
    sides = (-1, 1) if rng.random() < 0.5 else (0,)
    for side in sides:
        x, y = side * (radius + rng.uniform(2, 30)) + rng.normal(0, 5), rng.normal(0, 25)
        canvas.fill(Tissue.SKIN, oval(x, y, radius, radius))
        canvas.fill(Tissue.SUBCUTANEOUS, oval(x, y, radius - 2, radius - 2))
        inner = radius * rng.uniform(0.6, 0.92)
        canvas.fill(Tissue.LIGAMENT, oval(x, y, inner, inner))
        for number in range(int(rng.integers(3, 9))):  # muscles around the bone
            angle, far = rng.uniform(0, 2 * np.pi), inner * rng.uniform(0.45, 0.62)
            size = inner * rng.uniform(0.2, 0.38, 2)
            tissue = Tissue.MUSCLE if number % 3 else Tissue.GLUTEAL
            canvas.fill(tissue, oval(x + far * np.cos(angle), y + far * np.sin(angle), *size))
        bone = rng.uniform(10, 38)
        canvas.fill(Tissue.CORTEX, oval(x, y, bone, bone * rng.uniform(0.8, 1)))
        canvas.fill(Tissue.MARROW, oval(x, y, bone * 0.8, bone * 0.7))


def _pelvis(canvas: Canvas, rng: np.random.Generator) -> None:
    wide, high = rng.uniform(140, 200), rng.uniform(90, 135)
    canvas.fill(Tissue.SKIN, oval(0, 10, wide, high, 2.4))
    canvas.fill(Tissue.SUBCUTANEOUS, oval(0, 10, wide - 2, high - 2, 2.4))
    canvas.fill(Tissue.FAT, oval(0, 15, wide * 0.6, high * 0.7))
    canvas.fill(Tissue.FLUID, oval(rng.normal(0, 5), 40, rng.uniform(15, 50), rng.uniform(15, 35)))
    canvas.fill(Tissue.STOOL, oval(rng.normal(0, 5), -10, 20, 18))
    canvas.fill(Tissue.CORTEX, oval(0, -45, 14, 6))
    for side in (-1, 1):
        canvas.fill(Tissue.GLUTEAL, bar((side * 25, -60), (side * wide * 0.7, -25), rng.uniform(15, 28)))
        canvas.fill(Tissue.MUSCLE, bar((side * 30, -20), (side * 60, 10), rng.uniform(6, 12)))
        canvas.fill(Tissue.MUSCLE, oval(side * 75, 65, 20, 18))
        canvas.fill(Tissue.GLUTEAL, oval(side * wide * 0.72, 30, 15, 35))
        canvas.fill(Tissue.CORTEX, oval(side * 88, 18, 26, 26))
        canvas.fill(Tissue.MARROW, oval(side * 88, 18, 24, 24))


def _thorax(canvas: Canvas, rng: np.random.Generator) -> None:
    wide, high = rng.uniform(130, 175), rng.uniform(95, 130)
    canvas.fill(Tissue.SKIN, oval(0, 50, wide, high, 2.3))
    canvas.fill(Tissue.SUBCUTANEOUS, oval(0, 50, wide - 2, high - 2, 2.3))
    canvas.fill(Tissue.MUSCLE, oval(0, 55, wide * 0.86, high * 0.84))
    canvas.fill(Tissue.LATISSIMUS, oval(0, 10, wide * 0.9, high * 0.5))
    for side in (-1, 1):
        canvas.fill(Tissue.GAS, oval(side * wide * 0.45, 60, wide * 0.36, high * 0.7))
    canvas.fill(Tissue.FAT, oval(0, 60, wide * 0.22, high * 0.5))
    canvas.fill(Tissue.SLOW_FLOW, oval(-20, 90, rng.uniform(20, 55), rng.uniform(20, 45)))
    canvas.fill(Tissue.MARROW, oval(0, 22, 16, 14))
    canvas.fill(Tissue.CSF, oval(0, 0, 8, 8))
    canvas.fill(Tissue.NERVE, oval(0, 0, 5, 5))


def _blobs(canvas: Canvas, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(3, 40))):
        x, y = rng.uniform(LEFT_MM, RIGHT_MM), rng.uniform(BACK_MM, FRONT_MM)
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        radius = rng.uniform(5, 90) * rng.uniform(0.5, 1, 7)
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)
        canvas.fill(BLOBS[int(rng.integers(len(BLOBS)))], smooth(points), spine=False)


def _spheres(canvas: Canvas, rng: np.random.Generator) -> None:
    size = rng.uniform(60, 130)
    canvas.fill(Tissue.BLOB_1, oval(0, 20, size, size * rng.choice([0.7, 1.0]), 2 + 6 * rng.random()))
    for _ in range(int(rng.integers(0, 12))):
        angle, far = rng.uniform(0, 2 * np.pi), size * rng.uniform(0, 0.8)
        radius = rng.uniform(3, 25)
        canvas.fill(Tissue.BLOB_2, oval(far * np.cos(angle), 20 + far * np.sin(angle), radius, radius))


def _nothing(canvas: Canvas, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        canvas.fill(Tissue.BLOB_1, oval(rng.normal(0, 60), rng.normal(0, 60), 10, 10))
