"""The numbers of a report's interactive plots."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.comparison.view import StudyView
from paraspinal_nnunet.evaluation.figures.agreement import agreement_table
from paraspinal_nnunet.evaluation.figures.drawing import model_colours

_LINES = ("bias", "loa_low", "loa_high", "fit_slope", "fit_intercept_ml", "r", "icc", "icc_ci_low", "icc_ci_high")


@dataclass(frozen=True)
class CaseEntry:
    """How a case can be looked at.

    Attributes:
        name: The case.
        file: Its own page relative to the report, or ``''``.
        embedded: Whether it is in the report's own viewer.
    """

    name: str
    file: str = ""
    embedded: bool = False


def plot_data(view: StudyView, cases: Mapping[str, CaseEntry]) -> dict[str, Any]:
    """What report.js draws; undefined numbers are None.

    Args:
        view: The evaluation.
        cases: Every case of any model.

    Returns:
        models and structures with their colours; cases; values (model -> structure -> rows of case index, Dice,
        reference and prediction in ml); agreement (model -> structure -> lines of Figure 2).
    """
    index = {name: place for place, name in enumerate(cases)}
    values: dict[str, dict[str, list[list[Any]]]] = {model: {} for model in view.models}
    for row in view.metrics.itertuples():
        numbers = [_number(row.dice, 5), _number(row.reference_ml, 3), _number(row.prediction_ml, 3)]
        values[row.model].setdefault(str(row.structure), []).append([index[row.case], *numbers])
    colours = model_colours(len(view.models))
    return {
        "models": [{"name": name, "colour": colour} for name, colour in zip(view.models, colours, strict=True)],
        "structures": [{"name": name, "colour": view.colour(name)} for name in view.labels],
        "cases": [{"name": c.name, "file": c.file, "embedded": c.embedded} for c in cases.values()],
        "values": values,
        "agreement": {model: _agreement(view, model) for model in view.models},
    }


def _agreement(view: StudyView, model: str) -> dict[str, dict[str, float | None]]:
    try:
        table = agreement_table(replace(view, model=model))
    except StatisticsError:  # too few subjects: points without lines
        return {}
    return {row["structure"]: {name: _number(row[name], 5) for name in _LINES} for row in table.to_dict("records")}


def _number(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
