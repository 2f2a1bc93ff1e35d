"""Many cases over few processes, which end when the conversion ends, however it ends."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process

from paraspinal_nnunet.dataset_conversion.cases import Outcome
from paraspinal_nnunet.dataset_conversion.resume import Task
from paraspinal_nnunet.errors import DatasetError


def outcomes_of(
    take: Callable[[Task], Outcome], tasks: Sequence[Task], *, workers: int, begun: Callable[[], list[str]]
) -> Generator[Outcome, None, None]:
    """Take cases, in their order; closing the generator ends the processes.

    Args:
        take: Pickled when `workers` is above 1.
        tasks: The cases.
        workers: Number of processes; 1 works in this one.
        begun: Names the cases that were begun and not ended, for the message when a worker process dies.

    Raises:
        DatasetError: A worker process died.
    """
    workers = min(workers, len(tasks))
    if workers < 2:
        yield from map(take, tasks)
        return
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
            yield from pool.map(take, tasks)
    except BrokenProcessPool as error:
        cases = " or ".join(begun()) or "a case"
        raise DatasetError(
            f"a worker process died while converting {cases}, probably for want of memory; give fewer with -np, or "
            "leave the case out with --exclude"
        ) from error


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, and end with it: an orphan would write on into the next try's folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
