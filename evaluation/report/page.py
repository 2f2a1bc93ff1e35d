"""The report as one HTML page: every piece of text escaped, pictures and scripts inside, nothing fetched."""

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from paraspinal_nnunet import __version__
from paraspinal_nnunet.evaluation.figures.run import FigureResult
from paraspinal_nnunet.evaluation.report.answer import Answer
from paraspinal_nnunet.evaluation.report.plots import CaseEntry
from paraspinal_nnunet.evaluation.tables.table import Table, to_html

_ASSETS = resources.files("paraspinal_nnunet.evaluation.report") / "assets"
_DENSE_COLUMNS, _DENSE_TEXT = 8, 36
_SECTIONS = (
    *(
        ("comparison", "Recipes"),
        ("answer", "Answer"),
        ("plots", "Case by case"),
        ("worst", "Worst cases"),
        ("cases-section", "Viewer"),
    ),
    *(("tables", "Tables"), ("figures", "Figures"), ("methods", "Methods"), ("settings", "Settings")),
)


@dataclass(frozen=True)
class ReportContent:
    """Everything that the page shows.

    Attributes:
        title: Heading.
        source: Where the numbers come from, in words.
        comparison: The recipes with their costs, where a study has recorded these.
        answer: The first lines.
        plots: From `report_data.plot_data`.
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
    links: Sequence[tuple[str, str]]


def report_html(content: ReportContent, folder: Path) -> str:
    """The whole page.

    Args:
        content: What to show.
        folder: Where the page will stand; figures are read from below it.
    """
    sections = {
        "comparison": "" if content.comparison is None else _table(content.comparison),
        "answer": _answer(content),
        "plots": _plots(content),
        "worst": _worst(content),
        "cases-section": _viewer(content),
        "tables": _tables(content),
        "figures": "".join(_figure(figure, folder) for figure in content.figures),
        "methods": f"<p>Ready to paste:</p><pre class='paste'>{_text(content.methods)}</pre>",
        "settings": _settings(content.settings),
    }
    shown = [(key, name) for key, name in _SECTIONS if sections[key] or key != "comparison"]
    contents = "".join(f"<a href='#{key}'>{name}</a>" for key, name in shown)
    body = "".join(_section(key, name, sections[key]) for key, name in shown)
    # Inside a script element only '<' could end it or open a comment.
    data = json.dumps(content.plots, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{_text(content.title)}</title>\n<style>\n{_asset('report.css')}</style>\n</head>\n<body>\n"
        f"<h1>{_text(content.title)}</h1>\n<p class='soft'>{_text(content.source)}</p>\n<nav>{contents}</nav>\n{body}"
        f"<p class='soft'>Made by paraspinal-nnunet {__version__}.</p>\n<div id='tip' hidden></div>\n"
        f"<script type='application/json' id='report-data'>{data}</script>\n"
        f"<script>\n{_asset('report.js')}</script>\n</body>\n</html>\n"
    )


def _section(key: str, name: str, inside: str) -> str:
    heading = "" if key in ("comparison", "answer") else f"<h2>{name}</h2>"
    return f"<section id='{key}'>{heading}{inside}</section>\n"


def _answer(content: ReportContent) -> str:
    sentences = "".join(f"<p>{_text(sentence)}</p>" for sentence in content.answer.sentences)
    facts = "".join(
        f"<div><dt>{_text(fact.name)}</dt><dd>{_text(fact.value)}<small>{_text(fact.about)}</small></dd></div>"
        for fact in content.answer.facts
    )
    warnings = "".join(f"<div class='warning'>{_text(warning)}</div>" for warning in content.answer.warnings)
    return f"<div class='answer'>{sentences}</div>{warnings}<dl class='facts'>{facts}</dl>"


def _plots(content: ReportContent) -> str:
    structures = [("", "mean of all")] + [(each["name"], each["name"]) for each in content.plots["structures"]]
    models = [(each["name"], each["name"]) for each in content.plots["models"]]
    return (
        "<p class='soft no-print'>Point at a dot to see its case in all three plots; click it to look at the case.</p>"
        f"<div class='controls'><label>Structure {_select('pick-structure', structures, '')}</label>"
        f"<label>Model of the volumes {_select('pick-model', models, content.model)}</label></div>"
        "<div class='plots'>"
        "<div><h3>Dice of every case</h3><p class='soft' id='dice-of'></p><div id='plot-dice'></div></div>"
        "<div><h3>Bland-Altman</h3><p class='soft plot-of'></p><div id='plot-agreement'></div></div>"
        "<div><h3>Correlation</h3><p class='soft plot-of'></p><div id='plot-correlation'></div></div></div>"
        "<p class='soft'>Dashed: mean difference, limits of agreement (± 1.96 SD) and best fit; grey: equality. Lines "
        "are computed over subjects, dots are cases. All numbers: "
        f"{_link('metrics.csv', 'metrics.csv')}.</p>"
    )


def _worst(content: ReportContent) -> str:
    most = 10
    rows = [_case_row(row, content.entries[row["case"]]) for row in content.cases.to_dict("records")]
    head = "<thead><tr><th>case</th><th>mean Dice</th><th>lowest structure</th><th>its Dice</th><th></th></tr></thead>"
    first = f"<div class='wide'><table>{head}<tbody>{''.join(rows[:most])}</tbody></table></div>"
    if len(rows) > most:
        rest = f"<div class='wide'><table>{head}<tbody>{''.join(rows[most:])}</tbody></table></div>"
        first += f"<details><summary>The other {len(rows) - most} cases</summary>{rest}</details>"
    return f"<p>Cases of {_text(content.model)}, the lowest mean Dice first.</p>{first}"


def _case_row(row: Mapping[str, Any], entry: CaseEntry) -> str:
    name = _text(entry.name)
    shown = f"<a href='#case={quote(entry.name, safe='')}'>{name}</a>" if entry.file else name
    page = _link("all slices", entry.file) if entry.file else "no image"
    cells = (shown, _number(row["dice"]), _text(row["structure"]), _number(row["lowest"]), page)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _viewer(content: ReportContent) -> str:
    embedded = [entry.name for entry in content.entries.values() if entry.embedded]
    others = sum(1 for entry in content.entries.values() if entry.file and not entry.embedded)
    if not embedded:
        about = "No images are known to this evaluation, so there is nothing to look at."
    else:
        worst = "case" if len(embedded) == 1 else "cases"
        verb = "is" if len(embedded) == 1 else "are"
        about = f"The {len(embedded)} worst {worst} of {content.model} {verb} part of this page" + (
            f"; {others} more are loaded from the folder 'cases' beside it when they are chosen above."
            if others
            else "."
        )
    return (
        f"<p class='soft'>{_text(about)}</p><p id='shown-case'></p><div id='embedded'>{content.viewer}</div>"
        "<div id='other-case'></div>"
    )


def _tables(content: ReportContent) -> str:
    tables = "".join(map(_table, content.tables))
    tables += "".join(
        f"<details><summary>{_text(table.title)}</summary>{_table(table)}</details>" for table in content.further_tables
    )
    links = _links(content.links)
    more = f"<p class='no-print'>Files: {links}.</p>" if links else ""
    if not content.omissions:
        return tables + more
    items = "".join(f"<li>{_text(omission)}</li>" for omission in content.omissions)
    return f"{tables}{more}<details><summary>Not computed</summary><ul>{items}</ul></details>"


def _table(table: Table) -> str:
    """Tables of many short cells keep each on one line and scroll sideways where the window is narrow."""
    longest = max((len(cell.text) for row in table.rows for cell in row.cells), default=0)
    dense = " dense" if len(table.head) >= _DENSE_COLUMNS and longest <= _DENSE_TEXT else ""
    return f"<div class='wide{dense}'>{to_html(table)}</div>"


def _figure(figure: FigureResult, folder: Path) -> str:
    heading = f"Figure {figure.number}"
    if figure.problem:
        return f"<p class='warning'>{heading} is not drawn: {_text(figure.problem)}.</p>"
    png = next(path for path in figure.files if path.suffix == ".png")
    picture = base64.b64encode(png.read_bytes()).decode("ascii")
    files = _links((path.suffix[1:].upper(), path.relative_to(folder).as_posix()) for path in figure.files)
    return (
        f"<figure><img alt='{heading}: {_text(figure.title)}' src='data:image/png;base64,{picture}'>"
        f"<figcaption><b>{heading}. {_text(figure.title)}.</b> {_text(figure.caption)}"
        f" <span class='files no-print'>{files}</span></figcaption></figure>"
    )


def _settings(settings: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    parts = []
    for model, pairs in settings.items():
        rows = "".join(f"<tr><td>{_text(key)}</td><td><code>{_text(value)}</code></td></tr>" for key, value in pairs)
        parts.append(
            f"<details><summary>{_text(model)}</summary><div class='wide'><table><tbody>{rows}</tbody></table></div>"
            "</details>"
        )
    return "".join(parts)


def _select(identifier: str, choices: Iterable[tuple[str, str]], chosen: str) -> str:
    options = "".join(
        f"<option value='{_text(value)}'{' selected' if value == chosen else ''}>{_text(name)}</option>"
        for value, name in choices
    )
    return f"<select id='{identifier}'>{options}</select>"


def _links(links: Iterable[tuple[str, str]]) -> str:
    return ", ".join(_link(title, path) for title, path in links)


def _link(title: str, path: str) -> str:
    return f"<a href='{_text(quote(path))}'>{_text(title)}</a>"


def _number(value: float) -> str:
    return "undefined" if pd.isna(value) else f"{value:.3f}"


def _text(text: object) -> str:
    return html.escape(str(text))


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
