"""The muscles as surfaces in mm, by surface nets on the smoothed masks; no package beyond numpy and scipy is needed."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.ndimage import find_objects, gaussian_filter

from paraspinal_nnunet.anatomy import BY_LABEL
from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.html.viewer.colours import LABEL_COLOURS, UNKNOWN_COLOUR
from paraspinal_nnunet.image_io.geometry import spacing_mm, to_ras

STEP_MM = 2.5
"""Distance of the grid on which surfaces are found: fine enough for a muscle, coarse enough for a page."""

MOST_QUADS = 150_000
"""The six muscles of a phantom have 33,000; scattered voxels, as a failed model makes them, would have millions."""

SMOOTHING_MM, SMOOTHING_SLICES = 1.0, 0.5
"""Standard deviation of the smoothing in every direction, and at least so many voxels of the coarsest axis."""

_ISO = 0.5
_CORNERS = np.array(list(product((0, 1), repeat=3)))
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 1]


@dataclass(frozen=True)
class Mesh:
    """One muscle's closed surface.

    Attributes:
        label: Its value in the label map.
        name: For the legend.
        colour: Red, green, blue in 0-255.
        vertices_mm: (v, 3) float32 in RAS+.
        quads: (q, 4) int32 places among the vertices, anticlockwise as seen from outside.
    """

    label: int
    name: str
    colour: tuple[int, int, int]
    vertices_mm: np.ndarray
    quads: np.ndarray

    @property
    def volume_ml(self) -> float:
        """Volume inside the surface."""
        triangles = np.concatenate([self.quads[:, [0, 1, 2]], self.quads[:, [0, 2, 3]]])
        a, b, c = (self.vertices_mm[triangles[:, n]].astype(np.float64) for n in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6000


def surface_meshes(labels: np.ndarray, affine: np.ndarray, *, step_mm: float = STEP_MM) -> list[Mesh]:
    """The surface of every label.

    The masks are smoothed before, so that slices do not show as steps: surfaces are for looking, not for measuring.

    Args:
        labels: (i, j, k) integers.
        affine: 4 x 4, voxel to mm in RAS+.
        step_mm: Distance of the grid on which surfaces are found; doubled until they have at most `MOST_QUADS` in all.

    Returns:
        One mesh per label in the map, in the order of their values; labels that vanish in smoothing are left out.

    Raises:
        GeometryError: A map that is not three-dimensional.
    """
    if labels.ndim != 3:
        raise GeometryError(f"the label map has shape {labels.shape}; surfaces need three dimensions")
    array, ras = to_ras(labels, affine)
    spacing = np.array(spacing_mm(ras))
    boxes = find_objects(array)
    while True:
        meshes = [
            mesh
            for label, box in enumerate(boxes, start=1)
            if box is not None and (mesh := _mesh(array[box] == label, label, box, spacing, ras, step_mm)) is not None
        ]
        if sum(len(mesh.quads) for mesh in meshes) <= MOST_QUADS:
            return meshes
        step_mm *= 2


def vertex_normals(mesh: Mesh) -> np.ndarray:
    """(v, 3) unit vectors that point out of the muscle."""
    corners = mesh.vertices_mm[mesh.quads]
    faces = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    count = len(mesh.vertices_mm)
    sums = [np.bincount(mesh.quads.ravel(), np.repeat(faces[:, axis], 4), minlength=count) for axis in range(3)]
    normals = np.stack(sums, axis=1)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def surface_net(field: np.ndarray, iso: float) -> tuple[np.ndarray, np.ndarray]:
    """The surface where a field falls through a value: one vertex in each cell that it crosses, amid the crossings.

    Source: Gibson 1998, Constrained elastic surface nets, doi:10.1007/BFb0056277 (without the relaxation).

    Args:
        field: (x, y, z); below `iso` on all its faces, if the surface is to be closed.
        iso: The value.

    Returns:
        Vertices (v, 3) in units of the grid, and quads (q, 4), anticlockwise as seen from the lower side.
    """
    inside = field > iso
    corners = [_shifted(inside, corner) for corner in _CORNERS]
    count = np.sum(corners, axis=0, dtype=np.uint8)
    mixed = (count > 0) & (count < 8)
    cells = np.argwhere(mixed)
    number = np.full(mixed.shape, -1, np.int32)
    number[mixed] = np.arange(len(cells))
    values = np.stack([field[tuple((cells + corner).T)] for corner in _CORNERS], axis=1)
    total, crossings = np.zeros((len(cells), 3)), np.zeros(len(cells))
    for a, b in _EDGES:
        crossed = (values[:, a] > iso) != (values[:, b] > iso)
        share = (iso - values[crossed, a]) / (values[crossed, b] - values[crossed, a])
        total[crossed] += _CORNERS[a] + share[:, None] * (_CORNERS[b] - _CORNERS[a])
        crossings[crossed] += 1
    vertices = cells + total / np.maximum(crossings, 1)[:, None]
    return vertices, np.concatenate(list(_quads(inside, number)))


def _shifted(array: np.ndarray, corner: np.ndarray) -> np.ndarray:
    return array[tuple(slice(c, n - 1 + c) for c, n in zip(corner, array.shape, strict=True))]


def _quads(inside: np.ndarray, number: np.ndarray) -> Iterator[np.ndarray]:
    """The four cells round every grid edge that the surface crosses, axis by axis."""
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        first, second = (np.moveaxis(inside, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        crossed = np.moveaxis(first != second, 0, axis)
        at = np.argwhere(crossed)
        at = at[
            (at[:, [one, two]] > 0).all(axis=1) & (at[:, one] < number.shape[one]) & (at[:, two] < number.shape[two])
        ]
        steps = np.zeros((4, 3), int)
        steps[[1, 2], one] = 1
        steps[[2, 3], two] = 1
        base = at.copy()
        base[:, [one, two]] -= 1
        quads = np.stack([number[tuple((base + step).T)] for step in steps], axis=1)
        leaving = inside[tuple(at.T)]  # the field falls along the axis: outside lies ahead
        quads[~leaving] = quads[~leaving, ::-1]
        yield quads


def _mesh(
    mask: np.ndarray, label: int, box: tuple[slice, ...], spacing: np.ndarray, affine: np.ndarray, step_mm: float
) -> Mesh | None:
    sigma_mm = np.full(3, SMOOTHING_MM)
    coarsest = int(np.argmax(spacing))
    sigma_mm[coarsest] = max(SMOOTHING_MM, SMOOTHING_SLICES * spacing[coarsest])
    sigma = sigma_mm / spacing
    pad = np.ceil(3 * sigma + 2 * step_mm / spacing).astype(int)
    smooth = gaussian_filter(np.pad(mask.astype(np.float32), [(p, p) for p in pad]), sigma, truncate=3)
    field, step = _regridded(smooth, step_mm / spacing)
    if not (field > _ISO).any():
        return None
    grid, quads = surface_net(field, _ISO)
    voxels = grid * step - pad + [part.start for part in box]
    vertices = (voxels @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
    name = BY_LABEL[label].display_name if label in BY_LABEL else f"label {label}"
    return Mesh(label, name, LABEL_COLOURS.get(label, UNKNOWN_COLOUR), vertices, quads)


def _regridded(field: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear interpolation at every `step` voxels, axis by axis, from the first voxel on."""
    for axis, size in enumerate(field.shape):
        places = np.arange(0, size - 1, step[axis])
        below = places.astype(int)
        shape = [1, 1, 1]
        shape[axis] = len(places)
        share = (places - below).reshape(shape).astype(np.float32)
        field = field.take(below, axis) * (1 - share) + field.take(below + 1, axis) * share
    return field, step
