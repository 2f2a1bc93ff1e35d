"""Many cases over few processes; when one of these dies, the case that killed it is named."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool

from paraspinal_nnunet.dataset_conversion.case import Outcome
from paraspinal_nnunet.dataset_conversion.resume import Task
from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.utils.workers import results_of


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
    try:
        yield from results_of(take, tasks, workers=workers)
    except BrokenProcessPool as error:
        cases = " or ".join(begun()) or "a case"
        raise DatasetError(
            f"a worker process died while converting {cases}, probably for want of memory; give fewer with -np, or "
            "leave the case out with --exclude"
        ) from error
