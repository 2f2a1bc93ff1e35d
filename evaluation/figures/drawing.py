"""What every figure shares: matplotlib as an option, one style, colours that survive print, and files written whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from paraspinal_nnunet.utils.files import atomic_path
from paraspinal_nnunet.utils.packages import optional_package
from paraspinal_nnunet.utils.spreadsheet import write_exact_tsv

WIDTH_IN = 7.2
"""Width of a page of two columns in inches."""

DPI = 300
FORMATS = ("png", "svg", "pdf")
HATCHES = ("", "///", "...", "xxx")
"""Patterns of neighbouring bars: they tell models apart where a copy shows neither hue nor grey."""

_STYLE: dict[str, Any] = {
    "text.parse_math": False,  # names may hold dollar signs
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "paraspinal",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Drawing:
    """A figure before it is written.

    Attributes:
        name: Stem of its files, e.g. ``'figure_1_dice'``.
        title: A few words.
        caption: What is shown, how it was computed, and what differs from the paper's figure.
        figure: The matplotlib figure.
        table: Every number that is drawn.
    """

    name: str
    title: str
    caption: str
    figure: Any
    table: pd.DataFrame

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that `save` writes."""
        return tuple(f"{self.name}.{ending}" for ending in (*FORMATS, "tsv"))

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write PNG, SVG and PDF, and the numbers as TSV; equal input gives equal SVG and TSV files.

        Args:
            folder: Where to; made if it is missing.

        Returns:
            The files, in the order of `files`.
        """
        dateless: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
        paths = tuple(Path(folder) / name for name in self.files)
        with figure_style():
            for path, ending in zip(paths, FORMATS, strict=False):
                with atomic_path(path) as temporary:
                    self.figure.savefig(
                        temporary, format=ending, dpi=DPI, metadata={"Title": self.title, **dateless[ending]}
                    )
        write_exact_tsv(self.table, paths[-1])
        return paths


def get_matplotlib() -> ModuleType:
    """matplotlib; figures are drawn without a window.

    Raises:
        SetupError: It is not installed; names the extra that brings it.
    """
    return optional_package("matplotlib", "matplotlib.figure", purpose="figures need", extra="report")


def get_skimage_measure() -> ModuleType:
    """scikit-image's module `measure`, which has marching cubes.

    Raises:
        SetupError: It is not installed; names the extra that brings it.
    """
    return optional_package("skimage.measure", purpose="3D renderings need", extra="report", called="scikit-image")


@contextmanager
def figure_style() -> Iterator[None]:
    """The style in which figures are drawn and written, whatever matplotlibrc the user or the folder has."""
    import logging

    # Looked for in order; which of the fonts a machine has is no news.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    matplotlib = get_matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(height_in: float, *, width_in: float = WIDTH_IN) -> Any:
    """An empty figure whose parts are spaced so that nothing overlaps."""
    return get_matplotlib().figure.Figure(figsize=(width_in, height_in), layout="constrained")


def model_colours(count: int) -> list[str]:
    """So many colours from dark to light along the map 'cividis'.

    It is made to look the same to people with and without colour-blindness, and its lightness rises evenly, so that
    the order stays in grey. Source: Nuñez et al. 2018, doi:10.1371/journal.pone.0199239.
    """
    matplotlib = get_matplotlib()
    shades = [0.5] if count == 1 else [0.08 + 0.88 * i / (count - 1) for i in range(count)]
    return [matplotlib.colors.to_hex(matplotlib.colormaps["cividis"](shade)) for shade in shades]
