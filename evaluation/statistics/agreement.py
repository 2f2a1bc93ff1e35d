"""Agreement of two measurements of the same subjects: Bland-Altman, correlation, and tables of both per muscle."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from paraspinal_nnunet.evaluation.statistics.long_table import (
    Missing,
    Sample,
    balance,
    check_columns,
    paired_samples,
    rounding,
)
from paraspinal_nnunet.evaluation.statistics.reliability import icc_2_1

LIMITS_SD = 1.96
"""Limits of agreement in standard deviations of the differences. Source: Bland and Altman 1986."""


@dataclass(frozen=True)
class BlandAltman:
    """Bias and 95 % limits of agreement, in the unit of the measurements; the difference is prediction - reference.

    Attributes:
        bias: Mean difference.
        sd: SD of the differences, with n - 1.
        loa_low: bias - 1.96 sd.
        loa_high: bias + 1.96 sd.
        bias_ci_low: Lower end of the confidence interval of the bias.
        bias_ci_high: Upper end.
        bias_p: Two-sided p of the paired t-test of no bias; NaN where all differences are equal.
        loa_low_ci_low: Lower end of the confidence interval of the lower limit.
        loa_low_ci_high: Upper end.
        loa_high_ci_low: Lower end of the confidence interval of the upper limit.
        loa_high_ci_high: Upper end.
        slope: Slope of the difference on the mean of both measurements: a bias that grows with size. NaN where all
            means are equal.
        slope_p: Its two-sided p; NaN below three pairs or without scatter about the line.
        outside: How many differences lie outside the limits.
        n: Number of pairs.
    """

    bias: float
    sd: float
    loa_low: float
    loa_high: float
    bias_ci_low: float
    bias_ci_high: float
    bias_p: float
    loa_low_ci_low: float
    loa_low_ci_high: float
    loa_high_ci_low: float
    loa_high_ci_high: float
    slope: float
    slope_p: float
    outside: int
    n: int


@dataclass(frozen=True)
class Correlation:
    """Correlation and best-fit line of prediction on reference.

    Attributes:
        r: Pearson's r or Spearman's rho; NaN where a measurement is constant.
        ci_low: Lower end of the confidence interval; NaN below four pairs.
        ci_high: Upper end.
        p: Two-sided p of no correlation, by Student's t with n - 2 degrees of freedom.
        slope: Least-squares slope of prediction on reference.
        intercept: In the unit of the measurements.
        method: ``"pearson"`` or ``"spearman"``.
        n: Number of pairs.
    """

    r: float
    ci_low: float
    ci_high: float
    p: float
    slope: float
    intercept: float
    method: str
    n: int


def bland_altman(reference: Sample, prediction: Sample, *, confidence: float = 0.95) -> BlandAltman:
    """Bias and limits of agreement after Bland and Altman.

    d = prediction - reference; limits mean(d) +- 1.96 sd(d). Standard errors: sd / sqrt(n) of the bias and sqrt(3 sd^2
    / n) of a limit; intervals by Student's t with n - 1 degrees of freedom. Assumes normal differences whose spread
    does not depend on size.

    Args:
        reference: One number per subject.
        prediction: The other, in the same order of subjects.
        confidence: Of the intervals; the limits stay at 1.96 SD.

    Raises:
        StatisticsError: Different lengths, fewer than two pairs, NaN or infinite values.

    Source: Bland and Altman 1986, doi:10.1016/S0140-6736(86)90837-8. R 4.2: ``d <- prediction - reference; mean(d) +
    c(-1.96, 1.96) * sd(d); t.test(d); lm(d ~ I((prediction + reference) / 2))``.
    """
    first, second = paired_samples(reference, prediction, minimum=2)
    differences = second - first
    n = len(differences)
    bias, sd = float(differences.mean()), float(differences.std(ddof=1))
    if sd <= rounding(np.concatenate([first, second])):
        sd = 0.0
    quantile = float(special.stdtrit(n - 1, (1 + confidence) / 2))
    bias_half, limit_half = quantile * sd / np.sqrt(n), quantile * np.sqrt(3 * sd**2 / n)
    low, high = bias - LIMITS_SD * sd, bias + LIMITS_SD * sd
    slope, _, slope_p = _line((first + second) / 2, differences)
    return BlandAltman(
        bias=bias,
        sd=sd,
        loa_low=low,
        loa_high=high,
        bias_ci_low=float(bias - bias_half),
        bias_ci_high=float(bias + bias_half),
        bias_p=_t_p(bias / (sd / np.sqrt(n)), n - 1) if sd else float("nan"),
        loa_low_ci_low=float(low - limit_half),
        loa_low_ci_high=float(low + limit_half),
        loa_high_ci_low=float(high - limit_half),
        loa_high_ci_high=float(high + limit_half),
        slope=slope,
        slope_p=slope_p,
        outside=int(np.sum((differences < low) | (differences > high))) if sd else 0,
        n=n,
    )


def correlation(
    reference: Sample,
    prediction: Sample,
    *,
    method: Literal["pearson", "spearman"] = "pearson",
    confidence: float = 0.95,
) -> Correlation:
    """Correlation with its interval, and the line of best fit of prediction on reference.

    The interval is tanh(atanh(r) +- z SE) with Fisher's SE = 1 / sqrt(n - 3) for Pearson's r and Bonett and Wright's
    sqrt((1 + rho^2 / 2) / (n - 3)) for Spearman's rho. The line is least squares on the raw values for both methods.

    Args:
        reference: One number per subject.
        prediction: The other, in the same order of subjects.
        method: ``"pearson"`` or ``"spearman"`` (average ranks of ties).
        confidence: Of the interval.

    Raises:
        StatisticsError: Different lengths, fewer than three pairs, NaN or infinite values.

    Source: R 4.2: ``cor.test(reference, prediction)``, ``cor.test(..., method = "spearman", exact = FALSE)``,
    ``lm(prediction ~ reference)``; Bonett and Wright 2000, doi:10.1007/BF02294183.
    """
    first, second = paired_samples(reference, prediction, minimum=3)
    n = len(first)
    slope, intercept, _ = _line(first, second)
    x, y = (stats.rankdata(first), stats.rankdata(second)) if method == "spearman" else (first, second)
    r = _pearson(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (1 + r**2 / 2 if method == "spearman" else 1.0) / np.float64(n - 3)
        half = special.ndtri((1 + confidence) / 2) * np.sqrt(variance)
        low, high = np.tanh(np.arctanh(r) + np.array([-half, half])) if n > 3 else (np.nan, np.nan)
        p = _t_p(float(r * np.sqrt((n - 2) / np.float64((1 - r) * (1 + r)))), n - 2)
    return Correlation(r, float(low), float(high), p, slope, intercept, method, n)


def volume_agreement(
    table: pd.DataFrame, *, subject: str, by: str, reference: str, prediction: str, missing: Missing = "error"
) -> pd.DataFrame:
    """ICC(2,1), bias, limits of agreement and correlation of two columns of volumes, muscle by muscle.

    Args:
        table: One row per subject and muscle.
        subject: Column that names the subject.
        by: Column that names the muscle.
        reference: Column of the one measurement.
        prediction: Column of the other.
        missing: ``"error"`` or ``"complete-case"``; see `long_table.balance`.

    Returns:
        One row per muscle: the column named by `by`, then n, icc, icc_ci_low, icc_ci_high, bias, sd, loa_low,
        loa_high, bias_ci_low, bias_ci_high, r, r_ci_low, r_ci_high, slope, intercept. ``attrs["dropped"]`` lists the
        subjects left out.

    Raises:
        StatisticsError: Missing or duplicate cells, or fewer than three subjects.
    """
    samples = list(column_samples(table, subject=subject, by=by, columns=[reference, prediction], missing=missing))
    result = pd.DataFrame([{by: muscle} | _volume_row(*columns) for muscle, columns, _ in samples])
    result.attrs["dropped"] = list(samples[0][2])
    return result


def inter_rater_agreement(
    table: pd.DataFrame, *, subject: str, by: str, rater_1: str, rater_2: str, dice: str, missing: Missing = "error"
) -> pd.DataFrame:
    """Agreement of two human raters, muscle by muscle: mean and SD of Dice, ICC(2,1) and limits of agreement of volume.

    Args:
        table: One row per subject and muscle.
        subject: Column that names the subject.
        by: Column that names the muscle.
        rater_1: Column of the first rater's volumes, the reference of the differences.
        rater_2: Column of the second rater's volumes.
        dice: Column of Dice between the raters' labels.
        missing: ``"error"`` or ``"complete-case"``; see `long_table.balance`.

    Returns:
        One row per muscle: the column named by `by`, dice_mean, dice_sd (with n - 1), then as `volume_agreement`.

    Raises:
        StatisticsError: Missing or duplicate cells, or fewer than three subjects.
    """
    columns = [rater_1, rater_2, dice]
    samples = list(column_samples(table, subject=subject, by=by, columns=columns, missing=missing))
    rows = []
    for muscle, (first, second, overlaps), _ in samples:
        overlap = {"dice_mean": float(overlaps.mean()), "dice_sd": float(overlaps.std(ddof=1))}
        rows.append({by: muscle} | overlap | _volume_row(first, second))
    result = pd.DataFrame(rows)
    result.attrs["dropped"] = list(samples[0][2])
    return result


def column_samples(
    table: pd.DataFrame, *, subject: str, by: str, columns: Sequence[str], missing: Missing = "error"
) -> Iterator[tuple[Hashable, list[NDArray[np.float64]], tuple[Hashable, ...]]]:
    """For each muscle its name, one vector over the subjects per column, and the subjects left out.

    Args:
        table: One row per subject and muscle.
        subject: Column that names the subject.
        by: Column that names the muscle.
        columns: Columns of measurements; a subject counts only with all of them in all muscles.
        missing: ``"error"`` or ``"complete-case"``; see `long_table.balance`.

    Raises:
        StatisticsError: Unknown column, missing or duplicate cells.
    """
    check_columns(table, [subject, by, *columns])
    melted = table[[subject, by, *columns]].melt([subject, by], var_name="column", value_name="measured value")
    balanced = balance(melted, value="measured value", subject=subject, within=[by, "column"], missing=missing)
    places = [balanced.levels[1].index(column) for column in columns]
    for place, muscle in enumerate(balanced.levels[0]):
        yield muscle, [balanced.values[:, place, measure] for measure in places], balanced.dropped


def _volume_row(reference: NDArray[np.float64], prediction: NDArray[np.float64]) -> dict[str, Any]:
    reliability = icc_2_1(reference, prediction)
    limits = bland_altman(reference, prediction)
    line = correlation(reference, prediction)
    kept = ("bias", "sd", "loa_low", "loa_high", "bias_ci_low", "bias_ci_high")
    return {
        "n": limits.n,
        "icc": reliability.icc,
        "icc_ci_low": reliability.ci_low,
        "icc_ci_high": reliability.ci_high,
        **{name: getattr(limits, name) for name in kept},
        "r": line.r,
        "r_ci_low": line.ci_low,
        "r_ci_high": line.ci_high,
        "slope": line.slope,
        "intercept": line.intercept,
    }


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    if _is_constant(x) or _is_constant(y):
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))


def _is_constant(values: NDArray[np.float64]) -> bool:
    return bool(np.ptp(values) <= rounding(values))


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Slope, intercept and two-sided p of the slope of y on x."""
    if _is_constant(x):
        return float("nan"), float("nan"), float("nan")
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(dx @ dy / (dx @ dx))
    df = len(x) - 2
    residual = float(np.sum((dy - slope * dx) ** 2))
    scatter = residual > len(x) * rounding(np.concatenate([x, y])) ** 2
    p = _t_p(slope / np.sqrt(residual / df / (dx @ dx)), df) if df > 0 and scatter else float("nan")
    return slope, float(y.mean() - slope * x.mean()), p


def _t_p(t: float, df: int) -> float:
    return float(2 * special.stdtr(df, -abs(t)))
