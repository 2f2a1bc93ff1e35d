"""An evaluation as figures and reports look at it: structures in Table 1's order, the best model, a typical case."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.errors import InputError, StatisticsError
from paraspinal_nnunet.evaluation.long_table import balance
from paraspinal_nnunet.evaluation.overlap import METRICS
from paraspinal_nnunet.evaluation.posthoc import best_arm
from paraspinal_nnunet.evaluation.record import (
    VOLUME_COLUMNS,
    EvaluationRecord,
    read_metrics,
    read_record,
)
from paraspinal_nnunet.evaluation.references import Label, some

NEUTRAL_COLOUR = "#777777"
"""Of labels that are none of the known muscles."""

_SIDE_ORDER = {"left": 0, "right": 1, "": 2}


@dataclass(frozen=True)
class StudyView:
    """An evaluation with what is derived from it.

    Attributes:
        record: What evaluation.json holds.
        metrics: metrics.csv with a column `structure`, e.g. ``'Multifidus left'``.
        subjects: One row per model, subject and structure with the means over the subject's cases; the same rows as
            `metrics` where each subject has one case.
        labels: Name of a structure -> its label, left before right as in Table 1.
        best: The model with the highest mean Dice over all subjects that every model has, and all structures.
        model: The model that is shown in detail.
        case: The case that is shown in detail.
    """

    record: EvaluationRecord
    metrics: pd.DataFrame
    subjects: pd.DataFrame
    labels: Mapping[str, Label]
    best: str
    model: str
    case: str

    @property
    def models(self) -> tuple[str, ...]:
        """All models, in the order of the evaluation."""
        return tuple(self.record.models)

    @property
    def repeated_subjects(self) -> int:
        """How many subjects have more than one case."""
        return int((self.metrics.groupby("subject")["case"].nunique() > 1).sum())

    def of_model(self) -> pd.DataFrame:
        """The rows of `subjects` that belong to the chosen model."""
        return self.subjects[self.subjects["model"] == self.model]

    def colour(self, structure: str) -> str:
        """The paper's colour of a structure."""
        key = self.labels[structure].key
        return BY_KEY[key].hex_colour if key in BY_KEY else NEUTRAL_COLOUR

    def showing(self, case: str | None) -> "StudyView":
        """The same with another case in detail.

        Raises:
            InputError: The chosen model has no such case.
        """
        if case is None or case == self.case:
            return self
        known = self.record.models[self.model].cases
        if case not in known:
            raise InputError(f"case {case} is not among those of model {self.model}: {some(known)}")
        return replace(self, case=case)


def view_study(evaluation: Path, *, model: str | None = None) -> StudyView:
    """Read an evaluation.

    Args:
        evaluation: Folder that `paraspinal evaluate` wrote.
        model: The model to show in detail; None takes the best.

    Raises:
        InputError: Missing or unreadable files, or an unknown model.
        StatisticsError: The best model cannot be told because no subject has all values of all models.
    """
    record = read_record(evaluation)
    metrics = read_metrics(evaluation)
    ordered = sorted(record.labels, key=lambda label: _place(label, record))
    labels = {structure_name(label.muscle, label.side): label for label in ordered}
    names = [structure_name(m, s) for m, s in zip(metrics["muscle"], metrics["side"], strict=True)]
    metrics["structure"] = pd.Categorical(names, categories=list(labels), ordered=True)
    metrics["model"] = pd.Categorical(metrics["model"], categories=list(record.models), ordered=True)
    subjects = _per_subject(metrics)
    best = best_model(subjects)
    if model is not None and model not in record.models:
        raise InputError(f"model {model} is not in {evaluation}; its models are {', '.join(record.models)}")
    shown = model or best
    return StudyView(record, metrics, subjects, labels, best, shown, typical_case(metrics, shown))


def structure_name(muscle: str, side: str) -> str:
    """A structure for tables and figures.

    >>> structure_name("erector_spinae", "left")
    'Erector spinae left'
    """
    return f"{muscle} {side}".replace("_", " ").strip().capitalize()


def best_model(subjects: pd.DataFrame) -> str:
    """The model with the highest mean Dice over the subjects for whom every model has every value.

    Raises:
        StatisticsError: There is no such subject.
    """
    models = list(dict.fromkeys(subjects["model"]))
    if len(models) == 1:
        return str(models[0])
    try:
        balanced = balance(
            subjects, value="dice", subject="subject", within=["structure", "model"], missing="complete-case"
        )
    except StatisticsError as error:
        raise StatisticsError(f"the models cannot be compared: {error}") from error
    return str(balanced.levels[1][best_arm(balanced, None)])


def typical_case(metrics: pd.DataFrame, model: str) -> str:
    """The case whose mean Dice is nearest to the model's median; the first by name among equals."""
    means = metrics[metrics["model"] == model].groupby("case")["dice"].mean().dropna().sort_index()
    if means.empty:
        raise StatisticsError(f"model {model} has no case with a Dice value")
    return str((means - means.median()).abs().idxmin())


def worst_first(metrics: pd.DataFrame, model: str) -> pd.Series:
    """Mean Dice of each case of a model, the lowest first; cases without any value come first."""
    means = metrics[metrics["model"] == model].groupby("case")["dice"].mean()
    return means.sort_index().sort_values(kind="stable", na_position="first")


def _per_subject(metrics: pd.DataFrame) -> pd.DataFrame:
    values = [*METRICS, *VOLUME_COLUMNS]
    keys = ["model", "subject", "muscle", "side", "structure"]
    return metrics.groupby(keys, sort=False, observed=True)[values].mean().reset_index()


def _place(label: Label, record: EvaluationRecord) -> tuple[int, int]:
    muscles = list(dict.fromkeys(each.muscle for each in record.labels))
    return muscles.index(label.muscle), _SIDE_ORDER[label.side]
