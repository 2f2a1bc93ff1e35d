"""Surfaces to look at: a view that turns under the hand and needs no network, and still pictures for paper."""

import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from paraspinal_nnunet.viewer.page import asset, base64_text, hex_colour
from paraspinal_nnunet.viewer.slices import font
from paraspinal_nnunet.viewer.surface import Mesh, vertex_normals

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
_OVERSAMPLING = 2
_MARGIN = 0.1
_FRAGMENT = """<section class="paraspinal-surface">
<style>
{css}</style>
<script type="application/json">{data}</script>
<script>
{js}</script>
</section>
"""


def surface_html(meshes: Sequence[Mesh]) -> str:
    """A view of the meshes that is turned by mouse, touch and keys, to be placed anywhere in a page.

    Drawn in software on a canvas, so that it looks the same with and without a graphics card.

    Args:
        meshes: As `surface_meshes` gave them; at least one.

    Returns:
        HTML with its styles, script and data in it, in ASCII.
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
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return _FRAGMENT.format(css=asset("surface.css"), js=asset("surface.js"), data=text)


def snapshot(meshes: Sequence[Mesh], view: str, *, height_px: int = 360) -> Image.Image:
    """A still picture on white with the marks of the sides.

    Args:
        meshes: At least one.
        view: A name in `VIEWS`.
        height_px: Height of the picture; all views of the same meshes have one scale.
    """
    low, high = _bounds(meshes)
    axes = camera(*VIEWS[view])
    half = np.abs(axes) @ (high - low) / 2
    scale = height_px * (1 - 2 * _MARGIN) / max(2 * half[1], (high - low)[2])
    size = (round(2 * half[0] * scale + 2 * _MARGIN * height_px), height_px)
    big = (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING)
    picture = np.full((big[1], big[0], 3), 255, np.uint8)
    points, colours = zip(*(_samples(mesh, axes, scale * _OVERSAMPLING) for mesh in meshes), strict=True)
    placed = (np.concatenate(points) - (low + high) / 2) @ axes.T.astype(np.float32)
    order = np.argsort(placed[:, 2])  # the nearest is painted last
    columns = np.round(big[0] / 2 + placed[order, 0] * scale * _OVERSAMPLING).astype(int)
    rows = np.round(big[1] / 2 - placed[order, 1] * scale * _OVERSAMPLING).astype(int)
    kept = (columns >= 0) & (columns < big[0]) & (rows >= 0) & (rows < big[1])
    picture[rows[kept], columns[kept]] = np.concatenate(colours)[order[kept]]
    image = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
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
        "data": base64_text(zlib.compress(content, 9)),
    }


def _samples(mesh: Mesh, axes: np.ndarray, pixels_per_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Points on the surface that lie closer than a pixel, and their shaded colours."""
    corners, normals = mesh.vertices_mm[mesh.quads], vertex_normals(mesh)[mesh.quads]
    longest = float(np.quantile(np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1), 0.95))
    count = max(2, int(np.ceil(longest * pixels_per_mm)) + 1)
    towards = normals @ axes[2]
    seen = towards.max(axis=1) > 0
    u, v = (each.ravel() for each in np.meshgrid(*[np.linspace(0, 1, count)] * 2))
    weights = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=1)
    points = (weights.astype(np.float32) @ corners[seen]).reshape(-1, 3)
    light = np.clip(towards[seen] @ weights.T, 0, 1).ravel()
    colours = (AMBIENT + (1 - AMBIENT) * light)[:, None] * np.array(mesh.colour)
    return points, colours.round().astype(np.uint8)


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
