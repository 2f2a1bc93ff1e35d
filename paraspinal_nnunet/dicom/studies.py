"""Whose the series of a folder are: studies of one patient each, with the damaged files that may belong to them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path

from paraspinal_nnunet.dicom.find import DamagedFile, Study
from paraspinal_nnunet.dicom.records import Kind, Series
from paraspinal_nnunet.errors import InputError


def part_studies(folder: Study) -> tuple[list[Study], list[DamagedFile]]:
    """The studies of a folder, and the damaged files that belong to none of them.

    A study is what shares a StudyInstanceUID. Series without one are parted by their folder and PatientID, and where
    that is missing too, each stands for itself: nobody is counted as another.

    Args:
        folder: All that `find.scan_study` found.
    """
    groups: dict[tuple[str, ...], list[Series]] = defaultdict(list)
    for series in folder.series:
        groups[_study_key(series)].append(series)
    studies = list(groups.values())
    places = {n: {file.parent for s in series for file in s.files} for n, series in enumerate(studies)}
    damaged: dict[int, list[DamagedFile]] = defaultdict(list)
    alone = []
    for file in folder.damaged:
        touched = _touched(file.path.parent, places, folder.root)
        for n in touched:
            damaged[n].append(file)
        if not touched:
            alone.append(file)
    parted = [
        replace(folder, series=tuple(series), damaged=tuple(damaged[n]), other_files=0, copies=0)
        for n, series in enumerate(studies)
    ]
    return parted, alone


def check_one_patient(study: Study) -> None:
    """Refuse a study whose images show several patients.

    Raises:
        InputError: Such a study, or a series of two patients; files of both are named.
    """
    images = study.of_kind(Kind.IMAGE)
    of_series: dict[str, dict[tuple[str, ...], list[Series]]] = defaultdict(lambda: defaultdict(list))
    for series in images:
        of_series[series.uid][series.header.patient.identity].append(series)
    for people in of_series.values():
        if len(people) > 1:
            raise InputError(
                f"series {next(iter(people.values()))[0].number}: the headers name {len(people)} patients under one "
                f"SeriesInstanceUID ({_files_of_each(people.values())}); give each a folder and series of its own"
            )
    known = {s.header.patient.patient_id for s in images}
    born = {s.header.patient.birth_date for s in images} - {""}
    if len(known) > 1 or len(born) > 1:
        firsts = {(s.header.patient.patient_id, s.header.patient.birth_date): [s] for s in images}
        count = max(len(known), len(born))
        raise InputError(
            f"a study of {count} patients ({_files_of_each(firsts.values())}); give each a folder of its own"
        )


def check_one_study(study: Study) -> None:
    """Refuse the images of a folder that are of several studies, or of people who cannot be told apart.

    Without StudyInstanceUID a PatientID keeps the series of a folder together.

    Raises:
        InputError: Several studies; files of each are named.
    """
    images = study.of_kind(Kind.IMAGE)
    if len({(s.header.patient.study_uid, s.header.patient.patient_id) for s in images}) == 1 and (
        images[0].header.patient.study_uid or images[0].header.patient.patient_id
    ):
        return
    parted = part_studies(replace(study, series=images))[0]
    if len(parted) > 1:
        nameless = " that have no StudyInstanceUID" if not all(s.header.patient.study_uid for s in images) else ""
        raise InputError(
            f"holds {len(parted)} studies{nameless} ({_files_of_each([s.series for s in parted])}); "
            "give each a folder of its own"
        )


def check_series_apart(studies: Sequence[Study], names: Sequence[str] = ()) -> dict[int, str]:
    """Series that occur in several of the studies: place of the study -> why it is refused, naming files of each.

    One SeriesInstanceUID under two patients or studies means headers that were changed; it says nothing of whose the
    slices are.

    Args:
        studies: The studies.
        names: The folder or archive of each, where their files are called by their places in these.
    """
    holders: dict[str, dict[int, Series]] = defaultdict(dict)
    for n, study in enumerate(studies):
        for series in study.of_kind(Kind.IMAGE):
            holders[series.uid].setdefault(n, series)
    faults: dict[int, str] = {}
    for found in holders.values():
        if len(found) > 1:
            files = _files_of_each([[s] for s in found.values()], [f"{names[n]}/" for n in found] if names else ())
            for n, series in found.items():
                faults[n] = (
                    f"series {series.number}: its SeriesInstanceUID stands in {len(found)} studies or folders "
                    f"({files}); export each anew, or bring the series' files together"
                )
    return faults


def _files_of_each(groups: Iterable[Sequence[Series]], places: Sequence[str] = ()) -> str:
    texts = []
    for group, place in zip(groups, places or repeat(""), strict=False):
        files = sorted({f.header.shown for s in group for f in s.frames})
        texts.append(place + files[0] + (f" and {len(files) - 1} more" if len(files) > 1 else ""))
    return "; ".join(texts)


def _study_key(series: Series) -> tuple[str, ...]:
    patient = series.header.patient
    if patient.study_uid:
        return (patient.study_uid,)
    return "", str(series.files[0].parent), patient.patient_id or series.uid


def _touched(folder: Path, places: Mapping[int, set[Path]], root: Path) -> list[int]:
    """Studies that a file in a folder may belong to: those with files beside it, else the nearest around it.

    Around it is the only study below a folder above it, or, in the input folder itself, one that is spread over several
    of its sub-folders.
    """
    beside = [n for n, found in places.items() if folder in found]
    if beside:
        return beside
    while True:
        below = {
            n: {p.relative_to(folder).parts[:1] for p in found if p.is_relative_to(folder)}
            for n, found in places.items()
            if any(p.is_relative_to(folder) for p in found)
        }
        if folder != root and len(below) == 1:
            return list(below)
        spread = [n for n, children in below.items() if len(children) > 1 or () in children]
        if spread or folder == root or folder == folder.parent:
            return spread
        folder = folder.parent
