"""Beyond the paper's SPSS analysis: bootstrap intervals over cases, and the power of paired comparisons."""

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.long_table import Missing, balance, rounding
from paraspinal_nnunet.evaluation.statistics.posthoc import best_arm, difference_samples

BootstrapMethod = Literal["bca", "percentile"]
RESAMPLES = 10_000
_BLOCK = 1_000
_MOST_SUBJECTS = 10_000_000
_FAR_SHIFT = 8.3
"""Noncentrality from which the lower tail, at most Phi(-shift), is below float64's resolution of 1."""


def bootstrap_interval(
    samples: ArrayLike,
    *,
    rng: np.random.Generator,
    method: BootstrapMethod = "bca",
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bootstrap confidence intervals of column means; cases are drawn whole, the same ones for every column.

    Percentile: the quantiles a = (1 -+ confidence) / 2 of the resampled means. BCa: the quantiles Phi(z0 + (z0 + z_a) /
    (1 - c (z0 + z_a))), where z0 is the normal quantile of the share of resampled means below the mean (ties half) and
    the acceleration c = sum(d^3) / (6 sum(d^2)^1.5) over the deviations d of the cases from the mean. The interval of a
    constant column is that constant.

    Args:
        samples: (cases,) or (cases, columns), finite.
        rng: Source of the resamples; the same state gives the same intervals.
        method: ``"bca"`` (bias-corrected and accelerated) or ``"percentile"``.
        resamples: How many times the cases are drawn.
        confidence: Of the interval.

    Returns:
        Low and high ends, float64 (columns,).

    Raises:
        StatisticsError: Unknown method, fewer than two cases, fewer than one resample, NaN or infinite values.

    Source: Efron 1987, doi:10.1080/01621459.1987.10478410. Not part of the paper's analysis.
    """
    matrix = _cases(samples)
    if method not in ("bca", "percentile"):
        raise StatisticsError(f"bootstrap method {method!r} is unknown; choose 'bca' or 'percentile'")
    if resamples < 1:
        raise StatisticsError(f"{resamples} resamples; at least 1 is needed")
    means = _resampled_means(matrix, rng, resamples)
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    shares = np.tile(tails, (matrix.shape[1], 1)) if method == "percentile" else _bca_shares(matrix, means, tails)
    ends = [np.quantile(column, share) for column, share in zip(means.T, shares, strict=True)]
    low, high = np.transpose(ends)
    return low, high


def bootstrap_means(
    table: pd.DataFrame,
    *,
    value: str,
    subject: str,
    within: Sequence[str],
    rng: np.random.Generator,
    method: BootstrapMethod = "bca",
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    missing: Missing = "error",
) -> pd.DataFrame:
    """Mean of each cell, e.g. mean Dice per arm and muscle, with a bootstrap interval over the subjects.

    Args:
        table: Long table, one row per subject and cell.
        value: Column of the measured numbers.
        subject: Column that names the subject.
        within: Factor columns whose combinations are the cells.
        rng: See `bootstrap_interval`.
        method: See `bootstrap_interval`.
        resamples: See `bootstrap_interval`.
        confidence: See `bootstrap_interval`.
        missing: ``"error"`` or ``"complete-case"``; see `long_table.balance`.

    Returns:
        One row per cell: the factor columns, then n, mean, ci_low, ci_high, method, resamples, confidence.

    Raises:
        StatisticsError: Missing or duplicate cells, or as `bootstrap_interval`.
    """
    balanced = balance(table, value=value, subject=subject, within=within, missing=missing)
    rows = [dict(zip(balanced.factors, cell, strict=True)) for cell in balanced.cells]
    low, high = bootstrap_interval(balanced.matrix, rng=rng, method=method, resamples=resamples, confidence=confidence)
    result = pd.DataFrame(rows).assign(n=len(balanced.subjects), mean=balanced.matrix.mean(axis=0))
    result = result.assign(ci_low=low, ci_high=high, method=method, resamples=resamples, confidence=confidence)
    result.attrs["dropped"] = list(balanced.dropped)
    return result


def bootstrap_differences(
    table: pd.DataFrame,
    *,
    value: str,
    subject: str,
    arm: str,
    by: str,
    rng: np.random.Generator,
    best: Hashable | None = None,
    method: BootstrapMethod = "bca",
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    missing: Missing = "error",
) -> pd.DataFrame:
    """Mean paired difference of the best arm and each other arm per muscle, with a bootstrap interval over subjects.

    Args:
        table: Long table, one row per subject, muscle and arm.
        value: Column of the measured numbers.
        subject: Column that names the subject.
        arm: Column that names the arm.
        by: Column that names the muscle.
        rng: See `bootstrap_interval`.
        best: The arm to compare with; without it the arm with the highest mean.
        method: See `bootstrap_interval`.
        resamples: See `bootstrap_interval`.
        confidence: See `bootstrap_interval`.
        missing: ``"error"`` or ``"complete-case"``; see `long_table.balance`.

    Returns:
        One row per muscle and other arm: the columns named by `by` and `arm`, then n, mean_difference (best - other),
        ci_low, ci_high, method, resamples, confidence. ``attrs`` holds ``best`` and ``dropped``.

    Raises:
        StatisticsError: Missing or duplicate cells, or as `bootstrap_interval`.
    """
    balanced = balance(table, value=value, subject=subject, within=[by, arm], missing=missing)
    compared = difference_samples(balanced, best)
    differences = np.column_stack([sample.best - sample.other for sample in compared])
    low, high = bootstrap_interval(differences, rng=rng, method=method, resamples=resamples, confidence=confidence)
    result = pd.DataFrame([{by: sample.muscle, arm: sample.arm} for sample in compared])
    result = result.assign(n=len(differences), mean_difference=differences.mean(axis=0), ci_low=low, ci_high=high)
    result = result.assign(method=method, resamples=resamples, confidence=confidence)
    result.attrs["best"] = balanced.levels[1][best_arm(balanced, best)]
    result.attrs["dropped"] = list(balanced.dropped)
    return result


def paired_power(subjects: int, dz: float, *, alpha: float = 0.05) -> float:
    """Power of the two-sided paired t-test, exactly, by the noncentral t distribution.

    T has n - 1 degrees of freedom and noncentrality dz sqrt(n); the power is the probability of |T| above the critical
    t, both tails counted.

    Args:
        subjects: Number of pairs n.
        dz: True mean difference in SD of the differences.
        alpha: Level of the test.

    Raises:
        StatisticsError: Fewer than two subjects, `alpha` outside 0 to 1, or `dz` not finite.

    Source: R 4.2: ``power.t.test(n, delta = dz, sd = 1, sig.level = alpha, type = "paired", strict = TRUE)``. Not part
    of the paper's analysis.
    """
    if subjects < 2 or not 0 < alpha < 1 or not np.isfinite(dz):
        raise StatisticsError(
            f"power of {subjects} subjects, dz {dz}, alpha {alpha}: needs at least 2 subjects, a finite dz and an "
            "alpha between 0 and 1"
        )
    df, shift = subjects - 1, abs(dz) * np.sqrt(subjects)
    critical = stats.t.isf(alpha / 2, df)
    if shift == 0:
        return float(alpha)
    power = stats.nct.sf(critical, df, shift)
    if shift < _FAR_SHIFT:
        power += stats.nct.cdf(-critical, df, shift)
    return float(min(power, 1.0))


def subjects_needed(dz: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """The fewest subjects with which the two-sided paired t-test reaches the power.

    Args:
        dz: True mean difference in SD of the differences; not 0.
        power: Wanted power, above `alpha` and below 1.
        alpha: Level of the test.

    Returns:
        Number of pairs, at least 2.

    Raises:
        StatisticsError: `dz` is 0 or so small that over ten million subjects were needed; `power` or `alpha` outside
            their range.

    Source: R 4.2: ``ceiling(power.t.test(delta = dz, sd = 1, sig.level = alpha, power = power, type = "paired",
    strict = TRUE)$n)``. Not part of the paper's analysis.
    """
    if dz == 0 or not np.isfinite(dz) or not 0 < alpha < power < 1:
        raise StatisticsError(
            f"subjects for dz {dz}, power {power}, alpha {alpha}: needs a dz other than 0 and 0 < alpha < power < 1"
        )
    low, high = 1, 2
    while paired_power(high, dz, alpha=alpha) < power:
        low, high = high, 2 * high
        if high > _MOST_SUBJECTS:
            raise StatisticsError(f"dz {dz} needs more than {_MOST_SUBJECTS} subjects for a power of {power}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if paired_power(middle, dz, alpha=alpha) >= power else (middle, high)
    return high


def _cases(samples: ArrayLike) -> NDArray[np.float64]:
    matrix = np.asarray(samples, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2 or len(matrix) < 2:
        raise StatisticsError(f"samples have shape {matrix.shape}; give at least two cases in rows")
    if not np.isfinite(matrix).all():
        raise StatisticsError("the samples hold NaN or infinite values; leave out incomplete cases first")
    return matrix


def _resampled_means(matrix: NDArray[np.float64], rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """Means of the drawn cases, (resamples, columns): how often each case is drawn is multinomial."""
    n = len(matrix)
    centre = matrix.mean(axis=0)
    means = np.empty((resamples, matrix.shape[1]))
    for start in range(0, resamples, _BLOCK):
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(_BLOCK, resamples - start))
        means[start : start + len(drawn)] = drawn @ (matrix - centre) / n
    return means + centre


def _bca_shares(
    matrix: NDArray[np.float64], means: NDArray[np.float64], tails: NDArray[np.float64]
) -> NDArray[np.float64]:
    estimate = matrix.mean(axis=0)
    near = np.array([rounding(column) for column in matrix.T])
    below = (means < estimate - near).mean(axis=0) + (np.abs(means - estimate) <= near).mean(axis=0) / 2
    deviations = matrix - estimate
    squares = np.sum(deviations**2, axis=0)
    skew = np.sum(deviations**3, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = np.where(squares > len(matrix) * near**2, skew / (6 * squares**1.5), 0.0)
    bias = special.ndtri(np.clip(below, 1 / (2 * len(means)), 1 - 1 / (2 * len(means))))[:, None]
    shifted = bias + special.ndtri(tails)
    return special.ndtr(bias + shifted / (1 - acceleration[:, None] * shifted))
