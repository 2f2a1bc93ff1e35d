"""The scans of an input: files, folders of them, BIDS data sets and DICOM studies, told apart by content."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import ENDINGS, images_in, read_image, stem_of
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.utils.text import pluralize

if TYPE_CHECKING:
    from paraspinal_nnunet.inference.dicom_inputs import StudyFiles

MASK_ENDING = ".nii.gz"
_DICOM_MAGIC, _DICOM_MAGIC_AT = b"DICM", 128
_BIDS_DESCRIPTION = "dataset_description.json"


@dataclass(frozen=True)
class Scan:
    """One scan to be segmented.

    Attributes:
        name: The case's: of its files, on its page, in tables.
        mask_name: File of its mask.
        source: What records call the input: a file's name, or words that say nothing of the patient.
        read: Reads it.
        study: Its DICOM files; None for other inputs.
        facts: What the input says of the patient; shown only where that is asked for.
    """

    name: str
    mask_name: str
    source: str
    read: Callable[[], Volume] = field(repr=False)
    study: "StudyFiles | None" = field(default=None, repr=False)
    facts: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Refused:
    """Something in the input that looks like a scan and cannot be one.

    Attributes:
        name: The case's, or the file's where it has none.
        reason: One line, for the screen.
        private: Name and reason may tell who the patient is, and stand on no page.
    """

    name: str
    reason: str
    private: bool = False


@dataclass(frozen=True)
class FoundScans:
    """What an input holds.

    Attributes:
        kind: ``'image'``, ``'images'``, ``'BIDS'`` or ``'DICOM'``.
        line: What was found, for the user.
        scans: In the order in which they are done.
        refused: What cannot be taken.
        notes: What was chosen, one line each.
    """

    kind: str
    line: str
    scans: tuple[Scan, ...]
    refused: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class InputChoice:
    """Which scans of an input are meant.

    Attributes:
        series: DICOM: the series to take in every study, by number, UID or regular expression; None for the axial T2
            stack by the rules of `dicom.sift`.
        keep_identifiers: DICOM: name cases by their folders rather than by pseudonyms.
        explain: DICOM: say of every series why it was taken or passed over.
        suffix: BIDS: of the images.
        entities: BIDS: values that the images must have.
    """

    series: str | None = None
    keep_identifiers: bool = False
    explain: bool = False
    suffix: str = "T2w"
    entities: Mapping[str, str] = field(default_factory=dict)


def find_scans(path: Path, choice: InputChoice | None = None) -> FoundScans:
    """The scans of an input, whatever it is.

    Args:
        path: A NIfTI, MetaImage or NRRD file, or a folder of such; a BIDS data set; a DICOM file, zip archive, or
            folder with one or several studies.
        choice: Which of its scans.

    Raises:
        InputError: No such path, or nothing in it that can be a scan.
        SetupError: DICOM, without the packages for it.
    """
    choice = choice or InputChoice()
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    kind = kind_of(path)
    if choice.series is not None and kind != "DICOM":
        raise InputError(f"{path}: holds no DICOM, so that there is no series to choose; leave --series out")
    if choice.entities and kind != "BIDS":
        raise InputError(f"{path}: is no BIDS data set, so that there are no entities; leave --entity out")
    if kind == "DICOM":
        from paraspinal_nnunet.inference.dicom_inputs import find_dicom

        return find_dicom(path, choice)
    if kind == "BIDS":
        from paraspinal_nnunet.inference.bids_inputs import find_bids

        return find_bids(path, choice)
    if kind == "image":
        return FoundScans(kind, f"one scan, {path.name}", (_file_scan(path),))
    files = images_in(path)
    return FoundScans(
        kind, f"a folder with {pluralize(len(files), 'scan')}", unique([_file_scan(f) for f in files], path)
    )


def kind_of(path: Path) -> str:
    """``'image'``, ``'images'``, ``'BIDS'`` or ``'DICOM'``, by content.

    Args:
        path: A file or folder that exists.

    Raises:
        InputError: A folder without anything that could be a scan.
    """
    if path.is_file():
        return "DICOM" if _is_dicom_file(path) or zipfile.is_zipfile(path) else "image"
    if (path / _BIDS_DESCRIPTION).is_file() or any(path.glob("sub-*/anat")) or any(path.glob("sub-*/ses-*/anat")):
        return "BIDS"
    if images_in(path):
        return "images"
    if any(p.is_file() and not p.name.startswith(".") for p in path.rglob("*")):
        return "DICOM"
    raise nothing_in(path)


def nothing_in(path: Path) -> InputError:
    """The error for a folder without scans."""
    return InputError(f"{path}: holds no image ({', '.join(ENDINGS)}), nor DICOM or a BIDS data set")


def unique(scans: Sequence[Scan], path: Path) -> tuple[Scan, ...]:
    """The scans, if no two would give one mask.

    Raises:
        InputError: Two would.
    """
    names = [scan.mask_name for scan in scans]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: several scans would give one mask {twice[0]}; models here take one channel")
    return tuple(scans)


def _file_scan(path: Path) -> Scan:
    name = stem_of(path.name)
    return Scan(name, f"{name}{MASK_ENDING}", path.name, lambda: read_image(path))


def _is_dicom_file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_DICOM_MAGIC_AT + 4)[_DICOM_MAGIC_AT:] == _DICOM_MAGIC
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
