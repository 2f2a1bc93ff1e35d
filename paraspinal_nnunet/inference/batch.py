"""Many scans in a row: one is read while another is computed and a third is written, and a bad one stops none.

Memory does not grow with the number of scans: at most one waits to be computed and one to be written.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, Generic, Literal, TypeVar

from tqdm import tqdm

from paraspinal_nnunet.errors import reason_of

log = logging.getLogger(__name__)

_WAIT_S = 0.1
_END = object()

Loaded = TypeVar("Loaded")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ScanJob(Generic[Loaded, Result]):
    """One scan.

    Attributes:
        name: For messages and outcomes.
        load: Reads it; called in a thread of its own.
        write: Writes what was computed, whole or not at all; called in a thread of its own.
        done: Its output is there already: nothing is called, and the outcome says 'kept'.
    """

    name: str
    load: Callable[[], Loaded]
    write: Callable[[Result], None]
    done: bool = False


@dataclass(frozen=True)
class ScanOutcome:
    """What came of one job.

    Attributes:
        name: The job's.
        status: ``'written'``, ``'kept'`` or ``'failed'``.
        message: One line, for failed ones.
        seconds: Of reading, computing and writing it, waiting left out.
    """

    name: str
    status: Literal["written", "kept", "failed"]
    message: str = ""
    seconds: float = 0.0


def run_batch(
    jobs: Iterable[ScanJob[Loaded, Result]],
    process: Callable[[Loaded], Result],
    *,
    total: int | None = None,
    description: str = "predicting",
    writers: int = 1,
) -> list[ScanOutcome]:
    """Load, process and write every job.

    A failure is told in one line as it happens. After an interruption, whatever was computed is still written, and
    nothing half-written stays.

    Args:
        jobs: Taken one by one, in the reading thread.
        process: Called in this thread, for one loaded scan at a time.
        total: Number of jobs, for the progress bar.
        description: Of the progress bar.
        writers: Threads that write, no more than there are jobs; with more than one, jobs may be written in another
            order.

    Returns:
        One outcome per job, in the order of the jobs.
    """
    with tqdm(total=total, desc=description, unit="scan") as progress:
        return _Batch(process, progress, writers if total is None else max(1, min(writers, total))).run(jobs)


def failed(outcomes: Iterable[ScanOutcome]) -> list[ScanOutcome]:
    """Those that failed."""
    return [outcome for outcome in outcomes if outcome.status == "failed"]


@dataclass
class _Work:
    place: int
    job: ScanJob[Any, Any]
    content: Any = None
    seconds: float = 0.0


class _Batch:
    def __init__(self, process: Callable[[Any], Any], progress: "tqdm[Any]", writers: int = 1) -> None:
        self._process, self._progress, self._writers = process, progress, writers
        self._loaded: Queue[Any] = Queue(1)
        self._computed: Queue[Any] = Queue(1)
        self._stop = Event()
        self._outcomes: dict[int, ScanOutcome] = {}
        self._fatal: list[BaseException] = []

    def run(self, jobs: Iterable[ScanJob[Any, Any]]) -> list[ScanOutcome]:
        reader = Thread(target=self._guarded, args=(self._read, jobs), daemon=True)
        writers = [Thread(target=self._guarded, args=(self._write_all,), daemon=True) for _ in range(self._writers)]
        for thread in (reader, *writers):
            thread.start()
        try:
            while (work := self._next()) is not _END:
                if self._step(work, lambda work: self._process(work.content)):
                    self._put(self._computed, work)
                del work  # the scan would stay in memory while the next is waited for
        finally:
            self._stop_reading(reader)
            for _ in writers:
                self._computed.put(_END)
            for writer in writers:
                writer.join()
        if self._fatal:
            raise self._fatal[0]
        return [self._outcomes[place] for place in sorted(self._outcomes)]

    def _guarded(self, target: Callable[..., None], *args: Any) -> None:
        """Errors of a thread are raised in the calling one."""
        try:
            target(*args)
        except BaseException as error:
            self._fatal.append(error)
            self._stop.set()
            if target == self._write_all:
                while self._computed.get() is not _END:
                    pass

    def _read(self, jobs: Iterable[ScanJob[Any, Any]]) -> None:
        for place, job in enumerate(jobs):
            if self._stop.is_set():
                return
            work = _Work(place, job)
            if job.done:
                self._finish(work, "kept")
            elif self._step(work, lambda work: work.job.load()):
                self._put(self._loaded, work)
        self._put(self._loaded, _END)

    def _write_all(self) -> None:
        while (work := self._computed.get()) is not _END:
            if self._step(work, lambda work: work.job.write(work.content)):
                self._finish(work, "written")
            del work

    def _step(self, work: _Work, call: Callable[[_Work], Any]) -> bool:
        """Replace the content by what `call` makes of it; False when that failed."""
        start = time.perf_counter()
        try:
            work.content = call(work)
        except Exception as error:  # whatever it is, it is this scan's failure and no other's
            work.content = None
            log.debug("%s", work.job.name, exc_info=True)
            self._finish(work, "failed", reason_of(error))
            return False
        work.seconds += time.perf_counter() - start
        return True

    def _finish(self, work: _Work, status: Literal["written", "kept", "failed"], message: str = "") -> None:
        self._outcomes[work.place] = ScanOutcome(work.job.name, status, message, work.seconds)
        if status == "failed":
            self._progress.clear()
            log.error("%s: failed: %s", work.job.name, message)
        self._progress.update()

    def _next(self) -> Any:
        while not self._stop.is_set():
            try:
                return self._loaded.get(timeout=_WAIT_S)
            except Empty:
                continue
        return _END

    def _put(self, queue: "Queue[Any]", item: Any) -> None:
        while not self._stop.is_set():
            try:
                queue.put(item, timeout=_WAIT_S)
                return
            except Full:
                continue

    def _stop_reading(self, reader: Thread) -> None:
        self._stop.set()
        reader.join()
