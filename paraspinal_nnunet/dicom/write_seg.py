"""Masks as DICOM SEG: each source frame finds its voxels by geometry, each muscle and side is a coded segment."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import MUSCLE_CODES, PARASPINAL, SIDE_CODES, Structure
from paraspinal_nnunet.dicom.headers import read_file
from paraspinal_nnunet.dicom.packages import get_highdicom, get_pydicom
from paraspinal_nnunet.dicom.records import Frame, Kind
from paraspinal_nnunet.dicom.splitting import POSITION_TOLERANCE_MM
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError, one_line
from paraspinal_nnunet.image_io.geometry import RAS_FROM_LPS
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.utils.files import atomic_path

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ON_GRID_TOLERANCE = 0.02
"""Pixels of the source lie on the mask's voxels within this share of a voxel: positions have few digits."""

SERIES_NUMBER_STEP = 1000
"""Added to the source's series number, so that viewers list the mask apart from the scans."""

_ANATOMICAL_STRUCTURE = ("123037004", "SCT", "Anatomical Structure")
_ARTIFICIAL_INTELLIGENCE = ("123110", "DCM", "Artificial Intelligence")
"""Source: DICOM PS3.16, CID 7162."""

_LONGEST = 64  # characters of a LO element


def write_segmentation(
    path: Path,
    labels: Volume,
    source_files: Sequence[Path],
    structures: Sequence[Structure] = PARASPINAL,
    *,
    model_name: str,
    version: str = __version__,
    series_description: str = "Paraspinal muscles",
    series_number: int | None = None,
) -> Path:
    """Write a mask as one DICOM SEG object of the series it was made from.

    Which voxels belong to a frame is found from ImagePositionPatient and ImageOrientationPatient, never from the order
    of files or frames. Data of the patient and the study are copied from the source, as viewers need them to show the
    mask with its scan: the file is as confidential as the source.

    Args:
        path: The file to write.
        labels: Canonical labels on the series' grid, stored in any orientation.
        source_files: The series: single-frame files in any order, or one enhanced file.
        structures: One segment each, in this order; those without voxels are described all the same.
        model_name: Of the algorithm.
        version: Of the program.
        series_description: Of the new series.
        series_number: Of the new series; None for the source's plus `SERIES_NUMBER_STEP`.

    Returns:
        `path`.

    Raises:
        InputError: Files that are no series of images, or lack what a SEG must refer to.
        GeometryError: A mask on another grid, or labelled voxels outside the series.
        LabelError: Labels that are not among the structures.
        SetupError: The extra ``[dicom]`` is not installed.
    """
    frames = _source_frames(source_files)
    planes = _planes(_numbered(labels, structures), frames, path.name)
    described = [_described(n, s, model_name, version) for n, s in enumerate(structures, start=1)]
    datasets = _sources(frames)
    made_by = {"manufacturer_model_name": model_name[:_LONGEST], "software_versions": version[:_LONGEST]}
    number = int(datasets[0].get("SeriesNumber") or 0) + SERIES_NUMBER_STEP if series_number is None else series_number
    try:
        seg = _segmentation(
            datasets, planes, described, _positions(frames, datasets[0]), series_number=number,
            series_description=series_description[:_LONGEST], **made_by,
        )  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = one_line(error)
        raise InputError(f"{path}: the source series cannot carry a DICOM SEG ({reason})") from error
    for item, structure in zip(seg.SegmentSequence, structures, strict=True):
        side = SIDE_CODES[structure.side]
        modifier = [_coded(side.value, side.scheme, side.meaning)]
        item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = modifier
    with atomic_path(path) as temporary:
        seg.save_as(temporary)
    return path


def _segmentation(
    sources: Sequence["Dataset"], planes: np.ndarray, described: list[Any], positions: list[Any] | None, **more: Any
) -> Any:
    highdicom = get_highdicom()
    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=planes,
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=highdicom.UID(),
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="paraspinal-nnunet",
        device_serial_number="none",
        content_label="PARASPINAL",
        content_description="lumbar paraspinal muscles",
        plane_positions=positions,
        **more,
    )


def _source_frames(files: Sequence[Path]) -> list[Frame]:
    """One frame per place, in the order of their places along the normal; of several at one place the first."""
    found = [frame for path in files for frame in _frames_of(Path(path))]
    if not found:
        raise InputError("a DICOM SEG needs the files of the series that was segmented, and none were given")
    first = found[0]
    series = {frame.header.series_uid for frame in found}
    references = {frame.header.frame_of_reference_uid for frame in found}
    if len(series) > 1 or len(references) > 1:
        raise InputError(f"{first.header.path}: {len(series)} series were given together; give the files of one")
    if not first.header.frame_of_reference_uid:
        raise InputError(f"{first.header.path}: has no FrameOfReferenceUID, so a SEG could not say where it lies")
    if len({frame.header.path for frame in found}) > 1 and any(frame.header.frames > 1 for frame in found):
        raise InputError(f"{first.header.path}: several multi-frame files make no single source; give one of them")
    normal = np.cross(first.orientation[:3], first.orientation[3:])  # type: ignore[index]
    places = np.array([frame.position_mm for frame in found]) @ normal
    order = np.argsort(places, kind="stable")
    kept = [order[0]]
    for n in order[1:]:
        if places[n] - places[kept[-1]] > POSITION_TOLERANCE_MM:
            kept.append(n)
    return [found[n] for n in kept]


def _frames_of(path: Path) -> list[Frame]:
    frames = read_file(path, path.name)
    if frames is None or frames[0].header.kind is not Kind.IMAGE:
        raise InputError(f"{path}: is no DICOM image; give the files of the series that was segmented")
    for frame in frames:
        if frame.position_mm is None or frame.orientation is None or frame.pixel_spacing_mm is None:
            raise GeometryError(f"{path}: {frame.shown} does not say where it lies; a SEG needs the original series")
    return frames


def _numbered(labels: Volume, structures: Sequence[Structure]) -> Volume:
    """The mask with the numbers of the segments, which count from 1, in place of the labels."""
    values = [int(value) for value in np.unique(labels.array) if value]
    known = [structure.label for structure in structures]
    unknown = sorted(set(values) - set(known))
    if unknown or not known or len(set(known)) != len(known):
        raise LabelError(f"the mask holds labels {values}, the segments are for {known}; name every label once")
    table = np.zeros(max(known) + 1, np.uint8)
    table[known] = range(1, len(known) + 1)
    return Volume(table[labels.array], labels.affine)


def _planes(labels: Volume, frames: Sequence[Frame], name: str) -> np.ndarray:
    """(frames, rows, columns) of the mask at the pixels of every frame."""
    into_voxels = np.linalg.inv(labels.affine)
    planes = np.zeros((len(frames), frames[0].rows, frames[0].columns), np.uint8)
    for n, frame in enumerate(frames):
        if (frame.rows, frame.columns) != planes.shape[1:]:
            raise GeometryError(f"{name}: the source mixes slices of several sizes; choose one part of the series")
        planes[n] = _plane(labels.array, into_voxels @ _pixel_affine(frame), frame, name)
    lost = int(np.count_nonzero(labels.array)) - int(np.count_nonzero(planes))
    if lost:
        raise GeometryError(
            f"{name}: {lost} labelled voxels lie outside the {len(frames)} slices of the source; give the whole series "
            "that was segmented"
        )
    return planes


def _plane(array: np.ndarray, to_voxels: np.ndarray, frame: Frame, name: str) -> np.ndarray:
    """(rows, columns) of the array at a frame's pixels; `to_voxels` is (4, 3), from (column, row, 1)."""
    steps = to_voxels[:3]
    corners = np.array([[c, r, 1.0] for c in (0, frame.columns - 1) for r in (0, frame.rows - 1)]) @ steps.T
    off = float(np.abs(corners - corners.round()).max())
    turned = np.abs(np.abs(steps[:, :2]).sum(axis=1).max() - 1)
    if off > ON_GRID_TOLERANCE or turned > ON_GRID_TOLERANCE:
        raise GeometryError(
            f"{name}: pixels of {frame.shown} lie off the mask's voxels (by {off:.2g} voxel); the mask is on another "
            "grid than the series"
        )
    whole = steps[:, :2].round().astype(int)
    start = corners[0].round().astype(int)
    columns, rows = np.arange(frame.columns), np.arange(frame.rows)[:, None]
    index = [start[axis] + whole[axis, 0] * columns + whole[axis, 1] * rows for axis in range(3)]
    inside = np.all([(i >= 0) & (i < n) for i, n in zip(index, array.shape, strict=True)], axis=0)
    plane = np.zeros((frame.rows, frame.columns), np.uint8)
    plane[inside] = array[tuple(i[inside] for i in index)]
    return plane


def _pixel_affine(frame: Frame) -> np.ndarray:
    """(4, 3): (column, row, 1) to mm in RAS+. Source: DICOM PS3.3 C.7.6.2.1.1."""
    orientation, spacing = np.array(frame.orientation), np.array(frame.pixel_spacing_mm)
    position = np.array(frame.position_mm)
    lps = np.stack([orientation[:3] * spacing[1], orientation[3:] * spacing[0], position], axis=1)
    return np.vstack([RAS_FROM_LPS[:3, :3] @ lps, [0.0, 0.0, 1.0]])


def _sources(frames: Sequence[Frame]) -> list["Dataset"]:
    """The files of the frames, in their order, without voxels."""
    pydicom = get_pydicom()
    paths = dict.fromkeys(frame.header.path for frame in frames)
    with pydicom.config.disable_value_validation():
        return [pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in paths]


def _positions(frames: Sequence[Frame], source: "Dataset") -> list[Any] | None:
    """Places of the frames for an enhanced source, whose own frames stand in any order and may share places."""
    if "PerFrameFunctionalGroupsSequence" not in source:
        return None
    content = get_highdicom().content
    return [content.PlanePositionSequence("PATIENT", frame.position_mm) for frame in frames]


def _described(number: int, structure: Structure, model_name: str, version: str) -> Any:
    highdicom = get_highdicom()
    code = MUSCLE_CODES[structure.muscle]
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=model_name[:_LONGEST], family=_coded(*_ARTIFICIAL_INTELLIGENCE), version=version[:_LONGEST]
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.display_name,
        segmented_property_category=_coded(*_ANATOMICAL_STRUCTURE),
        segmented_property_type=_coded(code.value, code.scheme, code.meaning),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=highdicom.UID(),
        tracking_id=structure.key,
        display_color=highdicom.color.CIELabColor.from_rgb(*structure.colour),
    )


def _coded(value: str, scheme: str, meaning: str) -> Any:
    return get_highdicom().sr.CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)
