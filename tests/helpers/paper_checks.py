"""The derivation of `published_contradictions.json`: contradictions found by computation from the printed numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linprog

from paraspinal_nnunet.evaluation.paper.published import (
    VOLUME_ICC,
    CellKey,
    Contradiction,
    published_statements,
    published_table1,
)
from paraspinal_nnunet.evaluation.statistics.reliability import MeanSquares, interval_2_1
from paraspinal_nnunet.protocol.paper import PAPER

HALF_UNIT = 0.0005
"""How far a number may lie from what is printed with three decimals."""

OVERLAPS = ("dice", "jaccard", "conformity")
"""Metrics that follow from each other scan by scan."""


@dataclass(frozen=True)
class OverlapCheck:
    """Whether one set of masks can have the printed Dice, Jaccard and conformity.

    Attributes:
        miss: By how many half units of the last printed digit the best fitting distribution of Dice over the scans
            misses the worst fitted number, beyond rounding; at most 0 where everything fits.
        implied_dice: Mean Dice that the printed Jaccard and conformity imply.
    """

    miss: float
    implied_dice: float

    @property
    def feasible(self) -> bool:
        """Whether no printed number need be off by more than one in its last digit."""
        return self.miss <= 1.0


@cache
def derived_contradictions() -> tuple[Contradiction, ...]:
    """All contradictions that concern printed cells of Table 1, each found from the printed numbers."""
    table = published_table1()
    found = [
        *_of_overlaps(),
        *_of_text(table, "icc minimum", VOLUME_ICC, "all muscles"),
        *_of_text(table, "multifidus dice", "dice", "the multifidus", muscle="multifidus"),
        *_of_intervals(table),
        *(Contradiction((_key(row),), f"Printed '{row.printed}': {row.note}.") for row in _noted(table)),
    ]
    return tuple(found)


@cache
def overlap_checks() -> Mapping[tuple[str, str, str], OverlapCheck]:
    """(model, muscle, side) -> `check_overlaps` of its printed cells."""
    table = published_table1()
    groups = table[table["metric"].isin(OVERLAPS)].groupby(["model", "muscle", "side"], sort=False)
    return {key: check_overlaps({row.metric: (row.mean, row.sd) for row in rows.itertuples()}) for key, rows in groups}


def check_overlaps(
    printed: Mapping[str, tuple[float, float]], *, subjects: int = PAPER.cohort.subjects
) -> OverlapCheck:
    """Whether some distribution of Dice over the scans has all the printed means and SDs.

    Per scan Jaccard = d / (2 - d) and conformity = 3 - 2/d. A linear program over all distributions of d on a fine grid
    finds the one whose worst number misses its rounding interval least. The SD enters as the second moment about the
    printed mean, whose interval is ((n - 1) / n) (sd -+ h)^2, its upper end widened by h^2, with h half a unit of the
    last digit.

    Args:
        printed: Metric of `OVERLAPS` -> printed mean and SD (ddof 1).
        subjects: Number of scans.

    Source: Table 1 and Table 2, ``protocol.DOI``.
    """
    dice = _dice_grid()
    values = {"dice": dice, "jaccard": dice / (2 - dice), "conformity": 3 - 2 / dice}
    limits = {name: _excess(values[name], *printed[name], subjects) for name in OVERLAPS}
    everything = np.vstack(list(limits.values()))
    slack = np.column_stack([everything, -np.ones(len(everything))])
    cost = np.append(np.zeros(len(dice)), 1.0)
    bounds = [(0, None)] * len(dice) + [(None, None)]
    total = np.append(np.ones(len(dice)), 0.0)[None]
    fit = linprog(cost, A_ub=slack, b_ub=np.zeros(len(slack)), A_eq=total, b_eq=[1], bounds=bounds)
    others = np.vstack([limits["jaccard"], limits["conformity"]])
    ends = [linprog(s * dice, A_ub=others, b_ub=np.zeros(8), A_eq=np.ones((1, len(dice))), b_eq=[1]) for s in (1, -1)]
    implied = [s * end.fun if end.status == 0 else np.nan for s, end in zip((1, -1), ends, strict=True)]
    return OverlapCheck(float(fit.fun), float(np.mean(implied)))


def interval_can_be_printed(icc: float, low: float, high: float, *, subjects: int = PAPER.cohort.subjects) -> bool:
    """Whether some ICC(2,1) that rounds to `icc` has an interval that rounds to `low` and `high`.

    Source: McGraw and Wong 1996, table 7, for two raters and any bias between them.
    """
    for value in np.linspace(icc - HALF_UNIT, icc + HALF_UNIT, 41):
        for ratio in (*np.linspace(0, 2, 21), *np.geomspace(2.1, 60, 30)):
            between = (1 + value * (1 + 2 * (ratio - 1) / subjects)) / (1 - value)
            ends = interval_2_1(MeanSquares(between, ratio, 1.0, subjects, 2))
            if abs(ends[0] - low) <= HALF_UNIT and abs(ends[1] - high) <= HALF_UNIT:
                return True
    return False


def _dice_grid() -> NDArray[np.float64]:
    return np.concatenate([np.linspace(0.02, 0.6, 117)[:-1], np.linspace(0.6, 1.0, 801)])


def _excess(values: NDArray[np.float64], mean: float, sd: float, subjects: int) -> NDArray[np.float64]:
    """Rows whose expectation must not exceed 0, in half widths of the rounding interval."""
    share = (subjects - 1) / subjects
    low, high = share * max(sd - HALF_UNIT, 0.0) ** 2, share * (sd + HALF_UNIT) ** 2 + HALF_UNIT**2
    middle, half = (low + high) / 2, (high - low) / 2
    off, spread = (values - mean) / HALF_UNIT, ((values - mean) ** 2 - middle) / half
    return np.vstack([off - 1, -off - 1, spread - 1, -spread - 1])


def _of_overlaps() -> Iterator[Contradiction]:
    for (model, muscle, side), check in overlap_checks().items():
        if not check.feasible:
            yield Contradiction(
                tuple((model, muscle, side, metric) for metric in OVERLAPS),
                "No set of masks has the printed Dice, Jaccard and conformity; Jaccard and conformity imply a mean "
                f"Dice of {check.implied_dice:.3f}.",
            )


def _of_text(table: pd.DataFrame, key: str, metric: str, what: str, muscle: str = "") -> Iterator[Contradiction]:
    statement = published_statements()[key]
    rows = table[(table["metric"] == metric) & ((table["muscle"] == muscle) | (not muscle))]
    outside = rows["mean"] < min(statement.values)
    if len(statement.values) > 1:
        outside |= rows["mean"] > max(statement.values)
    cells = tuple(_key(row) for row in rows[outside].itertuples())
    if cells:
        yield Contradiction(cells, f"The text ({statement.place}) says '{statement.printed}' for {what}.")


def _of_intervals(table: pd.DataFrame) -> Iterator[Contradiction]:
    rows = table[table["metric"] == VOLUME_ICC]
    cells = tuple(_key(r) for r in rows.itertuples() if not interval_can_be_printed(r.mean, r.ci_low, r.ci_high))
    if cells:
        yield Contradiction(
            cells,
            f"The printed interval is narrower than any interval of McGraw and Wong for this ICC and n = "
            f"{PAPER.cohort.subjects}.",
        )


def _noted(table: pd.DataFrame) -> Iterator[Any]:
    return table[table["note"] != ""].itertuples()


def _key(row: Any) -> CellKey:
    return (row.model, row.muscle, row.side, row.metric)
