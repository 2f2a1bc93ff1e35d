"""Where muscles lie to one another, and maps whose values are another scheme's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Protocol

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY, LABEL_SCHEMES, Muscle, Side, Structure, side_pairs
from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.image_io.geometry import labelled_voxels, through_plane_axis

MARGIN_MM = 5.0
"""Muscles are out of place in a slice if their centroids lie so far the wrong way round. Source: ours."""

LEAST_SHARE = 0.5
"""Muscles are out of place when they are so in more than this share of the slices that hold both."""

LEAST_SIDES_MM = 5.0
"""Centroids of the two sides lie at least so far apart; those of bones read as muscles do not. Source: ours."""

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


class Placed(Protocol):
    """What is asked of a structure's place; see `LabelShape`."""

    @property
    def voxels(self) -> int: ...  # noqa: D102
    @property
    def centres_mm(self) -> np.ndarray: ...  # noqa: D102
    @property
    def centre_mm(self) -> np.ndarray: ...  # noqa: D102


@dataclass(frozen=True)
class LabelPlace:
    """Where one label of a map lies, without its shape.

    Attributes:
        counts: (slices,) voxels in each slice, in stored order.
        centres_mm: (slices, 3) RAS x, y, z of the centroid in each slice; NaN where the label is not.
    """

    counts: np.ndarray
    centres_mm: np.ndarray

    @property
    def voxels(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    @cached_property
    def centre_mm(self) -> np.ndarray:
        """(3,) RAS x, y, z of the centroid; NaN without voxels."""
        present = self.counts > 0
        return self.counts[present] @ self.centres_mm[present] / self.voxels if self.voxels else np.full(3, np.nan)


Places = Mapping[Structure, Placed]


def misplaced(shapes: Places) -> tuple[Misplaced, ...]:
    """Structures that do not lie to one another as they do in a body, slice by slice.

    Muscles whose two sides are exchanged are no matter of this; see `image_io.geometry.side_evidence`.

    Args:
        shapes: Of the structures that were looked for.
    """
    present = {structure: shape for structure, shape in shapes.items() if shape.voxels}
    exchanged = _exchanged(present)
    present = {structure: shape for structure, shape in present.items() if structure.muscle not in exchanged}
    return (*_medial(present), *_front(present), *_across(present), *_sides(present))


def fitting_schemes(shapes: Mapping[int, Placed]) -> tuple[str, ...]:
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
    places = label_places(labels, affine, [s.label for s in structures])
    faults = misplaced({s: places[s.label] for s in structures})
    if faults:
        raise LabelError(f"{name}: {scheme_text(faults, fitting_schemes(places))}")


def label_places(labels: np.ndarray, affine: np.ndarray, values: Sequence[int]) -> dict[int, LabelPlace]:
    """Where labels lie, in one pass over the map.

    Args:
        labels: (i, j, k) small integers, 0 or more.
        affine: Its affine.
        values: Which ones; they need not be in the map.

    Returns:
        Value -> its place.
    """
    rows, axis = max(values, default=0) + 1, through_plane_axis(affine)
    found, where = labelled_voxels(labels)
    known = found < rows
    found, where = found[known], tuple(index[known] for index in where)
    slices = labels.shape[axis]
    key = found.astype(np.intp) * slices + where[axis]
    counts = np.bincount(key, minlength=rows * slices)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(key, weights=index, minlength=rows * slices) / counts for index in where]
    centres = (np.stack(means, axis=-1) @ affine[:3, :3].T + affine[:3, 3]).reshape(rows, slices, 3)
    counts = counts.reshape(rows, slices)
    return {value: LabelPlace(counts[value], centres[value]) for value in values}


def scheme_text(faults: Sequence[Misplaced], fitting: Sequence[str]) -> str:
    """What is out of place, and what to do."""
    hint = f"; they fit the label scheme {' or '.join(fitting)}" if fitting else ""
    return (
        f"{'; '.join(fault.text for fault in faults[:3])}: the values seem to be another scheme's{hint}; name the "
        "scheme of the label map, or correct its header"
    )


def _medial(shapes: Places) -> Iterator[Misplaced]:
    for inner, outer in _MEDIAL_OF:
        for side, sign in ((Side.RIGHT, 1), (Side.LEFT, -1)):
            first, second = (_structure(muscle, side) for muscle in (inner, outer))
            text = f"{first.display_name} lies lateral of {_low(second)}"
            yield from _judged(shapes, first, second, 0, _wrong_way(sign), text)


def _front(shapes: Places) -> Iterator[Misplaced]:
    for side, front, back in product(Side, _FRONT, _BACK):
        first, second = _structure(front, side), _structure(back, side)
        text = f"{first.display_name} lies behind {_low(second)}"
        yield from _judged(shapes, first, second, 1, lambda away: away < -MARGIN_MM, text)
    for side, (front, back) in product(Side, ((Muscle.ERECTOR_SPINAE, Muscle.MULTIFIDUS), _BACK[:2])):
        first, second = _structure(front, side), _structure(back, side)
        text = f"{first.display_name} lies more than {MOST_BEFORE_MM:g} mm in front of {_low(second)}"
        yield from _judged(shapes, first, second, 1, lambda away: away > MOST_BEFORE_MM, text)


def _across(shapes: Places) -> Iterator[Misplaced]:
    """Every right structure lies to the right of the left ones of other muscles."""
    for first, second in product(shapes, shapes):
        if first.side is Side.RIGHT and second.side is Side.LEFT and first.muscle is not second.muscle:
            text = f"{first.display_name} lies to the left of {_low(second)}"
            yield from _judged(shapes, first, second, 0, lambda away: away < -MARGIN_MM, text)


def _sides(shapes: Places) -> Iterator[Misplaced]:
    """The two sides of a muscle lie at one height, and not in one place."""
    for right, left in side_pairs(tuple(shapes)):
        apart, before, _ = shapes[right].centre_mm - shapes[left].centre_mm
        who = f"{right.display_name} and left have their centres"
        if 0 < apart < LEAST_SIDES_MM:
            yield Misplaced((right, left), f"{who} only {apart:.1f} mm apart", 1.0)
        if abs(before) > MOST_UNEVEN_MM:
            yield Misplaced((right, left), f"{who} {abs(before):.0f} mm before one another", 1.0)


def _exchanged(shapes: Places) -> set[Muscle]:
    pairs = side_pairs(tuple(shapes))
    return {right.muscle for right, left in pairs if shapes[right].centre_mm[0] < shapes[left].centre_mm[0]}


def _judged(
    shapes: Places, first: Structure, second: Structure, axis: int, wrong: Callable[[np.ndarray], np.ndarray], text: str
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


def _wrong_way(sign: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda away: sign * away > MARGIN_MM


def _structure(muscle: Muscle, side: Side) -> Structure:
    return BY_KEY[f"{muscle.value}_{side.value}"]


def _low(structure: Structure) -> str:
    return structure.display_name[0].lower() + structure.display_name[1:]
