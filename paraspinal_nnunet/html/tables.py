"""Tables of a page: what stands in each cell, before any markup."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """The top of a column.

    Attributes:
        text: Its name.
        unit: Below the name.
        is_name: The column holds words, not numbers.
    """

    text: str
    unit: str = ""
    is_name: bool = False


@dataclass(frozen=True)
class PageCell:
    """One cell.

    Attributes:
        text: What stands in it.
        is_name: It names its row.
        kind: For the style sheet: ``'name'`` for words, ``'missing'`` for what should be there and is not.
        colour: Of the small square before the text, or empty.
        span: Columns that it takes.
        code: The text is a command.
    """

    text: str
    is_name: bool = False
    kind: str = ""
    colour: str = ""
    span: int = 1
    code: bool = False


@dataclass(frozen=True)
class PageRow:
    """One row; a line above it where a group starts."""

    cells: tuple[PageCell, ...]
    starts_group: bool = False


@dataclass(frozen=True)
class PageTable:
    """A table as the template draws it.

    Attributes:
        headings: One per column.
        rows: Body.
        title: The caption.
        kind: For the style sheet: ``'numbers'`` aligns to the right.
    """

    headings: tuple[Heading, ...]
    rows: tuple[PageRow, ...]
    title: str = ""
    kind: str = "numbers"


def rows_table(rows: Sequence[Sequence[str]], *, title: str = "", kind: str = "numbers") -> PageTable:
    """A table from rows of texts: headings first; a short row's last cell takes the columns that it lacks.

    Args:
        rows: At least one; the first cell of each names the row.
        title: The caption.
        kind: As in `PageTable`.
    """
    columns = max(map(len, rows))
    first, *others = rows
    headings = tuple(Heading(text, is_name=place == 0) for place, text in enumerate(first))
    return PageTable(headings, tuple(_text_row(row, columns) for row in others), title, kind)


def _text_row(row: Sequence[str], columns: int) -> PageRow:
    name, *values = row
    missing = columns - len(row)
    cells = [PageCell(name, is_name=True), *map(PageCell, values)]
    if missing:
        cells[-1] = PageCell(cells[-1].text, kind="name", span=missing + 1)
    return PageRow(tuple(cells))
