"""The page that ends the demonstration: what was run, the recipes with their costs, and every slice with overlays."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from paraspinal_nnunet.evaluation import read_metrics, read_record, summarise
from paraspinal_nnunet.evaluation.comparison.answer import comparison_table
from paraspinal_nnunet.evaluation.comparison.costs import read_costs
from paraspinal_nnunet.evaluation.comparison.view import view_study
from paraspinal_nnunet.evaluation.record import EvaluationRecord
from paraspinal_nnunet.html.document import document
from paraspinal_nnunet.html.tables import PageTable, rows_table
from paraspinal_nnunet.html.viewer.page import contact_sheet, viewer_html
from paraspinal_nnunet.html.viewer.slices import ViewerCase, encoded
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.utils.files import read_json, write_text
from paraspinal_nnunet.utils.text import pluralize
from paraspinal_nnunet.workflow.commands import find_model
from paraspinal_nnunet.workflow.settings import Workflow
from paraspinal_nnunet.workflow.state import Step, marker
from paraspinal_nnunet.workflow.status import BASELINE_EPOCHS, BASELINE_ITERATIONS, duration, expected_jobs

TITLE = "Paraspinal muscles: demonstration on phantoms"
SHOWN_CASES = 3
LEARNED_DICE = 0.6
"""Below this mean Dice of the six muscles a network has not learned them yet. Source: ours."""


def write_page(path: Path, study: Workflow, phantom_command: Sequence[str]) -> Path:
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
    page = document(
        "demo.html",
        TITLE,
        parts=("viewer", "tables"),
        opening="Computed scans of lumbar trunks stand in for patients. Networks were trained with the paper's "
        "protocol in 2D and in 3D, the better one also with one level more, and nnU-Net's self-configured 2D network, "
        "half as wide, beside them, all far shorter than they should be. "
        f"{pluralize(metrics['case'].nunique(), 'phantom')} that none had seen were segmented.",
        sheet=encoded(sheet, "PNG"),
        recipes=None if costs is None else comparison_table(view, costs),
        dice=_dice_table(metrics, {str(name): _length(study, str(name)) for name in view.models}),
        remark=_remark(metrics),
        viewer=viewer_html(cases, "Every slice: reference and predictions"),
        commands=_commands(study, phantom_command),
    )
    write_text(path, page)
    return path


def _length(study: Workflow, name: str) -> str:
    """How long a model was trained, which says what its Dice is worth."""
    model = find_model(study, name)
    steps = int(model.overrides["iterations"])
    usual = BASELINE_EPOCHS * BASELINE_ITERATIONS if model.is_baseline else PAPER.training.iterations
    times = (read_json(marker(study.folder, Step("train", name, fold))).get("seconds", 0) for fold in study.folds)
    return f"{steps:,} of {usual:,} steps, {duration(sum(times))}"


def _remark(metrics: pd.DataFrame) -> str:
    unlearned = [str(name) for name in metrics["model"].unique() if mean_dice(metrics, str(name)) < LEARNED_DICE]
    few = f" {' and '.join(unlearned)} had too few steps to learn, and cannot be compared." if unlearned else ""
    return (
        f"It shows how models are compared, not which is best: all were trained for minutes.{few} nnU-Net's baseline "
        "mirrors no images here, which in short trainings confuses left and right muscles, and learns at a rate of 0.1 "
        "instead of 0.01."
    )


def mean_dice(metrics: pd.DataFrame, model: str) -> float:
    """Mean Dice of a model over all cases and muscles."""
    return float(metrics.loc[metrics["model"] == model, "dice"].mean())


def _dice_table(metrics: pd.DataFrame, lengths: Mapping[str, str]) -> PageTable:
    """Muscle by muscle and in all, and beside them how long each model was trained."""
    dice = summarise(metrics).query("metric == 'dice'")
    models = list(dict.fromkeys(dice["model"]))
    rows = [("muscle", *map(str, models)), ("Trained for", *(lengths[str(m)] for m in models))]
    for (muscle, side), group in dice.groupby(["muscle", "side"], sort=False):
        cells = group.set_index("model")
        values = (f"{cells.at[m, 'mean']:.3f} ({cells.at[m, 'sd']:.3f})" for m in models)
        rows.append((f"{muscle} {side}".replace("_", " ").strip().capitalize(), *values))
    return rows_table(rows)


def _commands(study: Workflow, phantom_command: Sequence[str]) -> PageTable:
    """Every command in its order, with the seconds of the step that it belongs to."""
    rows = [(" ".join(["paraspinal", *phantom_command]), "")]
    total = 0.0
    for job in expected_jobs(study):
        content = read_json(marker(study.folder, job))
        seconds = float(content.get("seconds", 0))
        total += seconds
        commands = content["commands"] or [f"paraspinal study step {' '.join(job.parts)}"]
        rows += [(command, f"{seconds:.0f}") for command in commands]
    return rows_table([("command", "seconds"), *rows, ("all", f"{total:.0f}")], kind="numbers totals commands")


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
