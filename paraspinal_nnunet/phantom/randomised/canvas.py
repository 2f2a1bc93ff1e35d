"""A slice on which outlines in mm are filled with tissues, one over the other."""

import numpy as np
from PIL import Image, ImageDraw

from paraspinal_nnunet.phantom.randomised.body import Body

SPACING_MM = 1.0
LEFT_MM, RIGHT_MM, BACK_MM, FRONT_MM = -250.0, 250.0, -150.0, 210.0
"""What a slice covers around the spinal canal: x grows to the patient's right, y to the front."""

SHAPE = (int((FRONT_MM - BACK_MM) / SPACING_MM), int((RIGHT_MM - LEFT_MM) / SPACING_MM))
"""Rows (y) and columns (x)."""

X_MM = LEFT_MM + (np.arange(SHAPE[1], dtype=np.float32) + 0.5) * SPACING_MM
Y_MM = BACK_MM + (np.arange(SHAPE[0], dtype=np.float32) + 0.5) * SPACING_MM


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
