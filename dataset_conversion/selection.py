"""Which of the found cases are wanted, whose they are, and whether the second rater's labels come with them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from paraspinal_nnunet.dataset_conversion.case import Case, Found, Refusal, Source
from paraspinal_nnunet.dataset_conversion.participants import read_participants, with_people
from paraspinal_nnunet.dataset_conversion.patterns.pairing import subject_of
from paraspinal_nnunet.dataset_conversion.second_rater import with_second_labels
from paraspinal_nnunet.errors import InputError


@dataclass(frozen=True)
class CaseSelection:
    """What is wanted of a folder's cases.

    Attributes:
        include: Globs; a case is wanted when its id, its subject or the path of one of its files, relative to the input
            folder, matches one of them. None accepts all.
        exclude: Globs of cases that are left out, also of those included.
        subject_pattern: Regular expression whose first group, found in the case id, is the subject; None leaves the
            source's own subjects.
        participants: A participants.tsv.
        rater2: Which second rater's labels are kept; see `second_rater.with_second_labels`.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    subject_pattern: str | None = None
    participants: Path | None = None
    rater2: bool | str | None = None


def with_channels(source: Source, names: Sequence[str]) -> Source:
    """Name a source's channels; no names leave its own.

    Raises:
        InputError: Not one name per channel.
    """
    if names and len(names) != len(source.channels):
        raise InputError(
            f"--channel: {len(names)} given, but {source.name} has {len(source.channels)} "
            f"({', '.join(source.channels)}); give one name for each"
        )
    return replace(source, channels=tuple(names)) if names else source


def select(found: Found, folder: Path, source: Source, selection: CaseSelection) -> Found:
    """Apply a selection to what a finder found.

    Raises:
        InputError: A pattern that matches nothing or is invalid, or no case is left.
    """
    found = with_second_labels(found, folder, selection.rater2)
    if selection.subject_pattern is not None:
        found = _with_subjects(found, selection.subject_pattern)
    found = _selected(found, folder, selection)
    table = selection.participants
    if table is None and source.participants and (folder / source.participants).exists():
        table = folder / source.participants
    return with_people(found, read_participants(table), table.name) if table else found


def _with_subjects(found: Found, regex: str) -> Found:
    cases = tuple(replace(c, subject=subject_of(c.case, regex)) for c in found.cases)
    split: dict[str, set[str]] = defaultdict(set)
    for before, after in zip(found.cases, cases, strict=True):
        split[before.subject].add(after.subject)
    notes = [
        f"--subject-pattern makes {', '.join(sorted(after))} of what the source has as one subject, {before}: their "
        "scans may come on both sides of a fold"
        for before, after in sorted(split.items())
        if len(after) > 1
    ]
    return replace(found, cases=cases, notes=(*found.notes, *notes))


def _selected(found: Found, folder: Path, selection: CaseSelection) -> Found:
    if not selection.include and not selection.exclude:
        return found
    items: list[Case | Refusal] = [*found.cases, *found.refusals]
    names = {id(item): _names(item, folder) for item in items}
    for glob in selection.include:
        if not any(_matches(known, [glob]) for known in names.values()):
            raise InputError(f"--include '{glob}': matches no case id, subject or file of {folder}")

    def wanted(item: Case | Refusal) -> bool:
        known = names[id(item)]
        return (not selection.include or _matches(known, selection.include)) and not _matches(known, selection.exclude)

    cases = tuple(filter(wanted, found.cases))
    refusals = tuple(filter(wanted, found.refusals))
    if not cases and not refusals:
        raise InputError(f"{folder}: --include and --exclude leave none of {len(found.cases)} cases")
    idle = [g for g in selection.exclude if not any(_matches(known, [g]) for known in names.values())]
    gone = {c.case for c in found.cases} - {c.case for c in cases}
    kept = [note for note in found.notes if note.partition(": ")[0] not in gone]
    notes = [f"--exclude '{glob}' matches nothing" for glob in idle]
    if left := len(found.cases) - len(cases) + len(found.refusals) - len(refusals):
        notes.append(f"{left} left out by --include and --exclude")
    return replace(found, cases=cases, refusals=refusals, notes=(*kept, *notes))


def _names(item: Case | Refusal, folder: Path) -> list[str]:
    if isinstance(item, Refusal):
        files: Iterable[Path | None] = item.files
        names = [item.case]
    else:
        files = (*item.images, item.label, item.second_label)
        names = [item.case, item.subject]
    return [*names, *(f.relative_to(folder).as_posix() for f in files if f is not None and f.is_relative_to(folder))]


def _matches(names: Sequence[str], globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs for name in names)
