"""All DICOM series below a folder or in a zip archive, found by content and split where one series mixes several."""

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


@dataclass(frozen=True)
class Study:
    """What a folder holds.

    Attributes:
        series: Sorted by number; also objects that are no images.
        other_files: Number of files that are not DICOM, and of indices (DICOMDIR).
    """

    series: tuple[Series, ...]
    other_files: int

    def of_kind(self, kind: Kind) -> tuple[Series, ...]:
        """The series of one kind."""
        return tuple(s for s in self.series if s.kind is kind)


def find_series(path: Path) -> list[Series]:
    """The series below a folder, sorted by number.

    Args:
        path: A folder, or one DICOM file; for a zip archive open it with `opened_source` first.

    Raises:
        InputError: As `scan_study`.
    """
    return list(scan_study(path).series)


def scan_study(path: Path, *, name: str = "") -> Study:
    """Read all headers below a folder and group them.

    A file is DICOM by its content, whatever its name; all others are counted.

    Args:
        path: A folder, or one DICOM file; for a zip archive open it with `opened_source` first.
        name: What messages call it; its path when ''.

    Raises:
        InputError: No such folder, no DICOM file in it, or a DICOM file that is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    root, files = (path, files_below(path)) if path.is_dir() else (path.parent, [path])
    frames: dict[str, list[Frame]] = defaultdict(list)
    other_files = 0
    for file in progress(files, what="reading DICOM headers", unit="file"):
        found = read_file(file, file.relative_to(root).as_posix())
        if found is None:
            other_files += 1
            continue
        for frame in found:
            frames[frame.header.series_uid].append(frame)
    if not frames:
        others = "1 other file" if other_files == 1 else f"{other_files} other files"
        raise InputError(f"{name or path}: holds no DICOM file ({others} not used)")
    ordered = sorted(frames.values(), key=_order)
    return Study(
        tuple(s for group, key in zip(ordered, _keys(ordered), strict=True) for s in split_frames(group, key)),
        other_files,
    )


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
