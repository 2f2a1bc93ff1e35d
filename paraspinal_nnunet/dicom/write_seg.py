"""Masks as DICOM SEG: each source frame finds its voxels by geometry, each muscle and side is a coded segment."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import MUSCLE_CODES, PARASPINAL, SIDE_CODES, Structure
from paraspinal_nnunet.dicom.grid import with_one_geometry
from paraspinal_nnunet.dicom.headers import read_file
from paraspinal_nnunet.dicom.packages import get_highdicom, get_pydicom
from paraspinal_nnunet.dicom.records import Frame, Kind
from paraspinal_nnunet.dicom.source_headers import source_datasets
from paraspinal_nnunet.dicom.splitting import POSITION_TOLERANCE_MM
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError, reason_of
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
        structures: One segment each, in this order; those without voxels are described all the same, and the content
            description names them.
        model_name: Of the algorithm; one of more than 64 characters stands whole in its parameters.
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
    datasets = source_datasets(frames)
    absent = missing_structures(labels, structures)
    number = (frames[0].header.series_number or 0) + SERIES_NUMBER_STEP if series_number is None else series_number
    try:
        with get_pydicom().config.disable_value_validation():
            seg = _segmentation(
                datasets,
                planes,
                described,
                frames,
                series_number=number,
                series_description=fitted(series_description),
                content_description=fitted(_content(absent, structures)),
                manufacturer_model_name=fitted(model_name),
                software_versions=fitted(version),
            )
    except Exception as error:  # highdicom's checks end in many kinds
        raise InputError(f"{path.name}: the source series cannot carry a DICOM SEG ({reason_of(error)})") from error
    _restore_class(seg, frames[0].header.sop_class_uid)
    for item, structure in zip(seg.SegmentSequence, structures, strict=True):
        side = SIDE_CODES[structure.side]
        modifier = [_coded(side.value, side.scheme, side.meaning)]
        item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = modifier
    with atomic_path(path) as temporary, get_pydicom().config.disable_value_validation():
        seg.save_as(temporary)
    return path


def _segmentation(
    sources: Sequence["Dataset"], planes: np.ndarray, described: list[Any], frames: Sequence[Frame], **more: Any
) -> Any:
    highdicom = get_highdicom()
    header, content = frames[0].header, highdicom.content
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
        pixel_measures=highdicom.PixelMeasuresSequence(
            frames[0].pixel_spacing_mm, header.slice_thickness_mm, _distance_mm(frames)
        ),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", frames[0].orientation),
        plane_positions=[content.PlanePositionSequence("PATIENT", frame.position_mm) for frame in frames],
        **more,
    )


def _restore_class(seg: "Dataset", sop_class_uid: str) -> None:
    """Name the source's own class in all references, where another stood for a private one."""
    for element in seg.iterall():
        if element.keyword == "ReferencedSOPClassUID":
            element.value = sop_class_uid


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
    return with_one_geometry([found[n] for n in kept])


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


def _distance_mm(frames: Sequence[Frame]) -> float | None:
    """The distance of the slices by their places, whatever the header says; None for a single one."""
    places = np.array([frame.position_mm for frame in frames])
    return float(np.linalg.norm(places[-1] - places[0]) / (len(places) - 1)) if len(places) > 1 else None


def missing_structures(labels: Volume, structures: Sequence[Structure]) -> list[Structure]:
    """The structures without a voxel."""
    present = set(np.unique(labels.array).tolist())
    return [structure for structure in structures if structure.label not in present]


def _content(absent: Sequence[Structure], structures: Sequence[Structure]) -> str:
    if not absent:
        return "lumbar paraspinal muscles"
    if len(absent) == len(structures):
        return "EMPTY: no voxel of any muscle was found"
    return f"INCOMPLETE, without {', '.join(s.display_name.lower() for s in absent)}"


def fitted(text: str) -> str:
    """A text that an LO element can hold: of a longer one both ends, which tell names apart, and the place of the cut.

    >>> len(fitted("a" * 70 + "b")), fitted("short")
    (64, 'short')
    """
    if len(text) <= _LONGEST:
        return text
    half = (_LONGEST - 3) // 2
    return f"{text[: _LONGEST - 3 - half]}...{text[-half:]}"


def _described(number: int, structure: Structure, model_name: str, version: str) -> Any:
    highdicom = get_highdicom()
    code = MUSCLE_CODES[structure.muscle]
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=fitted(model_name),
        family=_coded(*_ARTIFICIAL_INTELLIGENCE),
        version=fitted(version),
        parameters={"model": model_name} if len(model_name) > _LONGEST else None,
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
