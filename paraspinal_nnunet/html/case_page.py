"""The page of one case: viewer, surfaces, flags, tables and plots in one file, and a montage for paper."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from paraspinal_nnunet import __version__
from paraspinal_nnunet.html.content import SEVERITIES, PageCase, ReviewFlag, check_grids
from paraspinal_nnunet.html.document import document
from paraspinal_nnunet.html.measure_tables import meanings, measure_tables
from paraspinal_nnunet.html.preview import jpeg, legend, montage
from paraspinal_nnunet.html.surface.mesh import Mesh, surface_meshes
from paraspinal_nnunet.html.surface.view import snapshot, surface_html
from paraspinal_nnunet.html.viewer.colours import hex_colour
from paraspinal_nnunet.html.viewer.page import viewer_html
from paraspinal_nnunet.html.viewer.slices import ViewerCase, encoded
from paraspinal_nnunet.image_io.geometry import axis_codes
from paraspinal_nnunet.utils.text import quantity

MONTAGE_SLICES, MONTAGE_PX = 9, 260
SNAPSHOTS = {"front": "from the front", "behind": "from behind", "left": "from the left"}
SNAPSHOT_PX = 330
FLAGS_SHOWN = 3
"""The most serious flags that are shown at once; the rest is folded away."""

_SETTINGS = {
    "folds": "Networks (folds)",
    "mode": "Way of tiling",
    "step_size": "Step between tiles, share of the patch",
    "mirroring": "Averaged over mirrored images",
    "runtime": "Computed by",
    "weights_sha256": "SHA-256 of the weights",
    "cleaned_by": "Cleaned up by the model",
    "post": "Cleaned up further by",
    "corrected": "Corrected by hand",
}
"""A setting as records call it -> as readers do; others stand with a capital letter."""

_NAMES = {"serious": "Serious", "warning": "Look", "info": "Note"}


def case_page(case: PageCase) -> str:
    """A whole page of one case, in one file that fetches nothing.

    With scripts: slices to scroll, surfaces to turn. Without them, and on paper: a montage of slices with outlines
    and pictures of the surfaces. Both: flags, tables, plots and what the numbers mean.

    Args:
        case: What to show.

    Raises:
        GeometryError: Image and labels on two grids.
    """
    check_grids(case)
    meshes = surface_meshes(case.labels.array, case.labels.affine)
    tables = case.measures or {}
    return document(
        "case.html",
        f"{case.case}: paraspinal muscles",
        parts=("case", "viewer", *(["surface"] if meshes else []), "tables"),
        name=case.case,
        origin=_origin(case),
        patient=case.patient,
        flags=None if case.flags is None else ordered_flags(case.flags),
        viewer=viewer_html([viewer_case(case)], "Slices", most_slices=None),
        tiles=_tiles(case),
        legend=[(name, hex_colour(colour)) for name, colour in legend(case.labels)],
        missing=[structure.display_name for structure in case.missing],
        flags_shown=FLAGS_SHOWN,
        surface=surface_html(meshes) if meshes else "",
        snapshots=_snapshots(meshes),
        tables=measure_tables(tables),
        plots=Markup(case.plots or ""),
        meanings=meanings(tables),
        docs=case.docs,
        made=_made(case),
    )


def viewer_case(case: PageCase) -> ViewerCase:
    """The case as the viewer takes it."""
    return ViewerCase(
        case.case,
        case.image.array,
        case.image.affine,
        predictions={"muscles": case.labels.array},
        levels=case.levels,
        expected=[structure.label for structure in case.missing],
    )


def ordered_flags(flags: Sequence[ReviewFlag]) -> list[tuple[str, str, str]]:
    """Severity, its word and the text of each flag, the worst first."""
    rank = {severity: place for place, severity in enumerate(SEVERITIES)}
    ordered = sorted(flags, key=lambda flag: rank.get(flag.severity, len(rank)))
    return [worded_flag(flag.severity, flag.text) for flag in ordered]


def worded_flag(severity: str, text: str) -> tuple[str, str, str]:
    """Severity, its word and the text; an unknown severity counts as a note."""
    known = severity if severity in SEVERITIES else "info"
    return known, _NAMES[known], text


def _origin(case: PageCase) -> str:
    meta = case.meta
    parts = [f"model {meta.model}" if meta.model else "", meta.date]
    shape, spacing = case.image.shape, case.image.spacing_mm
    parts.append(f"{' x '.join(map(str, shape))} voxels of {' x '.join(quantity(size) for size in spacing)} mm")
    return ", ".join(filter(None, parts))


def _tiles(case: PageCase) -> list[dict[str, Any]]:
    levels = case.levels
    tiles = montage(case.image, case.labels, slices=MONTAGE_SLICES, height_px=MONTAGE_PX)
    return [
        {
            "content": jpeg(tile.picture),
            "number": tile.number,
            "place": tile.place,
            "level": levels.get(tile.number),
        }
        for tile in tiles
    ]


def _snapshots(meshes: Sequence[Mesh]) -> list[tuple[str, bytes]]:
    """A palette makes the files a third as large and shows no difference."""
    if not meshes:
        return []
    pictures = ((where, snapshot(meshes, view, height_px=SNAPSHOT_PX)) for view, where in SNAPSHOTS.items())
    return [(where, encoded(p.quantize(128, dither=Image.Dither.NONE), "PNG")) for where, p in pictures]


def _made(case: PageCase) -> list[tuple[str, str]]:
    meta = case.meta
    rows = {
        "Program": f"paraspinal-nnunet {meta.version or __version__}",
        "Model": meta.model,
        "Date": meta.date,
        "Scan": f"{' x '.join(map(str, case.image.shape))} voxels, stored {axis_codes(case.image.affine)}",
        "Labelled voxels": str(int(np.count_nonzero(case.labels.array))),
        **{_SETTINGS.get(name, name.replace("_", " ").capitalize()): value for name, value in meta.settings.items()},
    }
    return [(name, str(value)) for name, value in rows.items() if value]
