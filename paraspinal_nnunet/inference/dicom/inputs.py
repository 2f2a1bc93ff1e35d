"""DICOM studies as scans: one series of each, chosen by `dicom.selection`, under a name that hides the patient."""

import hashlib
import logging
import re
import zipfile
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
from paraspinal_nnunet.dicom.studies import check_one_patient, check_series_apart, part_studies
from paraspinal_nnunet.errors import InputError, ParaspinalError, reason_of
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.inputs import nothing_in
from paraspinal_nnunet.inference.scans import MASK_ENDING, FoundScans, InputChoice, Refused, Scan, unique
from paraspinal_nnunet.utils.progress import progress
from paraspinal_nnunet.utils.text import pluralize

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
        with self.errors_without_patient():
            if self.archive is None:
                yield self.series
            else:
                with opened_source(self.archive) as folder:
                    yield self.series.moved(folder)

    @contextmanager
    def errors_without_patient(self) -> Iterator[None]:
        """Errors inside lose what identifies the patient."""
        try:
            yield
        except Exception as error:
            kind = type(error) if isinstance(error, ParaspinalError) else InputError
            raise kind(self._without_places(without_identifiers(reason_of(error), [self.patient]))) from error

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
    notes: list[str] = []
    private = not choice.keep_identifiers
    found = list(_sources(path))
    refused = [replace(part, private=private) for part in found if isinstance(part, Refused)]
    notes += [part for part in found if isinstance(part, str)]
    sources = [part for part in found if isinstance(part, _Source)]
    names = _folder_names(sources, path) if choice.keep_identifiers else [None] * len(sources)
    spread = check_series_apart([source.study for source in sources])
    for n, (source, folder_name) in enumerate(zip(sources, names, strict=True)):
        try:
            if n in spread:
                raise InputError(spread[n])
            scan, selection = _selected(source, choice, folder_name)
        except ParaspinalError as error:
            patients = [s.header.patient for s in source.study.series]
            name = folder_name or _pseudonym(source.study.series[0].uid)
            refused.append(Refused(name, without_identifiers(str(error), patients), private))
            continue
        scans.append(scan)
        notes += _notes(scan, selection, explain=choice.explain)
    if not scans and not refused:
        raise nothing_in(path)
    scans.sort(key=lambda scan: scan.name)
    count = len(scans) + len(refused)
    line = f"DICOM, {pluralize(count, 'study', 'studies')}"
    return FoundScans("DICOM", line, unique(scans, path), tuple(refused), tuple(notes))


@dataclass(frozen=True)
class _Source:
    """One study, and the zip archive where it lies in one."""

    study: Study
    archive: Path | None


def _sources(path: Path) -> Iterator[_Source | Refused | str]:
    """The studies of an input, what is wrong with a part of it, or a note."""
    archives = [path] if path.is_file() and zipfile.is_zipfile(path) else []
    if path.is_dir():
        archives = [file for file in files_below(path) if file.suffix.lower() == ".zip"]
    if path not in archives:
        yield from _studies_in(path, None)
    for archive in progress(archives, what="reading studies", unit="study"):
        try:
            with opened_source(archive) as folder:
                yield from list(_studies_in(folder, archive))
        except InputError as error:
            yield Refused(archive.name, f"{archive}: {str(error).removeprefix(f'{archive}: ')}")


def _studies_in(folder: Path, archive: Path | None) -> Iterator[_Source | Refused | str]:
    """The studies of one folder, given or unpacked."""
    try:
        found = scan_study(folder, name=str(archive or folder))
    except InputError as error:
        if archive is not None or "holds no DICOM file" not in str(error):
            yield Refused((archive or folder).name, str(error))
        return
    if found.copies:
        yield f"{pluralize(found.copies, 'file')} left out, each the same byte for byte as another"
    studies, alone = part_studies(found)
    yield from (Refused(file.path.name, file.reason) for file in alone)
    for study in studies:
        if study.of_kind(Kind.IMAGE):
            within = study if archive is None else replace(study, series=tuple(s.moved(Path()) for s in study.series))
            yield _Source(within, archive)
        else:
            yield from (Refused(file.path.name, file.reason) for file in study.damaged)


def _selected(source: _Source, choice: InputChoice, folder_name: str | None) -> tuple[Scan, SeriesSelection]:
    source.study.check_sound()
    check_one_patient(source.study)
    selection = select_series(source.study, series=choice.series)
    chosen = selection.chosen
    name = folder_name or _pseudonym(f"{chosen.uid}{chosen.part}")
    study = StudyFiles(chosen, source.archive)

    def read() -> Volume:
        with study.opened() as series:
            return read_stack(series, name=f"{name}: series {series.key}").volume

    what = f"DICOM series {chosen.key}"
    return Scan(name, f"{name}{MASK_ENDING}", what, read, study, _facts(chosen.header.patient)), selection


def _pseudonym(uid: str) -> str:
    """The same for the same series whatever lies beside it, so that a later batch goes on with the same names."""
    return f"case-{hashlib.sha256(uid.encode()).hexdigest()[:NAME_DIGITS]}"


def _folder_names(sources: Sequence[_Source], path: Path) -> list[str]:
    """Names by folders; studies that share a folder are told apart by the beginning of their pseudonyms."""
    names = [_folder_name(source, path) for source in sources]
    return [
        name if names.count(name) == 1 else f"{name}_{_pseudonym(source.study.series[0].uid)[-NAME_DIGITS:]}"
        for name, source in zip(names, sources, strict=True)
    ]


def _folder_name(source: _Source, path: Path) -> str:
    """The archive's name, or the folders from the input to all scans of the study, whatever was derived of them."""
    if source.archive is not None:
        inside = source.archive.relative_to(path).with_suffix("") if path.is_dir() else Path(source.archive.stem)
    else:
        images = source.study.of_kind(Kind.IMAGE)
        scans = [s for s in images if "Secondary Capture" not in s.header.sop_class] or images
        inside = Path(commonpath(file.parent for series in scans for file in series.files))
        inside = inside.relative_to(path if path.is_dir() else path.parent)
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
    return [f"{scan.name}: series {selection.chosen.key} accepted ({reason}), {others} rejected"]
