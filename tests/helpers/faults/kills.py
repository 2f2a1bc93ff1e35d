"""Ends a verb before it is done: itself or one of its processes, at once or by a signal that it can answer."""

import contextlib
import os
import signal
import time
from pathlib import Path

from helpers.faults import MARK, fault_of_line, leftovers, out_of, prepare_output, run, start

WAYS = ("kill", "worker", "ctrl-c", "term")

ANSWER_S = 30.0
"""In which a verb ends that was stopped, and all processes of one that was killed; on a busy machine."""

LONGEST_S = 900.0


def processes_of(folder):
    """All running processes of runs in a folder."""
    mark, found = f"{MARK}={folder}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _environment(entry).count(mark):
            found.append(int(entry.name))
    return found


def _environment(entry):
    try:
        state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        return () if state == "Z" else (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return ()


def undisturbed(verb, folder):
    """Run a verb; what it wrote, and after how many seconds it began to write and ended.

    Raises:
        RuntimeError: It failed, or left something behind.
    """
    prepare_output(verb, folder)
    before, begun, first = _entries(folder), time.monotonic(), None
    process = start(verb, folder)
    while process.poll() is None:
        if first is None and _entries(folder) != before:
            first = time.monotonic() - begun
        time.sleep(0.05)
    _, said = process.communicate()
    seconds = time.monotonic() - begun
    if process.returncode or leftovers(folder):
        raise RuntimeError(f"exit code {process.returncode}, left {leftovers(folder)}: {said[-1500:]}")
    return verb.contents(out_of(folder)), min(first or seconds, 0.9 * seconds), seconds


def _entries(folder):
    """How much there is, whatever comes and goes meanwhile."""
    return [sum(1 for _ in os.walk(place)) + sum(len(n) for _, _, n in os.walk(place)) for place in _places(folder)]


def _places(folder):
    return out_of(folder), folder / "tmp"


def kill_and_rerun(verb, folder, seconds, expected, *, way="kill", chance=None):
    """End a verb after some seconds, run it again, and compare; what was wrong, or ''."""
    prepare_output(verb, folder)
    if fault := stop(verb, folder, seconds, way=way, chance=chance):
        return fault
    if not leftovers(folder) and verb.contents(out_of(folder)) == expected:
        return ""  # it had ended, or as good as
    return _fault_of_rerun(verb, folder, expected)


def stop(verb, folder, seconds, *, way="kill", chance=None):
    """End a verb after some seconds; what was wrong with how it ended, or ''."""
    process = start(verb, folder)
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    _end(process, folder, way, chance)
    limit = max(ANSWER_S, 2 * seconds) if way != "worker" else LONGEST_S
    begun = time.monotonic()
    try:
        _, said = process.communicate(timeout=limit)
    except Exception:
        process.kill()
        process.communicate()
        return f"{way}: still there after {limit:.0f} s"
    while (left := processes_of(folder)) and time.monotonic() - begun < limit:
        time.sleep(0.1)
    if left:
        told = [Path(f"/proc/{pid}/cmdline").read_bytes()[-80:] for pid in left]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return f"{way}: {len(left)} of its processes went on: {told}"
    return _fault_of_end(process.returncode, said.strip().splitlines(), folder, way)


def _end(process, folder, way, chance):
    if way == "kill":
        process.kill()
    elif way == "term":
        process.terminate()
    elif way == "ctrl-c":
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it, to all of the group
    else:
        others = [pid for pid in processes_of(folder) if pid != process.pid and not _is_tracker(pid)]
        if others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(others) if chance else others[0], signal.SIGKILL)


def _is_tracker(pid):
    """Python's own helper, which holds nothing of ours."""
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def _fault_of_end(code, lines, folder, way):
    if way == "kill" or code == 0:
        return ""
    if way == "worker":
        fault = fault_of_line(code, lines)
        return f"worker: {fault}" if fault else ""
    wanted = 128 + (signal.SIGINT if way == "ctrl-c" else signal.SIGTERM)
    early = -signal.SIGINT if way == "ctrl-c" else -signal.SIGTERM
    if code not in (wanted, early):  # early: before the program is there to answer
        return f"{way}: exit code {code}, said {lines[-2:]}"
    if code == wanted and any("Traceback" in line for line in lines):
        return f"{way}: said {lines[-3:]}"
    return f"{way}: left {leftovers(folder)}" if code == wanted and leftovers(folder) else ""


def _fault_of_rerun(verb, folder, expected):
    out = out_of(folder)
    code, lines, _ = run(verb, folder)
    if code:
        return f"rerun: exit code {code}: {lines[-2:]}"
    if (found := verb.contents(out)) != expected:
        differing = [name for name in {**found, **expected} if found.get(name) != expected.get(name)]
        return f"other files than undisturbed: {differing[:5]}"
    return f"left {leftovers(folder)}" if leftovers(folder) else ""
