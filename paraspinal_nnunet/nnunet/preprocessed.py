"""Folders of preprocessed cases: which raw files they were made from, and whether they are complete."""

import hashlib
import json
from pathlib import Path

from paraspinal_nnunet import __version__
from paraspinal_nnunet.utils.files import read_json, write_json

MARKER_SUFFIX = ".complete.json"
"""Beside a folder of preprocessed cases lies a file of its name and this suffix, written last: without it the folder is
not complete. It cannot lie inside, where nnU-Net wants files of one kind."""


def source_digest(raw: Path) -> str:
    """A hash that changes whenever a raw image, label or dataset.json is replaced (names, sizes, times)."""
    files = sorted([raw / "dataset.json", *(raw / "imagesTr").iterdir(), *(raw / "labelsTr").iterdir()])
    stamps = [(f.relative_to(raw).as_posix(), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()


def is_preprocessed(folder: Path, digest: str | None = None) -> bool:
    """Whether a folder of preprocessed cases is complete, and made from these raw files where a digest is given."""
    marker = _marker(folder)
    if not marker.is_file() or not folder.is_dir():
        return False
    return digest is None or read_json(marker)["source"] == digest


def mark_preprocessed(folder: Path, digest: str) -> None:
    """Note that a folder is complete, and from which raw files it was made."""
    write_json(_marker(folder), {"source": digest, "version": __version__})


def unmark_preprocessed(folder: Path) -> None:
    """Note that a folder is about to be made anew."""
    _marker(folder).unlink(missing_ok=True)


def _marker(folder: Path) -> Path:
    return folder.with_name(folder.name + MARKER_SUFFIX)
