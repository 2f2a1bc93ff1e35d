"""How much of every labelled voxel is fat: all or nothing by a threshold, or a fraction by Dixon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from paraspinal_nnunet.anatomy import Structure
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.measures.outputs.columns import DIXON, THRESHOLD_METHODS
from paraspinal_nnunet.measures.thresholds import Threshold, find_threshold
from paraspinal_nnunet.measures.voxels import Voxels

FatPer = Literal["muscle", "side"]
FAT_PER: tuple[FatPer, ...] = ("muscle", "side")
"""Whether one threshold serves both sides of a muscle or each side has its own."""

NO_VOXELS = "no voxels"
NO_SIGNAL = "water and fat are 0 in all voxels"
IN_CT = "the image is in Hounsfield units, as CT is, where fat is darker than muscle"


@dataclass(frozen=True)
class FatShares:
    """Fat by one method.

    Attributes:
        method: Its name.
        share: (n,) per labelled voxel from 0 to 1; NaN where it is not known.
        thresholds: Structure's key -> its threshold; empty for Dixon.
    """

    method: str
    share: np.ndarray
    thresholds: Mapping[str, Threshold]

    def per_slice(self, voxels: Voxels, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(slices,) how many of the chosen voxels have a known share, and the sum of their shares.

        Args:
            voxels: Of the case.
            chosen: (n,) bool.
        """
        known = chosen & ~np.isnan(self.share)
        return voxels.per_slice(known), voxels.per_slice(known, self.share[known])

    def reason(self, structure: Structure, chosen: np.ndarray) -> str:
        """Why the fraction of a structure is not known; empty where it is."""
        if not chosen.any():
            return NO_VOXELS
        if structure.key in self.thresholds:
            return self.thresholds[structure.key].reason
        return NO_SIGNAL if np.isnan(self.share[chosen]).all() else ""


def fat_shares(
    voxels: Voxels, structures: Sequence[Structure], methods: Sequence[str], *, per: FatPer = "muscle"
) -> tuple[FatShares, ...]:
    """The fat of all labelled voxels by each method.

    Thresholds: fat is brighter than muscle, as on T1 and T2 without fat suppression, and none in CT; a voxel equal to
    its threshold is lean. A voxel that both tissues share is counted whole, as one or the other.

    Dixon: fat / (water + fat) per voxel, from magnitude images; unknown where both are 0.

    Args:
        voxels: Of the case.
        structures: What is measured.
        methods: Names of `THRESHOLD_METHODS`, or ``'dixon'``.
        per: Whose voxels are pooled for a threshold. Source of the default: the authors' practice of one model of
            intensities per muscle.

    Raises:
        InputError: An unknown method, one whose images are missing, or water and fat that are one image.
    """
    return tuple(_dixon(voxels) if m == DIXON else _thresholded(voxels, structures, m, per) for m in methods)


def fat_map(voxels: Voxels, shares: FatShares) -> np.ndarray:
    """Where fat is, in RAS order.

    Returns:
        By threshold uint8: 1 lean, 2 fat, 0 elsewhere and where there is no threshold. Dixon float32: the fraction, 0
        outside the muscles and where water and fat are both 0.
    """
    if shares.method == DIXON:
        filled: np.ndarray = np.zeros(voxels.volume.shape, np.float32)
        filled.ravel()[voxels.index] = np.nan_to_num(shares.share)
        return filled
    filled = np.zeros(voxels.volume.shape, np.uint8)
    filled.ravel()[voxels.index] = np.where(np.isnan(shares.share), 0, 1 + (shares.share > 0))
    return filled


def _thresholded(voxels: Voxels, structures: Sequence[Structure], method: str, per: FatPer) -> FatShares:
    if method not in THRESHOLD_METHODS:
        raise InputError(f"fat by '{method}' is unknown; choose from {', '.join(THRESHOLD_METHODS)}")
    if voxels.intensity is None:
        raise InputError(f"fat by '{method}' needs the image; give it, or ask for no method")
    share = np.full(voxels.label.shape, np.nan)
    thresholds: dict[str, Threshold] = {}
    for group in _groups(structures, per):
        chosen = np.isin(voxels.label, [s.label for s in group])
        threshold = Threshold(np.nan, IN_CT) if voxels.is_ct else find_threshold(voxels.intensity[chosen], method)
        if np.isfinite(threshold.value):
            share[chosen] = voxels.intensity[chosen] > threshold.value
        thresholds |= {s.key: threshold for s in group}
    return FatShares(method, share, thresholds)


def _groups(structures: Sequence[Structure], per: FatPer) -> list[list[Structure]]:
    if per == "side":
        return [[s] for s in structures]
    muscles = dict.fromkeys(s.muscle for s in structures)
    return [[s for s in structures if s.muscle is muscle] for muscle in muscles]


def _dixon(voxels: Voxels) -> FatShares:
    if voxels.water is None or voxels.fat is None:
        raise InputError("the Dixon fat fraction needs both the water and the fat image; give both")
    if voxels.water.any() and np.array_equal(voxels.water, voxels.fat):
        raise InputError("the water and the fat image are the same in all muscles; give each its own")
    total = voxels.water + voxels.fat
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(total > 0, voxels.fat / total, np.nan)
    return FatShares(DIXON, share, {})
