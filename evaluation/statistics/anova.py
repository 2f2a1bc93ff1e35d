"""Repeated-measures analysis of variance with any number of within-subject factors, as R's ``car::Anova`` prints it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.long_table import Missing, balance, rounding
from paraspinal_nnunet.utils.text import aligned, number_text, p_text

COLUMNS = (
    "effect",
    "ss",
    "df1",
    "ss_error",
    "df2",
    "f",
    "p",
    "gg_epsilon",
    "p_gg",
    "hf_epsilon",
    "p_hf",
    "mauchly_w",
    "mauchly_p",
    "eta2_partial",
    "eta2_generalized",
)
MAUCHLY_ALPHA = 0.05
"""Level below which Mauchly's test calls for the corrected p: the customary one."""
_NO_SLACK = 1e-12
"""Relative size at which the denominator of Huynh and Feldt's epsilon is 0 but for rounding."""


def repeated_measures_anova(
    table: pd.DataFrame, *, value: str, subject: str, within: Sequence[str], missing: Missing = "error"
) -> pd.DataFrame:
    """Full-factorial repeated-measures ANOVA.

    For an effect, let C be the Kronecker product, over the factors, of orthonormal contrasts (factors in the effect)
    and of the constant 1/sqrt(levels) (the others), and Z = Y C the contrast scores of the n subjects, df1 columns:

    - SS = n |mean(Z)|^2 and SS_error = sum of squares of Z about its column means, with df2 = (n - 1) df1;
      F = (SS / df1) / (SS_error / df2).
    - S = the error matrix of Z, with eigenvalues l. Greenhouse-Geisser epsilon = (sum l)^2 / (df1 sum l^2);
      Huynh-Feldt epsilon = (n df1 GG - 2) / (df1 (n - 1 - df1 GG)). Both degrees of freedom are multiplied by epsilon;
      a Huynh-Feldt epsilon above 1 is reported as it is and counts as 1 in p.
    - Mauchly's W = det(S) / (trace(S) / df1)^df1. Its p is R's, whose second-order term counts all conditions of the
      design; variants that count df1 there, or leave the term out, differ in the third digit.
    - eta2_partial = SS / (SS + SS_error); eta2_generalized = SS / (SS + all error SS + SS of subjects).

    Two-level effects are spherical: epsilons 1, Mauchly NaN. Mauchly is NaN, too, where n <= df1 or where the error
    matrix is singular; the epsilons still exist, but Huynh-Feldt's is NaN for two subjects. Without any error variance
    F is infinite, or NaN where SS is 0 too.

    Assumes independent subjects and, for each effect, normal contrast scores.

    Args:
        table: Long table, one row per subject and cell.
        value: Column of the measured numbers.
        subject: Column that names the subject.
        within: Factor columns; effects are named in this order, e.g. ``model x aug x muscle``.
        missing: ``"error"`` or ``"complete-case"``; see `long_table.balance`.

    Returns:
        One row per effect and the columns `COLUMNS`, at full precision. ``attrs`` holds ``subjects`` (how many count)
        and ``dropped`` (the subjects left out).

    Raises:
        StatisticsError: Missing or duplicate cells, fewer than two subjects, a factor with one level.

    Source: R 4.2, car 3.1: ``summary(Anova(lm(cbind(...) ~ 1), idata = idata, idesign = ~model * aug * muscle,
    type = 3), multivariate = FALSE)``; afex 1.2 ``aov_ez(..., anova_table = list(es = "ges"))`` for generalised eta
    squared (Olejnik and Algina 2003, doi:10.1037/1082-989X.8.4.434); Mauchly 1940, doi:10.1214/aoms/1177731915;
    Greenhouse and Geisser 1959, doi:10.1007/BF02289823; Huynh and Feldt 1976, doi:10.3102/10769986001001069.
    """
    balanced = balance(table, value=value, subject=subject, within=within, missing=missing)
    n = len(balanced.subjects)
    _check_design(n, balanced.factors, balanced.levels)
    centred = balanced.matrix - balanced.matrix.mean()
    noise = balanced.matrix.size * rounding(balanced.matrix) ** 2
    effects = [
        _effect(centred, balanced.factors, balanced.values.shape[1:], chosen, noise)
        for size in range(1, len(balanced.factors) + 1)
        for chosen in itertools.combinations(range(len(balanced.factors)), size)
    ]
    means = centred.mean(axis=1)
    ss_subjects = centred.shape[1] * float(np.sum((means - means.mean()) ** 2))
    all_error = ss_subjects + sum(effect.ss_error for effect in effects)
    result = _with_p([_row(effect, n, centred.shape[1], all_error) for effect in effects])
    result.attrs["subjects"] = n
    result.attrs["dropped"] = list(balanced.dropped)
    return result


def quoted_tests(anova: pd.DataFrame, *, alpha: float = MAUCHLY_ALPHA) -> pd.DataFrame:
    """The one test to quote for each effect.

    The rule: Greenhouse-Geisser where Mauchly's p is below `alpha` or Mauchly's test is undefined for an effect of more
    than two levels; else uncorrected.

    Args:
        anova: From `repeated_measures_anova`.
        alpha: Level of Mauchly's test.

    Returns:
        Columns effect, correction (``"none"`` or ``"Greenhouse-Geisser"``), f, df1, df2 (both times epsilon), p.
    """
    corrected = (anova["df1"] > 1) & ~(anova["mauchly_p"] >= alpha)
    epsilon = anova["gg_epsilon"].where(corrected, 1.0)
    return pd.DataFrame(
        {
            "effect": anova["effect"],
            "correction": np.where(corrected, "Greenhouse-Geisser", "none"),
            "f": anova["f"],
            "df1": anova["df1"] * epsilon,
            "df2": anova["df2"] * epsilon,
            "p": anova["p_gg"].where(corrected, anova["p"]),
        }
    )


def anova_report(anova: pd.DataFrame, *, alpha: float = MAUCHLY_ALPHA) -> str:
    """Print an ANOVA as text: every effect with its uncorrected and corrected p, and which of them is quoted.

    Args:
        anova: From `repeated_measures_anova`.
        alpha: Level of Mauchly's test.
    """
    quoted = quoted_tests(anova, alpha=alpha)
    head = ["effect", "F", "df", "p", "p (GG)", "p (HF)", "eps GG", "eps HF", "Mauchly W", "Mauchly p", "eta2 p"]
    lines = [[*head, "eta2 g", "quoted"]]
    for row, test in zip(anova.itertuples(), quoted.itertuples(), strict=True):
        cells = [row.effect, number_text(row.f), f"{row.df1}, {row.df2}"]
        cells += map(p_text, (row.p, row.p_gg, row.p_hf))
        cells += map(number_text, (row.gg_epsilon, row.hf_epsilon, row.mauchly_w))
        cells += [p_text(row.mauchly_p), number_text(row.eta2_partial), number_text(row.eta2_generalized)]
        cells.append(f"{p_text(test.p)} ({'GG' if test.correction != 'none' else 'uncorrected'})")
        lines.append(cells)
    dropped = ", ".join(map(str, anova.attrs.get("dropped", []))) or "none"
    return "\n".join(
        [
            aligned(lines),
            f"Subjects: {anova.attrs.get('subjects', 'unknown')}; left out for missing cells: {dropped}.",
            f"Quoted: Greenhouse-Geisser (GG) where Mauchly's p is below {alpha:g} or undefined with more than two "
            "levels, else uncorrected. HF: Huynh-Feldt.",
        ]
    )


def effect_contrasts(levels: Sequence[int], chosen: Sequence[int]) -> NDArray[np.float64]:
    """Orthonormal contrasts of one effect.

    Args:
        levels: Number of levels of each factor.
        chosen: Indices of the factors that make the effect.

    Returns:
        Matrix (cells, df1), columns orthonormal: the Kronecker product over the factors of Helmert contrasts for the
        chosen and of the constant 1/sqrt(levels) for the others.

    >>> effect_contrasts([2, 3], [0]).round(4).ravel().tolist()
    [0.4082, 0.4082, 0.4082, -0.4082, -0.4082, -0.4082]
    """
    product: NDArray[np.float64] = np.ones((1, 1))
    for factor, count in enumerate(levels):
        own = _helmert(count) if factor in chosen else np.full((count, 1), count**-0.5)
        product = np.kron(product, own).astype(np.float64, copy=False)
    return product


@dataclass(frozen=True)
class _Effect:
    """Sums of squares of one effect and the error matrix of its contrast scores."""

    name: str
    ss: float
    ss_error: float
    error_matrix: NDArray[np.float64]


def _check_design(subjects: int, factors: tuple[str, ...], levels: tuple[tuple[Any, ...], ...]) -> None:
    if subjects < 2:
        raise StatisticsError(f"{subjects} complete subject is too few for an analysis of variance; at least 2 needed")
    for factor, names in zip(factors, levels, strict=True):
        if len(names) < 2:
            raise StatisticsError(f"factor {factor!r} has only the level {names[0]!r}; leave it out")


def _helmert(count: int) -> NDArray[np.float64]:
    contrasts = np.zeros((count, count - 1))
    for column in range(count - 1):
        contrasts[: column + 1, column] = 1.0
        contrasts[column + 1, column] = -(column + 1.0)
    return contrasts / np.linalg.norm(contrasts, axis=0)


def _effect(
    centred: NDArray[np.float64],
    factors: tuple[str, ...],
    levels: tuple[int, ...],
    chosen: tuple[int, ...],
    noise: float,
) -> _Effect:
    scores = centred @ effect_contrasts(levels, chosen)
    mean = scores.mean(axis=0)
    residuals = scores - mean
    ss = len(scores) * float(mean @ mean)
    error = residuals.T @ residuals
    if np.trace(error) <= noise:
        error = np.zeros_like(error)
    name = " x ".join(factors[factor] for factor in chosen)
    return _Effect(name, ss if ss > noise else 0.0, float(np.trace(error)), error)


def _row(effect: _Effect, n: int, conditions: int, all_error: float) -> dict[str, Any]:
    df1 = len(effect.error_matrix)
    df2 = (n - 1) * df1
    with np.errstate(divide="ignore", invalid="ignore"):
        ss, ss_error = np.float64(effect.ss), np.float64(effect.ss_error)
        gg, hf = _epsilons(effect.error_matrix, n)
        w, p = _mauchly(effect.error_matrix, n, conditions)
        return {
            "effect": effect.name,
            "ss": effect.ss,
            "df1": df1,
            "ss_error": effect.ss_error,
            "df2": df2,
            "f": float((ss / df1) / (ss_error / df2)),
            "gg_epsilon": gg,
            "hf_epsilon": hf,
            "mauchly_w": w,
            "mauchly_p": p,
            "eta2_partial": float(ss / (ss + ss_error)),
            "eta2_generalized": float(ss / (ss + all_error)),
        }


def _epsilons(error: NDArray[np.float64], n: int) -> tuple[float, float]:
    df1 = len(error)
    if df1 == 1:
        return 1.0, 1.0
    gg = np.trace(error) ** 2 / (df1 * np.sum(error**2))
    slack = n - 1 - df1 * gg
    if slack <= _NO_SLACK * n:
        return float(gg), float("nan") if n == 2 else float("inf")
    return float(gg), float((n * df1 * gg - 2) / (df1 * slack))


def _mauchly(error: NDArray[np.float64], n: int, conditions: int) -> tuple[float, float]:
    df1 = len(error)
    if df1 == 1 or n <= df1 or np.linalg.matrix_rank(error, hermitian=True) < df1:
        return float("nan"), float("nan")
    log_w = np.linalg.slogdet(error)[1] - df1 * np.log(np.trace(error) / df1)
    rho = 1 - (2 * df1**2 + df1 + 2) / (6 * df1 * (n - 1))
    second_order = (
        (df1 + 2)
        * (df1 - 1)
        * (df1 - 2)
        * (2 * df1**3 + 6 * df1**2 + 3 * conditions + 2)
        / (288 * ((n - 1) * df1 * rho) ** 2)
    )
    chi2 = -(n - 1) * rho * log_w
    df = df1 * (df1 + 1) // 2 - 1
    first = stats.chi2.sf(chi2, df)
    p = first + second_order * (stats.chi2.sf(chi2, df + 4) - first)
    return float(np.exp(log_w)), float(min(p, 1.0))


def _with_p(rows: list[dict[str, Any]]) -> pd.DataFrame:
    result = pd.DataFrame(rows)
    f, df1, df2 = (result[column].to_numpy(dtype=np.float64) for column in ("f", "df1", "df2"))
    capped = {"p": np.ones(len(f)), "p_gg": result["gg_epsilon"].to_numpy()}
    capped["p_hf"] = np.minimum(result["hf_epsilon"].to_numpy(), 1.0)
    for column, epsilon in capped.items():
        result[column] = stats.f.sf(f, epsilon * df1, epsilon * df2)
    return result[list(COLUMNS)]
