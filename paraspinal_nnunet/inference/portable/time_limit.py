"""A limit on the time that a network may take for a scan, kept by a thread that watches the clock."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Timer

import numpy as np

from paraspinal_nnunet.errors import InputError


class TimeLimited:
    """A runtime whose runs can be ended from a thread that watches the clock."""

    def __init__(self) -> None:
        self._late = Event()

    @contextmanager
    def time_limit(self, seconds: float | None) -> Iterator[None]:
        """Within the block, end what runs after so long; no limit when None.

        Raises:
            InputError: It took longer.
        """
        if seconds is None:
            yield
            return
        self._late.clear()
        timer = Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        except InputError as error:
            if self._late.is_set():
                raise InputError(f"took longer than {seconds:g} s; give it more by --timeout") from error
            raise
        finally:
            timer.cancel()
            self._late.clear()

    def _expire(self) -> None:
        self._late.set()
        self.end_runs()

    def end_runs(self) -> None:
        """End what the runtime computes at this moment; called from another thread."""
        raise NotImplementedError

    def in_time(self, requests: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
        """The requests for as long as there is time.

        Raises:
            InputError: It is over.
        """
        for request in requests:
            if self._late.is_set():
                raise InputError("the time is over")
            yield request
