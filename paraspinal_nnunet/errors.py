"""The errors that a user can fix: one base class, a few kinds, each a one-line message."""

import errno
import os

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CANNOT_WRITE = (*_FULL, errno.EROFS)
"""What the system says of disks that take no more, whatever file it is about."""

_ADVICE = {
    **dict.fromkeys(_FULL, "free some space there and run the command again"),
    errno.EROFS: "write elsewhere",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "ask for permission, or give another place"),
}
"""What to do about what the system says; the rest speaks for itself."""


LONGEST_MESSAGE = 4000
"""Characters; what is longer quotes a damaged file at length."""

_ENDING = 500
"""Of them, at the end, where a message says what to do."""


class ParaspinalError(Exception):
    """Base of all known errors; the command line prints it as one line and exits with 1.

    The message says what went wrong, which case or file it concerns, what was found and what to do. It is one line of
    no more than `LONGEST_MESSAGE` characters, whatever of a file it quotes.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_cut(" ".join(str(message).splitlines())))


def one_line(error: object) -> str:
    """What an error says in one line; its kind where it says nothing.

    >>> one_line(ValueError("too  many spaces")), one_line(EOFError())
    ('too many spaces', 'EOFError')
    """
    return _cut(" ".join(str(error).split())) or type(error).__name__


def _cut(text: str) -> str:
    """The middle of what is too long is left out.

    >>> len(_cut("a" * 10_000)), _cut("a" * 10_000)[3497:3503], _cut("short")
    (4000, 'a... a', 'short')
    """
    if len(text) <= LONGEST_MESSAGE:
        return text
    return f"{text[: LONGEST_MESSAGE - _ENDING - 5]} ... {text[-_ENDING:]}"


def advice_on(error: OSError) -> str:
    """What to do about what the system says, as the end of a message; '' where that is not known.

    >>> advice_on(OSError(28, "No space left on device"))
    '; free some space there and run the command again'
    """
    advice = _ADVICE.get(error.errno or 0)
    return f"; {advice}" if advice else ""


def reason_of(error: BaseException) -> str:
    """Why something failed, in one line: a known error's own words, the system's reason and file, else kind and words.

    >>> reason_of(OSError(28, "No space left on device", "out/a.nii.gz"))
    'out/a.nii.gz: No space left on device; free some space there and run the command again'
    >>> reason_of(KeyError("x"))
    "KeyError: 'x'"
    >>> reason_of(MemoryError())
    'MemoryError: there is not enough memory'
    """
    if isinstance(error, OSError) and error.strerror:
        place = [os.fsdecode(error.filename)] if error.filename else []
        return ": ".join([*place, one_line(error.strerror)]) + advice_on(error)
    if isinstance(error, ParaspinalError | OSError) and str(error):
        return one_line(error)
    kind, said = type(error).__name__, one_line(error)
    if isinstance(error, MemoryError) and said == kind:
        said = "there is not enough memory"
    return kind if said == kind else f"{kind}: {said}"


class InputError(ParaspinalError):
    """A file or folder that cannot be used as it is: missing, unreadable, of the wrong kind."""


class GeometryError(InputError):
    """Grids that do not match, or an orientation that contradicts what was asked for."""


class LabelError(InputError):
    """Label values that are unknown, not integers, missing, or on the wrong side."""


class DatasetError(ParaspinalError):
    """An nnU-Net data set that is missing, taken, incomplete or inconsistent."""


class ProtocolError(ParaspinalError):
    """A protocol setting that is unknown or cannot be used."""


class StatisticsError(ParaspinalError):
    """A table or sample that a statistic cannot use: missing or duplicate cells, too few subjects."""


class SetupError(ParaspinalError):
    """The machine lacks something: an environment variable, a package, a matching version."""


class WorkerDiedError(DatasetError):
    """A process that shared the work was killed, by the system or by a user.

    Attributes:
        item: What it was at.
        how: How it ended.
    """

    def __init__(self, item: object, how: str) -> None:
        super().__init__(f"{item}: its worker process {how}; if memory was short, use fewer processes (-np)")
        self.item, self.how = item, how


class TrainingRefusedError(ProtocolError, SystemExit):
    """A trainer was started with plans, a fold or a configuration that it must not use.

    Trainers are started by nnU-Net's own command, which knows nothing of our errors: as a SystemExit this ends it with
    the one-line message and exit code 1 instead of a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message  # SystemExit's constructor is not reached; without a code it ends silently, as a success
