"""A function that is called in a process of its own, for native code that may end its process over a damaged file.

Unlike the other processes here, the process imports nothing of the program that started it, and serves many calls.
"""

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
import traceback
import weakref
from threading import Lock
from typing import IO, Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils import processes
from paraspinal_nnunet.utils.workers import Answer, travelling

_NOT_FROM_HERE = "import sys; sys.path[:] = filter(None, sys.path)"
"""Python would import from the folder first in which the user is."""

_BEGIN = f"{_NOT_FROM_HERE}; from paraspinal_nnunet.utils.processes.child import serve; serve()"


class CrashedError(InputError):
    """The process died of a call."""


class Child:
    """Calls of one function in a process that is started when it is needed, and again when it died.

    It ends with this process, however that ends, once the call that it is at is done. Threads take turns.

    Example:
        >>> square = Child("math", "sqrt")
        >>> square.call(49)
        7.0
        >>> square.end()
    """

    def __init__(self, module: str, function: str) -> None:
        """Nothing is started yet.

        Args:
            module: Where the function lies.
            function: Its name; arguments and results travel.
        """
        self._place = (module, function)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()

    def call(self, *arguments: Any) -> Any:
        """The function's result; what it raises is raised here.

        Raises:
            CrashedError: The process ended over it, and how; the next call has a new one.
        """
        with self._lock:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                pickle.dump((*self._place, arguments), process.stdin, pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()
                answer: Answer = pickle.load(process.stdout)
            except (EOFError, OSError, pickle.UnpicklingError):
                how = processes.ending(self._ended())
                raise CrashedError(f"the process that read it {how}") from None
            except BaseException:  # a call that was interrupted has its answer still to come
                self._ended()
                raise
        return answer.result()

    def end(self) -> None:
        """End the process; the next call has a new one."""
        with self._lock:
            self._ended()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BEGIN],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,  # Ctrl-C is its parent's affair
            )
            weakref.finalize(self, _end, self._process)
        return self._process

    def _ended(self) -> int | None:
        process, self._process = self._process, None
        return None if process is None else _end(process)


def _end(process: "subprocess.Popen[bytes]") -> int:
    """Its exit code; it ends when nothing more can be asked of it."""
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            stream.close()  # type: ignore[union-attr]
    try:
        return process.wait(processes.GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def serve() -> None:
    """The life of the process: calls come in on standard input, answers go where standard output led."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the function prints
    while (call := _next(sys.stdin.buffer)) is not None:
        module, function, arguments = call
        try:
            answer = Answer(getattr(importlib.import_module(module), function)(*arguments))
        except BaseException as error:
            answer = Answer(error=travelling(error), trace=traceback.format_exc())
        try:
            pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except Exception:  # nobody is there any more, or memory is short
            os._exit(1)


def _next(calls: IO[bytes]) -> tuple[str, str, tuple[Any, ...]] | None:
    try:
        call: tuple[str, str, tuple[Any, ...]] = pickle.load(calls)
    except EOFError:
        return None
    return call
