"""Headers of a source series made fit for objects that refer to it: what the standard lets be empty may be missing."""

from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.dicom.headers import completed_syntax, legible
from paraspinal_nnunet.dicom.packages import get_highdicom, get_pydicom
from paraspinal_nnunet.dicom.records import Frame
from paraspinal_nnunet.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Type 2 elements of the patient and study modules. Source: DICOM PS3.3 C.7.1.1 and C.7.2.1."""

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
"""Stands for private classes, whose modules nobody knows, while an object is made."""

_DATES, _TIMES = ("PatientBirthDate", "StudyDate"), ("StudyTime",)
_SEXES = ("M", "F", "O", "")


def complete(dataset: "Dataset", frame: Frame) -> None:
    """Make the header of a file complete and legible; `frame` is its first.

    Texts are read by the file's character sets, where an empty first one is the default repertoire (PS3.3 C.12.1.1.2),
    and stand for Unicode from here on. Values of dates, times and sex that the standard does not know become empty.

    Raises:
        InputError: Elements without which nothing can refer to the series.
    """
    if get_pydicom().uid.UID(dataset.SOPClassUID).is_private:
        dataset.SOPClassUID = MR_IMAGE_STORAGE
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not str(dataset.get(keyword) or "").strip():
            raise InputError(f"{frame.header.shown}: has no {keyword}, so that no object can refer to it")
    dataset.file_meta.TransferSyntaxUID = completed_syntax(dataset)
    if dataset.get("SpecificCharacterSet"):
        dataset.decode()
        dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in MAY_BE_EMPTY:
        if dataset.get(keyword) is None or not _is_legible(keyword, dataset[keyword].value):
            setattr(dataset, keyword, "")
        dataset[keyword].value = legible(dataset[keyword].value)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        _share_groups(dataset, frame)
        return
    dataset.ImageOrientationPatient = list(frame.orientation or ())
    dataset.PixelSpacing = list(frame.pixel_spacing_mm or ())
    dataset.SliceThickness = dataset.get("SliceThickness")


def _share_groups(dataset: "Dataset", frame: Frame) -> None:
    """Put spacing and orientation where all frames share them, as highdicom looks for them there alone."""
    highdicom = get_highdicom()
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [get_pydicom().Dataset()])[0]
    if not shared.get("PixelMeasuresSequence"):
        shared.PixelMeasuresSequence = highdicom.PixelMeasuresSequence(
            frame.pixel_spacing_mm, frame.header.slice_thickness_mm
        )
    if not shared.get("PlaneOrientationSequence"):
        shared.PlaneOrientationSequence = highdicom.PlaneOrientationSequence("PATIENT", frame.orientation)
    dataset.SharedFunctionalGroupsSequence = [shared]


def _is_legible(keyword: str, value: Any) -> bool:
    valuerep = get_pydicom().valuerep
    text = str(value)
    if keyword == "PatientSex":
        return text in _SEXES
    if keyword not in (*_DATES, *_TIMES) or not text:
        return True
    try:
        return bool((valuerep.DA if keyword in _DATES else valuerep.TM)(text))
    except (ValueError, TypeError):
        return False
