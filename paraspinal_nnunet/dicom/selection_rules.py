"""The rules by which a series is rejected, in the order in which they are asked; the first that speaks gives the
reason.

Words are few, whole (not parts of others) and in lower case: English, German, French, Spanish, Italian.
"""

import re
from collections.abc import Callable, Sequence

from paraspinal_nnunet.dicom.grid import slice_grid
from paraspinal_nnunet.dicom.records import Kind, Series
from paraspinal_nnunet.dicom.splitting import MIXED_GEOMETRIES, plane_of
from paraspinal_nnunet.errors import GeometryError

MIN_SLICES = 8
"""Below this a stack is a localizer or one disc's block, no scan of the lumbar spine."""

T2_MIN_TE_MS = 60.0
T2_MIN_TR_MS = 1500.0
"""Spin echoes with a shorter TE are weighted by proton density or T1, with a shorter TR by T1. Source: ACR MRI
accreditation's usual ranges, TE above 80 and TR above 2000 ms, with room for fast 3D and low-field scans."""

STIR_TI_MS = (80.0, 300.0)
"""Inversion times that null fat between 0.2 and 3 T; longer ones null fluid."""


def _words(*texts: str) -> re.Pattern[str]:
    return re.compile(r"(?<![a-z])(?:" + "|".join(texts) + r")(?![a-z])")


LOCALIZER_WORDS = _words(
    "loc",
    "localizer",
    "localiser",
    "localizador",
    "lokalizer",
    "localisateur",
    "scout",
    "survey",
    "pilot",
    "topogram",
    "rep[eé]rage",
    "[üu]e?bersicht",
    "plan scan",
    "aahead.*",
    "3 ?plane",
    "smartbrain",
)
RECONSTRUCTION_WORDS = _words(
    "mpr", "mip", "reformat(?:ted|ion)?", "rekonstruktion", "reconstruction", "subtraction", "screen ?save", "curved"
)
DIFFUSION_WORDS = _words("dwi", "dti", "diff", "diffusion", "adc", "trace")
T1_WORDS = _words("t1", "t1w", "vibe", "lava", "thrive", "flash")
T2_WORDS = _words("t2", "t2w", "tse", "fse", "frfse", "blade", "propeller", "jet", "space", "cube", "vista")
T2_STAR_WORDS = _words(r"t2\*", "t2star", "medic", "merge", "swi", "ffe", "gre")
PROTON_WORDS = _words("pd", "pdw", "proton")
OTHER_REGIONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("neck", _words("c.?spine", "cspine", "cervical(?:e|is)?", "hws", "kol", "cou")),
    ("chest", _words("t.?spine", "tspine", "thoracic", "thorax", "bws", "dorsale?")),
    ("head", _words("head", "brain", "sch[aä]del", "kopf", "cerveau", "crane", "cerebro")),
    ("limb", _words("knee", "knie", "genou", "rodilla", "shoulder", "schulter", "hip", "h[üu]e?fte", "thigh", "foot")),
)
SUPPRESSED_WORDS = _words("fs", "fatsat", "fat.?sat", "spair", "spir", "stir", r"dixon.?w", "water")
LUMBAR_WORDS = _words("l.?spine", "lspine", "lumb.*", "lws", "lomb.*", "ls", "lwk")


def is_fat_suppressed(series: Series) -> bool:
    """Whether fat is dark in a series: by its scan options, its image type or its name."""
    options = {*series.header.scan_options} & {"FS", "FAT_SAT", "SFS"}
    water = {*series.frames[0].image_type} & {"W", "WATER"}
    return bool(options or water or SUPPRESSED_WORDS.search(series.description.lower()))


def _no_image(series: Series, _: Sequence[Series]) -> str:
    if series.kind is Kind.IMAGE:
        return ""
    return f"no image ({series.header.sop_class})"


def _other_modality(series: Series, _: Sequence[Series]) -> str:
    return "" if series.header.modality in ("MR", "") else f"modality {series.header.modality}, not MR"


def _localizer(series: Series, _: Sequence[Series]) -> str:
    if "LOCALIZER" in series.frames[0].image_type:
        return "localizer by its image type"
    return "localizer by its name" if LOCALIZER_WORDS.search(series.description.lower()) else ""


def _secondary(series: Series, _: Sequence[Series]) -> str:
    if "Secondary Capture" in series.header.sop_class:
        return "secondary capture, no scan"
    words = series.frames[0].image_type
    for word in ("MPR", "PROJECTION IMAGE", "MIP", "SUBTRACTION", "MOSAIC", "ADC"):
        if word in words:
            return f"derived ({word} by its image type)"
    if "SECONDARY" in words[:2]:
        return "derived (secondary by its image type)"
    if not series.header.photometric.startswith("MONOCHROME") or series.header.samples_per_pixel != 1:
        return "colour pictures"
    return "derived by its name" if RECONSTRUCTION_WORDS.search(series.description.lower()) else ""


def _not_axial(series: Series, all_series: Sequence[Series]) -> str:
    orientation = series.frames[0].orientation
    if orientation is None:
        return "no orientation in the header"
    plane = plane_of(orientation)
    if plane != "axial":
        return plane
    planes = {
        plane_of(s.frames[0].orientation)
        for s in all_series
        if s.uid == series.uid and s.kind is Kind.IMAGE and s.frames[0].orientation
    }
    if len(planes) > 1 and len(series.frames) < MIN_SLICES:
        return f"localizer: one series of {len(planes)} planes"
    return ""


def _torn(series: Series, _: Sequence[Series]) -> str:
    if not series.torn:
        return ""
    if len(series.frames) < MIN_SLICES and series.torn == MIXED_GEOMETRIES:
        return (
            f"{len(series.frames)} of the slices of a series in {series.siblings} blocks of another angle or size (one "
            "per disc?), no contiguous stack"
        )
    return f"part of a series that {series.torn} ({series.part}); give --series {series.key} if it is complete"


def _few_slices(series: Series, _: Sequence[Series]) -> str:
    slices = len(series.frames)
    return f"{slices} slice{'s' * (slices != 1)}, fewer than {MIN_SLICES}" if slices < MIN_SLICES else ""


def _not_t2(series: Series, _: Sequence[Series]) -> str:
    traits, header = series.frames[0].traits, series.header
    if traits.get("b_value") or "EP" in header.sequence or DIFFUSION_WORDS.search(series.description.lower()):
        return "diffusion or echo-planar"
    te, tr, ti = (traits.get(k) for k in ("echo_time_ms", "repetition_time_ms", "inversion_time_ms"))
    if te is None or tr is None:
        return _not_t2_by_name(series)
    if "GR" in header.sequence and not {"SE", "RM"} & {*header.sequence}:
        return f"gradient echo (TE {te:.3g} ms)"
    if ti and "IR" in header.sequence:
        return f"inversion recovery ({'STIR' if STIR_TI_MS[0] <= ti <= STIR_TI_MS[1] else 'FLAIR'}, TI {ti:.4g} ms)"
    if tr < T2_MIN_TR_MS and te < T2_MIN_TE_MS:
        return f"T1 (TE {te:.3g} ms, TR {tr:.4g} ms)"
    if te < T2_MIN_TE_MS:
        return f"proton density (TE {te:.3g} ms, TR {tr:.4g} ms)"
    return ""


def _not_t2_by_name(series: Series) -> str:
    text = series.description.lower()
    for kind, words in (("T2*", T2_STAR_WORDS), ("T1", T1_WORDS), ("proton density", PROTON_WORDS)):
        if words.search(text) and not re.search(r"(?<![a-z])t2(?![\da-z*])", text):
            return f"{kind} by its name, without echo time in the header"
    return "" if T2_WORDS.search(text) else "neither echo time nor name says T2"


def _other_region(series: Series, _: Sequence[Series]) -> str:
    text = f"{series.description} {series.header.protocol} {series.header.body_part}".lower().replace("_", " ")
    if LUMBAR_WORDS.search(text):
        return ""
    for region, words in OTHER_REGIONS:
        if words.search(text):
            return f"another region by name or BodyPartExamined ({region})"
    return ""


def _no_grid(series: Series, _: Sequence[Series]) -> str:
    try:
        slice_grid(series.frames, "slices")
    except GeometryError as error:
        return f"damaged: {str(error).removeprefix('slices: ')}"
    return ""


RULES: tuple[Callable[[Series, Sequence[Series]], str], ...] = (
    _no_image,
    _other_modality,
    _localizer,
    _secondary,
    _not_axial,
    _torn,
    _few_slices,
    _not_t2,
    _other_region,
    _no_grid,
)
"""Each takes a series and all series of the study and gives the reason to reject it, or ''."""

RULES_OF_KIND = tuple(rule for rule in RULES if rule not in (_few_slices, _no_grid))
"""Without those that ask whether the slices are a whole stack."""
