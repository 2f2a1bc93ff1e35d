"""The rows of the tables that a measured case gives, each cell found by the name of its column in `columns`."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from paraspinal_nnunet.measures.outputs.columns import columns

Row = dict[str, Any]


def table_rows(table: str, case: str, entries: Sequence[Any], methods: Sequence[str]) -> Iterator[Row]:
    """The rows of a table.

    Args:
        table: A name in `columns.TABLES`.
        case: The case's name.
        entries: Of `result`, one per row, whose attributes are named as the columns are.
        methods: Ways in which fat was measured.
    """
    named = [(name, column.field, method) for name, column, method in columns(table, methods)]
    for entry in entries:
        yield {name: case if name == "case" else _cell(entry, field, method) for name, field, method in named}


def plain_row(row: Row) -> Row:
    """A row as JSON holds it: plain numbers, None for what is not known."""
    return {name: _plain_value(value) for name, value in row.items()}


def _cell(entry: Any, field: str, method: str) -> Any:
    if method:
        return getattr(entry.fat_by(method), field)
    if field in ("muscle", "side", "label") and hasattr(entry, "structure"):
        entry = entry.structure
    if field.startswith("cohort_"):
        entry, field = entry.cohort, field.removeprefix("cohort_")
    value = getattr(entry, field)
    return value.value if field in ("muscle", "side") else value


def _plain_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
