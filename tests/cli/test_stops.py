"""Real commands that are really stopped: a worker killed, the command killed, asked to end, or interrupted."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks processes up in /proc"),
]
SECONDS = 60  # "within seconds", on a machine with ten times as much to do


@contextmanager
def command(*arguments, environment=()):
    process = subprocess.Popen(
        [sys.executable, "-m", "paraspinal_nnunet", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **dict(environment)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        for pid in [process.pid, *descendants(process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.communicate()


def parents():
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state != "Z":
                found[int(name)] = int(parent)
    return found


def descendants(pid):
    family, found = parents(), []
    waiting = [pid]
    while waiting:
        own = [child for child, parent in family.items() if parent == waiting[0]]
        found += own
        waiting = [*waiting[1:], *own]
    return found


def workers(pid):
    """Those that work: not multiprocessing's tracker of resources, nor the head of a group of others."""
    found = []
    for child in descendants(pid):
        try:
            with open(f"/proc/{child}/cmdline") as file:
                if "spawn_main" in file.read():
                    found.append(child)
        except OSError:
            continue
    return found


def until(condition, seconds=SECONDS):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    return condition()


def ended(process):
    code = process.wait(timeout=SECONDS)
    return code, process.stderr.read().strip().splitlines()


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


PHANTOM = ("phantom", "-n", 40, "-np", 2, "--shape", 256, 256, 24)


def test_a_killed_worker_of_phantom_is_one_line(tmp_path):
    with command(*PHANTOM, "-o", tmp_path / "cohort") as process:
        started = until(lambda: len(workers(process.pid)) == 2 and workers(process.pid))
        os.kill(started[0], signal.SIGKILL)
        code, lines = ended(process)
    assert code == 1
    assert lines[-1].startswith("paraspinal phantom: error: phantom ")
    assert "its worker process was killed (SIGKILL)" in lines[-1]
    assert "Traceback" not in "".join(lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_workers_of_a_stopped_phantom_end_and_the_next_start_sweeps(tmp_path, number):
    with command(*PHANTOM, "-o", tmp_path / "cohort") as process:
        started = until(lambda: len(workers(process.pid)) == 2 and workers(process.pid))
        assert until(lambda: hidden(tmp_path))
        process.send_signal(number)
        assert until(lambda: not set(started) & set(parents()))
        code, lines = ended(process)
    if number == signal.SIGKILL:
        assert hidden(tmp_path)
    else:
        assert (code, lines[-1]) == (128 + number, "paraspinal phantom: stopped")
        assert list(tmp_path.iterdir()) == []
    with command("phantom", "-n", 1, "--shape", 64, 64, 16, "-o", tmp_path / "cohort") as process:
        assert ended(process)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    from paraspinal_nnunet.phantom import write_cohort

    folder = tmp_path_factory.mktemp("stops") / "cohort"
    write_cohort(folder, cases=1, shape=(128, 128, 16), second_rater=0, workers=1)
    for number in range(2, 200):  # of other voxels: copies are refused
        for kind in ("img", "GT"):
            (source,) = folder.glob(f"*001_{kind}.nii.gz")
            shutil.copy(source, source.with_name(source.name.replace("001", f"{number:03d}")))
    return folder


def convert(cohort, raw):
    return command("convert", "author", "-i", cohort, "-d", 7, "-np", 2, environment={"nnUNet_raw": str(raw)})


def test_a_killed_worker_of_convert_is_one_line(cohort, tmp_path):
    with convert(cohort, tmp_path) as process:
        unfinished = tmp_path / ".Dataset007.unfinished"
        assert until(lambda: list(unfinished.glob("dataset/imagesTr/*.nii.gz")))
        os.kill(workers(process.pid)[0], signal.SIGKILL)
        code, lines = ended(process)
    assert code == 1
    assert "a worker process died while converting " in lines[-1]
    assert "(it was killed (SIGKILL)); if memory was short, " in lines[-1]
    assert "--exclude" in lines[-1]
    assert "Traceback" not in "".join(lines)


def plan(tiny):
    environment = {**tiny.variables(), "OMP_NUM_THREADS": "1"}
    return command("plan", "-d", 501, "-p", "Stopped", "-np", 2, "-c", "2d", "--set", "seed=7", environment=environment)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_plan_ends_when_it_or_one_of_its_processes_is_stopped(tiny_copy, number):
    """The processes below the group's head are nnU-Net's own pool."""
    (tiny_copy.preprocessed / "dataset_fingerprint.json").unlink()
    with plan(tiny_copy) as process:
        started = until(lambda: len(workers(process.pid)) == 3 and workers(process.pid), 3 * SECONDS)
        assert started
        os.kill(process.pid if number == signal.SIGINT else started[-1], number)
        assert until(lambda: not set(started) & set(parents()))
        code, lines = ended(process)
    if number == signal.SIGINT:
        assert code == 130
        assert lines[-1].endswith("paraspinal plan: stopped")  # on the line of a bar of nnU-Net's
    else:
        assert code == 1
        assert lines[-1].startswith("paraspinal plan: error: plan: its worker process was killed")
    assert "Traceback" not in "".join(lines)


def test_a_report_that_was_killed_is_written_by_the_next_call(evaluation, tmp_path):
    output = tmp_path / "report"
    with command("report", "-e", evaluation, "-o", output) as process:
        assert until(lambda: list(output.glob("figures/*")), 3 * SECONDS)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (output / "report.html").exists()
    with command("report", "-e", evaluation, "-o", output) as process:
        code = process.wait(timeout=5 * SECONDS)
        assert code == 0, process.stderr.read()
    assert (output / "report.html").is_file()
    assert hidden(output) == []
