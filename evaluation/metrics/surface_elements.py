"""Surfaces of masks as elements with a place and an area, by one of two conventions.

``area`` (Nikolov et al. 2021, doi:10.2196/26151): an element lies where eight voxels meet that are not all inside or
all outside, and its area is that of the surface that marching cubes lay through the middles of the edges between inside
and outside. ``voxels`` (MONAI): an element is a voxel of the mask with a face neighbour outside, and all count the
same, whatever area they stand for.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Convention = Literal["area", "voxels"]

_CORNERS = tuple(itertools.product((0, 1), repeat=3))
_SHORT = 0.75
"""Squared edges of unit cubes between middles of edges are 0.5 or 1; this parts them."""


@dataclass(frozen=True)
class SurfaceElements:
    """A mask's surface.

    Attributes:
        places_mm: (n, 3), along the array's own axes.
        weights: (n,), area in mm2, or 1 for each voxel.
    """

    places_mm: NDArray[np.float64]
    weights: NDArray[np.float64]


def surface_elements(
    mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64], convention: Convention
) -> SurfaceElements:
    """The surface of a mask that is not empty; the image's border bounds it. Only its bounding box is looked at.

    Args:
        mask: bool, three-dimensional.
        spacing_mm: Voxel size along the array's axes, shape (3,).
        convention: See the module.
    """
    from scipy import ndimage  # a tenth of a second that volumes and Dice do not need

    box = ndimage.find_objects(mask.view(np.uint8))[0]
    inside = mask[box]
    first = np.array([part.start for part in box])
    if convention == "voxels":
        places = np.argwhere(inside & ~ndimage.binary_erosion(inside))
        return SurfaceElements((places + first) * spacing_mm, np.ones(len(places)))
    codes = _codes(inside)
    areas = corner_areas(*map(float, spacing_mm))[codes]
    places = np.argwhere(areas)
    return SurfaceElements((places + first - 0.5) * spacing_mm, areas[tuple(places.T)])


def _codes(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """For every corner of the voxels which of its eight voxels are inside; one corner more than voxels per axis."""
    padded = np.pad(inside, 1).view(np.uint8)
    codes = np.zeros([n + 1 for n in inside.shape], np.uint8)
    for corner in _CORNERS:
        codes <<= 1
        codes |= padded[tuple(slice(c, c + n) for c, n in zip(corner, codes.shape, strict=True))]
    return codes


@cache
def corner_areas(*spacing_mm: float) -> NDArray[np.float64]:
    """Area in mm2 of the surface among eight voxels, by their code, shape (256,).

    A polygon through the middles of cut edges is divided into triangles; more than four voxels inside are the mirror
    image of those outside. The tests hold that the areas are those of surface-distance's table.

    >>> corner_areas(1.0, 1.0, 1.0)[[0, 255, 0b11110000]].tolist()
    [0.0, 0.0, 1.0]
    """
    spacing = np.array(spacing_mm)
    areas = np.zeros(256)
    for code in range(256):
        least = code if code.bit_count() <= 4 else 255 - code
        areas[code] = sum(_polygon_area(polygon, spacing) for polygon in _polygons(least))
    areas.setflags(write=False)
    return areas


def _polygons(code: int) -> Iterator[NDArray[np.float64]]:
    """Closed polygons between the voxels inside and outside, corners in units of voxels, shape (n, 3)."""
    inside = {corner for bit, corner in enumerate(_CORNERS) if code >> (7 - bit) & 1}
    following = dict(step for face in _faces() for step in _steps(face, inside))
    while following:
        edge, polygon = next(iter(following)), []
        while edge in following:
            polygon.append(np.mean(list(edge), axis=0))
            edge = following.pop(edge)
        yield np.array(polygon)


def _faces() -> Iterator[list[tuple[int, ...]]]:
    """The corners of the six faces of a cube, in one sense of rotation as seen from outside."""
    for axis, side in itertools.product(range(3), (0, 1)):
        ring = []
        for pair in ((0, 0), (1, 0), (1, 1), (0, 1)):
            corner = [*pair]
            corner.insert(axis, side)
            ring.append(tuple(corner))
        yield ring if (side == 1) == (axis != 1) else ring[::-1]


def _steps(face: list[tuple[int, ...]], inside: set[tuple[int, ...]]) -> Iterator[tuple[frozenset, frozenset]]:
    """Where a polygon crosses a face: from the edge that leads inside to the next one that leads out again."""
    for start in range(4):
        if face[start] in inside or face[(start + 1) % 4] not in inside:
            continue
        end = start + 1
        while face[(end + 1) % 4] in inside:
            end += 1
        yield frozenset((face[start], face[(start + 1) % 4])), frozenset((face[end % 4], face[(end + 1) % 4]))


def _polygon_area(polygon: NDArray[np.float64], spacing_mm: NDArray[np.float64]) -> float:
    """Area of the triangles that fan out from one corner; of five or six corners, one that keeps the symmetry."""
    count, start = len(polygon), 0
    if count > 4:
        short = ((np.roll(polygon, -1, axis=0) - polygon) ** 2).sum(axis=1) < _SHORT  # the edge after each corner
        start = next(i for i in range(count) if short[i - 1] and short[i] == (count == 6))
    fan = np.roll(polygon, -start, axis=0) * spacing_mm
    return sum(float(np.linalg.norm(np.cross(fan[i] - fan[0], fan[i + 1] - fan[0]))) / 2 for i in range(1, count - 1))
