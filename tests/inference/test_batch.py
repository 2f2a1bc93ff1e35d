"""Many jobs: order, overlap, bounded memory, failures that stop none, interruptions that leave nothing half done."""

import threading
import time
import weakref

import pytest

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.inference.batch import ScanJob, ScanOutcome, failed, run_batch


def jobs_of(names, written, load=None, done=()):
    return [
        ScanJob(
            name, (lambda name=name: load(name) if load else name), lambda result: written.append(result), name in done
        )
        for name in names
    ]


def statuses(outcomes):
    return [(o.name, o.status) for o in outcomes]


def test_every_job_is_loaded_processed_and_written_in_order():
    written = []
    outcomes = run_batch(jobs_of("abcde", written, done="c"), str.upper, total=5)
    assert written == ["A", "B", "D", "E"]
    assert statuses(outcomes) == [(n, "kept" if n == "c" else "written") for n in "abcde"]
    assert run_batch([], str.upper) == []


def test_there_are_no_more_writers_than_jobs():
    before = threading.active_count()
    seen = []
    outcomes = run_batch(
        jobs_of("ab", []), lambda name: seen.append(threading.active_count()) or name, total=2, writers=10**20
    )
    assert statuses(outcomes) == [("a", "written"), ("b", "written")]
    assert max(seen) <= before + 4  # a reader, two writers, and the bar's own


def test_failures_anywhere_stop_no_other_job(caplog):
    written = []

    def load(name):
        if name == "b":
            raise InputError("b: is empty")
        return name

    def process(name):
        if name == "d":
            raise MemoryError
        return name.upper()

    def write(result):
        if result == "E":
            raise OSError("disk full\nat once")
        written.append(result)

    jobs = [ScanJob(name, (lambda name=name: load(name)), write) for name in "abcdef"]
    outcomes = run_batch(jobs, process)
    assert written == ["A", "C", "F"]
    assert [(o.name, o.message) for o in failed(outcomes)] == [
        ("b", "b: is empty"),
        ("d", "MemoryError: there is not enough memory"),
        ("e", "disk full at once"),
    ]
    ours = [record for record in caplog.records if record.name == run_batch.__module__]
    assert [record.getMessage() for record in ours] == [f"{o.name}: failed: {o.message}" for o in failed(outcomes)]
    assert [o.name for o in outcomes] == list("abcdef")
    assert outcomes[0] == ScanOutcome("a", "written", "", outcomes[0].seconds)


@pytest.mark.parametrize("part", ["load", "process", "write"])
def test_whatever_a_scan_fails_with_is_its_failure_alone(part, caplog):
    caplog.set_level("DEBUG", logger="paraspinal_nnunet")
    done = []

    def broken(what=None):
        if what == 1:
            raise KeyError("a bug")
        return what

    calls = {"load": lambda n: n, "process": lambda n: n, "write": done.append} | {part: broken}
    calls["write"] = (lambda n: done.append(broken(n))) if part == "write" else done.append
    jobs = [ScanJob(str(n), (lambda n=n: calls["load"](n)), calls["write"]) for n in range(4)]
    outcomes = run_batch(jobs, calls["process"])
    assert [(o.name, o.message) for o in failed(outcomes)] == [("1", "KeyError: 'a bug'")]
    assert done == [0, 2, 3]
    assert any(record.levelname == "DEBUG" and record.exc_info for record in caplog.records)


def test_a_broken_list_of_jobs_is_raised():
    def jobs():
        yield ScanJob("0", lambda: 0, lambda _: None)
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        run_batch(jobs(), lambda n: n)


def test_reading_computing_and_writing_overlap():
    met = threading.Barrier(3, timeout=20)  # passed only when three jobs are under way at once

    def load():
        if next(counts[0]) == 2:
            met.wait()

    def process(_):
        if next(counts[1]) == 1:
            met.wait()

    def write(_):
        if next(counts[2]) == 0:
            met.wait()

    counts = [iter(range(9)) for _ in range(3)]
    outcomes = run_batch([ScanJob(str(n), load, write) for n in range(4)], process)
    assert [o.status for o in outcomes] == ["written"] * 4


def test_memory_does_not_grow_with_the_number_of_jobs():
    class Scan:
        pass

    alive, most = weakref.WeakSet(), [0]

    def load():
        scan = Scan()
        alive.add(scan)
        most[0] = max(most[0], len(alive))
        return scan

    def process(scan):
        time.sleep(0.001)
        return scan

    run_batch([ScanJob(str(n), load, lambda scan: time.sleep(0.004)) for n in range(60)], process)
    assert most[0] <= 6  # one at each of three places, one between each two, one about to be let go


def test_an_interruption_finishes_what_is_computed_and_stops():
    written, loaded = [], []

    def load(name):
        loaded.append(name)
        return name

    def process(name):
        if name == 3:
            raise KeyboardInterrupt
        return name

    with pytest.raises(KeyboardInterrupt):
        run_batch(jobs_of(range(50), written, load), process)
    assert written == [0, 1, 2]
    assert len(loaded) <= 6


def test_several_writers_write_at_once_and_lose_nothing():
    met = threading.Barrier(2, timeout=20)  # passed only when two jobs are written at once
    written = []

    def write(name):
        if name in (0, 1):
            met.wait()
        if name == 3:
            raise InputError("3: cannot be written")
        written.append(name)

    jobs = [ScanJob(str(n), (lambda n=n: n), write) for n in range(6)]
    outcomes = run_batch(jobs, lambda n: n, writers=2)
    assert sorted(written) == [0, 1, 2, 4, 5]
    assert [o.name for o in outcomes] == list("012345")
    assert [o.name for o in failed(outcomes)] == ["3"]
