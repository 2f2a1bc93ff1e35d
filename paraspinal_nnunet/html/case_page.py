"""The page of one case: viewer, surfaces, flags, tables and plots in one file, and a montage for paper."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from paraspinal_nnunet import __version__
from paraspinal_nnunet.html.content import SEVERITIES, Flag, PageCase, check_grids
from paraspinal_nnunet.html.document import NOTICE, document, embedded
from paraspinal_nnunet.html.preview import jpeg, legend, montage
from paraspinal_nnunet.html.surface.mesh import Mesh, surface_meshes
from paraspinal_nnunet.html.surface.view import snapshot, surface_html
from paraspinal_nnunet.html.tables import meanings_html, measures_html
from paraspinal_nnunet.html.viewer.page import as_text, hex_colour, viewer_html
from paraspinal_nnunet.html.viewer.slices import ViewerCase, encoded
from paraspinal_nnunet.image_io.geometry import axis_codes

MONTAGE_SLICES, MONTAGE_PX = 9, 260
SNAPSHOTS = ("front", "behind", "left")
SNAPSHOT_PX = 330
_VIEWER = {"front": "from the front", "behind": "from behind", "left": "from the left"}
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
    viewer = viewer_html([viewer_case(case)], "Slices", most_slices=None)
    meshes = surface_meshes(case.labels.array, case.labels.affine)
    surface = surface_html(meshes) if meshes else ""
    tables = case.measures or {}
    parts = [
        f"<header><h1>{as_text(case.case)}</h1>{_origin(case)}<p class='notice'>{as_text(NOTICE)}</p></header>",
        _patient(case.patient),
        _section("flags", "Flags", flags_html(case.flags)),
        f"<div class='interactive'>{viewer}</div>",
        _section("slices", "Slices", _montage(case), classes="still"),
        _surfaces(surface, meshes, case.case),
        _section("measures", "Measures", measures_html(tables)),
        _section("plots", "Along the spine", f"<figure>{case.plots}</figure>" if case.plots else ""),
        _section("meanings", "What the numbers mean", meanings_html(tables) + _docs(case.docs)),
        _section("made", "How this was made", _made(case)),
    ]
    return document(f"{case.case}: paraspinal muscles", "\n".join(filter(None, parts)), trusted=(viewer, surface))


def viewer_case(case: PageCase) -> ViewerCase:
    """The case as the viewer takes it."""
    return ViewerCase(case.case, case.image.array, case.image.affine, predictions={"muscles": case.labels.array})


def flags_html(flags: Sequence[Flag] | None) -> str:
    """Flags as a list, the worst first; a sentence where there are none, and nothing where nobody looked."""
    if flags is None:
        return ""
    if not flags:
        return "<p>None of the automatic checks found anything. They do not replace looking.</p>"
    rank = {severity: place for place, severity in enumerate(SEVERITIES)}
    ordered = sorted(flags, key=lambda flag: rank.get(flag.severity, len(rank)))
    return f"<ul class='flags'>{''.join(flag_html(flag.severity, flag.text) for flag in ordered)}</ul>"


def flag_html(severity: str, text: str) -> str:
    """One flag as an item of a list."""
    known = severity if severity in SEVERITIES else "info"
    return f"<li class='{known}'><b>{_NAMES[known]}</b><span>{as_text(text)}</span></li>"


def _section(key: str, heading: str, inside: str, *, classes: str = "") -> str:
    if not inside:
        return ""
    named = f" class='{classes}'" if classes else ""
    return f"<section id='{key}'{named}><h2>{as_text(heading)}</h2>{inside}</section>"


def _origin(case: PageCase) -> str:
    meta = case.meta
    parts = [f"model {meta.model}" if meta.model else "", meta.date]
    shape, spacing = case.image.shape, case.image.spacing_mm
    parts.append(f"{' x '.join(map(str, shape))} voxels of {' x '.join(f'{size:.3g}' for size in spacing)} mm")
    return f"<p class='soft'>{as_text(', '.join(filter(None, parts)))}</p>"


def _patient(facts: Mapping[str, str] | None) -> str:
    if not facts:
        return ""
    items = "".join(f"<div><dt>{as_text(k)}</dt><dd>{as_text(str(v))}</dd></div>" for k, v in facts.items())
    return f"<dl class='patient'>{items}</dl>"


def _montage(case: PageCase) -> str:
    tiles = montage(case.image, case.labels, slices=MONTAGE_SLICES, height_px=MONTAGE_PX)
    figures = "".join(
        f"<figure>{embedded(jpeg(tile.picture), 'jpeg', f'slice {tile.number} with the outlines of the muscles')}"
        f"<figcaption>slice {tile.number}, z = {tile.mm:.0f} mm</figcaption></figure>"
        for tile in tiles
    )
    names = "".join(
        f"<li><i class='swatch' style='background:{hex_colour(colour)}'></i>{as_text(name)}</li>"
        for name, colour in legend(case.labels)
    )
    about = "<p class='soft'>From head to feet. R is the patient's right; the front is above.</p>"
    return f"{about}<div class='montage'>{figures}</div><ul class='legend'>{names}</ul>"


def _surfaces(interactive: str, meshes: Sequence[Mesh], name: str) -> str:
    if not meshes:
        return ""
    pictures = ""
    for view in SNAPSHOTS:
        content = encoded(_few_colours(snapshot(meshes, view, height_px=SNAPSHOT_PX)), "PNG")
        picture = embedded(content, "png", f"{name}: the muscles {_VIEWER[view]}")
        pictures += f"<figure>{picture}<figcaption>{_VIEWER[view]}</figcaption></figure>"
    still = f"<div class='still snapshots'>{pictures}</div>"
    return f"<section id='surface'><h2>Muscles in 3D</h2><div class='interactive'>{interactive}</div>{still}</section>"


def _few_colours(picture: Image.Image) -> Image.Image:
    """A palette makes the file a third as large and shows no difference."""
    return picture.quantize(128, dither=Image.Dither.NONE)


def _docs(address: str) -> str:
    return f"<p><a href='{as_text(address)}' rel='noreferrer'>More about the measures</a></p>" if address else ""


def _made(case: PageCase) -> str:
    meta = case.meta
    rows = {
        "Program": f"paraspinal-nnunet {meta.version or __version__}",
        "Model": meta.model,
        "Date": meta.date,
        "Scan": f"{' x '.join(map(str, case.image.shape))} voxels, stored {axis_codes(case.image.affine)}",
        "Labelled voxels": str(int(np.count_nonzero(case.labels.array))),
        **meta.settings,
    }
    lines = "".join(f"<tr><th>{as_text(k)}</th><td>{as_text(str(v))}</td></tr>" for k, v in rows.items() if v)
    return f"<div class='wide'><table class='plain'><tbody>{lines}</tbody></table></div>"
