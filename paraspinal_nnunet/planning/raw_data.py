"""Checks of a raw data set before it is planned, whoever made it: every case that cannot be trained on, in one go."""

import glob
import hashlib
import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.errors import DatasetError, InputError, LabelError, ParaspinalError, one_line
from paraspinal_nnunet.image_io.geometry import axis_codes, centroids_x_mm, check_spacing, grid_difference
from paraspinal_nnunet.image_io.images import read_image
from paraspinal_nnunet.image_io.masks.label_names import class_called
from paraspinal_nnunet.image_io.nifti import read_header
from paraspinal_nnunet.image_io.nifti_header import affine_mm
from paraspinal_nnunet.measures.places.positions import check_positions
from paraspinal_nnunet.nnunet.datasets import case_ids, read_cases
from paraspinal_nnunet.planning.dataset_json import CONVERT, FILE_ENDING, IGNORE, Description, read_description
from paraspinal_nnunet.utils.progress import progress
from paraspinal_nnunet.utils.workers import results_of

log = logging.getLogger(__name__)

NAMED = 5
"""Cases that the error itself names; all of them are logged, one line each."""

IMAGE_ENDINGS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".img", ".hdr", ".mgz", ".dcm", ".tif", ".png")

_SIDES = {"right": "left", "r": "l"}
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True)
class RawCase:
    """One training case of the raw data set: one image per channel, and its label map."""

    name: str
    images: tuple[Path, ...]
    labels: Path


@dataclass(frozen=True)
class VoxelFindings:
    """What the voxels of a case showed.

    Attributes:
        problems: Why it cannot be trained on.
        present: Label values that occur.
        digest: Hash of the images' voxels.
    """

    problems: tuple[str, ...]
    present: frozenset[int] = frozenset()
    digest: str = ""


def check_raw_data(raw: Path, *, processes: int) -> None:
    """Refuse a data set with cases that would be read wrongly or cannot be trained on; headers first, then voxels.

    Args:
        raw: The raw data set.
        processes: Workers that read the voxels.

    Raises:
        DatasetError: With the first cases and their faults; each case is logged in a line of its own.
    """
    description = read_description(raw)
    _refuse_other_files(raw)
    cases = [_case(raw, name, description.channels) for name in case_ids(raw)]
    problems: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        problems[case.name] += _header_problems(case, description)
    readable = [case for case in cases if not problems[case.name]]
    examine = partial(examine_voxels, labels=dict(description.labels))
    found = results_of(examine, readable, workers=processes, name=lambda case: case.name)
    found = progress(found, what="checking", total=len(readable), disable=None)
    findings = {case.name: finding for case, finding in zip(readable, found, strict=True)}
    for name, finding in findings.items():
        problems[name] += finding.problems
    for name, other in _copies(raw, findings).items():
        problems[name].append(f"has the same image as {other}, which is another subject's; remove one of them")
    _refuse(raw, {name: "; ".join(texts) for name, texts in problems.items() if texts}, len(cases))
    _tell_missing_classes(raw, description.classes, findings)


def examine_voxels(case: RawCase, labels: Mapping[str, int]) -> VoxelFindings:
    """Read a case's voxels as they will be trained on.

    Args:
        case: With sound headers.
        labels: Name -> value.
    """
    digest = hashlib.sha256()
    problems = []
    try:
        for path in case.images:
            array = read_image(path).array
            if array.min() == array.max():
                problems.append(f"{path.name}: all voxels are {array.flat[0]:g}")
            digest.update(np.ascontiguousarray(array, dtype=np.float32).data)
        volume = read_image(case.labels)
    except InputError as error:
        return VoxelFindings((one_line(error),))
    values = volume.array
    if values.dtype.kind == "f":
        off = values != np.rint(values)
        if off.any():
            text = f"{case.labels.name}: {int(off.sum())} voxels have no integer label, e.g. {values[off][0]:.6g}"
            return VoxelFindings((*problems, f"{text}; nnU-Net would cut the digits off"))
        values = values.astype(np.int64)
    counted = np.unique(values) if values.min() < 0 else np.flatnonzero(np.bincount(values.ravel()))
    present = frozenset(counted.tolist())
    unknown = sorted(present - set(labels.values()))
    if unknown:
        problems.append(f"{case.labels.name}: has label values {unknown}, which dataset.json does not name")
    elif not present - {0, labels.get(IGNORE)}:
        problems.append(f"{case.labels.name}: no voxel is labelled")
    else:
        problems += _side_problems(values, volume.affine, labels) or _place_problems(values, volume.affine, labels)
    return VoxelFindings(tuple(problems), present, digest.hexdigest())


def _refuse_other_files(raw: Path) -> None:
    """Images that nnU-Net would leave out in silence, because their names end otherwise."""
    for folder in ("imagesTr", "labelsTr"):
        files = [p.name for p in (raw / folder).glob("*") if p.is_file() and not p.name.startswith(".")]
        others = sorted(name for name in files if not name.endswith(FILE_ENDING))
        images = [name for name in others if name.lower().endswith(IMAGE_ENDINGS)]
        if images:
            raise DatasetError(
                f"{raw.name}/{folder}: {images[0]} is no {FILE_ENDING} file ({len(images)} such) and would be passed "
                f"over; {CONVERT}"
            )
        for name in others:
            log.warning("%s/%s: %s is no image and is left out", raw.name, folder, name)


def _case(raw: Path, name: str, channels: int) -> RawCase:
    folder = raw / "imagesTr"
    images = tuple(sorted(folder.glob(f"{glob.escape(name)}_[0-9][0-9][0-9][0-9]{FILE_ENDING}")))
    return RawCase(name, images, raw / "labelsTr" / f"{name}{FILE_ENDING}")


def _header_problems(case: RawCase, description: Description) -> list[str]:
    expected = [f"{case.name}_{number:04d}{FILE_ENDING}" for number in range(description.channels)]
    if [path.name for path in case.images] != expected:
        found = ", ".join(path.name for path in case.images)
        return [f"dataset.json names {description.channels} channels, imagesTr holds {found}"]
    problems, grids = [], {}
    for path in (*case.images, case.labels):
        try:
            grids[path] = _grid(path)
        except ParaspinalError as error:
            problems.append(one_line(error))
    first = case.images[0]
    for path in (path for path in grids if path != first and first in grids):
        (shape, affine), (image_shape, image_affine) = grids[path], grids[first]
        if axis_codes(affine) != axis_codes(image_affine):
            problems.append(
                f"{path.name}: is stored in {axis_codes(affine)}, {first.name} in {axis_codes(image_affine)}; where a "
                "header was mirrored, sides are exchanged: store both alike"
            )
        elif difference := grid_difference(shape, affine, image_shape, image_affine):
            problems.append(f"{path.name}: lies on another grid than {first.name} ({difference})")
    return problems


def _grid(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine from a header, as nnU-Net's reader takes them.

    Raises:
        InputError: Unreadable, or not three-dimensional.
        GeometryError: No orientation, voxels as no scanner makes them, or another unit than millimetres.
    """
    header = read_header(path)
    axes = int(header.checked["dim"][0])
    if axes != 3:
        raise InputError(f"{path.name}: has {axes} dimensions; nnU-Net's reader takes three")
    affine, remarks = affine_mm(header, Path(path.name))
    unit = [remark for remark in remarks if "counts in" in remark]
    if unit:
        raise InputError(f"{path.name}: {unit[0]}, which nnU-Net's reader takes for mm; write it in mm")
    check_spacing(affine, path.name)
    return header.shape, affine


def _side_problems(values: np.ndarray, affine: np.ndarray, labels: Mapping[str, int]) -> list[str]:
    """Right labels that do not lie to the patient's right of their partners, or, alone, of all left labels."""
    x_mm = centroids_x_mm(values, affine)
    pairs = side_label_pairs(labels)
    rights = [x_mm[labels[right]] for right, _ in pairs if labels[right] in x_mm]
    lefts = [x_mm[labels[left]] for _, left in pairs if labels[left] in x_mm]
    if not rights or not lefts:
        return []
    wrong = []
    for right, left in pairs:
        found = [x_mm.get(labels[name]) for name in (right, left)]
        if found == [None, None]:
            continue
        right_x = float(np.mean(rights)) if found[0] is None else found[0]
        left_x = float(np.mean(lefts)) if found[1] is None else found[1]
        if not right_x > left_x:
            wrong.append(f"{right} at x = {right_x:.1f} mm, {left} at x = {left_x:.1f} mm")
    if not wrong:
        return []
    return [f"labels contradict the scanner's left and right ({'; '.join(wrong)}; x grows to the patient's right)"]


def _place_problems(values: np.ndarray, affine: np.ndarray, labels: Mapping[str, int]) -> list[str]:
    """Muscles that lie where those of another label scheme would, by whatever names; other labels are not judged."""
    known = {value: BY_KEY[key] for name, value in labels.items() if (key := class_called(name))}
    canonical = np.zeros(values.shape, np.uint8)
    for value, structure in known.items():
        canonical[values == value] = structure.label
    try:
        check_positions(canonical, affine, list(known.values()), "labels")
    except LabelError as error:
        return [one_line(error)]
    return []


def side_label_pairs(labels: Mapping[str, int]) -> list[tuple[str, str]]:
    """(right, left) names of all labels that have both sides.

    >>> side_label_pairs({"background": 0, "psoas_right": 1, "psoas_left": 2, "MF_L": 3, "MF_R": 4})
    [('psoas_right', 'psoas_left'), ('MF_R', 'MF_L')]
    >>> side_label_pairs({"PsoasRight": 1, "psoasL": 2, "KidneyR": 3, "kidney L": 4})
    [('PsoasRight', 'psoasL'), ('KidneyR', 'kidney L')]
    """
    told = {class_called(name) or _HUMP.sub(" ", name).lower(): name for name in labels}
    pairs = []
    for text, name in told.items():
        other = _WORD.sub(lambda word: _SIDES.get(word[0], word[0]), text)
        if other != text and other in told:
            pairs.append((name, told[other]))
    return pairs


def _copies(raw: Path, findings: Mapping[str, VoxelFindings]) -> dict[str, str]:
    """Cases whose image is another subject's too: one of them could test what the other has taught."""
    cases = read_cases(raw)
    subject = dict(zip(cases["case"], cases["subject"], strict=True))
    first: dict[str, str] = {}
    for name, finding in findings.items():
        if finding.digest:
            first.setdefault(finding.digest, name)
    pairs = {name: first[f.digest] for name, f in findings.items() if f.digest}
    return {name: other for name, other in pairs.items() if subject[name] != subject[other]}


def _refuse(raw: Path, problems: Mapping[str, str], total: int) -> None:
    for name, text in problems.items():
        log.error("%s: %s", name, text)
    if problems:
        named: Sequence[str] = [f"{name}: {text}" for name, text in list(problems.items())[:NAMED]]
        rest = f" | and {len(problems) - NAMED} more, listed above" if len(problems) > NAMED else ""
        raise DatasetError(
            f"{raw.name}: {len(problems)} of {total} cases cannot be trained on: {' | '.join(named)}{rest}; correct "
            "them, or convert the data set anew ('paraspinal convert' checks each case too)"
        )


def _tell_missing_classes(raw: Path, classes: Mapping[str, int], findings: Mapping[str, VoxelFindings]) -> None:
    for label, value in classes.items():
        without = [name for name, finding in findings.items() if value not in finding.present]
        if len(without) == len(findings):
            raise DatasetError(f"{raw.name}: dataset.json names {label} ({value}), but no case has a voxel of it")
        for name in without:
            log.warning("%s: no voxel is %s", name, label)
