"""The same work on many items over a few processes, which leave Ctrl-C to the main one and end with it."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def results_of(do: Callable[[Item], Result], items: Sequence[Item], *, workers: int) -> Generator[Result, None, None]:
    """Yield ``do(item)`` for every item, in their order; closing the generator ends the processes.

    Args:
        do: A module-level function, or a partial of one, where there are several workers.
        items: Small; they travel to the processes.
        workers: Number of processes; 1 works in this one.

    Raises:
        BrokenProcessPool: A process died.
    """
    workers = min(workers, len(items))
    if workers < 2:
        yield from map(do, items)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        yield from pool.map(do, items)


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, and end with it: an orphan would write on into the next try's folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
