"""What an input holds: scans to be segmented, what cannot be one, and which of them are meant."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.utils.names import doubled

if TYPE_CHECKING:
    from paraspinal_nnunet.inference.dicom.inputs import StudyFiles

MASK_ENDING = ".nii.gz"
_LONGEST_HEADER = 1 << 16
_DATA_FILE = re.compile(rb"^(?:ElementDataFile[ \t]*=|data ?file:)[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Scan:
    """One scan to be segmented.

    Attributes:
        name: The case's: of its files, on its page, in tables.
        mask_name: File of its mask.
        source: What records call the input: a file's name, or words that say nothing of the patient.
        read: Reads it.
        study: Its DICOM files; None for other inputs.
        patient: What the input says of the patient; shown only where that is asked for.
        files: Files that it is read from, without those that their headers name; of DICOM, see `study`.
    """

    name: str
    mask_name: str
    source: str
    read: Callable[[], Volume] = field(repr=False)
    study: "StudyFiles | None" = field(default=None, repr=False)
    patient: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: tuple[Path, ...] = field(default=(), repr=False)

    @property
    def sources(self) -> tuple[Path, ...]:
        """All files that it is read from.

        Raises:
            InputError: A header that cannot be read.
        """
        if self.study is not None:
            return self.study.sources
        return tuple(file for path in self.files for file in files_of(path))


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
            stack by the rules of `dicom.selection`.
        keep_identifiers: DICOM: name cases by their folders rather than by pseudonyms.
        explain: DICOM: say of every series why it was taken or rejected.
        suffix: BIDS: of the images.
        entities: BIDS: values that the images must have.
    """

    series: str | None = None
    keep_identifiers: bool = False
    explain: bool = False
    suffix: str = "T2w"
    entities: Mapping[str, str] = field(default_factory=dict)


def unique(scans: Sequence[Scan], path: Path) -> tuple[Scan, ...]:
    """The scans, if no two would give one mask on any file system.

    Raises:
        InputError: Two would.
    """
    for names in doubled(scan.mask_name for scan in scans):
        also = f" (also written {names[-1]})" if names[0] != names[-1] else ""
        raise InputError(
            f"{path}: several scans would give one mask {names[0]}{also}; models here take one channel, so rename or "
            "move all but one"
        )
    return tuple(scans)


def files_of(path: Path) -> tuple[Path, ...]:
    """A scan's file, and for a header without voxels (.mhd, .nhdr) the files that hold them.

    A header that lists several, or a pattern, counts with all that lies in its folder.
    """
    if not path.name.lower().endswith((".mhd", ".nhdr")):
        return (path,)
    try:
        with path.open("rb") as file:
            found = _DATA_FILE.search(file.read(_LONGEST_HEADER))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    named = path.parent / found[1].decode("utf-8", "surrogateescape").strip() if found else path
    if named.is_file():
        return (path,) if named == path else (path, named)
    return tuple(sorted(p for p in path.parent.iterdir() if p.is_file()))
