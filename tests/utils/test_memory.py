"""Freed memory is kept for the next scan where the C library allows it."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from paraspinal_nnunet.utils.memory import keep_freed_memory

taken = keep_freed_memory() if sys.argv[1] == "keep" else None
def fill():
    return np.full(13 * 2**20, 1, np.uint8)[0], np.full(40 * 2**20, 1, np.uint8)[0]
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    fill()
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only the GNU C library has these settings")
def test_freed_memory_is_used_again():
    faults = {}
    for mode in ("keep", "leave"):
        command = [sys.executable, "-c", PROGRAM, mode]
        taken, number = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        if mode == "keep" and taken == "False":
            pytest.skip("this C library has no mallopt")
        faults[mode] = int(number)
    assert faults["keep"] < faults["leave"] / 10
