"""Tables as they are written: no text that is a formula, a dictionary of the columns, a workbook of several tables."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from paraspinal_nnunet.utils.files import atomic_path
from paraspinal_nnunet.utils.packages import optional_package

SIGNIFICANT = "%.6g"
"""How numbers stand in tables for people; records hold them in full."""

_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan))( [(\[][-\d., –]+[)\]])?", re.IGNORECASE)
"""Also with an SD or an interval behind it, as in ``'-0.06 (0.45)'``: no spreadsheet can compute that."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: As in the header.
        unit: ``'ml'``, ``'mm'``, ``'mm2'``, ``'1'`` for shares and ratios, ``'%'``, ``'count'``, or ``''`` for text.
        definition: How the number comes about.
        source: Where the definition is from; ``'ours'`` where nobody else's.
    """

    name: str
    unit: str
    definition: str
    source: str = "ours"

    def sidecar(self, subject: str = "") -> dict[str, str]:
        """Its entry in a table's data dictionary as BIDS has it.

        Args:
            subject: Whose number it is, before the definition.
        """
        source = "" if self.source == "ours" else f" (source: {self.source})"
        entry = {"Description": f"{f'{subject}: ' if subject else ''}{self.definition}{source}"}
        return entry | ({"Units": self.unit} if self.unit else {})


def sidecars(columns: Iterable[Column]) -> dict[str, dict[str, str]]:
    """Name -> entry of every column."""
    return {column.name: column.sidecar() for column in columns}


def plain_text(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe, numbers do not.

    Source: OWASP, CSV Injection.

    >>> plain_text("=1+1"), plain_text("-1.5"), plain_text("sub-01"), plain_text("@x")
    ("'=1+1", '-1.5', 'sub-01', "'@x")
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def cell_text(cell: str) -> str:
    """What a cell held before `plain_text` made it safe.

    >>> cell_text("'=1+1"), cell_text("sub-01")
    ('=1+1', 'sub-01')
    """
    return cell[1:] if cell[:1] == "'" and plain_text(cell[1:]) == cell else cell


def safe_table(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with `plain_text` in its cells of text."""
    return table.map(lambda cell: plain_text(cell) if isinstance(cell, str) else cell)


def write_tsv(table: pd.DataFrame, path: Path) -> None:
    """Write a table with tabs, six significant digits and no formulas, whole or not at all."""
    with atomic_path(path) as temporary:
        safe_table(table).to_csv(temporary, sep="\t", index=False, float_format=SIGNIFICANT)


def write_exact_tsv(table: pd.DataFrame, path: Path) -> None:
    """Write a table that later steps compute from: with tabs, numbers in full and no formulas, whole or not at all."""
    with atomic_path(path) as temporary:
        safe_table(table).to_csv(temporary, sep="\t", index=False)


def write_workbook(sheets: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Write an Excel workbook, whole or not at all.

    Args:
        sheets: Name -> table; numbers stay numbers.
        path: Ends in .xlsx.

    Raises:
        SetupError: openpyxl is not installed.
    """
    optional_package("openpyxl", purpose="workbooks need", extra="xlsx")
    with atomic_path(path) as temporary, pd.ExcelWriter(temporary, engine="openpyxl") as writer:
        for name, table in sheets.items():
            safe_table(table).to_excel(writer, sheet_name=name, index=False, freeze_panes=(1, 1))
