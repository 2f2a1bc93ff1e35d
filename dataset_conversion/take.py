"""Taking one case: load, check, translate the labels, write; the part of a conversion that runs in worker processes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet.anatomy import Structure
from paraspinal_nnunet.dataset_conversion.bias_field import correct_bias_field
from paraspinal_nnunet.dataset_conversion.cases import Case, Checks, Outcome, Source
from paraspinal_nnunet.dataset_conversion.checks import (
    check_classes,
    check_image,
    check_same_grid,
    match_grid,
    voxel_hash,
)
from paraspinal_nnunet.dataset_conversion.labels import LabelMap
from paraspinal_nnunet.errors import ParaspinalError
from paraspinal_nnunet.geometry import axis_codes, check_sides, side_evidence
from paraspinal_nnunet.nifti import Volume, write_image, write_labels

IMAGES = "imagesTr"
LABELS = "labelsTr"
SECOND_LABELS = "labels_rater2"
FILE_ENDING = ".nii.gz"


def take_case(case: Case, *, source: Source, checks: Checks, folder: Path) -> Outcome:
    """Check one case and write its files.

    Args:
        case: What the finder found.
        source: How it is read and labelled.
        checks: What is demanded of it.
        folder: The unfinished data set, with its sub-folders.

    Returns:
        The outcome; a known fault of the case is a refusal, not an exception.
    """
    try:
        return _take(case, source, checks, folder)
    except ParaspinalError as error:
        return Outcome(case, reason=" ".join(str(error).split()))


def _take(case: Case, source: Source, checks: Checks, folder: Path) -> Outcome:
    images = _checked_images(case, source)
    image = images[0]
    labels, facts = _checked_labels(case, image, source, checks)
    facts = {**_grid_facts(image), **facts}
    stored_hash = voxel_hash(*images)
    second = None
    if case.second_label is not None:
        second, second_facts = _checked_labels(replace(case, label=case.second_label), image, source, checks)
        facts["second_rater"] = second_facts
    if checks.n4:
        images = tuple(correct_bias_field(i, str(path)) for i, path in zip(images, case.images, strict=True))
        facts["bias_field_corrected"] = True
    for channel, stored in enumerate(images):
        write_image(folder / IMAGES / f"{case.case}_{channel:04d}{FILE_ENDING}", stored.array, image.affine)
    write_labels(folder / LABELS / f"{case.case}{FILE_ENDING}", labels, image.affine)
    if second is not None:
        write_labels(folder / SECOND_LABELS / f"{case.case}{FILE_ENDING}", second, image.affine)
    return Outcome(case, image_hash=stored_hash, facts=facts)


def _checked_images(case: Case, source: Source) -> tuple[Volume, ...]:
    images = source.read_images(case)
    for image, path in zip(images, case.images, strict=True):
        check_image(image, str(path))
        check_same_grid(image, images[0], str(path), str(case.image))
    return images


def _checked_labels(case: Case, image: Volume, source: Source, checks: Checks) -> tuple[np.ndarray, dict[str, Any]]:
    """The data set's label map of `case.label` on the image's grid, and the facts about it."""
    name, classes = str(case.label), source.labels.structures
    stored = source.read_labels(case)
    labels, difference = match_grid(stored, image, name, resample=checks.resample_labels)
    canonical = source.labels.canonical(labels.array, name)
    missing = check_classes(canonical, classes, name, allow_empty=checks.allow_empty)
    check_sides(canonical, image.affine, classes, name)
    facts: dict[str, Any] = {
        "volumes_ml": _volumes_ml(canonical, image, classes),
        "centroids_x_mm": {
            e.muscle: {"right": round(e.right_x_mm, 2), "left": round(e.left_x_mm, 2)}
            for e in side_evidence(canonical, image.affine, classes)
        },
    }
    if missing:
        facts["missing_classes"] = missing
    if dropped := _dropped_voxels(labels.array, source.labels):
        facts["dropped_voxels"] = dropped
    if difference is not None:
        before = np.count_nonzero(stored.array) * stored.voxel_volume_ml
        after = np.count_nonzero(labels.array) * labels.voxel_volume_ml
        facts["resampled"] = {"from": difference, "labelled_ml": [round(before, 3), round(after, 3)]}
    return source.labels.renumber(canonical), facts


def _grid_facts(image: Volume) -> dict[str, Any]:
    return {
        "shape": list(image.shape),
        "spacing_mm": [round(mm, 5) for mm in image.spacing_mm],
        "stored_axes": axis_codes(image.affine),
        "number_type": str(image.array.dtype),
    }


def _volumes_ml(canonical: np.ndarray, image: Volume, classes: tuple[Structure, ...]) -> dict[str, float]:
    counts = np.bincount(canonical[canonical != 0], minlength=256)
    return {s.key: round(float(counts[s.label]) * image.voxel_volume_ml, 3) for s in classes}


def _dropped_voxels(array: np.ndarray, labels: LabelMap) -> Mapping[str, int]:
    counts = {str(value): int(np.count_nonzero(array == value)) for value in labels.dropped}
    return {value: count for value, count in counts.items() if count}
