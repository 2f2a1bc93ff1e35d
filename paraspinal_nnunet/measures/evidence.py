"""What the flags of a case are made from: its measures, where its muscles lie, and what its model was trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY, Structure, side_pairs
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.geometry import SideEvidence, lone_side_evidence, side_evidence
from paraspinal_nnunet.measures.places.midline import BeyondMidline, all_beyond_midline
from paraspinal_nnunet.measures.places.positions import (
    Misplaced,
    fitting_schemes,
    misplaced,
)
from paraspinal_nnunet.measures.result import StructureMeasures
from paraspinal_nnunet.measures.shapes import LabelShape, Stack
from paraspinal_nnunet.measures.voxels import Voxels
from paraspinal_nnunet.models.manifest import COMPUTED_ONLY, SCAN_RANGES

SCAN_TEXTS: Mapping[str, str] = {
    "pixel_mm": "pixels measure {:.3g} mm",
    "slice_mm": "slices are {:.3g} mm apart",
    "field_of_view_mm": "the field of view measures {:.0f} mm",
    "muscle_cm2": "the muscles of a slice measure {:.1f} cm2 together",
    "muscle_slices": "muscles are found in {:.2f} of the slices",
    "muscle_z": "the muscles' mean normalised intensity is {:.2f}",
    "body_spread": "the middle half of the body's grey values spreads by {:.2f} of their median",
    "highest_share": "a share of {:.4f} of the voxels has the highest grey value, as where values were cut off",
}
"""What each number is, in words."""


def scan_statistics(voxels: Voxels) -> dict[str, float]:
    """The numbers of `SCAN_TEXTS`, NaN where one cannot be told."""
    stack, affine = voxels.stack, voxels.stack.affine
    sides = np.linalg.norm(affine[:3, :2], axis=0)
    per_slice = voxels.per_slice(np.ones(len(voxels.label), bool))
    with_muscle = per_slice[per_slice > 0] * stack.pixel_mm2 / 100
    mean = float("nan") if voxels.intensity is None or not len(voxels.label) else float(voxels.intensity.mean())
    return {
        "pixel_mm": float(sides.max()),
        "slice_mm": stack.slice_spacing_mm,
        "field_of_view_mm": float((sides * stack.shape[:2]).max()),
        "muscle_cm2": float(np.median(with_muscle)) if with_muscle.size else float("nan"),
        "muscle_slices": float((per_slice > 0).mean()),
        "muscle_z": (mean - voxels.image_mean) / voxels.image_sd,
        "body_spread": voxels.grey.body_spread,
        "highest_share": voxels.grey.highest_share,
    }


@dataclass(frozen=True)
class Unlike:
    """A number outside the range that a model knows.

    Attributes:
        name: One of `SCAN_TEXTS`.
        value: The scan's.
        low: Of the range.
        high: Of the range.
    """

    name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{SCAN_TEXTS[self.name].format(self.value)} (in training {self.low:.3g} to {self.high:.3g})"


def unlike_training(statistics: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]) -> Iterator[Unlike]:
    """What of a scan lies outside the ranges; what cannot be told does not.

    Args:
        statistics: As `scan_statistics` gives them.
        ranges: Name -> lowest and highest in training.
    """
    for name, (low, high) in ranges.items():
        value = statistics.get(name, float("nan"))
        if value < low or value > high:
            yield Unlike(name, value, low, high)


@dataclass(frozen=True)
class TrainingDescription:
    """What a model was trained on, as far as it is known.

    Attributes:
        spacing_mm: Along z, y, x; None where unknown.
        muscle_intensity: Structure's key -> mean and SD over training cases of `StructureMeasures.intensity_z`.
        computed_only: Whether no person's scan was among them.
        scan_ranges: Names of `SCAN_TEXTS` -> lowest and highest in training.
    """

    spacing_mm: tuple[float, float, float] | None = None
    muscle_intensity: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    computed_only: bool = False
    scan_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> "TrainingDescription":
        """From the ``training`` entry of a model's manifest.

        Args:
            entry: With ``spacing_mm`` (z, y, x), ``muscle_intensity`` and ``scan_ranges``, where they are known.

        Raises:
            InputError: Entries that are no numbers.
        """
        try:
            spacing = [float(v) for v in entry.get("spacing_mm") or ()]
            intensity = {
                BY_KEY[key].key: (float(mean), float(sd))
                for key, (mean, sd) in (entry.get("muscle_intensity") or {}).items()
            }
            ranges = {
                name: (float(low), float(high))
                for name, (low, high) in (entry.get(SCAN_RANGES) or {}).items()
                if name in SCAN_TEXTS
            }
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"the model's training entry cannot be understood ({error})") from error
        known = (spacing[0], spacing[1], spacing[2]) if len(spacing) == 3 else None
        return cls(known, intensity, bool(entry.get(COMPUTED_ONLY)), ranges)


@dataclass(frozen=True)
class Evidence:
    """What the flags are made from.

    Attributes:
        stack: The scan's.
        structures: Measures of everything that was looked for.
        sides: Where the sides lie; of muscles labelled on one side, against the other side of the others.
        beyond: Structure -> its pieces beyond the midline.
        out_of_place: Muscles that do not lie to one another as they should.
        schemes: Label schemes by which they would.
        training: What the model was trained on, or None.
        disagreement: Structure's key -> mean of 1 - Dice between the folds' masks.
        unlike: What of scan and mask lies outside the ranges that the model knows.
    """

    stack: Stack
    structures: Sequence[StructureMeasures]
    sides: Sequence[SideEvidence]
    beyond: Mapping[Structure, BeyondMidline]
    out_of_place: Sequence[Misplaced]
    schemes: Sequence[str]
    training: TrainingDescription | None = None
    disagreement: Mapping[str, float] = field(default_factory=dict)
    unlike: Sequence[Unlike] = ()


def gather_evidence(
    voxels: Voxels,
    structures: Sequence[StructureMeasures],
    shapes: Mapping[int, LabelShape],
    *,
    training: TrainingDescription | None = None,
    disagreement: Mapping[str, float] | None = None,
) -> Evidence:
    """What the flags of a case are made from.

    Raises:
        InputError: Disagreement of an unknown structure.
    """
    unknown = sorted(set(disagreement or {}) - set(BY_KEY))
    if unknown:
        raise InputError(f"disagreement between folds names '{unknown[0]}'; structures are {', '.join(BY_KEY)}")
    measured: tuple[Structure, ...] = tuple(each.structure for each in structures)
    labels, affine = voxels.volume, voxels.stack.affine
    own = {structure: shapes[structure.label] for structure in measured}
    pairs = [(own[right], own[left]) for right, left in side_pairs(measured)]
    out_of_place = misplaced(own)
    return Evidence(
        stack=voxels.stack,
        structures=structures,
        sides=(*side_evidence(labels, affine, measured), *lone_side_evidence(labels, affine, measured)),
        beyond=all_beyond_midline({structure: (shape, structure.side) for structure, shape in own.items()}, pairs),
        out_of_place=out_of_place,
        schemes=fitting_schemes(shapes) if out_of_place else (),
        training=training,
        disagreement=dict(disagreement or {}),
        unlike=tuple(unlike_training(scan_statistics(voxels), training.scan_ranges)) if training else (),
    )
