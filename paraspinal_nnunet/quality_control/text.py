"""An inspection as text: the ranges of the data set first, then the findings, the worst first."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from paraspinal_nnunet.quality_control.checks.outliers import LEAST_VALUES, RULE
from paraspinal_nnunet.quality_control.checks.volumes import PAPER_SOURCE
from paraspinal_nnunet.quality_control.findings import Severity, counts
from paraspinal_nnunet.quality_control.run import Inspection
from paraspinal_nnunet.utils.text import aligned, pluralize, quantity, some

MOST_FINDINGS = 60
"""Findings printed at most; files hold them all."""

Rows = list[tuple[str, ...]]


def inspection_text(inspection: Inspection, *, most: int | None = MOST_FINDINGS) -> str:
    """The tables that the command prints.

    Args:
        inspection: What was found.
        most: Findings printed at most; None prints all.
    """
    shown = inspection.findings if most is None else inspection.findings[:most]
    blocks = [f"{inspection.dataset.folder.name}: {opening(inspection)}", aligned(summary_rows(inspection))]
    blocks.append(aligned(volume_rows(inspection), numbers_from=1) + f"\npaper: {PAPER_SOURCE}")
    if folds := fold_rows(inspection):
        blocks.append(aligned(folds, numbers_from=1))
    if shown:
        rows = [("severity", "about", "case", "finding")]
        blocks.append(aligned(rows + [(f.severity.word, f.kind, some(f.cases) or "all", f.text) for f in shown]))
    blocks.append("\n".join(closing(inspection, len(shown))))
    return "\n\n".join(blocks)


def opening(inspection: Inspection) -> str:
    """Cases and subjects in one line."""
    cases, subjects = len(inspection.cases), len(set(inspection.dataset.subjects.values()))
    return f"{pluralize(cases, 'case')} of {pluralize(subjects, 'subject')}"


def closing(inspection: Inspection, shown: int) -> list[str]:
    """The lines below the findings."""
    found = counts(inspection.findings)
    total = sum(found.values())
    lines = [f"{total - shown} more findings; -o FOLDER writes all"] if shown < total else []
    if len(inspection.cases) < LEAST_VALUES:
        lines.append(f"outliers were not looked for: fewer than {LEAST_VALUES} cases")
    else:
        lines.append(f"outliers: {RULE}")
    plural = [pluralize(found[s.word], s.word if s is not Severity.LOOK else "finding") for s in Severity]
    return [*lines, f"{plural[0]}, {plural[1]} to look at, {plural[2]}"]


def summary_rows(inspection: Inspection) -> Rows:
    """What -> lowest, median and highest value, or counts."""
    cases = [case for case in inspection.cases if case.spacing_mm is not None and case.shape is not None]
    rows: Rows = [("measure", "lowest", "median", "highest")]
    for axis, name in enumerate(("right", "front", "head")):
        rows.append((f"voxels to the {name}", *_range([f.shape[axis] for f in cases if f.shape])))
    for axis, name in enumerate(("right", "front", "head")):
        rows.append((f"voxel size to the {name} (mm)", *_range([f.spacing_mm[axis] for f in cases if f.spacing_mm])))
    rows.append(("obliquity (degrees)", *_range([f.obliquity_deg for f in cases])))
    for number, name in enumerate(inspection.dataset.channels):
        own = [f.channels[number] for f in cases if number < len(f.channels)]
        prefix = f"{name}: " if len(inspection.dataset.channels) > 1 else ""
        rows.append((f"{prefix}smallest intensity", *_range([c.minimum for c in own])))
        rows.append((f"{prefix}mean intensity", *_range([c.mean for c in own])))
        rows.append((f"{prefix}SD of the intensity", *_range([c.sd for c in own])))
        rows.append((f"{prefix}99th percentile", *_range([c.percentiles[99] for c in own])))
        rows.append((f"{prefix}zeros (%)", *_range([100 * c.zero_share for c in own])))
    labels = [f.labels for f in inspection.cases if f.labels is not None and f.labels.labelled_slices[1]]
    rows.append(("labelled length (mm)", *_range([m.labelled_mm for m in labels])))
    rows.append(("slices without labels, outside", *_range([sum(m.empty_outside) for m in labels])))
    rows.append(("stored axes", _counted([f.stored_axes for f in cases])))
    rows.append(("number types", _counted([c.number_type for f in cases for c in f.channels])))
    return rows


def volume_rows(inspection: Inspection) -> Rows:
    """Class -> volumes and lengths, beside the paper's."""
    rows: Rows = [("volume (ml)", "cases", "mean (SD)", "range", "paper", "length (mm)", "mean area (cm²)")]
    for v in inspection.volumes:
        paper = "" if v.reference is None else f"{v.reference.mean_ml:.1f} ({v.reference.sd_ml:.1f})"
        spread = "–" if np.isnan(v.sd_ml) else f"{v.sd_ml:.1f}"
        numbers = (f"{v.mean_ml:.1f} ({spread})", f"{v.lowest_ml:.1f}–{v.highest_ml:.1f}") if v.cases else ("–", "–")
        median = (f"{v.median_length_mm:.0f}", f"{v.median_area_cm2:.1f}") if v.cases else ("–", "–")
        rows.append((v.label.display_name, str(v.cases), *numbers, paper, *median))
    return rows


def fold_rows(inspection: Inspection) -> Rows:
    """Fold -> cases, subjects, sex and age; nothing where there are no folds."""
    rows: Rows = [("fold", "train cases", "test cases", "train subjects", "test subjects", "test women", "test age")]
    for number, fold in enumerate(inspection.splits.folds):
        women = f"{fold.test_female} of {fold.test_sex_known}" if fold.test_sex_known else "–"
        age = "–" if np.isnan(fold.test_age_mean) else f"{fold.test_age_mean:.1f}"
        sizes = (fold.train_cases, fold.test_cases, fold.train_subjects, fold.test_subjects)
        rows.append((str(number), *map(str, sizes), women, age))
    return rows if len(rows) > 1 else []


def _range(values: Sequence[float]) -> tuple[str, str, str]:
    known = np.array([v for v in values if np.isfinite(v)], float)
    if not len(known):
        return "–", "–", "–"
    low, median, high = (quantity(float(v)) for v in (known.min(), np.median(known), known.max()))
    return low, median, high


def _counted(words: Sequence[str]) -> str:
    return ", ".join(f"{word} in {n}" for word, n in Counter(words).most_common()) or "–"
