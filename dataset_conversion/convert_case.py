"""Converting one case: load, check, translate the labels, write; this part of a conversion runs in worker processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet.anatomy import Structure
from paraspinal_nnunet.dataset_conversion.case import Case, CaseOutcome, Checks, Source, paths_of
from paraspinal_nnunet.dataset_conversion.images.bias_field import check_magnitudes, correct_bias_field
from paraspinal_nnunet.dataset_conversion.images.channels import match_channels
from paraspinal_nnunet.dataset_conversion.images.crop import cropped, labelled_range
from paraspinal_nnunet.dataset_conversion.labels.sides import SidesError, settle_sides
from paraspinal_nnunet.dataset_conversion.labels.translation import LabelTranslation
from paraspinal_nnunet.dataset_conversion.resume import StagingFolder, Task
from paraspinal_nnunet.errors import DatasetError, GeometryError, InputError, ParaspinalError, one_line
from paraspinal_nnunet.image_io.checks import check_classes, check_image, match_grid, voxel_hash
from paraspinal_nnunet.image_io.geometry import axis_codes, side_evidence, through_plane_axis
from paraspinal_nnunet.image_io.masks.label_names import check_names
from paraspinal_nnunet.image_io.nifti import write_image, write_labels
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.places.positions import check_positions
from paraspinal_nnunet.nnunet.datasets import SECOND_LABELS

IMAGES = "imagesTr"
LABELS = "labelsTr"
FILE_ENDING = ".nii.gz"


def convert_case(task: Task, *, source: Source, checks: Checks, staging: StagingFolder | None) -> CaseOutcome:
    """Check one case and write its files.

    Args:
        task: What the finder found.
        source: How it is read and labelled.
        checks: What is demanded of it.
        staging: The unfinished data set; None checks only.

    Returns:
        The outcome; a known fault of the case is a refusal, not an exception.

    Raises:
        DatasetError: Not enough memory.
        OSError: The files cannot be written.
    """
    case = task.case
    try:
        checked, outcome = _checked(case, source, checks, written=staging is not None)
    except SidesError as error:
        facts = {"sides": "contradict" if error.fixable else "contradict in part"}
        checked, outcome = None, CaseOutcome(case, reason=one_line(error), facts=facts)
    except ParaspinalError as error:
        checked, outcome = None, CaseOutcome(case, reason=one_line(error))
    except OSError as error:
        reason = f"{error.filename or case.image}: cannot be read ({error.strerror or error})"
        checked, outcome = None, CaseOutcome(case, reason=one_line(reason))
    except MemoryError as error:
        raise DatasetError(
            f"{case.image}: memory does not suffice for this case; give fewer workers with -np"
        ) from error
    if staging is not None and checked is not None:
        staging.keep(task, outcome, _write(case, checked, staging.dataset))
    return outcome


@dataclass(frozen=True)
class _Checked:
    """What is written of a case: channels, and each rater's map in the data set's values."""

    images: tuple[Volume, ...]
    maps: tuple[Volume, ...]


def _checked(case: Case, source: Source, checks: Checks, *, written: bool) -> tuple[_Checked, CaseOutcome]:
    raters = [case.label, *([case.second_label] if case.second_label else [])]
    _check_links(paths_of(case))
    images, channel_facts = _checked_images(case, source, checks)
    classes, names = source.labels.structures, [str(path) for path in raters]
    maps, facts_of = zip(
        *(_checked_labels(changed(case, label=path), images[0], source, checks) for path in raters), strict=True
    )
    maps, affine, sides = settle_sides(maps, images[0].affine, classes, names, policy=checks.sides)
    for canonical, name in zip(maps, names, strict=True):
        check_positions(canonical, affine, classes, name)
    images = tuple(Volume(image.array, affine) for image in images)
    for canonical, facts in zip(maps, facts_of, strict=True):
        facts.update(_muscle_facts(canonical, images[0], classes))
    facts = {**channel_facts, **facts_of[0]}
    if sides:
        facts["sides"] = sides
    if len(raters) > 1:
        facts["second_rater"] = facts_of[1]
    stored_hash = voxel_hash(*images)
    if checks.n4:
        facts["bias_field_corrected"] = True
        images = _without_bias_field(images, case, written=written)
    labels = tuple(Volume(source.labels.renumber(canonical), affine) for canonical in maps)
    if checks.crop_margin is not None:
        kept = labelled_range(maps, affine, names[0], margin=checks.crop_margin)
        facts["cropped_slices"] = {
            "first": kept.start,
            "last": kept.stop - 1,
            "of": images[0].shape[through_plane_axis(affine)],
        }
        images, labels = (tuple(cropped(volume, kept) for volume in group) for group in (images, labels))
    return _Checked(images, labels), CaseOutcome(
        case, image_hash=stored_hash, facts={**_grid_facts(images[0]), **facts}
    )


def _write(case: Case, checked: _Checked, dataset: Path) -> list[Path]:
    files = []
    for channel, image in enumerate(checked.images):
        files.append(dataset / IMAGES / f"{case.case}_{channel:04d}{FILE_ENDING}")
        write_image(files[-1], image.array, image.affine)
    for folder, labels in zip((LABELS, SECOND_LABELS), checked.maps, strict=False):
        files.append(dataset / folder / f"{case.case}{FILE_ENDING}")
        write_labels(files[-1], labels.array, labels.affine)
    return files


def _check_links(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_symlink() and not path.exists():
            raise InputError(f"{path}: is a broken link to {path.readlink()}; restore the file or fix the link")


def _checked_images(case: Case, source: Source, checks: Checks) -> tuple[tuple[Volume, ...], dict[str, Any]]:
    read = source.read_images(case)
    names = [str(path) for path in case.images] if len(case.images) == len(read) else [str(case.image)] * len(read)
    for image, name in zip(read, names, strict=True) if source.box is None else ():
        check_image(image, name)
    images, differences = match_channels(read, names, resample=checks.resample_channels)
    facts: dict[str, Any] = {}
    if remarks := list(dict.fromkeys(remark for image in read for remark in image.remarks)):
        facts["image_header"] = remarks
    if differences:
        facts["channels_resampled"] = {source.channels[int(place)]: text for place, text in differences.items()}
    return images, facts


def _without_bias_field(images: tuple[Volume, ...], case: Case, *, written: bool) -> tuple[Volume, ...]:
    for image in images:
        check_magnitudes(image, str(case.image))
    return tuple(correct_bias_field(image, str(case.image)) for image in images) if written else images


def _checked_labels(case: Case, image: Volume, source: Source, checks: Checks) -> tuple[np.ndarray, dict[str, Any]]:
    """The canonical label map of `case.label` on the image's grid, and the facts about it."""
    name = str(case.label)
    stored = source.read_labels(case)
    check_names(stored.value_names, source.labels.values, name)
    labels, difference = match_grid(stored, image, name, resample=checks.resample_labels)
    if stored.array.any() and not labels.array.any():
        raise GeometryError(
            f"{name}: lies wholly outside its image ({difference}), so that resampling leaves no label; is it this "
            "image's, and is the origin in both headers right?"
        )
    canonical = source.labels.canonical(labels.array, name)
    facts: dict[str, Any] = {"label_header": list(stored.remarks)} if stored.remarks else {}
    if missing := check_classes(canonical, source.labels.structures, name, allow_empty=checks.allow_empty):
        facts["missing_classes"] = missing
    if dropped := _dropped_voxels(labels.array, source.labels):
        facts["dropped_voxels"] = dropped
    if difference is not None:
        before = np.count_nonzero(stored.array) * stored.voxel_volume_ml
        after = np.count_nonzero(labels.array) * labels.voxel_volume_ml
        facts["resampled"] = {"from": difference, "labelled_ml": [round(before, 3), round(after, 3)]}
    return canonical, facts


def _muscle_facts(canonical: np.ndarray, image: Volume, classes: tuple[Structure, ...]) -> dict[str, Any]:
    counts = np.bincount(canonical[canonical != 0], minlength=256)
    return {
        "volumes_ml": {s.key: round(float(counts[s.label]) * image.voxel_volume_ml, 3) for s in classes},
        "centroids_x_mm": {
            e.muscle: {"right": round(e.right_x_mm, 2), "left": round(e.left_x_mm, 2)}
            for e in side_evidence(canonical, image.affine, classes)
        },
    }


def _grid_facts(image: Volume) -> dict[str, Any]:
    return {
        "shape": list(image.shape),
        "spacing_mm": [round(mm, 5) for mm in image.spacing_mm],
        "stored_axes": axis_codes(image.affine),
        "number_type": str(image.array.dtype),
    }


def _dropped_voxels(array: np.ndarray, labels: LabelTranslation) -> Mapping[str, int]:
    counts = {str(value): int(np.count_nonzero(array == value)) for value in labels.dropped}
    return {value: count for value, count in counts.items() if count}
