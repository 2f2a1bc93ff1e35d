"""A slice on which outlines in mm are filled with tissues, one over the other."""

import numpy as np
from PIL import Image, ImageDraw
from scipy.interpolate import CubicSpline

from paraspinal_nnunet.phantom.randomised.body import Body

SPACING_MM = 1.0
LEFT_MM, RIGHT_MM, BACK_MM, FRONT_MM = -250.0, 250.0, -150.0, 210.0
"""What a slice covers around the spinal canal: x grows to the patient's right, y to the front."""

SHAPE = (int((FRONT_MM - BACK_MM) / SPACING_MM), int((RIGHT_MM - LEFT_MM) / SPACING_MM))
"""Rows (y) and columns (x)."""

X_MM = LEFT_MM + (np.arange(SHAPE[1], dtype=np.float32) + 0.5) * SPACING_MM
Y_MM = BACK_MM + (np.arange(SHAPE[0], dtype=np.float32) + 0.5) * SPACING_MM


def smooth(points: np.ndarray, count: int = 56) -> np.ndarray:
    """A smooth closed outline through (n, 2) points: (count, 2)."""
    closed = np.vstack([points, points[:1]])
    chord = np.r_[0, np.cumsum(np.sqrt(np.hypot(*np.diff(closed, axis=0).T)) + 1e-6)]
    curve: np.ndarray = CubicSpline(chord, closed, bc_type="periodic")(np.linspace(0, chord[-1], count, endpoint=False))
    return curve


def oval(x: float, y: float, half_x: float, half_y: float, power: float = 2.0, count: int = 40) -> np.ndarray:
    """A superellipse: (count, 2)."""
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    return np.stack(
        [x + half_x * np.sign(c) * np.abs(c) ** (2 / power), y + half_y * np.sign(s) * np.abs(s) ** (2 / power)], 1
    )


def bar(
    start: tuple[float, float], end: tuple[float, float], radius: float, end_radius: float | None = None
) -> np.ndarray:
    """A bar with round ends: (24, 2)."""
    a, b = np.array(start, float), np.array(end, float)
    angle = np.arctan2(*(b - a)[::-1])
    t = np.linspace(np.pi / 2, 3 * np.pi / 2, 12)
    first = a + radius * np.stack([np.cos(angle + t), np.sin(angle + t)], 1)
    second = b + (radius if end_radius is None else end_radius) * np.stack(
        [np.cos(angle + t + np.pi), np.sin(angle + t + np.pi)], 1
    )
    return np.vstack([first, second])


class Canvas:
    """One slice of one body.

    Args:
        body: Whose waves and turn move the outlines.
        level: Along the spine: 0 is the middle of L1, 4 of L5.
    """

    def __init__(self, body: Body, level: float) -> None:
        self.body, self.level = body, level
        part = np.clip(level / 5, -0.3, 1.2)
        turn = body.turn[0] + part * (body.turn[1] - body.turn[0])
        self._shift = body.shift[0] + part * (body.shift[1] - body.shift[0])
        self._turn = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        self.replace(np.zeros(SHAPE, np.uint8))

    def place(self, points: np.ndarray, *, spine: bool) -> np.ndarray:
        """Where outlines of an average body lie in this one; those of the spine turn and shift with it."""
        placed = points * self.body.size @ self._turn.T if spine else points - np.array([self._shift, 0])
        return self.body.waves.moved(placed, self.level)

    def fill(self, tissue: int, points: np.ndarray, *, spine: bool = True) -> None:
        """Fill an outline."""
        self._draw.polygon(_pixels(self.place(points, spine=spine)), fill=int(tissue))

    def line(self, tissue: int, points: np.ndarray, width_mm: float, *, spine: bool = True) -> None:
        """Draw an open line."""
        self._draw.line(
            _pixels(self.place(points, spine=spine)), fill=int(tissue), width=max(1, round(width_mm / SPACING_MM))
        )

    def mask(self, points: np.ndarray, *, spine: bool = True) -> np.ndarray:
        """Bool (rows, columns) inside an outline."""
        image = Image.new("L", SHAPE[::-1])
        ImageDraw.Draw(image).polygon(_pixels(self.place(points, spine=spine)), fill=1)
        return np.asarray(image, bool)

    def array(self) -> np.ndarray:
        """A copy of the tissue map, uint8 (rows, columns)."""
        return np.array(self._image)

    def replace(self, tissue: np.ndarray) -> None:
        """Go on from another tissue map, uint8 (rows, columns)."""
        self._image = Image.fromarray(tissue)
        self._draw = ImageDraw.Draw(self._image)

    def paint(self, mask: np.ndarray, tissue: int) -> None:
        """Fill a mask."""
        values = self.array()
        values[mask] = tissue
        self.replace(values)


def _pixels(points: np.ndarray) -> list[float]:
    flat: list[float] = ((points - (LEFT_MM, BACK_MM)) / SPACING_MM - 0.5).ravel().tolist()
    return flat
