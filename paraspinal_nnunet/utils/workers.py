"""The same work on many items over a few processes: in order, within bounds, and ended together, however one ends."""

import contextlib
import os
import pickle
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from paraspinal_nnunet.errors import ParaspinalError, WorkerDiedError
from paraspinal_nnunet.utils import processes
from paraspinal_nnunet.utils.progress import progress

MOST_WORKERS = 8
AHEAD = 2
"""Items per process that may be begun or finished before the result that is due: what bounds memory."""

_NNUNETS_WORD = "background worker is 6 feet under"
"""What nnU-Net says of a process of its pools that was killed."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_workers() -> int:
    """As many as the machine has cores, at most `MOST_WORKERS`."""
    return min(MOST_WORKERS, os.cpu_count() or 1)


def results_of(
    do: Callable[[Item], Result], items: Sequence[Item], *, workers: int, name: Callable[[Item], object] = str
) -> Generator[Result, None, None]:
    """Yield ``do(item)`` for every item, in their order; closing the generator ends the processes.

    Ctrl-C reaches the calling process alone, which then ends the others; when it is killed, they end by themselves.

    Args:
        do: A module-level function, or a partial of one, where there are several workers.
        items: Small; they travel to the processes.
        workers: Number of processes; 1 works in this one.
        name: An item's name in messages.

    Raises:
        WorkerDiedError: A process was killed; the message names its item.
    """
    workers = min(workers, len(items))
    if workers < 2:
        yield from map(do, items)
        return
    pool: list[_Worker] = []
    try:
        pool.extend(_Worker(do) for _ in range(workers))
        yield from _in_order(pool, items, name)
    except BaseException:
        for worker in pool:
            worker.kill()
        raise
    finally:
        for worker in pool:
            worker.end()


def each(
    do: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    what: str,
    unit: str = "case",
    name: Callable[[Item], object] = str,
) -> Generator[Result, None, None]:
    """As `results_of`, with a progress bar of the name `what` that shows when it takes a while."""
    with (
        progress(total=len(items), what=what, unit=unit) as bar,
        closing(results_of(do, items, workers=workers, name=name)) as results,
    ):
        for result in results:
            yield result
            bar.update()


def in_own_process(do: Callable[..., Result], *arguments: Any, limit_s: float | None = None) -> Result:
    """Call a function in a process of its own, and end that with all the processes that it started, whatever happens.

    For code of others that runs pools of its own, which hang when they are interrupted or one of their processes dies.

    Args:
        do: The function.
        *arguments: Its arguments.
        limit_s: Seconds after which it is ended; None lets it take its time.

    Raises:
        WorkerDiedError: It, or a process that it started, was killed.
        TimeoutError: It took longer than it may.
    """
    worker = _Worker(partial(_call, do), with_children=True)
    try:
        worker.give(0, arguments)
        name = getattr(do, "__name__", "the work")
        if limit_s is not None and not worker.connection.poll(limit_s):
            raise TimeoutError(f"{name}: took longer than {limit_s:.0f} s")
        _, answer = worker.take(name)
    except BaseException:
        worker.kill()
        raise
    finally:
        worker.end()
    try:
        return answer.result()  # type: ignore[no-any-return]
    except RuntimeError as error:
        if _NNUNETS_WORD in str(error):  # it looked before the group was ended
            raise WorkerDiedError(name, "was killed (SIGKILL)") from error
        raise


def _call(do: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    return do(*arguments)


def _in_order(
    pool: "list[_Worker]", items: Sequence[Item], name: Callable[[Item], object]
) -> Generator[Any, None, None]:
    idle, answers = deque(pool), dict[int, Answer]()
    given = due = 0
    while due < len(items):
        while idle and given < min(len(items), due + AHEAD * len(pool)):
            worker = idle.popleft()
            worker.give(given, items[given])
            given += 1
        if due in answers:
            yield answers.pop(due).result()  # an error is raised in its turn, so that it is always the first one
            due += 1
            continue
        busy = {worker.connection: worker for worker in pool if worker.place is not None}
        for connection in wait(list(busy)):
            worker = busy[connection]  # type: ignore[index]
            place, answers[place] = worker.take(name(items[worker.place or 0]))
            idle.append(worker)


class _Worker:
    """One process, and the item that it is at."""

    def __init__(self, do: Callable[[Any], Any], *, with_children: bool = False) -> None:
        self.place: int | None = None
        self._with_children = with_children
        self._process, self.connection = processes.start(_work, do, with_children=with_children)
        weakref.finalize(self, self.connection.close)  # at the latest: an open connection would keep it waiting

    def give(self, place: int, item: object) -> None:
        self.place = place
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died; `take` tells so
            self.connection.send((place, item))

    def take(self, name: object) -> "tuple[int, Answer]":
        """The answer, when it is there.

        Raises:
            WorkerDiedError: The process ended before.
        """
        try:
            place, answer = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(processes.GRACE_S)
            how = processes.ending(self._process.exitcode)
            raise WorkerDiedError(name, how) from None
        self.place = None
        return place, answer

    def kill(self) -> None:
        processes.kill(self._process, with_children=self._with_children)

    def end(self) -> None:
        self.connection.close()  # it waits for its next item, and ends when there is none
        processes.join(self._process, with_children=self._with_children)


@dataclass(frozen=True)
class Answer:
    """What came of an item."""

    value: Any = None
    error: BaseException | None = None
    trace: str = ""

    def result(self) -> Any:
        """The value, or the error."""
        if self.error is not None:
            raise self.error from RemoteError(self.trace)
        return self.value


class RemoteError(Exception):
    """Where in a worker process an error arose."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _work(connection: Connection, do: Callable[[Any], Any]) -> None:
    """The life of a worker process."""
    while True:
        try:
            place, item = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = Answer(do(item))
        except BaseException as error:
            answer = Answer(error=travelling(error), trace=traceback.format_exc())
        try:
            connection.send((place, answer))
        except (BrokenPipeError, ConnectionResetError):
            return
        except (pickle.PicklingError, TypeError, AttributeError, ValueError) as error:
            problem = TypeError(f"a result that cannot travel: {error}")
            connection.send((place, Answer(error=problem, trace=traceback.format_exc())))


def travelling(error: BaseException) -> BaseException:
    """The error, or one that says the same where it cannot go from process to process."""
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error) and isinstance(error, Exception):
            return error
    except Exception:  # whatever an error's own pickling raises
        pass
    kind = ParaspinalError if isinstance(error, ParaspinalError) else RuntimeError
    return kind(str(error) or type(error).__name__)
