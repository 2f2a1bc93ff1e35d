"""Beyond the paper: linear models, which tell one effect with the others held equal."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from paraspinal_nnunet.errors import StatisticsError

_SINGULAR = 1e-10
"""Smallest singular value of the standardised columns, against the largest, at which effects can be told apart."""


def linear_model(table: pd.DataFrame, *, outcome: str, terms: Sequence[str], confidence: float = 0.95) -> pd.DataFrame:
    """Least squares of an outcome on numbers and groups, with all of them in one model.

    Numeric columns are covariates as they are; columns of text are factors with treatment contrasts, whose reference is
    the first level in alphabetical order, as in R. Rows with a gap in any column are left out.

    Assumes independent rows, and residuals that are normal with equal variance.

    Args:
        table: One row per subject; gaps are NaN, None or ``''``.
        outcome: Column of the measured numbers.
        terms: Columns of the effects, in this order.
        confidence: Of the intervals.

    Returns:
        One row per coefficient, the intercept first: term, level (of a factor, else ``''``), reference (likewise),
        estimate (per unit, or against the reference), se, ci_low, ci_high, t, df, p, and the F test of the whole term:
        term_f, term_df, term_p (NaN for the intercept). ``attrs`` holds formula, n, left_out (rows with gaps), r2 and
        residual_sd.

    Raises:
        StatisticsError: A column that is missing or constant, effects that cannot be told apart, too few rows, or no
            residual variance.

    Source: R 4.2: ``fit <- lm(outcome ~ terms)``, ``summary(fit)``, ``confint(fit)``, ``drop1(fit, test = "F")``.
    """
    rows = _complete(table, outcome, terms)
    y = rows[outcome].to_numpy(dtype=np.float64)
    names, columns = [("(Intercept)", "", "")], [np.ones(len(rows))]
    for term in terms:
        for level, reference, column in _columns(rows[term], term):
            names.append((term, level, reference))
            columns.append(column)
    design = np.column_stack(columns)
    _check(design, y, outcome, terms)
    estimates, residual, spread = _fit(design, y)
    df = len(y) - design.shape[1]
    se = np.sqrt(residual / df * spread)
    t = estimates / se
    half = stats.t.ppf(0.5 + confidence / 2, df) * se
    found = pd.DataFrame(names, columns=["term", "level", "reference"]).assign(
        estimate=estimates, se=se, ci_low=estimates - half, ci_high=estimates + half, t=t, df=df,
        p=2 * stats.t.sf(np.abs(t), df),
    )  # fmt: skip
    found = found.merge(_term_tests(design, y, names, residual, df), on="term", how="left")
    total = float(np.sum((y - y.mean()) ** 2))
    found.attrs.update(
        formula=f"{outcome} ~ {' + '.join(terms) or '1'}",
        n=len(y),
        left_out=len(table) - len(y),
        r2=1 - residual / total,
        residual_sd=float(np.sqrt(residual / df)),
    )
    return found


def _complete(table: pd.DataFrame, outcome: str, terms: Sequence[str]) -> pd.DataFrame:
    missing = [name for name in (outcome, *terms) if name not in table.columns]
    if missing:
        raise StatisticsError(f"no column {' or '.join(missing)}; there are {', '.join(map(str, table.columns))}")
    return table[[outcome, *terms]].replace("", np.nan).dropna()


def _columns(values: pd.Series, term: str) -> list[tuple[str, str, NDArray[np.float64]]]:
    """(level, reference, column) of a term's columns."""
    distinct = sorted(values.unique().tolist())
    if len(distinct) < 2:
        raise StatisticsError(f"{term} is {distinct[0] if distinct else 'not known'} throughout; leave it out")
    if pd.api.types.is_numeric_dtype(values):
        return [("", "", values.to_numpy(dtype=np.float64))]
    first, *others = map(str, distinct)
    return [(level, first, (values.astype(str) == level).to_numpy(dtype=np.float64)) for level in others]


def _check(design: NDArray[np.float64], y: NDArray[np.float64], outcome: str, terms: Sequence[str]) -> None:
    n, p = design.shape
    if n <= p:
        raise StatisticsError(f"{n} complete rows for {p} coefficients; more people or fewer terms are needed")
    centred = design[:, 1:] - design[:, 1:].mean(axis=0)
    singular = np.linalg.svd(centred / np.linalg.norm(centred, axis=0), compute_uv=False) if p > 1 else np.ones(1)
    if singular[-1] < _SINGULAR * singular[0]:
        raise StatisticsError(f"the effects of {', '.join(terms)} cannot be told apart: one follows from the others")
    if np.ptp(y) == 0:
        raise StatisticsError(f"{outcome} is {y[0]:g} throughout")


def _fit(design: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Estimates, residual sum of squares, and the diagonal of (X'X)^-1."""
    q, r = np.linalg.qr(design)
    inverse = np.linalg.inv(r)
    estimates = inverse @ (q.T @ y)
    residual = float(np.sum((y - design @ estimates) ** 2))
    return estimates, residual, np.sum(inverse**2, axis=1)


def _term_tests(
    design: NDArray[np.float64], y: NDArray[np.float64], names: Sequence[tuple[str, str, str]], residual: float, df: int
) -> pd.DataFrame:
    if residual <= np.finfo(np.float64).eps ** 2 * float(y @ y) * len(y):
        raise StatisticsError("the model fits without residual; there is no variance to test against")
    rows = []
    of = np.array([name for name, _, _ in names])
    for term in dict.fromkeys(of[1:].tolist()):
        without = _fit(design[:, of != term], y)[1]
        own = int((of == term).sum())
        f = (without - residual) / own / (residual / df)
        rows.append({"term": term, "term_f": f, "term_df": own, "term_p": float(stats.f.sf(f, own, df))})
    return pd.DataFrame(rows, columns=["term", "term_f", "term_df", "term_p"])
