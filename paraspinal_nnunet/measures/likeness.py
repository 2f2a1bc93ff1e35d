"""Whether a scan and its mask look like what a model was trained on: a few numbers of both, and their known ranges."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.measures.voxels import Voxels

TEXTS: Mapping[str, str] = {
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
    """The numbers of `TEXTS`, NaN where one cannot be told."""
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
        name: One of `TEXTS`.
        value: The scan's.
        low: Of the range.
        high: Of the range.
    """

    name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{TEXTS[self.name].format(self.value)} (in training {self.low:.3g} to {self.high:.3g})"


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
