"""The boundary around parsers of other people's files: whatever they raise is that file's failure, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paraspinal_nnunet.errors import InputError, ParaspinalError, one_line


@contextmanager
def guarded(path: Path | str, advice: str = "copy or export it again") -> Iterator[None]:
    """Turn any error of a parser into one line that names the file; the cause stays attached for ``--debug``.

    Our own errors pass, and so do KeyboardInterrupt and SystemExit.

    Args:
        path: What is read.
        advice: What to do about a damaged file.

    Raises:
        InputError: For anything else that is raised inside.

    Example:
        >>> with guarded("x", "copy it"):
        ...     [][0]
        Traceback (most recent call last):
        paraspinal_nnunet.errors.InputError: x: truncated or damaged (list index out of range); copy it
    """
    try:
        yield
    except ParaspinalError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: needs more memory than this machine has ({one_line(error)})") from error
    except OSError as error:
        if error.errno is None or error.strerror is None:  # raised by a parser, not by the system
            raise InputError(f"{path}: truncated or damaged ({one_line(error)}); {advice}") from error
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:
        raise InputError(f"{path}: truncated or damaged ({one_line(error)}); {advice}") from error
