"""Dice and areas slice by slice along a muscle, from the feet to the head."""

from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.evaluation.metrics.confusion import BinaryCounts
from paraspinal_nnunet.evaluation.metrics.overlap import dice
from paraspinal_nnunet.image_io.geometry import to_ras


@dataclass(frozen=True)
class SliceMetrics:
    """One label in one axial slice.

    Attributes:
        slice: Position of the slice in the image, 0 nearest to the feet.
        z_mm: RAS z of the middle of the slice.
        dice: Sørensen-Dice index within the slice, 0 to 1.
        reference_mm2: Area of the reference.
        prediction_mm2: Area of the prediction.
    """

    slice: int
    z_mm: float
    dice: float
    reference_mm2: float
    prediction_mm2: float


def slice_metrics(
    reference_mask: np.ndarray, prediction_mask: np.ndarray, affine: np.ndarray
) -> tuple[SliceMetrics, ...]:
    """Compare two masks in every axial slice that either of them reaches.

    Slices stand across the stored axis that runs nearest to head-foot, whatever the stored order is.

    Args:
        reference_mask: bool, (i, j, k) as stored.
        prediction_mask: bool, the same shape.
        affine: 4 x 4, to mm in RAS+.

    Returns:
        From the feet to the head; slices in which both masks are empty are left out.

    Raises:
        GeometryError: The shapes differ.
    """
    if reference_mask.shape != prediction_mask.shape:
        raise GeometryError(
            f"reference of shape {reference_mask.shape} against prediction of shape {prediction_mask.shape}"
        )
    reference, ras = to_ras(np.asarray(reference_mask, bool), affine)
    prediction, _ = to_ras(np.asarray(prediction_mask, bool), affine)
    area_mm2 = float(np.linalg.norm(np.cross(ras[:3, 0], ras[:3, 1])))
    middle = [(n - 1) / 2 for n in reference.shape[:2]]
    in_reference, in_prediction, in_both = (
        np.count_nonzero(mask, axis=(0, 1)) for mask in (reference, prediction, reference & prediction)
    )
    return tuple(
        SliceMetrics(
            slice=int(k),
            z_mm=float(ras[2] @ [*middle, k, 1]),
            dice=_dice(int(in_reference[k]), int(in_prediction[k]), int(in_both[k])),
            reference_mm2=float(in_reference[k] * area_mm2),
            prediction_mm2=float(in_prediction[k] * area_mm2),
        )
        for k in np.flatnonzero(in_reference + in_prediction)
    )


def _dice(reference: int, prediction: int, both: int) -> float:
    return dice(BinaryCounts(tp=both, fp=prediction - both, fn=reference - both, tn=0))
