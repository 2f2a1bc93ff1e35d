"""The page that ends the demonstration: what was run, the recipes with their costs, and every slice with overlays."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from PIL import Image

from paraspinal_nnunet import __version__
from paraspinal_nnunet.evaluation import read_metrics, read_record, summarise
from paraspinal_nnunet.evaluation.comparison.answer import comparison_table
from paraspinal_nnunet.evaluation.comparison.costs import read_costs
from paraspinal_nnunet.evaluation.comparison.view import view_study
from paraspinal_nnunet.evaluation.record import EvaluationRecord
from paraspinal_nnunet.evaluation.tables.table import to_html
from paraspinal_nnunet.html.viewer.page import contact_sheet, viewer_html
from paraspinal_nnunet.html.viewer.slices import ViewerCase
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.utils.files import read_json, write_text
from paraspinal_nnunet.workflow.settings import Study
from paraspinal_nnunet.workflow.state import marker
from paraspinal_nnunet.workflow.status import expected_jobs

TITLE = "Paraspinal muscles: demonstration on phantoms"
SHOWN_CASES = 3
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2430; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #d5dbe3; }
th:first-child, td:first-child { text-align: left; }
.totals tr:last-child td { font-weight: 600; border-top: 2px solid #1c2430; }
code { font-size: .85rem; }
.wide { overflow-x: auto; }
img { max-width: 100%; }
.note, tfoot { color: #4a5666; }
caption { font-weight: 600; text-align: left; }
tfoot td { font-size: .8rem; text-align: left; }
"""


def write_page(path: Path, study: Study, phantom_command: Sequence[str]) -> Path:
    """Write the self-contained page.

    Args:
        path: Where to.
        study: The demonstration's study, complete.
        phantom_command: What made its cohort, after `paraspinal`.

    Returns:
        `path`.
    """
    evaluation = study.folder / "evaluation" / "all"
    metrics, record, view = read_metrics(evaluation), read_record(evaluation), view_study(evaluation)
    costs = read_costs(evaluation)
    cases = _cases(metrics, record)
    sheet = contact_sheet(cases[:SHOWN_CASES], title="Phantoms that no model has seen, with their reference labels")
    recipes = "" if costs is None else f"<div class='wide'>{to_html(comparison_table(view, costs))}</div>"
    body = [
        f"<h1>{html.escape(TITLE)}</h1>",
        "<p>Computed scans of lumbar trunks stand in for patients. Networks were trained with the paper's protocol in "
        "2D and in 3D, the better one also with one level more, and nnU-Net's self-configured 2D network beside them, "
        f"all far shorter than they should be. {metrics['case'].nunique()} phantoms that none had seen were segmented."
        "</p>",
        f"<p><img alt='Slices of phantoms with reference labels' src='data:image/png;base64,{_png(sheet)}'></p>",
        recipes,
        "<h2>Dice of each muscle, mean (SD)</h2>",
        _table(metrics),
        "<p class='note'>The 3D arm and the baseline are trained for seconds here, to show how they are run, not to be "
        "judged. nnU-Net's default training mirrors images, which confuses left and right muscles.</p>",
        viewer_html(cases, "Every slice: reference and predictions"),
        "<h2>What was run</h2>",
        _commands(study, phantom_command),
        f"<p class='note'>paraspinal-nnunet {__version__}. The study's own report: <a href='report/report.html'>"
        "report/report.html</a>; all metrics: <code>evaluation/all/metrics.csv</code>.</p>",
    ]
    head = f"<meta charset='utf-8'><title>{html.escape(TITLE)}</title><style>{STYLE}</style>"
    write_text(path, f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(body)}</body></html>\n")
    return path


def mean_dice(metrics: pd.DataFrame, model: str) -> float:
    """Mean Dice of a model over all cases and muscles."""
    return float(metrics.loc[metrics["model"] == model, "dice"].mean())


def _table(metrics: pd.DataFrame) -> str:
    dice = summarise(metrics).query("metric == 'dice'")
    models = list(dict.fromkeys(dice["model"]))
    rows = ["<tr><th>muscle</th>" + "".join(f"<th>{html.escape(str(m))}</th>" for m in models) + "</tr>"]
    for (muscle, side), group in dice.groupby(["muscle", "side"], sort=False):
        cells = group.set_index("model")
        values = "".join(f"<td>{cells.at[m, 'mean']:.3f} ({cells.at[m, 'sd']:.3f})</td>" for m in models)
        name = f"{muscle} {side}".replace("_", " ").strip().capitalize()
        rows.append(f"<tr><td>{html.escape(name)}</td>{values}</tr>")
    return f"<div class='wide'><table class='totals'>{''.join(rows)}</table></div>"


def _commands(study: Study, phantom_command: Sequence[str]) -> str:
    """Every command in its order, with the seconds of the step that it belongs to."""
    rows = [(" ".join(["paraspinal", *phantom_command]), "")]
    total = 0.0
    for job in expected_jobs(study):
        content = read_json(marker(study.folder, job))
        seconds = float(content.get("seconds", 0))
        total += seconds
        commands = content["commands"] or [f"paraspinal study step {' '.join(job.parts)}"]
        rows += [(command, f"{seconds:.0f}") for command in commands]
    rows.append(("all", f"{total:.0f}"))
    lines = "".join(f"<tr><td><code>{html.escape(line)}</code></td><td>{took}</td></tr>" for line, took in rows)
    return f"<div class='wide'><table class='totals'><tr><th>command</th><th>seconds</th></tr>{lines}</table></div>"


def _png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _cases(metrics: pd.DataFrame, record: EvaluationRecord) -> list[ViewerCase]:
    """Worst case first, by the first model's Dice."""
    first = next(iter(record.models))
    order = metrics[metrics["model"] == first].groupby("case")["dice"].mean().sort_values().index
    cases = []
    for case in order:
        files = {name: model.cases[case] for name, model in record.models.items()}
        image_file = files[first].image
        if image_file is None:
            continue
        image = read_image(image_file)
        dice = ", ".join(f"{name} {_case_dice(metrics, name, case):.3f}" for name in files)
        cases.append(
            ViewerCase(
                name=str(case),
                image=image.array,
                affine=image.affine,
                reference=read_labels(files[first].reference).array,
                predictions={name: read_labels(f.prediction).array for name, f in files.items()},
                caption=f"mean Dice: {dice}",
            )
        )
    return cases


def _case_dice(metrics: pd.DataFrame, model: str, case: str) -> float:
    return float(metrics.loc[(metrics["model"] == model) & (metrics["case"] == case), "dice"].mean())
