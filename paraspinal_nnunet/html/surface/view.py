"""Surfaces to look at: a view that turns under the hand and needs no network, and still pictures for paper."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

from paraspinal_nnunet.html.document import base64_text, fragment
from paraspinal_nnunet.html.surface.mesh import Mesh, vertex_normals
from paraspinal_nnunet.html.viewer.colours import hex_colour
from paraspinal_nnunet.html.viewer.slices import font

RESOLUTION_MM = 0.1
"""Vertices are stored to so much."""

VIEWS: dict[str, tuple[float, float]] = {
    "front": (0.0, 0.0),
    "behind": (180.0, 0.0),
    "right": (-90.0, 0.0),
    "left": (90.0, 0.0),
    "feet": (0.0, -90.0),
}
"""Where the viewer stands -> turn about the head-foot axis and upward tilt, in degrees."""

MARKS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
"""Letter -> direction in RAS+."""

AMBIENT = 0.32
MOST_PIXELS_PER_MM = 2.5
MOST_SAMPLES = 1_000_000
"""Of a surface in a still picture: a muscle needs some ten thousand, scattered voxels would take any number."""

_OVERSAMPLING = 2
_MARGIN = 0.1


def surface_html(meshes: Sequence[Mesh]) -> Markup:
    """A view of the meshes that is turned by mouse, touch and keys, to be placed anywhere in a page.

    Drawn in software on a canvas, so that it looks the same with and without a graphics card.

    Args:
        meshes: As `surface_meshes` gave them; at least one.

    Returns:
        HTML with the surfaces in it, for a page made with the part ``'surface'``.
    """
    low, high = _bounds(meshes)
    centre = (low + high) / 2
    data = {
        "half": [round(float(v), 1) for v in (high - low) / 2],
        "centre": [round(float(v), 1) for v in centre],
        "unit": RESOLUTION_MM,
        "ambient": AMBIENT,
        "views": {name: list(view) for name, view in VIEWS.items()},
        "marks": {letter: list(direction) for letter, direction in MARKS.items()},
        "meshes": [_packed(mesh, centre) for mesh in meshes],
    }
    return fragment("parts.html", "surface", data)


def snapshot(meshes: Sequence[Mesh], view: str, *, height_px: int = 360) -> Image.Image:
    """A still picture on white with the marks of the sides.

    Args:
        meshes: At least one.
        view: A name in `VIEWS`.
        height_px: Height of the picture at most; views from all sides of the same meshes have one scale.
    """
    low, high = _bounds(meshes)
    axes = camera(*VIEWS[view])
    half = np.abs(axes) @ (high - low) / 2
    scale = min(height_px * (1 - 2 * _MARGIN) / max(2 * half[1], (high - low)[2]), MOST_PIXELS_PER_MM)
    width, height = (round(float(length * scale + _MARGIN * height_px)) * 2 for length in half[:2])
    to_pixels = axes * (scale * _OVERSAMPLING) * np.array([[1], [-1], [1]])
    offset = np.array([width * _OVERSAMPLING / 2, height * _OVERSAMPLING / 2, 0]) - to_pixels @ (low + high) / 2
    parts = [_samples(mesh, axes[2], to_pixels, offset) for mesh in meshes]
    points, light = (np.concatenate(part) for part in zip(*parts, strict=True))
    owner = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
    nearest = np.full((height * _OVERSAMPLING, width * _OVERSAMPLING), -1)
    columns, rows = points[:, 0].round().astype(np.int32), points[:, 1].round().astype(np.int32)
    order = np.argsort(points[:, 2])  # the nearest is painted last
    order = order[_within(columns[order], nearest.shape[1]) & _within(rows[order], nearest.shape[0])]
    nearest[rows[order], columns[order]] = order
    painted = nearest >= 0
    colours = np.array([mesh.colour for mesh in meshes])[owner[nearest[painted]]]
    picture = np.full((*nearest.shape, 3), 255, np.uint8)
    picture[painted] = (colours * (AMBIENT + (1 - AMBIENT) * light[nearest[painted]])[:, None]).round()
    image = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
    _draw_marks(image, axes, half, scale)
    return image


def camera(turn_deg: float, tilt_deg: float) -> np.ndarray:
    """Rows: directions to the right, to the top and out of the screen, in RAS+.

    At 0, 0 the viewer stands before the patient: the patient's right is on the left.
    """
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    right, out, up = np.array([-c, -s, 0.0]), np.array([-s, c, 0.0]), np.array([0.0, 0.0, 1.0])
    cc, ss = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    return np.stack([right, up * cc - out * ss, out * cc + up * ss])


def _bounds(meshes: Sequence[Mesh]) -> tuple[np.ndarray, np.ndarray]:
    vertices = np.concatenate([mesh.vertices_mm for mesh in meshes])
    return vertices.min(axis=0), vertices.max(axis=0)


def _packed(mesh: Mesh, centre: np.ndarray) -> dict[str, Any]:
    """Vertices and quads as differences from the ones before, byte by byte, which deflates well."""
    vertices = np.round((mesh.vertices_mm - centre) / RESOLUTION_MM).astype(np.int32)
    numbers = np.concatenate([vertices.T.ravel(), mesh.quads.T.ravel()])
    differences = np.diff(numbers, prepend=0).astype("<i4")
    content = differences.view(np.uint8).reshape(-1, 4).T.tobytes()
    return {
        "name": mesh.name,
        "colour": hex_colour(mesh.colour),
        "vertices": len(vertices),
        "quads": len(mesh.quads),
        "data": base64_text(zlib.compress(content)),
    }


def _samples(mesh: Mesh, out: np.ndarray, to_pixels: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points that lie closer than a pixel on the quads that face the viewer, and how bright they are (0 to 1).

    Args:
        mesh: The surface.
        out: Direction out of the screen.
        to_pixels: (3, 3) from mm to column, row and depth.
        offset: Added to these.
    """
    towards = (vertex_normals(mesh) @ out).astype(np.float32)[mesh.quads]
    seen = towards.max(axis=1) > 0
    places = (mesh.vertices_mm @ to_pixels.T + offset).astype(np.float32)[mesh.quads[seen]]
    sides = np.linalg.norm(np.diff(places[:, [0, 1, 2], :2], axis=1), axis=2)
    closest = int(np.ceil(float(np.quantile(sides, 0.98)) * 1.1)) + 1
    count = max(2, min(closest, int((MOST_SAMPLES / len(places)) ** 0.5)))
    u, v = (each.ravel() for each in np.meshgrid(*[np.linspace(0, 1, count, dtype=np.float32)] * 2))
    weights = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=1)
    return (weights @ places).reshape(-1, 3), np.clip(towards[seen] @ weights.T, 0, 1).ravel()


def _within(places: np.ndarray, size: int) -> np.ndarray:
    return (places >= 0) & (places < size)


def _draw_marks(image: Image.Image, axes: np.ndarray, half: np.ndarray, scale: float) -> None:
    draw = ImageDraw.Draw(image)
    size = max(11, round(0.055 * image.height))
    for letter, direction in MARKS.items():
        x, y, _ = axes @ np.array(direction, float)
        if max(abs(x), abs(y)) < 0.5:
            continue
        place = (
            image.width / 2 + x * (half[0] * scale + 0.8 * size),
            image.height / 2 - y * (half[1] * scale + 0.8 * size),
        )
        draw.text(place, letter, fill="#1b1f24", font=font(size), anchor="mm")
