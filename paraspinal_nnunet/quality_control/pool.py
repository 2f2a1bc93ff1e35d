"""Doing the same to many cases in worker processes, with a progress bar and results in order."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from typing import TypeVar

from tqdm import tqdm

from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.utils.workers import results_of

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
    with (
        tqdm(total=len(items), desc=what, unit="case", delay=BAR_DELAY_S) as bar,
        closing(results_of(do, items, workers=workers)) as results,
    ):
        try:
            for result in results:
                yield result
                bar.update()
        except BrokenProcessPool as error:
            raise DatasetError("a worker process died, probably for want of memory; give fewer with -np") from error
