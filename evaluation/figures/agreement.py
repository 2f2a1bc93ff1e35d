"""Figure 2: Bland-Altman and correlation of the volumes of reference and prediction, muscle by muscle."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.comparison.view import StudyView
from paraspinal_nnunet.evaluation.figures.drawing import Drawing, new_figure
from paraspinal_nnunet.evaluation.statistics.agreement import BlandAltman, bland_altman, correlation
from paraspinal_nnunet.evaluation.statistics.reliability import icc_2_1

MINUS = "\N{MINUS SIGN}"
"""As matplotlib writes it at the axes."""

MARKERS = {"left": "o", "right": "s", "": "D"}
_LEAST_SUBJECTS = 3
_PANEL_HEIGHT_IN = 1.95
_COLUMNS = 3
_CORRELATION = 1
"""Place of the correlation below a muscle's Bland-Altman panel."""


def agreement_table(view: StudyView) -> pd.DataFrame:
    """The lines of Figure 2: one row per structure with the fields of `BlandAltman`, r, its interval, line and ICC.

    Raises:
        StatisticsError: Fewer than three subjects.
    """
    rows = []
    for structure in view.labels:
        reference, prediction = _volumes(view, structure)
        if len(reference) < _LEAST_SUBJECTS:
            raise StatisticsError(
                f"model {view.model}, {structure}: volumes of {len(reference)} subjects are too few for limits of "
                f"agreement; at least {_LEAST_SUBJECTS} are needed"
            )
        line, reliability = correlation(reference, prediction), icc_2_1(reference, prediction)
        rows.append(
            {"model": view.model, "structure": structure}
            | asdict(bland_altman(reference, prediction))
            | {"r": line.r, "r_ci_low": line.ci_low, "r_ci_high": line.ci_high, "r_p": line.p}
            | {"fit_slope": line.slope, "fit_intercept_ml": line.intercept}
            | {"icc": reliability.icc, "icc_ci_low": reliability.ci_low, "icc_ci_high": reliability.ci_high}
        )
    return pd.DataFrame(rows)


def draw_agreement(view: StudyView) -> Drawing:
    """Draw Figure 2 of the chosen model.

    Raises:
        StatisticsError: Fewer than three subjects.
    """
    lines = agreement_table(view)
    names = list(view.labels)
    # Three muscles side by side where both sides of them are there: one row of panels per side and kind of plot.
    ordered = sorted(names, key=lambda name: view.labels[name].side) if len(names) > _COLUMNS else names
    blocks = [ordered[start : start + _COLUMNS] for start in range(0, len(ordered), _COLUMNS)]
    figure = new_figure(2 * len(blocks) * _PANEL_HEIGHT_IN)
    grid = figure.subplots(2 * len(blocks), _COLUMNS, squeeze=False)
    for block, members in enumerate(blocks):
        for column in range(_COLUMNS):
            above, below = grid[2 * block][column], grid[2 * block + 1][column]
            if column >= len(members):
                above.set_axis_off()
                below.set_axis_off()
                continue
            row = lines[lines["structure"] == members[column]].iloc[0]
            _draw_bland_altman(above, view, members[column], row)
            _draw_correlation(below, view, members[column], row)
    _share_axes(view, grid, blocks)
    caption = (
        f"Volumes (ml) of {view.model} against the reference in {int(lines['n'].min())} subjects. Bland-Altman: "
        "difference = prediction - reference; black dashed line = mean difference, grey dashed lines = 95 % limits of "
        "agreement (± 1.96 SD), bands = their 95 % confidence intervals. Correlation: black dashed line = best fit, "
        "grey line = equality; r = Pearson's correlation, ICC = ICC(2,1) with 95 % confidence interval. Both sides "
        "of a muscle have the same axes."
    )
    points = _points(view).merge(lines, on=["model", "structure"], validate="many_to_one")
    return Drawing("figure_2_volumes", f"Volumes of {view.model}", caption, figure, points)


def _share_axes(view: StudyView, grid: Any, blocks: list[list[str]]) -> None:
    """Give both sides of a muscle the same axes, so that they can be compared by eye."""
    panels: dict[tuple[str, int], list[Any]] = {}
    for block, members in enumerate(blocks):
        for column, structure in enumerate(members):
            for kind in range(2):
                panels.setdefault((view.labels[structure].muscle, kind), []).append(grid[2 * block + kind][column])
    for (_, kind), sides in panels.items():
        x, y = np.array([panel.get_xlim() for panel in sides]), np.array([panel.get_ylim() for panel in sides])
        if kind == _CORRELATION:
            x = y = np.concatenate([x, y])
        for panel in sides:
            panel.set_xlim(x[:, 0].min(), x[:, 1].max())
            panel.set_ylim(y[:, 0].min(), y[:, 1].max())
            if kind == _CORRELATION:
                panel.set_aspect("equal", adjustable="box")


def _volumes(view: StudyView, structure: str) -> tuple[np.ndarray, np.ndarray]:
    rows = view.of_model()
    rows = rows[rows["structure"] == structure]
    return rows["reference_ml"].to_numpy(float), rows["prediction_ml"].to_numpy(float)


def _points(view: StudyView) -> pd.DataFrame:
    points = view.of_model()[["model", "structure", "subject", "reference_ml", "prediction_ml"]]
    points = points.sort_values(["structure", "subject"]).astype({"model": str, "structure": str})
    return points.assign(
        mean_ml=(points["reference_ml"] + points["prediction_ml"]) / 2,
        difference_ml=points["prediction_ml"] - points["reference_ml"],
    )


def _scatter(axes: Any, view: StudyView, structure: str, x: np.ndarray, y: np.ndarray) -> None:
    marker = MARKERS[view.labels[structure].side]
    axes.scatter(x, y, s=13, marker=marker, color=view.colour(structure), edgecolors="black", linewidths=0.5, zorder=3)


def _draw_bland_altman(axes: Any, view: StudyView, structure: str, row: pd.Series) -> None:
    reference, prediction = _volumes(view, structure)
    limits = BlandAltman(**{name: row[name] for name in BlandAltman.__dataclass_fields__})
    for low, high, colour in (
        (limits.bias_ci_low, limits.bias_ci_high, "0.75"),
        (limits.loa_low_ci_low, limits.loa_low_ci_high, "0.9"),
        (limits.loa_high_ci_low, limits.loa_high_ci_high, "0.9"),
    ):
        axes.axhspan(low, high, color=colour, linewidth=0, zorder=0)
    for value, colour in ((limits.bias, "black"), (limits.loa_low, "0.4"), (limits.loa_high, "0.4")):
        axes.axhline(value, color=colour, linestyle="--", linewidth=0.9, zorder=1)
        axes.annotate(
            _with_minus(value, 1), (1.0, value), (2, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="left", va="center", fontsize=6.5, color=colour,
        )  # fmt: skip
    _scatter(axes, view, structure, (reference + prediction) / 2, prediction - reference)
    axes.set_title(structure, fontweight="bold")
    axes.set_xlabel("mean of both (ml)")
    axes.set_ylabel(f"prediction {MINUS} reference (ml)")
    axes.margins(x=0.12, y=0.08)


def _draw_correlation(axes: Any, view: StudyView, structure: str, row: pd.Series) -> None:
    reference, prediction = _volumes(view, structure)
    low, high = min(reference.min(), prediction.min()), max(reference.max(), prediction.max())
    ends = np.array([low, high]) + np.array([-0.05, 0.05]) * (high - low)
    axes.plot(ends, ends, color="0.6", linewidth=0.7, zorder=1)
    fitted = np.array([reference.min(), reference.max()])
    if np.isfinite(row["fit_slope"]):
        axes.plot(fitted, row["fit_slope"] * fitted + row["fit_intercept_ml"], "k--", linewidth=0.9, zorder=2)
    _scatter(axes, view, structure, reference, prediction)
    r, *icc = (_with_minus(row[name], 3) for name in ("r", "icc", "icc_ci_low", "icc_ci_high"))
    axes.set_title(f"r = {r}\nICC = {icc[0]} ({icc[1]} to {icc[2]})", fontsize=6.5, loc="left")  # clear of all points
    axes.set_xlabel("reference (ml)")
    axes.set_ylabel("prediction (ml)")


def _with_minus(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace("-", MINUS)
