"""An evaluation as figures and reports look at it: the study's data, the best model, a typical case."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.errors import InputError, StatisticsError
from paraspinal_nnunet.evaluation.comparison.data import StudyData, load_study, muscle_name
from paraspinal_nnunet.evaluation.comparison.design import Plan, plan_analyses
from paraspinal_nnunet.evaluation.comparison.parts import best_model
from paraspinal_nnunet.evaluation.record import EvaluationRecord, read_metrics, read_record
from paraspinal_nnunet.evaluation.references import Label
from paraspinal_nnunet.utils.text import some

NEUTRAL_COLOUR = "#777777"
"""Of labels that are none of the known muscles."""


@dataclass(frozen=True)
class StudyView:
    """An evaluation with what is derived from it.

    Attributes:
        record: What evaluation.json holds.
        data: One row per model, subject and muscle; the cases of a subject with several are averaged.
        plan: Which models are the study's arms.
        metrics: metrics.tsv, one row per model, case and muscle, with a column `structure`, e.g. ``'Multifidus left'``.
        best: The arm with the highest mean Dice over the subjects that all arms have, and all structures.
        model: The model that is shown in detail.
        case: The case that is shown in detail.
    """

    record: EvaluationRecord
    data: StudyData
    plan: Plan
    metrics: pd.DataFrame
    best: str
    model: str
    case: str

    @property
    def models(self) -> tuple[str, ...]:
        """All models, in the order of the evaluation."""
        return self.data.models

    @property
    def subjects(self) -> pd.DataFrame:
        """`data.table` with its column `muscle` named `structure`."""
        return self.data.table.rename(columns={"muscle": "structure"})

    @property
    def labels(self) -> Mapping[str, Label]:
        """Name of a structure -> its label, left before right as in Table 1."""
        by_name = {muscle_name(label.muscle, label.side): label for label in self.record.labels}
        return {name: by_name[name] for name in self.data.muscles}

    def of_model(self) -> pd.DataFrame:
        """The rows of `subjects` that belong to the chosen model."""
        rows = self.subjects
        return rows[rows["model"] == self.model]

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


def view_study(evaluation: Path, *, model: str | None = None, data: StudyData | None = None) -> StudyView:
    """Read an evaluation.

    Args:
        evaluation: Folder that `paraspinal evaluate` wrote.
        model: The model to show in detail; None takes the best.
        data: From `study_data.load_study`; None loads it with the cases of a subject averaged.

    Raises:
        InputError: Missing or unreadable files, or an unknown model.
        StatisticsError: A model without any Dice value.
    """
    evaluation = Path(evaluation)
    record, metrics = read_record(evaluation), read_metrics(evaluation)
    data = load_study(evaluation, average_cases=True) if data is None else data
    names = list(map(muscle_name, metrics["muscle"], metrics["side"]))
    metrics["structure"] = pd.Categorical(names, categories=list(data.muscles))
    if model is not None and model not in data.models:
        raise InputError(f"model {model} is not in {evaluation}; its models are {', '.join(data.models)}")
    plan = plan_analyses(data.design)
    best = best_model(data, plan.arms, "complete-case")
    shown = model or best
    return StudyView(record, data, plan, metrics, best, shown, typical_case(metrics, shown))


def case_means(metrics: pd.DataFrame, model: str) -> pd.Series:
    """Mean Dice of each case of a model over its structures, by case; NaN where no structure has a value."""
    return metrics[metrics["model"] == model].groupby("case")["dice"].mean().sort_index()


def typical_case(metrics: pd.DataFrame, model: str) -> str:
    """The case whose mean Dice is nearest to the model's median; the first by name among equals.

    Raises:
        StatisticsError: No case has a Dice value.
    """
    means = case_means(metrics, model).dropna()
    if means.empty:
        raise StatisticsError(f"model {model} has no case with a Dice value")
    distance = (means - means.median()).abs()
    return str(means.index[np.flatnonzero(distance <= distance.min() + 1e-12)[0]])


def worst_first(metrics: pd.DataFrame, model: str) -> pd.Series:
    """Mean Dice of each case of a model, the lowest first; cases without any value come first."""
    return case_means(metrics, model).sort_values(kind="stable", na_position="first")
