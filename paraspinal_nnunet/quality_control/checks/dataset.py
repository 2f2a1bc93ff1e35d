"""Findings that compare the cases with each other: grids, orientations and intensities that differ from the bulk."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.quality_control.checks.outliers import distance_text, outliers
from paraspinal_nnunet.quality_control.dataset import REORIENTING_READER, Dataset
from paraspinal_nnunet.quality_control.findings import Finding, Severity
from paraspinal_nnunet.quality_control.measurements import CaseMeasurements, ChannelMeasurements


@dataclass(frozen=True)
class _Measure:
    """One number per case (or channel) that is compared with the bulk; positive ones as ratios."""

    kind: str
    name: str
    unit: str
    ratio: bool
    least: float
    """Smallest difference from the median that matters: in the unit, or as a factor less one."""


def _grid_measures() -> tuple[tuple[_Measure, Callable[[CaseMeasurements], float]], ...]:
    def grid(axis: int) -> Callable[[CaseMeasurements], float]:
        return lambda f: np.nan if f.spacing_mm is None else f.spacing_mm[axis]

    def extent(axis: int) -> Callable[[CaseMeasurements], float]:
        return lambda f: np.nan if f.spacing_mm is None or f.shape is None else f.shape[axis] * f.spacing_mm[axis]

    return (
        (_Measure("spacing", "voxel size to the right", "mm", True, 0.05), grid(0)),
        (_Measure("spacing", "voxel size to the front", "mm", True, 0.05), grid(1)),
        (_Measure("spacing", "slice distance", "mm", True, 0.05), grid(2)),
        (_Measure("shape", "field of view, right to left", "mm", True, 0.1), extent(0)),
        (_Measure("shape", "field of view, front to back", "mm", True, 0.1), extent(1)),
        (_Measure("shape", "field of view, head to feet", "mm", True, 0.1), extent(2)),
        (_Measure("orientation", "obliquity", "degrees", False, 15.0), lambda f: f.obliquity_deg),
    )


_CHANNEL_MEASURES: tuple[tuple[_Measure, Callable[[ChannelMeasurements], float]], ...] = (
    (_Measure("intensity", "mean intensity", "", True, 0.5), lambda c: c.mean),
    (_Measure("intensity", "99th percentile of the intensity", "", True, 0.5), lambda c: c.percentiles[99]),
    (_Measure("intensity", "contrast (SD / mean)", "", True, 0.25), lambda c: c.sd / c.mean if c.mean > 0 else np.nan),
    (_Measure("intensity", "share of zeros", "", False, 0.1), lambda c: c.zero_share),
)


def comparison_findings(cases: Sequence[CaseMeasurements], dataset: Dataset) -> Iterator[Finding]:
    """Cases whose grid or intensities differ from the bulk of the data set.

    Args:
        cases: All cases of the data set.
        dataset: What it says of itself.
    """
    for measure, value in _grid_measures():
        yield from _outlying(cases, [value(measured) for measured in cases], measure)
    for channel, name in enumerate(dataset.channels):
        prefix = f"{name}: " if len(dataset.channels) > 1 else ""
        own = [measured.channels[channel] if channel < len(measured.channels) else None for measured in cases]
        for measure, channel_value in _CHANNEL_MEASURES:
            numbers = [np.nan if c is None else channel_value(c) for c in own]
            yield from _outlying(cases, numbers, measure, prefix)
        yield from _rare(cases, ["" if c is None else c.number_type for c in own], "number-type", f"{prefix}stored as")
    yield from _orientations(cases, dataset.reader)
    yield from _coverage(cases)


def _outlying(
    cases: Sequence[CaseMeasurements], numbers: Sequence[float], measure: _Measure, prefix: str = ""
) -> Iterator[Finding]:
    values = np.array(numbers, float)
    if measure.ratio:
        compared = np.log(np.where(values > 0, values, np.nan))
        least = float(np.log1p(measure.least))
    else:
        compared, least = values, measure.least
    if not np.isfinite(compared).any():
        return
    median = float(np.nanmedian(values))
    for index, score in outliers(compared, least=least):
        unit = f" {measure.unit}" if measure.unit else ""
        away = distance_text(score, of_ratios=measure.ratio)
        text = f"{prefix}{measure.name} is {values[index]:.4g}{unit}, the median {median:.4g} ({away})"
        yield Finding(Severity.LOOK, measure.kind, cases[index].case, text, abs(score))


def _rare(cases: Sequence[CaseMeasurements], words: Sequence[str], kind: str, verb: str) -> Iterator[Finding]:
    """Cases that do not have what at least nine of ten have."""
    common = Counter(filter(None, words)).most_common(1)
    if not common or common[0][1] < 0.9 * sum(map(bool, words)):
        return
    for measured, word in zip(cases, words, strict=True):
        if word and word != common[0][0]:
            yield Finding(Severity.NOTE, kind, measured.case, f"{verb} {word}, most cases as {common[0][0]}")


def _orientations(cases: Sequence[CaseMeasurements], reader: str) -> Iterator[Finding]:
    codes = Counter(measured.stored_axes for measured in cases if measured.stored_axes)
    if len(codes) < 2:
        return
    table = ", ".join(f"{code} in {n}" for code, n in codes.most_common())
    if reader == REORIENTING_READER:
        text = f"voxels are stored in {len(codes)} orientations ({table}); the reader brings them to one"
        yield Finding(Severity.NOTE, "orientation", "", text)
    else:
        text = f"voxels are stored in {len(codes)} orientations ({table}) and the reader does not bring them to one"
        yield Finding(Severity.PROBLEM, "orientation", "", f"{text}; set it to {REORIENTING_READER}")


def _coverage(cases: Sequence[CaseMeasurements]) -> Iterator[Finding]:
    """Slices below and above the labels: how common they are, and who has unusually many."""
    labelled = [measured.labels is not None and measured.labels.labelled_slices[1] > 0 for measured in cases]
    outside = [
        sum(measured.labels.empty_outside) if known and measured.labels is not None else np.nan
        for measured, known in zip(cases, labelled, strict=True)
    ]
    have = [n for n in outside if n > 0]
    if have:
        text = (
            f"{len(have)} of {sum(labelled)} cases have slices without labels below or above the labelled ones (median "
            f"{np.median(have):g}, most {max(have):g}); a network learns all of these as background"
        )
        yield Finding(Severity.NOTE, "coverage", "", text)
    measure = _Measure("coverage", "number of slices without labels below and above", "slices", False, 3.0)
    yield from _outlying(cases, outside, measure)
