"""Figure 3: axial slices of one case, outlined by reference and prediction in the paper's hues."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation.case_maps import CaseMaps, read_case, shown_values
from paraspinal_nnunet.evaluation.comparison.view import StudyView, case_means
from paraspinal_nnunet.evaluation.figures.drawing import WIDTH_IN, Drawing, new_figure
from paraspinal_nnunet.html.viewer.colours import hex_colour, overlay_colour
from paraspinal_nnunet.html.viewer.slices import DisplayStack, display_stack, slice_image
from paraspinal_nnunet.image_io.geometry import spacing_mm

LEVELS = ("L1", "L2", "L3", "L4", "L5")
"""From head to feet. Source: caption of Figure 3."""

MARGIN_MM = 12.0
_HEIGHT_PX = 480


@dataclass(frozen=True)
class ShownSlice:
    """A slice of Figure 3: its heading and its number, counted from 1 at the feet."""

    heading: str
    number: int


def choose_slices(reference: np.ndarray, case: str, levels: pd.DataFrame | None = None) -> list[ShownSlice]:
    """The slices to show, from head to feet.

    Args:
        reference: (x, y, z) label map in RAS order.
        case: Its name in `levels`.
        levels: From `level_table.read_levels`; without it the middles of five equal parts of the labelled range are
            taken.

    Raises:
        InputError: No level of this case is known, a slice that the scan does not have, or an empty label map.
    """
    if levels is not None:
        rows = levels[levels["case"] == case]
        chosen = [ShownSlice(level, int(rows.set_index("level").at[level, "slice"])) for level in _known(rows)]
        if not chosen:
            raise InputError(f"the table of levels has none of {', '.join(LEVELS)} for case {case}")
        beyond = [each for each in chosen if each.number > reference.shape[2]]
        if beyond:
            raise InputError(
                f"case {case}: {beyond[0].heading} is said to be slice {beyond[0].number} of {reference.shape[2]}"
            )
        return chosen
    labelled = np.flatnonzero(reference.any(axis=(0, 1)))
    if not labelled.size:
        raise InputError(f"case {case}: the reference is empty, so there is no labelled range to show")
    share = (np.arange(len(LEVELS))[::-1] + 0.5) / len(LEVELS)
    numbers = np.floor(labelled[0] + share * (labelled[-1] + 1 - labelled[0])).astype(int) + 1
    return [ShownSlice(f"slice {number}", int(number)) for number in dict.fromkeys(numbers.tolist())]


def draw_slices(view: StudyView, *, levels: pd.DataFrame | None = None) -> Drawing:
    """Draw Figure 3 of the chosen model and case.

    Args:
        view: The evaluation.
        levels: From `level_table.read_levels`, or None.

    Raises:
        InputError: As `choose_slices`, or a file has gone.
    """
    maps = read_case(view.record, view.case, [view.model])
    chosen = choose_slices(maps.reference, view.case, levels)
    prediction = maps.predictions[view.model]
    image = np.zeros(maps.reference.shape, np.uint8) if maps.image is None else maps.image
    rows = {"Reference": maps.reference, view.model: prediction}
    stack = display_stack(
        image, {str(place): labels for place, labels in enumerate(rows.values())}, maps.affine, margin_mm=MARGIN_MM
    )
    figure = _draw(view, stack, list(rows), chosen)
    if levels is None:
        place = (
            f"The {len(chosen)} slices lie evenly spaced through the labelled range, from head to feet; they stand in "
            "for the vertebral levels L1 to L5, which were not given."
        )
    else:
        place = f"Slices at the vertebral levels {', '.join(each.heading for each in chosen)}."
    caption = (
        f"Reference and segmentation by {view.model} of case {view.case}, whose mean Dice is {_dice(view):.3f} (the "
        f"model's median is {_median(view):.3f}). {place} R: the patient's right. The paper's hues, "
        "lightened so that they stand out from muscle; darker ones: right side."
        + (" No image of this case is known." if maps.image is None else "")
    )
    table = _table(view, maps, chosen)
    return Drawing("figure_3_slices", "Slices with reference and prediction", caption, figure, table)


def _known(rows: pd.DataFrame) -> list[str]:
    return [level for level in LEVELS if level in set(rows["level"])]


def _draw(view: StudyView, stack: DisplayStack, names: list[str], chosen: list[ShownSlice]) -> Any:
    width, height = stack.display_size
    panel = WIDTH_IN / len(chosen)
    figure = new_figure(len(names) * 0.96 * panel * height / width + 0.62)
    figure.get_layout_engine().set(w_pad=0.01, h_pad=0.03, wspace=0.01, hspace=0.01)
    grid = figure.subplots(len(names), len(chosen), squeeze=False)
    for row, name in enumerate(names):
        for column, each in enumerate(chosen):
            axes = grid[row][column]
            axes.imshow(
                slice_image(stack, each.number - 1, str(row), height_px=_HEIGHT_PX, outlined=True),
                interpolation="antialiased",
            )
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            if not row:
                axes.set_title(each.heading, pad=3)
        grid[row][0].set_ylabel(name)
    add_legend(
        figure, view, {name: _outline_colour(label.key, view.colour(name)) for name, label in view.labels.items()}
    )
    return figure


def _outline_colour(key: str, otherwise: str) -> str:
    return hex_colour(overlay_colour(BY_KEY[key])) if key in BY_KEY else otherwise


def add_legend(figure: Any, view: StudyView, colours: Mapping[str, str] | None = None) -> None:
    """The structures' colours below a figure.

    Args:
        figure: A matplotlib figure.
        view: The evaluation.
        colours: Structure -> colour as it is drawn; None for the paper's.
    """
    from paraspinal_nnunet.evaluation.figures.drawing import get_matplotlib

    get_matplotlib()
    from matplotlib.patches import Patch

    drawn = colours or {name: view.colour(name) for name in view.labels}
    handles = [Patch(facecolor=drawn[name], edgecolor="black", linewidth=0.5, label=name) for name in view.labels]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=1.2)


def _dice(view: StudyView) -> float:
    return float(case_means(view.metrics, view.model)[view.case])


def _median(view: StudyView) -> float:
    return float(case_means(view.metrics, view.model).median())


def _table(view: StudyView, maps: CaseMaps, chosen: list[ShownSlice]) -> pd.DataFrame:
    spacing = spacing_mm(maps.affine)
    pixel_mm2 = spacing[0] * spacing[1]
    values = shown_values(view.record.labels)
    rows = []
    for each in chosen:
        for structure, label in view.labels.items():
            reference, prediction = (
                labels[..., each.number - 1] == values[label.key]
                for labels in (maps.reference, maps.predictions[view.model])
            )
            both, total = int((reference & prediction).sum()), int(reference.sum() + prediction.sum())
            rows.append(
                {
                    "model": view.model,
                    "case": view.case,
                    "level": each.heading,
                    "slice": each.number,
                    "structure": structure,
                    "reference_mm2": reference.sum() * pixel_mm2,
                    "prediction_mm2": prediction.sum() * pixel_mm2,
                    "slice_dice": 2 * both / total if total else float("nan"),
                }
            )
    return pd.DataFrame(rows)
