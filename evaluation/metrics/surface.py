"""Distances between the surfaces of two masks: HD95, average symmetric surface distance and normalised surface Dice.

Not the paper's metrics. What a surface consists of and what each part weighs is the convention: by area, as DeepMind's
surface-distance does, or by counting voxels, as MONAI does; see `surface_elements`. On thick slices counting weighs a
cap of 0.15 mm2 like a side of 2 mm2 and can turn a ranking round, so that ``area`` is the default. The tests hold the
numbers of both programs.

Source: Maier-Hein et al., Metrics reloaded, doi:10.1038/s41592-023-02151-z; for the surface Dice Nikolov et al.,
doi:10.2196/26151.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np
from scipy.spatial import cKDTree

from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.evaluation.metrics.surface_elements import Convention, SurfaceElements, surface_elements

_NAN, _INF = math.nan, math.inf

UNDEFINED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "hd95_mm": {"both empty": _NAN, "one empty": _INF},
        "asd_mm": {"both empty": _NAN, "one empty": _INF},
        "nsd": {"both empty": _NAN, "one empty": 0.0},
    }
)
"""Metric -> situation -> value where a mask has no surface; in all other situations the formula has a value."""

ROUNDING_MM = 1e-5
"""Distances up to this much above the tolerance are within it: headers hold spacings in single precision."""


@dataclass(frozen=True)
class SurfaceMetrics:
    """Surface metrics of one label in one case.

    Attributes:
        hd95_mm: The larger of the two directions' 95th percentiles of distances to the other surface.
        asd_mm: Mean over the surfaces of both masks of the distance to the other surface.
        nsd: Share of the surfaces of both masks that lies within the tolerance of the other surface, 0 to 1.
    """

    hd95_mm: float
    asd_mm: float
    nsd: float


def surface_metrics(
    reference_mask: np.ndarray,
    prediction_mask: np.ndarray,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    convention: Convention = "area",
) -> SurfaceMetrics:
    """Compare the surfaces of two masks.

    Args:
        reference_mask: bool, three-dimensional in any order of the axes.
        prediction_mask: bool, the same shape.
        spacing_mm: Voxel size along the array's own axes. The axes are taken as perpendicular.
        tolerance_mm: How far apart surfaces may lie and still agree, for the surface Dice.
        convention: ``'area'`` or ``'voxels'``; see `surface_elements`.

    Returns:
        All metrics; empty masks have the values of `UNDEFINED`.

    Raises:
        GeometryError: The shapes differ or the spacing does not fit them.
        InputError: A negative or infinite tolerance.

    >>> plates = np.zeros((2, 6, 4, 4), bool)
    >>> plates[0, 1] = plates[1, 4] = True
    >>> surface_metrics(plates[0], plates[1], (2.0, 1.0, 1.0), 1.0, "voxels")
    SurfaceMetrics(hd95_mm=6.0, asd_mm=6.0, nsd=0.0)
    """
    check_tolerance(tolerance_mm)
    reference, prediction = np.asarray(reference_mask, bool), np.asarray(prediction_mask, bool)
    spacing = np.asarray(spacing_mm, float)
    if reference.shape != prediction.shape:
        raise GeometryError(f"reference of shape {reference.shape} against prediction of shape {prediction.shape}")
    if spacing.shape != (reference.ndim,) or not np.isfinite(spacing).all() or spacing.min() <= 0:
        raise GeometryError(f"spacing {tuple(spacing_mm)} mm for masks of shape {reference.shape}; correct the header")
    used = int(reference.any()) + int(prediction.any())
    if used < 2:
        situation = "one empty" if used else "both empty"
        return SurfaceMetrics(**{metric: values[situation] for metric, values in UNDEFINED.items()})
    surfaces = [surface_elements(mask, spacing, convention) for mask in (reference, prediction)]
    return _compare(surfaces[0], surfaces[1], tolerance_mm, _PERCENTILES[convention])


def surface_row(metrics: SurfaceMetrics, tolerance_mm: float, convention: Convention) -> dict[str, float | str]:
    """The metrics as columns of surface.tsv."""
    return asdict(metrics) | {"tolerance_mm": tolerance_mm, "convention": convention}


def check_tolerance(tolerance_mm: float) -> None:
    """Refuse a tolerance that is no length.

    Raises:
        InputError: Negative, infinite or NaN.
    """
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise InputError(f"a surface tolerance of {tolerance_mm:g} mm cannot be used; give 0 or more")


def _compare(
    reference: SurfaceElements,
    prediction: SurfaceElements,
    tolerance_mm: float,
    percentile: Callable[[np.ndarray, np.ndarray], float],
) -> SurfaceMetrics:
    of_reference = cKDTree(prediction.places_mm).query(reference.places_mm)[0]
    of_prediction = cKDTree(reference.places_mm).query(prediction.places_mm)[0]
    both = np.concatenate([of_reference, of_prediction])
    weights = np.concatenate([reference.weights, prediction.weights])
    return SurfaceMetrics(
        hd95_mm=max(percentile(of_reference, reference.weights), percentile(of_prediction, prediction.weights)),
        asd_mm=float(np.average(both, weights=weights)),
        nsd=float(np.average(both <= tolerance_mm + ROUNDING_MM, weights=weights)),
    )


def _weighted_percentile(distances: np.ndarray, weights: np.ndarray) -> float:
    """The least distance within which 95 % of the area lies."""
    order = np.argsort(distances, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    return float(distances[order][min(int(np.searchsorted(share, 0.95)), len(order) - 1)])


def _counted_percentile(distances: np.ndarray, _: np.ndarray) -> float:
    """The 95th percentile with linear interpolation."""
    return float(np.percentile(distances, 95))


_PERCENTILES: Mapping[Convention, Callable[[np.ndarray, np.ndarray], float]] = {
    "area": _weighted_percentile,
    "voxels": _counted_percentile,
}
