"""Outlines of a mask along the edges of its pixels: filled again, they give the very same pixels."""

import numpy as np

Point = tuple[int, int]

_STEPS: dict[Point, tuple[Point, Point]] = {
    # direction of the edge: (pixel beside its start on the left, on the right), as offsets of (column, row)
    (1, 0): ((0, 0), (0, -1)),
    (0, 1): ((-1, 0), (0, 0)),
    (-1, 0): ((-1, -1), (-1, 0)),
    (0, -1): ((0, -1), (-1, -1)),
}


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """The outlines of all parts of a mask, one closed polygon each.

    A part with holes is one polygon, too: a channel without width, along the edges of pixels, leads to each hole, as
    CLOSED_PLANAR contours of an RT Structure Set have it (DICOM PS3.3 C.8.8.6.3). Pixels that touch at a corner only
    are parts of their own.

    Args:
        mask: (rows, columns) bool.

    Returns:
        Per part (n, 2) corners of pixels as (column, row), the first not repeated; pixel (c, r) reaches from c to c + 1
        and from r to r + 1.
    """
    loops = _loops(np.asarray(mask, bool))
    parts = [loop for loop in loops if _area2(loop) > 0]
    holes = sorted((loop for loop in loops if _area2(loop) < 0), key=lambda loop: min(loop))
    for hole in holes:
        _join(parts, hole)
    return [_corners(part) for part in parts]


def _loops(mask: np.ndarray) -> list[list[Point]]:
    """Closed walks along the edges, the mask on the left of each: outer ones and holes."""
    leaving = _edges(mask)
    loops = []
    while leaving:
        start = next(iter(leaving))
        direction = leaving[start][0]
        loop, at = [], start
        while True:
            _take(leaving, at, direction)
            loop.append(at)
            at = (at[0] + direction[0], at[1] + direction[1])
            if at not in leaving:  # back at the start, or at a corner that is walked through once only
                break
            left = (-direction[1], direction[0])
            choices = leaving[at]
            direction = left if left in choices else choices[0]  # turning towards the mask parts touching pixels
        loops.append(loop)
    return loops


def _edges(mask: np.ndarray) -> dict[Point, list[Point]]:
    """Corner -> the directions in which edges leave it."""
    padded = np.pad(mask, 1)
    leaving: dict[Point, list[Point]] = {}
    rows, columns = np.indices((mask.shape[0] + 1, mask.shape[1] + 1))
    for direction, (inside, outside) in _STEPS.items():
        left, right = (padded[rows + 1 + dr, columns + 1 + dc] for dc, dr in (inside, outside))
        for row, column in np.argwhere(left & ~right).tolist():
            leaving.setdefault((column, row), []).append(direction)
    return leaving


def _take(leaving: dict[Point, list[Point]], at: Point, direction: Point) -> None:
    leaving[at].remove(direction)
    if not leaving[at]:
        del leaving[at]


def _area2(loop: list[Point]) -> int:
    """Twice the area, positive where the mask lies within."""
    x, y = np.array(loop).T
    return int(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def _join(parts: list[list[Point]], hole: list[Point]) -> None:
    """Put a hole into the part around it, through a channel from its leftmost corner to the left.

    The first corner of an outline on that way belongs to the part, or to a hole of it that was joined before: holes
    come from left to right.
    """
    first = hole.index(min(hole))
    column, row = hole[first]
    owner = {point: (part, n) for part in parts for n, point in enumerate(part) if point[1] == row}
    while (column, row) not in owner:
        column -= 1
    part, n = owner[column, row]
    part[n + 1 : n + 1] = [*hole[first:], *hole[: first + 1], (column, row)]


def _corners(loop: list[Point]) -> np.ndarray:
    """Without the points at which the way only goes on."""
    points = np.array(loop)
    arriving, going = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    straight = (np.sign(arriving) == np.sign(going)).all(axis=1)
    return points[~straight]
