"""The measured scans of a folder, as `paraspinal measure` and `paraspinal predict` leave them."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.measures.outputs.writing import RECORD_FILE, known_origin
from paraspinal_nnunet.measures.result import SCHEMA, SCHEMA_VERSION
from paraspinal_nnunet.utils.files import read_json

Row = Mapping[str, Any]
Key = tuple[str, str, str]
"""Muscle, side, and the level or '' for the whole muscle."""


@dataclass(frozen=True)
class MeasuredScan:
    """One scan with its measures.

    Attributes:
        case: Its name.
        folder: Where its record lies.
        record: As `measures.result.CaseMeasures.to_json` gives it.
    """

    case: str
    folder: Path
    record: Mapping[str, Any]

    @cached_property
    def wholes(self) -> dict[Key, Row]:
        """The rows of whole muscles."""
        return {(row["muscle"], row["side"], ""): row for row in self.record["measures"]}

    @cached_property
    def levels(self) -> dict[Key, Row]:
        """The rows of muscles at vertebral levels, from head to feet."""
        return {(row["muscle"], row["side"], row["level"]): row for row in self.record["levels"]}

    def slices(self, muscle: str, side: str) -> list[Row]:
        """The slices that a muscle reaches, from the feet upwards."""
        return [row for row in self.record["slices"] if (row["muscle"], row["side"]) == (muscle, side)]

    @property
    def stack_slices(self) -> int:
        """Slices of the stack."""
        return int(self.record["stack"]["slices"])

    @property
    def slice_spacing_mm(self) -> float:
        """Distance between slices."""
        return float(self.record["stack"]["slice_spacing_mm"])

    @property
    def pixel_mm2(self) -> float:
        """Area of a pixel."""
        return float(self.record["stack"]["pixel_mm2"])

    @property
    def length_mm(self) -> float:
        """Length of the stack."""
        return float(self.record["stack"]["length_mm"])

    @property
    def methods(self) -> tuple[str, ...]:
        """Ways in which fat was measured."""
        return tuple(self.record["settings"].get("fat_methods", ()))

    @cached_property
    def content(self) -> dict[str, str]:
        """Role of what was measured (image, labels) -> SHA-256; nothing where that is not known."""
        return {what: each.sha256 for what, each in known_origin(self.folder).items()}


def find_scans(path: Path) -> dict[str, MeasuredScan]:
    """The measured scans of a results folder, by case.

    Args:
        path: A folder of `paraspinal measure` or `paraspinal predict`, the folder of one case, or its record.

    Raises:
        InputError: Nothing there, no measures, records of another release, or a case twice.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else sorted(_record_files(path))
    found: dict[str, MeasuredScan] = {}
    for file in files:
        scan = _read(file, named=path.is_file())
        if scan is None:
            continue
        if scan.case in found:
            raise InputError(f"{path}: case {scan.case} is there twice: {found[scan.case].folder} and {scan.folder}")
        found[scan.case] = scan
    if not found:
        raise InputError(f"{path}: holds no measured scan; give a folder of paraspinal measure or paraspinal predict")
    return found


def value_of(row: Row | None, column: str) -> float:
    """A number of a row; NaN where it is not known."""
    value = None if row is None else row.get(column)
    return math.nan if value is None or isinstance(value, str) else float(value)


def _record_files(folder: Path) -> list[Path]:
    found = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]  # half-made folders are hidden
        found += [Path(place) / RECORD_FILE] if RECORD_FILE in names else []
    return found


def _read(path: Path, *, named: bool) -> MeasuredScan | None:
    """The tables' data dictionary of all cases has the same file name, and is no record."""
    content = read_json(path)
    if content.get("schema") != SCHEMA:
        if named:
            raise InputError(f"{path}: is no record of measures; give a case's {RECORD_FILE}")
        return None
    if content.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: is of version {content.get('schema_version')}, this program reads {SCHEMA_VERSION}; measure again"
        )
    return MeasuredScan(str(content["case"]), path.parent, content)
