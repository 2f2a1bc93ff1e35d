"""One frozen table, and its four forms: CSV, Markdown, HTML and LaTeX, each with its own escaping."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from paraspinal_nnunet.utils.files import write_text
from paraspinal_nnunet.utils.spreadsheet import plain_text


@dataclass(frozen=True)
class Cell:
    """One cell: plain text, whether it is set in bold, and the marks of its footnotes."""

    text: str
    bold: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row; a heading has one cell that spans the table and names the rows below it."""

    cells: tuple[Cell, ...]
    heading: bool = False


@dataclass(frozen=True)
class Table:
    """A table as text, before any markup.

    Attributes:
        title: The caption.
        head: Column headings.
        rows: Body.
        footnotes: Mark -> text, for the marks in `Cell.notes`.
        remarks: Sentences about the whole table, below it.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()


class Footnotes:
    """Hands out one mark per text, in the order of first use: a, b, ... z, aa, ab, ..."""

    def __init__(self) -> None:
        self._marks: dict[str, str] = {}

    def mark(self, text: str) -> str:
        """The mark of a footnote; the same text has the same mark.

        >>> notes = Footnotes()
        >>> notes.mark("first"), notes.mark("second"), notes.mark("first")
        ('a', 'b', 'a')
        """
        if text not in self._marks:
            number, letters = len(self._marks), ""
            while number >= 0:
                letters = chr(ord("a") + number % 26) + letters
                number = number // 26 - 1
            self._marks[text] = letters
        return self._marks[text]

    @property
    def entries(self) -> tuple[tuple[str, str], ...]:
        """(mark, text) of all footnotes."""
        return tuple((mark, text) for text, mark in self._marks.items())


def text_row(cells: Iterable[str]) -> Row:
    """A row of plain cells."""
    return Row(tuple(Cell(text) for text in cells))


def heading_row(text: str) -> Row:
    """A row that names the rows below it."""
    return Row((Cell(text),), heading=True)


def plain_table(title: str, head: Sequence[str], lines: Iterable[Sequence[str]], *remarks: str) -> Table:
    """A table without bold, headings or footnotes."""
    return Table(title, tuple(head), tuple(text_row(line) for line in lines), remarks=remarks)


def to_tsv(table: Table) -> str:
    """Text with tabs, no formulas: headings become a first column, footnotes a last one; remarks, bold are left out."""
    grouped = any(row.heading for row in table.rows)
    noted = any(cell.notes for row in table.rows for cell in row.cells)
    texts = dict(table.footnotes)
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(map(plain_text, [*([""] if grouped else []), *table.head, *(["notes"] if noted else [])]))
    group = ""
    for row in table.rows:
        if row.heading:
            group = row.cells[0].text
            continue
        marks = dict.fromkeys(mark for cell in row.cells for mark in cell.notes)
        notes = ["; ".join(texts[mark] for mark in marks)] if noted else []
        writer.writerow(map(plain_text, [*([group] if grouped else []), *(cell.text for cell in row.cells), *notes]))
    return buffer.getvalue()


def to_markdown(table: Table) -> str:
    """A pipe table with the title above and the notes below it."""
    lines = [f"**{escape_markdown(table.title)}**", "", _pipe(map(escape_markdown, table.head))]
    lines.append(_pipe(["---"] * len(table.head)))
    for row in table.rows:
        cells = [_markdown_cell(cell, bold=cell.bold or row.heading) for cell in row.cells]
        lines.append(_pipe(cells + [""] * (len(table.head) - len(cells))))
    notes = [f"<sup>{mark}</sup> {escape_markdown(text)}" for mark, text in table.footnotes]
    return "\n".join([*lines, *(f"\n{note}" for note in [*map(escape_markdown, table.remarks), *notes])]) + "\n"


def to_html(table: Table) -> str:
    """A `table` element with its caption, and its notes in the foot; no style of its own."""
    from paraspinal_nnunet.html.document import fragment

    return str(fragment("parts.html", "text_table", table))


def to_html_page(tables: Sequence[Table], *, title: str) -> str:
    """Several tables as one page that stands alone."""
    from paraspinal_nnunet.html.document import document

    return document("tables.html", title, parts=("tables",), tables=tables)


def to_latex(table: Table) -> str:
    """A `table` environment in the manner of booktabs."""
    width = len(table.head)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape_latex(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{'l' * width}}}", r"\toprule", _latex_line(map(escape_latex, table.head))]
    lines.append(r"\midrule")
    for row in table.rows:
        if row.heading:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textbf{{{escape_latex(row.cells[0].text)}}}}} \\")
        else:
            lines.append(_latex_line(map(_latex_cell, row.cells)))
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [escape_latex(text) for text in table.remarks]
    notes += [rf"\textsuperscript{{{mark}}} {escape_latex(text)}" for mark, text in table.footnotes]
    lines += [rf"\par\footnotesize {note}" for note in notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


FORMS: Mapping[str, Callable[[Table], str]] = MappingProxyType(
    {
        "tsv": to_tsv,
        "md": to_markdown,
        "html": lambda table: to_html_page([table], title=table.title),
        "tex": to_latex,
    }
)
"""File ending -> renderer."""


def write_table(table: Table, folder: Path, name: str) -> list[Path]:
    """Write a table in all its forms as ``NAME.tsv``, ``.md``, ``.html`` and ``.tex``.

    Returns:
        The files.
    """
    paths = []
    for ending, render in FORMS.items():
        path = Path(folder) / f"{name}.{ending}"
        write_text(path, render(table))
        paths.append(path)
    return paths


_MARKDOWN = {char: f"\\{char}" for char in "\\|*_`[]#~$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LATEX = {
    **{char: f"\\{char}" for char in "{}$&#%_"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
    **{
        "–": "--",
        "±": r"$\pm$",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "−": "$-$",
        "²": r"\textsuperscript{2}",
    },
}


def escape_markdown(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line.

    >>> escape_markdown("a|b_c <d>")
    'a\\|b\\_c &lt;d&gt;'
    """
    return "".join(_MARKDOWN.get(char, char) for char in " ".join(text.split()))


def escape_latex(text: str) -> str:
    r"""Text that LaTeX shows as it is, on one line.

    >>> escape_latex("50 % of a_b")
    '50 \\% of a\\_b'
    """
    return "".join(_LATEX.get(char, char) for char in " ".join(text.split()))


def _pipe(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _markdown_cell(cell: Cell, *, bold: bool) -> str:
    text = escape_markdown(cell.text)
    marks = f"<sup>{','.join(cell.notes)}</sup>" if cell.notes else ""
    return (f"**{text}**" if bold and text else text) + marks


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: Cell) -> str:
    text = rf"\textbf{{{escape_latex(cell.text)}}}" if cell.bold else escape_latex(cell.text)
    return text + (rf"\textsuperscript{{{','.join(cell.notes)}}}" if cell.notes else "")
