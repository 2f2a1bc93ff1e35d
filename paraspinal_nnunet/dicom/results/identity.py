"""Which object a result is: UIDs and dates that are the same again for the same scan, mask and settings."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.anatomy import MUSCLE_CODES, SIDE_CODES, Structure
from paraspinal_nnunet.dicom.packages import get_highdicom, get_pydicom
from paraspinal_nnunet.dicom.records import Header
from paraspinal_nnunet.utils.files import atomic_path

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MANUFACTURER = "paraspinal-nnunet"
SERIES_NUMBER_STEP = 1000
"""Added to the source's series number, so that viewers list results apart from the scans."""

ANATOMICAL_STRUCTURE = ("123037004", "SCT", "Anatomical Structure")
ARTIFICIAL_INTELLIGENCE = ("123110", "DCM", "Artificial Intelligence")
"""Source: DICOM PS3.16, CID 7162."""

_LONGEST = 64  # characters of a LO element
_NAMESPACE = uuid.UUID("6d1d0f36-2f0b-5c0f-9a53-3d2f6f0c7a51")
_DATE, _TIME = "%Y%m%d", "%H%M%S"
_MOMENTS = {
    "InstanceCreationDate": _DATE,
    "InstanceCreationTime": _TIME,
    "ContentDate": _DATE,
    "ContentTime": _TIME,
    "ContributionDateTime": f"{_DATE}{_TIME}",
    "DateOfSecondaryCapture": _DATE,
    "TimeOfSecondaryCapture": _TIME,
}


@dataclass(frozen=True)
class Identity:
    """What an object was made of and when.

    Attributes:
        seed: All that it depends on, in words; equal seeds and dates give equal UIDs.
        made: When the mask was made.
    """

    seed: str
    made: datetime

    @classmethod
    def new(cls) -> "Identity":
        """One that is never met again."""
        return cls(uuid.uuid4().hex, datetime.now().replace(microsecond=0))

    def uid(self, what: str) -> Any:
        """A UID below 2.25. Source: DICOM PS3.5, B.2.

        Args:
            what: The object's part that it names, e.g. ``'series'``.
        """
        made = uuid.uuid5(_NAMESPACE, "\n".join((what, self.seed, self.made.isoformat())))
        return get_highdicom().UID(f"2.25.{made.int}")

    def stamp(self, dataset: "Dataset") -> None:
        """Write when it was made in place of the moment in which it is written, and its own UID of dimensions."""
        fill(dataset, InstanceCreationDate="", InstanceCreationTime="")
        for element in dataset.iterall():
            if element.keyword in _MOMENTS:
                element.value = self.made.strftime(_MOMENTS[element.keyword])
            elif element.keyword == "DimensionOrganizationUID":
                element.value = self.uid("dimensions")


def fill(dataset: "Dataset", **values: Any) -> "Dataset":
    """Set elements by their keywords; returns the dataset."""
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset: "Dataset", path: Path) -> Path:
    """Write an object, whole or not at all; returns `path`."""
    pydicom = get_pydicom()
    with atomic_path(path) as temporary, pydicom.config.disable_value_validation():
        dataset.save_as(temporary, enforce_file_format=True)
    return path


def restore_class(dataset: "Dataset", sop_class_uid: str, stand_in: str) -> None:
    """Name the source's own class in all references, where another stood for a private one."""
    for element in dataset.iterall():
        if element.keyword == "ReferencedSOPClassUID" and element.value == stand_in:
            element.value = sop_class_uid


def fitted(text: str) -> str:
    """A text that an LO element can hold: of a longer one both ends and a mark of the whole, so that no two are one.

    >>> len(fitted("a" * 70 + "b")), fitted("short")
    (64, 'short')
    """
    if len(text) <= _LONGEST:
        return text
    return f"{text[:26]}...{text[-26:]} {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def result_series_number(source: Header, place: int = 0) -> int:
    """The number of a result's series: the source's, a step, and the result's place among results."""
    return (source.series_number or 0) + SERIES_NUMBER_STEP + place


def coded(value: str, scheme: str, meaning: str) -> Any:
    """A coded concept."""
    return get_highdicom().sr.CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)


def muscle_code(structure: Structure) -> Any:
    """The coded concept of a structure's muscle."""
    code = MUSCLE_CODES[structure.muscle]
    return coded(code.value, code.scheme, code.meaning)


def side_code(structure: Structure) -> Any:
    """The coded concept of a structure's side."""
    code = SIDE_CODES[structure.side]
    return coded(code.value, code.scheme, code.meaning)
