"""One conversion at a time into one data set number."""

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paraspinal_nnunet.errors import DatasetError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOG = logging.getLogger(__name__)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def number_lock(raw: Path, number: int) -> Iterator[None]:
    """Hold a data set number of a folder for oneself, whatever the data set's name.

    The system frees the lock when the process ends, however it ends: a lock file left by a killed process holds nobody
    up.

    Args:
        raw: nnU-Net's raw folder.
        number: Data set number.

    Raises:
        DatasetError: Another process holds the number.
        OSError: The folder cannot be written to.
    """
    path = raw / f".Dataset{number:03d}.lock"
    descriptor = _locked(path, number)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path, number: int) -> int:
    """A descriptor of the lock file; a file that its last holder removed meanwhile is no lock and is made anew."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor, path, number)
        except BaseException:
            os.close(descriptor)
            raise
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)


def _lock(descriptor: int, path: Path, number: int) -> None:
    if fcntl is None:
        _LOG.warning("this system has no file locks: do not convert twice into one number at the same time")
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        raise DatasetError(
            f"data set number {number} of {path.parent} is in the hands of {holder}; wait for it or choose another -d"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _LOG.warning("%s has no file locks: do not convert twice into one number at the same time", path.parent)
