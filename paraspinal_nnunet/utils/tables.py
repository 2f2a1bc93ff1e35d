"""The tables and mappings that people bring, as spreadsheets and editors write them: THE reader for all of them."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.errors import InputError, ParaspinalError, one_line
from paraspinal_nnunet.utils.files import read_bytes
from paraspinal_nnunet.utils.guards import guarded

if TYPE_CHECKING:
    import pandas as pd

_UTF8, _UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS = "\t;,"
_STATED = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_COMMENT = "#"
_WHOLE = re.compile(r"\s*-?\d{1,18}\s*")
_YAML_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


def read_table(
    path: Path, columns: Sequence[str] = (), *, kind: type[ParaspinalError] = InputError, lower: bool = False
) -> "pd.DataFrame":
    """Read a table with a header.

    Tabs, semicolons or commas separate the cells, whichever the header has. UTF-8 and UTF-16 with or without byte-order
    mark, CRLF, quoted cells, spaces around cells, blank lines, empty columns without name and lines that begin with
    ``#`` are understood, and so is the apostrophe by which this program keeps a text from being a formula.

    Args:
        path: The table.
        columns: Those that it must have.
        kind: Of the errors.
        lower: Columns' names in lower case, whatever the table has.

    Returns:
        Text cells without spaces around them, '' where there is none; the index is the number of each row's line.

    Raises:
        ParaspinalError: Of the kind `kind`: unreadable, no table, columns missing or twice, rows of another length;
            with the line.
    """
    import pandas as pd

    from paraspinal_nnunet.utils.spreadsheet import cell_text

    rows = read_rows(path, kind=kind)
    if not rows:
        raise kind(f"{path}: is an empty table")
    _, header = rows[0]
    names = [name.lower() if lower else name for name in header]
    while names and not names[-1]:
        names.pop()
    twice = [name for name in names if names.count(name) > 1]
    if twice or not names:
        raise kind(f"{path}: has {f'several columns {twice[0]!r}' if twice else 'no header'}; name each column once")
    missing = [name for name in columns if name not in names]
    if missing:
        needed = f"found {', '.join(names)}; needed are {', '.join(columns)}"
        raise kind(f"{path}: has no column {' or '.join(missing)}; {needed}")
    fitted = (_fitted(row, len(names), f"{path}: line {line}", kind) for line, row in rows[1:])
    cells = [[cell_text(cell) for cell in row] for row in fitted]
    return pd.DataFrame(cells, columns=names, index=[line for line, _ in rows[1:]], dtype=str)


def table_path(folder: Path, name: str) -> Path:
    """A table of a folder that this program wrote: ``NAME.tsv``, or ``NAME.csv`` where an earlier release wrote that.

    Args:
        folder: Where to look.
        name: File name, ends in .tsv.
    """
    now = Path(folder) / name
    before = now.with_suffix(".csv")
    return before if before.is_file() and not now.is_file() else now


def read_rows(path: Path, *, kind: type[ParaspinalError] = InputError) -> list[tuple[int, list[str]]]:
    """The rows of a table, its header included: number of the line, and the cells without spaces around them.

    Raises:
        ParaspinalError: Of the kind `kind`: unreadable, or quotes that do not end.
    """
    return list(_rows(read_text(path, kind=kind), path, kind))


def read_text(path: Path, *, kind: type[ParaspinalError] = InputError) -> str:
    """A text file of UTF-8 or UTF-16, with or without byte-order mark.

    Raises:
        ParaspinalError: Of the kind `kind`: unreadable, or of another encoding.
    """
    path = Path(path)
    try:
        with guarded(path):
            content = read_bytes(path)
    except InputError as error:
        raise kind(str(error)) from error
    if content.startswith(_UTF16) or content[1::2][:8] == bytes(8):
        encoding = "utf-16" if content.startswith(_UTF16) else "utf-16-le"
    else:
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise kind(f"{path}: line {line} is neither UTF-8 nor UTF-16; save it as 'CSV UTF-8'") from error


def number(text: str) -> float:
    """A number as people write it, with a decimal point or comma.

    Raises:
        ValueError: No number.

    >>> number(" 1,5"), number("-2.25e1")
    (1.5, -22.5)
    """
    text = text.strip()
    if "_" in text:
        raise ValueError(f"{text!r} is no number")
    return float(text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text)


def whole_number(text: str) -> int | None:
    """A whole number as people write it; None for anything else.

    >>> whole_number(" 41 "), whole_number("L1"), whole_number("--1"), whole_number("9" * 5000)
    (41, None, None, None)
    """
    return int(text) if _WHOLE.fullmatch(text) else None


def read_mapping(path: Path, *, kind: type[ParaspinalError] = InputError) -> dict[str, Any]:
    """What a file maps to what; YAML by its ending, else JSON.

    Args:
        path: The file.
        kind: Of the errors.

    Raises:
        ParaspinalError: Of the kind `kind`: unreadable, no mapping, a name that stands there twice, an alias of YAML,
            or a number that YAML reads as another one (010 is 8).
    """
    import yaml

    text = read_text(path, kind=kind)
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            content = yaml.load(text, Loader=_yaml_loader())
        else:
            content = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise kind(f"{path}: is no valid JSON or YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or not content:
        raise kind(f'{path}: holds no mapping; write e.g. {{"1": "NAME", "2": "NAME"}}')
    return {str(key): value for key, value in content.items()}


def _rows(text: str, path: Path, kind: type[ParaspinalError]) -> Iterator[tuple[int, list[str]]]:
    lines = io.StringIO(text, newline="")
    skipped, separator = 0, ","
    for line in lines:  # up to the header, which says what separates
        skipped += 1
        if stated := _STATED.fullmatch(line):
            separator = stated[1]
            break
        if line.strip() and not line.startswith(_COMMENT):
            separator = _separator_of(line)
            lines.seek(lines.tell() - len(line))
            skipped -= 1
            break
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=separator != "\t")
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not cells[0].startswith(_COMMENT):
                yield skipped + reader.line_num, cells
    except csv.Error as error:
        raise kind(f"{path}: line {skipped + reader.line_num} is no row of a table ({one_line(error)})") from error


def _separator_of(header: str) -> str:
    bare = re.sub(r'"[^"]*"', "", header)
    return next((mark for mark in _SEPARATORS if mark in bare), ",")


def _fitted(row: list[str], count: int, where: str, kind: type[ParaspinalError]) -> list[str]:
    cells, rest = row[:count], row[count:]
    if len(cells) < count or any(rest):
        raise kind(f"{where} has {len(row)} cells, the header {count}; quote cells that hold the separator")
    return cells


def _without_repetition(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("an entry stands there twice")
    return content


def _yaml_loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """An entry that stands there twice is a fault, where YAML takes the last; aliases could make a text endless."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise ValueError("it uses an alias (*); write the value out")
            return super().compose_node(parent, index)

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        if any(not isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise ValueError("an entry has a list or a mapping for a name")
        return _without_repetition(
            [(loader.construct_object(k), loader.construct_object(v, deep=True)) for k, v in node.value]
        )

    def whole(loader: Any, node: Any) -> int:
        if not _YAML_WHOLE.fullmatch(node.value):
            raise ValueError(f"{node.value[:40]} is another number to YAML; write whole numbers without leading zeros")
        return int(node.value)

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    Loader.add_constructor("tag:yaml.org,2002:int", whole)
    return Loader
