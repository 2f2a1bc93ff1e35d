"""Rows of cells as aligned columns of plain text."""

from collections.abc import Sequence


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
