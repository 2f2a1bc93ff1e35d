"""Strip plots of the muscles' volumes beside the paper's distribution, as SVG that needs nothing else."""

import html
from collections.abc import Callable, Sequence

import numpy as np

from paraspinal_nnunet.quality_control.checks.volumes import PAPER_SD_LIMIT, VolumeSummary
from paraspinal_nnunet.quality_control.findings import Finding, Severity
from paraspinal_nnunet.quality_control.measurements import CaseMeasurements

WIDTH, ROW = 860, 46
_LEFT, _RIGHT, _TOP, _BOTTOM = 170, 20, 26, 30
_GOLDEN_RATIO = 0.618034
_STEPS = (1, 2, 2.5, 5)
_Scale = Callable[[float], float]


def volume_strips(
    cases: Sequence[CaseMeasurements], volumes: Sequence[VolumeSummary], findings: Sequence[Finding]
) -> str:
    """One row per class: a point for each case, the paper's mean and SDs behind, remarked cases ringed.

    Args:
        cases: Measured.
        volumes: One entry per class.
        findings: Of the data set; those on volumes and asymmetry ring their cases.

    Returns:
        An ``<svg>`` element.
    """
    highest = max([_highest(v) for v in volumes if v.cases] or [1.0])
    step = _tick_step(highest)
    last = step * np.ceil(highest / step)
    height = _TOP + ROW * len(volumes) + _BOTTOM

    def x(ml: float) -> float:
        return float(_LEFT + max(ml, 0.0) / last * (WIDTH - _LEFT - _RIGHT))

    parts = [_axis(np.arange(0, last + step / 2, step), x, height)]
    remarked = {
        case
        for f in findings
        if f.kind in ("volume", "paper-volume", "asymmetry") and f.severity is not Severity.NOTE
        for case in f.cases
    }
    for row, summary in enumerate(volumes):
        parts.append(_strip(cases, summary, remarked, _TOP + ROW * row, x))
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="volumes of each muscle in ml" '
        f'style="width:100%;max-width:{WIDTH}px;font:12px system-ui,sans-serif">{"".join(parts)}</svg>'
    )


def _highest(summary: VolumeSummary) -> float:
    reference = summary.reference
    paper = 0.0 if reference is None else reference.mean_ml + PAPER_SD_LIMIT * reference.sd_ml
    return max(summary.highest_ml, paper)


def _tick_step(highest: float) -> float:
    """A round number of which five to twelve reach the highest value."""
    power = 10.0 ** np.floor(np.log10(max(highest, 1e-6) / 5))
    return float(power * next((s for s in _STEPS if highest / (s * power) <= 12), 10))


def _axis(ticks: np.ndarray, x: _Scale, height: int) -> str:
    bottom = height - _BOTTOM
    lines = [
        f'<line x1="{x(t):.1f}" y1="{_TOP - 6}" x2="{x(t):.1f}" y2="{bottom}" stroke="#e3e7ed"/>'
        f'<text x="{x(t):.1f}" y="{bottom + 16}" text-anchor="middle" fill="#4a5666">{t:g}</text>'
        for t in ticks
    ]
    return f'{"".join(lines)}<text x="{_LEFT - 12}" y="{bottom + 16}" text-anchor="end" fill="#4a5666">ml</text>'


def _strip(cases: Sequence[CaseMeasurements], summary: VolumeSummary, remarked: set[str], top: float, x: _Scale) -> str:
    middle, name = top + ROW / 2, html.escape(summary.label.display_name)
    parts = [f'<text x="{_LEFT - 12}" y="{middle + 4}" text-anchor="end" fill="#1c2430">{name}</text>']
    if summary.reference is not None:
        parts.append(_band(summary, top, x))
    colour = "#{:02x}{:02x}{:02x}".format(*summary.label.colour)
    for number, facts in enumerate(cases):
        own = None if facts.labels is None else facts.labels.classes[summary.label.value]
        if own is None or not own.voxels:
            continue
        y = middle + (number * _GOLDEN_RATIO % 1 - 0.5) * 0.55 * ROW
        ring = ' stroke="#b00000" stroke-width="2.2"' if facts.case in remarked else ' stroke="#fff" stroke-width="0.6"'
        title = html.escape(f"{facts.case}: {own.volume_ml:.1f} ml over {own.length_mm:.0f} mm")
        parts.append(
            f'<circle cx="{x(own.volume_ml):.1f}" cy="{y:.1f}" r="4" fill="{colour}"{ring}><title>{title}</title>'
            "</circle>"
        )
    return "".join(parts)


def _band(summary: VolumeSummary, top: float, x: _Scale) -> str:
    reference = summary.reference
    if reference is None:
        return ""
    parts = []
    for sds, shade in ((3, "#f1f3f6"), (2, "#e4e8ee"), (1, "#d3d9e2")):
        low, high = (x(reference.mean_ml + sign * sds * reference.sd_ml) for sign in (-1, 1))
        parts.append(f'<rect x="{low:.1f}" y="{top + 6}" width="{high - low:.1f}" height="{ROW - 12}" fill="{shade}"/>')
    mean = x(reference.mean_ml)
    parts.append(
        f'<line x1="{mean:.1f}" y1="{top + 4}" x2="{mean:.1f}" y2="{top + ROW - 4}" stroke="#7a8698" '
        'stroke-width="1.5"/>'
    )
    return "".join(parts)
