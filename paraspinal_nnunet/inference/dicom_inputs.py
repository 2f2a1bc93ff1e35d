"""DICOM studies as scans: one series of each, chosen by `dicom.selection`, under a name that hides the patient."""

import hashlib
import logging
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path

from paraspinal_nnunet.dicom import (
    Kind,
    Series,
    SeriesSelection,
    Study,
    opened_source,
    read_stack,
    scan_study,
    select_series,
)
from paraspinal_nnunet.dicom.deidentify import age_of, without_identifiers
from paraspinal_nnunet.dicom.records import Patient
from paraspinal_nnunet.dicom.source import files_below
from paraspinal_nnunet.errors import InputError, ParaspinalError, one_line
from paraspinal_nnunet.image_io.nifti import Volume
from paraspinal_nnunet.inference.inputs import nothing_in
from paraspinal_nnunet.inference.scans import MASK_ENDING, FoundScans, InputChoice, Refused, Scan, unique
from paraspinal_nnunet.utils.progress import progress

NAME_DIGITS = 10
"""Hexadecimal digits of a pseudonym: two of a million series share one with a probability of 0.4."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyFiles:
    """The chosen series of a study, and how to get at its files.

    Attributes:
        series: The series; of an archive with paths within it.
        archive: The zip archive that holds it; None for a folder.
    """

    series: Series
    archive: Path | None = None

    @property
    def patient(self) -> Patient:
        """Who was scanned."""
        return self.series.header.patient

    @property
    def sources(self) -> tuple[Path, ...]:
        """What is read of it: the series' files, or the archive."""
        return self.series.files if self.archive is None else (self.archive,)

    @contextmanager
    def opened(self) -> Iterator[Series]:
        """The series with files that exist meanwhile; errors inside lose what identifies the patient."""
        try:
            if self.archive is None:
                yield self.series
            else:
                with opened_source(self.archive) as folder:
                    yield self.series.moved(folder)
        except Exception as error:
            kind = type(error) if isinstance(error, ParaspinalError) else InputError
            raise kind(self._without_places(without_identifiers(one_line(error), [self.patient]))) from error

    def _without_places(self, text: str) -> str:
        """Folders and archives are often named after their patients."""
        for folder in {str(file.parent) for file in self.series.files} - {"", "."}:
            text = text.replace(f"{folder}/", "")
        return text.replace(str(self.archive), "the archive") if self.archive else text


def find_dicom(path: Path, choice: InputChoice) -> FoundScans:
    """One scan per study.

    A study is what shares a StudyInstanceUID, however its files are spread over folders; a zip archive is looked at by
    itself. Whatever cannot be read or selected is refused, and the others go on.

    Args:
        path: A file, a zip archive, or a folder with files of one or several studies, or zip archives of them.
        choice: Which series, and what cases are called.

    Raises:
        InputError: Not one study.
        SetupError: The packages for DICOM are missing.
    """
    scans: list[Scan] = []
    refused: list[Refused] = []
    notes: list[str] = []
    private = not choice.keep_identifiers
    for source in _sources(path):
        if isinstance(source, Refused):
            refused.append(replace(source, private=private))
            continue
        try:
            scan, selection = _selected(source, choice, path)
        except ParaspinalError as error:
            patients = [s.header.patient for s in source.series]
            name = _folder_name(source, path) if choice.keep_identifiers else _pseudonym(source.series[0].uid)
            refused.append(Refused(name, without_identifiers(str(error), patients), private))
            continue
        scans.append(scan)
        notes += _notes(scan, selection, explain=choice.explain)
    if not scans and not refused:
        raise nothing_in(path)
    scans.sort(key=lambda scan: scan.name)
    count = len(scans) + len(refused)
    line = f"DICOM, {count} {'study' if count == 1 else 'studies'}"
    return FoundScans("DICOM", line, unique(scans, path), tuple(refused), tuple(notes))


@dataclass(frozen=True)
class _Source:
    """All series of one study, and the zip archive where they lie in one."""

    series: tuple[Series, ...]
    archive: Path | None


def _sources(path: Path) -> Iterator[_Source | Refused]:
    """The studies of an input, or what is wrong with a part of it."""
    archives = [path] if path.is_file() and zipfile.is_zipfile(path) else []
    if path.is_dir():
        archives = [file for file in files_below(path) if file.suffix.lower() == ".zip"]
    if path not in archives:
        series, refused = _unpacked(path)
        yield from refused
        yield from (_Source(study, None) for study in _by_study(series))
    for archive in progress(archives, what="reading studies", unit="study"):
        try:
            with opened_source(archive) as folder:
                studies = _by_study(scan_study(folder).series)
        except InputError as error:
            yield Refused(archive.name, f"{archive}: {str(error).partition(': ')[2] or error}")
            continue
        yield from (_Source(tuple(s.moved(Path()) for s in study), archive) for study in studies)


def _unpacked(path: Path) -> tuple[list[Series], list[Refused]]:
    """Series of plain files; where a file is damaged, those of each sub-folder, so that one spoils no other."""
    try:
        return list(scan_study(path).series), []
    except InputError as error:
        if "holds no DICOM file" in str(error):
            return [], []
        parts = sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".") if path.is_dir() else []
        if not parts:
            return [], [Refused(path.name, str(error))]
        found = [_unpacked(part) for part in parts]
        return [s for series, _ in found for s in series], [r for _, refused in found for r in refused]


def _by_study(series: Sequence[Series]) -> list[tuple[Series, ...]]:
    """Series with images, by study."""
    found: dict[str, list[Series]] = defaultdict(list)
    for each in series:
        found[each.header.patient.study_uid].append(each)
    return [tuple(group) for group in found.values() if any(s.kind is Kind.IMAGE for s in group)]


def _selected(source: _Source, choice: InputChoice, path: Path) -> tuple[Scan, SeriesSelection]:
    people = {s.header.patient.patient_id for s in source.series if s.kind is Kind.IMAGE}
    if len(people) > 1:
        raise InputError(f"a study of {len(people)} patients; give each a folder of its own")
    selection = select_series(Study(source.series, 0), series=choice.series)
    chosen = selection.chosen
    name = _folder_name(source, path) if choice.keep_identifiers else _pseudonym(f"{chosen.uid}{chosen.part}")
    study = StudyFiles(chosen, source.archive)

    def read() -> Volume:
        with study.opened() as series:
            return read_stack(series, name=f"{name}: series {series.key}").volume

    what = f"DICOM series {chosen.key}"
    return Scan(name, f"{name}{MASK_ENDING}", what, read, study, _facts(chosen.header.patient)), selection


def _pseudonym(uid: str) -> str:
    """The same for the same series whatever lies beside it, so that a later batch goes on with the same names."""
    return f"case-{hashlib.sha256(uid.encode()).hexdigest()[:NAME_DIGITS]}"


def _folder_name(source: _Source, path: Path) -> str:
    """The archive's name, or the folders from the input to all files of the study."""
    if source.archive is not None:
        inside = source.archive.relative_to(path).with_suffix("") if path.is_dir() else Path(source.archive.stem)
    else:
        files = [str(file.parent) for series in source.series for file in series.files]
        inside = Path(commonpath(files)).relative_to(path if path.is_dir() else path.parent)
    parts = inside.parts or (path.stem if path.is_file() else path.resolve().name,)
    return re.sub(r"[^A-Za-z0-9.-]+", "_", "_".join(parts)).strip("._") or "study"


def _facts(patient: Patient) -> dict[str, str]:
    age = age_of(patient)
    facts = {
        "Name": patient.name.replace("^", " ").strip(),
        "Patient ID": patient.patient_id,
        "Born": _date(patient.birth_date),
        "Sex": patient.sex,
        "Age": "" if age is None else f"{age:.0f} years",
        "Scanned": _date(patient.study_date),
    }
    return {name: text for name, text in facts.items() if text}


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdecimal() else text


def _notes(scan: Scan, selection: SeriesSelection, *, explain: bool) -> Sequence[str]:
    if explain:
        return [f"{scan.name}:", *selection.text().splitlines()]
    others = sum(not line.accepted for line in selection.lines)
    reason = next(line.reason for line in selection.lines if line.accepted)
    return [f"{scan.name}: series {selection.chosen.key} chosen ({reason}), {others} rejected"]
