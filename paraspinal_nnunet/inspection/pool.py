"""Doing the same to many cases in worker processes, with a progress bar and results in order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

from paraspinal_nnunet.errors import DatasetError

BAR_DELAY_S = 2.0

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(do: Callable[[Item], Result], items: Sequence[Item], *, workers: int, what: str) -> Iterator[Result]:
    """Yield ``do(item)`` for every item, in their order.

    Args:
        do: A module-level function, or a partial of one, where there are several workers.
        items: Small; they travel to the processes.
        workers: Number of processes; 1 works in this one.
        what: Name of the progress bar, which shows after `BAR_DELAY_S`.

    Raises:
        DatasetError: A process died.
    """
    workers = min(workers, len(items))
    with tqdm(total=len(items), desc=what, unit="case", delay=BAR_DELAY_S) as bar:
        if workers < 2:
            for item in items:
                yield do(item)
                bar.update()
            return
        try:
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                for result in pool.map(do, items):
                    yield result
                    bar.update()
        except BrokenProcessPool as error:
            raise DatasetError("a worker process died, probably for want of memory; give fewer with -np") from error
