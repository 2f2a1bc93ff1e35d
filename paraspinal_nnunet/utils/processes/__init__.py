"""Processes that leave Ctrl-C to the one that started them, and end with it, even when that was killed."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from paraspinal_nnunet.utils.machine import environment

GRACE_S = 5.0
"""How long a process may take to tidy up when it is asked to end."""

_PR_SET_PDEATHSIG = 1  # sys/prctl.h
_LOOK_S = 0.5


def start(work: Callable[..., None], *arguments: Any, with_children: bool = False) -> tuple[BaseProcess, Connection]:
    """Start ``work(connection, *arguments)`` in a process, and hold the other end of the connection.

    Args:
        work: A module-level function.
        arguments: They travel.
        with_children: Let it lead a group of processes, which end together: those that it starts too.
    """
    context = get_context("spawn")  # a forked process can hang on locks that threads of the parent held
    ours, its = context.Pipe()
    by_main = threading.current_thread() is threading.main_thread()
    process = context.Process(
        target=_begin, args=(work, its, arguments, by_main, with_children), daemon=not with_children
    )
    try:
        with _quiet_tracker() if with_children else contextlib.nullcontext():
            process.start()
    except BaseException:
        ours.close()
        raise
    finally:
        its.close()
    return process, ours


def kill(process: BaseProcess, *, with_children: bool = False) -> None:
    """Ask a process to end; its group, which nobody could tidy up after, is ended at once."""
    if with_children and process.pid is not None and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
            return
    process.terminate()


def join(process: BaseProcess, *, with_children: bool = False) -> None:
    """Wait until a process has ended, and end it when that takes too long."""
    process.join(GRACE_S)
    if process.is_alive():
        kill(process, with_children=with_children)
        process.join(GRACE_S)
    if process.is_alive():
        process.kill()
        process.join()


def ending(code: int | None) -> str:
    """How a process ended, for messages.

    >>> ending(-9), ending(1), ending(None)
    ('was killed (SIGKILL)', 'ended with code 1', 'stopped answering')
    """
    if code is None:
        return "stopped answering"
    if code >= 0:
        return f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed ({name})"


def _quiet_tracker() -> contextlib.AbstractContextManager[None]:
    """Multiprocessing's tracker of resources, which starts with the first process, tells of those of killed pools."""
    before, ours = os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker:UserWarning"
    return environment(PYTHONWARNINGS=f"{before},{ours}" if before else ours)


def _begin(
    work: Callable[..., None], connection: Connection, arguments: tuple[Any, ...], by_main: bool, with_children: bool
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    if with_children and hasattr(os, "setsid"):
        os.setsid()
        _end_with_children()
    elif by_main and sys.platform.startswith("linux"):
        # The system sends it when the thread that started this process ends, so it must be the main one.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with_parent, args=(with_children,), daemon=True).start()
    with contextlib.suppress(SystemExit):
        work(connection, *arguments)


def _leave(number: int, frame: Any) -> None:
    """Unwind, so that nothing half-written stays."""
    raise SystemExit(128 + number)


def _end_with_parent(with_children: bool) -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        _end(with_children)


def _end_with_children() -> None:
    """End the group when a process in it was killed: whoever waits for that one would wait for ever.

    Each is remembered from its start: a pool replaces one that died, and nothing would tell of it afterwards.
    """
    seen: list[BaseProcess] = []
    start = BaseProcess.start

    def remembered(process: BaseProcess) -> None:
        start(process)
        seen.append(process)

    BaseProcess.start = remembered  # type: ignore[method-assign, assignment]
    threading.Thread(target=_watch, args=(seen,), daemon=True).start()


def _watch(processes: list[BaseProcess]) -> None:
    while True:
        codes = [process.exitcode for process in list(processes)]
        if any(code is not None and code < 0 and code != -signal.SIGTERM for code in codes):
            _end(True)
        time.sleep(_LOOK_S)


def _end(with_children: bool) -> None:
    if with_children and hasattr(os, "killpg"):
        os.killpg(os.getpgid(0), signal.SIGKILL)
    os._exit(1)
