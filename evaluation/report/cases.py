"""A report's cases: pages with every slice of each, and the worst ones for the report's own viewer."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation.case_maps import read_case
from paraspinal_nnunet.evaluation.comparison.view import StudyView, worst_first
from paraspinal_nnunet.evaluation.report.plots import CaseEntry
from paraspinal_nnunet.evaluation.summary import entered_of
from paraspinal_nnunet.html.viewer.page import viewer_page
from paraspinal_nnunet.html.viewer.slices import ViewerCase
from paraspinal_nnunet.utils.files import write_text
from paraspinal_nnunet.utils.workers import default_workers

CASES_FOLDER = "cases"


def all_cases(view: StudyView) -> list[str]:
    """Every case of any model: those of the chosen model with the worst first, then those it lacks by name."""
    own = [str(case) for case in worst_first(view.metrics, view.model).index]
    others = sorted(set(view.metrics["case"]) - set(own))
    return [*own, *others]


def case_entries(view: StudyView, *, embed: int) -> dict[str, CaseEntry]:
    """Where each case can be looked at; cases without a known image have no page.

    Args:
        view: The evaluation.
        embed: How many of the worst cases with an image go into the report itself.

    Returns:
        Case -> entry, in the order of `all_cases`.
    """
    entries: dict[str, CaseEntry] = {}
    for number, case in enumerate(all_cases(view), start=1):
        if not has_image(view, case):
            entries[case] = CaseEntry(case)
            continue
        # Numbered, so that names with characters unfit for files cannot collide.
        name = f"{number:03d}_{re.sub(r'[^A-Za-z0-9.-]+', '_', case)}.html"
        embedded = sum(entry.embedded for entry in entries.values()) < embed
        entries[case] = CaseEntry(case, f"{CASES_FOLDER}/{name}", embedded)
    return entries


def has_image(view: StudyView, case: str) -> bool:
    """Whether the evaluation knows the case's image."""
    models = _models_of(view, case)
    return view.record.models[models[0]].cases[case].image is not None


def viewer_case(view: StudyView, case: str) -> ViewerCase:
    """A case with the predictions of every model that has it.

    Raises:
        InputError: A file has gone, or no image is known.
        GeometryError: Grids that do not match.
    """
    models = _models_of(view, case)
    maps = read_case(view.record, case, models)
    if maps.image is None:
        raise InputError(f"case {case}: the evaluation knows no image of it")
    of_model = view.metrics[view.metrics["case"] == case].groupby("model", sort=False)["dice"]
    dice, entered = of_model.mean(), of_model.apply(entered_of)
    texts = {
        model: f"{model} {dice[model]:.3f}" + (f" ({entered[model]})" if entered[model] else "") for model in models
    }
    caption = "mean Dice: " + ", ".join(texts.values())
    return ViewerCase(case, maps.image, maps.affine, maps.reference, maps.predictions, caption)


def write_case_pages(
    view: StudyView, entries: Sequence[CaseEntry], output: Path, *, workers: int | None = None
) -> None:
    """Write one page with all slices of each case that has an image.

    Args:
        view: The evaluation.
        entries: From `case_entries`.
        output: The report's folder.
        workers: Cases at a time; None takes one per core.

    Raises:
        InputError: A file has gone.
        GeometryError: Grids that do not match.
    """
    shown = [entry for entry in entries if entry.file]

    def write(entry: CaseEntry) -> None:
        page = viewer_page([viewer_case(view, entry.name)], entry.name, most_slices=None)
        write_text(output / entry.file, page)

    with (
        ThreadPoolExecutor(default_workers() if workers is None else workers) as pool,
        tqdm(total=len(shown), desc="cases", unit="case") as bar,
    ):
        try:
            for _ in pool.map(write, shown):
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _models_of(view: StudyView, case: str) -> list[str]:
    """Models that have the case, the chosen one first."""
    having = [name for name, model in view.record.models.items() if case in model.cases]
    return sorted(having, key=lambda name: name != view.model)
