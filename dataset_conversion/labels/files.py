"""Label maps that users write (JSON, YAML) and what tools write of values (BIDS, ITK-SNAP, 3D Slicer, nnU-Net).

In a file that a user writes for this program every name must be a class; a table that describes a label map names other
structures as well, and these become background.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paraspinal_nnunet.anatomy import BACKGROUND, BY_KEY
from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.image_io.masks.label_names import parse_label_name
from paraspinal_nnunet.utils.tables import read_mapping, read_table, read_text, whole_number

DROPPED_NAMES = ("ignore", "background")
"""Names in a label map file whose values become background."""

LARGEST_VALUE = 65535
"""Source values are looked up in a table; larger ones are no label of any known scheme."""

DATASET_FILE = "dataset.json"
"""In which nnU-Net names the values of a data set's labels, and of those that a model of it predicts."""

MAP_ENDINGS = (".json", ".yaml", ".yml")
TABLE_ENDINGS = (".tsv", ".csv", ".ctbl", ".label", ".txt")

_INDEX_COLUMNS = ("index", "value", "labelvalue", "label_value")
_NAME_COLUMNS = ("name", "anatomy", "structure")
_SNAP_LINE = re.compile(r'\s*(?P<value>\d+)(?:\s+[\d.]+){6}\s+"(?P<name>[^"]*)"\s*')
_SLICER_LINE = re.compile(r"\s*(?P<value>\d+)\s+(?P<name>\S+)(?:\s+\d+){4}\b.*")


def read_label_file(path: Path) -> dict[int, str]:
    """Read a label map or a label table.

    Args:
        path: JSON or YAML: value -> class, or class -> value or list of values. nnU-Net's dataset.json. A table by
            its ending: .tsv or .csv with columns index (or value) and name, optionally side; .label or .txt of
            ITK-SNAP; .ctbl or .txt of 3D Slicer.

    Returns:
        Source value -> canonical key, one of `DROPPED_NAMES`, or, from tables, the name of another structure.

    Raises:
        LabelError: Unreadable, not understood, a name that is unclear, or a value with two meanings.
    """
    if path.name == DATASET_FILE:
        named: Iterable[tuple[Any, str]] = ((value, _table_name(name, path)) for value, name in _dataset_pairs(path))
    elif path.suffix.lower() in MAP_ENDINGS:
        pairs = _map_pairs(read_mapping(path, kind=LabelError), path)
        named = ((value, _class(name, path)) for value, name in pairs)
    elif path.suffix.lower() in TABLE_ENDINGS:
        named = ((value, _table_name(name, path)) for value, name in _table_pairs(path))
    else:
        raise LabelError(f"{path}: is no label map; its name must end in {', '.join((*MAP_ENDINGS, *TABLE_ENDINGS))}")
    entries: dict[int, str] = {}
    for value, name in named:
        _check_value(value, name, path)
        if entries.setdefault(value, name) != name:
            raise LabelError(f"{path}: value {value} stands for both {entries[value]} and {name}")
    return entries


def read_structure_file(path: Path) -> dict[str, str]:
    """Read which structure name, as it stands in file names, is which class.

    Args:
        path: JSON or YAML: structure -> class.

    Returns:
        Structure name -> canonical key or one of `DROPPED_NAMES`.

    Raises:
        LabelError: Unreadable, not understood, or a name that is unclear or stands there twice.
    """
    return {structure: _class(name, path) for structure, name in read_mapping(path, kind=LabelError).items()}


def _dataset_pairs(path: Path) -> list[tuple[Any, str]]:
    labels = read_mapping(path, kind=LabelError).get("labels")
    if not isinstance(labels, dict) or not labels:
        raise LabelError(f"{path}: has no 'labels'; complete it or move it away")
    return [(value, str(name)) for value, name in _map_pairs({str(key): v for key, v in labels.items()}, path)]


def _map_pairs(content: Mapping[str, Any], path: Path) -> list[tuple[Any, Any]]:
    numbers = [whole_number(key) for key in content]
    if None not in numbers:
        return list(zip(numbers, content.values(), strict=True))
    if not any(number is not None for number in numbers):
        return [(v, key) for key, value in content.items() for v in _listed(value)]
    raise LabelError(f"{path}: mixes 'value: class' with 'class: value'; use one of them")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _class(name: Any, path: Path) -> str:
    """The class of a name that a user wrote for this program."""
    if isinstance(name, str) and (name in BY_KEY or name in DROPPED_NAMES):
        return name
    key = _understood(name, path) if isinstance(name, str) else None
    if key is None:
        raise LabelError(f"{path}: unknown class '{name}'; classes are {', '.join((*BY_KEY, *DROPPED_NAMES))}")
    return key


def _table_name(name: str, path: Path) -> str:
    """The class of a name in a tool's table, or the name itself."""
    return _understood(name, path) or name


def _understood(name: str, path: Path) -> str | None:
    try:
        return parse_label_name(name)
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error


def _table_pairs(path: Path) -> list[tuple[int, str]]:
    if path.suffix.lower() in (".tsv", ".csv"):
        return _column_pairs(path)
    pairs = []
    for line in read_text(path, kind=LabelError).splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _SNAP_LINE.fullmatch(line) or _SLICER_LINE.fullmatch(line)
        if match is None:
            raise LabelError(f"{path}: '{line.strip()}' is no line of an ITK-SNAP or 3D Slicer label table")
        pairs.append((_value(match["value"], path), match["name"]))
    return _not_empty(pairs, path)


def _column_pairs(path: Path) -> list[tuple[int, str]]:
    table = read_table(path, kind=LabelError, lower=True)
    index = next((c for c in _INDEX_COLUMNS if c in table), None)
    name = next((c for c in _NAME_COLUMNS if c in table), None)
    if index is None or name is None:
        raise LabelError(f"{path}: has no columns 'index' and 'name'; found {', '.join(table.columns)}")
    pairs = []
    for row in table.to_dict("records"):
        value = _value(row[index], path)
        if not row[name]:
            raise LabelError(f"{path}: value {value} has no name; name it, or 'background' if it is none")
        side = row.get("side", "")
        told = f"{row[name]} {side if side.lower() in ('left', 'right', 'l', 'r') else ''}"
        pairs.append((value, told.strip()))
    return _not_empty(pairs, path)


def _not_empty(pairs: list[tuple[int, str]], path: Path) -> list[tuple[int, str]]:
    if not pairs:
        raise LabelError(f"{path}: lists no label")
    return pairs


def _value(text: str, path: Path) -> int:
    value = whole_number(text)
    if value is None:
        raise LabelError(f"{path}: '{text[:40]}' is no label value; use whole numbers from 0 to {LARGEST_VALUE}")
    return value


def _check_value(value: Any, key: str, path: Path) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_VALUE:
        raise LabelError(f"{path}: '{value}' is no label value; use whole numbers from 0 to {LARGEST_VALUE}")
    if value == BACKGROUND and key in BY_KEY:
        raise LabelError(f"{path}: value 0 is always background, not {key}")
