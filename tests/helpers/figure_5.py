"""The drawing of Figure 5 that `evaluation/figures/data` ships, made from the networks as they are built.

PYTHONPATH=tests python -m helpers.figure_5 evaluation/figures/data
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from helpers.network_outline import Layer, Stage, outline
from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.evaluation.figures.drawing import WIDTH_IN, Drawing, figure_style, get_matplotlib, new_figure
from paraspinal_nnunet.network import build_network
from paraspinal_nnunet.protocol.paper import PAPER, Network
from paraspinal_nnunet.trainers.paraspinal import nnUNetTrainerParaspinalDeep

_FILL = {"encoder": "#dce6f2", "bottom": "#fdf0d5", "decoder": "#e3efe0"}
_BOX_WIDTH, _BOX_HEIGHT = 2.45, 0.36
_ROW_IN, _INDENT = 0.5, 0.16
_HEADING_IN = 0.4


def paper_networks() -> dict[str, list[Stage]]:
    """The paper's 2D, 3D and deeper networks by title, built on no device that holds weights."""
    deep = nnUNetTrainerParaspinalDeep.settings.network
    arms: Mapping[str, tuple[Network, str]] = {
        "2D": (PAPER.network, "2d"),
        "3D": (PAPER.network, "3d_fullres"),
        "2D, deeper": (deep, "2d"),
    }
    networks = {}
    for title, (numbers, configuration) in arms.items():
        patch = PAPER.sampling(configuration).patch_size
        with torch.device("meta"):
            built = build_network(
                spatial_dims=len(patch), in_channels=1, out_channels=len(PARASPINAL) + 1, **asdict(numbers)
            )
        networks[title] = outline(built, patch)
    return networks


def network_table(networks: Mapping[str, list[Stage]]) -> pd.DataFrame:
    """One row per convolution of every network."""
    rows = []
    for title, stages in networks.items():
        for stage in stages:
            place = {"network": title, "path": stage.path, "level": stage.level + 1, "skip": stage.skip}
            for layer in stage.layers:
                numbers = {name: _times(value) for name, value in asdict(layer).items() if isinstance(value, tuple)}
                rows.append(place | asdict(layer) | numbers | {"output_size": _times(stage.size)})
    return pd.DataFrame(rows)


def draw_network() -> Drawing:
    """Draw Figure 5."""
    networks = paper_networks()
    table = network_table(networks)
    rows = [max(stage.level for stage in stages) + 1 for stages in networks.values()]
    heights = [count * _ROW_IN + _HEADING_IN for count in rows]
    figure = new_figure(sum(heights))
    grid = figure.subplots(len(networks), 1, squeeze=False, height_ratios=heights)
    for (axes,), (title, stages) in zip(grid, networks.items(), strict=True):
        _draw_one(axes, stages)
        parameters = int(table.loc[table["network"] == title, "parameters"].sum())
        axes.set_title(f"{title}: {parameters:,} parameters", loc="left", fontweight="bold", pad=2)
    first = next(iter(networks.values()))[0].main[0]
    caption = (
        "The networks as built, read from their modules. Boxes: filters and feature map that come out, and the "
        f"convolutions in between, each followed by {first.normalisation} and {first.activation} except the last. "
        "Arrows down: strided convolutions; arrows up: transposed convolutions; dashed: skip connections, which "
        "concatenate. After '+': what a stage's input passes before it is added to its output (residual unit). "
        "At 1 input channel; 7 classes: six muscles and background."
    )
    return Drawing("figure_5_network", "Network topology", caption, figure, table)


def _draw_one(axes: Any, stages: list[Stage]) -> None:
    depth = max(stage.level for stage in stages)
    places: dict[tuple[str, int], tuple[float, float]] = {}
    for stage in stages:
        x = {
            "encoder": _BOX_WIDTH / 2 + 0.02 + _INDENT * stage.level,
            "bottom": WIDTH_IN / 2,
            "decoder": WIDTH_IN - _BOX_WIDTH / 2 - 0.02 - _INDENT * stage.level,
        }[stage.path]
        places[stage.path, stage.level] = (x, -stage.level * _ROW_IN)
        _box(axes, stage, places[stage.path, stage.level])
    for stage in stages:
        if stage.path == "decoder":
            encoder = next(s for s in stages if (s.path, s.level) == ("encoder", stage.level))
            _skip(axes, encoder, stage, places["encoder", stage.level], places["decoder", stage.level])
    for level in range(depth):
        lower_left = places.get(("encoder", level + 1), places["bottom", depth])
        lower_right = places.get(("decoder", level + 1), places["bottom", depth])
        _connect(axes, places["encoder", level], lower_left, down=True)
        _connect(axes, places["decoder", level], lower_right, down=False)
    axes.set_xlim(0, WIDTH_IN)
    axes.set_ylim(-depth * _ROW_IN - _BOX_HEIGHT / 2 - 0.03, _BOX_HEIGHT / 2 + 0.03)
    axes.set_axis_off()


def _box(axes: Any, stage: Stage, place: tuple[float, float]) -> None:
    get_matplotlib()
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    axes.add_patch(
        FancyBboxPatch(
            (x - _BOX_WIDTH / 2, y - _BOX_HEIGHT / 2), _BOX_WIDTH, _BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.05", facecolor=_FILL[stage.path], edgecolor="0.35", linewidth=0.7,
        )
    )  # fmt: skip
    axes.text(x, y + 0.085, f"{stage.filters} filters, {_times(stage.size)}", ha="center", va="center",
              fontweight="bold", fontsize=7)  # fmt: skip
    convolutions = ", ".join(_layer_text(layer) for layer in stage.main)
    axes.text(x, y - 0.085, f"{convolutions}{_residual_text(stage)}", ha="center", va="center", fontsize=5.6)


def _layer_text(layer: Layer) -> str:
    stride = "" if set(layer.stride) == {1} else f" stride {_one(layer.stride)}"
    kind = "transposed " if layer.role == "transposed convolution" else ""
    return f"{kind}{_times(layer.kernel)}{stride}"


def _residual_text(stage: Stage) -> str:
    if stage.residual is not None:
        return f" + residual {_layer_text(stage.residual)}"
    return " + identity" if stage.identity else ""


def _skip(axes: Any, encoder: Stage, decoder: Stage, left: tuple[float, float], right: tuple[float, float]) -> None:
    start, end = left[0] + _BOX_WIDTH / 2, right[0] - _BOX_WIDTH / 2
    axes.annotate(
        "", (end, right[1]), (start, left[1]), arrowprops={"arrowstyle": "-|>", "linestyle": "--", "linewidth": 0.7}
    )
    word = {"cat": "concatenate"}.get(decoder.skip, decoder.skip)
    joined = f"{word} {encoder.filters} + {decoder.main[0].in_channels - encoder.filters}"
    axes.text((start + end) / 2, left[1] + 0.04, joined, ha="center", va="bottom", fontsize=5.6)


def _connect(axes: Any, upper: tuple[float, float], lower: tuple[float, float], *, down: bool) -> None:
    x = (upper[0] + lower[0]) / 2  # the middle of where boxes of one width overlap
    top, bottom = (x, upper[1] - _BOX_HEIGHT / 2), (x, lower[1] + _BOX_HEIGHT / 2)
    head, tail = (bottom, top) if down else (top, bottom)
    axes.annotate("", head, tail, arrowprops={"arrowstyle": "-|>", "linewidth": 0.9})


def _times(numbers: tuple[int, ...]) -> str:
    return "×".join(map(str, numbers))


def _one(numbers: tuple[int, ...]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else _times(numbers)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with figure_style():
        drawing = draw_network()
        drawing.save(folder)
    text = json.dumps({"title": drawing.title, "caption": drawing.caption}, indent=2)
    (folder / f"{drawing.name}.json").write_text(text + "\n", encoding="utf-8")
