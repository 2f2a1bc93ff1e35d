"""Names of cases that become names of files: none is empty, reserved, or one with another's on some file system."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable

LONGEST_BYTES = 180
"""File systems take 255; endings, and the marks of files that are being written, come on top."""

_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
"""Windows opens a device under these, whatever their ending."""

_UNFIT = re.compile(r'[/\\:*?"<>|]')
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]")
"""Control characters, also those that turn the direction of text round, and spaces without width: two names that look
alike are two cases, and a name does not say what it shows."""

_NOT_UTF8 = re.compile("[\ud800-\udfff]")
"""How Python stands for bytes of a name that are no UTF-8; no table and no page can hold them."""


def name_fault(name: str, *, reserved: Collection[str] = (), written: bool = True) -> str | None:
    """Why a name cannot be a case's; None where it can.

    Args:
        name: The name.
        reserved: Names that other files have, in whatever case of letters.
        written: Whether files are to be named so; else any text will do that tables and pages can hold.

    >>> name_fault("sub-01"), name_fault(""), name_fault("nul")
    (None, 'its name is empty without the ending', "'nul' is a reserved name on Windows")
    """
    if not name.strip():
        return "its name is empty without the ending"
    if _NOT_UTF8.search(name):
        return f"{name!a} is no valid UTF-8"
    if _UNSEEN.search(name):
        return f"{name!a} has characters that are not seen"
    if name.startswith("#"):
        return f"'{name}' begins with #, as comments in tables do"
    return _unwritable(name, reserved) if written else None


def _unwritable(name: str, reserved: Collection[str]) -> str | None:
    if _UNFIT.search(name):
        return f"{name!r} has characters that names of files cannot have everywhere"
    if name[0] in ".-~" or name[-1] in ". " or name[0] == " ":
        return f"'{name}' begins or ends with a character that hides files or reads as an option"
    if _DEVICES.fullmatch(name):
        return f"'{name}' is a reserved name on Windows"
    if letters_aside(name) in {letters_aside(other) for other in reserved}:
        return f"'{name}' is the name of a file of all cases"
    if len(name.encode("utf-8", "surrogateescape")) > LONGEST_BYTES:
        return f"'{name[:40]}...' is longer than {LONGEST_BYTES} bytes"
    return None


def doubled(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that are one on a file system without case of letters, or with composed ones; exact doubles too.

    >>> doubled(["a", "B", "A", "c"])
    [('A', 'a')]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[letters_aside(name)].append(name)
    return [tuple(sorted(group)) for _, group in sorted(groups.items()) if len(group) > 1]


def letters_aside(name: str) -> str:
    """A name as file systems compare it that know no case of letters."""
    return unicodedata.normalize("NFC", name).casefold()
