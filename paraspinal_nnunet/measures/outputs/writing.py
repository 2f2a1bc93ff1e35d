"""The files of measured cases: a folder per case, and the tables of all cases with their data dictionary."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from paraspinal_nnunet.anatomy import ALL_STRUCTURES, BY_KEY
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.nifti import write_image
from paraspinal_nnunet.measures.case import Measured
from paraspinal_nnunet.measures.outputs.columns import FAT_METHODS, TABLES, columns, dictionary_rows
from paraspinal_nnunet.measures.result import SCHEMA, SCHEMA_VERSION
from paraspinal_nnunet.utils.files import atomic_folder, read_json, write_json
from paraspinal_nnunet.utils.fingerprint import Fingerprint
from paraspinal_nnunet.utils.guards import guarded
from paraspinal_nnunet.utils.spreadsheet import write_tsv, write_workbook

RECORD_FILE = "measures.json"
ORIGIN_FILE = "made_from.json"
_TIMES = "times"
"""Its entry of what tells when rather than what, so that equal runs differ there alone."""
DICTIONARY = "measures_dictionary"
WIDE = "measures_wide"
WORKBOOK_FILE = "measures.xlsx"

_ALWAYS = {name: ("case", "muscle", "side") if name == "measures" else ("case",) for name in TABLES}
"""Columns that no release left out."""


def table_file(name: str) -> str:
    """File of a table, e.g. ``'slices.tsv'``."""
    return f"{name}.tsv"


def fat_map_file(method: str) -> str:
    """File of a fat map, e.g. ``'fat_otsu.nii.gz'``."""
    return f"fat_{method}.nii.gz"


def write_case(
    folder: Path, measured: Measured, *, fat_maps: bool = False, inputs: Mapping[str, Fingerprint] | None = None
) -> None:
    """Write a case's folder, whole or not at all; one that stands there already gives way.

    Args:
        folder: The case's.
        measured: What to write.
        fat_maps: Whether to write a map of fat per method, too: by threshold 1 lean, 2 fat, 0 elsewhere; Dixon the
            fraction.
        inputs: Role -> fingerprint of what it was measured from, so that changes are noticed.
    """
    result = measured.measures
    with atomic_folder(folder, overwrite=True) as temporary:
        for name in TABLES:
            write_tsv(result.table(name), temporary / table_file(name))
        if fat_maps:
            for method, volume in measured.fat_maps().items():
                write_image(temporary / fat_map_file(method), volume.array, volume.affine)
        if inputs is not None:
            write_origin(temporary, inputs)
        write_json(temporary / RECORD_FILE, result.to_json())


def write_origin(folder: Path, inputs: Mapping[str, Fingerprint]) -> None:
    """Write what a case was measured from, beside its record.

    Args:
        folder: The case's, while it is filled.
        inputs: Role (``'labels'``, ``'image'``...) -> its file's fingerprint.
    """
    hashes = {what: {"sha256": each.sha256} for what, each in inputs.items()}
    write_json(folder / ORIGIN_FILE, {**hashes, _TIMES: {what: each.look for what, each in inputs.items()}})


def known_origin(folder: Path) -> dict[str, Fingerprint]:
    """What a standing case was measured from; nothing where that is not known, as of earlier releases."""
    try:
        entries = read_json(folder / ORIGIN_FILE)
    except InputError:
        return {}
    looks = entries.pop(_TIMES, None)  # earlier releases kept each beside its hash
    looks = looks if isinstance(looks, dict) else {}
    found = {
        what: Fingerprint.from_entry({"look": looks.get(what), **entry} if isinstance(entry, dict) else None)
        for what, entry in entries.items()
    }
    return {what: each for what, each in found.items() if each is not None}


def what_changed(
    folder: Path, settings: Mapping[str, Any], inputs: Mapping[str, Fingerprint], *, fat_maps: Sequence[str]
) -> str:
    """Why a case's standing folder must be made again; an empty text where it may stay.

    Args:
        folder: The case's.
        settings: With which it would be measured now.
        inputs: Role -> fingerprint of what it would be measured from.
        fat_maps: Methods whose maps are wanted.
    """
    try:
        record = read_json(folder / RECORD_FILE)
    except InputError:
        return "its record cannot be read"
    if record.get("schema") != SCHEMA or record.get("schema_version") != SCHEMA_VERSION:
        return "another release made it"
    before = record.get("settings")
    before = before if isinstance(before, dict) else {}
    differing = [name for name, value in settings.items() if before.get(name) != value]
    if differing:
        return f"another setting of {', '.join(differing)}"
    known = known_origin(folder)
    if not known:
        return "it does not say what it was made from"
    if set(known) != set(inputs):
        return f"made from {', '.join(sorted(known))}, now from {', '.join(sorted(inputs))}"
    other = [what for what, each in inputs.items() if not each.same_content(known[what])]
    if other:
        return f"other content of the {', '.join(other)}"
    missing = [m for m in fat_maps if not (folder / fat_map_file(m)).is_file()]
    return f"no fat map by {missing[0]}" if missing else ""


def write_cohort(output: Path, folders: Sequence[Path], *, xlsx: bool = False) -> list[Path]:
    """Join the tables of cases, make the wide one, and write the data dictionaries beside them.

    Args:
        output: Where to.
        folders: Of the cases, in order.
        xlsx: Whether to write them all as a workbook, too.

    Returns:
        The files.

    Raises:
        SetupError: The workbook's library is missing.
    """
    joined = {}
    for name in TABLES:
        tables = [_read_again(f / table_file(name), name) for f in folders]
        joined[name] = pd.concat(tables, ignore_index=True).fillna("") if tables else pd.DataFrame()
    joined[WIDE] = wide_table(joined["measures"])
    for name, table in joined.items():
        write_tsv(table, output / table_file(name))
    written = [output / table_file(name) for name in joined]
    written += [*write_dictionary(output), *_write_sidecars(output, joined)]
    if xlsx:
        written.append(output / WORKBOOK_FILE)
        numbers = {name: table.apply(_numbers) for name, table in joined.items()}
        write_workbook({**numbers, "dictionary": pd.DataFrame(dictionary_rows())}, written[-1])
    return written


def _read_again(path: Path, name: str) -> pd.DataFrame:
    """A case's own table, which may stem from an earlier call."""
    advice = "remove the case's folder and measure it again"
    with guarded(path, advice):
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    lacking = set(_ALWAYS[name]) - set(table.columns)
    unknown = set(table.columns) - {row["column"] for row in dictionary_rows() if row["table"] == name}
    if lacking or unknown:
        raise InputError(f"{path}: is no table of {name} ({sorted(lacking or unknown)[0]!a}); {advice}")
    if name == "measures" and (foreign := sorted({*(table["muscle"] + "_" + table["side"])} - set(BY_KEY))):
        raise InputError(f"{path}: holds a structure {foreign[0]!a}; {advice}")
    return table


def wide_table(measures: pd.DataFrame) -> pd.DataFrame:
    """One row per case: every measure of every structure in a column of its own, e.g. ``multifidus_right_volume_ml``.

    Args:
        measures: The long table of several cases.
    """
    if measures.empty:
        return pd.DataFrame({"case": pd.Series(dtype=str)})
    left_out = {"case", "muscle", "side", "label", "cohort_mean_ml", "cohort_sd_ml", "cohort_note"}
    named = [c for c in measures.columns if c not in left_out and not c.startswith("reason_")]
    rows: dict[str, dict[str, str]] = {}
    for row in measures.to_dict("records"):
        own = rows.setdefault(str(row["case"]), {"case": str(row["case"])})
        own |= {f"{row['muscle']}_{row['side']}_{column}": row[column] for column in named}
    return pd.DataFrame(list(rows.values())).fillna("")


def write_dictionary(output: Path) -> list[Path]:
    """Write what every column means, as TSV and as JSON.

    Returns:
        The two files.
    """
    rows = dictionary_rows()
    table, record = output / f"{DICTIONARY}.tsv", output / f"{DICTIONARY}.json"
    write_tsv(pd.DataFrame(rows), table)
    content: dict[str, dict[str, dict[str, str]]] = {name: {} for name in TABLES}
    for row in rows:
        content[row["table"]][row["column"]] = {k: row[k] for k in ("unit", "definition", "source")}
    write_json(record, content)
    return [table, record]


def _write_sidecars(output: Path, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
    """The data dictionary of each table beside it, as BIDS has it."""
    known = {(name, column): declared for name in TABLES for column, declared, _ in columns(name, FAT_METHODS)}
    written = []
    for name, table in tables.items():
        content = {}
        for column in table.columns:
            declared, subject = known.get((name, column)), ""
            if declared is None:
                key = next((s.key for s in ALL_STRUCTURES if column.startswith(f"{s.key}_")), "")
                subject = BY_KEY[key].display_name if key else ""
                declared = known["measures", column.removeprefix(f"{key}_")]
            content[column] = declared.sidecar(subject)
        written.append(output / f"{name}.json")
        write_json(written[-1], content)
    return written


def _numbers(column: "pd.Series[str]") -> "pd.Series[Any]":
    """A column of texts as numbers where all of it is numbers; '' is missing."""
    found = pd.to_numeric(column.replace("", None), errors="coerce")
    return column if (found.isna() & (column != "")).any() or found.isna().all() else found
