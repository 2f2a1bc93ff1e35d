"""Area and fat along the spine as one SVG that prints and needs no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10

from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.measures.curves import Curve, LevelMark, csa_curves, fat_curves, level_marks, preferred_method
from paraspinal_nnunet.measures.result import CaseMeasures

PANEL_WIDTH, PANEL_HEIGHT = 190.0, 260.0
LEFT, TOP, GAP, ROW_GAP, BOTTOM, RIGHT = 62.0, 64.0, 26.0, 74.0, 46.0, 50.0
MOST_TICKS = 4

_ENDS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_STEPS = (1.0, 2.0, 2.5, 5.0)

_INK, _QUIET, _GRID = "#1a1a1a", "#595959", "#dcdcdc"
_FONT = "font-family='system-ui, sans-serif'"


@dataclass(frozen=True)
class _Panel:
    """One plot: its title, curves and axes."""

    title: str
    axis: str
    curves: tuple[Curve, ...]
    largest: float
    x: float
    y: float


@dataclass(frozen=True)
class _Heights:
    """The axis that all panels share: z rises upwards."""

    low: float
    high: float

    def y(self, panel: _Panel, z_mm: float) -> float:
        """From mm to the picture."""
        return panel.y + PANEL_HEIGHT * (1 - (z_mm - self.low) / (self.high - self.low))


def measure_plots(result: CaseMeasures, *, method: str | None = None) -> str:
    """Area and fat along the spine as SVG: a column per muscle, right solid and left dashed, levels marked.

    Args:
        result: Of `measure`.
        method: Which fat is shown; None takes `preferred_method`.

    Returns:
        An ``<svg>`` element without scripts, styles or links, for a page or a file of its own.

    Raises:
        KeyError: Fat was not measured by this method.
    """
    method = method or preferred_method(result)
    areas = csa_curves(result)
    fat = fat_curves(result, method) if method else ()
    muscles = [m for m in Muscle if any(len(c.z_mm) and c.muscle is m for c in areas)]
    panels = [*_row("area (mm²)", areas, muscles, 0)]
    if method:
        panels += _row(f"fat fraction ({_method_name(method)})", fat, muscles, 1)
    heights = _heights(result, areas)
    width = LEFT + max(len(muscles), 1) * (PANEL_WIDTH + GAP) - GAP + RIGHT
    height = TOP + (2 if method else 1) * (PANEL_HEIGHT + ROW_GAP) - ROW_GAP + BOTTOM
    marks = level_marks(result)
    parts = [_heading(result, width), *(_panel_svg(p, heights, marks, last=_is_last(p, panels)) for p in panels)]
    if not muscles:
        parts.append(_text(LEFT, TOP + 20, "no muscle was found", colour=_QUIET))
    title = f"Area and fat along the spine, {result.case}"
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' role='img' aria-label='{escape(title)}' "
        f"viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' height='{height:.0f}' {_FONT}>"
        f"<title>{escape(title)}</title><rect width='100%' height='100%' fill='#ffffff'/>{''.join(parts)}</svg>"
    )


def _row(axis: str, curves: Sequence[Curve], muscles: Sequence[Muscle], row: int) -> list[_Panel]:
    known = [v for curve in curves for v in curve.values if isfinite(v)]
    largest = _round_up(max(known, default=1.0), _ENDS)
    return [
        _Panel(
            title=muscle.display_name,
            axis=axis,
            curves=tuple(c for c in curves if c.muscle is muscle),
            largest=largest,
            x=LEFT + place * (PANEL_WIDTH + GAP),
            y=TOP + row * (PANEL_HEIGHT + ROW_GAP),
        )
        for place, muscle in enumerate(muscles)
    ]


def _heights(result: CaseMeasures, curves: Sequence[Curve]) -> _Heights:
    """The labelled range with half a slice on either side."""
    labelled = [z for curve in curves for z in curve.z_mm] or list(result.stack.z_mm)
    half = result.stack.slice_spacing_mm / 2
    return _Heights(min(labelled) - half, max(labelled) + half)


def _is_last(panel: _Panel, panels: Sequence[_Panel]) -> bool:
    return panel.x == max(p.x for p in panels)


def _heading(result: CaseMeasures, width: float) -> str:
    line = f"stroke='{_INK}' stroke-width='2'"
    return (
        _text(LEFT, 20, result.case, size=14, weight=600)
        + f"<line x1='{LEFT}' y1='36' x2='{LEFT + 26}' y2='36' {line}/>"
        + _text(LEFT + 32, 40, "right")
        + f"<line x1='{LEFT + 80}' y1='36' x2='{LEFT + 106}' y2='36' {line} stroke-dasharray='6 4'/>"
        + _text(LEFT + 112, 40, "left")
    )


def _panel_svg(panel: _Panel, heights: _Heights, marks: Sequence[LevelMark], *, last: bool) -> str:
    parts = [
        f"<rect x='{panel.x:.1f}' y='{panel.y:.1f}' width='{PANEL_WIDTH}' height='{PANEL_HEIGHT}' fill='none' "
        f"stroke='{_QUIET}'/>",
        _text(panel.x, panel.y - 6, panel.title, weight=600),
        _value_axis(panel),
        _height_axis(panel, heights, with_numbers=panel.x == LEFT),
        _levels(panel, heights, marks, with_names=last),
        *(_line(panel, heights, curve) for curve in panel.curves),
    ]
    return "".join(parts)


def _value_axis(panel: _Panel) -> str:
    bottom = panel.y + PANEL_HEIGHT
    parts = []
    for tick in _ticks(0.0, panel.largest):
        x = _x(panel, tick)
        parts.append(f"<line x1='{x:.1f}' y1='{panel.y:.1f}' x2='{x:.1f}' y2='{bottom:.1f}' stroke='{_GRID}'/>")
        parts.append(_text(x, bottom + 14, f"{tick:g}", anchor="middle", colour=_QUIET))
    parts.append(_text(panel.x + PANEL_WIDTH / 2, bottom + 30, panel.axis, anchor="middle"))
    return "".join(parts)


def _height_axis(panel: _Panel, heights: _Heights, *, with_numbers: bool) -> str:
    parts = []
    for tick in _ticks(heights.low, heights.high):
        y = heights.y(panel, tick)
        parts.append(f"<line x1='{panel.x - 4:.1f}' y1='{y:.1f}' x2='{panel.x:.1f}' y2='{y:.1f}' stroke='{_QUIET}'/>")
        if with_numbers:
            parts.append(_text(panel.x - 8, y + 4, f"{tick:g}", anchor="end", colour=_QUIET))
    if with_numbers:
        middle = panel.y + PANEL_HEIGHT / 2
        turned = f"<g transform='translate(16 {middle:.1f}) rotate(-90)'>"
        parts.append(turned + _text(0, 0, "z (mm), head up", anchor="middle") + "</g>")
    return "".join(parts)


def _levels(panel: _Panel, heights: _Heights, marks: Sequence[LevelMark], *, with_names: bool) -> str:
    parts = []
    right = panel.x + PANEL_WIDTH
    for mark in marks:
        if not heights.low <= mark.z_mm <= heights.high:
            continue
        y = heights.y(panel, mark.z_mm)
        parts.append(
            f"<line x1='{panel.x:.1f}' y1='{y:.1f}' x2='{right:.1f}' y2='{y:.1f}' stroke='{_QUIET}' "
            "stroke-dasharray='1 3'/>"
        )
        if with_names:
            parts.append(_text(right + 5, y + 4, mark.name, colour=_QUIET))
    return "".join(parts)


def _line(panel: _Panel, heights: _Heights, curve: Curve) -> str:
    """The curve, broken where it is not known; lone points become dots."""
    dash = " stroke-dasharray='6 4'" if curve.dashed else ""
    parts = []
    for piece in _known_pieces(curve):
        points = [(_x(panel, v), heights.y(panel, z)) for z, v in piece]
        if len(points) == 1:
            parts.append(f"<circle cx='{points[0][0]:.1f}' cy='{points[0][1]:.1f}' r='2.5' fill='{curve.colour}'/>")
            continue
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f"<polyline points='{text}' fill='none' stroke='{curve.colour}' stroke-width='2' "
            f"stroke-linejoin='round'{dash}><title>{escape(curve.label)}</title></polyline>"
        )
    return "".join(parts)


def _known_pieces(curve: Curve) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for z, value in zip(curve.z_mm, curve.values, strict=True):
        if isfinite(value):
            pieces[-1].append((float(z), float(value)))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _x(panel: _Panel, value: float) -> float:
    return panel.x + PANEL_WIDTH * value / panel.largest


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, in at most `MOST_TICKS` steps."""
    step = _round_up((high - low) / MOST_TICKS, _STEPS)
    return [round(k * step, 10) for k in range(ceil(low / step), floor(high / step) + 1)]


def _round_up(value: float, factors: Sequence[float]) -> float:
    """The next of these factors times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next((power * f for f in factors if power * f >= value * (1 - 1e-9)), 10 * power)


def _method_name(method: str) -> str:
    names = {"gmm3": "three Gaussians", "otsu": "Otsu", "kmeans": "k-means", "gmm": "two Gaussians", "dixon": "Dixon"}
    return names[method]


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: int = 400, colour: str = _INK
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' font-weight='{weight}' "
        f"fill='{colour}'>{escape(text)}</text>"
    )
