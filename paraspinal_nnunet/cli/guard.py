"""What surrounds every verb: signals, outputs that cannot be written, and one line for every error."""

import errno
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from paraspinal_nnunet.errors import InputError, ParaspinalError, reason_of

log = logging.getLogger(__name__)

ERROR, INTERRUPTED = 1, 128
"""Exit codes: of any error, and what a signal's number is added to."""

_SIGNALS = ("SIGTERM", "SIGHUP")


class StoppedError(KeyboardInterrupt):
    """The process was asked to end, and tidies up as after Ctrl-C.

    Attributes:
        number: The signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def guarded(verb: str, run: Callable[[], int | None], *, debug: bool) -> int:
    """Run a verb; whatever goes wrong becomes one line on standard error and an exit code.

    Args:
        verb: Its name, for messages.
        run: What it does.
        debug: Raise errors instead, for their traceback.

    Returns:
        0 when all went well, 1 after an error, 130 after Ctrl-C, 143 after SIGTERM.
    """
    try:
        with _signals_as_interrupts():
            code = int(run() or 0)
            _flush()
            return code
    except KeyboardInterrupt as error:
        say(f"{verb}: stopped")
        return INTERRUPTED + getattr(error, "number", signal.SIGINT)
    except BrokenPipeError as error:
        if not _is_gone(sys.stdout) and not _is_gone(sys.stderr):  # the pipe is to another process
            return _told(verb, error, debug=debug)
        return ERROR
    except Exception as error:
        return _told(verb, error, debug=debug)
    finally:
        for stream in (sys.stdout, sys.stderr):
            _give_up_unwritable(stream)


def check_writable(output: Path) -> None:
    """Refuse a file or folder that could not be written, before anything is computed.

    Raises:
        InputError: With the system's reason.
    """
    place = output
    try:
        while not place.exists():
            place = place.parent
        if place == output and place.is_file():
            with place.open("ab"):
                return
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{place} is a file, not a folder")
        _try_to_write(place, output)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{output}: cannot be written ({reason}); give another output") from error


def say(line: str) -> None:
    """A line of its own on standard error, as far as that can be written to."""
    _end_bars()
    with suppress(OSError, ValueError, AttributeError):
        print(line, file=sys.stderr, flush=True)


def _try_to_write(folder: Path, output: Path) -> None:
    """Leave no trace; parts of the name that do not exist yet must be possible, too."""
    probe = folder / f".paraspinal-probe-{os.getpid()}"
    probe.mkdir()
    probe.rmdir()
    for part in output.parts[len(folder.parts) :] if output != folder else ():
        with suppress(FileNotFoundError):
            os.lstat(folder / part)


def _told(verb: str, error: Exception, *, debug: bool) -> int:
    if debug:
        raise error
    known = isinstance(error, ParaspinalError | OSError | MemoryError)
    kind, hint = ("error", "") if known else ("internal error", "; --debug shows where")
    say(f"{verb}: {kind}: {reason_of(error)}{hint}")
    return ERROR


def _end_bars() -> None:
    """End progress bars that an error left open, in whose line it would be told."""
    tqdm = sys.modules.get("tqdm")
    for bar in [*getattr(tqdm and tqdm.tqdm, "_instances", ())]:
        with suppress(OSError, ValueError, AttributeError):
            bar.close()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()


def _is_gone(stream: TextIO) -> bool:
    """Whether nobody reads the stream any more."""
    if not hasattr(select, "poll"):  # Windows, where it is the only pipe that breaks
        return True
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


def _give_up_unwritable(stream: TextIO) -> None:
    """Python would complain of what is left in the stream at its own end."""
    try:
        stream.flush()
    except ValueError:
        return
    except OSError:
        with suppress(OSError, ValueError, AttributeError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Raise `StoppedError` where a signal would end the process at once; forked processes are ended as before."""
    owner = os.getpid()

    def stop(number: int, _frame: Any) -> None:
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise StoppedError(number)

    changed = []
    if threading.current_thread() is threading.main_thread():
        known = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        changed = [number for number in known if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
