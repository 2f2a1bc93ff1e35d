"""The paper's printed results as data: Table 1 and the statements of the text, with where each stands."""

import csv
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import nan

import pandas as pd

from paraspinal_nnunet.protocol.paper import DOI

SOURCE = f"Wesselink et al. 2022, doi:{DOI}, CC BY 4.0"
TABLE_1 = "published_table1.csv"
TEXT = "published_text.json"
CONTRADICTIONS = "published_contradictions.json"
NUMBER_COLUMNS = ("mean", "sd", "ci_low", "ci_high")
VOLUME_ICC = "volume_icc"

MODEL_OF_ARM = {
    ("2D", False): "2D without DA",
    ("2D", True): "2D with DA",
    ("3D", False): "3D without DA",
    ("3D", True): "3D with DA",
}
"""(dimension, with augmentation) -> heading of the arm in Table 1."""

CellKey = tuple[str, str, str, str]
"""(model, muscle, side, metric) of a printed cell."""


@dataclass(frozen=True)
class Contradiction:
    """A contradiction and the printed cells that it concerns."""

    cells: tuple[CellKey, ...]
    text: str


@dataclass(frozen=True)
class Statement:
    """A number in the paper's text, or a comparison of numbers in words.

    Attributes:
        key: Short name, unique.
        quantity: What the number is: p, dice, volume_icc, reference_ml, bias_ml, ...
        relation: ``'='``, ``'<'``, ``'>'``, ``'≤'``, ``'≥'`` or ``'between'``.
        values: The number, two where the text prints two, none where it says in words what is larger.
        sd: Standard deviation, NaN where none is printed.
        printed: As printed.
        place: Paragraph.
        about: What it is about.
        note: What is uncertain or contradicted.
    """

    key: str
    quantity: str
    relation: str
    values: tuple[float, ...]
    sd: float
    printed: str
    place: str
    about: str
    note: str


@cache
def _table1() -> pd.DataFrame:
    table = pd.DataFrame(list(csv.DictReader(_data(TABLE_1).splitlines())))
    for column in NUMBER_COLUMNS:
        table[column] = pd.to_numeric(table[column])
    return table


def published_table1() -> pd.DataFrame:
    """Table 1, one row per printed cell.

    Returns:
        Columns model, muscle, side, metric (`overlap.METRICS` and ``volume_icc``), mean, sd, ci_low, ci_high, printed
        (as it stands in the paper) and note (misprints). `sd` is NaN for the ICC, whose interval the others lack.

    Source: Table 1, ``protocol.DOI``, CC BY 4.0.
    """
    return _table1().copy()


@cache
def published_statements() -> dict[str, Statement]:
    """The statements of the paper's text by `Statement.key`. Source: ``protocol.DOI``, CC BY 4.0."""
    statements = {}
    for entry in _text()["statements"]:
        values = entry["value"] if isinstance(entry["value"], list) else [entry["value"]]
        statements[entry["key"]] = Statement(
            key=entry["key"],
            quantity=entry["quantity"],
            relation=entry["relation"],
            values=tuple(map(float, values)),
            sd=float(entry.get("sd", nan)),
            printed=entry["printed"],
            place=entry["place"],
            about=entry["about"],
            note=entry.get("note", ""),
        )
    return statements


def published_notes() -> tuple[tuple[str, str], ...]:
    """(place, text) of what is contradictory in the paper beyond single cells of Table 1."""
    return tuple((note["place"], note["text"]) for note in _text()["notes"])


@cache
def contradictions() -> tuple[Contradiction, ...]:
    """All contradictions that concern printed cells of Table 1; the tests derive them from the printed numbers.

    Feasible sets of Dice, Jaccard and conformity are told by a linear program over all distributions of Dice, intervals
    of ICCs by McGraw and Wong 1996, table 7.
    """
    entries = json.loads(_data(CONTRADICTIONS))
    return tuple(Contradiction(tuple(map(tuple, entry["cells"])), entry["text"]) for entry in entries)


def contradictions_of(cell: CellKey) -> tuple[str, ...]:
    """The texts of the contradictions that concern one printed cell."""
    return tuple(item.text for item in contradictions() if cell in item.cells)


@cache
def _text() -> dict:
    return json.loads(_data(TEXT))


def _data(name: str) -> str:
    return resources.files(__package__).joinpath("data").joinpath(name).read_text(encoding="utf-8")
