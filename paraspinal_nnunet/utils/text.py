"""How numbers, counts and files are written in messages, tables and on pages; nothing is rounded before."""

import math
import re
from collections.abc import Iterable, Sequence, Set
from pathlib import PurePosixPath, PureWindowsPath

_ABSOLUTE_PATH = re.compile(r"""(?<![\w.:/~-])(?:~|[A-Za-z]:)?[/\\](?:[^\s"'<>|,;:/\\]+[/\\])+(?=[^\s"'<>|,;:/\\])""")


def p_text(p: float) -> str:
    """A p value with three decimals, ``'<0.001'`` below that, ``'-'`` where it is undefined.

    >>> p_text(0.0123), p_text(5.8e-20), p_text(float("nan"))
    ('0.012', '<0.001', '-')
    """
    if math.isnan(p):
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_clause(p: float, *, space: str = " ") -> str:
    """A p value within a sentence.

    >>> p_clause(0.0123), p_clause(5.8e-20)
    ('p = 0.012', 'p < 0.001')

    Args:
        p: The value.
        space: Around the sign, e.g. one that does not break.
    """
    text = p_text(p)
    sign, number = ("<", text[1:]) if text.startswith("<") else ("=", text)
    return f"p{space}{sign}{space}{number}"


def number_text(number: float, *, decimals: int = 3, missing: str = "-") -> str:
    """A number with fixed decimals and without a sign before zero; another text where it is undefined.

    >>> number_text(-0.0004), number_text(12.345, decimals=1), number_text(float("nan"), missing="none")
    ('0.000', '12.3', 'none')
    """
    if math.isnan(number):
        return missing
    return f"{round(float(number), decimals) + 0.0:.{decimals}f}"  # + 0.0: no '-0.00'


def quantity(number: float, *, digits: int = 4) -> str:
    """A measured number with so many significant digits, and no zeros after them.

    >>> quantity(0.9375), quantity(4.400001), quantity(123456.0)
    ('0.9375', '4.4', '123500')
    """
    if not math.isfinite(number) or number == 0:
        return f"{number:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(number)))
    text = f"{round(number, decimals):.{max(decimals, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in the plural unless there is just one.

    >>> pluralize(1, "case"), pluralize(0, "case"), pluralize(3, "person", "people")
    ('1 case', '0 cases', '3 people')

    Args:
        number: How many.
        noun: Of one.
        plural: Of several, where that is not the noun with an s.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


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


def some(names: Iterable[object], most: int = 5) -> str:
    """The first few names for a message, and how many more there are; those of a set in order.

    >>> some(["b", "a", "c"], most=2), some({"b", "a"})
    ('b, a and 1 more', 'a, b')
    """
    every = [str(name) for name in names]
    if isinstance(names, Set):
        every.sort()
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def aligned(rows: Sequence[Sequence[str]], *, numbers_from: int | None = None) -> str:
    """Rows as columns of equal width, with two spaces between.

    Args:
        rows: Of cells; shorter rows end early, and no width follows from them.
        numbers_from: Columns from this one on are aligned to the right.
    """
    columns = max(map(len, rows))
    full = [row for row in rows if len(row) == columns]
    widths = [max(len(row[n]) for row in full) for n in range(columns)]
    lines = []
    for row in rows:
        last = len(row) - 1
        cells = [
            cell.rjust(widths[n])
            if numbers_from is not None and n >= numbers_from
            else (cell if n == last else cell.ljust(widths[n]))
            for n, cell in enumerate(row)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
