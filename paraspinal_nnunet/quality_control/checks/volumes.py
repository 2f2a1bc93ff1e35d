"""Findings on muscle volumes: against the data set itself, the paper's cohort, and one side against the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.measures.comparison import difference_percent
from paraspinal_nnunet.protocol.paper import DOI, PAPER
from paraspinal_nnunet.quality_control.checks.outliers import distance_text, outliers
from paraspinal_nnunet.quality_control.classes import LabelClass, side_pairs_of
from paraspinal_nnunet.quality_control.findings import Finding, Severity
from paraspinal_nnunet.quality_control.measurements import CaseMeasurements, ClassMeasurements

PAPER_SD_LIMIT = 3.0
"""Volumes farther from the paper's mean than so many of its SDs are remarked; of a normal distribution 0.3 % are."""

LEAST_VOLUME_FACTOR = 1.25
"""Volumes and cross-sections within this factor of the median are never outliers."""

LEAST_ASYMMETRY_PERCENT = 15.0
"""Asymmetries within so many percentage points of the median are never outliers."""

GROSS_ASYMMETRY_PERCENT = 50.0
"""Asymmetries beyond this are remarked however common they are: more likely a mistaken label than a person."""

PAPER_SOURCE = f"{PAPER.cohort.subjects} subjects, L1 to L5, doi:{DOI}, Results"


@dataclass(frozen=True)
class Reference:
    """The paper's distribution of a muscle's volume."""

    mean_ml: float
    sd_ml: float


@dataclass(frozen=True)
class VolumeSummary:
    """A class in the whole data set; `cases` counts those that have it, and all numbers are over them.

    Attributes:
        label: The class.
        cases: Number of cases that have it.
        mean_ml: Mean volume.
        sd_ml: Its standard deviation (ddof 1; NaN for one case).
        lowest_ml: Smallest volume.
        highest_ml: Largest volume.
        median_length_mm: Median length covered.
        median_area_cm2: Median mean cross-section.
        reference: The paper's distribution, or None where it has none.
    """

    label: LabelClass
    cases: int
    mean_ml: float
    sd_ml: float
    lowest_ml: float
    highest_ml: float
    median_length_mm: float
    median_area_cm2: float
    reference: Reference | None


def paper_reference(label: LabelClass) -> Reference | None:
    """The paper's mean and SD of a class's volume, or None where it has none. Source: `PAPER_SOURCE`."""
    if label.structure is None:
        return None
    printed = getattr(PAPER.cohort, f"{label.structure.muscle.value}_ml", None)
    if printed is None:
        return None
    mean, sd = printed[:2] if label.side == "right" else printed[2:]
    return Reference(mean, sd)


def summarise_volumes(cases: Sequence[CaseMeasurements], classes: Sequence[LabelClass]) -> tuple[VolumeSummary, ...]:
    """Mean, SD, range and length of every class; NaN where no case has it."""
    return tuple(_summary(label, [f for f in _of_class(cases, label) if f is not None]) for label in classes)


def asymmetry_percent(right_ml: float, left_ml: float) -> float:
    """`measures.comparison.difference_percent`, but NaN where either side is absent.

    >>> asymmetry_percent(110, 90)
    20.0
    """
    return difference_percent(right_ml, left_ml) if right_ml and left_ml else float("nan")


def volume_findings(cases: Sequence[CaseMeasurements], classes: Sequence[LabelClass]) -> Iterator[Finding]:
    """Volumes, mean cross-sections and asymmetries that differ from the bulk or from the paper's cohort.

    Args:
        cases: All cases of the data set.
        classes: Of the data set.
    """
    for label in classes:
        own = _of_class(cases, label)
        yield from _against_data_set(cases, label, own)
        yield from _against_paper(cases, label, own)
    yield from _asymmetries(cases, classes)


def _of_class(cases: Sequence[CaseMeasurements], label: LabelClass) -> list[ClassMeasurements | None]:
    """The class in each case; None where it is absent."""
    own = [None if measured.labels is None else measured.labels.classes[label.value] for measured in cases]
    return [found if found is not None and found.voxels else None for found in own]


def _summary(label: LabelClass, own: Sequence[ClassMeasurements]) -> VolumeSummary:
    volumes = np.array([f.volume_ml for f in own] or [np.nan])
    return VolumeSummary(
        label=label,
        cases=len(own),
        mean_ml=float(volumes.mean()),
        sd_ml=float(volumes.std(ddof=1)) if len(own) > 1 else float("nan"),
        lowest_ml=float(volumes.min()),
        highest_ml=float(volumes.max()),
        median_length_mm=float(np.median([f.length_mm for f in own] or [np.nan])),
        median_area_cm2=float(np.median([f.area_cm2 for f in own] or [np.nan])),
        reference=paper_reference(label),
    )


def _against_data_set(
    cases: Sequence[CaseMeasurements], label: LabelClass, own: Sequence[ClassMeasurements | None]
) -> Iterator[Finding]:
    least = float(np.log(LEAST_VOLUME_FACTOR))
    told: set[int] = set()
    for what, unit, values in (
        ("", "ml", [np.nan if f is None else f.volume_ml for f in own]),
        (" mean cross-section", "cm2", [np.nan if f is None else f.area_cm2 for f in own]),
    ):
        for index, score in outliers(np.log(np.array(values)), least=least):
            found = own[index]
            if index in told or found is None:
                continue
            told.add(index)
            text = (
                f"{label.display_name}{what} is {values[index]:.4g} {unit} over {found.length_mm:.0f} mm, the median "
                f"{np.nanmedian(values):.4g} {unit} ({distance_text(score, of_ratios=True)})"
            )
            yield Finding(Severity.LOOK, "volume", cases[index].case, text, abs(score))


def _against_paper(
    cases: Sequence[CaseMeasurements], label: LabelClass, own: Sequence[ClassMeasurements | None]
) -> Iterator[Finding]:
    reference = paper_reference(label)
    present = [(measured.case, f) for measured, f in zip(cases, own, strict=True) if f is not None]
    if reference is None or not present:
        return
    scores = [(case, f, (f.volume_ml - reference.mean_ml) / reference.sd_ml) for case, f in present]
    far = [(case, f, z) for case, f, z in scores if abs(z) > PAPER_SD_LIMIT]
    paper = f"the paper's {reference.mean_ml} (SD {reference.sd_ml}) ml of L1 to L5"
    if len(far) * 2 > len(present):
        length = float(np.median([f.length_mm for _, f in present]))
        volume = float(np.median([f.volume_ml for _, f in present]))
        text = (
            f"{label.display_name}: {len(far)} of {len(present)} cases lie beyond {PAPER_SD_LIMIT:g} SD of {paper} "
            f"(median {volume:.4g} ml over {length:.0f} mm); another field of view, or another definition?"
        )
        yield Finding(Severity.LOOK, "paper-volume", "", text, float(len(far)))
        return
    for case, f, z in far:
        text = f"{label.display_name} is {f.volume_ml:.4g} ml over {f.length_mm:.0f} mm, {z:+.1f} SD from {paper}"
        yield Finding(Severity.LOOK, "paper-volume", case, text, abs(z))


def _asymmetries(cases: Sequence[CaseMeasurements], classes: Sequence[LabelClass]) -> Iterator[Finding]:
    for pair in side_pairs_of(classes):
        sides = [_of_class(cases, label) for label in (pair.right, pair.left)]
        percent = np.array(
            [
                np.nan if right is None or left is None else asymmetry_percent(right.volume_ml, left.volume_ml)
                for right, left in zip(*sides, strict=True)
            ]
        )
        scores = dict(outliers(percent, least=LEAST_ASYMMETRY_PERCENT))
        gross = np.flatnonzero(np.abs(percent) > GROSS_ASYMMETRY_PERCENT).tolist()
        scores = dict.fromkeys(gross, 0.0) | scores
        for index, score in scores.items():
            text = f"{pair.right.display_name} and left differ by {percent[index]:+.0f} % of their mean"
            if score:
                text += f", the median by {np.nanmedian(percent):+.0f} % ({distance_text(score)})"
            yield Finding(Severity.LOOK, "asymmetry", cases[index].case, text, abs(percent[index]))
