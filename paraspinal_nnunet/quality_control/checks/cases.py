"""Findings on single cases that need no other case: files, grids, values, sides, gaps, islands and borders."""

from collections.abc import Iterator, Sequence

from paraspinal_nnunet.measures.quality import WRONG_SIDE_ML, WRONG_SIDE_SHARE
from paraspinal_nnunet.quality_control.classes import LabelClass, side_pairs_of
from paraspinal_nnunet.quality_control.dataset import Dataset
from paraspinal_nnunet.quality_control.findings import Finding, Severity
from paraspinal_nnunet.quality_control.measurements import CaseMeasurements, ClassMeasurements, LabelMeasurements
from paraspinal_nnunet.utils.text import pluralize, slice_ranges, some

ISLANDS_ML, ISLANDS_SHARE = 0.5, 0.01
"""Islands of a class from so many ml on, or from such a share of it on, should be looked at; a few stray voxels are
noted only."""


def case_findings(measured: CaseMeasurements, dataset: Dataset) -> Iterator[Finding]:
    """What one case has wrong by itself.

    Args:
        measured: What was measured of it.
        dataset: The data set it belongs to.
    """
    for kind, text in measured.errors:
        yield Finding(Severity.PROBLEM, kind, measured.case, text)
    labels = measured.labels
    if labels is None:
        return
    for severity, kind, text, weight in (
        *_value_faults(labels, dataset.classes),
        *_side_faults(labels, dataset.classes),
        *_slice_faults(labels, dataset.classes),
        *_shape_faults(labels, dataset.classes),
    ):
        yield Finding(severity, kind, measured.case, text, weight)


Fault = tuple[Severity, str, str, float]


def _value_faults(labels: LabelMeasurements, classes: Sequence[LabelClass]) -> Iterator[Fault]:
    if labels.grid_difference is not None:
        text = f"labels lie on another grid than the image ({labels.grid_difference})"
        yield Severity.PROBLEM, "grid", text, 0.0
    if labels.unknown:
        values = some((f"{v} ({pluralize(n, 'voxel')})" for v, n in labels.unknown.items()), 4)
        yield Severity.PROBLEM, "values", f"label values that dataset.json does not know: {values}", 0.0
    missing = [c.display_name for c in classes if not labels.classes[c.value].voxels]
    if missing and len(missing) == len(classes):
        yield Severity.PROBLEM, "empty", "the label map is empty", 1.0
    elif missing:
        yield Severity.LOOK, "empty", f"no voxel is {some(missing)}", float(len(missing))


def _side_faults(labels: LabelMeasurements, classes: Sequence[LabelClass]) -> Iterator[Fault]:
    swapped = []
    for text in labels.out_of_place:
        yield Severity.PROBLEM, "label scheme", text, 1.0
    for pair in side_pairs_of(classes):
        right, left = (labels.classes[c.value] for c in (pair.right, pair.left))
        name = _muscle(pair.right)
        if right.voxels and left.voxels and right.x_mm < left.x_mm:
            swapped.append(f"{name}: right at x = {right.x_mm:.1f} mm, left at x = {left.x_mm:.1f} mm")
        elif slices := labels.swapped_slices.get(pair.muscle):
            text = f"{name}: right lies to the left of left in {slice_ranges(slices)}"
            yield Severity.PROBLEM, "sides", text, float(len(slices))
    swapped += _lone_sides(labels, classes)
    if swapped:
        text = f"sides contradict the geometry ({'; '.join(swapped)}; x grows to the patient's right)"
        yield Severity.PROBLEM, "sides", text, 1e6 * len(swapped)
    elif not labels.out_of_place:
        yield from _pieces_beyond_the_midline(labels, classes)


def _pieces_beyond_the_midline(labels: LabelMeasurements, classes: Sequence[LabelClass]) -> Iterator[Fault]:
    for label in classes:
        found = labels.beyond_midline.get(label.name)
        if found is None or set(found.slices) <= set(labels.swapped_slices.get(label.muscle, ())):
            continue
        text = f"{label.display_name} has {found.volume_ml:.2g} ml beyond the midline, in {slice_ranges(found.slices)}"
        serious = found.share >= WRONG_SIDE_SHARE or found.volume_ml >= WRONG_SIDE_ML
        yield Severity.PROBLEM if serious else Severity.LOOK, "sides", text, found.volume_ml


def _lone_sides(labels: LabelMeasurements, classes: Sequence[LabelClass]) -> Iterator[str]:
    """Muscles labelled on one side only, which lies beyond the other side of the other muscles."""
    x_mm = {c: labels.classes[c.value].x_mm for c in classes if c.side and labels.classes[c.value].voxels}
    muscles = [c.muscle for c in x_mm]
    for label in x_mm:
        others = [x for c, x in x_mm.items() if c.side != label.side]
        if not others or muscles.count(label.muscle) > 1:
            continue
        other = sum(others) / len(others)
        if (x_mm[label] < other) == (label.side == "right"):
            far = "left" if label.side == "right" else "right"
            yield f"{label.display_name} at x = {x_mm[label]:.1f} mm, {far} of other muscles at x = {other:.1f} mm"


def _slice_faults(labels: LabelMeasurements, classes: Sequence[LabelClass]) -> Iterator[Fault]:
    if labels.empty_inside:
        first, last = labels.labelled_slices
        text = f"no label at all in {slice_ranges(labels.empty_inside)}, within the labelled {first}-{last}"
        yield Severity.PROBLEM, "gap", text, float(len(labels.empty_inside))
    for label in classes:
        own = labels.classes[label.value]
        gaps = [k for k in own.gaps if k not in labels.empty_inside]
        if gaps:
            within = f"within its {own.first_slice}-{own.last_slice}"
            text = f"{label.display_name} is missing in {slice_ranges(gaps)}, {within}"
            yield Severity.LOOK, "gap", text, float(len(gaps))


def _shape_faults(labels: LabelMeasurements, classes: Sequence[LabelClass]) -> Iterator[Fault]:
    for label in classes:
        own = labels.classes[label.value]
        if own.islands:
            yield (_island_severity(label, own), "islands", _island_text(label, own), own.island_ml)
        if own.border_voxels:
            there = pluralize(own.border_voxels, "voxel")
            text = f"{label.display_name} is cut off by the border of the image ({there} there)"
            yield Severity.LOOK, "border", text, float(own.border_voxels)


def _island_severity(label: LabelClass, own: ClassMeasurements) -> Severity:
    """A class that has both sides of a muscle lies in two large parts in every healthy case."""
    if not label.side:
        return Severity.NOTE
    large = own.island_ml >= ISLANDS_ML or own.island_voxels >= ISLANDS_SHARE * own.voxels
    return Severity.LOOK if large else Severity.NOTE


def _island_text(label: LabelClass, own: ClassMeasurements) -> str:
    size = f"{pluralize(own.island_voxels, 'voxel')}, {own.island_ml:.2g} ml"
    return f"{label.display_name} has {pluralize(own.islands, 'island')} beside its largest part ({size})"


def _muscle(label: LabelClass) -> str:
    if label.structure is not None:
        return label.structure.muscle.display_name
    return label.muscle.replace("_", " ")
