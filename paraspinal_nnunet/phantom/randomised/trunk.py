"""The trunk around the spine: arms, skin, fat, abdominal wall, pelvis, organs and bowel."""

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from paraspinal_nnunet.phantom.points import bar, oval
from paraspinal_nnunet.phantom.randomised.body import Body
from paraspinal_nnunet.phantom.randomised.canvas import SHAPE, X_MM, Y_MM, Canvas
from paraspinal_nnunet.phantom.randomised.tissues import Tissue

MIDDLE_Y_MM = 25.0
"""Height above the canal of the point around which the trunk's outlines run."""

ANGLES = np.linspace(-np.pi, np.pi, 180, endpoint=False)


def paint_trunk(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint all but spine, muscles along it and great vessels; an empty canvas becomes a trunk.

    Args:
        canvas: Fresh.
        rng: Of the bowel's loops.
    """
    body, level = canvas.body, canvas.level
    inner, skin = outlines(body, level)
    _paint_table_and_arms(canvas, skin)
    canvas.fill(Tissue.SKIN, skin, spine=False)
    canvas.fill(Tissue.SUBCUTANEOUS, _shrunk(skin, 1.5 + 1.5 * body.organs[0]), spine=False)
    _paint_wall(canvas, inner)
    cavity = _shrunk(inner, _wall_mm(body, level))
    canvas.fill(Tissue.FAT, cavity, spine=False)
    inside = canvas.mask(cavity, spine=False)
    _paint_bowel(canvas, inside, rng)
    _paint_organs(canvas, inside)
    _paint_behind(canvas, inner)
    if level > 3.2:
        _paint_pelvis(canvas, inner)


def outlines(body: Body, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The outline of muscles and cavity, and that of the skin, each (180, 2) mm around the canal."""
    waist = 1 + 0.012 * (level - 2.0) ** 2
    back = (13 + 47 * max(body.depth) - 0.8 * (level - 2) ** 2) * body.size + 5 + MIDDLE_Y_MM
    c, s = np.cos(ANGLES), np.sin(ANGLES)
    height = np.where(s > 0, body.front - MIDDLE_Y_MM, back)
    power = np.where(s > 0, 2.0 + body.organs[1], 2.4 + 0.5 * body.organs[2])
    radius = (np.abs(c / (body.half_width * waist)) ** power + np.abs(s / height) ** power) ** (-1 / power)
    buttocks = body.buttocks * max(level - 2.2, 0)
    behind = 1 / (1 + np.exp(np.clip(6 * s, -30, 30)))
    back_fat = np.where(s < 0, body.back_fat * 0.7 + buttocks, body.front_fat)
    fat = back_fat * s**2 + (body.side_fat + 0.7 * buttocks * behind) * c**2
    inner = np.stack([radius * c, MIDDLE_Y_MM + radius * s], 1)
    skin = np.stack([(radius + fat) * c, MIDDLE_Y_MM + (radius + fat) * s], 1)
    lowest = skin[:, 1].min()
    floor = lowest + 16 * body.flatness
    skin[:, 1] = floor + 4 * np.logaddexp(0, (skin[:, 1] - floor) / 4)
    behind = np.clip(-s, 0, 1) ** 2
    skin[:, 1] += body.furrow * np.exp(-((skin[:, 0] / (9 + 8 * body.organs[3])) ** 2)) * behind
    return inner, skin


def _shrunk(outline: np.ndarray, by_mm: float) -> np.ndarray:
    offset = outline - (0, MIDDLE_Y_MM)
    radius = np.hypot(*offset.T)[:, None]
    shrunk: np.ndarray = outline - offset / radius * np.minimum(by_mm, 0.6 * radius)
    return shrunk


def _wall_mm(body: Body, level: float) -> float:
    return float(np.clip(body.wall * (1 - 0.18 * max(level - 3.5, 0)), 4, 26))


def _paint_table_and_arms(canvas: Canvas, skin: np.ndarray) -> None:
    body = canvas.body
    if body.organs[4] < 0.3:
        low = skin[:, 1].min() - 3 - 10 * body.organs[5]
        canvas.fill(Tissue.PAD, np.array([(-200, low), (200, low), (200, low - 6), (-200, low - 6)]), spine=False)
    if body.arms is None:
        return
    radius = 24 + 22 * body.organs[6]
    for side in (-1, 1):
        x = side * (np.abs(skin[:, 0]).max() + body.arms + radius)
        y = MIDDLE_Y_MM - 60 * body.organs[7]
        canvas.fill(Tissue.SKIN, oval(x, y, radius, radius * 1.1), spine=False)
        canvas.fill(Tissue.SUBCUTANEOUS, oval(x, y, radius - 2, radius * 1.1 - 2), spine=False)
        canvas.fill(Tissue.MUSCLE, oval(x, y, radius * 0.75, radius * 0.85), spine=False)
        canvas.fill(Tissue.CORTEX, oval(x, y, 8, 8), spine=False)
        canvas.fill(Tissue.MARROW, oval(x, y, 5, 5), spine=False)


def _paint_wall(canvas: Canvas, inner: np.ndarray) -> None:
    wall = _wall_mm(canvas.body, canvas.level)
    canvas.fill(Tissue.LIGAMENT, inner, spine=False)
    canvas.fill(Tissue.MUSCLE, _shrunk(inner, 1.0), spine=False)
    side = (np.abs(inner[:, 0]) > 0.45 * np.abs(inner[:, 0]).max()) & (inner[:, 1] > -30)
    for sign in (-1, 1):
        part = inner[side & (np.sign(inner[:, 0]) == sign)]
        part = part[np.argsort(part[:, 1])]
        for share in (0.36, 0.66):
            if len(part) > 2 and wall > 8:
                canvas.line(Tissue.FAT, _shrunk(part, share * wall), 1.0 + 2 * canvas.body.organs[8], spine=False)


def _paint_behind(canvas: Canvas, inner: np.ndarray) -> None:
    """Fat behind the cavity where the wall ends at the quadratus, and the latissimus outside it."""
    body, level = canvas.body, canvas.level
    reach = body.size * (70 + 16 * body.organs[9]) * float(np.mean(body.width))
    back = inner[inner[:, 1] < 0.4 * inner[:, 1].min()]
    back = back[np.abs(back[:, 0]) < reach]
    back = back[np.argsort(back[:, 0])]
    if len(back) > 2:
        front = np.array([(reach * 0.9, -2.0), (-reach * 0.9, -2.0)])
        canvas.fill(Tissue.FAT, np.vstack([_shrunk(back, 1.2), front]), spine=False)
    if level < 2.6:
        thick = (2.6 - level) * (1.5 + 3 * body.organs[10])
        for sign in (-1, 1):
            part = inner[(inner[:, 1] < 25) & (inner[:, 0] * sign > 0.5 * np.abs(inner[:, 0]).max())]
            part = part[np.argsort(part[:, 1])]
            if len(part) > 2 and thick > 0.8:
                canvas.line(Tissue.LATISSIMUS, _shrunk(part, -thick / 2 - 1), thick, spine=False)


def _paint_pelvis(canvas: Canvas, inner: np.ndarray) -> None:
    body, down = canvas.body, min(canvas.level - 3.2, 3.0)
    wide = 0.55 + 0.45 * body.half_width / 115
    for side in (-1, 1):
        near = np.array([side * (86 - 13 * down) * wide, -20.0 - 6 * down])
        far = np.array([side * (108 - 2 * down) * wide, 30.0 + 12 * down])
        iliacus, gluteus = (
            (3 + 4.5 * down) * (0.6 + 1.1 * body.organs[11]),
            (3 + 6 * down) * (0.6 + 0.9 * body.organs[12]),
        )
        middle = (near + far) / 2
        canvas.fill(
            Tissue.GLUTEAL,
            bar(_moved(near, (side * gluteus, -4)), _moved(middle, (side * gluteus, 0)), gluteus, gluteus * 0.8),
        )
        canvas.fill(
            Tissue.GLUTEAL, bar(_moved(middle, (side * gluteus * 0.9, 0)), _moved(far, (side * 6, 4)), gluteus * 0.9, 4)
        )
        canvas.fill(
            Tissue.MUSCLE, bar(_moved(near, (side * 2, 14)), _moved(far, (-side * iliacus, -4)), iliacus, iliacus * 0.6)
        )
        canvas.fill(Tissue.CORTEX, bar(_moved(near), _moved(far), 4.6 + 2.0 * body.organs[13], 3.2))
        canvas.fill(Tissue.MARROW, bar(_moved(near), _moved(far), 3.2 + 2.0 * body.organs[13], 1.8))
        if down > 1.3:  # gluteus maximus springs from the sacrum's and ilium's back
            start = (side * (44 + 10 * body.organs[14]), -32.0 - 4 * down)
            end = (side * (92 + 10 * body.organs[15]) * wide, -30.0 + 8 * body.organs[16])
            canvas.fill(Tissue.GLUTEAL, bar(start, end, 3 + 5 * (down - 1.3), 6 + 6 * (down - 1.3)))


def _moved(point: np.ndarray, by: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float]:
    return float(point[0] + by[0]), float(point[1] + by[1])


def _paint_bowel(canvas: Canvas, inside: np.ndarray, rng: np.random.Generator) -> None:
    body = canvas.body
    loops, contents = _noise(rng, 9 + 8 * body.organs[17]), _noise(rng, 14)
    front = Y_MM[:, None] - (44 + 0.001 * X_MM[None, :] ** 2 + 5 * contents) * body.size > 0
    amount = body.organs[18] - 0.6
    wall, lumen = inside & front & (loops > -amount), inside & front & (loops > -amount + 0.35)
    values = canvas.array()
    values[wall] = Tissue.BOWEL_WALL
    values[lumen] = np.select([contents[lumen] < -1.0, contents[lumen] > 0.7], [Tissue.GAS, Tissue.STOOL], Tissue.BOWEL)
    canvas.replace(values)


def _noise(rng: np.random.Generator, smooth_mm: float) -> np.ndarray:
    """Smooth noise of unit variance over a slice."""
    step = 4
    small = rng.standard_normal((SHAPE[0] // step + 1, SHAPE[1] // step + 1), dtype=np.float32)
    small = gaussian_filter(small, smooth_mm / step)
    big: np.ndarray = zoom(small / small.std(), step, order=1)[: SHAPE[0], : SHAPE[1]]
    return big


def _paint_organs(canvas: Canvas, inside: np.ndarray) -> None:
    body, level, r = canvas.body, canvas.level, canvas.body.organs
    wide = body.half_width / 112
    before = canvas.array()
    if level < 0.6 + 2.0 * r[19]:
        reach = _round(level, -1.8, 2.4 + 2.0 * r[19])
        canvas.fill(Tissue.LIVER, oval(84 * wide, 62, 66 * reach * wide, 66 * reach, 2.3), spine=False)
    if level < 0.8:
        reach = _round(level, -1.3, 2.1)
        canvas.fill(Tissue.SPLEEN, oval(-88 * wide, 26, 30 * reach, 40 * reach), spine=False)
    for side, top in ((1, 0.75), (-1, 0.25)):
        _paint_kidney(canvas, level - top - 1.2 * (r[20] - 0.5), side)
    if level > 0.8:
        for side, size in ((1, 24 + 10 * r[21]), (-1, 13 + 10 * r[22])):
            place = (side * (82 * wide), 30 + 14 * r[21])
            canvas.fill(Tissue.BOWEL_WALL, oval(*place, size, size), spine=False)
            canvas.fill(Tissue.GAS if r[23] < 0.35 else Tissue.STOOL, oval(*place, size - 3, size - 3), spine=False)
    values = canvas.array()
    values[~inside] = before[~inside]
    canvas.replace(values)
    _paint_chest(canvas, wide)


def _paint_chest(canvas: Canvas, wide: float) -> None:
    """Lungs behind the liver, and ribs."""
    body, level, r = canvas.body, canvas.level, canvas.body.organs
    if level < -0.6:
        for side in (-1, 1):
            depth = 10 + 22 * (-0.6 - level)
            canvas.fill(Tissue.GAS, oval(side * 72 * wide, -10 - 4 * r[20], 36 * wide, depth), spine=False)
    if level < 0.8:
        for side in (-1, 1):
            for number in range(3):
                angle = -0.75 + 0.5 * number + 0.3 * r[16] + 0.25 * level
                x, y = side * (body.half_width - 3) * np.cos(angle), MIDDLE_Y_MM + 80 * body.size * np.sin(angle)
                canvas.fill(Tissue.CORTEX, oval(x, y, 5, 7), spine=False)
                canvas.fill(Tissue.MARROW, oval(x, y, 3, 5), spine=False)


def _paint_kidney(canvas: Canvas, level: float, side: int) -> None:
    reach = _round(level, 0, 1.5)
    if reach < 0.15:
        return
    x, y = side * (62 + 4 * level), 24.0 - 3 * level
    large = 0.85 + 0.35 * canvas.body.organs[15]
    canvas.fill(Tissue.KIDNEY, oval(x, y, 25 * reach * large, 29 * reach * large))
    canvas.fill(Tissue.MEDULLA, oval(x - side * 2, y, 16 * reach * large, 19 * reach * large))
    if abs(level) < 0.9:
        canvas.fill(Tissue.FAT, oval(x - side * 10, y + 5, 10, 8))
        canvas.fill(Tissue.FLUID, oval(x - side * 12, y + 6, 4, 3))


def _round(level: float, middle: float, half: float) -> float:
    return float(np.sqrt(max(1 - ((level - middle) / half) ** 2, 0.0)))
