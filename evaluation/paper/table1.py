"""Table 1 in the paper's form, alone and beside the published one."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.comparison.data import StudyData, muscle_name
from paraspinal_nnunet.evaluation.metrics.overlap import METRICS
from paraspinal_nnunet.evaluation.paper.published import SOURCE, VOLUME_ICC, contradictions_of, published_table1
from paraspinal_nnunet.evaluation.statistics.reliability import icc_2_1
from paraspinal_nnunet.evaluation.tables.table import Cell, Footnotes, Row, Table, heading_row
from paraspinal_nnunet.utils.text import pluralize

LABELS: Mapping[str, str] = {
    "dice": "Sørensen-Dice index",
    "jaccard": "Jaccard index",
    "conformity": "Conformity index",
    "tpr": "True positive rate",
    "tnr": "True negative rate",
    "ppv": "Positive predictive value",
    "volume_ratio": "Volume ratio",
    VOLUME_ICC: "Volume ICC(2,1) (95 % CI)",
}
"""Metric -> its row in Table 1, in the paper's order."""

DECIMALS = 3
IDEAL = {"volume_ratio": 1.0}
"""Metrics whose best value is not the highest one."""

_SEPARATOR = " || "
"""Between several contradictions of one cell."""

VALUE_COLUMNS = ("model", "muscle", "metric", "mean", "sd", "ci_low", "ci_high", "n", "skipped", "infinite")


def table1_values(data: StudyData) -> pd.DataFrame:
    """The numbers of Table 1 at full precision.

    Per subject values give mean and SD (ddof 1; NaN with fewer than two values or with an infinite one); undefined
    values are left out and counted. The ICC is that of reference and predicted volume over the subjects.

    Returns:
        One row per model, muscle and metric of `LABELS`, with `VALUE_COLUMNS`; muscle as in `StudyData.muscles`. For
        the ICC `mean` is the coefficient with its interval, NaN with fewer than two subjects.
    """
    rows = []
    for (model, muscle), group in data.table.groupby(["model", "muscle"], sort=True, observed=True):
        key = {"model": str(model), "muscle": str(muscle)}
        rows += [key | {"metric": metric} | _moments(group[metric]) for metric in METRICS]
        rows.append(key | {"metric": VOLUME_ICC} | _volume_icc(group))
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS))


def table1(data: StudyData, *, titles: Mapping[str, str] | None = None) -> Table:
    """Table 1: one block per muscle, one row per metric, one column per model; the best of a row in bold.

    Best is the highest, for the volume ratio the nearest to 1, as printed; a row whose cells all print the same has
    none.

    Args:
        data: The study.
        titles: Model -> column heading, where it differs from the name.
    """
    values = table1_values(data).set_index(["model", "muscle", "metric"])
    notes = Footnotes()
    rows: list[Row] = []
    for muscle in data.muscles:
        rows.append(heading_row(muscle))
        for metric in LABELS:
            found = [_lookup(values, model, muscle, metric) for model in data.models]
            best = _best(found, metric)
            cells = [
                Cell(cell_text(value), bold=bold, notes=_skipped_note(value, notes))
                for value, bold in zip(found, best, strict=True)
            ]
            rows.append(Row((Cell(LABELS[metric]), *cells)))
    head = ("", *((titles or {}).get(model, model) for model in data.models))
    remarks = [f"Data are mean (SD) over subjects{_counts(data)}; the ICC has its 95 % confidence interval."]
    if len(data.models) > 1:
        remarks.append("Bold: best of the row as printed, i.e. the highest, for the volume ratio the nearest to 1.")
    remarks += [f"{model}: {kind}." for model, kind in data.kinds.items() if "training" in kind]
    return Table("Table 1. Performance of the models", head, tuple(rows), notes.entries, tuple(remarks))


def table1_beside_published(data: StudyData, published: Mapping[str, str]) -> Table:
    """Our Table 1 beside the paper's, cell by cell.

    'in' is our mean, as printed, within the published mean +- the published SD (for the ICC within the published
    interval), 'out' is outside. Contradictions within the paper are footnotes of the cells that they concern.

    Args:
        data: The study.
        published: Our model -> heading in the paper, as from `design.published_names`.

    Raises:
        StatisticsError: No model stands for one of the paper's, or no muscle is the paper's.
    """
    beside = beside_published(data, published)
    notes = Footnotes()
    rows: list[Row] = []
    for muscle, block in beside.groupby("muscle", sort=False):
        rows.append(heading_row(str(muscle)))
        for metric, cells in block.groupby("metric", sort=False):
            rows.append(Row((Cell(LABELS[str(metric)]), *_pairs(cells, notes))))
    head = ["", *(text for ours, theirs in published.items() for text in (ours, f"published: {theirs}"))]
    inside = int((beside["verdict"] == "in").sum())
    remarks = (
        "in: our mean, as printed, lies within the published mean ± the published SD (ICC: within the published 95 % "
        f"confidence interval); out: outside. {inside} of {len(beside)} cells are in.",
        f"Published: {SOURCE}, Table 1. Another cohort, scanner and rater: in or out is no test.",
    )
    return Table("Table 1 beside the published one", tuple(head), tuple(rows), notes.entries, remarks)


def beside_published(data: StudyData, published: Mapping[str, str]) -> pd.DataFrame:
    """The comparison of `table1_beside_published` as data.

    Returns:
        One row per muscle, metric and model: muscle, metric, model, published_model, mean, sd, ci_low, ci_high,
        published_mean, published_sd, published_ci_low, published_ci_high, printed, low, high (what counts as in),
        verdict (``'in'``, ``'out'``, or ``''`` where ours is undefined), contradictions.

    Raises:
        StatisticsError: As `table1_beside_published`.
    """
    if not published:
        raise StatisticsError("no model stands for one of the paper's four arms; a design tells which does")
    ours = table1_values(data).set_index(["model", "muscle", "metric"])
    theirs = published_table1()
    theirs["name"] = [muscle_name(m, s) for m, s in zip(theirs["muscle"], theirs["side"], strict=True)]
    cells = {(row["model"], row["name"], row["metric"]): row for row in theirs.to_dict("records")}
    rows = [
        _beside(_lookup(ours, model, muscle, metric), cells[heading, muscle, metric], model, muscle)
        for muscle in data.muscles
        for metric in LABELS
        for model, heading in published.items()
        if (heading, muscle, metric) in cells
    ]
    if not rows:
        raise StatisticsError(f"none of the muscles is in the paper's Table 1: {', '.join(data.muscles)}")
    return pd.DataFrame(rows)


def cell_text(value: pd.Series | None) -> str:
    """A cell as the paper prints it: ``'0.905 (0.021)'``, ``'0.967 (0.949–0.979)'``; ``'–'`` where undefined."""
    if value is None or math.isnan(value["mean"]):
        return "–"
    mean = _number(value["mean"])
    if not math.isnan(value["ci_low"]):
        return f"{mean} ({_number(value['ci_low'])}–{_number(value['ci_high'])})"
    return mean if math.isnan(value["sd"]) else f"{mean} ({_number(value['sd'])})"


def _moments(column: pd.Series) -> dict[str, float]:
    used = column.dropna()
    infinite = int(used.isin([math.inf, -math.inf]).sum())
    return {
        "mean": float(used.mean()) if len(used) else math.nan,
        "sd": float(used.std(ddof=1)) if not infinite and len(used) > 1 else math.nan,
        "ci_low": math.nan,
        "ci_high": math.nan,
        "n": len(used),
        "skipped": len(column) - len(used),
        "infinite": infinite,
    }


def _volume_icc(group: pd.DataFrame) -> dict[str, float]:
    volumes = group[["reference_ml", "prediction_ml"]].dropna()
    row = {"mean": math.nan, "sd": math.nan, "ci_low": math.nan, "ci_high": math.nan}
    if len(volumes) > 1:
        found = icc_2_1(volumes["reference_ml"].to_numpy(), volumes["prediction_ml"].to_numpy())
        row |= {"mean": found.icc, "ci_low": found.ci_low, "ci_high": found.ci_high}
    return row | {"n": len(volumes), "skipped": len(group) - len(volumes), "infinite": 0}


def _lookup(values: pd.DataFrame, model: str, muscle: str, metric: str) -> pd.Series | None:
    return values.loc[(model, muscle, metric)] if (model, muscle, metric) in values.index else None


def _number(number: float) -> str:
    return f"{number:.{DECIMALS}f}" if math.isfinite(number) else ("–∞" if number < 0 else "∞")


def _best(found: Sequence[pd.Series | None], metric: str) -> list[bool]:
    scores = []
    for value in found:
        mean = math.nan if value is None else round(float(value["mean"]), DECIMALS)
        scores.append(-round(abs(mean - IDEAL[metric]), DECIMALS) if metric in IDEAL else mean)
    known = [score for score in scores if not math.isnan(score)]
    if len(known) < 2 or len(set(known)) == 1:
        return [False] * len(found)
    return [score == max(known) for score in scores]


def _skipped_note(value: pd.Series | None, notes: Footnotes) -> tuple[str, ...]:
    if value is None:
        return ()
    texts = []
    if value["skipped"]:
        left_out = pluralize(int(value["skipped"]), "undefined value")
        texts.append(f"{left_out} left out, n = {int(value['n'])}.")
    if value["infinite"]:
        texts.append(f"{int(value['infinite'])} of {int(value['n'])} values infinite.")
    return tuple(map(notes.mark, texts))


def _counts(data: StudyData) -> str:
    counts = data.table.groupby("model", observed=True)["subject"].nunique()
    if counts.nunique() == 1:
        return f" (n = {counts.iloc[0]})"
    return " (n = " + ", ".join(f"{n} {model}" for model, n in counts.items()) + ")"


def _beside(ours: pd.Series | None, theirs: Mapping, model: str, muscle: str) -> dict:
    is_icc = theirs["metric"] == VOLUME_ICC
    low = theirs["ci_low"] if is_icc else theirs["mean"] - theirs["sd"]
    high = theirs["ci_high"] if is_icc else theirs["mean"] + theirs["sd"]
    low, high = round(low, DECIMALS), round(high, DECIMALS)
    mean = math.nan if ours is None else round(float(ours["mean"]), DECIMALS)
    numbers = ("mean", "sd", "ci_low", "ci_high")
    key = (theirs["model"], theirs["muscle"], theirs["side"], theirs["metric"])
    return {
        "muscle": muscle,
        "metric": theirs["metric"],
        "model": model,
        "published_model": theirs["model"],
        **{name: math.nan if ours is None else float(ours[name]) for name in numbers},
        **{f"published_{name}": theirs[name] for name in numbers},
        "printed": theirs["printed"],
        "low": low,
        "high": high,
        "verdict": "" if math.isnan(mean) else "in" if low <= mean <= high else "out",
        "contradictions": _SEPARATOR.join(contradictions_of(key)),
    }


def _pairs(cells: pd.DataFrame, notes: Footnotes) -> list[Cell]:
    pairs = []
    for _, row in cells.iterrows():
        ours = cell_text(row)
        marks = tuple(notes.mark(text) for text in row["contradictions"].split(_SEPARATOR) if text)
        pairs += [Cell(f"{ours} {row['verdict']}".strip()), Cell(row["printed"], notes=marks)]
    return pairs
