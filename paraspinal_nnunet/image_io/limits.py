"""How many voxels a header may ask for, before any memory is taken: more would end the program with all else in it."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.machine import environment, memory_bytes

VARIABLE = "PARASPINAL_MAX_VOXELS"
"""The variable that sets the limit, for libraries and workflows; processes that are started inherit it."""

MOST = 2**31
"""More than any scan has: 1024 x 1024 x 2048."""

BYTES_PER_VOXEL = 16
"""What a scan takes on its way: as it is stored, in single precision, its labels, and something of both at a time."""


def max_voxels() -> int:
    """The limit: what was set, else `MOST` or as many as fit into this machine's memory, whichever is less.

    Raises:
        InputError: What was set is no number.
    """
    given = os.environ.get(VARIABLE, "")
    if given:
        if not given.isdecimal() or int(given) < 1:
            raise InputError(f"{VARIABLE} is {given!r}; give a number of voxels, e.g. {MOST}")
        return int(given)
    memory = memory_bytes()
    return MOST if memory is None else min(MOST, memory // BYTES_PER_VOXEL)


def check_voxels(sizes: Sequence[int], name: Path | str) -> None:
    """Refuse a scan or label map that is too large.

    Args:
        sizes: Of its axes.
        name: Its file, for the message.

    Raises:
        InputError: More than `max_voxels`.
    """
    count, most = math.prod(sizes), max_voxels()
    if count > most:
        axes = " x ".join(map(str, sizes))
        raise InputError(
            f"{name}: header states {axes} = {count} voxels, more than the {most} that are read here; check the file, "
            "or allow more with --max-voxels"
        )


@contextmanager
def voxel_limit(count: int | None) -> Iterator[None]:
    """Within the block, the limit of this process and of those that it starts; None leaves it as it is.

    Raises:
        InputError: No number of voxels.
    """
    if count is None:
        yield
        return
    if count < 1:
        raise InputError(f"--max-voxels {count}: give 1 or more")
    with environment(**{VARIABLE: str(count)}):
        yield
