"""Where muscles lie to one another: pieces beyond the midline, and maps whose values are another scheme's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY, LABEL_SCHEMES, Muscle, Side, Structure, side_pairs
from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.measures.shapes import LabelShape, Stack, measure_shapes

MIDLINE_MARGIN_MM = 3.0
"""A piece of a slice counts as beyond the midline when its centroid lies so far beyond. Source: ours."""

WINDOW_SLICES = 4
"""The midline of a slice is the median over the muscles there and in so many slices below and above."""

MARGIN_MM = 5.0
"""Muscles are out of place in a slice where their centroids lie so far on the wrong side of one another. Source:
ours."""

LEAST_SHARE = 0.5
"""Muscles are out of place when they are so in more than this share of the slices that hold both."""

LEAST_SIDES_MM = 5.0
"""Centroids of the two sides of a muscle lie at least this far apart; bones and discs read as muscles do not. Source:
ours."""

MOST_BEFORE_MM = 25.0
"""Neither of erector spinae and multifidus lies farther in front of the other than this, centroid by centroid. Source:
ours; psoas major lies some 60 mm in front of both."""

MOST_UNEVEN_MM = 35.0
"""Neither side of a muscle lies farther in front of the other. Source: ours; a trunk turned by 24 degrees."""

_BACK = (Muscle.MULTIFIDUS, Muscle.ERECTOR_SPINAE, Muscle.ERECTOR_SPINAE_AND_MULTIFIDUS, Muscle.AUTOCHTHON)
_FRONT = (Muscle.PSOAS_MAJOR, Muscle.ILIOPSOAS)
_MEDIAL_OF = (
    (Muscle.MULTIFIDUS, Muscle.ERECTOR_SPINAE),
    (Muscle.MULTIFIDUS, Muscle.QUADRATUS_LUMBORUM),
    (Muscle.PSOAS_MAJOR, Muscle.QUADRATUS_LUMBORUM),
)
"""Inner and outer muscle. Source of all orders: any atlas of cross-sections: psoas major lies at the sides of the
vertebral bodies, multifidus on the laminae beside the spinous processes, erector spinae lateral of it."""


@dataclass(frozen=True)
class BeyondMidline:
    """Pieces of a structure that lie on the other side of the body.

    Attributes:
        slices: Where, from 1 at the feet.
        volume_ml: How much.
        share: Of the structure's volume.
    """

    slices: tuple[int, ...]
    volume_ml: float
    share: float


@dataclass(frozen=True)
class Misplaced:
    """Two structures that do not lie to one another as they do in a body.

    Attributes:
        structures: Which ones.
        text: What is found, e.g. ``'Psoas major right lies behind erector spinae right'``.
        share: Of the slices that hold both.
    """

    structures: tuple[Structure, Structure]
    text: str
    share: float


Shapes = Mapping[Structure, LabelShape]
Key = TypeVar("Key")


def midlines(pairs: Sequence[tuple[LabelShape, LabelShape]], slices: int) -> np.ndarray:
    """RAS x in mm of the body's midline in each slice: half-way between the largest pieces of the two sides.

    Args:
        pairs: Right and left shape of every muscle that has both.
        slices: Of the stack.

    Returns:
        (slices,), between and beyond known slices as in the nearest; NaN without any slice that holds both sides.
    """
    return _smoothed(np.array([(_largest_x(right) + _largest_x(left)) / 2 for right, left in pairs]), slices)


def beyond_midline(shape: LabelShape, side: Side, midline_mm: np.ndarray) -> BeyondMidline | None:
    """What of a structure lies on the other side, or None.

    Args:
        shape: The structure's.
        side: On which it belongs.
        midline_mm: See `midlines`.
    """
    if not shape.voxels:
        return None
    pieces = shape.slice_pieces
    away = (pieces.x_mm - midline_mm[pieces.slice_index]) * (1 if side is Side.RIGHT else -1)
    wrong = away < -MIDLINE_MARGIN_MM  # NaN compares as False
    voxels = int(pieces.voxels[wrong].sum())
    if not voxels:
        return None
    slices = tuple(int(k) + 1 for k in np.unique(pieces.slice_index[wrong]))
    return BeyondMidline(slices, voxels * shape.stack.voxel_ml, voxels / shape.voxels)


def all_beyond_midline(
    sided: Mapping[Key, tuple[LabelShape, Side]], pairs: Sequence[tuple[LabelShape, LabelShape]]
) -> dict[Key, BeyondMidline]:
    """What of each structure lies beyond the midline; most often nothing, which costs little to see.

    Args:
        sided: Name -> shape of each structure and the side on which it belongs.
        pairs: Right and left shape of every muscle that has both.
    """
    if not sided:
        return {}
    slices = next(iter(sided.values()))[0].stack.slices
    rough = _smoothed(np.array([(right.centres_mm[:, 0] + left.centres_mm[:, 0]) / 2 for right, left in pairs]), slices)
    if not any(_reaches_beyond(shape, side, rough) for shape, side in sided.values()):
        return {}
    middle = midlines(pairs, slices)
    found = {key: beyond_midline(shape, side, middle) for key, (shape, side) in sided.items()}
    return {key: pieces for key, pieces in found.items() if pieces is not None}


def misplaced(shapes: Shapes) -> tuple[Misplaced, ...]:
    """Structures that do not lie to one another as they do in a body, slice by slice.

    Muscles whose two sides are exchanged are no matter of this; see `image_io.geometry.side_evidence`.

    Args:
        shapes: Of the structures that were looked for.
    """
    present = {structure: shape for structure, shape in shapes.items() if shape.voxels}
    exchanged = _exchanged(present)
    present = {structure: shape for structure, shape in present.items() if structure.muscle not in exchanged}
    return (*_medial(present), *_front(present), *_across(present), *_sides(present))


def fitting_schemes(shapes: Mapping[int, LabelShape]) -> tuple[str, ...]:
    """The known label schemes by which no muscle of a map would be out of place.

    Args:
        shapes: Value in the map -> its shape.
    """
    present = {value: shape for value, shape in shapes.items() if shape.voxels}
    fitting = []
    for name, scheme in LABEL_SCHEMES.items():
        if not set(present) <= set(scheme.values):
            continue
        read = {BY_KEY[scheme.values[value]]: shape for value, shape in present.items()}
        if not misplaced(read) and not _exchanged(read):
            fitting.append(name)
    return tuple(fitting)


def check_positions(labels: np.ndarray, affine: np.ndarray, structures: Sequence[Structure], name: str) -> None:
    """Refuse a label map in which muscles lie where those of another scheme would.

    Args:
        labels: (i, j, k) canonical label map.
        affine: Its affine.
        structures: The structures that may be present.
        name: File or case, for the message.

    Raises:
        LabelError: Naming what lies where, and the scheme that would fit.
    """
    array, ras = to_ras(labels, affine)
    shapes = measure_shapes(
        array, Stack((array.shape[0], array.shape[1], array.shape[2]), ras), [s.label for s in structures]
    )
    faults = misplaced({s: shapes[s.label] for s in structures})
    if faults:
        raise LabelError(f"{name}: {scheme_text(faults, fitting_schemes(shapes))}")


def scheme_text(faults: Sequence[Misplaced], fitting: Sequence[str]) -> str:
    """What is out of place, and what to do."""
    hint = f"; they fit the label scheme {' or '.join(fitting)}" if fitting else ""
    return (
        f"{'; '.join(fault.text for fault in faults[:3])}: the values seem to be another scheme's{hint}; name the "
        "scheme of the label map, or correct its header"
    )


def _smoothed(middles: np.ndarray, slices: int) -> np.ndarray:
    middles = middles.reshape(-1, slices)
    found = np.full(slices, np.nan)
    for k in range(slices):
        window = middles[:, max(0, k - WINDOW_SLICES) : k + WINDOW_SLICES + 1]
        if np.isfinite(window).any():
            found[k] = np.nanmedian(window)
    known = np.flatnonzero(np.isfinite(found))
    return np.interp(np.arange(slices), known, found[known]) if known.size else found


def _reaches_beyond(shape: LabelShape, side: Side, midline_mm: np.ndarray) -> bool:
    """Whether any voxel lies beyond the midline by more than the margin."""
    if not shape.voxels:
        return False
    columns = shape.mask.any(axis=1)  # (x, z)
    places = shape.corner[0] + np.arange(len(columns))
    sign = 1 if side is Side.RIGHT else -1
    ends = np.where(columns, places[:, None] * sign, np.iinfo(np.int64).max).min(axis=0)[columns.any(axis=0)] * sign
    rows, z = np.nonzero(shape.mask.any(axis=0))
    middle_y = shape.corner[1] + (np.bincount(z, rows) / np.bincount(z))[columns.any(axis=0)]
    affine = shape.stack.affine
    x_mm = affine[0, 0] * ends + affine[0, 1] * middle_y + affine[0, 2] * shape.present + affine[0, 3]
    return bool(((x_mm - midline_mm[shape.present]) * sign < -MIDLINE_MARGIN_MM).any())


def _largest_x(shape: LabelShape) -> np.ndarray:
    """(slices,) RAS x of the largest piece in each slice; NaN where there is none."""
    found = np.full(shape.stack.slices, np.nan)
    if shape.voxels:
        pieces = shape.slice_pieces
        order = np.argsort(pieces.voxels, kind="stable")
        found[pieces.slice_index[order]] = pieces.x_mm[order]  # of several the last, the largest, stays
    return found


def _medial(shapes: Shapes) -> Iterator[Misplaced]:
    for inner, outer in _MEDIAL_OF:
        for side, sign in ((Side.RIGHT, 1), (Side.LEFT, -1)):
            first, second = (_structure(muscle, side) for muscle in (inner, outer))
            text = f"{first.display_name} lies lateral of {_low(second)}"
            yield from _judged(shapes, first, second, 0, lambda away, sign=sign: sign * away > MARGIN_MM, text)


def _front(shapes: Shapes) -> Iterator[Misplaced]:
    for side, front, back in product(Side, _FRONT, _BACK):
        first, second = _structure(front, side), _structure(back, side)
        text = f"{first.display_name} lies behind {_low(second)}"
        yield from _judged(shapes, first, second, 1, lambda away: away < -MARGIN_MM, text)
    for side, (front, back) in product(Side, ((Muscle.ERECTOR_SPINAE, Muscle.MULTIFIDUS), _BACK[:2])):
        first, second = _structure(front, side), _structure(back, side)
        text = f"{first.display_name} lies more than {MOST_BEFORE_MM:g} mm in front of {_low(second)}"
        yield from _judged(shapes, first, second, 1, lambda away: away > MOST_BEFORE_MM, text)


def _across(shapes: Shapes) -> Iterator[Misplaced]:
    """Every right structure lies to the right of the left ones of other muscles."""
    for first, second in product(shapes, shapes):
        if first.side is Side.RIGHT and second.side is Side.LEFT and first.muscle is not second.muscle:
            text = f"{first.display_name} lies to the left of {_low(second)}"
            yield from _judged(shapes, first, second, 0, lambda away: away < -MARGIN_MM, text)


def _sides(shapes: Shapes) -> Iterator[Misplaced]:
    """The two sides of a muscle lie at one height, and not in one place."""
    for right, left in side_pairs(tuple(shapes)):
        apart, before, _ = shapes[right].centre_mm - shapes[left].centre_mm
        who = f"{right.display_name} and left have their centres"
        if 0 < apart < LEAST_SIDES_MM:
            yield Misplaced((right, left), f"{who} only {apart:.1f} mm apart", 1.0)
        if abs(before) > MOST_UNEVEN_MM:
            yield Misplaced((right, left), f"{who} {abs(before):.0f} mm before one another", 1.0)


def _exchanged(shapes: Shapes) -> set[Muscle]:
    pairs = side_pairs(tuple(shapes))
    return {right.muscle for right, left in pairs if shapes[right].centre_mm[0] < shapes[left].centre_mm[0]}


def _judged(
    shapes: Shapes, first: Structure, second: Structure, axis: int, wrong: Callable[[np.ndarray], np.ndarray], text: str
) -> Iterator[Misplaced]:
    """Slice by slice, how far the first lies from the second along an axis (0 to the right, 1 to the front)."""
    if first not in shapes or second not in shapes:
        return
    away = shapes[first].centres_mm[:, axis] - shapes[second].centres_mm[:, axis]
    away = away[np.isfinite(away)]
    if not away.size:
        away = np.array([shapes[first].centre_mm[axis] - shapes[second].centre_mm[axis]])
    share = float(np.mean(wrong(away)))
    if share > LEAST_SHARE:
        yield Misplaced((first, second), f"{text} in {share:.0%} of their slices".replace("%", " %"), share)


def _structure(muscle: Muscle, side: Side) -> Structure:
    return BY_KEY[f"{muscle.value}_{side.value}"]


def _low(structure: Structure) -> str:
    return structure.display_name[0].lower() + structure.display_name[1:]
