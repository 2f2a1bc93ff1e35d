"""Skewness, kurtosis, Shapiro-Wilk and Q-Q points of cells and of paired differences, as SPSS and R print them."""

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.long_table import Missing, balance, rounding
from paraspinal_nnunet.evaluation.statistics.posthoc import difference_samples
from paraspinal_nnunet.evaluation.statistics.shapiro import shapiro_wilk

Positions = Literal["blom", "hazen"]
POSITIONS: dict[Positions, tuple[float, str]] = {
    "blom": (3 / 8, "Blom: (i - 3/8) / (n + 1/4)"),
    "hazen": (1 / 2, "Hazen: (i - 1/2) / n"),
}
"""Plotting positions (i - a) / (n + 1 - 2a): a and the formula in words. Blom's are the default of SPSS; R's
``ppoints`` takes Hazen's for more than 10 values and Blom's below."""


@dataclass(frozen=True)
class Shape:
    """The shape of one sample beside that of a normal distribution.

    Attributes:
        n: Number of values.
        skewness: G1, bias-corrected as in SPSS; NaN below 3 values.
        skewness_se: Its standard error in normal samples.
        kurtosis: Excess kurtosis G2, bias-corrected as in SPSS; NaN below 4 values.
        kurtosis_se: Its standard error in normal samples.
        shapiro_w: W of Shapiro and Wilk, 0 to 1; NaN below 3 values.
        shapiro_p: Its p.
    """

    n: int
    skewness: float
    skewness_se: float
    kurtosis: float
    kurtosis_se: float
    shapiro_w: float
    shapiro_p: float


@dataclass(frozen=True)
class QQPoints:
    """Points of a normal Q-Q plot.

    Attributes:
        theoretical: Standard normal quantiles, ascending, float64 (n,).
        observed: The sample, ascending, float64 (n,).
        formula: The plotting positions used, in words.
        mean: Of the sample; the intercept of the line of a normal sample.
        sd: Of the sample, with n - 1; the slope of that line.
    """

    theoretical: NDArray[np.float64]
    observed: NDArray[np.float64]
    formula: str
    mean: float
    sd: float


def shape_of(sample: ArrayLike) -> Shape:
    """Skewness, kurtosis and the Shapiro-Wilk test of one sample.

    With m_r the central moments, g1 = m3 / m2^1.5 and g2 = m4 / m2^2 - 3: G1 = g1 sqrt(n (n - 1)) / (n - 2) and G2 =
    (n - 1) ((n + 1) g2 + 6) / ((n - 2)(n - 3)). SE(G1)^2 = 6 n (n - 1) / ((n - 2)(n + 1)(n + 3)) and SE(G2)^2 =
    4 SE(G1)^2 (n^2 - 1) / ((n - 3)(n + 5)). All but the standard errors are NaN for a constant sample.

    Args:
        sample: One dimension, finite.

    Raises:
        StatisticsError: Not a vector, or NaN or infinite values.

    Source: R 4.2, e1071 1.7: ``skewness(x, type = 2)``, ``kurtosis(x, type = 2)``, ``shapiro.test(x)``; Joanes and Gill
    1998, doi:10.1111/1467-9884.00122; Royston 1995, doi:10.2307/2986146.
    """
    values = _vector(sample)
    n = len(values)
    skewness_se, kurtosis_se = _standard_errors(n)
    centred = values - values.mean() if n else values
    undefined = n < 3 or bool(np.abs(centred).max() <= rounding(values))
    if undefined:
        nan = float("nan")
        return Shape(n, nan, skewness_se, nan, kurtosis_se, nan, nan)
    m2, m3, m4 = (float(np.mean(centred**power)) for power in (2, 3, 4))
    skewness = m3 / m2**1.5 * np.sqrt(n * (n - 1)) / (n - 2)
    kurtosis = (n - 1) * ((n + 1) * (m4 / m2**2 - 3) + 6) / ((n - 2) * (n - 3)) if n > 3 else float("nan")
    return Shape(n, float(skewness), skewness_se, kurtosis, kurtosis_se, *shapiro_wilk(values))


def normality_of_cells(
    table: pd.DataFrame, *, value: str, subject: str, within: Sequence[str], missing: Missing = "error"
) -> pd.DataFrame:
    """The shape of each cell over the subjects; the residuals about the cell's mean have the same shape.

    Args:
        table: Long table, one row per subject and cell.
        value: Column of the measured numbers.
        subject: Column that names the subject.
        within: Factor columns whose combinations are the cells.
        missing: ``"error"`` or ``"complete-case"``; see `long_table.balance`.

    Returns:
        One row per cell: the factor columns, then the fields of `Shape`.

    Raises:
        StatisticsError: Missing or duplicate cells.
    """
    balanced = balance(table, value=value, subject=subject, within=within, missing=missing)
    rows = [
        dict(zip(balanced.factors, cell, strict=True)) | asdict(shape_of(sample))
        for cell, sample in zip(balanced.cells, balanced.matrix.T, strict=True)
    ]
    return pd.DataFrame(rows)


def normality_of_differences(
    table: pd.DataFrame,
    *,
    value: str,
    subject: str,
    arm: str,
    by: str,
    best: Hashable | None = None,
    missing: Missing = "error",
) -> pd.DataFrame:
    """The shape of the paired differences that `posthoc.paired_t_tests` tests; same arguments.

    Returns:
        One row per muscle and other arm: the columns named by `by` and `arm`, then the fields of `Shape`.

    Raises:
        StatisticsError: Missing or duplicate cells, fewer than two arms, or an unknown best arm.
    """
    balanced = balance(table, value=value, subject=subject, within=[by, arm], missing=missing)
    rows = [
        {by: sample.muscle, arm: sample.arm} | asdict(shape_of(sample.best - sample.other))
        for sample in difference_samples(balanced, best)
    ]
    return pd.DataFrame(rows)


def qq_points(sample: ArrayLike, *, positions: Positions = "blom") -> QQPoints:
    """Points of a normal Q-Q plot, with the plotting positions named.

    Args:
        sample: One dimension, finite, at least two values.
        positions: ``"blom"`` or ``"hazen"``; see `POSITIONS`.

    Raises:
        StatisticsError: Unknown positions, not a vector, fewer than two values, or NaN or infinite values.

    Source: R 4.2: ``qnorm(ppoints(n, a = 3/8))`` and ``qqnorm(x)``; Blom 1958, Statistical Estimates and Transformed
    Beta-Variables.
    """
    values = _vector(sample)
    if positions not in POSITIONS:
        raise StatisticsError(f"plotting positions {positions!r} are unknown; choose from {', '.join(POSITIONS)}")
    if len(values) < 2:
        raise StatisticsError(f"{len(values)} values are too few for a Q-Q plot; at least 2 needed")
    offset, formula = POSITIONS[positions]
    n = len(values)
    ranks = (np.arange(1, n + 1) - offset) / (n + 1 - 2 * offset)
    return QQPoints(special.ndtri(ranks), np.sort(values), formula, float(values.mean()), float(values.std(ddof=1)))


def _vector(sample: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(sample, dtype=np.float64)
    if values.ndim != 1:
        raise StatisticsError(f"the sample has shape {values.shape}; give a vector")
    if not np.isfinite(values).all():
        raise StatisticsError(f"value {int(np.argmin(np.isfinite(values)))} of the sample is NaN or infinite")
    return values


def _standard_errors(n: int) -> tuple[float, float]:
    if n < 3:
        return float("nan"), float("nan")
    skewness = np.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    if n < 4:
        return float(skewness), float("nan")
    return float(skewness), float(2 * skewness * np.sqrt((n**2 - 1) / ((n - 3) * (n + 5))))
