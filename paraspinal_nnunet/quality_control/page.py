"""The page of an inspection: findings, plots, tables and a viewer beside each case; one file that needs no network."""

import html
from collections.abc import Sequence
from functools import partial

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import ParaspinalError
from paraspinal_nnunet.html.viewer import ViewerCase, viewer_html
from paraspinal_nnunet.quality_control.classes import LabelClass
from paraspinal_nnunet.quality_control.dataset import CaseFiles
from paraspinal_nnunet.quality_control.display import legend, load_shown
from paraspinal_nnunet.quality_control.findings import Finding, Severity, counts, some
from paraspinal_nnunet.quality_control.outliers import RULE
from paraspinal_nnunet.quality_control.run import Inspection
from paraspinal_nnunet.quality_control.strip_plot import volume_strips
from paraspinal_nnunet.quality_control.text import Rows, fold_rows, opening, summary_rows, volume_rows
from paraspinal_nnunet.quality_control.volume_checks import PAPER_SOURCE
from paraspinal_nnunet.utils.text import pluralize
from paraspinal_nnunet.utils.workers import each

MOST_CASES = 30
"""Cases with a viewer, the worst first; a thousand of them would not fit into a page."""

SLICES_SHOWN = 16

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; color: #1c2430; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2.4rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #d5dbe3; vertical-align: top; }
.numbers td:not(:first-child), .numbers th:not(:first-child) { text-align: right; }
.wide { overflow-x: auto; }
.findings td:nth-child(2) { white-space: nowrap; } .findings td:nth-child(3) { min-width: 9em; }
.note { color: #4a5666; }
.severity { display: inline-block; min-width: 4.6em; padding: 0 .5em; border-radius: .6em; text-align: center;
  font-size: .85em; }
.problem { background: #b00000; color: #fff; } .look { background: #f2c744; color: #1c2430; }
.severity.note { background: #dfe4ea; color: #1c2430; }
.case { display: grid; grid-template-columns: minmax(16rem, 1fr) 2fr; gap: 1.4rem; align-items: start;
  border-top: 1px solid #d5dbe3; padding: 1rem 0; }
.case ul { padding: 0; margin: .4rem 0; list-style: none; } .case li { margin-bottom: .5rem; }
@media (max-width: 50rem) { .case { grid-template-columns: 1fr; } }
@media print { .case { break-inside: avoid; } }
"""


def inspection_page(inspection: Inspection, *, workers: int = 1) -> str:
    """The whole page.

    Args:
        inspection: What was found; the images of the cases shown are read again.
        workers: Number of processes.
    """
    name = html.escape(inspection.dataset.folder.name)
    found = counts(inspection.findings)
    shown = shown_cases(inspection)
    body = [
        f"<h1>{name}</h1>",
        f"<p>{opening(inspection)}: {found['problem']} problems, {found['look']} findings to look at, "
        f"{found['note']} notes.</p>",
        _findings(inspection.findings),
        "<h2>Muscle volumes</h2>",
        volume_strips(inspection.cases, inspection.volumes, inspection.findings),
        f"<p class='note'>Each point is a case; ringed ones have a finding on a volume. Grey: mean and 1, 2 and 3 SD "
        f"of the paper ({html.escape(PAPER_SOURCE)}). Volumes depend on the length that was labelled.</p>",
        _table(volume_rows(inspection)),
        "<h2>Images</h2>",
        _table(summary_rows(inspection)),
        *(["<h2>Folds</h2>", _table(folds)] if (folds := fold_rows(inspection)) else []),
        "<h2>Cases, the worst first</h2>",
        f"<p class='note'>{len(shown)} of {pluralize(len(inspection.cases), 'case')}.</p>",
        *_cases(inspection, shown, workers),
        f"<p class='note'>Outliers: {html.escape(RULE)}. paraspinal-nnunet {__version__}.</p>",
    ]
    head = f"<meta charset='utf-8'><title>{name}: inspection</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(body)}</body></html>\n"


def shown_cases(inspection: Inspection) -> list[str]:
    """The cases that get a viewer: those with the worst and the most findings first."""

    def badness(case: str) -> tuple[int | str, ...]:
        own = inspection.of_case(case)
        severities = [finding.severity for finding in own]
        worst = inspection.findings.index(own[0]) if own else len(inspection.findings)
        return (*(-severities.count(severity) for severity in Severity), worst, case)

    return sorted((facts.case for facts in inspection.cases), key=badness)[:MOST_CASES]


def _findings(findings: Sequence[Finding]) -> str:
    graver = [f for f in findings if f.severity is not Severity.NOTE]
    notes = [f for f in findings if f.severity is Severity.NOTE]
    listed = _finding_table(graver) if graver else "<p>Nothing that needs a look.</p>"
    if notes:
        listed += f"<details><summary>{len(notes)} notes</summary>{_finding_table(notes)}</details>"
    return f"<h2>Findings</h2>{listed}"


def _finding_table(findings: Sequence[Finding]) -> str:
    rows = "".join(
        f"<tr><td>{_badge(f)}</td><td>{html.escape(f.kind)}</td><td>{html.escape(some(f.cases) or 'all')}</td>"
        f"<td>{html.escape(f.text)}</td></tr>"
        for f in findings
    )
    head = "<tr><th></th><th>about</th><th>case</th><th>finding</th></tr>"
    return f"<div class='wide'><table class='findings'>{head}{rows}</table></div>"


def _badge(finding: Finding) -> str:
    return f"<span class='severity {finding.severity.word}'>{finding.severity.word}</span>"


def _table(rows: Rows) -> str:
    columns = max(map(len, rows))
    lines = []
    for number, row in enumerate(rows):
        cell = "td" if number else "th"
        wide = f" colspan='{columns - len(row) + 1}' style='text-align:left'" if len(row) < columns else ""
        cells = [f"<{cell}>{html.escape(text)}</{cell}>" for text in row[:-1]]
        lines.append(f"<tr>{''.join(cells)}<{cell}{wide}>{html.escape(row[-1])}</{cell}></tr>")
    return f"<div class='wide'><table class='numbers'>{''.join(lines)}</table></div>"


def _cases(inspection: Inspection, shown: Sequence[str], workers: int) -> list[str]:
    files = {own.case: own for own in inspection.dataset.cases}
    draw = partial(_viewer, classes=inspection.dataset.classes)
    viewers = each(draw, [files[case] for case in shown], workers=workers, what="page")
    return [
        f"<article class='case'><div>{_case_findings(inspection.of_case(case))}</div><div>{viewer}</div></article>"
        for case, viewer in zip(shown, viewers, strict=True)
    ]


def _case_findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p class='note'>no findings</p>"
    return "<ul>" + "".join(f"<li>{_badge(f)} {html.escape(f.text)}</li>" for f in findings) + "</ul>"


def _viewer(files: CaseFiles, *, classes: Sequence[LabelClass]) -> str:
    try:
        case = load_shown(files, classes)
        shown = ViewerCase(files.case, case.image, case.affine, case.labels, legend=legend(classes))
        return viewer_html([shown], files.case, most_slices=SLICES_SHOWN)
    except ParaspinalError as error:
        return f"<h3>{html.escape(files.case)}</h3><p class='note'>{html.escape(' '.join(str(error).split()))}</p>"
