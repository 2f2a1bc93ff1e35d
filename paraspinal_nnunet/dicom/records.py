"""What is kept of DICOM headers: the file, its patient, its slices and the series they make."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any


class Kind(str, Enum):
    """What a DICOM object is to a converter."""

    IMAGE = "image"
    SEGMENTATION = "segmentation"
    RTSTRUCT = "RTSTRUCT"
    OTHER = "no image"


@dataclass(frozen=True)
class Patient:
    """Who was scanned and when: in memory only, and never shown.

    Attributes:
        patient_id: PatientID.
        name: PatientName.
        birth_date: YYYYMMDD.
        study_date: YYYYMMDD.
        age: PatientAge as stored, e.g. ``'063Y'``.
        sex: PatientSex as stored.
        size_m: PatientSize.
        weight_kg: PatientWeight.
        study_uid: StudyInstanceUID.
    """

    patient_id: str = ""
    name: str = ""
    birth_date: str = ""
    study_date: str = ""
    age: str = ""
    sex: str = ""
    size_m: float | None = None
    weight_kg: float | None = None
    study_uid: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What tells one patient from another within a series: id, date of birth, letters of the name."""
        name = "".join(letter for letter in self.name.partition("=")[0].casefold() if letter.isalnum())
        return self.patient_id, self.birth_date, name


@dataclass(frozen=True)
class Header:
    """One DICOM file without its voxels.

    Attributes:
        path: The file.
        shown: Its path relative to the study, for messages on screen.
        kind: What it is.
        sop_class: Name of the SOP class.
        sop_class_uid: SOPClassUID.
        sop_uid: SOPInstanceUID.
        modality: E.g. ``'MR'``.
        series_uid: SeriesInstanceUID.
        series_number: SeriesNumber.
        description: SeriesDescription, or ProtocolName where that is empty.
        protocol: ProtocolName.
        body_part: BodyPartExamined.
        frame_of_reference_uid: FrameOfReferenceUID.
        photometric: PhotometricInterpretation.
        samples_per_pixel: 1 for grey values.
        transfer_syntax: UID of the encoding.
        frames: Number of frames.
        contrast: ``'contrast agent'`` where one is named, else ''.
        sequence: ScanningSequence, e.g. ``('SE',)``.
        scan_options: ScanOptions, e.g. ``('FS',)``.
        slice_thickness_mm: SliceThickness.
        slice_distance_mm: SpacingBetweenSlices.
        manufacturer: Manufacturer.
        references: SeriesInstanceUIDs that a derived object names as its sources.
        patient: Who was scanned.
    """

    path: Path
    shown: str
    kind: Kind
    sop_class: str
    sop_class_uid: str
    sop_uid: str
    modality: str
    series_uid: str
    series_number: int | None
    description: str
    protocol: str
    body_part: str
    frame_of_reference_uid: str
    photometric: str
    samples_per_pixel: int
    transfer_syntax: str
    frames: int
    contrast: str
    sequence: tuple[str, ...]
    scan_options: tuple[str, ...]
    slice_thickness_mm: float | None
    slice_distance_mm: float | None
    manufacturer: str
    references: tuple[str, ...]
    patient: Patient = field(repr=False)


@dataclass(frozen=True)
class Frame:
    """One slice: a single-frame file, or one frame of a multi-frame file.

    Attributes:
        header: Its file.
        index: Which frame of the file, from 0.
        position_mm: Centre of the first voxel in LPS (ImagePositionPatient); None where it is missing.
        orientation: Direction cosines of rows and columns in LPS (ImageOrientationPatient); None where missing.
        pixel_spacing_mm: Distance between rows and between columns (PixelSpacing); None where missing.
        rows: Voxels per column.
        columns: Voxels per row.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        image_type: ImageType, in enhanced objects FrameType.
        traits: What tells apart slices at one place: echo, b-value, time and so on; only what the header has.
    """

    header: Header
    index: int
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, ...] | None
    rows: int
    columns: int
    slope: float
    intercept: float
    image_type: tuple[str, ...]
    traits: Mapping[str, Any]

    @property
    def shown(self) -> str:
        """File and, where it has several, frame."""
        return self.header.shown if self.header.frames == 1 else f"{self.header.shown} frame {self.index + 1}"


@dataclass(frozen=True)
class Series:
    """Slices of one series that belong together; a series that mixes several kinds is several of these.

    Attributes:
        key: What ``--series`` takes: the number, or number and part as in ``'5.2'``.
        frames: In no order.
        part: How this part differs from the others of the series, e.g. ``'TE 96 ms'``; '' for a whole series.
        torn: Why the parts may be one scan torn apart: they differ in geometry, or each has slices where the other has
            none; '' when each is whole. A torn part is accepted only when it is asked for.
        siblings: Number of parts of the series.
    """

    key: str
    frames: tuple[Frame, ...] = field(repr=False)
    part: str = ""
    torn: str = ""
    siblings: int = 1

    @property
    def header(self) -> Header:
        """The header of the first file."""
        return self.frames[0].header

    @property
    def kind(self) -> Kind:
        """What the objects are."""
        return self.header.kind

    @property
    def number(self) -> int | None:
        """SeriesNumber."""
        return self.header.series_number

    @property
    def description(self) -> str:
        """SeriesDescription."""
        return self.header.description

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.header.series_uid

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The files, sorted."""
        return tuple(sorted({frame.header.path for frame in self.frames}))

    def moved(self, root: Path) -> "Series":
        """The same files below another root: of an archive that was unpacked anew."""
        headers = {f.header.path: replace(f.header, path=root / f.header.shown) for f in self.frames}
        return replace(self, frames=tuple(replace(f, header=headers[f.header.path]) for f in self.frames))

    @property
    def name(self) -> str:
        """For messages on screen, e.g. ``"series 5 't2_tse_tra'"``; it holds the description."""
        described = f" '{self.description}'" if self.description else ""
        part = f" ({self.part})" if self.part else ""
        return f"series {self.key}{described}{part}"

    @property
    def acquisition(self) -> dict[str, Any]:
        """The acquisition, fit for JSON, without anything of the patient, the place, the time or any UID."""
        header, frame = self.header, self.frames[0]
        known = {
            "series_number": header.series_number,
            "modality": header.modality,
            "manufacturer": header.manufacturer,
            "sequence": list(header.sequence),
            "image_type": list(frame.image_type),
            "slices": len(self.frames),
            "slice_thickness_mm": header.slice_thickness_mm,
            "slice_distance_mm": header.slice_distance_mm,
            "multi_frame": header.frames > 1,
            **{name: frame.traits[name] for name in _SHOWN_TRAITS if name in frame.traits},
        }
        return {name: value for name, value in known.items() if value not in (None, "", [])}


_SHOWN_TRAITS = ("echo_time_ms", "repetition_time_ms", "inversion_time_ms", "flip_angle_deg", "b_value")
