"""Who was studied: folds (Supplementary Table 1), reference volumes, and results by sex, age and body mass index."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.comparison.data import StudyData, muscle_name
from paraspinal_nnunet.evaluation.predictions import ALL
from paraspinal_nnunet.evaluation.statistics.agreement import correlation
from paraspinal_nnunet.evaluation.statistics.long_table import Missing, describe_cells
from paraspinal_nnunet.evaluation.statistics.posthoc import holm, paired_t_tests
from paraspinal_nnunet.evaluation.tables.table import Table, plain_table
from paraspinal_nnunet.utils.text import number_text

PERSON_MEASURES = ("dice", "reference_ml", "prediction_ml")
COVARIATES = ("age", "bmi")
LEAST_PER_GROUP = 2
LEAST_FOR_CORRELATION = 4


def fold_table(data: StudyData) -> pd.DataFrame:
    """Supplementary Table 1 as data: everybody, then the training and test subjects of each fold.

    The test subjects of a fold are those whose predictions come from it; its training subjects are all others that the
    table of cases knows, or without one all others that were evaluated.

    Returns:
        One row per fold and part: fold, part (``'all'``, ``'training'`` or ``'test'``), n, female (known sexes only),
        sex_known, age_mean, age_sd, age_known, bmi_mean, bmi_sd, bmi_known.

    Raises:
        StatisticsError: Models whose folds differ.
    """
    folds = _fold_of_subject(data)
    everybody = sorted(set(data.table["subject"]) | (set() if data.people is None else set(data.people["subject"])))
    people = _people(data, everybody)
    rows = [{"fold": "", "part": "all"} | _describe(people)]
    for fold in sorted(set(folds.values()), key=lambda name: (len(name), name)):
        tested = people["subject"].isin([subject for subject, own in folds.items() if own == fold])
        rows.append({"fold": fold, "part": "training"} | _describe(people[~tested]))
        rows.append({"fold": fold, "part": "test"} | _describe(people[tested]))
    return pd.DataFrame(rows)


def supplementary_table1(folds: pd.DataFrame) -> Table:
    """Supplementary Table 1 as a table.

    Args:
        folds: From `fold_table`.
    """
    lines = []
    for row in folds.to_dict("records"):
        name = "All" if row["part"] == "all" else f"Fold {row['fold']}, {row['part']}"
        female = str(row["female"]) if row["sex_known"] else "–"
        spreads = [f"{number_text(row[f'{c}_mean'], decimals=1)} ({number_text(row[f'{c}_sd'], decimals=1)})"
                   if row[f"{c}_known"] else "–" for c in COVARIATES]  # fmt: skip
        lines.append([name, str(row["n"]), female, *spreads])
    remarks = ["Age and BMI are mean (SD) over the subjects where they are known; '–' is not known."]
    if (folds["part"] == "test").any():
        remarks.append("Test: subjects predicted by the model of that fold; training: all others known.")
    head = ("", "n", "Female", "Age, years", "BMI, kg/m²")
    return plain_table("Supplementary Table 1. Subjects per fold", head, lines, *remarks)


def reference_volumes(data: StudyData) -> pd.DataFrame:
    """Each subject's reference volumes, once.

    Returns:
        Columns subject, muscle, muscle_name, side, reference_ml.

    Raises:
        StatisticsError: Models that were compared with different references.
    """
    columns = ["subject", "muscle", "muscle_name", "side", "reference_ml"]
    volumes = data.table[columns].dropna(subset=["reference_ml"])
    spread = volumes.groupby(["subject", "muscle"], observed=True)["reference_ml"].agg(np.ptp)
    apart = spread[spread > 1e-6 * volumes["reference_ml"].abs().max()]
    if len(apart):
        subject, muscle = apart.index[0]
        raise StatisticsError(
            f"subject {subject}, {muscle}: the models' reference volumes differ by {apart.iloc[0]:.3g} ml; evaluate "
            "all models against the same references"
        )
    once = volumes.drop_duplicates(["subject", "muscle"])
    return once.sort_values(["subject", "muscle"], kind="stable").reset_index(drop=True)


def describe_reference_volumes(data: StudyData) -> pd.DataFrame:
    """Mean, SD and quartiles of the reference volumes per muscle, in ml; see `long_table.describe_cells`."""
    volumes = reference_volumes(data)
    return describe_cells(volumes, value="reference_ml", by=["muscle"]).sort_values("muscle").reset_index(drop=True)


def compare_reference_volumes(data: StudyData, *, missing: Missing = "error") -> pd.DataFrame:
    """Paired t-tests of the reference volumes of each two muscles on the same side, as the paper's Results have them.

    Returns:
        One row per side and two muscles: side, larger, smaller (by their means), n, mean_difference, ci_low, ci_high,
        t, df, p, p_holm (over all rows).

    Raises:
        StatisticsError: Fewer than two muscles on a side, fewer than two subjects, or missing cells.
    """
    rows = []
    for side, volumes in reference_volumes(data).groupby("side", sort=False):
        for pair in itertools.combinations(dict.fromkeys(volumes["muscle_name"]), 2):
            two = volumes[volumes["muscle_name"].isin(pair)].assign(side=side)
            test = paired_t_tests(
                two, value="reference_ml", subject="subject", arm="muscle_name", by="side", missing=missing
            )
            larger, smaller = (muscle_name(name, "") for name in (test.attrs["best"], test["muscle_name"].iloc[0]))
            kept = ("n", "mean_difference", "ci_low", "ci_high", "t", "df", "p")
            found = {name: test[name].iloc[0] for name in kept}
            rows.append({"side": side, "larger": larger, "smaller": smaller} | found)
    if not rows:
        raise StatisticsError("no side has two muscles whose volumes could be compared")
    result = pd.DataFrame(rows)
    return result.assign(p_holm=holm(result["p"].to_numpy()))


def by_sex(data: StudyData, model: str) -> pd.DataFrame:
    """Dice and volumes of women and men in each muscle, with Welch's t-test.

    Returns:
        One row per muscle and measure of `PERSON_MEASURES`: muscle, measure, n_female, mean_female, sd_female, n_male,
        mean_male, sd_male, difference (female - male), ci_low, ci_high, t, df, p, p_holm (over all rows).

    Raises:
        StatisticsError: Sex unknown, or fewer than two women or men.

    Source: R 4.2: ``t.test(female, male)``.
    """
    rows = []
    for muscle, measure, table in _by_muscle(data, model):
        female, male = (table.loc[table["sex"] == sex, measure].dropna().to_numpy() for sex in "FM")
        if min(len(female), len(male)) < LEAST_PER_GROUP:
            raise StatisticsError(f"{len(female)} women and {len(male)} men are known; at least 2 of each are needed")
        rows.append({"muscle": muscle, "measure": measure} | _welch(female, male))
    result = pd.DataFrame(rows)
    return result.assign(p_holm=holm(result["p"].to_numpy()))


def by_covariate(data: StudyData, model: str) -> pd.DataFrame:
    """Correlation of Dice and volumes with age and body mass index in each muscle.

    Returns:
        One row per covariate, muscle and measure: covariate, muscle, measure, n, pearson_r, ci_low, ci_high, p, p_holm
        (over all rows), spearman_rho, spearman_p, slope (measure per unit of the covariate).

    Raises:
        StatisticsError: Fewer than four subjects whose age or BMI is known.
    """
    rows = []
    for muscle, measure, table in _by_muscle(data, model):
        for covariate in COVARIATES:
            pairs = table[[covariate, measure]].dropna()
            if len(pairs) < LEAST_FOR_CORRELATION:
                continue
            x, y = (pairs[column].to_numpy(dtype=np.float64) for column in (covariate, measure))
            line, ranks = correlation(x, y), correlation(x, y, method="spearman")
            rows.append(
                {"covariate": covariate, "muscle": muscle, "measure": measure, "n": line.n, "pearson_r": line.r}
                | {"ci_low": line.ci_low, "ci_high": line.ci_high, "p": line.p}
                | {"spearman_rho": ranks.r, "spearman_p": ranks.p, "slope": line.slope}
            )
    if not rows:
        raise StatisticsError(f"age or BMI is known of fewer than {LEAST_FOR_CORRELATION} subjects")
    result = pd.DataFrame(rows).sort_values("covariate", kind="stable").reset_index(drop=True)
    result.insert(result.columns.get_loc("p") + 1, "p_holm", holm(result["p"].to_numpy()))
    return result


def _by_muscle(data: StudyData, model: str) -> list[tuple[str, str, pd.DataFrame]]:
    if data.people is None:
        raise StatisticsError("sex, age and BMI are not known: no cases.tsv beside the references; give --cases")
    own = data.of([model]).merge(data.people, on="subject", how="left")
    groups = own.groupby("muscle", sort=True, observed=True)
    return [(str(muscle), measure, table) for muscle, table in groups for measure in PERSON_MEASURES]


def _welch(female: np.ndarray, male: np.ndarray) -> dict[str, float]:
    test = stats.ttest_ind(female, male, equal_var=False)
    interval = test.confidence_interval(0.95)
    return {
        "n_female": len(female),
        "mean_female": float(female.mean()),
        "sd_female": float(female.std(ddof=1)),
        "n_male": len(male),
        "mean_male": float(male.mean()),
        "sd_male": float(male.std(ddof=1)),
        "difference": float(female.mean() - male.mean()),
        "ci_low": float(interval.low),
        "ci_high": float(interval.high),
        "t": float(test.statistic),
        "df": float(test.df),
        "p": float(test.pvalue),
    }


def _fold_of_subject(data: StudyData) -> dict[str, str]:
    known = data.table[(data.table["fold"] != "") & (data.table["fold"] != ALL)]
    pairs = known[["subject", "fold"]].drop_duplicates()
    twice = pairs["subject"][pairs["subject"].duplicated()]
    if len(twice):
        raise StatisticsError(
            f"subject {twice.iloc[0]} is in folds {' and '.join(pairs['fold'][pairs['subject'] == twice.iloc[0]])} of "
            "different models; models with the same splits can be compared"
        )
    return dict(zip(pairs["subject"], pairs["fold"], strict=True))


def _people(data: StudyData, everybody: Sequence[str]) -> pd.DataFrame:
    if data.people is None:
        return pd.DataFrame({"subject": list(everybody), "sex": "", "age": np.nan, "bmi": np.nan})
    return data.people.set_index("subject").reindex(list(everybody)).rename_axis("subject").reset_index()


def _describe(people: pd.DataFrame) -> dict[str, float]:
    sex = people["sex"].fillna("")
    row: dict[str, float] = {"n": len(people), "female": int((sex == "F").sum()), "sex_known": int((sex != "").sum())}
    for column in COVARIATES:
        known = people[column].dropna()
        row |= {f"{column}_mean": float(known.mean()), f"{column}_sd": float(known.std(ddof=1))}
        row[f"{column}_known"] = len(known)
    return row
