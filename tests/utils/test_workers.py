"""Worker processes: order, bounds, errors, and real kills of a worker, of the parent and by Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from paraspinal_nnunet.errors import InputError, WorkerDiedError
from paraspinal_nnunet.utils.workers import AHEAD, each, in_own_process, results_of

SECONDS = 20  # to start and to end, on a busy machine


def square(number):
    return number * number


def noted(folder, number):
    (folder / f"{number}.{os.getpid()}").touch()
    if number == 0:
        time.sleep(1)
    return number


def refused(number):
    if number == 3:
        raise InputError(f"case {number}: is no image")
    return number


def unpicklable(number):
    class LocalError(ValueError):
        pass

    raise LocalError(f"case {number}")


def killed(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def pool_of_which_one_is_killed(folder):
    """As nnU-Net's pools: the others wait for ever."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(2) as pool:
        list(pool.imap(killed, range(4)))
    (folder / "never").touch()


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order(workers):
    assert list(results_of(square, range(20), workers=workers)) == [n * n for n in range(20)]
    assert list(results_of(square, [], workers=workers)) == []


def test_no_more_is_begun_than_the_window_holds(tmp_path):
    """While item 0 takes a second, the other process does what may lie ahead: 2 per process, not all 50."""
    results = results_of(partial(noted, tmp_path), range(50), workers=2)
    assert next(results) == 0
    begun = [int(path.name.partition(".")[0]) for path in tmp_path.iterdir()]
    assert max(begun) < AHEAD * 2
    assert list(results) == list(range(1, 50))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_travels_and_ends_the_work(workers):
    results = each(refused, range(100), workers=workers, what="x")
    with pytest.raises(InputError, match="case 3: is no image"):
        list(results)


def test_an_error_that_cannot_travel_says_the_same():
    with pytest.raises(RuntimeError, match="case 0"):
        list(results_of(unpicklable, range(2), workers=2))


def test_a_killed_worker_is_one_line_that_names_its_item():
    start = time.monotonic()
    with pytest.raises(
        WorkerDiedError, match=r"^case 2: its worker process was killed \(SIGKILL\); if memory was short"
    ):
        list(each(killed, range(30), workers=2, what="x", name="case {}".format))
    assert time.monotonic() - start < SECONDS


def test_a_pool_of_others_ends_when_one_of_its_processes_is_killed(tmp_path):
    start = time.monotonic()
    with pytest.raises(WorkerDiedError, match="its worker process was killed"):
        in_own_process(pool_of_which_one_is_killed, tmp_path)
    assert time.monotonic() - start < 2 * SECONDS
    assert not (tmp_path / "never").exists()


def test_a_call_in_an_own_process_returns_and_raises_as_here():
    assert in_own_process(square, 4) == 16
    with pytest.raises(InputError, match="case 3: is no image"):
        in_own_process(refused, 3)


def test_a_call_that_takes_too_long_is_ended():
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="sleep: took longer than 1 s"):
        in_own_process(time.sleep, 10 * SECONDS, limit_s=1)
    assert time.monotonic() - start < SECONDS
    assert in_own_process(square, 4, limit_s=10 * SECONDS) == 16


PARENT = """
import os, sys, time
from functools import partial
from pathlib import Path
from paraspinal_nnunet.utils.workers import in_own_process, results_of

def wait(folder, number):
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(300)

def pool(folder):
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(2) as workers:
        workers.map(partial(wait, folder), range(2))

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if sys.argv[2] == "pool":
        in_own_process(pool, folder)
    else:
        list(results_of(partial(wait, folder), range(2), workers=2))
"""


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds=3 * SECONDS):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks processes up in /proc")
@pytest.mark.parametrize("kind", ["workers", "pool"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, kind, number):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script), str(tmp_path), kind]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True) as parent:
        assert until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
        pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
        parent.send_signal(number)
        assert until(lambda: not any(map(is_running, pids)))
        parent.wait(timeout=SECONDS)
