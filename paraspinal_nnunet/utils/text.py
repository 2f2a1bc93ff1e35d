"""How numbers of things are written in messages and on pages."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath

_ABSOLUTE_PATH = re.compile(r"""(?<![\w.:/~-])(?:~|[A-Za-z]:)?[/\\](?:[^\s"'<>|,;:/\\]+[/\\])+(?=[^\s"'<>|,;:/\\])""")


def pluralize(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless there is just one.

    >>> pluralize(1, "case"), pluralize(0, "case"), pluralize(3, "labelled slice")
    ('1 case', '0 cases', '3 labelled slices')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def slice_ranges(slices: Sequence[int]) -> str:
    """Slice numbers with runs drawn together.

    >>> slice_ranges((3, 4, 5, 9))
    'slices 3-5, 9'
    """
    runs: list[list[int]] = []
    for k in sorted(slices):
        if runs and k == runs[-1][1] + 1:
            runs[-1][1] = k
        else:
            runs.append([k, k])
    noun = "slice" if len(slices) == 1 else "slices"
    return f"{noun} " + ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def without_folders(text: str) -> str:
    r"""A text whose absolute paths are cut to the last name, so that it does not tell who wrote it and where.

    >>> without_folders("read /home/ann/study/plans.json, C:\\Users\\ann\\x.nii and a/b of https://example.org/a/b")
    'read plans.json, x.nii and a/b of https://example.org/a/b'
    >>> without_folders("/home/ann lee/model 1")
    'model 1'
    """
    for path in (PurePosixPath(text), PureWindowsPath(text)):
        if path.is_absolute() and ": " not in text and ", " not in text:
            return path.name
    return _ABSOLUTE_PATH.sub("", text)
