"""Distances between the surfaces of two masks: HD95, average symmetric surface distance and normalised surface Dice.

Not the paper's metrics. A surface is every voxel of the mask with a face neighbour outside it; a voxel at the border of
the image counts as surface. Distances run between voxel centres, and every surface voxel counts the same whatever area
it stands for. These are MONAI's definitions, whose numbers the tests hold. DeepMind's surface-distance weighs surfaces
by their area instead; its release 0.1 on PyPI fails under NumPy 2 where a mask is empty, so that SciPy does the work.

Source: Maier-Hein et al., Metrics reloaded, doi:10.1038/s41592-023-02151-z; for the surface Dice Nikolov et al.,
doi:10.2196/26151.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from paraspinal_nnunet.errors import GeometryError, InputError

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
        asd_mm: Mean over the surface voxels of both masks of the distance to the other surface.
        nsd: Share of the surface voxels of both masks that lie within the tolerance of the other surface, 0 to 1.
    """

    hd95_mm: float
    asd_mm: float
    nsd: float


def surface_metrics(
    reference_mask: np.ndarray, prediction_mask: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float
) -> SurfaceMetrics:
    """Compare the surfaces of two masks.

    Args:
        reference_mask: bool, three-dimensional in any order of the axes.
        prediction_mask: bool, the same shape.
        spacing_mm: Voxel size along the array's own axes. The axes are taken as perpendicular.
        tolerance_mm: How far apart surfaces may lie and still agree, for the surface Dice.

    Returns:
        All metrics; empty masks have the values of `UNDEFINED`.

    Raises:
        GeometryError: The shapes differ or the spacing does not fit them.
        InputError: A negative or infinite tolerance.

    >>> plates = np.zeros((2, 6, 4, 4), bool)
    >>> plates[0, 1] = plates[1, 4] = True
    >>> surface_metrics(plates[0], plates[1], (2.0, 1.0, 1.0), tolerance_mm=1.0)
    SurfaceMetrics(hd95_mm=6.0, asd_mm=6.0, nsd=0.0)
    """
    check_tolerance(tolerance_mm)
    reference, prediction = np.asarray(reference_mask, bool), np.asarray(prediction_mask, bool)
    spacing = np.asarray(spacing_mm, float)
    if reference.shape != prediction.shape:
        raise GeometryError(f"reference of shape {reference.shape} against prediction of shape {prediction.shape}")
    if spacing.shape != (reference.ndim,) or not np.isfinite(spacing).all() or spacing.min() <= 0:
        raise GeometryError(f"spacing {tuple(spacing_mm)} mm for masks of shape {reference.shape}; mend the header")
    used = int(reference.any()) + int(prediction.any())
    if used < 2:
        situation = "one empty" if used else "both empty"
        return SurfaceMetrics(**{metric: values[situation] for metric, values in UNDEFINED.items()})
    return _compare(_surface_mm(reference, spacing), _surface_mm(prediction, spacing), tolerance_mm)


def surface_row(metrics: SurfaceMetrics, tolerance_mm: float) -> dict[str, float]:
    """The metrics as columns of surface.csv."""
    return asdict(metrics) | {"tolerance_mm": tolerance_mm}


def check_tolerance(tolerance_mm: float) -> None:
    """Refuse a tolerance that is no length.

    Raises:
        InputError: Negative, infinite or NaN.
    """
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise InputError(f"a surface tolerance of {tolerance_mm:g} mm cannot be used; give 0 or more")


def _surface_mm(mask: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Places of the surface voxels in mm along the array's axes, (n, 3); only the mask's bounding box is looked at."""
    box = ndimage.find_objects(mask.view(np.uint8))[0]
    inside = mask[box]
    surface = inside & ~ndimage.binary_erosion(inside)
    return (np.argwhere(surface) + [part.start for part in box]) * spacing_mm


def _compare(reference_mm: np.ndarray, prediction_mm: np.ndarray, tolerance_mm: float) -> SurfaceMetrics:
    of_reference = cKDTree(prediction_mm).query(reference_mm)[0]
    of_prediction = cKDTree(reference_mm).query(prediction_mm)[0]
    both = np.concatenate([of_reference, of_prediction])
    return SurfaceMetrics(
        hd95_mm=float(max(np.percentile(of_reference, 95), np.percentile(of_prediction, 95))),
        asd_mm=float(both.mean()),
        nsd=float((both <= tolerance_mm + ROUNDING_MM).mean()),
    )
