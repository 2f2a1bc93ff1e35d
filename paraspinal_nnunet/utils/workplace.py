"""Hidden folders in which results grow: of random names, locked by their owner, and swept when that is dead."""

import atexit
import errno
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from paraspinal_nnunet.errors import CANNOT_WRITE

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LONG_S = 24 * 3600
"""A folder whose lock says nothing, on file systems without locks, is left alone for this time."""

_PREFIX, _SUFFIX = ".paraspinal-", ".partial"
_NAME = re.compile(rf"{re.escape(_PREFIX)}[0-9a-f]{{16}}{re.escape(_SUFFIX)}")
_BY_NUMBER = re.compile(r"\.(\d+)\.(partial|replaced)\.(.+)")
"""Names that earlier versions gave, by the number of their process."""

_LOCK, _ASIDE, _BECOMES = "lock", "replaced", "becomes"
_swept: set[tuple[int, str]] = set()
_own: dict[Path, int] = {}
"""Folders that are there, or are about to be, and the number of the process that they belong to."""


@contextmanager
def workplace(parent: Path | None = None) -> Iterator[Path]:
    """A new folder for this process alone, removed at the end; what dead processes left beside it is put right before.

    Args:
        parent: Where it lies; the system's folder for temporary files when None.
    """
    parent = Path(tempfile.gettempdir() if parent is None else parent)
    place = (os.getpid(), os.path.realpath(parent))
    if place not in _swept:  # once: a folder may hold thousands of results
        _swept.add(place)
        sweep(parent)
    folder, lock = _new_folder(parent)
    try:
        yield folder
    except OSError as error:
        if error.errno in CANNOT_WRITE and (error.filename is None or folder.name in str(error.filename)):
            error.filename, error.filename2 = os.fspath(parent), None  # the hidden folder tells nobody anything
        raise
    finally:
        try:
            _put_right(folder)
            del _own[folder]
        finally:
            os.close(lock)


def _tidy_up() -> None:
    """Remove what is left at the end: a signal may come between any two lines, also of tidying up."""
    for folder, owner in list(_own.items()):  # a thread that was never waited for may still begin one
        if owner == os.getpid():
            _put_right(folder)


atexit.register(_tidy_up)


def sweep(parent: Path) -> None:
    """Remove what processes that were killed left in a folder, and bring back what they had set aside."""
    try:
        names = [entry.name for entry in os.scandir(parent) if entry.name.startswith(".")]
    except OSError:
        return
    for name in names:
        with suppress(OSError):  # another process sweeps too, or it is somebody else's
            if _NAME.fullmatch(name):
                _sweep_folder(parent / name)
            elif match := _BY_NUMBER.fullmatch(name):
                _sweep_numbered(parent / name, int(match[1]), match[2], parent / match[3])


def set_aside(place: Path, folders: Sequence[Path], path: Path) -> None:
    """Move folders into a workplace beside them until another one stands as `path`; else they come back.

    Args:
        place: The workplace.
        folders: What gives way.
        path: The final name of what takes their place.
    """
    (place / _ASIDE).mkdir()
    (place / _BECOMES).write_text(path.name, encoding="utf-8")
    for folder in folders:
        os.replace(folder, place / _ASIDE / folder.name)


def _new_folder(parent: Path) -> tuple[Path, int]:
    while True:
        folder = parent / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        _own[folder] = os.getpid()
        folder.mkdir(mode=0o777 if parent != Path(tempfile.gettempdir()) else 0o700)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        if _locked(lock) is not False and (folder / _LOCK).exists():
            return folder, lock
        os.close(lock)  # swept between its making and its locking


def _locked(lock: int) -> bool | None:
    """Whether the lock is this process's now; None where there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EACCES) else None
    return True


def _sweep_folder(folder: Path) -> None:
    lock = os.open(folder / _LOCK, os.O_RDWR) if (folder / _LOCK).exists() else None
    try:
        free = None if lock is None else _locked(lock)
        if free or (free is None and _age_s(folder) > LONG_S):
            _put_right(folder)
    finally:
        if lock is not None:
            os.close(lock)


def _put_right(folder: Path) -> None:
    """Bring back what was set aside, unless what replaces it stands; remove the rest."""
    aside = folder / _ASIDE
    if aside.is_dir() and not (folder.parent / (folder / _BECOMES).read_text(encoding="utf-8")).exists():
        for kept in aside.iterdir():
            os.replace(kept, folder.parent / kept.name)
    shutil.rmtree(folder, ignore_errors=True)


def _sweep_numbered(path: Path, number: int, kind: str, final: Path) -> None:
    if _is_running(number) and _age_s(path) < LONG_S:
        return
    if kind == "replaced" and not final.exists():
        os.replace(path, final)
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _is_running(number: int) -> bool:
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _age_s(path: Path) -> float:
    return time.time() - path.lstat().st_mtime
