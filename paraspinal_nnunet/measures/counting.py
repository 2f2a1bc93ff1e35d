"""Sizes and fat of each structure, in each slice and at each level, counted from the list of labelled voxels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.anatomy import Structure
from paraspinal_nnunet.measures.comparison import cohort_place
from paraspinal_nnunet.measures.fat import FatShares
from paraspinal_nnunet.measures.levels import Level, Levels
from paraspinal_nnunet.measures.outputs.columns import DIXON
from paraspinal_nnunet.measures.result import (
    FatMeasures,
    LevelFat,
    LevelMeasures,
    SliceFat,
    SliceMeasures,
    StructureMeasures,
)
from paraspinal_nnunet.measures.shapes import LabelShape
from paraspinal_nnunet.measures.voxels import Voxels

_NAN = float("nan")


@dataclass(frozen=True)
class Counted:
    """One structure's voxels, counted by slice.

    Attributes:
        structure: Which one.
        shape: Where its voxels are.
        chosen: (n,) bool among all labelled voxels.
        intensity_mean: (slices,) NaN without an image and where the structure is not.
        fat: Method -> (slices,) voxels whose share of fat is known, and (slices,) sum of their shares.
    """

    structure: Structure
    shape: LabelShape
    chosen: np.ndarray
    intensity_mean: np.ndarray
    fat: dict[str, tuple[np.ndarray, np.ndarray]]

    def fat_fraction(self, method: str, slices: np.ndarray | None = None) -> float:
        """Mean share of fat, of the whole structure or of some slices (from 0); NaN where it is not known."""
        known, sums = self.fat[method]
        if slices is not None:
            known, sums = known[slices], sums[slices]
        return float(sums.sum() / known.sum()) if known.any() else _NAN

    def slice_fraction(self, method: str) -> np.ndarray:
        """(slices,) share of fat in each; NaN where it is not known."""
        known, sums = self.fat[method]
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / known

    def lean_mm2(self, method: str) -> np.ndarray:
        """(slices,) functional area."""
        return self.shape.area_mm2 * (1 - self.slice_fraction(method))


def count(voxels: Voxels, structure: Structure, shape: LabelShape, shares: Sequence[FatShares]) -> Counted:
    """Count a structure's voxels by slice."""
    chosen = voxels.of(structure.label)
    intensity = np.full(voxels.stack.slices, _NAN)
    if voxels.intensity is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            intensity = voxels.per_slice(chosen, voxels.intensity[chosen]) / shape.counts
    return Counted(
        structure=structure,
        shape=shape,
        chosen=chosen,
        intensity_mean=intensity,
        fat={s.method: s.per_slice(voxels, chosen) for s in shares},
    )


def measure_structure(
    voxels: Voxels, counted: Counted, shares: Sequence[FatShares], levels: Levels
) -> StructureMeasures:
    """All numbers of one muscle on one side.

    Args:
        voxels: Of the case.
        counted: The structure.
        shares: Fat by each method.
        levels: For the level of the largest area.
    """
    shape, number = counted.shape, counted.shape.voxels
    present, area, gaps = shape.present, shape.area_mm2, shape.gaps
    largest = int(np.argmax(area)) + 1 if number else None
    mean, sd = _intensity(voxels, counted.chosen)
    pieces, outside = shape.pieces
    return StructureMeasures(
        structure=counted.structure,
        voxels=number,
        volume_ml=shape.volume_ml,
        length_mm=shape.length_mm,
        extent_mm=shape.extent_mm,
        slices=len(present),
        gap_slices=len(gaps),
        first_slice=int(present[0]) + 1 if number else None,
        last_slice=int(present[-1]) + 1 if number else None,
        csa_mean_mm2=float(area[present].mean()) if number else _NAN,
        csa_max_mm2=float(area.max()) if number else _NAN,
        csa_max_slice=largest,
        csa_max_level=levels.name_of(largest) if largest else "",
        intensity_mean=mean,
        intensity_sd=sd,
        intensity_z=(mean - voxels.image_mean) / voxels.image_sd,
        pieces=pieces,
        fragments_ml=outside * shape.stack.voxel_ml,
        border_voxels=shape.border_voxels,
        in_first_slice=bool(area[0]),
        in_last_slice=bool(area[-1]),
        cohort=cohort_place(counted.structure, shape.volume_ml, shape.stack.length_mm),
        fat=tuple(_fat(counted, each) for each in shares),
    )


def measure_slices(counted: Counted, levels: Levels) -> tuple[SliceMeasures, ...]:
    """The structure in each slice that it reaches, from the feet upwards."""
    z_mm = counted.shape.stack.z_mm
    fat = {method: (counted.slice_fraction(method), counted.lean_mm2(method)) for method in counted.fat}
    return tuple(
        SliceMeasures(
            structure=counted.structure,
            slice=int(k) + 1,
            z_mm=float(z_mm[k]),
            level=levels.name_of(int(k) + 1),
            csa_mm2=float(counted.shape.area_mm2[k]),
            intensity_mean=float(counted.intensity_mean[k]),
            fat=tuple(SliceFat(method, float(part[k]), float(lean[k])) for method, (part, lean) in fat.items()),
        )
        for k in counted.shape.present
    )


def measure_levels(counted: Counted, levels: Levels) -> tuple[LevelMeasures, ...]:
    """The structure at each level, from head to feet."""
    return tuple(_at_level(counted, level) for level in levels.all)


def _at_level(counted: Counted, level: Level) -> LevelMeasures:
    stack, area = counted.shape.stack, counted.shape.area_mm2
    indices = np.array(level.slices) - 1
    with_label = indices[area[indices] > 0]
    middle = level.mid_slice - 1
    return LevelMeasures(
        structure=counted.structure,
        level=level.name,
        kind=level.kind,
        first_slice=level.slices[0],
        last_slice=level.slices[-1],
        mid_slice=level.mid_slice,
        mid_z_mm=float(stack.z_mm[middle]),
        slices=len(with_label),
        volume_ml=float(area[indices].sum() * stack.slice_spacing_mm / 1000) if level.whole else _NAN,
        csa_mean_mm2=_mean(area[with_label]) if level.whole else _NAN,
        csa_mid_mm2=float(area[middle]),
        fat=tuple(_fat_at_level(counted, method, level, with_label) for method in counted.fat),
    )


def _fat_at_level(counted: Counted, method: str, level: Level, with_label: np.ndarray) -> LevelFat:
    lean, middle = counted.lean_mm2(method), level.mid_slice - 1
    return LevelFat(
        method=method,
        fat_fraction=counted.fat_fraction(method, with_label),
        functional_csa_mean_mm2=_mean(lean[with_label]) if level.whole else _NAN,
        functional_csa_mid_mm2=float(lean[middle]) if counted.shape.area_mm2[middle] else 0.0,
    )


def _fat(counted: Counted, shares: FatShares) -> FatMeasures:
    volume_ml, fraction = counted.shape.volume_ml, counted.fat_fraction(shares.method)
    lean = counted.lean_mm2(shares.method)[counted.shape.present]
    threshold = shares.thresholds.get(counted.structure.key)
    unknown = counted.chosen & np.isnan(shares.share)
    return FatMeasures(
        method=shares.method,
        threshold=threshold.value if threshold else _NAN,
        fat_fraction=fraction,
        fat_volume_ml=fraction * volume_ml,
        lean_volume_ml=(1 - fraction) * volume_ml,
        functional_csa_mean_mm2=_mean(lean),
        functional_csa_max_mm2=float(np.nanmax(lean)) if np.isfinite(lean).any() else _NAN,
        zero_signal_voxels=int(unknown.sum()) if shares.method == DIXON else 0,
        reason=shares.reason(counted.structure, counted.chosen),
    )


def _mean(values: np.ndarray) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else _NAN


def _intensity(voxels: Voxels, chosen: np.ndarray) -> tuple[float, float]:
    if voxels.intensity is None or not chosen.any():
        return _NAN, _NAN
    values = voxels.intensity[chosen]
    return float(values.mean()), float(values.std(ddof=1)) if values.size > 1 else _NAN
