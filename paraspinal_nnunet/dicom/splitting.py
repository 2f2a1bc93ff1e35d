"""One series may mix echoes, contrasts, b-values, time points or planes: what belongs together is told by the headers.

An attribute divides a series only when all its slices have it, so that tags present in some slices only do no harm.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from paraspinal_nnunet.dicom.records import Frame, Kind, Series
from paraspinal_nnunet.utils.text import pluralize

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of a direction cosine within one stack; about 0.06 degrees."""

SPACING_TOLERANCE_MM = 1e-3
POSITION_TOLERANCE_MM = 0.01
"""Slices nearer than this lie at one place."""

_DIVIDING_TRAITS = (
    ("echo_number", "echo {:g}"),
    ("echo_time_ms", "TE {:.4g} ms"),
    ("b_value", "b {:g}"),
    ("component", "{}"),
    ("temporal_position", "time point {:g}"),
    ("inversion_time_ms", "TI {:g} ms"),
)
_WHERE_DUPLICATED = (("acquisition", "acquisition {:g}"), ("trigger_time_ms", "trigger {:g} ms"))
"""These also count up within an ordinary stack, and divide only where slices else lie in one place."""

_TE_DECIMALS = 2


def split_frames(frames: Sequence[Frame], key: str) -> list[Series]:
    """Divide the slices of one series into stacks.

    Args:
        frames: All slices with one SeriesInstanceUID.
        key: What the series is called.

    Returns:
        One entry, or one per part with keys ``key.1``, ``key.2``, ...
    """
    if any(f.header.kind is not Kind.IMAGE for f in frames):
        return [Series(key, tuple(frames))]
    geometric = sorted(_divided(list(frames), _geometry_key(frames)), key=_largest_first)
    parts: list[tuple[list[Frame], list[str]]] = []
    for group in geometric:
        what = [_geometry_text(group, geometric)] if len(geometric) > 1 else []
        parts += [(part, what + texts) for part, texts in _by_traits(group)]
    torn = len(geometric) > 1
    if len(parts) == 1:
        return [Series(key, tuple(parts[0][0]))]
    return [
        Series(f"{key}.{n}", tuple(part), part=", ".join(texts), torn=torn, siblings=len(parts))
        for n, (part, texts) in enumerate(parts, start=1)
    ]


Part = tuple[list[Frame], list[str]]
"""Slices that belong together, and the texts that say how they differ from the others."""

Division = tuple[Callable[[Frame], Hashable], Callable[[Frame], str]]
"""The key by which slices are divided, and the text for a part."""


def _by_traits(frames: list[Frame]) -> list[Part]:
    parts: list[Part] = [(frames, [])]
    parts = [piece for part in parts for piece in _refined(part, (_image_type_key, _image_type_text(part[0])))]
    for trait, text in _DIVIDING_TRAITS:
        parts = [piece for part in parts for piece in _refined(part, _trait_division(trait, text))]
    for trait, text in _WHERE_DUPLICATED:
        division = _trait_division(trait, text)
        parts = [piece for part in parts for piece in (_refined(part, division) if _has_doubles(part[0]) else [part])]
    return parts


def _refined(part: Part, division: Division) -> list[Part]:
    frames, texts = part
    key, text = division
    pieces = _divided(frames, key)
    return [part] if len(pieces) == 1 else [(piece, [*texts, text(piece[0])]) for piece in pieces]


def _divided(frames: list[Frame], key: Callable[[Frame], Hashable]) -> list[list[Frame]]:
    """Groups of equal key, ordered by key; one group when any slice has no key."""
    groups: dict[Any, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    if None in groups:
        return [frames]
    return [groups[k] for k in sorted(groups)]


def _trait_division(trait: str, text: str) -> Division:
    def value(frame: Frame) -> Any:
        found = frame.traits.get(trait)
        return round(found, _TE_DECIMALS) if isinstance(found, float) else found

    return value, lambda frame: text.format(frame.traits[trait])


def _image_type_key(frame: Frame) -> Hashable:
    return frame.image_type or None


def _image_type_text(group: Sequence[Frame]) -> Callable[[Frame], str]:
    common = set.intersection(*(set(f.image_type) for f in group)) if group else set()
    return lambda frame: "\\".join(word for word in frame.image_type if word not in common) or "plain image type"


def _geometry_key(frames: Sequence[Frame]) -> Callable[[Frame], Hashable]:
    """Number of the first known geometry that a slice agrees with: rounding would divide what merely straddles."""
    known: list[tuple[tuple[int, int], np.ndarray]] = []
    places: dict[int, int] = {}
    for frame in frames:
        size, numbers = (frame.rows, frame.columns), _geometry_numbers(frame)
        alike = [n for n, (other_size, other) in enumerate(known) if size == other_size and _alike(numbers, other)]
        if not alike:
            known.append((size, numbers))
        places[id(frame)] = alike[0] if alike else len(known) - 1
    return lambda frame: places[id(frame)]


def _largest_first(group: Sequence[Frame]) -> tuple[int, tuple[float, ...]]:
    """An order that file names have no part in."""
    return -len(group), min((f.position_mm for f in group if f.position_mm is not None), default=())


def _geometry_numbers(frame: Frame) -> np.ndarray:
    """Orientation and spacing, (8,), NaN where missing, each in units of its tolerance."""
    orientation = frame.orientation or (np.nan,) * 6
    spacing = frame.pixel_spacing_mm or (np.nan,) * 2
    return np.array([*(v / ORIENTATION_TOLERANCE for v in orientation), *(v / SPACING_TOLERANCE_MM for v in spacing)])


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all(np.isnan(a) == np.isnan(b)) and np.nanmax(np.abs(a - b), initial=0) <= 1)


def _geometry_text(group: Sequence[Frame], others: Sequence[Sequence[Frame]]) -> str:
    first = group[0]
    texts = [pluralize(len(group), "slice")]
    if len({(g[0].rows, g[0].columns) for g in others}) > 1:
        texts.append(f"{first.columns} x {first.rows} voxels")
    if len({g[0].pixel_spacing_mm for g in others}) > 1 and first.pixel_spacing_mm:
        texts.append(f"{first.pixel_spacing_mm[0]:.4g} mm pixels")
    if len({g[0].orientation for g in others}) > 1:
        texts.append("no orientation" if first.orientation is None else plane_of(first.orientation))
    return ", ".join(texts)


def plane_of(orientation: Sequence[float]) -> str:
    """The anatomical plane nearest to a slice: ``'sagittal'``, ``'coronal'`` or ``'axial'``."""
    normal = np.cross(orientation[:3], orientation[3:])
    return ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal)))]


def _has_doubles(group: Sequence[Frame]) -> bool:
    known = [np.array(f.position_mm) for f in group if f.position_mm is not None]
    if len(known) < 2:
        return False
    rounded = {tuple(np.round(p / POSITION_TOLERANCE_MM).astype(int)) for p in known}
    return len(rounded) < len(known)
