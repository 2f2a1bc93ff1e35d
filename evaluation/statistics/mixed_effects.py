"""Beyond the paper's SPSS analysis: a linear mixed model, which uses subjects with missing cells too."""

import itertools
import logging
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.anova import effect_contrasts
from paraspinal_nnunet.evaluation.statistics.long_table import CellTable, arrange, rounding
from paraspinal_nnunet.utils.packages import optional_package

logger = logging.getLogger(__name__)

_OPTIMISER = {"method": "powell", "ftol": 1e-14}
"""A direct search over the one variance ratio; L-BFGS can stop at a ratio of 0 that is not the maximum."""


def get_statsmodels() -> ModuleType:
    """The main module of statsmodels.

    Raises:
        SetupError: statsmodels is not installed; names the extra that brings it.
    """
    return optional_package("statsmodels.api", purpose="the mixed model needs", extra="statistics")


def mixed_model(table: pd.DataFrame, *, value: str, subject: str, within: Sequence[str]) -> pd.DataFrame:
    """Linear mixed model with all effects of the factors fixed and a random intercept per subject.

    y = X b + u[subject] + e with orthonormal contrasts in X, fitted by restricted maximum likelihood; each effect is
    tested by Wald's chi-squared b' Cov(b)^-1 b over its contrasts. Missing cells are left out of the likelihood, which
    is right where they are missing at random. In a balanced table chi2 / df equals the effect's mean square over the
    pooled error mean square of the repeated-measures ANOVA, as long as subjects differ.

    Assumes equal variances and equal correlations of all cells within a subject: unlike the ANOVA's epsilons nothing
    corrects for other patterns, so that this complements the ANOVA and does not replace it.

    Args:
        table: Long table, at most one row per subject and cell; a NaN value is a missing cell.
        value: Column of the measured numbers.
        subject: Column that names the subject.
        within: Factor columns; effects are named in this order.

    Returns:
        One row per effect: effect, df, chi2, p. ``attrs`` holds ``variance_subject``, ``variance_residual``,
        ``subjects``, ``observations`` and ``method``.

    Raises:
        SetupError: statsmodels is not installed.
        StatisticsError: Duplicate cells, a cell that no subject has, a factor with one level, fewer than two subjects,
            no residual variance, or a fit that does not converge.

    Source: Laird and Ware 1982, doi:10.2307/2529876; statsmodels ``MixedLM``. R: ``lmer(value ~ model * aug * muscle +
    (1 | subject))`` with sum contrasts and ``car::Anova(type = 3)``. Not part of the paper's analysis.
    """
    statsmodels = get_statsmodels()
    arranged = arrange(table, value=value, subject=subject, within=within)
    _check(arranged)
    names, columns = _design(arranged)
    present = ~np.isnan(arranged.matrix)
    rows, cells = np.nonzero(present)
    numbers = arranged.matrix[present]
    scale = float(numbers.std())
    if scale <= rounding(numbers):
        raise StatisticsError(f"all values of {value!r} are equal; a mixed model needs variance")
    design = np.column_stack([np.ones(len(cells)), columns[cells]])
    fit = _fit(statsmodels, (numbers - numbers.mean()) / scale, design, rows)
    effects = np.array(fit.fe_params)[1:], np.array(fit.cov_params())[1 : design.shape[1], 1 : design.shape[1]]
    result = pd.DataFrame([_wald(name, where, *effects) for name, where in names])
    result.attrs.update(
        variance_subject=float(np.asarray(fit.cov_re)[0, 0]) * scale**2,
        variance_residual=float(fit.scale) * scale**2,
        subjects=len(arranged.subjects),
        observations=len(numbers),
        method="REML",
    )
    return result


def _check(arranged: CellTable) -> None:
    if len(arranged.subjects) < 2:
        raise StatisticsError("a mixed model needs at least 2 subjects; the table has 1")
    for factor, levels in zip(arranged.factors, arranged.levels, strict=True):
        if len(levels) < 2:
            raise StatisticsError(f"factor {factor!r} has only the level {levels[0]!r}; leave it out")
    empty = np.isnan(arranged.matrix).all(axis=0)
    if empty.any():
        cell = arranged.cells[int(np.argmax(empty))]
        named = ", ".join(f"{f}={level}" for f, level in zip(arranged.factors, cell, strict=True))
        raise StatisticsError(f"no subject has a value at {named}; its effects cannot be estimated")


def _design(arranged: CellTable) -> tuple[list[tuple[str, slice]], NDArray[np.float64]]:
    """Names and column ranges of the effects, and their contrasts (cells, columns)."""
    levels = arranged.values.shape[1:]
    names, blocks, start = [], [], 0
    for size in range(1, len(levels) + 1):
        for chosen in itertools.combinations(range(len(levels)), size):
            block = effect_contrasts(levels, chosen)
            names.append((" x ".join(arranged.factors[i] for i in chosen), slice(start, start + block.shape[1])))
            blocks.append(block)
            start += block.shape[1]
    return names, np.column_stack(blocks)


def _fit(statsmodels: ModuleType, numbers: NDArray[np.float64], design: NDArray[np.float64], groups: Any) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit = statsmodels.MixedLM(numbers, design, groups).fit(reml=True, **_OPTIMISER)
        except np.linalg.LinAlgError as error:
            raise StatisticsError(f"the mixed model cannot be fitted ({error}); is there residual variance?") from error
    for message in {str(warning.message) for warning in caught}:
        logger.warning("mixed model: %s", message)
    if not fit.converged:
        raise StatisticsError("the fit of the mixed model did not converge; use the repeated-measures ANOVA")
    return fit


def _wald(name: str, where: slice, estimates: NDArray[np.float64], covariance: NDArray[np.float64]) -> dict[str, Any]:
    chosen = estimates[where]
    chi2 = float(chosen @ np.linalg.solve(covariance[where, where], chosen))
    return {"effect": name, "df": len(chosen), "chi2": chi2, "p": float(stats.chi2.sf(chi2, len(chosen)))}
