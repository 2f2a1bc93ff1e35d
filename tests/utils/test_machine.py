"""Records name the host only when asked, and freed memory is kept for the next scan where the C library allows it."""

import os
import socket
import subprocess
import sys

import pytest

from paraspinal_nnunet.utils.machine import RECORD_HOST, environment, host_entry

PROGRAM = """
import resource, sys
import numpy as np
from paraspinal_nnunet.utils.machine import keep_freed_memory

taken = keep_freed_memory() if sys.argv[1] == "keep" else None
def fill():
    return np.full(13 * 2**20, 1, np.uint8)[0], np.full(40 * 2**20, 1, np.uint8)[0]
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    fill()
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_records_name_the_host_only_when_asked(monkeypatch):
    for value, entry in ((None, {}), ("0", {}), ("", {}), ("1", {"host": socket.gethostname()})):
        monkeypatch.delenv(RECORD_HOST, raising=False)
        if value is not None:
            monkeypatch.setenv(RECORD_HOST, value)
        assert host_entry() == entry


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


def test_variables_are_as_before_afterwards(monkeypatch):
    monkeypatch.setenv("PARASPINAL_A", "old")
    monkeypatch.delenv("PARASPINAL_B", raising=False)
    with pytest.raises(ZeroDivisionError), environment(PARASPINAL_A="new", PARASPINAL_B="1"):
        assert (os.environ["PARASPINAL_A"], os.environ["PARASPINAL_B"]) == ("new", "1")
        raise ZeroDivisionError
    assert os.environ["PARASPINAL_A"] == "old"
    assert "PARASPINAL_B" not in os.environ
