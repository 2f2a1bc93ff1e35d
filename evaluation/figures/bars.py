"""Figure 1: Dice of every model in each muscle, as bars with stars as the paper has it, and as dots with intervals."""

import math
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.comparison.view import StudyView
from paraspinal_nnunet.evaluation.figures.drawing import HATCHES, Drawing, model_colours, new_figure
from paraspinal_nnunet.evaluation.statistics.long_table import describe_cells
from paraspinal_nnunet.evaluation.statistics.posthoc import paired_t_tests

Correction = Literal["none", "holm"]
STARS: tuple[tuple[float, str], ...] = ((0.001, "**"), (0.05, "*"))
"""Largest p of each mark. Source: caption of Figure 1."""

_GROUP_WIDTH = 0.84


def stars(p: float) -> str:
    """The mark of a p value; none above 0.05 or where p is undefined.

    >>> [stars(p) for p in (0.001, 0.0011, 0.05, 0.051)]
    ['**', '*', '*', '']
    """
    return next((mark for most, mark in STARS if p <= most), "")


def dice_table(view: StudyView, *, correction: Correction = "none") -> pd.DataFrame:
    """The numbers of Figure 1.

    Args:
        view: The evaluation.
        correction: Which p the stars go by: the paper's uncorrected one, or Holm's over all comparisons.

    Returns:
        One row per structure and model: structure, model, n, mean, sd (n - 1), ci_low, ci_high (95 % interval of the
        mean by Student's t; NaN with one subject), p, p_holm (paired t-test of the best model against this one; NaN for
        the best itself and where no test is possible), stars.
    """
    cells = describe_cells(view.subjects, value="dice", by=["structure", "model"]).sort_values(["structure", "model"])
    table = cells[["structure", "model", "n", "mean", "sd"]].astype({"structure": str, "model": str})
    with np.errstate(invalid="ignore"):
        half = stats.t.ppf(0.975, table["n"] - 1) * table["sd"] / np.sqrt(table["n"])
    table = table.assign(ci_low=table["mean"] - half, ci_high=table["mean"] + half)
    table = table.merge(_tests(view), how="left", on=["structure", "model"])
    table["stars"] = [stars(p) for p in table["p" if correction == "none" else "p_holm"]]
    return table


def draw_bars(view: StudyView, *, correction: Correction = "none") -> Drawing:
    """Draw Figure 1.

    Args:
        view: The evaluation.
        correction: As in `dice_table`.
    """
    table = dice_table(view, correction=correction)
    figure = new_figure(5.4)
    axes, dots = figure.subplots(2, 1)
    structures, models = list(view.labels), view.models
    width = _GROUP_WIDTH / len(models)
    floor, bars = _floor(table), {}
    for place, (model, colour) in enumerate(zip(models, model_colours(len(models)), strict=True)):
        rows = table[table["model"] == model].set_index("structure").reindex(structures)
        x = np.arange(len(structures)) + (place - (len(models) - 1) / 2) * width
        _draw_dots(dots, view, model, x, rows, width, colour)
        bars[f"{model} (best)" if _is_best(view, model) else model] = axes.bar(
            x, rows["mean"] - floor, width * 0.92, bottom=floor, color=colour, edgecolor="black", linewidth=0.6,
            hatch=HATCHES[place % len(HATCHES)],
        )  # fmt: skip
        axes.errorbar(x, rows["mean"], rows["sd"], fmt="none", ecolor="black", elinewidth=0.8, capsize=2, capthick=0.8)
        _mark(axes, x, rows)
    for letter, panel in zip("ab", (axes, dots), strict=True):
        panel.set_xticks(range(len(structures)), ["\n".join(name.rsplit(" ", 1)) for name in structures])
        panel.set_ylabel("Sørensen-Dice index")
        panel.tick_params(axis="x", length=0)
        panel.grid(axis="y", linewidth=0.4, alpha=0.6)
        panel.set_axisbelow(True)
        panel.set_title(letter, loc="left", fontweight="bold")
    dots.set_xlim(axes.get_xlim())
    top = float((table["mean"] + table["sd"].fillna(0)).max())
    axes.set_ylim(floor, max(top + 0.045 * (top - floor), floor + 0.01))
    figure.legend(bars.values(), bars, loc="outside upper center", ncols=min(len(models), 4))
    return Drawing("figure_1_dice", "Dice of every model", _caption(view, table, correction, floor), figure, table)


def _draw_dots(
    axes: Any, view: StudyView, model: str, x: np.ndarray, rows: pd.DataFrame, width: float, colour: str
) -> None:
    """Every subject as a small dot, side by side in the order of the table; their mean with its interval."""
    own = view.subjects[view.subjects["model"].astype(str) == model]
    for place, structure in zip(x, rows.index, strict=True):
        values = own.loc[own["structure"].astype(str) == structure, "dice"].to_numpy(float)
        beside = place + width * (np.linspace(-0.32, 0.32, len(values)) if len(values) > 1 else np.zeros(len(values)))
        axes.scatter(beside, values, s=7, color=colour, edgecolors="0.35", linewidths=0.3, alpha=0.75, zorder=2)
    spread = np.abs(rows[["ci_low", "ci_high"]].to_numpy().T - rows["mean"].to_numpy())
    axes.errorbar(
        x, rows["mean"], spread, fmt="D", markersize=3.2, markerfacecolor="white", markeredgecolor="black",
        markeredgewidth=0.8, ecolor="black", elinewidth=1.0, capsize=2, capthick=1.0, zorder=3,
    )  # fmt: skip


def _tests(view: StudyView) -> pd.DataFrame:
    none = pd.DataFrame({"structure": [], "model": [], "p": [], "p_holm": []})
    none = none.astype({"structure": str, "model": str})
    if len(view.models) < 2:
        return none
    try:
        tests = paired_t_tests(
            view.subjects,
            value="dice",
            subject="subject",
            arm="model",
            by="structure",
            best=view.best,
            missing="complete-case",
        )
    except StatisticsError:  # a single subject has means but no test
        return none
    return tests[["structure", "model", "p", "p_holm"]].astype({"structure": str, "model": str})


def _is_best(view: StudyView, model: str) -> bool:
    return len(view.models) > 1 and model == view.best


def _mark(axes: Any, x: np.ndarray, rows: pd.DataFrame) -> None:
    for place, mean, sd, mark in zip(x, rows["mean"], rows["sd"].fillna(0), rows["stars"], strict=True):
        if mark and isinstance(mark, str):
            axes.annotate(
                mark, (place, mean + sd), (0, 0), textcoords="offset points", ha="center", va="bottom", fontsize=8
            )


def _floor(table: pd.DataFrame) -> float:
    """Where the axis starts: the tenth below the lowest whisker, so that differences can be seen."""
    lowest = float((table["mean"] - table["sd"].fillna(0)).min())
    return max(0.0, math.floor(lowest * 10 - 0.2) / 10) if math.isfinite(lowest) else 0.0


def _caption(view: StudyView, table: pd.DataFrame, correction: Correction, floor: float) -> str:
    low, high = int(table["n"].min()), int(table["n"].max())
    number = f"{low}" if low == high else f"{low} to {high}"
    parts = [
        f"Sørensen-Dice index. a: means; error bars are 1 SD over {number} subjects. "
        "b: every subject (dots), means (diamonds) and their 95 % confidence intervals."
    ]
    if len(view.models) > 1:
        if table["p"].notna().any():
            kind = "uncorrected, as in the paper" if correction == "none" else "corrected by Holm's method"
            parts.append(f"Paired t-tests of {view.best} against each other model, {kind}: * p ≤ 0.05, ** p ≤ 0.001.")
        else:
            parts.append("No paired test of the models was possible.")
    if floor:
        parts.append(f"The axis of a starts at {floor:.1f}, not at 0.")
    parts += view.data.notes
    return " ".join(parts)
