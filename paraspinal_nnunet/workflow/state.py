"""What a study has done, on disk: markers written last, failures, logs, and locks that die with their process."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from paraspinal_nnunet.errors import InputError, SetupError
from paraspinal_nnunet.utils.files import read_json, write_json, write_text

DONE_FOLDER = Path("state") / "done"
"""Where markers lie in a study."""


@dataclass(frozen=True)
class Step:
    """One step of a study: a rule, and what it is done for.

    Attributes:
        rule: See `schema.RULES`.
        target: A model, plans, a set of models, or a shard; ``''`` where the rule has only one job.
        fold: Of a training or validation.
    """

    rule: str
    target: str = ""
    fold: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """As on the command line."""
        return tuple(part for part in (self.rule, self.target, self.fold) if part)

    @property
    def name(self) -> str:
        """For the user, e.g. ``train/2d/0``."""
        return "/".join(self.parts)


def settings_file(folder: Path, name: str) -> Path:
    """Settings that a job depends on; written only when they change."""
    return folder / "state" / "settings" / f"{name}.json"


def marker(folder: Path, job: Step) -> Path:
    """Written when a job is done."""
    return folder / DONE_FOLDER / f"{job.name}.json"


def failure(folder: Path, job: Step) -> Path:
    """Written when a job failed."""
    return folder / "state" / "failed" / f"{job.name}.json"


def log_file(folder: Path, job: Step) -> Path:
    """Everything that a job printed, attempt after attempt."""
    return folder / "logs" / f"{job.name}.log"


def write_if_changed(path: Path, content: Any) -> bool:
    """Write settings unless they are there already, so that file times tell of changes.

    Returns:
        Whether they were written.
    """
    if path.is_file():
        try:
            if read_json(path) == content:
                return False
        except InputError:
            pass  # damaged: written anew
    write_json(path, content)
    return True


class HeldError(InputError):
    """Another process holds a lock."""


@contextmanager
def held(path: Path, *, wait: bool = False) -> Iterator[IO[str]]:
    """Hold a lock, which the system takes back when the process ends, however it ends.

    Args:
        path: The lock's file; it tells who holds it.
        wait: Wait for it instead of failing.

    Raises:
        HeldError: Another process holds it.
        SetupError: The file system or the operating system has no locks.
    """
    fcntl = _fcntl()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise HeldError(f"{path}: held by {holder(path)}") from None
            raise SetupError(f"{path}: this file system has no locks ({error.strerror}); use another folder") from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield file


def is_held(path: Path) -> bool:
    """Whether a running process holds a lock."""
    if not path.is_file():
        return False
    fcntl = _fcntl()
    with path.open("r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(file, fcntl.LOCK_UN)
    return False


def holder(path: Path) -> str:
    """Who wrote the lock last."""
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except OSError:
        return "another process"


def record_failure(folder: Path, job: Step, message: str, *, seconds: float) -> None:
    """Say that a job failed."""
    write_json(failure(folder, job), {"job": job.name, "error": message, "seconds": round(seconds, 1)})


def clear(folder: Path, job: Step) -> None:
    """A job begins: it is neither done nor failed."""
    for path in (marker(folder, job), failure(folder, job)):
        path.unlink(missing_ok=True)


def append_heading(path: Path, text: str) -> None:
    """Begin another attempt in a log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        write_text(path, "")
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n=== {text}\n")


def _fcntl() -> Any:
    try:
        import fcntl
    except ImportError:
        raise SetupError("studies need file locks, which this operating system lacks; on Windows use WSL") from None
    return fcntl
