"""What a data set says of itself: dataset.json, cases.tsv and the conversion report."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import BY_KEY, QUADRATUS
from paraspinal_nnunet.dataset_conversion.case import Checks, Source
from paraspinal_nnunet.dataset_conversion.convert_case import FILE_ENDING
from paraspinal_nnunet.dataset_conversion.report import Report
from paraspinal_nnunet.dataset_conversion.selection import CaseSelection
from paraspinal_nnunet.errors import InputError, advice_on
from paraspinal_nnunet.image_io.masks.boxes import ENTRY as BOX
from paraspinal_nnunet.nnunet.datasets import CASE_COLUMNS, CASES_FILE, MISSING
from paraspinal_nnunet.nnunet.splits import FILE_NAME as SPLITS_FILE
from paraspinal_nnunet.nnunet.splits import Split, write_splits
from paraspinal_nnunet.utils.files import write_json, write_text

REPORT_FILE = "conversion_report.json"
TABLE_FILE = "conversion_report.tsv"

READER = "NibabelIOWithReorient"
"""nnU-Net's other readers hand the stored voxel order to the network, so that left and right depend on the file."""


def notes_on(source: Source, dataset: str, replaced: Sequence[Path], elsewhere: Sequence[Path]) -> list[str]:
    """Remarks on a data set's labels and on what it replaces."""
    notes = []
    quadratus = [v for v, key in source.labels.dropped.items() if key in {s.key for s in QUADRATUS}]
    if quadratus:
        values = ", ".join(map(str, quadratus))
        notes.append(f"quadratus lumborum (values {values}) becomes background; --quadratus keeps it")
    gaps = [key for key, value in source.labels.dataset_labels.items() if BY_KEY[key].label != value]
    if gaps:
        notes.append(f"renumbered, since nnU-Net needs consecutive labels: {', '.join(gaps)}")
    if replaced:
        notes.append(f"replaces {', '.join(p.name for p in replaced)}; plan and train again")
    elif elsewhere:
        notes.append(f"nnUNet_preprocessed or nnUNet_results already hold {dataset}; plan and train again")
    return notes


def describe(
    dataset: Path, source: Source, report: Report, folder: Path, checks: Checks, selection: CaseSelection
) -> None:
    """Write all that a data set says of itself.

    Args:
        dataset: The data set's folder, with its images and labels.
        source: The converter.
        report: What it came to.
        folder: What was converted.
        checks: What was demanded of the cases.
        selection: Which of them were wanted.
    """
    provenance = _provenance(source, folder, checks, selection)
    write_json(dataset / "dataset.json", _dataset_json(source, report, provenance))
    write_text(dataset / CASES_FILE, _cases_table(report, source, folder))
    write_json(dataset / REPORT_FILE, {**provenance, **report.as_json()})
    write_text(dataset / TABLE_FILE, report.table())
    if source.folds:
        write_splits(dataset / SPLITS_FILE, _splits(source, report))


def write_report(path: Path, report: Report) -> None:
    """Write a report by itself, also that of a conversion that was refused: as a table if the name ends in .tsv.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        if path.suffix.lower() == ".tsv":
            write_text(path, report.table())
        else:
            write_json(path, {"paraspinal_nnunet_version": __version__, **report.as_json()})
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}){advice_on(error)}") from error


def _provenance(source: Source, folder: Path, checks: Checks, selection: CaseSelection) -> dict[str, Any]:
    labels = source.labels
    return {
        "converter": source.name,
        "paraspinal_nnunet_version": __version__,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "source_folder": MISSING if source.private else folder.resolve().name,
        "label_scheme": labels.name,
        "source_values": {str(value): key for value, key in labels.values.items()},
        "dropped_values": {str(value): key for value, key in labels.dropped.items()},
        "settings": dict(source.settings),
        "allow_empty_label": checks.allow_empty,
        "resample_labels": checks.resample_labels,
        "n4_bias_field_correction": checks.n4,
        "sides": checks.sides,
        "resample_channels": checks.resample_channels,
        "crop_margin_slices": checks.crop_margin,
        "selection": MISSING if source.private else _chosen(selection),
    }


def _chosen(selection: CaseSelection) -> dict[str, Any]:
    table = selection.participants
    return {**asdict(selection), "participants": table.name if table else None}


def _dataset_json(source: Source, report: Report, provenance: dict[str, Any]) -> dict[str, Any]:
    """What nnU-Net reads, and beside it, in keys that nnU-Net ignores, where the data come from."""
    return {
        "channel_names": {str(n): name for n, name in enumerate(source.channels)},
        "labels": {"background": 0, **source.labels.dataset_labels},
        "numTraining": len(report.accepted),
        "file_ending": FILE_ENDING,
        "overwrite_image_reader_writer": READER,
        "name": report.dataset,
        "licence": source.licence or MISSING,
        "reference": source.reference or MISSING,
        "provenance": provenance,
        **({BOX: source.box.to_json()} if source.box else {}),
    }


def _splits(source: Source, report: Report) -> list[Split]:
    fold_of = {outcome.case.case: source.folds[outcome.case.case] for outcome in report.accepted}
    return [
        {
            "train": sorted(case for case, tested in fold_of.items() if tested != fold),
            "val": sorted(case for case, tested in fold_of.items() if tested == fold),
        }
        for fold in sorted(set(source.folds.values()))
    ]


def _cases_table(report: Report, source: Source, folder: Path) -> str:
    lines: list[tuple[str, ...]] = [CASE_COLUMNS]
    for outcome in report.accepted:
        case, person = outcome.case, outcome.case.person
        age, bmi = (MISSING if v is None else f"{v:g}" for v in (person.age, person.bmi))
        paths = [_relative(path, source, folder) for path in (case.image, case.label)]
        lines.append((case.case, case.subject, person.sex or MISSING, age, bmi, *paths))
    return "".join("\t".join(line) + "\n" for line in lines)


def _relative(path: Path, source: Source, folder: Path) -> str:
    if source.private:
        return MISSING
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
