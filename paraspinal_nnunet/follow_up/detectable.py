"""The smallest detectable change: what a second reading of the same muscle would differ by in 19 of 20 cases.

SDC = 1.96 sqrt(2) SEM, where SEM is the standard error of measurement of one reading: sd(second - first) / sqrt(2) of
people who were read twice, or sd sqrt(1 - ICC) from a printed reliability.

Source: de Vet et al. 2006, J Clin Epidemiol 59:1033-1039, doi:10.1016/j.jclinepi.2005.10.015; Weir 2005, J Strength
Cond Res 19:231-240, doi:10.1519/15184.1.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan, sqrt

import numpy as np

from paraspinal_nnunet.anatomy import Side
from paraspinal_nnunet.evaluation.paper.published import published_statements
from paraspinal_nnunet.evaluation.statistics.agreement import LIMITS_SD
from paraspinal_nnunet.evaluation.statistics.equivalence import inter_rater_margin
from paraspinal_nnunet.evaluation.statistics.long_table import rounding
from paraspinal_nnunet.follow_up.changes import SLICE, WHOLE, Change, changes_of
from paraspinal_nnunet.follow_up.pairing import Pair
from paraspinal_nnunet.measures.comparison import is_comparable
from paraspinal_nnunet.protocol.paper import PAPER

FEWEST_PEOPLE = 5
"""Read twice; the standard deviation of fewer differences says nothing. Source: ours. With n of them it is known to
about 100 / sqrt(2 (n - 1)) percent: 35 % for 5, 10 % for 50."""

MEASURED, BOUND = "measured", "upper bound"
_Of = tuple[str, str, str, str, str]
"""Muscle, side, scope, place, measure."""


@dataclass(frozen=True)
class Detectable:
    """A smallest detectable change.

    Attributes:
        value: In the unit of the measure.
        sem: The standard error of measurement behind it.
        people: How many were read twice.
    """

    value: float
    sem: float
    people: int


def smallest_detectable(sem: float) -> float:
    """1.96 sqrt(2) SEM.

    >>> round(smallest_detectable(1.0), 4)
    2.7719
    """
    return LIMITS_SD * sqrt(2) * sem


def from_repeats(pairs: Sequence[Pair]) -> dict[_Of, Detectable]:
    """The smallest detectable changes that people who were read twice tell.

    Only what both readings see alike counts: muscles that the stacks cut at different lengths are left out.

    Args:
        pairs: Of the same scans by two raters, or of two scans within days.

    Returns:
        Of everything that at least `FEWEST_PEOPLE` have, and that was not read the same both times in all of them.
    """
    readings: dict[_Of, list[tuple[float, float]]] = defaultdict(list)
    for pair in pairs:
        for change in changes_of(pair):
            if change.scope != SLICE and not change.cut and not isnan(change.change):
                readings[_key(change)].append((change.earlier, change.later))
    found = {}
    for key, values in readings.items():
        sem = inter_rater_margin(*zip(*values, strict=True)) if len(values) >= FEWEST_PEOPLE else 0.0
        if sem > rounding(np.array(values)):
            found[key] = Detectable(smallest_detectable(sem), sem, len(values))
    return found


def published_bound_ml(muscle: str, side: str) -> float:
    """The smallest detectable change of a whole muscle's volume that two raters of the paper had at most, in ml.

    From the lowest ICC of all muscles that the paper states, and the standard deviation of the muscle's volume. The ICC
    is of 25 of the 76 people whose standard deviation that is. NaN for muscles that the paper does not have.

    Source: Wesselink et al. 2022, Results (inter-rater reliability, reference volumes).
    """
    printed = getattr(PAPER.cohort, f"{muscle}_ml", None)
    if printed is None:
        return nan
    sd = printed[1] if side == Side.RIGHT.value else printed[3]
    (icc,) = published_statements()["inter-rater icc"].values
    return smallest_detectable(sd * sqrt(1 - icc))


def with_detectable(
    changes: Iterable[Change], pair: Pair, known: Mapping[_Of, Detectable] | None
) -> tuple[Change, ...]:
    """The changes, each with its smallest detectable one where that is known.

    Args:
        changes: Of `pair`.
        pair: Both scans.
        known: From people who were read twice; None takes the paper's bound of volumes, where the stacks are about as
            long as the paper's.
    """
    comparable = is_comparable(pair.earlier.length_mm) and is_comparable(pair.later.length_mm)
    found = []
    for change in changes:
        if known is not None:
            measured = known.get(_key(change))
            if measured is not None:
                change = replace(change, detectable=measured.value, detectable_kind=MEASURED)
        elif comparable and change.scope == WHOLE and change.measure == "volume_ml":
            bound = published_bound_ml(change.muscle, change.side)
            change = replace(change, detectable=bound, detectable_kind="" if isnan(bound) else BOUND)
        found.append(change)
    return tuple(found)


def _key(change: Change) -> _Of:
    return change.muscle, change.side, change.scope, change.place, change.measure
