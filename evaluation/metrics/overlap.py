"""The paper's overlap metrics, each a function of true and false positives and negatives.

Source: Table 2 of doi:10.1038/s41598-022-16710-5 (`protocol.DOI`). Where a formula divides by zero, `UNDEFINED` says
what stands instead; it is the only place that does. Means over cases leave NaN out and say how many were left out; an
infinite value is kept and makes the mean infinite.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import numpy as np

from paraspinal_nnunet.evaluation.metrics.confusion import BinaryCounts, binary_counts, confusion_counts

_NAN, _INF = math.nan, math.inf

UNDEFINED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "dice": {"both empty": _NAN},
        "jaccard": {"both empty": _NAN},
        "conformity": {
            "both empty": _NAN,
            "reference empty": -_INF,
            "prediction empty": -_INF,
            "no overlap": -_INF,
        },
        "tpr": {"both empty": _NAN, "reference empty": _NAN},
        "tnr": {"no background": _NAN},
        "ppv": {"both empty": _NAN, "prediction empty": _NAN},
        "volume_ratio": {"both empty": _NAN, "reference empty": _INF},
    }
)
"""Metric -> situation -> value. A situation that is not listed has the value of the formula, e.g. Dice 0 when only one
of the two masks is empty. 'Empty' is about one label; 'no overlap' means that both masks have voxels but share none;
'no background' means that the reference fills the whole volume. nnU-Net's evaluator has the same rule for Dice."""


@dataclass(frozen=True)
class OverlapMetrics:
    """All overlap metrics of one label in one case, at full precision; ranges as in Table 2."""

    dice: float
    jaccard: float
    conformity: float
    tpr: float
    tnr: float
    ppv: float
    volume_ratio: float


METRICS: tuple[str, ...] = tuple(f.name for f in fields(OverlapMetrics))
"""The metrics' column names, in the order of Table 2."""


def dice(counts: BinaryCounts) -> float:
    """Sørensen-Dice index, 0 to 1: 2 TP / (2 TP + FP + FN). Source: Table 2, ``protocol.DOI``.

    >>> dice(BinaryCounts(tp=3, fp=1, fn=1, tn=5))
    0.75
    """
    return _value("dice", counts, lambda c: 2 * c.tp / (2 * c.tp + c.fp + c.fn))


def jaccard(counts: BinaryCounts) -> float:
    """Jaccard index, 0 to 1: TP / (TP + FP + FN), equal to Dice / (2 - Dice). Source: Table 2, ``protocol.DOI``.

    >>> jaccard(BinaryCounts(tp=3, fp=1, fn=1, tn=5))
    0.6
    """
    return _value("jaccard", counts, lambda c: c.tp / (c.tp + c.fp + c.fn))


def conformity(counts: BinaryCounts) -> float:
    """Conformity coefficient, at most 1: 1 - (FP + FN) / TP, equal to 3 - 2 / Dice. Source: Table 2, ``protocol.DOI``.

    >>> conformity(BinaryCounts(tp=4, fp=1, fn=1, tn=5))
    0.5
    """
    return _value("conformity", counts, lambda c: 1 - (c.fp + c.fn) / c.tp)


def tpr(counts: BinaryCounts) -> float:
    """True positive rate (sensitivity), 0 to 1: TP / (TP + FN). Source: Table 2, ``protocol.DOI``.

    >>> tpr(BinaryCounts(tp=3, fp=2, fn=1, tn=5))
    0.75
    """
    return _value("tpr", counts, lambda c: c.tp / (c.tp + c.fn))


def tnr(counts: BinaryCounts) -> float:
    """True negative rate (specificity), 0 to 1: TN / (TN + FP). Source: Table 2, ``protocol.DOI``.

    It grows with the empty space around the muscle, so values of images with other fields of view do not compare.

    >>> tnr(BinaryCounts(tp=3, fp=1, fn=1, tn=3))
    0.75
    """
    return _value("tnr", counts, lambda c: c.tn / (c.tn + c.fp))


def ppv(counts: BinaryCounts) -> float:
    """Positive predictive value (precision), 0 to 1: TP / (TP + FP). Source: Table 2, ``protocol.DOI``.

    >>> ppv(BinaryCounts(tp=3, fp=1, fn=2, tn=5))
    0.75
    """
    return _value("ppv", counts, lambda c: c.tp / (c.tp + c.fp))


def volume_ratio(counts: BinaryCounts) -> float:
    """Volume of the prediction over that of the reference, at least 0. Source: Table 2, ``protocol.DOI``.

    >>> volume_ratio(BinaryCounts(tp=3, fp=3, fn=1, tn=5))
    1.5
    """
    return _value("volume_ratio", counts, lambda c: c.prediction / c.reference)


def overlap_metrics(counts: BinaryCounts) -> OverlapMetrics:
    """All metrics of one label."""
    return OverlapMetrics(
        dice=dice(counts),
        jaccard=jaccard(counts),
        conformity=conformity(counts),
        tpr=tpr(counts),
        tnr=tnr(counts),
        ppv=ppv(counts),
        volume_ratio=volume_ratio(counts),
    )


def compare_labels(reference: np.ndarray, prediction: np.ndarray, labels: tuple[int, ...]) -> dict[int, OverlapMetrics]:
    """All metrics of several labels of two arrays.

    Args:
        reference: uint8 label map of any shape.
        prediction: uint8 label map of the same shape.
        labels: The values to report, e.g. ``(1, 2, 3, 4, 5, 6)``.

    Raises:
        GeometryError: The shapes differ.
        LabelError: An array that is not uint8, or a value above the largest of `labels`.
    """
    counts = confusion_counts(reference, prediction, classes=max(labels) + 1)
    return {label: overlap_metrics(binary_counts(counts, label)) for label in labels}


def situation(counts: BinaryCounts) -> str | None:
    """The degenerate situation of a pair of masks by its name in `UNDEFINED`, or None."""
    if counts.reference == 0:
        return "both empty" if counts.prediction == 0 else "reference empty"
    if counts.prediction == 0:
        return "prediction empty"
    return "no overlap" if counts.tp == 0 else None


def _value(metric: str, counts: BinaryCounts, formula: Callable[[BinaryCounts], float]) -> float:
    undefined = UNDEFINED[metric]
    for name in (situation(counts), None if counts.tn + counts.fp else "no background"):
        if name is not None and name in undefined:
            return undefined[name]
    return float(formula(counts))
