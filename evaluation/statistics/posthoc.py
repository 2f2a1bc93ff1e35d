"""Paired t-tests of the best arm against every other arm, muscle by muscle, with raw and Holm-adjusted p."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.long_table import CellTable, Missing, balance, rounding
from paraspinal_nnunet.utils.text import aligned, number_text, p_text


def paired_t_tests(
    table: pd.DataFrame,
    *,
    value: str,
    subject: str,
    arm: str,
    by: str,
    best: Hashable | None = None,
    missing: Missing = "error",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare the best arm with each other arm in each muscle by paired t-tests.

    With d = best - other over the n subjects: t = mean(d) / (sd(d) / sqrt(n)), df = n - 1, two-sided p; dz =
    mean(d) / sd(d), SD with n - 1. Holm's adjustment runs over all muscles and arms at once. `p_wilcoxon` is the signed
    rank test by its normal approximation as in SPSS (see `wilcoxon_p`), for differences that are not normal.

    Assumes independent subjects and normal differences. Where all differences are equal, t, dz and the p values are
    NaN, the interval shrinks to the one difference, and the comparison does not count in Holm's family, as in R.

    Args:
        table: Long table, one row per subject, muscle and arm.
        value: Column of the measured numbers.
        subject: Column that names the subject.
        arm: Column that names the arm; `long_table.join_columns` makes one of several factors.
        by: Column that names the muscle.
        best: The arm to compare with; without it the arm with the highest mean over all subjects and muscles.
        missing: ``"error"`` or ``"complete-case"``; see `long_table.balance`.
        confidence: Of the interval of the mean difference; not adjusted for the number of tests.

    Returns:
        One row per muscle and other arm: the columns named by `by` and `arm`, then n, mean_best, mean_arm,
        mean_difference, ci_low, ci_high, sd_difference, dz, t, df, p, p_holm, p_wilcoxon. ``attrs`` holds ``best``,
        ``confidence`` and ``dropped``.

    Raises:
        StatisticsError: Missing or duplicate cells, fewer than two subjects or arms, or an unknown best arm.

    Source: R 4.2: ``t.test(best, other, paired = TRUE)``, ``p.adjust(p, "holm")``, ``wilcox.test(best, other, paired =
    TRUE, exact = FALSE, correct = FALSE)``; Holm 1979, Scand J Stat 6:65-70. The paper's post-hoc tests are not
    adjusted.
    """
    balanced = balance(table, value=value, subject=subject, within=[by, arm], missing=missing)
    if len(balanced.subjects) < 2:
        raise StatisticsError(f"{len(balanced.subjects)} complete subject is too few for a t-test; at least 2 needed")
    rows = [
        {by: sample.muscle, arm: sample.arm, "n": len(sample.best)} | _compare(sample.best, sample.other, confidence)
        for sample in difference_samples(balanced, best)
    ]
    result = pd.DataFrame(rows)
    result.insert(result.columns.get_loc("p") + 1, "p_holm", holm(result["p"].to_numpy()))
    result.attrs["best"] = balanced.levels[1][best_arm(balanced, best)]
    result.attrs["confidence"] = confidence
    result.attrs["dropped"] = list(balanced.dropped)
    return result


def paired_t_report(tests: pd.DataFrame, *, decimals: int = 3) -> str:
    """Print paired t-tests as text, raw and Holm-adjusted p side by side.

    Args:
        tests: From `paired_t_tests`.
        decimals: Of means and differences.
    """
    by, arm = tests.columns[:2]
    interval = f"{100 * tests.attrs.get('confidence', 0.95):g} % CI"
    lines = [[by, f"{arm} compared", "difference", interval, "t", "df", "dz", "p (raw)", "p (Holm)", "p (Wilcoxon)"]]
    for row in tests.to_dict("records"):
        numbers = [number_text(row[name], decimals=decimals) for name in ("mean_difference", "ci_low", "ci_high")]
        cells = [str(row[by]), str(row[arm]), numbers[0], f"{numbers[1]} to {numbers[2]}"]
        cells += [number_text(row["t"]), str(row["df"]), number_text(row["dz"])]
        cells += [p_text(row[name]) for name in ("p", "p_holm", "p_wilcoxon")]
        lines.append(cells)
    family = int(tests["p"].notna().sum())
    note = f"Difference: {tests.attrs.get('best', 'best')} minus the arm named. Holm: over {family} tests."
    return "\n".join([aligned(lines), note])


@dataclass(frozen=True)
class PairedSample:
    """The best arm and another arm in one muscle.

    Attributes:
        muscle: Level of the factor that separates the comparisons.
        arm: The other arm.
        best: Values of the best arm, float64 (subjects,).
        other: Values of the other arm, float64 (subjects,), in the same order of subjects.
    """

    muscle: Hashable
    arm: Hashable
    best: NDArray[np.float64]
    other: NDArray[np.float64]


def best_arm(balanced: CellTable, best: Hashable | None) -> int:
    """Index of the best arm: the one named, or the one with the highest mean over all subjects and muscles.

    Args:
        balanced: Values of shape (subjects, muscles, arms).
        best: Its name, if it is given.

    Raises:
        StatisticsError: Fewer than two arms, or an unknown name.
    """
    arms = balanced.levels[1]
    if len(arms) < 2:
        raise StatisticsError(f"only the arm {arms[0]!r} is in the table; at least two are compared")
    if best is None:
        return int(np.argmax(balanced.values.mean(axis=(0, 1))))
    if best not in arms:
        raise StatisticsError(f"the arm {best!r} is not in the table; its arms are {', '.join(map(str, arms))}")
    return arms.index(best)


def difference_samples(balanced: CellTable, best: Hashable | None) -> list[PairedSample]:
    """Every comparison of the best arm with another, muscle by muscle.

    Args:
        balanced: Values of shape (subjects, muscles, arms).
        best: See `best_arm`.

    Raises:
        StatisticsError: Fewer than two arms, or an unknown best arm.
    """
    first = best_arm(balanced, best)
    return [
        PairedSample(muscle, arm, balanced.values[:, place, first], balanced.values[:, place, other])
        for place, muscle in enumerate(balanced.levels[0])
        for other, arm in enumerate(balanced.levels[1])
        if other != first
    ]


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p values; NaN stays NaN and does not count in the family.

    Args:
        p: Raw p values, one dimension.

    >>> holm([0.01, 0.04, 0.03]).round(6).tolist()
    [0.03, 0.06, 0.06]
    """
    raw = np.asarray(p, dtype=np.float64)
    adjusted = np.full(raw.shape, np.nan)
    known = np.flatnonzero(~np.isnan(raw))
    order = known[np.argsort(raw[known], kind="stable")]
    steps = raw[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def wilcoxon_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p of Wilcoxon's signed rank test by the normal approximation; NaN where all differences are zero.

    Zero differences are left out, ties lower the variance, and there is no continuity correction, as in SPSS.

    Args:
        differences: One number per subject, float64 (subjects,).

    Source: R 4.2: ``wilcox.test(x, y, paired = TRUE, exact = FALSE, correct = FALSE)``.
    """
    nonzero = differences[differences != 0]
    n = len(nonzero)
    if n == 0:
        return float("nan")
    ranks = stats.rankdata(np.abs(nonzero))
    ties = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    z = ranks[nonzero > 0].sum() - n * (n + 1) / 4
    sigma = np.sqrt(n * (n + 1) * (2 * n + 1) / 24 - np.sum(ties**3 - ties) / 48)
    return float(min(2 * stats.norm.sf(abs(z) / sigma), 1.0))


def _compare(best: NDArray[np.float64], other: NDArray[np.float64], confidence: float) -> dict[str, float]:
    differences = best - other
    n = len(differences)
    mean, sd = float(differences.mean()), float(differences.std(ddof=1))
    constant = sd <= rounding(np.concatenate([best, other]))
    error = 0.0 if constant else sd / np.sqrt(n)
    t = float("nan") if constant else mean / error
    half = stats.t.isf((1 - confidence) / 2, n - 1) * error
    return {
        "mean_best": float(best.mean()),
        "mean_arm": float(other.mean()),
        "mean_difference": mean,
        "ci_low": float(mean - half),
        "ci_high": float(mean + half),
        "sd_difference": 0.0 if constant else sd,
        "dz": float("nan") if constant else mean / sd,
        "t": float(t),
        "df": n - 1,
        "p": float(2 * stats.t.sf(abs(t), n - 1)),
        "p_wilcoxon": float("nan") if constant else wilcoxon_p(differences),
    }
