"""The page of an inspection: findings, plots, tables and a viewer beside each case; one file that needs no network."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from markupsafe import Markup

from paraspinal_nnunet.errors import ParaspinalError, one_line
from paraspinal_nnunet.html.document import document
from paraspinal_nnunet.html.tables import rows_table
from paraspinal_nnunet.html.viewer import ViewerCase, viewer_html
from paraspinal_nnunet.quality_control.checks.outliers import RULE
from paraspinal_nnunet.quality_control.checks.volumes import PAPER_SOURCE
from paraspinal_nnunet.quality_control.classes import LabelClass
from paraspinal_nnunet.quality_control.dataset import CaseFiles
from paraspinal_nnunet.quality_control.display import legend, load_shown
from paraspinal_nnunet.quality_control.findings import Severity, counts
from paraspinal_nnunet.quality_control.run import Inspection
from paraspinal_nnunet.quality_control.strip_plot import volume_strips
from paraspinal_nnunet.quality_control.text import fold_rows, opening, summary_rows, volume_rows
from paraspinal_nnunet.utils.text import pluralize, some
from paraspinal_nnunet.utils.workers import each

MOST_CASES = 30
"""Cases with a viewer, the worst first; a thousand of them would not fit into a page."""

SLICES_SHOWN = 16


def inspection_page(inspection: Inspection, *, workers: int = 1) -> str:
    """The whole page.

    Args:
        inspection: What was found; the images of the cases shown are read again.
        workers: Number of processes.
    """
    found = counts(inspection.findings)
    shown = shown_cases(inspection)
    name = inspection.dataset.folder.name
    folds = fold_rows(inspection)
    notes = [f for f in inspection.findings if f.severity is Severity.NOTE]
    return document(
        "inspection.html",
        f"{name}: inspection",
        parts=("inspection", "viewer", "tables"),
        name=name,
        opening=f"{opening(inspection)}: {pluralize(found['problem'], 'problem')}, "
        f"{pluralize(found['look'], 'finding')} to look at, {pluralize(found['note'], 'note')}.",
        graver=[f for f in inspection.findings if f.severity is not Severity.NOTE],
        notes=notes,
        notes_heading=pluralize(len(notes), "note"),
        some=some,
        strips=Markup(volume_strips(inspection.cases, inspection.volumes, inspection.findings)),
        paper_source=PAPER_SOURCE,
        volumes=rows_table(volume_rows(inspection)),
        images=rows_table(summary_rows(inspection)),
        folds=rows_table(folds) if folds else None,
        shown=f"{len(shown)} of {pluralize(len(inspection.cases), 'case')}.",
        cases=_cases(inspection, shown, workers),
        rule=RULE,
    )


def shown_cases(inspection: Inspection) -> list[str]:
    """The cases that get a viewer: those with the worst and the most findings first."""

    def badness(case: str) -> tuple[int | str, ...]:
        own = inspection.of_case(case)
        severities = [finding.severity for finding in own]
        worst = inspection.findings.index(own[0]) if own else len(inspection.findings)
        return (*(-severities.count(severity) for severity in Severity), worst, case)

    return sorted((facts.case for facts in inspection.cases), key=badness)[:MOST_CASES]


def _cases(inspection: Inspection, shown: Sequence[str], workers: int) -> list[dict[str, Any]]:
    files = {own.case: own for own in inspection.dataset.cases}
    draw = partial(_viewer, classes=inspection.dataset.classes)
    viewers = each(draw, [files[case] for case in shown], workers=workers, what="page")
    return [
        {"name": case, "findings": inspection.of_case(case), "viewer": viewer, "problem": problem}
        for case, (viewer, problem) in zip(shown, viewers, strict=True)
    ]


def _viewer(files: CaseFiles, *, classes: Sequence[LabelClass]) -> tuple[str, str]:
    """A case's viewer, or why there is none."""
    try:
        case = load_shown(files, classes)
        shown = ViewerCase(files.case, case.image, case.affine, case.labels, legend=legend(classes))
        return viewer_html([shown], files.case, most_slices=SLICES_SHOWN), ""
    except ParaspinalError as error:
        return "", one_line(error)
