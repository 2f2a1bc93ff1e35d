"""The files of a follow-up: tables with their data dictionary, and one record with all of it in full precision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from paraspinal_nnunet import __version__
from paraspinal_nnunet.follow_up.changes import Change
from paraspinal_nnunet.follow_up.pairing import Pair
from paraspinal_nnunet.measures.result import Flag
from paraspinal_nnunet.utils.files import without_nan, write_json
from paraspinal_nnunet.utils.spreadsheet import Column, sidecars, write_tsv

SCHEMA, SCHEMA_VERSION = "paraspinal-nnunet follow-up", 1
RECORD_FILE = "follow_up.json"

_PERSON = Column("person", "", "name of the pair: BIDS subject, case or as the table of pairs says")
_ABOUT = (
    Column("muscle", "", "as in the tables of measures"),
    Column("side", "", "the patient's own side: right or left"),
    Column(
        "scope",
        "",
        "whole: all of the muscle in the stack; common levels: the levels that both scans show whole; level: one "
        "vertebra or disc; slice: one slice, where the scans share no level",
    ),
    Column("place", "", "the level or levels, e.g. L4-L5 or L1 to L5; empty for wholes and slices"),
)
_SLICES = (
    Column("earlier_slice", "", "of slices: its number in the earlier scan, from 1 at the feet"),
    Column("later_slice", "", "of slices: its number in the later scan"),
    Column(
        "matched_by",
        "",
        "level: by its name; position: the slice at the same height in the scanner, to half the larger distance of "
        "slices, which is no anatomical match where the person lay otherwise",
    ),
)
_MEASURE = (
    Column("measure", "", "column of the tables of measures, where it is defined"),
    Column("unit", "", "of earlier, later, change and smallest_detectable; 1 for shares"),
)
_DETECTABLE = (
    Column(
        "smallest_detectable",
        "",
        "1.96 x sqrt(2) x standard error of measurement, in the measure's unit; empty where none is known",
        "de Vet et al. 2006, doi:10.1016/j.jclinepi.2005.10.015; Weir 2005, doi:10.1519/15184.1",
    ),
    Column(
        "detectable_from",
        "",
        "measured: from people who were read twice (--repeats); upper bound: what it was at most between the paper's "
        "raters, from the lowest reliability (ICC) that it states and the volumes' standard deviation",
    ),
)
TABLES: Mapping[str, tuple[Column, ...]] = {
    "pairs": (
        _PERSON,
        Column("earlier", "", "case of the first scan"),
        Column("later", "", "case of the second scan"),
        Column("earlier_length_mm", "mm", "length of its stack"),
        Column("later_length_mm", "mm", "length of its stack"),
        Column("flags", "count", "rows in flags.tsv"),
    ),
    "changes": (
        _PERSON,
        *_ABOUT,
        *_SLICES,
        *_MEASURE,
        Column("earlier", "", "value at the first time"),
        Column("later", "", "value at the second time"),
        Column("change", "", "later - earlier; empty where one is not known or the muscle is missing"),
        Column("change_percent", "%", "100 x change / earlier; of shares too, e.g. from 0.10 to 0.12 is 20 %"),
        *_DETECTABLE,
        Column(
            "beyond_detectable",
            "",
            "whether the change's size is larger than the smallest detectable one: yes, no, unknown (below an upper "
            "bound); empty where nothing can be said, as of muscles cut by the stacks at unequal lengths",
        ),
        Column("note", "", "what speaks against the number, or why there is none"),
    ),
    "summary": (
        *_ABOUT,
        *_MEASURE,
        Column("people", "count", "pairs with both values, those cut at unequal lengths left out"),
        Column("earlier_mean", "", "mean of the earlier values"),
        Column("change_mean", "", "mean change"),
        Column("change_sd", "", "its standard deviation over people (n - 1); empty for one person"),
        *_DETECTABLE,
        Column("people_beyond", "count", "people whose change is larger than the smallest detectable one"),
    ),
    "flags": (
        _PERSON,
        Column("kind", "", "what was looked at"),
        Column("severity", "", "info, warning or serious"),
        Column("subject", "", "structure; empty for the pair"),
        Column("text", "", "what was found"),
        Column("value", "", "what was compared with threshold"),
        Column("threshold", "", "limit"),
    ),
}
"""Table -> its columns, in order."""


@dataclass(frozen=True)
class PairResult:
    """A pair with what was found."""

    pair: Pair
    changes: tuple[Change, ...]
    flags: tuple[Flag, ...]


def change_table(results: Sequence[PairResult]) -> pd.DataFrame:
    """All changes, one per row."""
    rows = []
    for change in (change for result in results for change in result.changes):
        row = {c.name: getattr(change, c.name, None) for c in TABLES["changes"]}
        row |= {"smallest_detectable": change.detectable, "detectable_from": change.detectable_kind}
        row |= {"beyond_detectable": change.beyond, "cut": change.cut}
        rows.append(row)
    names = [*(c.name for c in TABLES["changes"]), "cut"]
    return pd.DataFrame(rows, columns=names).astype({"earlier_slice": "Int64", "later_slice": "Int64"})


def summary_table(changes: pd.DataFrame) -> pd.DataFrame:
    """Means over people of everything but single slices.

    Args:
        changes: As `change_table` gives them.
    """
    by = ["muscle", "side", "scope", "place", "measure", "unit"]
    counted = changes[(changes["scope"] != "slice") & changes["change"].notna() & ~changes["cut"].astype(bool)]
    rows = []
    for key, group in counted.groupby(by, sort=False):
        rows.append(
            dict(zip(by, key, strict=True))
            | {
                "people": len(group),
                "earlier_mean": group["earlier"].mean(),
                "change_mean": group["change"].mean(),
                "change_sd": group["change"].std(ddof=1),
                "smallest_detectable": group["smallest_detectable"].iloc[0],
                "detectable_from": group["detectable_from"].iloc[0],
                "people_beyond": int((group["beyond_detectable"] == "yes").sum()),
            }
        )
    return pd.DataFrame(rows, columns=[c.name for c in TABLES["summary"]])


def write_follow_up(output: Path, results: Sequence[PairResult], settings: Mapping[str, Any]) -> list[Path]:
    """Write the tables, a dictionary beside each as BIDS has it, and the record.

    Args:
        output: Folder.
        results: Of all pairs.
        settings: What was compared and with what.

    Returns:
        The tables and the record.
    """
    changes = change_table(results)
    tables = {
        "pairs": pd.DataFrame([_pair_row(result) for result in results]),
        "changes": changes.drop(columns="cut"),
        "summary": summary_table(changes),
        "flags": pd.DataFrame(
            [{"person": r.pair.person, **vars(flag)} for r in results for flag in r.flags],
            columns=[c.name for c in TABLES["flags"]],
        ),
    }
    written = []
    for name, table in tables.items():
        written.append(output / f"{name}.tsv")
        write_tsv(table, written[-1])
        write_json(output / f"{name}.json", dictionary(name))
    record = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "settings": dict(settings),
        **{name: _records(table) for name, table in tables.items()},
    }
    write_json(output / RECORD_FILE, record)
    return [*written, output / RECORD_FILE]


def dictionary(table: str) -> dict[str, dict[str, str]]:
    """A table's columns as a BIDS sidecar: description and unit."""
    return sidecars(TABLES[table])


def _pair_row(result: PairResult) -> dict[str, Any]:
    pair = result.pair
    return {
        "person": pair.person,
        "earlier": pair.earlier.case,
        "later": pair.later.case,
        "earlier_length_mm": pair.earlier.length_mm,
        "later_length_mm": pair.later.length_mm,
        "flags": len(result.flags),
    }


def _records(table: pd.DataFrame) -> Any:
    """A table's rows as JSON has them: null where nothing is known."""
    return without_nan(table.astype(object).where(table.notna(), None).to_dict("records"))
