"""Standard output and error: never missing, lacking no letter, and obeying no name of a file."""

import codecs
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

_PRINTABLE = "paraspinal-printable"

_COMMANDS = (
    *(set(range(0x20)) - {ord(mark) for mark in "\t\n"}),  # a terminal obeys what follows an escape
    *range(0x7F, 0xA0),
    *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # directions of text
)
_SHOWN = {code: ascii(chr(code))[1:-1] for code in _COMMANDS}
_MOVES = re.compile(r"(\n|\x1b\[A)*")
"""Lines down and up, by which progress bars find their places; they write nothing else with them."""


class PlainStream:
    """A text stream on which characters that would command a terminal are shown as escapes; all else is the stream's.

    Names of files and texts of DICOM headers come from strangers: they could clear the screen, name a window, write to
    the clipboard, or read from right to left.
    """

    def __init__(self, stream: Any) -> None:
        """Write to `stream`."""
        self._stream = stream

    def write(self, text: str) -> int:
        """As a stream's."""
        if text.isprintable() or _MOVES.fullmatch(text):
            return int(self._stream.write(text))
        inside = text.strip("\r")  # bars begin and end so; within a line it would be written over
        start, end = text[: len(text) - len(text.lstrip("\r"))], text[len(text.rstrip("\r")) :] if inside else ""
        self._stream.write(start + inside.translate(_SHOWN) + end)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As a stream's."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def prepare_streams() -> None:
    """Make sure that there are streams, that any name can be shown on them, and that none can do more than that.

    A closed stream's number would be given to the next file that is opened, and be printed into.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as the process
    codecs.register_error(_PRINTABLE, _printable)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape", "backslashreplace"):
            with suppress(AttributeError, ValueError, OSError):
                stream.reconfigure(errors=_PRINTABLE)  # type: ignore[union-attr]
    for name in ("stdout", "stderr"):
        if not isinstance(getattr(sys, name), PlainStream):
            setattr(sys, name, PlainStream(getattr(sys, name)))


def _printable(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of names that are no text as they are, and what the stream has no letter for as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    try:
        return part.encode(error.encoding, "surrogateescape"), error.end
    except UnicodeEncodeError:
        return part.encode("ascii", "backslashreplace").decode("ascii"), error.end
