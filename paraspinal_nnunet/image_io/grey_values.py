"""A few numbers that tell one kind of grey values from another: how far a body's differ, whether they were cut off."""

from dataclasses import dataclass

import numpy as np

BODY_FROM, BODY_TOP = 0.1, 99.0
"""What is brighter than this share of the way from the lowest value to this percentile counts as body."""

MOST_VOXELS = 500_000
"""Grey values are described by every n-th voxel of a larger scan."""

AIR_HU = -500.0
"""MR magnitudes are not negative, and resampling leaves little below zero; air in CT lies at -1000."""

AIR_SHARE = 0.01
"""Of the voxels; a few may be damaged."""

MOST_SLICES = 12
"""Lines through the body are looked at in about as many slices."""


@dataclass(frozen=True)
class GreyValues:
    """A few numbers of a scan's grey values; NaN where there is no image or nothing in it.

    Attributes:
        body_spread: Distance of the body's quartiles over their median, counted from the lowest value: large where fat
            and muscle differ as in MR, small in CT, where all soft tissue is nearly alike.
        highest_share: Share of the voxels that have the highest value.
    """

    body_spread: float
    highest_share: float


NO_GREY_VALUES = GreyValues(float("nan"), float("nan"))


def describe_grey_values(image: np.ndarray) -> GreyValues:
    """Describe the grey values of a scan.

    Args:
        image: Any shape.
    """
    array = np.asarray(image)
    values = array.flat[:: max(array.size // MOST_VOXELS, 1)].astype(np.float64)
    values = values[np.isfinite(values)] if values.size else values
    if not values.size or values.max() == values.min():
        return NO_GREY_VALUES
    highest = float((values == values.max()).mean())
    values = values - values.min()
    body = values[values > _body_from(values)]
    if not body.size:
        return GreyValues(float("nan"), highest)
    low, middle, high = np.percentile(body, (25, 50, 75))
    return GreyValues(float((high - low) / middle), highest)


def has_air_of_ct(image: np.ndarray) -> bool:
    """Whether a scan is in Hounsfield units, as told by the air in it.

    Args:
        image: Any shape.
    """
    return bool(image.min(initial=0) < AIR_HU and np.mean(image < AIR_HU) > AIR_SHARE)


def filled_share(slices: np.ndarray) -> float:
    """How much of the lines through a body is body: near 1 in CT, less where muscle is as dark as air.

    Args:
        slices: (x, y, slices), x from side to side.

    Returns:
        Of the voxels between the first and the last of the body on each line along x, the share that is body; NaN
        without any.
    """
    values = slices[:, :, :: max(slices.shape[2] // MOST_SLICES, 1)].astype(np.float32)
    values -= values.min()
    body = values > _body_from(values)
    after = np.maximum.accumulate(body, axis=0)
    before = np.maximum.accumulate(body[::-1], axis=0)[::-1]
    between = int((after & before).sum())
    return float(body.sum() / between) if between else float("nan")


def _body_from(values: np.ndarray) -> float:
    return float(BODY_FROM * np.percentile(values, BODY_TOP))
