"""Means and standard deviations of an evaluation's metrics, and the table that shows them."""

import math
from collections.abc import Sequence

import pandas as pd

from paraspinal_nnunet.evaluation.metrics.overlap import METRICS
from paraspinal_nnunet.utils.text import aligned, pluralize

ALL_MUSCLES = "all muscles"

_HEADINGS = {
    "dice": "Dice",
    "jaccard": "Jaccard",
    "conformity": "conformity",
    "tpr": "TPR",
    "tnr": "TNR",
    "ppv": "PPV",
    "volume_ratio": "volume ratio",
}


def summarise(metrics: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over cases.

    NaN values are left out and counted. The rows 'all muscles' average each case over its muscles first, so that their
    standard deviation is between cases; how many of all values enter them is counted, since a muscle that is missing in
    a case is not in that case's mean.

    Args:
        metrics: What `evaluate` returned.

    Returns:
        Columns model, muscle, side, metric, mean, sd (ddof 1; NaN with fewer than two values, or with an infinite
        one), n (cases used), skipped (cases left out), entered and entries (values of single muscles that enter the
        mean, and all that there are) and infinite (of those that enter), in the order of `metrics`.
    """
    rows: list[dict[str, object]] = []
    for model, of_model in metrics.groupby("model", sort=False):
        for (muscle, side), group in of_model.groupby(["muscle", "side"], sort=False):
            rows.extend(_row((model, muscle, side, metric), group[metric], group[metric]) for metric in METRICS)
        per_case = of_model.groupby("case", sort=False)[list(METRICS)].mean()
        rows.extend(_row((model, ALL_MUSCLES, "", m), per_case[m], of_model[m]) for m in METRICS)
    return pd.DataFrame(rows)


def format_summary(metrics: pd.DataFrame, titles: dict[str, str], columns: Sequence[str] = METRICS) -> str:
    """The mean (SD) table of each model as aligned text, three decimals.

    Args:
        metrics: What `evaluate` returned.
        titles: Model -> heading above its table.
        columns: Which metrics to show.
    """
    summary = summarise(metrics)
    return "\n\n".join(
        "\n".join([titles[str(model)], *_table(group, columns), *_skipped(group, columns)])
        for model, group in summary.groupby("model", sort=False)
    )


def entered_of(values: pd.Series) -> str:
    """How many of a mean's values enter it, where not all do: ``'23 of 24 values'``, else ``''``."""
    entered = int(values.notna().sum())
    return "" if entered == len(values) else f"{entered} of {pluralize(len(values), 'value')}"


def _row(key: tuple[object, str, str, str], values: pd.Series, entries: pd.Series) -> dict[str, object]:
    used = values.dropna()
    infinite = int(entries.isin([math.inf, -math.inf]).sum())
    finite = not used.isin([math.inf, -math.inf]).any()
    return {
        **dict(zip(("model", "muscle", "side", "metric"), key, strict=True)),
        "mean": float(used.mean()) if len(used) else math.nan,
        "sd": float(used.std(ddof=1)) if finite and len(used) > 1 else math.nan,
        "n": len(used),
        "skipped": len(values) - len(used),
        "entered": int(entries.notna().sum()),
        "entries": len(entries),
        "infinite": infinite,
    }


def _table(summary: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    lines = [("muscle", "side", *(_HEADINGS[c] for c in columns))]
    for (muscle, side), group in summary.groupby(["muscle", "side"], sort=False):
        cells = group.set_index("metric")
        texts = (f"{cells.at[c, 'mean']:.3f} ({cells.at[c, 'sd']:.3f})" for c in columns)
        lines.append((str(muscle).replace("_", " "), str(side), *texts))
    rows = aligned(lines).splitlines()
    return [rows[0], "-" * max(map(len, rows)), *rows[1:]]


def _skipped(summary: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """One line per muscle whose means leave out undefined values or hold infinite ones."""
    lines = []
    shown = summary[summary["metric"].isin(columns)]
    for (muscle, side), group in shown.groupby(["muscle", "side"], sort=False):
        name = f"{str(muscle).replace('_', ' ')} {side}".rstrip()
        left = [row for row in group.itertuples() if row.entered < row.entries]
        if left and muscle == ALL_MUSCLES:
            counts = ", ".join(f"{r.entered} of {r.entries} {_HEADINGS[str(r.metric)]}" for r in left)
            lines.append(f"values of single muscles that enter the mean, {name}: {counts}")
        elif left:
            counts = ", ".join(f"{r.entries - r.entered} {_HEADINGS[str(r.metric)]}" for r in left)
            lines.append(f"undefined and left out of the mean, {name}: {counts}")
        if infinite := [row for row in group.itertuples() if row.infinite]:
            counts = ", ".join(f"{r.infinite} {_HEADINGS[str(r.metric)]}" for r in infinite)
            lines.append(f"infinite and in the mean, {name}: {counts}")
    return lines
