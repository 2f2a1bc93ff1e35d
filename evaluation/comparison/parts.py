"""The parts of a study's statistics, each a function from the data to tables; `study_statistics` puts them together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.comparison.data import MEASURES, StudyData
from paraspinal_nnunet.evaluation.statistics.agreement import (
    bland_altman,
    column_samples,
    correlation,
    inter_rater_agreement,
    volume_agreement,
)
from paraspinal_nnunet.evaluation.statistics.equivalence import inter_rater_margins, volume_equivalence
from paraspinal_nnunet.evaluation.statistics.inference import paired_power, subjects_needed
from paraspinal_nnunet.evaluation.statistics.long_table import Missing, balance, describe_cells
from paraspinal_nnunet.evaluation.statistics.normality import qq_points
from paraspinal_nnunet.evaluation.statistics.posthoc import paired_t_tests

POWER = 0.8
"""Power for which sample sizes and detectable differences are given: the customary one."""
_WIDEST_DZ = 60.0
_HUMAN, _MODEL = "rater 2", "model"


def overall_dice(data: StudyData) -> pd.DataFrame:
    """Each model's Dice over all muscles.

    Returns:
        One row per model: model, kind, n, mean, sd (between subjects, of the mean over the muscles), min (lowest
        single value), undefined (values left out), values (all there are, of single muscles).
    """
    rows = []
    for model in data.models:
        table = data.of([model])
        per_subject = table.groupby("subject")["dice"].mean().dropna()
        rows.append(
            {
                "model": model,
                "kind": data.kinds.get(model, ""),
                "n": len(per_subject),
                "mean": float(per_subject.mean()),
                "sd": float(per_subject.std(ddof=1)),
                "min": float(table["dice"].min()),
                "undefined": int(table["dice"].isna().sum()),
                "values": len(table),
            }
        )
    return pd.DataFrame(rows)


def descriptives(data: StudyData) -> pd.DataFrame:
    """`long_table.describe_cells` of every measure in each model and muscle, with the measure in a column `metric`.

    Infinite values are left out, too, and counted in a column `infinite`.
    """
    infinite = np.isinf(data.table[list(MEASURES)])
    finite = data.table[["model", "muscle"]].join(data.table[list(MEASURES)].mask(infinite))
    by = [data.table["model"], data.table["muscle"]]
    counts = infinite.groupby(by, observed=True).sum().reset_index()
    parts = []
    for measure in MEASURES:
        described = describe_cells(finite, value=measure, by=["model", "muscle"]).assign(metric=measure)
        own = counts[["model", "muscle", measure]].rename(columns={measure: "infinite"})
        parts.append(described.merge(own, on=["model", "muscle"], how="left"))
    return pd.concat(parts, ignore_index=True)


def best_model(data: StudyData, arms: Sequence[str], missing: Missing) -> str:
    """The arm with the highest mean Dice over the subjects that all of them have, and all muscles."""
    if len(arms) == 1:
        return arms[0]
    table = data.of(arms)
    try:
        balanced = balance(table, value="dice", subject="subject", within=["model", "muscle"], missing=missing)
    except StatisticsError:
        if missing == "error":
            raise
        return str(table.groupby("model", observed=True)["dice"].mean().idxmax())  # no subject has all: each on its own
    return str(balanced.levels[0][int(np.argmax(balanced.values.mean(axis=(0, 2))))])


def volume_tables(data: StudyData, missing: Missing) -> dict[str, pd.DataFrame]:
    """Agreement of predicted with reference volumes in ml: `agreement`, `bland_altman` and `correlation` per model."""
    short, limits, lines = [], [], []
    columns: dict[str, Any] = {"subject": "subject", "by": "muscle", "missing": missing}
    for model in data.models:
        table = data.of([model])
        found = volume_agreement(table, reference="reference_ml", prediction="prediction_ml", **columns)
        found.insert(0, "model", model)
        short.append(found)
        for muscle, (first, second), _ in column_samples(table, columns=["reference_ml", "prediction_ml"], **columns):
            key = {"model": model, "muscle": muscle}
            limits.append(key | asdict(bland_altman(first, second)))
            lines += [key | asdict(correlation(first, second, method=method)) for method in ("pearson", "spearman")]
    return {
        "agreement": pd.concat(short, ignore_index=True),
        "bland_altman": pd.DataFrame(limits),
        "correlation": pd.DataFrame(lines),
    }


def qq_table(data: StudyData, models: Sequence[str]) -> pd.DataFrame:
    """Points of a Q-Q plot of Dice in each model and muscle (Blom): model, muscle, theoretical, observed."""
    parts = []
    for (model, muscle), table in data.of(models).groupby(["model", "muscle"], sort=True, observed=True):
        points = qq_points(table["dice"].dropna().to_numpy())
        part = pd.DataFrame({"theoretical": points.theoretical, "observed": points.observed})
        parts.append(part.assign(model=model, muscle=muscle))
    return pd.concat(parts, ignore_index=True)[["model", "muscle", "theoretical", "observed"]]


def rater_tables(data: StudyData, missing: Missing) -> dict[str, pd.DataFrame]:
    """Agreement of the two raters per muscle: `inter_rater` and the margins it sets, `inter_rater_margins` in ml."""
    if data.rater2 is None:
        raise StatisticsError(_no_second_rater(data))
    columns: dict[str, Any] = {"subject": "subject", "by": "muscle", "missing": missing}
    columns |= {"rater_1": "rater1_ml", "rater_2": "rater2_ml"}
    agreement = inter_rater_agreement(data.rater2, dice="dice", **columns)
    margins = inter_rater_margins(data.rater2, **columns)
    margin_table = pd.DataFrame({"muscle": list(margins), "margin_ml": list(margins.values())})
    return {"inter_rater": agreement, "inter_rater_margins": margin_table}


def equivalence_table(
    data: StudyData, model: str, margins: pd.DataFrame, *, alpha: float, missing: Missing
) -> pd.DataFrame:
    """`equivalence.volume_equivalence` of one model within the margins of `rater_tables`."""
    return volume_equivalence(
        data.of([model]),
        subject="subject",
        by="muscle",
        reference="reference_ml",
        prediction="prediction_ml",
        margins=dict(zip(margins["muscle"], margins["margin_ml"], strict=True)),
        alpha=alpha,
        missing=missing,
    )


def human_level(data: StudyData, model: str, missing: Missing) -> pd.DataFrame:
    """Dice of one model minus Dice of the second rater, both against the first, on the subjects of both.

    Returns:
        As `posthoc.paired_t_tests`, with the model as best.

    Raises:
        StatisticsError: No second rater, or no common subjects.
    """
    if data.rater2 is None:
        raise StatisticsError(_no_second_rater(data))
    columns = ["subject", "muscle", "dice"]
    own, other = data.of([model])[columns], data.rater2[columns]
    common = set(own["subject"]) & set(other["subject"])
    if not common:
        raise StatisticsError("the second rater has no subject in common with the model")
    both = pd.concat([own.assign(source=_MODEL), other.assign(source=_HUMAN)])
    return paired_t_tests(
        both[both["subject"].isin(common)],
        value="dice", subject="subject", arm="source", by="muscle", best=_MODEL, missing=missing,
    )  # fmt: skip


def power_table(tests: pd.DataFrame, *, alpha: float) -> pd.DataFrame:
    """What paired comparisons of this size can show, and how many subjects the differences found would need.

    Args:
        tests: From `posthoc.paired_t_tests`.
        alpha: Level of the tests, not adjusted for their number.

    Returns:
        One row per test: its first two columns, n, sd_difference, detectable_dz (with power 0.8), detectable_difference
        (that times the SD), dz (found), subjects_needed (for power 0.8 if dz were true; NaN where it is 0, undefined or
        too small to be found with ten million).

    Raises:
        StatisticsError: Fewer than two subjects, or a level at which so few show nothing.
    """
    n = int(tests["n"].iloc[0])
    if n < 2:
        raise StatisticsError(f"{n} subject is too few for a paired comparison; at least 2 needed")
    if paired_power(n, _WIDEST_DZ, alpha=alpha) < POWER:
        raise StatisticsError(f"{n} subjects show no difference at the level {alpha:g}, however large; more are needed")
    dz = brentq(lambda effect: paired_power(n, effect, alpha=alpha) - POWER, 1e-6, _WIDEST_DZ, xtol=1e-9)
    result = tests[[*tests.columns[:2], "n", "sd_difference"]].copy()
    result["detectable_dz"] = dz
    result["detectable_difference"] = dz * tests["sd_difference"]
    result["dz"] = tests["dz"]
    result["subjects_needed"] = [_needed(effect, alpha) for effect in tests["dz"]]
    return result


def with_factors(data: StudyData, models: Sequence[str], factors: Sequence[str]) -> pd.DataFrame:
    """The rows of some models with factors of the design as columns of text."""
    design: Mapping[str, Mapping[str, str]] = data.design.set_index("model").astype(str).to_dict("index")
    table = data.of(models).copy()
    for factor in factors:
        if factor not in table.columns:
            table[factor] = [design[model][factor] for model in table["model"]]
    return table


def _needed(dz: float, alpha: float) -> float:
    if not math.isfinite(dz) or dz == 0:
        return math.nan
    try:
        return float(subjects_needed(dz, power=POWER, alpha=alpha))
    except StatisticsError:
        return math.nan


def _no_second_rater(data: StudyData) -> str:
    advice = f"; there is one: give --rater2 {data.unread_rater2}" if data.unread_rater2 else " (--rater2)"
    return f"no second rater was given{advice}"
