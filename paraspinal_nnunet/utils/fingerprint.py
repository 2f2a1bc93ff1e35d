"""What a result was made from: a hash of its input's content, with the files' sizes and times as a cheap first look."""

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.files import open_regular
from paraspinal_nnunet.utils.progress import progress as progress_bar

_BLOCK = 1 << 20
_SETTLED_S = 3.0
"""A file that changed this recently could change again without a trace in its times, so that no first look is kept."""


@dataclass(frozen=True)
class Fingerprint:
    """Of one file or of several that belong together.

    Attributes:
        sha256: Of the content, in hexadecimal; of a single file what ``sha256sum`` prints.
        look: Hash of the files' places, sizes and times, which tells nothing of their names; empty where they are too
            young for it.
    """

    sha256: str
    look: str = ""

    def to_entry(self) -> dict[str, str]:
        """As a record holds it."""
        return asdict(self)

    @classmethod
    def from_entry(cls, entry: Any) -> "Fingerprint | None":
        """From a record; None where it holds none, as those of earlier releases."""
        sha256 = entry.get("sha256") if isinstance(entry, dict) else None
        if not isinstance(sha256, str) or not sha256:
            return None
        look = entry.get("look")
        return cls(sha256, look if isinstance(look, str) else "")

    def same_content(self, other: "Fingerprint | None") -> bool:
        """Whether the content is the same, wherever it lies and whenever it was written."""
        return other is not None and self.sha256 == other.sha256


def fingerprint(
    files: Path | Iterable[Path], *, root: Path | None = None, known: Fingerprint | None = None, progress: str = ""
) -> Fingerprint:
    """The fingerprint of a file, or of several that belong together.

    Take it before the files are read: what changes meanwhile is then noticed the next time.

    Args:
        files: A file, or all files, in any order; folders count with all that is below them.
        root: Of several files, the folder under which their names count, too; None lets the content alone count, as for
            a DICOM series.
        known: What an earlier call gave; where sizes and times are still the same, nothing is read.
        progress: Name of the bar that shows when this takes long; none without one.

    Returns:
        Equal `sha256` for equal content.

    Raises:
        InputError: A file that is missing or cannot be read.
    """
    paths = _plain_files([files] if isinstance(files, Path) else files)
    try:
        look = _look(paths)
        if known is not None and look and look == known.look:
            return known
        total = sum(path.stat().st_size for path in paths)
        with progress_bar(total=total, what=progress, unit="B", unit_scale=True, disable=not progress) as bar:
            digests = [file_sha256(path, bar) for path in paths]
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror or error})") from error
    if len(digests) == 1 and root is None:
        return Fingerprint(digests[0], look)
    names = [os.path.relpath(path, root).replace(os.sep, "/") if root else "" for path in paths]
    lines = sorted(f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
    return Fingerprint(hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest(), look)


def file_sha256(path: Path, progress: "tqdm[Any] | None" = None) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if progress is not None:
                progress.update(len(block))
    return digest.hexdigest()


def _plain_files(paths: Iterable[Path]) -> list[Path]:
    found: set[Path] = set()
    for path in paths:
        found.update(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else found.add(path)
    return sorted(found)


def _look(paths: list[Path]) -> str:
    """The change time is part of it: unlike the modification time, no copying sets it back."""
    states = [(str(path.resolve()), path.stat()) for path in paths]
    newest = max((max(state.st_mtime, state.st_ctime) for _, state in states), default=0.0)
    if abs(time.time() - newest) < _SETTLED_S:
        return ""
    lines = [f"{place}\n{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}" for place, s in states]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
