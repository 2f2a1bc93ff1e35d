"""The files of an inspection: JSON in full precision, tables with their dictionaries, contact sheets and the page."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import InputError, advice_on
from paraspinal_nnunet.nnunet.datasets import MISSING
from paraspinal_nnunet.quality_control.checks.outliers import RULE
from paraspinal_nnunet.quality_control.checks.volumes import PAPER_SOURCE, VolumeSummary, asymmetry_percent
from paraspinal_nnunet.quality_control.classes import LabelClass, canonical_key, side_pairs_of
from paraspinal_nnunet.quality_control.dictionary import FINDINGS, cases_dictionary
from paraspinal_nnunet.quality_control.findings import Finding, Severity, counts
from paraspinal_nnunet.quality_control.measurements import CaseMeasurements
from paraspinal_nnunet.quality_control.page import inspection_page
from paraspinal_nnunet.quality_control.previews import write_previews
from paraspinal_nnunet.quality_control.run import Inspection
from paraspinal_nnunet.utils.files import without_nan, write_json, write_text
from paraspinal_nnunet.utils.spreadsheet import SIGNIFICANT, plain_text, sidecars

SCHEMA, SCHEMA_VERSION = "paraspinal-nnunet/inspection", 1
RECORD_FILE, CASES_FILE, FINDINGS_FILE = "inspection.json", "cases.tsv", "findings.tsv"
DICTIONARIES = {CASES_FILE: "cases.json", FINDINGS_FILE: "findings.json"}
PAGE_FILE, PREVIEWS_FILE = "inspection.html", "previews.png"

_GRID = ("shape", "spacing_mm")
_AXES = ("right", "front", "head")


def check_output(folder: Path) -> None:
    """Refuse a folder whose own files the inspection's would replace: both a data set and an inspection have cases.tsv.

    Raises:
        InputError: A data set's folder, or a file.
    """
    if (folder / "dataset.json").exists():
        raise InputError(f"{folder}: is a data set, whose {CASES_FILE} would be replaced; give another folder with -o")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder with -o")


def write_inspection(inspection: Inspection, folder: Path, *, workers: int = 1) -> list[Path]:
    """Write all files of an inspection; those of an earlier one are replaced.

    Args:
        inspection: What was found.
        folder: Created where it is missing.
        workers: Number of processes that draw.

    Returns:
        The files: `RECORD_FILE`, `CASES_FILE`, `FINDINGS_FILE`, the contact sheets and `PAGE_FILE`; beside the tables
        stand their `DICTIONARIES`.

    Raises:
        InputError: The folder cannot be written to, or is a data set's.
    """
    check_output(Path(folder))
    try:
        return _write(inspection, Path(folder), workers)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written to ({error.strerror or error}){advice_on(error)}") from error


def _write(inspection: Inspection, folder: Path, workers: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECORD_FILE, without_nan(record(inspection)))
    rows = [_case_row(measured, inspection) for measured in inspection.cases]
    names = list(dict.fromkeys(name for row in rows for name in row))
    write_text(folder / CASES_FILE, _tsv(rows, names))
    write_json(folder / DICTIONARIES[CASES_FILE], _dictionary(names, inspection))
    columns = [column.name for column in FINDINGS]
    write_text(folder / FINDINGS_FILE, _tsv([_finding(f) for f in inspection.findings], columns))
    write_json(folder / DICTIONARIES[FINDINGS_FILE], sidecars(FINDINGS))
    sheets = write_previews(inspection.dataset.folder, folder / PREVIEWS_FILE, workers=workers)
    for earlier in set(folder.glob("previews*.png")) - set(sheets):
        earlier.unlink()
    write_text(folder / PAGE_FILE, inspection_page(inspection, workers=workers))
    return [*(folder / name for name in (RECORD_FILE, CASES_FILE, FINDINGS_FILE)), *sheets, folder / PAGE_FILE]


def _dictionary(names: list[str], inspection: Inspection) -> dict[str, Mapping[str, str]]:
    dataset = inspection.dataset
    return cases_dictionary(
        names,
        channels=dataset.channels,
        classes=[label.name for label in dataset.classes],
        muscles=[pair.muscle for pair in side_pairs_of(dataset.classes)],
    )


def record(inspection: Inspection) -> dict[str, Any]:
    """What `RECORD_FILE` holds; NaN stands where a number is not known."""
    dataset = inspection.dataset
    splits = inspection.splits
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "paraspinal_nnunet_version": __version__,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "dataset": dataset.folder.name,
        "channels": list(dataset.channels),
        "reader": dataset.reader,
        "classes": [_label(label) for label in dataset.classes],
        "rules": {"outliers": RULE, "paper": PAPER_SOURCE},
        "counts": counts(inspection.findings),
        "findings": [_finding(f) for f in inspection.findings],
        "volumes": [_volume(v) for v in inspection.volumes],
        "splits": {"checked": bool(splits.folds), "folds": [asdict(fold) for fold in splits.folds]},
        "cases": [_case(measured, dataset.classes) for measured in inspection.cases],
    }


def _label(label: LabelClass) -> dict[str, Any]:
    names = {"muscle": label.muscle, "side": label.side, "canonical": canonical_key(label)}
    return {"value": label.value, "name": label.name, **names}


def _finding(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "severity": finding.severity.word}


def _volume(summary: VolumeSummary) -> dict[str, Any]:
    content = asdict(summary)
    content.pop("label")
    return {**_label(summary.label), **content}


def _case(measured: CaseMeasurements, classes: tuple[LabelClass, ...]) -> dict[str, Any]:
    content = asdict(measured)
    content.pop("fingerprints")
    content["errors"] = [{"kind": kind, "text": text} for kind, text in measured.errors]
    if measured.labels is not None:
        own = measured.labels.classes
        content["labels"]["classes"] = {c.name: asdict(own[c.value]) for c in classes}
    return content


def _case_row(measured: CaseMeasurements, inspection: Inspection) -> dict[str, Any]:
    """One line of `CASES_FILE`; a cell that does not apply is left out."""
    row: dict[str, Any] = {"case": measured.case, "subject": measured.subject}
    for name in _GRID:
        for axis, end in enumerate(_AXES):
            values = getattr(measured, name)
            row[f"{name}_{end}"] = None if values is None else values[axis]
    row |= {"stored_axes": measured.stored_axes or None, "obliquity_deg": measured.obliquity_deg}
    for number, name in enumerate(inspection.dataset.channels):
        prefix = f"{name}_" if len(inspection.dataset.channels) > 1 else ""
        row |= {prefix + key: value for key, value in _intensities(measured, number).items()}
    found = [finding.severity for finding in inspection.of_case(measured.case)]
    row |= _label_cells(measured, inspection.dataset.classes)
    return row | {f"findings_{severity.word}": found.count(severity) for severity in Severity}


def _intensities(measured: CaseMeasurements, channel: int) -> dict[str, Any]:
    if channel >= len(measured.channels):
        return {}
    content = asdict(measured.channels[channel])
    percentiles = {f"p{rank}": value for rank, value in content.pop("percentiles").items()}
    content.pop("sha256")
    return {"minimum": content.pop("minimum"), **percentiles, **content}


def _label_cells(measured: CaseMeasurements, classes: tuple[LabelClass, ...]) -> dict[str, Any]:
    labels = measured.labels
    if labels is None:
        return {}
    cells: dict[str, Any] = dict(zip(("first_labelled", "last_labelled"), labels.labelled_slices, strict=True))
    cells |= {"labelled_mm": labels.labelled_mm, "empty_inside": len(labels.empty_inside)}
    cells |= dict(zip(("empty_below", "empty_above"), labels.empty_outside, strict=True))
    for label in classes:
        own = labels.classes[label.value]
        for key in ("volume_ml", "length_mm", "area_cm2", "x_mm", "islands", "island_ml", "border_voxels"):
            cells[f"{label.name}_{key}"] = getattr(own, key)
    for pair in side_pairs_of(classes):
        right, left = (labels.classes[c.value].volume_ml for c in (pair.right, pair.left))
        cells[f"{pair.muscle}_asymmetry_percent"] = asymmetry_percent(right, left)
    return cells


def _tsv(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Rows as a table; a column that only some rows have is not known in the others."""
    target = io.StringIO()
    writer = csv.writer(target, delimiter="\t", lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return target.getvalue()


def _cell(value: Any) -> Any:
    unknown = value is None or (isinstance(value, float) and not math.isfinite(value))
    if isinstance(value, float) and not unknown:
        return SIGNIFICANT % value
    return MISSING if unknown else plain_text(" ".join(value.split())) if isinstance(value, str) else value
