"""Figure 4: the muscles' surfaces seen from the front, the side and the back, for reference and prediction."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation.case_maps import read_case, shown_values
from paraspinal_nnunet.evaluation.comparison.view import StudyView
from paraspinal_nnunet.evaluation.figures.drawing import Drawing, get_matplotlib, get_skimage_measure, new_figure
from paraspinal_nnunet.evaluation.figures.slices import add_legend
from paraspinal_nnunet.image_io.geometry import spacing_mm

GRID_MM = 2.0
"""Masks are brought to cubes of this size before their surface is found."""

SMOOTHING_MM = 2.0
"""Standard deviation of the Gaussian that rounds the slices' steps off in the pictures; volumes are those of the
masks."""

_LIGHT = np.array([-0.35, 0.45, 0.82])  # to the viewer's left, above, towards the viewer
_AMBIENT = 0.42
_SEAM_PT = 0.8
"""Width of the triangles' edges, in their own colour: thinner ones let what lies behind through as pale specks."""


@dataclass(frozen=True)
class Camera:
    """A direction of view: what lies to the right and above in the picture, and what points to the viewer (RAS)."""

    name: str
    right: tuple[float, float, float]
    up: tuple[float, float, float]
    letters: tuple[str, str, str, str]

    @property
    def axes(self) -> np.ndarray:
        """Rows: right, up, towards the viewer."""
        right, up = np.array(self.right), np.array(self.up)
        return np.stack([right, up, np.cross(right, up)])


CAMERAS = (
    Camera("from the front", (-1, 0, 0), (0, 0, 1), ("R", "L", "S", "I")),
    Camera("from the right", (0, 1, 0), (0, 0, 1), ("P", "A", "S", "I")),
    Camera("from behind", (1, 0, 0), (0, 0, 1), ("L", "R", "S", "I")),
)
"""Letters: left, right, top and bottom of the picture."""


@dataclass(frozen=True)
class Surface:
    """A closed triangle mesh.

    Attributes:
        vertices: (n, 3) in mm along the patient's right, anterior and superior.
        faces: (m, 3) indices of vertices; normals point outwards.
    """

    vertices: np.ndarray
    faces: np.ndarray

    @property
    def volume_ml(self) -> float:
        """Volume inside, by the divergence theorem."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6000)

    @property
    def area_cm2(self) -> float:
        """Area of all triangles."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 200)


def surface_of(
    mask: np.ndarray, spacing: tuple[float, float, float], *, smoothing_mm: float = SMOOTHING_MM
) -> Surface | None:
    """The surface of a mask in mm, or None of an empty one.

    The mask is brought to cubes of `GRID_MM` (linearly), smoothed, and cut at one half by marching cubes.

    Args:
        mask: bool (x, y, z).
        spacing: Voxel size in mm.
        smoothing_mm: Standard deviation of the Gaussian; 0 smooths nothing.

    Raises:
        SetupError: scikit-image is not installed.
    """
    measure = get_skimage_measure()
    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return None
    # An empty margin that the smoothing cannot cross closes the surface.
    margins = [int(np.ceil((4 * smoothing_mm + GRID_MM) / mm)) + 1 for mm in spacing]
    cropped = np.pad(mask[found[0]].astype(np.float32), [(m, m) for m in margins])
    steps = [np.arange(0, n - 1 + 1e-9, GRID_MM / mm) for n, mm in zip(cropped.shape, spacing, strict=True)]
    cubes = cropped
    for axis, places in enumerate(steps):
        cubes = _linear(cubes, places, axis)
    if smoothing_mm:
        cubes = ndimage.gaussian_filter(cubes, smoothing_mm / GRID_MM)
    if cubes.max() <= 0.5:
        return None
    vertices, faces, _, _ = measure.marching_cubes(cubes, 0.5, spacing=(GRID_MM,) * 3, gradient_direction="descent")
    origin = [(part.start - m) * mm for part, m, mm in zip(found[0], margins, spacing, strict=True)]
    surface = Surface(vertices + np.array(origin), faces)
    return surface if surface.volume_ml > 0 else Surface(surface.vertices, faces[:, ::-1])


def draw_surfaces(view: StudyView) -> Drawing:
    """Draw Figure 4 of the chosen model and case.

    Raises:
        SetupError: scikit-image is not installed.
        InputError: A file has gone, or both label maps are empty.
    """
    maps = read_case(view.record, view.case, [view.model])
    spacing = spacing_mm(maps.affine)
    values = shown_values(view.record.labels)
    rows = {"Reference": maps.reference, view.model: maps.predictions[view.model]}
    surfaces: dict[str, dict[str, Surface]] = {name: {} for name in rows}
    table = []
    voxel_ml = float(np.prod(spacing)) / 1000
    for name, labels in rows.items():
        for structure, label in view.labels.items():
            mask = labels == values[label.key]
            surface = surface_of(mask, spacing)
            if surface is not None:
                surfaces[name][structure] = surface
            table.append(
                {
                    "case": view.case,
                    "labels": name,
                    "structure": structure,
                    "mask_ml": float(mask.sum()) * voxel_ml,
                    "surface_ml": surface.volume_ml if surface else 0.0,
                    "surface_cm2": surface.area_cm2 if surface else 0.0,
                    "triangles": len(surface.faces) if surface else 0,
                }
            )
    if not any(surfaces.values()):
        raise InputError(f"case {view.case}: neither reference nor prediction holds a muscle")
    caption = (
        f"Surfaces of the muscles of case {view.case}: reference and segmentation by {view.model}. Marching cubes on "
        f"masks brought to {GRID_MM:g} mm cubes and smoothed with a Gaussian of {SMOOTHING_MM:g} mm. R right, L left, "
        "S superior, I inferior, A anterior, P posterior. Dark colours: right side, light colours: left side."
    )
    figure = _draw(view, surfaces)
    return Drawing("figure_4_surfaces", "Surfaces of the muscles", caption, figure, pd.DataFrame(table))


def _linear(array: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Values between the neighbours along one axis."""
    low = np.minimum(places.astype(int), array.shape[axis] - 2)
    share = (places - low).reshape([-1 if a == axis else 1 for a in range(3)]).astype(np.float32)
    return np.take(array, low, axis) * (1 - share) + np.take(array, low + 1, axis) * share


def _draw(view: StudyView, surfaces: dict[str, dict[str, Surface]]) -> Any:
    box = np.concatenate([s.vertices for of_name in surfaces.values() for s in of_name.values()])
    low, high = box.min(axis=0), box.max(axis=0)
    widths = [float(np.abs(camera.axes[0]) @ (high - low)) for camera in CAMERAS]
    height = float(high[2] - low[2])
    # All panels share one scale: mm per inch follows from the widest row.
    figure = new_figure(min(9.0, len(surfaces) * (5.6 * height / sum(widths) + 0.42) + 0.65))
    figure.get_layout_engine().set(w_pad=0.1)
    grid = figure.subplots(len(surfaces), len(CAMERAS), squeeze=False, width_ratios=widths)
    for row, (name, of_name) in enumerate(surfaces.items()):
        for column, camera in enumerate(CAMERAS):
            axes = grid[row][column]
            _render(axes, view, of_name, camera)
            corners = np.stack([low, high]) @ camera.axes[:2].T
            axes.set_xlim(*sorted(corners[:, 0]))
            axes.set_ylim(*sorted(corners[:, 1]))
            axes.set_aspect("equal")
            axes.set_axis_off()
            _letters(axes, camera)
            if not row:
                axes.set_title(camera.name, pad=12)
        figure_row = grid[row][0]
        figure_row.text(-0.16, 0.5, name, transform=figure_row.transAxes, rotation=90, va="center", ha="right")
    add_legend(figure, view)
    return figure


def _letters(axes: Any, camera: Camera) -> None:
    sides = ((-0.03, 0.5, "right", "center"), (1.03, 0.5, "left", "center"))
    places = (*sides, (0.5, 1.01, "center", "bottom"), (0.5, -0.01, "center", "top"))
    for letter, (x, y, across, along) in zip(camera.letters, places, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, ha=across, va=along, fontweight="bold", fontsize=7)


def _render(axes: Any, view: StudyView, surfaces: dict[str, Surface], camera: Camera) -> None:
    """Draw all triangles that face the viewer, far ones first."""
    get_matplotlib()
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    light = _LIGHT / np.linalg.norm(_LIGHT)
    corners, colours = [np.empty((0, 3, 3))], [np.empty((0, 3))]
    for structure, surface in surfaces.items():
        triangles = (surface.vertices @ camera.axes.T)[surface.faces]
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        facing = normals[:, 2] > 0
        shade = _AMBIENT + (1 - _AMBIENT) * np.clip(normals[facing] @ light, 0, 1)
        corners.append(triangles[facing])
        colours.append(np.array(to_rgb(view.colour(structure))) * shade[:, None])
    drawn, tints = np.concatenate(corners), np.concatenate(colours)
    order = np.argsort(drawn[:, :, 2].mean(axis=1))
    axes.add_collection(
        PolyCollection(
            list(drawn[order][:, :, :2]),
            facecolors=tints[order],
            edgecolors=tints[order],
            linewidths=_SEAM_PT,
            joinstyle="round",
            rasterized=True,
        )
    )
