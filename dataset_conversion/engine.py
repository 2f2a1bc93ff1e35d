"""The engine of all converters: find, check and write every case, then name the data set; or refuse it whole."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from paraspinal_nnunet.dataset_conversion.case import Case, CaseOutcome, Checks, Found, Source
from paraspinal_nnunet.dataset_conversion.convert_case import IMAGES, LABELS, convert_case
from paraspinal_nnunet.dataset_conversion.describe import describe, notes_on
from paraspinal_nnunet.dataset_conversion.lock import number_lock
from paraspinal_nnunet.dataset_conversion.passed_over import passed_over
from paraspinal_nnunet.dataset_conversion.report import Mode, Report
from paraspinal_nnunet.dataset_conversion.resume import StagingFolder, Task, staging_folder, tasks_of
from paraspinal_nnunet.dataset_conversion.selection import CaseSelection, select
from paraspinal_nnunet.dataset_conversion.target import (
    cannot_write,
    check_place,
    check_sources_stay,
    elsewhere,
    free_number,
)
from paraspinal_nnunet.errors import DatasetError, InputError, WorkerDiedError
from paraspinal_nnunet.nnunet.datasets import SECOND_LABELS, dataset_name
from paraspinal_nnunet.utils.files import replace_folders
from paraspinal_nnunet.utils.text import pluralize
from paraspinal_nnunet.utils.workers import each
from paraspinal_nnunet.utils.workplace import sweep

PREVIEWS = "previews"


class RefusedError(DatasetError):
    """Cases were refused and no data set was written.

    Attributes:
        report: What would have been accepted, and what was refused.
    """

    def __init__(self, report: Report) -> None:
        refusals = report.refusals
        total = len(refusals) + len(report.accepted)
        super().__init__(
            f"{refusals[0].reason}; nothing was written"
            if len(refusals) == 1
            else f"{len(refusals)} of {pluralize(total, 'case')} refused; {report.dataset} was not written"
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
    selection: CaseSelection | None = None,
    workers: int = 1,
    overwrite: bool = False,
    mode: Mode = "whole",
    draw_previews: Callable[[Path, Path], object] | None = None,
) -> Report:
    """Convert a folder to an nnU-Net data set.

    Images keep their voxels and grid; labels take the consecutive values that dataset.json lists. All cases are
    checked; the data set appears under its final name only when all of them are accepted (or, by `mode`, all that can
    be). Finished cases of a conversion that was interrupted, refused or stopped by a full disk wait in
    ``.Dataset<number>.unfinished``; the next conversion into that number takes over those whose settings and source
    files are still the same, and removes the folder when it succeeds.

    Args:
        source: The declared converter.
        folder: What to convert; never written to.
        number: Data set number, 1 to 999.
        name: Data set name.
        raw: nnU-Net's raw folder.
        checks: What is demanded of every case; everything when None.
        selection: Which cases are wanted, and whose they are; all when None.
        workers: Number of processes.
        overwrite: Replace data sets of that number.
        mode: What refusals mean.
        draw_previews: Called with the data set and the folder in which it draws every case's labels over its image.

    Returns:
        The report, also written as conversion_report.json and conversion_report.tsv.

    Raises:
        DatasetError: Number taken, out of range or being converted into, or the data set cannot be written.
        RefusedError: One or more cases were refused.
        InputError: Folder missing or without cases.
    """
    checks, selection = checks or Checks(), selection or CaseSelection()
    target, staging = raw / dataset_name(number, name), staging_folder(raw, number)
    check_place(raw, folder)
    if mode == "dry run":
        replaced = free_number(target, number, folder, overwrite=overwrite)
        found = _found(source, folder, selection, replaced)
        outcomes = _convert_all(tasks_of(found.cases, source, checks), source, checks, workers, None)
        return _refuse_any(_report(source, found, outcomes, target, replaced, mode))
    with _writing(target, number, staging):
        sweep(raw)
        replaced = free_number(target, number, folder, overwrite=overwrite)
        found = _found(source, folder, selection, replaced)
        tasks = tasks_of(found.cases, source, checks)
        second = [SECOND_LABELS] if any(c.second_label for c in found.cases) else []
        done = staging.prepare(tasks, [IMAGES, LABELS, *second])
        new = _convert_all([t for t in tasks if t.case.case not in done], source, checks, workers, staging)
        by_id = {**done, **{o.case.case: o for o in new}}
        outcomes = [by_id[t.case.case] for t in tasks]
        report = replace(_report(source, found, outcomes, target, replaced, mode), taken_over=len(done))
        _refuse_any(replace(report, kept=staging.folder.name if report.accepted else ""))
        for outcome in report.outcomes:
            if outcome.reason is not None:
                staging.discard(outcome.case)
        describe(staging.dataset, source, report, folder, checks, selection)
        if draw_previews:
            draw_previews(staging.dataset, staging.dataset / PREVIEWS)
        replace_folders(staging.dataset, target, replaces=replaced)
        staging.remove()
    return report


@contextmanager
def _writing(target: Path, number: int, staging: StagingFolder) -> Iterator[None]:
    """Hold the number; afterwards, keep the unfinished data set only for the sake of finished cases."""
    try:
        with number_lock(target.parent, number):
            try:
                yield
            finally:
                if not staging.finished:
                    staging.remove()
    except OSError as error:
        raise cannot_write(target, error, kept=staging.finished) from error


def _found(source: Source, folder: Path, selection: CaseSelection, replaced: Sequence[Path]) -> Found:
    try:
        everything = source.find_cases(folder)
        found = select(everything, folder, source, selection)
        check_sources_stay(found.cases, replaced)
        tables = [folder / source.participants, *([selection.participants] if selection.participants else [])]
        found = replace(found, passed_over=passed_over(folder, (everything, found), tables))
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be read ({error.strerror or error})") from error
    return found


def _convert_all(
    tasks: Sequence[Task], source: Source, checks: Checks, workers: int, staging: StagingFolder | None
) -> list[CaseOutcome]:
    work = partial(convert_case, source=source, checks=checks, staging=staging)
    try:
        return list(each(work, tasks, workers=workers, what="converting", name=lambda task: task.case.case))
    except WorkerDiedError as error:
        raise DatasetError(
            f"a worker process died while converting {error.item} (it {error.how}); if memory was short, give fewer "
            "with -np, or leave the case out with --exclude"
        ) from None


def _report(
    source: Source, found: Found, outcomes: Sequence[CaseOutcome], target: Path, replaced: Sequence[Path], mode: Mode
) -> Report:
    notes = (*found.notes, *notes_on(source, target.name, replaced, elsewhere(int(target.name[7:10]))))
    checked = _refuse_repeated(outcomes)
    return Report(
        target.name,
        checked,
        found.refusals,
        notes,
        found.other_files,
        mode,
        private=source.private,
        passed_over=found.passed_over,
    )


def _refuse_any(report: Report) -> Report:
    if report.refusals and (report.mode != "without refused" or not report.accepted):
        raise RefusedError(report)
    return report


def _refuse_repeated(outcomes: Sequence[CaseOutcome]) -> tuple[CaseOutcome, ...]:
    first: dict[str, Case] = {}
    checked = []
    for outcome in outcomes:
        same = first.setdefault(outcome.image_hash, outcome.case) if outcome.reason is None else outcome.case
        if same is not outcome.case:
            reason = f"{outcome.case.image}: has the same voxels as {same.image}; keep one of them"
            outcome = replace(outcome, reason=reason)
        checked.append(outcome)
    return tuple(checked)
