"""Zip archives from strangers: every member is judged before the first is written, and none leaves the folder."""

import re
import stat
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from paraspinal_nnunet.errors import InputError, ParaspinalError, one_line
from paraspinal_nnunet.utils.files import atomic_path, open_regular
from paraspinal_nnunet.utils.progress import progress

_BLOCK = 1 << 20
_DATE = (1980, 1, 1, 0, 0, 0)
"""Members carry no time of their own, so that equal files make equal archives."""


@dataclass(frozen=True)
class Limits:
    """What an archive may be at most.

    Attributes:
        members: Number of files.
        total_bytes: Size of all files unpacked.
        ratio: Size unpacked as a multiple of the size packed, per member; weights hardly shrink, JSON by about 10.
        dense_bytes: Size of all files unpacked above which they may not be more than `dense_ratio` times the archive.
        dense_ratio: See `dense_bytes`.
    """

    members: int = 1000
    total_bytes: int = 16 * 1024**3
    ratio: int = 200
    dense_bytes: int = 256 * 1024**2
    dense_ratio: int = 100


def write_zip(folder: Path, path: Path) -> None:
    """Pack all files of a folder, sorted by path; the archive is written whole or not at all."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    total = sum(file.stat().st_size for file in files)
    bar = progress(total=total, what=f"writing {path.name}", unit="B", unit_scale=True)
    with bar, atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in files:
            info = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(info, "w") as target:
                while block := source.read(_BLOCK):
                    target.write(block)
                    bar.update(len(block))


def extract_zip(path: Path, folder: Path, limits: Limits | None = None) -> None:
    """Unpack an archive into an empty folder.

    Args:
        path: The archive.
        folder: Where to.
        limits: What it may hold; the defaults of `Limits` when None.

    Raises:
        InputError: No zip archive, damaged or encrypted, above the limits, or with a member that is a link or special
            file, that names a place outside the folder, or that stands in the archive twice.
    """
    limits = limits or Limits()
    try:
        with open_regular(path) as opened, zipfile.ZipFile(opened) as archive:
            _check_members(path, archive.infolist(), limits)
            members = [m for m in archive.infolist() if not m.is_dir()]
            total = sum(m.file_size for m in members)
            with progress(total=total, what=f"unpacking {path.name}", unit="B", unit_scale=True) as bar:
                for member in members:
                    _extract(archive, member, folder, bar)
    except ParaspinalError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be unpacked ({error.strerror or error})") from error
    except Exception as error:  # whatever the parser meets in an archive is that archive's fault
        raise InputError(f"{path}: is no sound zip archive ({one_line(error)}); get it again") from error


def _check_members(path: Path, members: list[zipfile.ZipInfo], limits: Limits) -> None:
    if len(members) > limits.members:
        raise InputError(f"{path}: holds {len(members)} files, more than {limits.members}; refused")
    total = sum(m.file_size for m in members)
    if total > limits.total_bytes:
        raise InputError(f"{path}: unpacks to {total} bytes, more than {limits.total_bytes}; refused")
    packed = sum(m.compress_size for m in members)
    if total > max(limits.dense_bytes, limits.dense_ratio * packed):
        raise InputError(f"{path}: unpacks to {total} bytes from {packed}, as no scan does; refused")
    for member in members:
        reason = _fault(member, limits)
        if reason:
            raise InputError(f"{path}: member {_shown(member)} {reason}; refused")
    names = Counter(m.filename.rstrip("/").lower() for m in members)
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise InputError(f"{path}: member '{twice[0]}' stands there twice; refused")


def _fault(member: zipfile.ZipInfo, limits: Limits) -> str:
    name = member.orig_filename  # ZipInfo.filename ends at a NUL and has the separators replaced
    parts = name.removesuffix("/").split("/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if re.search(r"[\x00-\x1f\\:]", name) or any(part in ("", ".", "..") for part in parts):
        return "has a name that leads out of the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.file_size > limits.ratio * max(member.compress_size, 1) and member.file_size > _BLOCK:
        return f"unpacks to {member.file_size} bytes from {member.compress_size}"
    return ""


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, bar: "tqdm[Any]") -> None:
    target = folder / member.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(member) as source, target.open("xb") as file:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > member.file_size:
                raise zipfile.BadZipFile(f"{_shown(member)} is larger than it says")
            file.write(block)
            bar.update(len(block))


def _shown(member: zipfile.ZipInfo) -> str:
    return repr(member.orig_filename[:80])
