"""The paper's five figures, drawn from an evaluation folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from paraspinal_nnunet.errors import InputError, SetupError, StatisticsError
from paraspinal_nnunet.evaluation.comparison.view import StudyView
from paraspinal_nnunet.evaluation.figures.agreement import draw_agreement
from paraspinal_nnunet.evaluation.figures.bars import Correction, draw_bars
from paraspinal_nnunet.evaluation.figures.drawing import Drawing, figure_style
from paraspinal_nnunet.evaluation.figures.network import NetworkDrawing
from paraspinal_nnunet.evaluation.figures.slices import draw_slices
from paraspinal_nnunet.evaluation.figures.surfaces import draw_surfaces


@dataclass(frozen=True)
class FigureOptions:
    """What can be chosen.

    Attributes:
        correction: Which p values the stars of Figure 1 go by.
        levels: Where vertebrae lie, from `level_table.read_levels`.
    """

    correction: Correction = "none"
    levels: pd.DataFrame | None = None


FIGURES: dict[int, Callable[[StudyView, FigureOptions], Drawing | NetworkDrawing]] = {
    1: lambda view, options: draw_bars(view, correction=options.correction),
    2: lambda view, _: draw_agreement(view),
    3: lambda view, options: draw_slices(view, levels=options.levels),
    4: lambda view, _: draw_surfaces(view),
    5: lambda _, __: NetworkDrawing(),
}
"""How each of the paper's figures is drawn, by its number."""


@dataclass(frozen=True)
class FigureResult:
    """A figure that was written, or why it was not.

    Attributes:
        number: The paper's number of it.
        title: A few words.
        caption: Its caption.
        files: PNG, SVG, PDF and CSV; empty where it was not drawn.
        problem: Why it was not drawn; ``''`` where it was.
    """

    number: int
    title: str
    caption: str
    files: tuple[Path, ...]
    problem: str = ""


def write_figures(view: StudyView, folder: Path, options: FigureOptions | None = None) -> list[FigureResult]:
    """Draw and write all figures.

    Too few subjects, a missing package or missing files leave a figure out and are told in its `problem`.

    Args:
        view: The evaluation.
        folder: Where to.
        options: What can be chosen.

    Raises:
        SetupError: matplotlib is not installed.
    """
    options = options or FigureOptions()
    with figure_style():
        return [
            _write(number, view, Path(folder), options)
            for number in tqdm(FIGURES, desc="figures", unit="figure", leave=False)
        ]


def _write(number: int, view: StudyView, folder: Path, options: FigureOptions) -> FigureResult:
    try:
        drawing = FIGURES[number](view, options)
    except (InputError, SetupError, StatisticsError) as error:
        return FigureResult(number, f"Figure {number}", "", (), str(error))
    return FigureResult(number, drawing.title, drawing.caption, drawing.save(folder))
