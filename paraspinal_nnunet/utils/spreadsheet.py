"""Tables as spreadsheets take them: text that is no formula, and a workbook with a sheet per table."""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from paraspinal_nnunet.utils.files import atomic_path
from paraspinal_nnunet.utils.packages import optional_package

SIGNIFICANT = "%.6g"
"""How numbers stand in tables for people; records hold them in full."""

_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)


def plain_text(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe, numbers do not.

    Source: OWASP, CSV Injection.

    >>> plain_text("=1+1"), plain_text("-1.5"), plain_text("sub-01"), plain_text("@x")
    ("'=1+1", '-1.5', 'sub-01', "'@x")
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def safe_table(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with `plain_text` in its cells of text."""
    return table.map(lambda cell: plain_text(cell) if isinstance(cell, str) else cell)


def write_tsv(table: pd.DataFrame, path: Path) -> None:
    """Write a table with tabs, six significant digits and no formulas, whole or not at all."""
    with atomic_path(path) as temporary:
        safe_table(table).to_csv(temporary, sep="\t", index=False, float_format=SIGNIFICANT)


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
