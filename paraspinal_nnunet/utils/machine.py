"""This machine: its memory, what records may tell of it, and how programs share it with others."""

import ctypes
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RECORD_HOST = "PARASPINAL_RECORD_HOST"
"""The variable that asks for the host's name; without it results that are handed on name no machine of the hospital."""

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where a container's limit stands: control groups of version 2, and of version 1."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # malloc.h of the GNU C library
_NEVER = 2**31 - 1
_TOP_PAD_BYTES = 64 * 2**20


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Within the block, variables of this process and of those that it starts; afterwards they are as before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def host_entry() -> dict[str, str]:
    """The entry ``host`` of a record, where it was asked for."""
    return {"host": socket.gethostname()} if os.environ.get(RECORD_HOST, "0") not in ("", "0") else {}


def memory_bytes() -> int | None:
    """The memory that this process may have: the machine's, or its container's where that has less.

    Returns:
        None on systems that do not tell.
    """
    try:
        known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (AttributeError, OSError, ValueError):
        return None
    for path in _CGROUP_LIMITS:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        known += [int(text)] if text.isdecimal() else []  # "max": no limit
    return min(known)


def wait_asleep() -> None:
    """Let the threads of torch's processor code sleep, not spin, while they wait for one another.

    Call it before torch is imported. Where other programs run too, spinning threads take the time of the one that they
    wait for: on 2 cores with 13 processes at work a 3D training step took 5.6 s of processor time, asleep 0.8 s. What
    the user has set stays. Results are the same.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def import_nothing_from_here() -> None:
    """Let the processes that this one starts import nothing that lies in the folder in which the user is.

    ``python -c`` and ``python -m``, by which pools, engines and trainings begin, look there first: a ``struct.py`` or
    ``numpy.py`` among somebody's scans would be run. Python 3.10 does not know the variable; it has the flag for pools.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    if sys.version_info < (3, 11):
        import multiprocessing.util as pools

        flags = pools._args_from_interpreter_flags()  # type: ignore[attr-defined]
        pools._args_from_interpreter_flags = lambda: [*flags, "-I"]  # type: ignore[attr-defined]


def keep_freed_memory() -> bool:
    """Let freed image buffers be used again instead of going back to the system.

    Fresh memory costs a page fault every 4 KiB; with scans read one after the other that was more than half of the
    time. It concerns the whole process, which keeps the most memory that it ever held, so it is for commands that end
    after their work, not for libraries.

    Returns:
        Whether the C library took the settings; only the GNU C library has them.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _TOP_PAD_BYTES), (_M_ARENA_MAX, 1))
    taken = [mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings]
    return all(taken)
