"""What the page of a report says; `html/templates/report.html` says how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from paraspinal_nnunet.evaluation.figures.run import FigureResult
from paraspinal_nnunet.evaluation.report.answer import Answer
from paraspinal_nnunet.evaluation.report.plots import CaseEntry
from paraspinal_nnunet.evaluation.tables.table import Table
from paraspinal_nnunet.html.document import document
from paraspinal_nnunet.utils.text import number_text, pluralize, without_folders

_DENSE_COLUMNS, _DENSE_TEXT = 8, 36
_CASES_SHOWN = 10


@dataclass(frozen=True)
class ReportContent:
    """Everything that the page shows.

    Attributes:
        title: Heading.
        source: Where the numbers come from, in words.
        comparison: The recipes with their costs, where a study has recorded these.
        answer: The first lines.
        plots: From `plots.plot_data`.
        model: The model shown in detail.
        cases: One row per case of that model, the worst first: case, dice, structure and lowest (its lowest Dice).
        entries: Where each case can be looked at.
        viewer: The viewer's HTML with the embedded cases; ``''`` where there are none.
        tables: In the order to be shown.
        further_tables: Shown when the reader opens them.
        omissions: What is not shown, and why.
        figures: The paper's figures.
        methods: The paragraph to paste.
        settings: Model -> names and values.
        metrics: Name of the table of all numbers, beside the page.
        links: Title and relative path of further files.
    """

    title: str
    source: str
    comparison: Table | None
    answer: Answer
    plots: Mapping[str, Any]
    model: str
    cases: pd.DataFrame
    entries: Mapping[str, CaseEntry]
    viewer: str
    tables: Sequence[Table]
    further_tables: Sequence[Table]
    omissions: Sequence[str]
    figures: Sequence[FigureResult]
    methods: str
    settings: Mapping[str, Sequence[tuple[str, str]]]
    metrics: str
    links: Sequence[tuple[str, str]]


def report_html(content: ReportContent, folder: Path) -> str:
    """The whole page.

    Args:
        content: What to show.
        folder: Where the page will stand; figures are read from below it.
    """
    names = [each["name"] for each in content.plots["structures"]]
    return document(
        "report.html",
        content.title,
        parts=(*(["viewer"] if content.viewer else []), "report", "tables"),
        shows_neighbours=True,
        content=content,
        structures=[("", "mean of all"), *zip(names, names, strict=True)],
        models=[(each["name"], each["name"]) for each in content.plots["models"]],
        cases=[_case_row(row, content.entries[row["case"]]) for row in content.cases.to_dict("records")],
        most=_CASES_SHOWN,
        others=f"The other {pluralize(len(content.cases) - _CASES_SHOWN, 'case')}",
        embedded=_embedded(content),
        figures=[_figure(figure, folder) for figure in content.figures],
        is_dense=_is_dense,
    )


def _case_row(row: Mapping[str, Any], entry: CaseEntry) -> dict[str, str]:
    numbers = {name: number_text(row[name], missing="undefined") for name in ("dice", "lowest")}
    return {"case": entry.name, "file": entry.file, "structure": row["structure"], **numbers}


def _embedded(content: ReportContent) -> str:
    """Which cases can be looked at, in words."""
    embedded = sum(entry.embedded for entry in content.entries.values())
    others = sum(1 for entry in content.entries.values() if entry.file and not entry.embedded)
    if not embedded:
        return "No images are known to this evaluation, so there is nothing to look at."
    worst = f"The {pluralize(embedded, 'worst case')} of {content.model}"
    about = f"{worst} {'is' if embedded == 1 else 'are'} part of this page"
    if others:
        return f"{about}; {others} more are loaded from the folder 'cases' beside it when they are chosen above."
    return f"{about}."


def _is_dense(table: Table) -> bool:
    """Tables of many short cells keep each on one line and scroll sideways where the window is narrow."""
    longest = max((len(cell.text) for row in table.rows for cell in row.cells), default=0)
    return len(table.head) >= _DENSE_COLUMNS and longest <= _DENSE_TEXT


def _figure(figure: FigureResult, folder: Path) -> dict[str, Any]:
    known = {
        "number": figure.number,
        "title": figure.title,
        "caption": figure.caption,
        "problem": without_folders(figure.problem),
    }
    if figure.problem:
        return known
    png = next(path for path in figure.files if path.suffix == ".png")
    files = [(path.suffix[1:].upper(), path.relative_to(folder).as_posix()) for path in figure.files]
    return {**known, "picture": png.read_bytes(), "files": files}
