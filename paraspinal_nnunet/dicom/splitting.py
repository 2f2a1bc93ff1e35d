"""One series may mix echoes, contrasts, b-values, time points or planes: what belongs together is told by the headers.

Slices that differ by rounding, or by an element that only some of them have, belong together where none lies in
another's place. Parts that differ in kind stay apart; where one has slices that would go on with the other, it is torn.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from paraspinal_nnunet.dicom.records import Frame, Kind, Series
from paraspinal_nnunet.utils.text import pluralize

ORIENTATION_TOLERANCE = 5e-3
"""Largest difference of a direction cosine within one stack: two decimals, 0.3 degrees. Blocks along the discs differ
by more than a degree."""

SPACING_TOLERANCE = 5e-3
"""Largest difference of pixel spacings within one stack, as a share: 0.39 is 0.390625, 0.4 is not."""

TRAIT_TOLERANCE = 0.01
"""Echo times and the like that differ by a smaller share are one, rounded differently or by the scanner's raster."""

POSITION_TOLERANCE_MM = 0.01
"""Slices nearer than this lie at one place."""

LINE_TOLERANCE_MM = 0.1
"""A slice this near to the line of other slices would go on with their stack."""

IMAGE_TYPE_SUFFIXES = frozenset(
    {"ND", "NORM", "DIS2D", "DIS3D", "FM", "FIL", "FILTERED", "SH", "PFP", "MFSPLIT", "COMPOSED", "NONE", ""}
)
"""Words of ImageType that tell of corrections and filters, not of what the voxels mean."""

_DIVIDING_TRAITS = (
    ("frame_of_reference", "another frame of reference"),
    ("echo_number", "echo {:g}"),
    ("echo_time_ms", "TE {:.6g} ms"),
    ("b_value", "b {:g}"),
    ("component", "{}"),
    ("contrast", "{}"),
    ("temporal_position", "time point {:g}"),
    ("inversion_time_ms", "TI {:g} ms"),
)
_WHERE_DUPLICATED = (("acquisition", "acquisition {:g}"), ("trigger_time_ms", "trigger {:g} ms"))
"""These also count up within an ordinary stack, and divide only where slices else lie in one place."""

_FINALLY = (("repetition_time_ms", "TR {:g} ms"), ("flip_angle_deg", "flip angle {:g}"))
"""These vary from slice to slice, and divide only into as many parts as slices lie in one place."""

_ROUNDED = ("echo_time_ms", "b_value", "inversion_time_ms")

_ABSENCE_TELLS = ("contrast",)
"""Of these, slices without the element are of another kind than slices with it."""

MIXED_GEOMETRIES = "mixes geometries"
_CONTRASTS = "has further slices in another part"


def split_frames(frames: Sequence[Frame], key: str) -> list[Series]:
    """Divide the slices of one series into stacks.

    Args:
        frames: All slices of one patient, study and series.
        key: What the series is called.

    Returns:
        One entry, or one per part with keys ``key.1``, ``key.2``, ...
    """
    if any(f.header.kind is not Kind.IMAGE for f in frames):
        return [Series(key, tuple(frames))]
    geometric = sorted(_divided(list(frames), _geometry_key(frames)), key=_largest_first)
    parts: list[tuple[list[Frame], list[str], str]] = []
    for group in geometric:
        what = [_geometry_text(group, geometric)] if len(geometric) > 1 else []
        pieces = _by_traits(group)
        for part, texts in pieces:
            continued = any(_goes_on(part, other) for other, _ in pieces if other is not part)
            torn = MIXED_GEOMETRIES if len(geometric) > 1 else _CONTRASTS if continued else ""
            parts.append((part, what + texts, torn))
    if len(parts) == 1:
        return [Series(key, tuple(parts[0][0]))]
    return [
        Series(f"{key}.{n}", tuple(part), part=", ".join(texts), torn=torn, siblings=len(parts))
        for n, (part, texts, torn) in enumerate(parts, start=1)
    ]


Part = tuple[list[Frame], list[str]]
"""Slices that belong together, and the texts that say how they differ from the others."""

Division = tuple[Callable[[Frame], Hashable], Callable[[Frame], str]]
"""The key by which slices are divided, and the text for a part."""


def _by_traits(frames: list[Frame]) -> list[Part]:
    parts = _refined((frames, []), _image_type_division(frames))
    for trait, text in _DIVIDING_TRAITS:
        parts = [piece for part in parts for piece in _refined(part, _trait_division(part[0], trait, text))]
    for trait, text in _WHERE_DUPLICATED:
        division = _exact_division(trait, text)
        parts = [piece for part in parts for piece in (_refined(part, division) if _has_doubles(part[0]) else [part])]
    for trait, text in (*_DIVIDING_TRAITS, *_FINALLY):
        parts = [piece for part in parts for piece in _untangled(part, _exact_division(trait, text))]
    return parts


def _refined(part: Part, division: Division) -> list[Part]:
    frames, texts = part
    key, text = division
    pieces = _divided(frames, key)
    return [part] if len(pieces) == 1 else [(piece, [*texts, text(piece[0])]) for piece in pieces]


def _untangled(part: Part, division: Division) -> list[Part]:
    """Divided, where slices lie in one place, and into no more parts than lie there."""
    if not _has_doubles(part[0]):
        return [part]
    pieces = _refined(part, division)
    return pieces if len(pieces) <= max(_at_each_place(part[0]).values()) else [part]


def _divided(frames: list[Frame], key: Callable[[Frame], Hashable]) -> list[list[Frame]]:
    """Groups of equal key, ordered by key; slices without key go with the others where these are of one kind."""
    groups: dict[Any, list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    without = groups.pop(None, [])
    if without and len(groups) < 2:
        return [frames]
    return [*(groups[k] for k in sorted(groups)), *([without] if without else [])]


def _trait_division(frames: Sequence[Frame], trait: str, text: str) -> Division:
    """By values that differ by more than rounding: each begins a group that reaches up to the tolerance."""
    values = sorted({f.traits[trait] for f in frames if trait in f.traits})
    starts: dict[Any, Any] = {}
    start: Any = None
    for value in values:
        if start is None or trait not in _ROUNDED or value - start > TRAIT_TOLERANCE * abs(value):
            start = value
        starts[value] = start
    absent = "" if trait in _ABSENCE_TELLS else None
    return lambda frame: starts.get(frame.traits.get(trait), absent), _text_of(trait, text)


def _exact_division(trait: str, text: str) -> Division:
    return lambda frame: frame.traits.get(trait), _text_of(trait, text)


def _text_of(trait: str, text: str) -> Callable[[Frame], str]:
    return lambda frame: text.format(frame.traits[trait]) if trait in frame.traits else f"without {trait}"


def _image_type_division(group: Sequence[Frame]) -> Division:
    common = set.intersection(*(set(f.image_type) for f in group)) if group else set()

    def kind(frame: Frame) -> Hashable:
        return tuple(word for word in frame.image_type if word not in IMAGE_TYPE_SUFFIXES) or None

    def text(frame: Frame) -> str:
        return "\\".join(word for word in frame.image_type if word not in common) or "plain image type"

    return kind, text


def _goes_on(part: Sequence[Frame], other: Sequence[Frame]) -> bool:
    """Whether the other part has slices on this part's line, in places where this part has none."""
    mine = np.array([f.position_mm for f in part if f.position_mm is not None])
    theirs = np.array([f.position_mm for f in other if f.position_mm is not None])
    if not len(mine) or not len(theirs) or part[0].orientation is None:
        return False
    normal = np.cross(part[0].orientation[:3], part[0].orientation[3:])
    ends = mine[np.argsort(mine @ normal)[[0, -1]]]
    line = ends[1] - ends[0] if np.ptp(mine @ normal) > POSITION_TOLERANCE_MM else normal
    line = line / np.linalg.norm(line)
    along = theirs - ends[0]
    beside = np.linalg.norm(along - np.outer(along @ line, line), axis=1)
    new = np.linalg.norm(theirs[:, None] - mine[None], axis=2).min(axis=1) > POSITION_TOLERANCE_MM
    return bool(np.any(new & (beside < LINE_TOLERANCE_MM + TRAIT_TOLERANCE * np.abs(along @ line))))


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
    """Orientation and logarithm of spacing, (8,), NaN where missing, each in units of its tolerance."""
    orientation = np.array(frame.orientation or (np.nan,) * 6) / ORIENTATION_TOLERANCE
    spacing = np.array(frame.pixel_spacing_mm or (np.nan,) * 2)
    return np.concatenate([orientation, np.log(np.maximum(spacing, 1e-9)) / SPACING_TOLERANCE])


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
    return any(count > 1 for count in _at_each_place(group).values())


def _at_each_place(group: Sequence[Frame]) -> Counter[tuple[int, ...]]:
    known = [np.array(f.position_mm) for f in group if f.position_mm is not None]
    return Counter(tuple(np.round(p / POSITION_TOLERANCE_MM).astype(int).tolist()) for p in known)
