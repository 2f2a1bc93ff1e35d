"""Intraclass correlation coefficients of Shrout and Fleiss with their confidence intervals."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.long_table import Sample, paired_samples, rounding

IccKind = Literal["1,1", "2,1", "3,1", "2,k"]
KINDS: tuple[IccKind, ...] = ("1,1", "2,1", "3,1", "2,k")


@dataclass(frozen=True)
class Icc:
    """An intraclass correlation.

    Attributes:
        icc: The coefficient; at most 1, may be negative. ICC(2,k) exceeds 1 where the coefficient of a single
            measurement is below -1 / (k - 1), as it does in psych.
        ci_low: Lower end of the confidence interval; NaN where it is undefined.
        ci_high: Upper end.
        f: F of the subjects against the error; infinite for raters who differ by a constant at most.
        df1: Its degrees of freedom above.
        df2: Its degrees of freedom below.
        p: Of F, against an ICC of zero.
        n: Number of subjects.
        k: Number of raters.
    """

    icc: float
    ci_low: float
    ci_high: float
    f: float
    df1: int
    df2: int
    p: float
    n: int
    k: int


@dataclass(frozen=True)
class MeanSquares:
    """The two-way analysis of variance of n subjects by k raters.

    Attributes:
        subjects: Mean square between subjects, with n - 1 degrees of freedom.
        raters: Mean square between raters, with k - 1.
        error: Residual mean square, with (n - 1)(k - 1).
        n: Number of subjects.
        k: Number of raters.
    """

    subjects: float
    raters: float
    error: float
    n: int
    k: int

    @property
    def within(self) -> float:
        """Mean square within subjects, raters and residual together, with n (k - 1) degrees of freedom."""
        return (self.raters + (self.n - 1) * self.error) / self.n


def icc_2_1(reference: Sample, prediction: Sample, *, confidence: float = 0.95) -> Icc:
    """ICC(2,1): absolute agreement of two measurements of each subject, two-way random effects, single measurement.

    See `icc` for the formula. Identical measurements have ICC 1 and no interval (NaN); measurements that differ by the
    same constant everywhere have an infinite F. NaN throughout where neither subjects nor raters differ.

    Args:
        reference: One number per subject, e.g. volumes in ml.
        prediction: The other, in the same order of subjects.
        confidence: Of the interval.

    Raises:
        StatisticsError: Different lengths, fewer than two subjects, NaN or infinite values.
    """
    first, second = paired_samples(reference, prediction, minimum=2)
    return icc(np.column_stack([first, second]), kind="2,1", confidence=confidence)


def icc(ratings: ArrayLike, *, kind: IccKind = "2,1", confidence: float = 0.95) -> Icc:
    """Intraclass correlation of n subjects measured by k raters.

    With MSR, MSC, MSE and MSW the mean squares of subjects, raters, residual and within subjects:

    - ICC(1,1) = (MSR - MSW) / (MSR + (k - 1) MSW)
    - ICC(2,1) = (MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n)
    - ICC(3,1) = (MSR - MSE) / (MSR + (k - 1) MSE)
    - ICC(2,k) = (MSR - MSE) / (MSR + (MSC - MSE) / n), which is k r / (1 + (k - 1) r) of r = ICC(2,1)

    The interval of ICC(2,1) uses Satterthwaite's degrees of freedom v for the denominator (see `interval_2_1`); that of
    ICC(2,k) is its Spearman-Brown transform; those of ICC(1,1) and ICC(3,1) follow from F exactly. The p value is that
    of F = MSR / MSE (MSR / MSW for ICC(1,1)) with its usual degrees of freedom, as in psych; irr takes v there.

    Assumes normal, independent effects of subjects, raters (kinds 2) and residuals with equal variances.

    Args:
        ratings: (subjects, raters), one unit throughout, without gaps.
        kind: Which coefficient.
        confidence: Of the interval.

    Raises:
        StatisticsError: Unknown kind, not a matrix of at least 2 x 2, NaN or infinite values.

    Source: Shrout and Fleiss 1979, doi:10.1037/0033-2909.86.2.420; McGraw and Wong 1996, doi:10.1037/1082-989X.1.1.30;
    R 4.2: psych 2.2 ``ICC(ratings, lmer = FALSE)``, irr 0.84 ``icc(ratings, "twoway", "agreement", "single")``.
    """
    if kind not in KINDS:
        raise StatisticsError(f"ICC({kind}) is unknown; choose from {', '.join(KINDS)}")
    return icc_from_mean_squares(mean_squares(ratings), kind=kind, confidence=confidence)


def mean_squares(ratings: ArrayLike) -> MeanSquares:
    """Two-way mean squares of n subjects by k raters; what is only rounding counts as zero.

    Args:
        ratings: (subjects, raters), without gaps.

    Raises:
        StatisticsError: Not a matrix of at least 2 x 2, NaN or infinite values.
    """
    matrix = np.asarray(ratings, dtype=np.float64)
    if matrix.ndim != 2 or min(matrix.shape) < 2:
        raise StatisticsError(f"ratings have shape {matrix.shape}; give at least two subjects (rows) and two raters")
    if not np.isfinite(matrix).all():
        row = int(np.argmin(np.isfinite(matrix).all(axis=1)))
        raise StatisticsError(f"subject {row} has a rating that is NaN or infinite; leave out incomplete subjects")
    n, k = matrix.shape
    centred = matrix - matrix.mean()
    by_subject, by_rater = centred.mean(axis=1), centred.mean(axis=0)
    residual = centred - by_subject[:, None] - by_rater
    noise = rounding(matrix) ** 2
    squares = (k * np.sum(by_subject**2), n * np.sum(by_rater**2), np.sum(residual**2))
    subjects, raters, error = (float(square) if square > matrix.size * noise else 0.0 for square in squares)
    return MeanSquares(subjects / (n - 1), raters / (k - 1), error / ((n - 1) * (k - 1)), n, k)


def icc_from_mean_squares(squares: MeanSquares, *, kind: IccKind = "2,1", confidence: float = 0.95) -> Icc:
    """The coefficient and its interval from an analysis of variance; see `icc`."""
    n, k = squares.n, squares.k
    error, df2 = (squares.within, n * (k - 1)) if kind == "1,1" else (squares.error, (n - 1) * (k - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        f = np.float64(squares.subjects) / np.float64(error)
        if kind in ("1,1", "3,1"):
            value = (np.float64(squares.subjects) - error) / (squares.subjects + (k - 1) * error)
            low, high = _exact_interval(float(f), n - 1, df2, k, confidence)
        else:
            value = _agreement(squares)
            low, high = interval_2_1(squares, confidence=confidence)
        if kind == "2,k":
            value, low, high = (k * r / (1 + (k - 1) * r) for r in (value, low, high))
    p = float(special.fdtrc(n - 1, df2, f)) if not np.isinf(f) else 0.0
    return Icc(float(value), float(low), float(high), float(f), n - 1, df2, p, n, k)


def interval_2_1(squares: MeanSquares, *, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of ICC(2,1).

    With r the coefficient and g = n (1 + (k - 1) r) - k r:
    v = (n - 1)(k - 1) (k r MSC + g MSE)^2 / ((n - 1) k^2 r^2 MSC^2 + g^2 MSE^2), and with F* the upper quantiles of
    F(n - 1, v) and F(v, n - 1):
    low = n (MSR - F* MSE) / (F* (k MSC + (k n - k - n) MSE) + n MSR),
    high = n (F* MSR - MSE) / (k MSC + (k n - k - n) MSE + n F* MSR).

    Returns:
        Low and high; NaN where raters agree entirely or no subjects differ.

    Source: Shrout and Fleiss 1979, p. 424; McGraw and Wong 1996, table 7.
    """
    n, k = squares.n, squares.k
    msr, msc, mse = squares.subjects, squares.raters, squares.error
    with np.errstate(divide="ignore", invalid="ignore"):
        r = _agreement(squares)
        g = n * (1 + (k - 1) * r) - k * r
        above = (n - 1) * (k - 1) * (k * r * msc + g * mse) ** 2
        v = above / ((n - 1) * (k * r * msc) ** 2 + (g * mse) ** 2)
        upper = (1 + confidence) / 2
        f_low, f_high = special.fdtri(n - 1, v, upper), special.fdtri(v, n - 1, upper)
        spread = k * msc + (k * n - k - n) * mse
        return (
            float(n * (msr - f_low * mse) / (f_low * spread + n * msr)),
            float(n * (f_high * msr - mse) / (spread + n * f_high * msr)),
        )


def _agreement(squares: MeanSquares) -> np.float64:
    n, k = squares.n, squares.k
    spread = squares.subjects + (k - 1) * squares.error + k * (squares.raters - squares.error) / n
    return np.float64(squares.subjects - squares.error) / np.float64(spread)


def _exact_interval(f: float, df1: int, df2: int, k: int, confidence: float) -> tuple[float, float]:
    if not np.isfinite(f):
        return float("nan"), float("nan")
    upper = (1 + confidence) / 2
    low, high = f / special.fdtri(df1, df2, upper), f * special.fdtri(df2, df1, upper)
    return float((low - 1) / (low + k - 1)), float((high - 1) / (high + k - 1))
