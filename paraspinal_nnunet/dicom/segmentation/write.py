"""Masks as DICOM SEG: each source frame finds its voxels by geometry, each muscle and side is a coded segment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import PARASPINAL, Structure
from paraspinal_nnunet.dicom.packages import get_highdicom, get_pydicom
from paraspinal_nnunet.dicom.records import Frame
from paraspinal_nnunet.dicom.results.identity import (
    ANATOMICAL_STRUCTURE,
    ARTIFICIAL_INTELLIGENCE,
    MANUFACTURER,
    Identity,
    coded,
    fitted,
    muscle_code,
    restore_class,
    result_series_number,
    save,
    side_code,
)
from paraspinal_nnunet.dicom.results.planes import mask_planes, numbered
from paraspinal_nnunet.dicom.results.source_headers import MR_IMAGE_STORAGE
from paraspinal_nnunet.dicom.results.source_series import SourceSeries
from paraspinal_nnunet.errors import InputError, reason_of
from paraspinal_nnunet.image_io.volume import Volume


def write_segmentation(
    path: Path,
    labels: Volume,
    source: SourceSeries | Sequence[Path],
    structures: Sequence[Structure] = PARASPINAL,
    *,
    model_name: str,
    version: str = __version__,
    series_description: str = "Paraspinal muscles",
    series_number: int | None = None,
    identity: Identity | None = None,
) -> Path:
    """Write a mask as one DICOM SEG object of the series it was made from.

    Which voxels belong to a frame is found from ImagePositionPatient and ImageOrientationPatient, never from the order
    of files or frames. Data of the patient and the study are copied from the source, as viewers need them to show the
    mask with its scan: the file is as confidential as the source.

    Args:
        path: The file to write.
        labels: Canonical labels on the series' grid, stored in any orientation.
        source: The series: single-frame files in any order, or one enhanced file; read already where several results
            are made of it.
        structures: One segment each, in this order; those without voxels are described all the same, and the content
            description names them.
        model_name: Of the algorithm; one of more than 64 characters stands whole in its parameters.
        version: Of the program.
        series_description: Of the new series.
        series_number: Of the new series; None for the source's plus `SERIES_NUMBER_STEP`.
        identity: Gives the UIDs and dates; None for new ones.

    Returns:
        `path`.

    Raises:
        InputError: Files that are no series of images, or lack what a SEG must refer to.
        GeometryError: A mask on another grid, or labelled voxels outside the series.
        LabelError: Labels that are not among the structures.
        SetupError: The extra ``[dicom]`` is not installed.
    """
    source = SourceSeries.of(source)
    frames = source.frames
    planes = mask_planes(numbered(labels, structures), frames, path.name)
    identity = identity or Identity.new()
    described = [_described(n, s, model_name, version, identity) for n, s in enumerate(structures, start=1)]
    absent = missing_structures(labels, structures)
    number = result_series_number(source.header) if series_number is None else series_number
    try:
        with get_pydicom().config.disable_value_validation():
            seg = _segmentation(
                source,
                planes,
                described,
                series_instance_uid=identity.uid("segmentation series"),
                sop_instance_uid=identity.uid("segmentation"),
                series_number=number,
                series_description=fitted(series_description),
                content_description=fitted(_content(absent, structures)),
                manufacturer_model_name=fitted(model_name),
                software_versions=fitted(version),
            )
    except Exception as error:  # highdicom's checks end in many kinds
        raise InputError(f"{path.name}: the source series cannot carry a DICOM SEG ({reason_of(error)})") from error
    restore_class(seg, source.header.sop_class_uid, MR_IMAGE_STORAGE)
    identity.stamp(seg)
    for item, structure in zip(seg.SegmentSequence, structures, strict=True):
        item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side_code(structure)]
    return save(seg, path)


def _segmentation(source: SourceSeries, planes: np.ndarray, described: list[Any], **more: Any) -> Any:
    highdicom = get_highdicom()
    frames, content = source.frames, highdicom.content
    return highdicom.seg.Segmentation(
        source_images=source.datasets,
        pixel_array=planes,
        segmentation_type="BINARY",
        segment_descriptions=described,
        instance_number=1,
        manufacturer=MANUFACTURER,
        device_serial_number="none",
        content_label="PARASPINAL",
        pixel_measures=highdicom.PixelMeasuresSequence(
            frames[0].pixel_spacing_mm, source.header.slice_thickness_mm, _distance_mm(frames)
        ),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", frames[0].orientation),
        plane_positions=[content.PlanePositionSequence("PATIENT", frame.position_mm) for frame in frames],
        **more,
    )


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


def _described(number: int, structure: Structure, model_name: str, version: str, identity: Identity) -> Any:
    highdicom = get_highdicom()
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=fitted(model_name),
        family=coded(*ARTIFICIAL_INTELLIGENCE),
        version=fitted(version),
        parameters={"model": model_name} if fitted(model_name) != model_name else None,
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.display_name,
        segmented_property_category=coded(*ANATOMICAL_STRUCTURE),
        segmented_property_type=muscle_code(structure),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=identity.uid(structure.key),
        tracking_id=structure.key,
        display_color=highdicom.color.CIELabColor.from_rgb(*structure.colour),
    )
