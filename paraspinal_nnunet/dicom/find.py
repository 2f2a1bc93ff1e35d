"""All DICOM series below a folder or in a zip archive, found by content and split where one series mixes several."""

import filecmp
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paraspinal_nnunet.dicom.headers import read_file
from paraspinal_nnunet.dicom.records import Frame, Kind, Series
from paraspinal_nnunet.dicom.source import files_below
from paraspinal_nnunet.dicom.splitting import split_frames
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.progress import progress
from paraspinal_nnunet.utils.text import pluralize


@dataclass(frozen=True)
class DamagedFile:
    """A file that is DICOM and cannot be used, or that cannot be read at all.

    Attributes:
        path: The file, or a folder that cannot be read.
        reason: One line that names it.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Study:
    """What a folder holds; the series of several studies until `studies.part_studies` has parted them.

    Attributes:
        series: Sorted by number; also objects that are no images.
        other_files: Number of files that are not DICOM, and of indices (DICOMDIR).
        damaged: Files that may belong to these series and cannot be used.
        copies: Number of files left out because another is the same byte for byte.
        root: The folder.
    """

    series: tuple[Series, ...]
    other_files: int
    damaged: tuple[DamagedFile, ...] = ()
    copies: int = 0
    root: Path = Path()

    def of_kind(self, kind: Kind) -> tuple[Series, ...]:
        """The series of one kind."""
        return tuple(s for s in self.series if s.kind is kind)

    def check_sound(self) -> None:
        """Refuse what may lack slices.

        Raises:
            InputError: Damaged files; the first is named.
        """
        if self.damaged:
            others = f" (and {pluralize(len(self.damaged) - 1, 'other file')})" if len(self.damaged) > 1 else ""
            raise InputError(f"{self.damaged[0].reason}{others}")


def find_series(path: Path) -> list[Series]:
    """The series below a folder, sorted by number, of all files that are there, copies among them.

    Args:
        path: A folder, or one DICOM file; for a zip archive open it with `opened_source` first.

    Raises:
        InputError: As `scan_study`, or a DICOM file that is damaged.
    """
    found = scan_study(path, keep_copies=True)
    found.check_sound()
    return list(found.series)


def scan_study(path: Path, *, name: str = "", keep_copies: bool = False) -> Study:
    """Read all headers below a folder and group them by patient, study and series.

    A file is DICOM by its content, whatever its name; all others are counted.

    Args:
        path: A folder, or one DICOM file; for a zip archive open it with `opened_source` first.
        name: What messages call it; its path when ''.
        keep_copies: Keep files that are the same byte for byte as another.

    Raises:
        InputError: No such folder, or nothing in it but files that are no DICOM or are damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    root = path if path.is_dir() else path.parent
    unreadable: list[OSError] = []
    files = files_below(path, onerror=unreadable.append) if path.is_dir() else [path]
    damaged = [_no_folder(error, root) for error in unreadable]
    frames: list[Frame] = []
    other_files = 0
    for file in progress(files, what="reading DICOM headers", unit="file"):
        try:
            found = read_file(file, file.relative_to(root).as_posix())
        except InputError as error:
            damaged.append(DamagedFile(file, str(error)))
            continue
        other_files += found is None
        frames += found or ()
    if not frames and damaged:
        raise InputError(damaged[0].reason)
    if not frames:
        raise InputError(f"{name or path}: holds no DICOM file ({pluralize(other_files, 'other file')} not used)")
    kept, clashes, copies = (frames, [], 0) if keep_copies else _without_copies(frames)
    return Study(_series(kept), other_files, (*damaged, *clashes), copies, root)


def _no_folder(error: OSError, root: Path) -> DamagedFile:
    path = Path(error.filename)
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    return DamagedFile(path, f"{shown}: cannot be read ({error.strerror})")


def _without_copies(frames: Sequence[Frame]) -> tuple[list[Frame], list[DamagedFile], int]:
    """One file of each that are the same byte for byte; files that differ under one SOPInstanceUID are faults."""
    first: dict[str, Frame] = {}
    kept: list[Frame] = []
    copied: set[Path] = set()
    clashes: list[DamagedFile] = []
    for frame in frames:
        header = frame.header
        known = first.setdefault(header.sop_uid, frame).header if header.sop_uid else header
        if known.path != header.path and header.path not in copied:
            if filecmp.cmp(known.path, header.path, shallow=False):
                copied.add(header.path)
            elif all(clash.path != header.path for clash in clashes):
                reason = f"{header.shown}: differs from {known.shown}, but has its SOPInstanceUID; keep the right one"
                clashes.append(DamagedFile(header.path, reason))
        if header.path not in copied:
            kept.append(frame)
    return kept, clashes, len(copied)


def _series(frames: Sequence[Frame]) -> tuple[Series, ...]:
    groups: dict[tuple[str, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        header = frame.header
        patient = header.patient
        key = (header.series_uid, patient.study_uid, *patient.identity)
        groups[key].append(frame)
    ordered = sorted(groups.values(), key=_order)
    return tuple(s for group, key in zip(ordered, _keys(ordered), strict=True) for s in split_frames(group, key))


def _order(frames: Sequence[Frame]) -> tuple[float, str]:
    header = frames[0].header
    return (float("inf") if header.series_number is None else header.series_number, header.series_uid)


def _keys(groups: Sequence[Sequence[Frame]]) -> list[str]:
    """Series numbers, made unique: numbers are given anew by every workstation."""
    keys: list[str] = []
    for frames in groups:
        stored = frames[0].header.series_number
        key = "unnumbered" if stored is None else str(stored)
        same = sum(k.split("-")[0] == key for k in keys)
        keys.append(f"{key}-{same + 1}" if same else key)
    return keys
