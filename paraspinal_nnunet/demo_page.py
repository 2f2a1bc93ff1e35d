"""The page that ends the demonstration: what was run, the table, and every slice with its overlays."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from paraspinal_nnunet import __version__
from paraspinal_nnunet.evaluation import read_metrics, read_record, summarise
from paraspinal_nnunet.evaluation.record import EvaluationRecord
from paraspinal_nnunet.files import write_text
from paraspinal_nnunet.nifti import read_image, read_labels
from paraspinal_nnunet.viewer.page import viewer_html
from paraspinal_nnunet.viewer.slices import ViewerCase

if TYPE_CHECKING:
    from paraspinal_nnunet.demo import Step

TITLE = "Paraspinal muscles: demonstration on phantoms"
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1c2430; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #d5dbe3; }
th:first-child, td:first-child { text-align: left; }
tr:last-child td { font-weight: 600; border-top: 2px solid #1c2430; }
code { font-size: .85rem; }
.wide { overflow-x: auto; }
.note { color: #4a5666; }
"""


def write_page(path: Path, evaluation: Path, steps: Sequence["Step"], seconds: Mapping[str, float]) -> Path:
    """Write the self-contained page.

    Args:
        path: Where to.
        evaluation: Folder of `paraspinal evaluate`.
        steps: What was run.
        seconds: Step name -> how long it took.

    Returns:
        `path`.
    """
    metrics, record = read_metrics(evaluation), read_record(evaluation)
    viewer = viewer_html(_cases(metrics, record), "Every slice: reference and predictions")
    body = [
        f"<h1>{html.escape(TITLE)}</h1>",
        "<p>Computed scans of lumbar trunks stand in for patients. A network was trained with the paper's 2D protocol "
        "and one with nnU-Net's self-configured 2D protocol, both far shorter than they should be, on the same "
        f"phantoms; then both segmented {metrics['case'].nunique()} phantoms that neither had seen.</p>",
        "<h2>Dice, mean (SD) over the new phantoms</h2>",
        _table(metrics),
        "<p class='note'>nnU-Net's baseline mirrors images in training and prediction, which confuses left and right "
        "muscles, and its schedule is made for 1000 epochs: it is here to show how to run it, not to be judged.</p>",
        viewer,
        "<h2>What was run</h2>",
        _commands(steps, seconds),
        f"<p class='note'>paraspinal-nnunet {__version__}. All metrics: <code>evaluation/metrics.csv</code>.</p>",
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
    return f"<div class='wide'><table>{''.join(rows)}</table></div>"


def _commands(steps: Sequence["Step"], seconds: Mapping[str, float]) -> str:
    lines = [(html.escape(" ".join(step.arguments)), seconds[step.name]) for step in steps]
    rows = "".join(f"<tr><td><code>paraspinal {line}</code></td><td>{took:.0f}</td></tr>" for line, took in lines)
    total = f"<tr><td>all</td><td>{sum(seconds.values()):.0f}</td></tr>"
    return f"<div class='wide'><table><tr><th>command</th><th>seconds</th></tr>{rows}{total}</table></div>"


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
