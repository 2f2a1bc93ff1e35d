"""A process that may die of a call: it is told of, the next call is answered, and nothing outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.processes.child import Child, CrashedError

SECONDS = 30  # to start and to end, on a busy machine


@pytest.fixture
def fragile():
    child = Child("helpers.fragile", "read")
    yield child
    child.end()


def test_calls_are_answered_by_one_process(fragile):
    assert fragile.call("pid") == fragile.call("pid") != os.getpid()


def test_errors_travel(fragile):
    with pytest.raises(InputError, match=r"^a: is no image$"):
        fragile.call("refused")
    assert fragile.call("said") == "said"


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_costs_one_call(fragile, how):
    before = fragile.call("pid")
    with pytest.raises(CrashedError, match=rf"^the process that read it was killed \({how}\)$"):
        fragile.call(how)
    assert fragile.call("pid") != before


def test_what_it_prints_is_no_answer(fragile, capfd):
    assert fragile.call("print") == "printed"
    assert "native words" in capfd.readouterr().err


def test_it_ends_with_its_parent(tmp_path):
    program = (
        "import time\n"
        "from pathlib import Path\n"
        "from paraspinal_nnunet.utils.processes.child import Child\n"
        "child = Child('helpers.fragile', 'read')\n"
        f"place = Path({str(tmp_path / 'pid')!r})\n"
        "place.with_suffix('.part').write_text(str(child.call('pid')))\n"
        "place.with_suffix('.part').rename(place)\n"
        "time.sleep(60)\n"
    )
    paths = os.pathsep.join(filter(None, sys.path))
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": paths})
    end = time.monotonic() + SECONDS
    while not (tmp_path / "pid").exists() and time.monotonic() < end:
        time.sleep(0.05)
    number = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    while _runs(number) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _runs(number)


def _runs(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
