"""The files of measured cases: a folder per case, and the tables of all cases with their data dictionary."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.nifti import write_image
from paraspinal_nnunet.measures.case import Measured
from paraspinal_nnunet.measures.columns import TABLES, dictionary_rows
from paraspinal_nnunet.measures.result import SCHEMA, SCHEMA_VERSION
from paraspinal_nnunet.utils.files import atomic_folder, atomic_path, read_json, write_json
from paraspinal_nnunet.utils.fingerprint import Fingerprint

RECORD_FILE = "measures.json"
ORIGIN_FILE = "made_from.json"
DICTIONARY = "measures_dictionary"


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
            result.table(name).to_csv(temporary / table_file(name), sep="\t", index=False)
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
    write_json(folder / ORIGIN_FILE, {what: each.to_entry() for what, each in inputs.items()})


def known_origin(folder: Path) -> dict[str, Fingerprint]:
    """What a standing case was measured from; nothing where that is not known, as of earlier releases."""
    try:
        entries = read_json(folder / ORIGIN_FILE)
    except InputError:
        return {}
    found = {what: Fingerprint.from_entry(entry) for what, entry in entries.items()}
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
    before = record.get("settings", {})
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


def write_cohort(output: Path, folders: Sequence[Path]) -> list[Path]:
    """Join the tables of cases, and write the data dictionary beside them.

    Args:
        output: Where to.
        folders: Of the cases, in order.

    Returns:
        The files.
    """
    written = []
    for name in TABLES:
        tables = [pd.read_csv(f / table_file(name), sep="\t", dtype=str, keep_default_na=False) for f in folders]
        joined = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
        written.append(output / table_file(name))
        with atomic_path(written[-1]) as temporary:
            joined.to_csv(temporary, sep="\t", index=False)
    return [*written, *write_dictionary(output)]


def write_dictionary(output: Path) -> list[Path]:
    """Write what every column means, as TSV and as JSON.

    Returns:
        The two files.
    """
    rows = dictionary_rows()
    table, record = output / f"{DICTIONARY}.tsv", output / f"{DICTIONARY}.json"
    with atomic_path(table) as temporary:
        pd.DataFrame(rows).to_csv(temporary, sep="\t", index=False)
    content: dict[str, dict[str, dict[str, str]]] = {name: {} for name in TABLES}
    for row in rows:
        content[row["table"]][row["column"]] = {k: row[k] for k in ("unit", "definition", "source")}
    write_json(record, content)
    return [table, record]
