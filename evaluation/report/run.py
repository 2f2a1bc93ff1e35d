"""The report of an evaluation: one page that opens offline, with figures, tables and every case beside it."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from paraspinal_nnunet.errors import InputError, StatisticsError
from paraspinal_nnunet.evaluation.comparison.answer import comparison_table
from paraspinal_nnunet.evaluation.comparison.costs import read_costs
from paraspinal_nnunet.evaluation.comparison.run import StudyStatistics
from paraspinal_nnunet.evaluation.comparison.view import StudyView, view_study, worst_first
from paraspinal_nnunet.evaluation.figures.run import FigureOptions, write_figures
from paraspinal_nnunet.evaluation.record import METRICS_FILE
from paraspinal_nnunet.evaluation.report.answer import answer
from paraspinal_nnunet.evaluation.report.cases import case_entries, viewer_case, write_case_pages
from paraspinal_nnunet.evaluation.report.methods import methods_text, model_settings
from paraspinal_nnunet.evaluation.report.page import ReportContent, report_html
from paraspinal_nnunet.evaluation.report.plots import CaseEntry, plot_data
from paraspinal_nnunet.evaluation.report.statistics import (
    computed_statistics,
    further_tables,
    read_statistics,
    report_tables,
    statistics_file,
)
from paraspinal_nnunet.evaluation.tables.table import Table
from paraspinal_nnunet.html.viewer.page import viewer_html
from paraspinal_nnunet.utils.files import atomic_path, write_text
from paraspinal_nnunet.utils.tables import table_path
from paraspinal_nnunet.utils.text import pluralize, without_folders

REPORT_FILE = "report.html"
UNFINISHED = ".report.unfinished"
"""Stands in the folder while a report is written: after a stop it may be written there again."""
FIGURES_FOLDER = "figures"
EMBEDDED_CASES = 4
EMBEDDED_SLICES = 24


@dataclass(frozen=True)
class ReportOptions:
    """What can be chosen.

    Attributes:
        model: The model to show in detail; None takes the best.
        case: The case of Figures 3 and 4; None takes the typical one.
        embed: How many of the worst cases go into the page itself.
        figures: See `FigureOptions`.
        workers: Cases at a time; None takes one per core.
    """

    model: str | None = None
    case: str | None = None
    embed: int = EMBEDDED_CASES
    figures: FigureOptions = field(default_factory=FigureOptions)
    workers: int | None = None


def write_report(
    evaluation: Path, output: Path, *, statistics: Path | None = None, options: ReportOptions | None = None
) -> Path:
    """Write report.html, figures/, cases/, statistics/ and metrics.tsv.

    Args:
        evaluation: Folder that `paraspinal evaluate` wrote.
        output: New folder, or one with an earlier report, whose files are replaced.
        statistics: Folder that `paraspinal statistics` wrote from the same evaluation; None computes them here.
        options: What can be chosen.

    Returns:
        The page.

    Raises:
        InputError: Missing or unreadable files, unknown names, or an output folder that holds something else.
        GeometryError: Images and label maps that do not match.
        SetupError: matplotlib is not installed.
    """
    evaluation, output = Path(evaluation), Path(output)
    options = options or ReportOptions()
    _check_output(output, evaluation)
    unfinished = output / UNFINISHED
    view_study(evaluation, model=options.model).showing(options.case)  # refuses wrong names before the long work
    if statistics is not None:
        statistics_file(statistics)
    write_text(unfinished, "A report is written here, or its writing was cut off: write it again.\n")
    if statistics is None:
        study, files = computed_statistics(evaluation, output)
    else:
        study, files = read_statistics(Path(statistics), evaluation, output)
    view = view_study(evaluation, model=options.model, data=study.data).showing(options.case)
    figures = write_figures(view, output / FIGURES_FOLDER, options.figures)
    entries = case_entries(view, embed=options.embed)
    write_case_pages(view, list(entries.values()), output, workers=options.workers)
    metrics = table_path(evaluation, METRICS_FILE)
    with atomic_path(output / metrics.name) as temporary:
        shutil.copyfile(metrics, temporary)
    content = ReportContent(
        title="Segmentation of the paraspinal muscles: evaluation report",
        source=f"{pluralize(view.metrics['case'].nunique(), 'case')} of "
        f"{pluralize(view.metrics['subject'].nunique(), 'subject')}; models: "
        f"{', '.join(view.models)}",
        comparison=_comparison(view, evaluation),
        answer=answer(view),
        plots=plot_data(view, entries),
        model=view.model,
        cases=_worst_table(view),
        entries=entries,
        viewer=_viewer(view, entries),
        tables=report_tables(study),
        further_tables=further_tables(study),
        omissions=_omissions(study),
        figures=figures,
        methods=methods_text(view, study.analyses),
        settings={name: model_settings(model) for name, model in view.record.models.items()},
        metrics=metrics.name,
        links=[(path.name, path.relative_to(output).as_posix()) for path in files],
    )
    page = output / REPORT_FILE
    write_text(page, report_html(content, output))
    unfinished.unlink()
    return page


def _check_output(output: Path, evaluation: Path) -> None:
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; give a folder")
    if output.resolve() == evaluation.resolve():
        raise InputError(f"output {output} is the evaluation itself; give another folder, e.g. {output / 'report'}")
    own = any((output / name).is_file() for name in (REPORT_FILE, UNFINISHED))
    if output.is_dir() and any(output.iterdir()) and not own:
        raise InputError(f"output {output} holds files but no {REPORT_FILE}; give a new folder")


def _comparison(view: StudyView, evaluation: Path) -> Table | None:
    costs = read_costs(evaluation)
    try:
        return None if costs is None else comparison_table(view, costs)
    except StatisticsError:  # no subject has all models; the answer says so
        return None


def _worst_table(view: StudyView) -> pd.DataFrame:
    rows = []
    of_model = view.metrics[view.metrics["model"] == view.model]
    for case, dice in worst_first(view.metrics, view.model).items():
        values = of_model[of_model["case"] == case].set_index("structure")["dice"]
        known = values.dropna()
        structure = str(known.idxmin()) if len(known) else ""
        rows.append({"case": str(case), "dice": dice, "structure": structure, "lowest": known.min()})
    return pd.DataFrame(rows)


def _viewer(view: StudyView, entries: dict[str, CaseEntry]) -> str:
    embedded = [viewer_case(view, entry.name) for entry in entries.values() if entry.embedded]
    if not embedded:
        return ""
    return viewer_html(embedded, f"Worst cases of {view.model}", most_slices=EMBEDDED_SLICES)


def _omissions(study: StudyStatistics) -> list[str]:
    return [without_folders(f"{omission.what}: {omission.why}") for omission in study.omissions]
