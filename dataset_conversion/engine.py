"""The engine of all converters: find, check and write every case, then name the data set; or refuse it whole."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import BY_KEY, QUADRATUS
from paraspinal_nnunet.dataset_conversion.cases import Case, Checks, Found, Outcome, Source
from paraspinal_nnunet.dataset_conversion.report import Report
from paraspinal_nnunet.dataset_conversion.selection import Selection, select
from paraspinal_nnunet.dataset_conversion.take import FILE_ENDING, IMAGES, LABELS, SECOND_LABELS, take_case
from paraspinal_nnunet.datasets import (
    CASE_COLUMNS,
    CASES_FILE,
    MISSING,
    FolderName,
    dataset_name,
    datasets_with_number,
    nnunet_folder,
)
from paraspinal_nnunet.errors import DatasetError, InputError, SetupError
from paraspinal_nnunet.files import atomic_folder, write_json, write_text

REPORT_FILE = "conversion_report.json"

READER = "NibabelIOWithReorient"
"""nnU-Net's other readers hand the stored voxel order to the network, so that left and right depend on the file."""

BAR_DELAY_S = 2.0


class RefusedError(DatasetError):
    """Cases were refused and no data set was written.

    Attributes:
        report: What would have been taken, and what was refused.
    """

    def __init__(self, report: Report) -> None:
        refusals = report.refusals
        total = len(refusals) + len(report.taken)
        super().__init__(
            f"{refusals[0].reason}; nothing was written"
            if len(refusals) == 1
            else f"{len(refusals)} of {total} cases refused; {report.dataset} was not written"
        )
        self.report = report


def convert(
    source: Source,
    folder: Path,
    *,
    number: int,
    name: str,
    raw: Path,
    checks: Checks | None = None,
    selection: Selection | None = None,
    workers: int = 1,
    overwrite: bool = False,
) -> Report:
    """Convert a folder to an nnU-Net data set.

    Images keep their voxels and grid; labels take the consecutive values that dataset.json lists. All cases are
    checked; the data set appears under its final name only when every one of them is taken.

    Args:
        source: The declared converter.
        folder: What to convert.
        number: Data set number, 1 to 999.
        name: Data set name.
        raw: nnU-Net's raw folder.
        checks: What is demanded of every case; everything when None.
        selection: Which cases are taken, and whose they are; all when None.
        workers: Number of processes.
        overwrite: Replace data sets of that number.

    Returns:
        The report, also written as conversion_report.json.

    Raises:
        DatasetError: Number taken or out of range, or the data set cannot be written.
        RefusedError: One or more cases were refused.
        InputError: Folder missing or without cases.
    """
    checks = checks or Checks()
    target = raw / dataset_name(number, name)
    replaced = _free_number(target, number, folder, overwrite)
    found = select(source.find_cases(folder), folder, source, selection or Selection())
    try:
        with atomic_folder(target, replaces=replaced) as unfinished:
            outcomes = _take_all(found, source, checks, workers, unfinished)
            notes = (*found.notes, *_notes(source, target.name, replaced, _elsewhere(number)))
            report = Report(target.name, outcomes, found.refusals, notes, found.other_files)
            if report.refusals:
                raise RefusedError(report)
            _describe(unfinished, source, report, folder, checks)
    except OSError as error:
        raise DatasetError(f"{target}: cannot be written ({error.strerror or error})") from error
    return report


def _free_number(target: Path, number: int, folder: Path, overwrite: bool) -> list[Path]:
    """The data sets that give way to `target`."""
    taken = datasets_with_number(target.parent, number)
    if taken and not overwrite:
        names = ", ".join(p.name for p in taken)
        raise DatasetError(f"data set number {number} is taken by {names}; choose another -d or give --overwrite")
    inside = [p for p in taken if folder.resolve().is_relative_to(p.resolve())]
    if inside:
        raise InputError(f"{folder}: lies in {inside[0].name}, which --overwrite would remove; choose another -d")
    for other in _elsewhere(number):
        if other.name != target.name:
            raise DatasetError(f"data set number {number} is taken by {other}; remove that folder or choose another -d")
    return taken


def _elsewhere(number: int) -> list[Path]:
    """Folders of that number in nnU-Net's other two folders, where these are set: nnU-Net demands one name in all."""
    others: tuple[FolderName, ...] = ("preprocessed", "results")
    found: list[Path] = []
    for name in others:
        try:
            found += datasets_with_number(nnunet_folder(name), number)
        except SetupError:
            continue
    return found


def _take_all(found: Found, source: Source, checks: Checks, workers: int, folder: Path) -> tuple[Outcome, ...]:
    second = [SECOND_LABELS] if any(c.second_label for c in found.cases) else []
    for part in (IMAGES, LABELS, *second):
        (folder / part).mkdir()
    take = partial(take_case, source=source, checks=checks, folder=folder)
    bar = partial(tqdm, total=len(found.cases), desc="converting", unit="case", delay=BAR_DELAY_S)
    return _refuse_repeated(_mapped(take, found.cases, min(workers, len(found.cases)), bar))


def _mapped(
    take: Callable[[Case], Outcome], cases: Sequence[Case], workers: int, bar: Callable[..., Iterable[Outcome]]
) -> list[Outcome]:
    if workers < 2:
        return list(bar(map(take, cases)))
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            return list(bar(pool.map(take, cases)))
    except BrokenProcessPool as error:
        raise DatasetError("a worker process died, probably for want of memory; give fewer with -np") from error


def _refuse_repeated(outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    first: dict[str, Case] = {}
    checked = []
    for outcome in outcomes:
        same = first.setdefault(outcome.image_hash, outcome.case) if outcome.reason is None else outcome.case
        if same is not outcome.case:
            reason = f"{outcome.case.image}: has the same voxels as {same.image}; keep one of them"
            outcome = replace(outcome, reason=reason)
        checked.append(outcome)
    return tuple(checked)


def _notes(source: Source, dataset: str, replaced: Sequence[Path], elsewhere: Sequence[Path]) -> list[str]:
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


def _describe(dataset: Path, source: Source, report: Report, folder: Path, checks: Checks) -> None:
    provenance = _provenance(source, folder, checks)
    write_json(dataset / "dataset.json", _dataset_json(source, report, provenance))
    write_text(dataset / CASES_FILE, _cases_table(report, source, folder))
    write_json(dataset / REPORT_FILE, {**provenance, **report.as_json()})


def _provenance(source: Source, folder: Path, checks: Checks) -> dict[str, Any]:
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
    }


def _dataset_json(source: Source, report: Report, provenance: dict[str, Any]) -> dict[str, Any]:
    """What nnU-Net reads, and beside it, in keys that nnU-Net passes over, where the data come from."""
    return {
        "channel_names": {str(n): name for n, name in enumerate(source.channels)},
        "labels": {"background": 0, **source.labels.dataset_labels},
        "numTraining": len(report.taken),
        "file_ending": FILE_ENDING,
        "overwrite_image_reader_writer": READER,
        "name": report.dataset,
        "licence": source.licence or MISSING,
        "reference": source.reference or MISSING,
        "provenance": provenance,
    }


def _cases_table(report: Report, source: Source, folder: Path) -> str:
    lines: list[tuple[str, ...]] = [CASE_COLUMNS]
    for outcome in report.taken:
        case, person = outcome.case, outcome.case.person
        age, bmi = (MISSING if v is None else f"{v:g}" for v in (person.age, person.bmi))
        paths = [_relative(path, source, folder) for path in (case.image, case.label)]
        lines.append((case.case, case.subject, person.sex or MISSING, age, bmi, *paths))
    return "".join("\t".join(line) + "\n" for line in lines)


def _relative(path: Path, source: Source, folder: Path) -> str:
    if source.private:
        return MISSING
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
