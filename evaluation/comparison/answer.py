"""The first question of a study: which recipe is best on these data, by how much, how certainly, and at what cost."""

import numpy as np
import pandas as pd

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.comparison.design import published_names
from paraspinal_nnunet.evaluation.comparison.view import StudyView
from paraspinal_nnunet.evaluation.paper.published import published_table1
from paraspinal_nnunet.evaluation.report.answer import subject_means
from paraspinal_nnunet.evaluation.statistics.posthoc import paired_t_tests
from paraspinal_nnunet.evaluation.tables.table import Cell, Row, Table
from paraspinal_nnunet.utils.text import p_text

_HEAD = (
    *("model", "what it is", "mean Dice (SD)", "behind the best [95 % CI]", "p (Holm)", "training"),
    *("prediction, s per scan", "parameters", "the paper's Dice"),
)
_NONE = "-"


def comparison_table(view: StudyView, costs: pd.DataFrame) -> Table:
    """All models, the best first: Dice, distance from the best with interval and p, cost, and the paper's value.

    Args:
        view: The evaluation. Models are compared by each subject's mean Dice over all structures, on the subjects that
            all models have.
        costs: From `read_costs`; models that it lacks have no cost.

    Raises:
        StatisticsError: No subject has a value of every model.
    """
    means, dropped = subject_means(view)
    order = means.mean().sort_values(ascending=False, kind="stable").index
    tests = _tests(means, str(order[0]))
    published = _published(view)
    rows = []
    for model in map(str, order):
        cost = costs.loc[model] if model in costs.index else pd.Series(dtype=object)
        cells = [model, _what(cost), _mean_sd(means[model]), *_behind(model, tests), *_cost(cost)]
        rows.append(Row(tuple(Cell(text, bold=model == order[0]) for text in [*cells, published.get(model, _NONE)])))
    remarks = [
        f"Mean over the structures of each subject, then over {len(means)} subjects; differences are paired by subject,"
        " p by paired t-tests, adjusted by Holm. Training: all folds together, epochs alone. Prediction: of test cases "
        "that are preprocessed already, export included.",
    ]
    if dropped:
        remarks.append(f"Left out, as a model lacks a value: {', '.join(dropped)}.")
    return Table("Which recipe is best on these data", _HEAD, tuple(rows), remarks=tuple(remarks))


def _tests(means: pd.DataFrame, best: str) -> pd.DataFrame | None:
    if means.shape[1] < 2:
        return None
    table = means.rename_axis("subject").reset_index().melt("subject", var_name="model", value_name="dice")
    try:
        found = paired_t_tests(
            table.assign(structure="all"), value="dice", subject="subject", arm="model", by="structure", best=best
        )
    except StatisticsError:  # one subject
        return None
    return found.assign(model=found["model"].astype(str)).set_index("model")


def _behind(model: str, tests: pd.DataFrame | None) -> tuple[str, str]:
    if tests is None or model not in tests.index:
        return _NONE, _NONE
    row = tests.loc[model]
    interval = f"{row['mean_difference']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    return interval, p_text(row["p_holm"]) if np.isfinite(row["p_holm"]) else _NONE


def _mean_sd(values: pd.Series) -> str:
    return f"{values.mean():.3f} ({values.std(ddof=1):.3f})" if len(values) > 1 else f"{values.mean():.3f}"


def _what(cost: pd.Series) -> str:
    if cost.empty:
        return _NONE
    trainer = str(cost["trainer"]).removeprefix("nnUNetTrainer")
    return f"{cost['role']}: {trainer or 'nnU-Net'}, {cost['configuration']}"


def _cost(cost: pd.Series) -> tuple[str, str, str]:
    if cost.empty:
        return _NONE, _NONE, _NONE
    device = f" ({cost['device']})" if isinstance(cost["device"], str) and cost["device"] else ""
    hours = _NONE if pd.isna(cost["training_hours"]) else f"{_duration(cost['training_hours'])}{device}"
    seconds = _NONE if pd.isna(cost["inference_s"]) else f"{cost['inference_s']:.1f}"
    return hours, seconds, _NONE if pd.isna(cost["parameters"]) else f"{int(cost['parameters']):,}"


def _duration(hours: float) -> str:
    for unit, per_hour in (("s", 3600), ("min", 60)):
        if hours * per_hour < 100:
            return f"{hours * per_hour:.3g} {unit}"
    return f"{hours:.1f} h"


def _published(view: StudyView) -> dict[str, str]:
    """Our model -> the mean over the muscles of what Table 1 prints for the same arm."""
    table = published_table1()
    dice = table[table["metric"] == "dice"].groupby("model")["mean"].mean()
    return {model: f"{dice[heading]:.3f}" for model, heading in published_names(view.data.design).items()}
