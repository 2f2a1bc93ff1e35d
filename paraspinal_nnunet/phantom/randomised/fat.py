"""Fat inside muscles and bone: streaks, sheets between them, and what fills the place of wasted muscle."""

import numpy as np
from scipy.ndimage import gaussian_filter, zoom
from scipy.special import ndtri

from paraspinal_nnunet.phantom.randomised.canvas import SHAPE, X_MM, Y_MM, Canvas
from paraspinal_nnunet.phantom.randomised.tissues import Tissue


def fat_share(canvas: Canvas, tissue: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of fat inside the muscles and in bone: float32 (rows, columns), 0 elsewhere.

    Streaks along no direction of their own, more in multifidus and at the lower levels, deep and medial before
    elsewhere; sheets between bundles and between multifidus and erector spinae; and fat that fills what a wasted
    muscle has left.
    """
    body, level = canvas.body, canvas.level
    gradient = float(np.exp(0.28 * (np.clip(level, -1.5, 6) - 2)))
    fine, broad = _streaks(rng, 1.0, 1.6), _streaks(rng, 4.0, 4.0)
    texture = (fine + broad) / np.float32(np.sqrt(2))
    softness, even, sheets = body.texture
    share = np.zeros(SHAPE, np.float32)
    for muscle, factor in (
        (Tissue.MF_RIGHT, 1.6 * np.exp(body.unequal[0])),
        (Tissue.ES_RIGHT, 1.1 * np.exp(body.unequal[1] + 0.08 * (level - 2))),
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
                deep = 1.0 - np.abs(x) / 30 + (y + 28) / 20
                field = (field + body.medial * deep) / (1 + 0.3125 * body.medial)
            streaks = np.clip((field + ndtri(max((1 - even) * mean, 1e-4))) / softness + 0.5, 0, 1)
            between = sheets * mean**0.5 * np.clip(1 - np.abs(broad[place] + 0.3 * fine[place]) / 0.25, 0, 1)
            share[place] = np.maximum(even * mean + (1 - even * mean) * streaks, between)
    bone = tissue == Tissue.MARROW
    share[bone] = np.clip(body.marrow[0] + body.marrow[1] * broad[bone], 0, 1)
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
        near = np.clip((y - edge) / 2 + 0.5, 0, 1) * (np.abs(x) < 22 + 24 * body.organs[10])
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
