"""Telling the C library to keep large blocks of memory that were freed, for work that allocates them over and over."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # malloc.h of the GNU C library
_NEVER = 2**31 - 1
_TOP_PAD_BYTES = 64 * 2**20


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
