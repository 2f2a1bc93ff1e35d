"""The files of measured cases: a folder per case, and the tables of all cases with their data dictionary."""

import logging
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

RECORD_FILE = "measures.json"
DICTIONARY = "measures_dictionary"

log = logging.getLogger(__name__)


def table_file(name: str) -> str:
    """File of a table, e.g. ``'slices.tsv'``."""
    return f"{name}.tsv"


def fat_map_file(method: str) -> str:
    """File of a fat map, e.g. ``'fat_otsu.nii.gz'``."""
    return f"fat_{method}.nii.gz"


def write_case(folder: Path, measured: Measured, *, fat_maps: bool = False) -> None:
    """Write a case's folder, whole or not at all; one that stands there already gives way.

    Args:
        folder: The case's.
        measured: What to write.
        fat_maps: Whether to write a map of fat per method, too: by threshold 1 lean, 2 fat, 0 elsewhere; Dixon the
            fraction.
    """
    result = measured.measures
    with atomic_folder(folder, overwrite=True) as temporary:
        for name in TABLES:
            result.table(name).to_csv(temporary / table_file(name), sep="\t", index=False)
        if fat_maps:
            for method, volume in measured.fat_maps().items():
                write_image(temporary / fat_map_file(method), volume.array, volume.affine)
        write_json(temporary / RECORD_FILE, result.to_json())


def is_kept(folder: Path, settings: Mapping[str, Any], inputs: Sequence[Path], *, fat_maps: Sequence[str]) -> bool:
    """Whether a case's folder stands already and may stay.

    Args:
        folder: The case's.
        settings: With which it would be measured now.
        inputs: Files that it would be measured from.
        fat_maps: Methods whose maps are wanted.

    Raises:
        InputError: It stands there, but was measured with other settings or lacks what is asked for.
    """
    if not folder.exists():
        return False
    record = read_json(folder / RECORD_FILE)
    if record.get("schema") != SCHEMA or record.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{folder / RECORD_FILE}: is no record of this release; move it away, or overwrite it")
    differing = [name for name, value in settings.items() if record.get("settings", {}).get(name) != value]
    if differing:
        raise InputError(
            f"{folder}: was measured with another setting of {differing[0]}; overwrite it, or write elsewhere"
        )
    names = sorted({path.name for path in inputs})
    if sorted(set(record.get("inputs", {}).values())) != names:
        raise InputError(f"{folder}: was measured from other files; overwrite it, or write elsewhere")
    missing = [m for m in fat_maps if not (folder / fat_map_file(m)).is_file()]
    if missing:
        raise InputError(f"{folder}: has no fat map by {missing[0]}; overwrite it, or write elsewhere")
    written = (folder / RECORD_FILE).stat().st_mtime
    newer = [path for path in inputs if path.stat().st_mtime > written]
    if newer:
        log.warning("note: %s is kept although %s is newer; --overwrite measures it again", folder, newer[0].name)
    return True


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
