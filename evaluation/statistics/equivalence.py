"""Beyond the paper's SPSS analysis: equivalence of paired volumes within a margin taken from human raters."""

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import special

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.agreement import column_samples
from paraspinal_nnunet.evaluation.statistics.long_table import Missing, Sample, paired_samples, rounding


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of the mean of prediction - reference against a margin.

    Attributes:
        bias: Mean difference, in the unit of the measurements.
        margin: Half width of the region of equivalence, same unit.
        ci_low: Lower end of the interval of confidence 1 - 2 alpha of the bias.
        ci_high: Upper end.
        t_low: t of the bias against -margin.
        p_low: One-sided p of a bias above -margin.
        t_high: t of the bias against +margin.
        p_high: One-sided p of a bias below +margin.
        p: The larger of both; equivalence is claimed where it is below alpha.
        df: n - 1.
        n: Number of pairs.
        equivalent: Whether p is below alpha; the same as an interval that lies within the margin.
    """

    bias: float
    margin: float
    ci_low: float
    ci_high: float
    t_low: float
    p_low: float
    t_high: float
    p_high: float
    p: float
    df: int
    n: int
    equivalent: bool


def tost(reference: Sample, prediction: Sample, *, margin: float, alpha: float = 0.05) -> Equivalence:
    """Test whether the mean paired difference lies within -margin to +margin.

    With d = prediction - reference and SE = sd(d) / sqrt(n): t_low = (mean(d) + margin) / SE, t_high = (mean(d) -
    margin) / SE, both with n - 1 degrees of freedom. Where all differences are equal, t is infinite and the constant
    itself decides. Assumes normal differences. A margin must be set before the data are seen.

    Args:
        reference: One number per subject.
        prediction: The other, in the same order of subjects.
        margin: Largest bias that counts as none, greater than 0, in the unit of the measurements.
        alpha: Level of each one-sided test.

    Raises:
        StatisticsError: A margin that is not a number above 0, or samples as in `long_table.paired_samples`.

    Source: Schuirmann 1987, doi:10.1007/BF01068419. R 4.2: ``t.test(d, mu = -margin, alternative = "greater")`` and
    ``t.test(d, mu = margin, alternative = "less")``. Not part of the paper's analysis.
    """
    first, second = paired_samples(reference, prediction, minimum=2)
    if not (np.isfinite(margin) and margin > 0):
        raise StatisticsError(f"equivalence margin {margin}: give a number above 0 in the unit of the measurements")
    differences = second - first
    n, bias = len(differences), float(differences.mean())
    sd = float(differences.std(ddof=1))
    error = np.float64(sd / np.sqrt(n) if sd > rounding(np.concatenate([first, second])) else 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_low, t_high = float((bias + margin) / error), float((bias - margin) / error)
    p_low, p_high = float(special.stdtr(n - 1, -t_low)), float(special.stdtr(n - 1, t_high))
    half = float(special.stdtrit(n - 1, 1 - alpha) * error)
    p = float(np.maximum(p_low, p_high))
    return Equivalence(
        bias=bias,
        margin=float(margin),
        ci_low=bias - half,
        ci_high=bias + half,
        t_low=t_low,
        p_low=p_low,
        t_high=t_high,
        p_high=p_high,
        p=p,
        df=n - 1,
        n=n,
        equivalent=p < alpha,
    )


def inter_rater_margin(rater_1: Sample, rater_2: Sample) -> float:
    """The equivalence margin that human raters set: the standard error of measurement of one reading.

    SEM = sd(rater_2 - rater_1) / sqrt(2), the SD of one rater's random error. A bias below it is smaller than what one
    human reading varies by.

    Args:
        rater_1: One number per subject.
        rater_2: The other rater's, in the same order of subjects.

    Raises:
        StatisticsError: Samples as in `long_table.paired_samples`.

    Source: Weir 2005, doi:10.1519/15184.1.
    """
    first, second = paired_samples(rater_1, rater_2, minimum=2)
    return float((second - first).std(ddof=1) / np.sqrt(2))


def inter_rater_margins(
    table: pd.DataFrame, *, subject: str, by: str, rater_1: str, rater_2: str, missing: Missing = "error"
) -> dict[Hashable, float]:
    """`inter_rater_margin` of each muscle.

    Args:
        table: One row per subject and muscle.
        subject: Column that names the subject.
        by: Column that names the muscle.
        rater_1: Column of the first rater's volumes.
        rater_2: Column of the second rater's volumes.
        missing: ``"error"`` or ``"complete-case"``; see `long_table.balance`.

    Raises:
        StatisticsError: Missing or duplicate cells, or fewer than two subjects.
    """
    samples = column_samples(table, subject=subject, by=by, columns=[rater_1, rater_2], missing=missing)
    return {muscle: inter_rater_margin(*columns) for muscle, columns, _ in samples}


def volume_equivalence(
    table: pd.DataFrame,
    *,
    subject: str,
    by: str,
    reference: str,
    prediction: str,
    margins: Mapping[Hashable, float] | float,
    alpha: float = 0.05,
    missing: Missing = "error",
) -> pd.DataFrame:
    """`tost` of each muscle.

    Args:
        table: One row per subject and muscle.
        subject: Column that names the subject.
        by: Column that names the muscle.
        reference: Column of the reference volumes.
        prediction: Column of the predicted volumes.
        margins: Of each muscle, from `inter_rater_margins` where a second rater measured some subjects; or one number.
        alpha: Level of each one-sided test; not adjusted for the number of muscles.
        missing: ``"error"`` or ``"complete-case"``; see `long_table.balance`.

    Returns:
        One row per muscle: the column named by `by`, then the fields of `Equivalence`.

    Raises:
        StatisticsError: A muscle without a margin, missing or duplicate cells.
    """
    rows = []
    samples = column_samples(table, subject=subject, by=by, columns=[reference, prediction], missing=missing)
    for muscle, columns, _ in samples:
        if isinstance(margins, Mapping) and muscle not in margins:
            raise StatisticsError(f"{by} {muscle} has no equivalence margin; margins exist for {list(margins)}")
        margin = margins[muscle] if isinstance(margins, Mapping) else margins
        rows.append({by: muscle} | asdict(tost(*columns, margin=margin, alpha=alpha)))
    return pd.DataFrame(rows)
