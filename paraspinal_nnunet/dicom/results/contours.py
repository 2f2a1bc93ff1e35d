"""Masks as an RT Structure Set: closed contours on the source's slices that hold the mask's pixels and no others."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import PARASPINAL, Structure
from paraspinal_nnunet.dicom.packages import get_pydicom
from paraspinal_nnunet.dicom.records import Frame
from paraspinal_nnunet.dicom.results.identity import (
    MANUFACTURER,
    Identity,
    fill,
    fitted,
    muscle_code,
    result_series_number,
    save,
)
from paraspinal_nnunet.dicom.results.outlines import outlines
from paraspinal_nnunet.dicom.results.planes import mask_planes, numbered, pixel_affine
from paraspinal_nnunet.dicom.results.source_headers import MAY_BE_EMPTY
from paraspinal_nnunet.dicom.results.source_series import SourceSeries
from paraspinal_nnunet.image_io.geometry import RAS_FROM_LPS
from paraspinal_nnunet.image_io.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management: what references to a study name. Source: DICOM PS3.3 C.8.8.5."""

_DIGITS = 4
"""Of coordinates in mm: DS elements hold 16 characters."""

_COPIED = (*MAY_BE_EMPTY, "StudyInstanceUID", "StudyDescription", "SpecificCharacterSet", "PatientAge", "PatientSize")


def write_contours(
    path: Path,
    labels: Volume,
    source: SourceSeries | Sequence[Path],
    structures: Sequence[Structure] = PARASPINAL,
    *,
    model_name: str,
    version: str = __version__,
    identity: Identity | None = None,
) -> Path:
    """Write a mask as one RT Structure Set of the series it was made from.

    Contours run along the edges of pixels, see `outlines`, and lie in the planes of the source's slices. As
    confidential as the source.

    Args:
        path: The file to write.
        labels: Canonical labels on the series' grid, stored in any orientation.
        source: The series, as `write_segmentation` takes it.
        structures: One ROI each, in this order; those without voxels have no contours.
        model_name: What made the mask.
        version: Of the program.
        identity: Gives the UIDs and dates; None for new ones.

    Returns:
        `path`.

    Raises:
        InputError: Files that are no series of images, or lack what others must refer to.
        GeometryError: A mask on another grid, or labelled voxels outside the series.
        LabelError: Labels that are not among the structures.
        SetupError: The extra ``[dicom]`` is not installed.
    """
    identity = identity or Identity.new()
    source = SourceSeries.of(source)
    frames = source.frames
    planes = mask_planes(numbered(labels, structures), frames, path.name)
    with get_pydicom().config.disable_value_validation():
        made = _with_headers(source, identity, model_name, version)
        made.ReferencedFrameOfReferenceSequence = [_frame_of_reference(frames, made.StudyInstanceUID)]
        made.StructureSetROISequence = [
            _roi(n, structure, frames, model_name) for n, structure in enumerate(structures, start=1)
        ]
        made.ROIContourSequence = [
            _contours(n, structure, planes == n, frames) for n, structure in enumerate(structures, start=1)
        ]
        made.RTROIObservationsSequence = [_observation(n, s) for n, s in enumerate(structures, start=1)]
        identity.stamp(made)
        return save(made, path)


def _item(**values: Any) -> "Dataset":
    return fill(get_pydicom().Dataset(), **values)


def _with_headers(source: SourceSeries, identity: Identity, model_name: str, version: str) -> "Dataset":
    pydicom, first = get_pydicom(), source.datasets[0]
    made = _item(**{keyword: first[keyword].value for keyword in _COPIED if keyword in first})
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = pydicom.uid.UID(_CLASS)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = identity.uid("contours")
    made.SeriesInstanceUID, made.InstanceNumber = identity.uid("contours series"), 1
    made.SeriesNumber = result_series_number(source.header, 2)
    return fill(
        made,
        Modality="RTSTRUCT",
        SeriesDescription="Paraspinal muscles, contours",
        Manufacturer=MANUFACTURER,
        ManufacturerModelName=fitted(model_name),
        SoftwareVersions=fitted(version),
        DeviceSerialNumber="none",
        OperatorsName=None,
        FrameOfReferenceUID=source.header.frame_of_reference_uid,
        PositionReferenceIndicator=None,
        StructureSetLabel="PARASPINAL",
        StructureSetName="Paraspinal muscles",
        StructureSetDate=identity.made.strftime("%Y%m%d"),
        StructureSetTime=identity.made.strftime("%H%M%S"),
        ApprovalStatus="UNAPPROVED",
    )


def _frame_of_reference(frames: Sequence[Frame], study_uid: str) -> "Dataset":
    series = _item(
        SeriesInstanceUID=frames[0].header.series_uid,
        ContourImageSequence=[_image_of(frame) for frame in frames],
    )
    study = _item(
        ReferencedSOPClassUID=_STUDY_CLASS, ReferencedSOPInstanceUID=study_uid, RTReferencedSeriesSequence=[series]
    )
    return _item(FrameOfReferenceUID=frames[0].header.frame_of_reference_uid, RTReferencedStudySequence=[study])


def _image_of(frame: Frame) -> "Dataset":
    header = frame.header
    image = _item(ReferencedSOPClassUID=header.sop_class_uid, ReferencedSOPInstanceUID=header.sop_uid)
    if header.frames > 1:
        image.ReferencedFrameNumber = frame.index + 1
    return image


def _roi(number: int, structure: Structure, frames: Sequence[Frame], model_name: str) -> "Dataset":
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=frames[0].header.frame_of_reference_uid,
        ROIName=structure.display_name,
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=fitted(model_name),
    )


def _contours(number: int, structure: Structure, mask: np.ndarray, frames: Sequence[Frame]) -> "Dataset":
    """One ROI; `mask` is (frames, rows, columns)."""
    roi = _item(ROIDisplayColor=list(structure.colour), ReferencedROINumber=number)
    if found := list(_contours_of_slices(mask, frames)):
        roi.ContourSequence = found
    return roi


def _contours_of_slices(mask: np.ndarray, frames: Sequence[Frame]) -> Iterator["Dataset"]:
    for plane, frame in zip(mask, frames, strict=True):
        if not plane.any():
            continue
        to_lps = (RAS_FROM_LPS[:3, :3] @ pixel_affine(frame)[:3]).T
        for corners in outlines(plane):
            points = np.c_[corners - 0.5, np.ones(len(corners))] @ to_lps  # pixel centres lie at whole numbers
            yield _item(
                ContourImageSequence=[_image_of(frame)],
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=[f"{value:.{_DIGITS}f}" for value in points.ravel()],
            )


def _observation(number: int, structure: Structure) -> "Dataset":
    return _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        ROIObservationLabel=structure.abbreviation,
        RTROIIdentificationCodeSequence=[muscle_code(structure)],
        RTROIInterpretedType="ORGAN",
        ROIInterpreter=None,
    )
