"""The scans of an input: files, folders of them, BIDS data sets and DICOM studies, told apart by content."""

import logging
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import ENDINGS, images_in, read_image, stem_of
from paraspinal_nnunet.image_io.pairing import no_images, warn_left_out
from paraspinal_nnunet.inference.scans import MASK_ENDING, FoundScans, InputChoice, Scan, unique
from paraspinal_nnunet.utils.text import pluralize

if TYPE_CHECKING:
    from paraspinal_nnunet.dataset_conversion.sources.bids_names import BidsName

BIDS_DESCRIPTION = "dataset_description.json"
BIDS_MASK = "space-orig_desc-paraspinal_dseg"
"""What a mask's name has besides its scan's entities: it lies on the scan's grid."""

log = logging.getLogger(__name__)

_DICOM_MAGIC, _DICOM_MAGIC_AT = b"DICM", 128


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
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: no such file or folder")
    kind = kind_of(path)
    if choice.series is not None and kind != "DICOM":
        raise InputError(f"{path}: holds no DICOM, so that there is no series to choose; leave --series out")
    if choice.entities and kind != "BIDS":
        raise InputError(f"{path}: is no BIDS data set, so that there are no entities; leave --entity out")
    if kind == "DICOM":
        from paraspinal_nnunet.inference.dicom.inputs import find_dicom

        return find_dicom(path, choice)
    if kind == "BIDS":
        return _find_bids(path, choice)
    if kind == "image":
        return FoundScans(kind, f"one scan, {path.name}", (_file_scan(path),))
    files = images_in(path)
    warn_left_out(log, path, no_images(path), "no image that can be read")
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
    if (path / BIDS_DESCRIPTION).is_file() or any(path.glob("sub-*/anat")) or any(path.glob("sub-*/ses-*/anat")):
        return "BIDS"
    if images_in(path):
        return "images"
    if any(p.is_file() and not p.name.startswith(".") for p in path.rglob("*")):
        return "DICOM"
    raise nothing_in(path)


def nothing_in(path: Path) -> InputError:
    """The error for a folder without scans."""
    return InputError(f"{path}: holds no image ({', '.join(ENDINGS)}), nor DICOM or a BIDS data set")


def _file_scan(path: Path) -> Scan:
    name = stem_of(path.name)
    return Scan(name, f"{name}{MASK_ENDING}", path.name, lambda: read_image(path), files=(path,))


def _find_bids(folder: Path, choice: InputChoice) -> FoundScans:
    """The images of a BIDS data set; a scan's name is the image's entities, its mask's the derivative's."""
    from paraspinal_nnunet.dataset_conversion.patterns.pairing import walk
    from paraspinal_nnunet.dataset_conversion.sources.bids_layout import Choice, chosen_images
    from paraspinal_nnunet.dataset_conversion.sources.bids_names import not_ignored, parse

    names = [name for file in not_ignored(walk(folder), folder) if (name := parse(file)) is not None]
    images, _ = chosen_images(folder, names, Choice(choice.suffix, choice.entities))
    scans = unique([_bids_scan(image, folder) for image in images], folder)
    subjects = len({image.entities["sub"] for image in images})
    line = f"a BIDS data set with {pluralize(len(scans), f'{choice.suffix} image')} of {pluralize(subjects, 'subject')}"
    return FoundScans("BIDS", line, scans)


def _bids_scan(image: "BidsName", folder: Path) -> Scan:
    path = folder / image.path
    name = f"{image.case}_{BIDS_MASK}{MASK_ENDING}"
    mask = (PurePosixPath(image.path).parent / name).as_posix()
    return Scan(image.case, mask, image.path, lambda: read_image(path), files=(path,))


def _is_dicom_file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(_DICOM_MAGIC_AT + 4)[_DICOM_MAGIC_AT:] == _DICOM_MAGIC
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
