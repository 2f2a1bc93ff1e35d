"""Outlines in mm as points: smooth ones, ovals, bars, and what lies between two."""

import numpy as np
from scipy.interpolate import CubicSpline


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


def between(table: np.ndarray, levels: tuple[float, ...], level: float) -> np.ndarray:
    """A table's outline at a level; the first or last one beyond its ends."""
    place = float(np.interp(level, levels, np.arange(len(levels))))
    low = min(int(place), len(levels) - 2)
    found: np.ndarray = table[low] + (place - low) * (table[low + 1] - table[low])
    return found
