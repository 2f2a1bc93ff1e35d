"""How the process that runs a study's steps is stopped."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paraspinal_nnunet.cli.guard import StoppedError
from paraspinal_nnunet.workflow.engine import _followed

ENGINE = """
import pathlib, subprocess, sys, time
step = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
pathlib.Path(sys.argv[1]).write_text(str(step.pid))
step.wait()
"""


class Narrator:
    """Raises what a signal would once the step runs."""

    def __init__(self, note, error):
        self.note, self.error = note, error

    def tell(self):
        if self.note.exists() and self.note.read_text():
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoppedError(signal.SIGTERM)], ids=["ctrl-c", "sigterm"])
def test_a_signal_to_the_study_alone_stops_the_engine_and_its_steps(tmp_path, error):
    """A terminal sends Ctrl-C to all of them; `kill`, a container or a cluster to the first one only."""
    note, begun = tmp_path / "step", time.monotonic()
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(note)], start_new_session=True, stderr=subprocess.DEVNULL
    )
    with pytest.raises(type(error)):
        _followed(Narrator(note, error), engine)
    assert engine.returncode not in (None, 0)
    assert time.monotonic() - begun < 60
    step = int(note.read_text())
    while is_running(step):
        assert time.monotonic() - begun < 60, "the step went on"
        time.sleep(0.05)


def is_running(pid):
    """Not so once it waits for nothing but to be counted by who adopted it."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
