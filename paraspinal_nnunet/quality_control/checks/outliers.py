"""Which values differ from the bulk, by a rule that the outliers themselves hardly influence."""

import numpy as np

SCORE_LIMIT = 3.5
"""Source: Iglewicz B, Hoaglin DC. How to Detect and Handle Outliers. ASQC Quality Press, 1993: modified z-scores whose
absolute value exceeds 3.5 are labelled as potential outliers."""

LEAST_VALUES = 6
"""With fewer values no bulk can be told from an outlier."""

_MAD_FACTOR = 0.6745
_MEAN_FACTOR = 1.253314

RULE = (
    f"more than {SCORE_LIMIT} usual deviations from the median, that is a modified z-score (Iglewicz and Hoaglin 1993) "
    f"of {_MAD_FACTOR} (x - median) / MAD, or (x - median) / ({_MEAN_FACTOR} mean absolute deviation) where more than "
    "half of the values are equal"
)


def modified_z(values: np.ndarray) -> np.ndarray:
    """Modified z-scores.

    Args:
        values: float (n,); NaN where unknown.

    Returns:
        float (n,): ``0.6745 (x - median) / MAD``; where the MAD is 0, ``(x - median) / (1.253314 mean |x - median|)``;
        0 where all values are equal or there are fewer than `LEAST_VALUES`; NaN stays NaN.

    Source: `SCORE_LIMIT`; the second form is that of IBM SPSS Statistics Algorithms, 'Modified z score'.
    """
    values = np.asarray(values, float)
    known = values[np.isfinite(values)]
    scores = np.where(np.isfinite(values), 0.0, np.nan)
    if len(known) < LEAST_VALUES:
        return scores
    away = values - np.median(known)
    distances = np.abs(known - np.median(known))
    mad = float(np.median(distances))
    if mad > 0:
        return _MAD_FACTOR * away / mad
    mean = float(distances.mean())
    return away / (_MEAN_FACTOR * mean) if mean > 0 else scores


def distance_text(score: float, *, of_ratios: bool = False) -> str:
    """A modified z-score in words.

    >>> distance_text(-4.21), distance_text(5, of_ratios=True)
    ('4.2 usual deviations below it', '5.0 usual deviations above it, by their ratio')
    """
    side = "above" if score > 0 else "below"
    return f"{abs(score):.1f} usual deviations {side} it" + (", by their ratio" if of_ratios else "")


def outliers(values: np.ndarray, *, least: float) -> list[tuple[int, float]]:
    """Values beyond the rule that also differ from the median by more than a distance that matters.

    Args:
        values: float (n,); NaN where unknown.
        least: Distances from the median up to this are never outliers, in the values' unit.

    Returns:
        (index, modified z-score), the largest score first.
    """
    values = np.asarray(values, float)
    if not np.isfinite(values).any():
        return []
    scores = modified_z(values)
    far = np.abs(values - np.nanmedian(values)) > least
    found = [(int(i), float(scores[i])) for i in np.flatnonzero(far & (np.abs(scores) > SCORE_LIMIT))]
    return sorted(found, key=lambda pair: -abs(pair[1]))
