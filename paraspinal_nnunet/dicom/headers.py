"""Reading headers: which files are DICOM, and what their slices say of themselves; voxels are left unread."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.dicom import tags
from paraspinal_nnunet.dicom.packages import get_pydicom
from paraspinal_nnunet.dicom.records import Frame, Header, Kind, Patient
from paraspinal_nnunet.dicom.sizes import check_inflated, read_dicom
from paraspinal_nnunet.errors import InputError, ParaspinalError, one_line, reason_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PREAMBLE_BYTES = 128
MAGIC = b"DICM"

MOST_VOXELS_PER_BYTE = 2000
"""A compressed file does not hold more: JPEG and RLE stay below, an empty JPEG 2000 frame takes 100 bytes."""

_BARE_STARTS = (b"\x08\x00", b"\x02\x00")
"""First group of a file without preamble, little endian."""

_DICOM_NAME = re.compile(r".*\.(?i:dcm|ima|dicom)|(?=[^a-z]*\d)[A-Z0-9_.-]+", re.DOTALL)
"""Names that scanners and archives give DICOM files; an empty file of such a name is a copy that failed."""

_ESCAPES = re.compile(r"\x1b\$\)[AC]")
"""Source: DICOM PS3.3, table C.12-4."""

_KINDS = {
    "1.2.840.10008.5.1.4.1.1.66.4": Kind.SEGMENTATION,
    "1.2.840.10008.5.1.4.1.1.66.7": Kind.SEGMENTATION,
    "1.2.840.10008.5.1.4.1.1.481.3": Kind.RTSTRUCT,
}
_DICOMDIR = "1.2.840.10008.1.3.10"


def read_file(path: Path, shown: str) -> list[Frame] | None:
    """Read the header of a file.

    Args:
        path: The file, whatever its name.
        shown: What messages call it.

    Returns:
        Its frames (one without geometry for objects that are no image); None when it is not DICOM or an index
        (DICOMDIR).

    Raises:
        InputError: A DICOM file that is damaged.
    """
    found = read_header(path, shown, only=tags.READ)
    return None if found is None else found[1]


def read_header(path: Path, shown: str, *, only: Iterable[str] | None = None) -> "tuple[Dataset, list[Frame]] | None":
    """As `read_file`, with the header itself.

    Args:
        path: The file.
        shown: What messages call it.
        only: Keywords of the elements that are read; all but the voxels when None.
    """
    pydicom = get_pydicom()
    preamble = _has_preamble(path, shown)
    if preamble is None:
        return None
    try:
        with pydicom.config.disable_value_validation():
            if preamble:
                check_inflated(path)
            wanted = None if only is None else list(only)
            dataset = read_dicom(path, stop_before_pixels=True, force=not preamble, specific_tags=wanted)
            frames = _frames(dataset, path, shown) if preamble or _is_plausible(dataset) else None
            return None if frames is None else (dataset, frames)
    except ParaspinalError:
        raise
    except Exception as error:  # whatever the parser meets in a file is that file's fault
        reason = one_line(error) if isinstance(error, ValueError) else reason_of(error)
        raise InputError(f"{shown}: is a damaged DICOM file ({reason}); copy the study again") from error


def completed_syntax(dataset: "Dataset") -> str:
    """The transfer syntax, for a file without meta information the one that it was read by.

    Source: DICOM PS3.10, section 7.1; PS3.5, section 10.1: Implicit VR Little Endian is the default.
    """
    stored = str(dataset.file_meta.get("TransferSyntaxUID", "") or "")
    if stored:
        return stored
    uid = get_pydicom().uid
    implicit, little = dataset.original_encoding
    if not little:
        return str(uid.ExplicitVRBigEndian)
    return str(uid.ExplicitVRLittleEndian if implicit is False else uid.ImplicitVRLittleEndian)


def legible(value: Any) -> Any:
    """A text or name without the escape sequences of GB 2312 and KS X 1001 that pydicom leaves in it."""
    return _ESCAPES.sub("", str(value)) if "\x1b" in str(value) else value


def numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """The numbers of an element, or None when they are missing, too few or no numbers."""
    try:
        found = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(abs(v) < float("inf") for v in found) else None


def number(value: Any) -> float | None:
    """The number of an element, of several the first; None when it is missing or no number."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        value = (value,)
    return next((found[0] for v in value if (found := numbers((v,), 1))), None)


def _has_preamble(path: Path, shown: str) -> bool | None:
    """Whether the file has DICOM's mark; None when it does not look like DICOM at all."""
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE_BYTES + len(MAGIC))
    except OSError as error:
        raise InputError(f"{shown}: cannot be read ({error.strerror})") from error
    if start[PREAMBLE_BYTES:] == MAGIC:
        return True
    if not start.strip(b"\0") and _DICOM_NAME.fullmatch(path.name):
        raise InputError(f"{shown}: is a damaged DICOM file (it is empty); copy the study again")
    return False if start[:2] in _BARE_STARTS else None


def _is_plausible(dataset: "Dataset") -> bool:
    return "SOPClassUID" in dataset and "SeriesInstanceUID" in dataset


def _frames(dataset: "Dataset", path: Path, shown: str) -> list[Frame] | None:
    sop_class = str(dataset.get("SOPClassUID", ""))
    if sop_class == _DICOMDIR or str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == _DICOMDIR:
        return None
    if not sop_class or not str(dataset.get("SeriesInstanceUID") or "").strip():
        raise ValueError("the header has no SeriesInstanceUID, or ends before it")
    header = _header(dataset, path, shown, sop_class)
    if header.kind is Kind.OTHER and header.sop_class.endswith("Image Storage"):
        raise ValueError("the header of an image ends before Rows")
    _check_size(dataset, header)
    shared = _first(dataset.get("SharedFunctionalGroupsSequence"))
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if header.kind is not Kind.IMAGE:
        return [_frame(header, 0, _top_only(dataset))]
    if not groups:
        return [_frame(header, n, _top_only(dataset)) for n in range(header.frames)]
    if len(groups) != header.frames:
        raise ValueError(f"{header.frames} frames, but {len(groups)} descriptions of frames")
    return [_frame(header, n, _in_groups(dataset, shared, group)) for n, group in enumerate(groups)]


def _check_size(dataset: "Dataset", header: Header) -> None:
    """Refuse frames that the file cannot hold before any of them is described or decoded."""
    if header.kind not in (Kind.IMAGE, Kind.SEGMENTATION):
        return
    size = header.path.stat().st_size
    rows, columns, bits = (int(number(dataset.get(k)) or 0) for k in ("Rows", "Columns", "BitsAllocated"))
    voxels = header.frames * rows * columns * header.samples_per_pixel
    syntax = get_pydicom().uid.UID(header.transfer_syntax)
    plain = not (syntax.is_transfer_syntax and (syntax.is_compressed or syntax.is_deflated))
    if header.frames > 1 and plain and voxels * bits > 8 * size:
        raise ValueError(f"{header.frames} frames of {columns} x {rows} voxels do not fit into {size} bytes")
    if voxels > MOST_VOXELS_PER_BYTE * size * (8 if bits == 1 else 1):
        raise ValueError(f"{voxels} voxels do not come from {size} bytes")


def _header(dataset: "Dataset", path: Path, shown: str, sop_class: str) -> Header:
    def text(keyword: str) -> str:
        return " ".join(str(legible(dataset.get(keyword) or "")).split())

    shared = _in_groups(dataset, _first(dataset.get("SharedFunctionalGroupsSequence")), None)
    series_number = number(dataset.get("SeriesNumber"))
    kind = _KINDS.get(sop_class, Kind.IMAGE if dataset.get("Rows") else Kind.OTHER)
    return Header(
        path=path,
        shown=shown,
        kind=kind,
        sop_class=get_pydicom().uid.UID(sop_class).name if sop_class else "unknown",
        sop_class_uid=sop_class,
        sop_uid=text("SOPInstanceUID"),
        modality=text("Modality"),
        series_uid=text("SeriesInstanceUID"),
        series_number=None if series_number is None else int(series_number),
        description=text("SeriesDescription") or text("ProtocolName"),
        protocol=text("ProtocolName"),
        body_part=text("BodyPartExamined"),
        frame_of_reference_uid=text("FrameOfReferenceUID"),
        photometric=text("PhotometricInterpretation"),
        samples_per_pixel=int(number(dataset.get("SamplesPerPixel")) or 1),
        transfer_syntax=completed_syntax(dataset),
        frames=max(1, int(number(dataset.get("NumberOfFrames")) or 1)),
        contrast=_contrast(text("ContrastBolusAgent")),
        sequence=_words(dataset.get("ScanningSequence") or dataset.get("EchoPulseSequence")),
        scan_options=_words(dataset.get("ScanOptions")),
        slice_thickness_mm=number(shared("SliceThickness")),
        slice_distance_mm=number(shared("SpacingBetweenSlices")),
        manufacturer=text("Manufacturer"),
        references=tuple(str(i.get("SeriesInstanceUID", "")) for i in dataset.get("ReferencedSeriesSequence") or ()),
        patient=_patient(dataset, text),
    )


def _patient(dataset: "Dataset", text: Callable[[str], str]) -> Patient:
    return Patient(
        patient_id=text("PatientID"),
        name=text("PatientName"),
        birth_date=text("PatientBirthDate"),
        study_date=text("StudyDate"),
        age=text("PatientAge"),
        sex=text("PatientSex"),
        size_m=number(dataset.get("PatientSize")),
        weight_kg=number(dataset.get("PatientWeight")),
        study_uid=text("StudyInstanceUID"),
    )


def _frame(header: Header, index: int, value: Callable[[str], Any]) -> Frame:
    traits: dict[str, Any] = {
        name: found for name, keywords in tags.TRAITS if (found := _trait(value, keywords)) is not None
    }
    for name, text in (
        ("component", str(value("ComplexImageComponent") or "")),
        ("contrast", header.contrast),
        ("frame_of_reference", header.frame_of_reference_uid),
    ):
        if text:
            traits[name] = text
    return Frame(
        header=header,
        index=index,
        position_mm=numbers(value("ImagePositionPatient"), 3),
        orientation=numbers(value("ImageOrientationPatient"), 6),
        pixel_spacing_mm=numbers(value("PixelSpacing"), 2),
        rows=int(number(value("Rows")) or 0),
        columns=int(number(value("Columns")) or 0),
        slope=_scaling(value("RescaleSlope"), absent=1.0),
        intercept=_scaling(value("RescaleIntercept"), absent=0.0),
        image_type=_words(value("FrameType") or value("ImageType")),
        traits=traits,
    )


def _scaling(value: Any, *, absent: float) -> float:
    """A slope or intercept; NaN where the element is there and holds no number."""
    if value is None or value == "":
        return absent
    found = number(value)
    return float("nan") if found is None else found


def _contrast(agent: str) -> str:
    return "" if agent.lower() in ("", "no", "none", "no contrast") else "contrast agent"


def _trait(value: Callable[[str], Any], keywords: tuple[str, ...]) -> float | None:
    return next((found for k in keywords if (found := number(value(k))) is not None), None)


def _top_only(dataset: "Dataset") -> Callable[[str], Any]:
    return dataset.get


def _in_groups(dataset: "Dataset", shared: Any, group: Any) -> Callable[[str], Any]:
    """A look-up of elements: in the frame's own functional group, then in the shared one, then at the top."""

    def value(keyword: str) -> Any:
        sequence = tags.GROUP_OF.get(keyword)
        for place in (group, shared):
            item = _first(place.get(sequence)) if sequence and place is not None else None
            if item is not None and keyword in item:
                return item.get(keyword)
        return dataset.get(keyword)

    return value


def _first(sequence: Any) -> Any:
    return sequence[0] if sequence else None


def _words(value: Any) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    words = (value,) if isinstance(value, str) else value
    return tuple(str(word).strip().upper() for word in words)
