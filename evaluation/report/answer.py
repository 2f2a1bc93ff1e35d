"""The first lines of a report: which model is best, by how much, how certain that is, and what to beware of."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.comparison.view import StudyView, worst_first
from paraspinal_nnunet.evaluation.predictions import describe
from paraspinal_nnunet.evaluation.statistics.agreement import volume_agreement
from paraspinal_nnunet.evaluation.statistics.inference import bootstrap_interval
from paraspinal_nnunet.evaluation.statistics.long_table import balance
from paraspinal_nnunet.evaluation.statistics.posthoc import paired_t_tests
from paraspinal_nnunet.evaluation.summary import entered_of
from paraspinal_nnunet.utils.text import p_clause

ALPHA = 0.05
"""Level of the customary two-sided test."""

BOOTSTRAP_SEED = 0
FEW_SUBJECTS = 10


@dataclass(frozen=True)
class Fact:
    """One number that a reader looks for first: its name, the number and what it is about."""

    name: str
    value: str
    about: str


@dataclass(frozen=True)
class Answer:
    """The report's first lines.

    Attributes:
        sentences: The answer in words.
        facts: Numbers of the model shown in detail.
        warnings: What makes the numbers mean less than they seem to.
    """

    sentences: tuple[str, ...]
    facts: tuple[Fact, ...]
    warnings: tuple[str, ...]


def answer(view: StudyView) -> Answer:
    """Compare the models by each subject's mean Dice over all structures."""
    if len(view.models) == 1:
        means = view.subjects.groupby("subject")["dice"].mean().dropna().to_frame(view.best)
        return Answer((_standing(view, means[view.best]),), tuple(_facts(view)), tuple(_warnings(view, [])))
    try:
        means, dropped = subject_means(view)
    except StatisticsError as error:
        alone = (
            f"{view.best} has the highest mean Dice on the cases that it has; the models cannot be compared: {error}."
        )
        return Answer((alone,), tuple(_facts(view)), tuple(_warnings(view, [])))
    sentences = [_standing(view, means[view.best]), _lead(view, means)]
    if view.model != view.best:
        sentences.append(f"Shown in detail below, as asked for: {view.model}.")
    return Answer(tuple(sentences), tuple(_facts(view)), tuple(_warnings(view, dropped)))


def subject_means(view: StudyView) -> tuple[pd.DataFrame, list[str]]:
    """Each subject's mean Dice over all structures, a column per model, and the subjects left out.

    Subjects who lack a Dice value in any structure of any model are left out, so that all columns are comparable.

    Raises:
        StatisticsError: Nobody is left.
    """
    balanced = balance(
        view.subjects, value="dice", subject="subject", within=["model", "structure"], missing="complete-case"
    )
    table = pd.DataFrame(
        balanced.values.mean(axis=2), index=list(balanced.subjects), columns=[str(m) for m in balanced.levels[0]]
    )
    return table, [str(subject) for subject in balanced.dropped]


def _standing(view: StudyView, values: pd.Series) -> str:
    number = f"{values.mean():.3f}"
    spread = f"{len(values)} subject{'s' if len(values) > 1 else ''}"
    if len(values) > 1:
        rng = np.random.default_rng(BOOTSTRAP_SEED)
        low, high = bootstrap_interval(values.to_numpy(), rng=rng)
        spread = f"SD {values.std(ddof=1):.3f}, 95 % CI {low[0]:.3f} to {high[0]:.3f}, {spread}"
    over = f"over {len(view.labels)} structures" if len(view.labels) > 1 else f"of {next(iter(view.labels))}"
    if len(view.models) == 1:
        return f"{view.best} reaches a mean Dice of {number} {over} ({spread})."
    arms = len(view.plan.arms)
    of = f"{arms} models" if arms == len(view.models) else f"the study's {arms} arms"
    return f"{view.best} has the highest mean Dice of {of}: {number} {over} ({spread})."


def _lead(view: StudyView, means: pd.DataFrame) -> str:
    others = means.drop(columns=view.best).mean().sort_values(ascending=False)
    runner_up = str(others.index[0])
    gap = means[view.best].mean() - others.iloc[0]
    if gap >= 0:
        lead = f"It leads {runner_up}, the next best, by {gap:.3f}"
    else:
        lead = f"{runner_up}, which is none of the study's arms, lies above it by {-gap:.3f}"
    table = means.rename_axis("subject").reset_index().melt("subject", var_name="model", value_name="dice")
    try:
        tests = paired_t_tests(
            table.assign(structure="all"), value="dice", subject="subject", arm="model", by="structure", best=view.best
        )
    except StatisticsError:
        return f"{lead}; one subject tells nothing about the certainty of that."
    row = tests.set_index("model").loc[runner_up]
    if not np.isfinite(row["p"]):
        return f"{lead} in every subject alike, which allows no test."
    low, high = sorted((1 if gap >= 0 else -1) * row[["ci_low", "ci_high"]].astype(float))
    interval = f"95 % CI {low:.3f} to {high:.3f}, paired t-test {_p(row['p'])}"
    if len(tests) > 1:
        interval += f", {_p(row['p_holm'])} after Holm's correction for {len(tests)} comparisons"
    if row["p_holm"] <= ALPHA:
        return f"{lead} ({interval}): more than chance explains at the 5 % level."
    return f"{lead} ({interval}): these subjects do not tell the two apart with certainty."


def _facts(view: StudyView) -> list[Fact]:
    rows = view.of_model()
    by_structure = rows.groupby("structure", observed=True)["dice"].mean()
    worst = worst_first(view.metrics, view.model)
    facts = [
        Fact(
            "Mean Dice",
            f"{rows.groupby('subject')['dice'].mean().mean():.3f}",
            ", ".join(filter(None, (view.model, entered_of(rows["dice"])))),
        ),
        *_lowest("Lowest structure", by_structure),
        Fact("Lowest case", f"{worst.iloc[0]:.3f}" if np.isfinite(worst.iloc[0]) else "undefined", str(worst.index[0])),
    ]
    try:
        agreement = volume_agreement(
            rows.astype({"structure": str}), subject="subject", by="structure", reference="reference_ml",
            prediction="prediction_ml",
        ).set_index("structure")  # fmt: skip
    except StatisticsError:
        return facts
    return [*facts, *_lowest("Lowest volume ICC", agreement["icc"])]


def _lowest(name: str, values: "pd.Series[float]") -> list[Fact]:
    """The lowest of the values that are defined; nothing where none is, as the ICC of volumes that are all the same."""
    known = values.dropna()
    return [Fact(name, f"{known.min():.3f}", str(known.idxmin()))] if len(known) else []


def _warnings(view: StudyView, dropped: list[str]) -> list[str]:
    found = [f"{text[0].upper()}{text[1:]}." for text in view.record.warnings]
    for name, model in view.record.models.items():
        if model.kind == "training":
            found.append(f"{name}: {describe(model.kind, model.folds)}. It must not be compared with the others.")
    if dropped:
        found.append(
            f"{len(dropped)} of {view.subjects['subject'].nunique()} subjects lack a Dice value of some model and "
            f"structure and are left out of the comparison: {', '.join(dropped)}."
        )
    undefined = int(view.subjects[view.subjects["model"] == view.model]["dice"].isna().sum())
    if undefined:
        found.append(
            f"{undefined} Dice values of {view.model} are undefined (a structure in neither label map) and left out of "
            "its means."
        )
    found += view.data.notes
    if len(subjects := view.subjects["subject"].unique()) < FEW_SUBJECTS:
        found.append(
            f"{len(subjects)} subjects are few: intervals and p values rest on their differences being normal."
        )
    return found


def _p(p: float) -> str:
    return p_clause(p, space="\u00a0")
