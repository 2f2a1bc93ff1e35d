"""Results of a BIDS data set as a BIDS derivative: names, sidecars, look-up table, subjects' table and description.

Source: BIDS specification 1.10, 'Derivatives' (common data types and metadata, segmentations) and 'Phenotypic and
assessment data'.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from paraspinal_nnunet.anatomy import Structure
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.inference.inputs import BIDS_DESCRIPTION
from paraspinal_nnunet.inference.records import (
    MEASURES,
    MEASURES_FOLDER,
    PAGES_FOLDER,
    RECORDS_FOLDER,
    SLICER_FOLDER,
    WIDE_TABLE,
    PredictionRecord,
)
from paraspinal_nnunet.utils.files import read_json, relative_path, write_json, write_text

VERSION = "1.10.0"
TABLE, IGNORE_FILE, README = "dseg.tsv", ".bidsignore", "README.md"
SUBJECT_TABLES, SUBJECT_TABLE = "phenotype", "paraspinal_measures"
FILES = (BIDS_DESCRIPTION, TABLE, IGNORE_FILE, README)
"""What stands once for all cases."""

SOURCE = "raw"
"""Name of the data set that was segmented, in ``bids:raw:...``."""

_NOT_KNOWN = "n/a"
_IGNORED = ("*.html", "*.png", "labels*", PAGES_FOLDER, RECORDS_FOLDER, MEASURES_FOLDER, SLICER_FOLDER)
_SUBJECT_COLUMNS = {
    "MeasurementToolMetadata": {"Description": "Sizes and fat of muscles in masks that were drawn automatically"},
    "participant_id": {"Description": "Who was scanned"},
}
_README = """\
# Lumbar paraspinal muscles

Masks of multifidus, erector spinae and psoas major, drawn automatically on axial T2 scans by paraspinal-nnunet; what
each value means stands in `dseg.tsv`. `phenotype/` has one row of measures for each scan, `measures/` every table,
`index.html` and `pages/` show each mask on its scan, `records/` say how it was made. Research only: check every mask by
eye.
"""


def write_derivative(
    output: Path, source: Path, records: Sequence[PredictionRecord], structures: Sequence[Structure], version: str
) -> None:
    """Write all that makes a folder of masks a derivative; what is there already and the same is left alone.

    Args:
        output: The derivative's folder, with its masks.
        source: The data set that was segmented.
        records: Of all masks that stand.
        structures: What the masks' labels mean.
        version: Of the program.
    """
    _write_if_other(output / BIDS_DESCRIPTION, _description(output, source, version))
    rows = [f"{s.label}\t{s.key}\t{s.abbreviation}\t{s.hex_colour}" for s in structures]
    head = ["index\tname\tabbreviation\tcolor", "0\tbackground\tBG\t#000000"]
    write_text(output / TABLE, "\n".join([*head, *rows]) + "\n")
    write_text(output / IGNORE_FILE, "\n".join(_IGNORED) + "\n")
    if not (output / README).exists():
        write_text(output / README, _README)
    for record in records:
        if _is_derivative(record):
            _write_if_other(output / f"{record.mask.removesuffix('.nii.gz')}.json", _sidecar(record))
    measured = output / MEASURES_FOLDER / WIDE_TABLE
    if any(MEASURES in record.products for record in records) and measured.is_file():
        _write_subject_tables(output / SUBJECT_TABLES, records, measured)


def _write_subject_tables(folder: Path, records: Sequence[PredictionRecord], measured: Path) -> None:
    """Write the measures with one row per subject, a table for each session and kind of scan: BIDS wants no more.

    Args:
        folder: Where to.
        records: Of the cases.
        measured: One row per case; what its columns mean lies beside it.
    """
    import pandas as pd

    from paraspinal_nnunet.utils.spreadsheet import write_tsv

    subjects = {r.case: r.case.partition("_") for r in records if _is_derivative(r)}
    wide = pd.read_csv(measured, sep="\t", dtype=str, keep_default_na=False).replace("", _NOT_KNOWN)
    wide = wide[wide["case"].isin(subjects)]
    columns = {name: text for name, text in read_json(measured.with_suffix(".json")).items() if name != "case"}
    earlier = set(folder.glob(f"{SUBJECT_TABLE}*"))
    for kind, table in wide.groupby([subjects[case][2] for case in wide["case"]]):
        path = folder / "_".join(filter(None, (SUBJECT_TABLE, str(kind))))
        people = pd.Series([subjects[case][0] for case in table["case"]], index=table.index, name="participant_id")
        described = path.with_name(f"{path.name}.json")
        write_tsv(pd.concat([people, table.drop(columns="case")], axis=1), path.with_name(f"{path.name}.tsv"))
        write_json(described, {**_SUBJECT_COLUMNS, **columns})
        earlier -= {described, described.with_suffix(".tsv")}
    for path in earlier:
        path.unlink()


def _is_derivative(record: PredictionRecord) -> bool:
    return record.mask.startswith("sub-") and "/" in record.mask


def _description(output: Path, source: Path, version: str) -> dict[str, Any]:
    raw = _described(source)
    generated = {"Name": "paraspinal-nnunet", "Version": version}
    if address := _code_address():
        generated["CodeURL"] = address
    origin = {"URL": f"bids:{SOURCE}:", "DOI": raw.get("DatasetDOI"), "Version": raw.get("DatasetVersion")}
    named = f" of {raw['Name']}" if isinstance(raw.get("Name"), str) and raw["Name"].strip() else ""
    return {
        "Name": f"Lumbar paraspinal muscles{named}",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generated],
        "SourceDatasets": [{name: value for name, value in origin.items() if isinstance(value, str) and value}],
        "DatasetLinks": {SOURCE: _link(output, source)},
    }


def _described(source: Path) -> dict[str, Any]:
    try:
        return read_json(source / BIDS_DESCRIPTION)
    except InputError:
        return {}


def _link(output: Path, source: Path) -> str:
    """From the derivative to its source, so that nothing of the machine is told where both are moved together."""
    place = relative_path(source, output)
    return source.resolve().as_uri() if Path(place).is_absolute() else place  # on another drive


def _code_address() -> str:
    """Where the program's code is kept, as far as the installed package says so."""
    try:
        named = [line.partition(", ") for line in metadata("paraspinal-nnunet").get_all("Project-URL") or ()]
    except PackageNotFoundError:
        return ""
    addresses = {name.strip().lower(): address.strip() for name, _, address in named}
    return next((addresses[name] for name in ("repository", "source", "homepage") if name in addresses), "")


def _sidecar(record: PredictionRecord) -> dict[str, Any]:
    content = {
        "Description": "Lumbar paraspinal muscles on the scan's own grid",
        "Sources": [f"bids:{SOURCE}:{record.input.get('source', '')}"],
        "SpatialReference": "orig",
        "Manual": False,
        "Model": str(record.prediction.get("model", "")),
    }
    return {**content, "CorrectedByHand": True} if record.prediction.get("corrected") else content


def _write_if_other(path: Path, content: dict[str, Any]) -> None:
    try:
        same = read_json(path) == content
    except InputError:
        same = False
    if not same:
        write_json(path, content)
