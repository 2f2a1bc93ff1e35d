"""The studies of a folder: which series of each is the image, where its labels are, and what its case is called."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from paraspinal_nnunet.dataset_conversion.case import Case, Demographics, Found, Refusal
from paraspinal_nnunet.dataset_conversion.patterns.pairing import CASE_ID, Pattern, walk
from paraspinal_nnunet.dicom import Kind, Series, SeriesSelection, Study, opened_source, scan_study, select_series
from paraspinal_nnunet.dicom.deidentify import (
    age_of,
    bmi_of,
    identity_of,
    order_of,
    pseudonyms,
    read_ids,
    sex_of,
    without_identifiers,
)
from paraspinal_nnunet.dicom.headers import read_file
from paraspinal_nnunet.dicom.records import Patient
from paraspinal_nnunet.dicom.selection import pick
from paraspinal_nnunet.dicom.studies import check_one_patient, check_one_study, check_series_apart
from paraspinal_nnunet.errors import InputError, ParaspinalError
from paraspinal_nnunet.utils.progress import progress
from paraspinal_nnunet.utils.text import pluralize


@dataclass(frozen=True)
class DicomCase(Case):
    """A study with its chosen series.

    Attributes:
        series: The image.
        segmentations: DICOM SEG by `label` and `second_label`; none where the label is a file of its own.
        archive: The zip archive that holds the study; None for a folder.
    """

    series: Series | None = field(default=None, repr=False)
    segmentations: Mapping[Path, Series] = field(default_factory=dict, repr=False)
    archive: Path | None = None


@dataclass(frozen=True)
class Choices:
    """What a user chose about studies.

    Attributes:
        series: Which series to read; None for the rules of `dicom.selection_rules`.
        segmentation: Which DICOM SEG; None for the only one.
        second_segmentation: Which DICOM SEG is the second rater's.
        label_pattern: Where label maps lie, relative to the input folder; None for DICOM SEG.
        ids: Table of PatientID and subject; None for pseudonyms.
        keep_identifiers: Folder names as case ids, PatientIDs as subjects.
        explain: Print why each series was chosen or rejected.
    """

    series: str | None = None
    segmentation: str | None = None
    second_segmentation: str | None = None
    label_pattern: Pattern | None = None
    ids: Path | None = None
    keep_identifiers: bool = False
    explain: bool = False


def find_studies(folder: Path, *, choices: Choices) -> Found:
    """The studies of a folder, each with its chosen series and its labels.

    Args:
        folder: Holds one folder or zip archive per study.
        choices: What was chosen about studies.

    Raises:
        InputError: No such folder, no study in it, or patients whom the table of ids lacks.
    """
    studies, refusals = _studies(folder, choices)
    faults = check_series_apart(list(studies.values()), [str(folder / name) for name in studies])
    spread = {name: faults[n] for n, name in enumerate(studies) if n in faults}
    labels = _label_files(folder, choices.label_pattern)
    patients = {name: _patient(study, name) for name, study in studies.items()}
    table = read_ids(choices.ids) if choices.ids else None
    subjects = pseudonyms(patients.values(), table=table)
    ids = {n: n.removesuffix(".zip") for n in patients} if choices.keep_identifiers else _case_ids(patients, subjects)
    cases, notes = [], _notes(patients)
    for name, study in studies.items():
        subject = _subject(patients[name], subjects, name, choices)
        try:
            if name in spread:
                raise InputError(f"{folder / name}: {spread[name]}")
            case, selection = _case(folder / name, study, choices, labels, ids[name], subject)
        except ParaspinalError as error:
            named = [folder / other for other in spread] if name in spread else ()
            refusals.append(_refusal(folder / name, ids[name], error, patients[name], named))
            continue
        cases.append(case)
        notes.append(f"{case.case}: {_choice(selection)}")
        if study.copies:
            copies = pluralize(study.copies, "file")
            notes.append(f"{case.case}: {copies} left out, each the same byte for byte as another")
        if choices.explain:
            print(f"{case.case} ({name})\n{selection.text()}")
    passed = sum(study.other_files for study in studies.values())
    return Found(tuple(sorted(cases, key=lambda c: c.case)), tuple(refusals), passed, tuple(sorted(notes)))


def _studies(folder: Path, choices: Choices) -> tuple[dict[str, Study], list[Refusal]]:
    """The headers of every folder and zip archive in the input folder, by its name."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    children = [
        p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and (p.is_dir() or p.suffix.lower() == ".zip")
    ]
    studies: dict[str, Study] = {}
    refusals = _loose_files(folder)
    for child in progress(children, what="reading studies", unit="study"):
        try:
            with opened_source(child) as root:
                studies[child.name] = scan_study(root, name=str(child))
        except InputError as error:
            if choices.label_pattern and child.is_dir() and "holds no DICOM file" in str(error):
                continue
            refusals.append(Refusal("", _named(child, str(error)), (child,)))
    named = [refusal for refusal in refusals if refusal.files[0] in children]
    if not studies and all("holds no DICOM file" in refusal.reason for refusal in named):
        raise InputError(f"{folder}: holds no folder or zip archive with DICOM files; each study needs one of its own")
    return studies, refusals


def _loose_files(folder: Path) -> list[Refusal]:
    """DICOM files beside the studies' folders: they are no study of their own, and are not left out in silence."""
    loose = []
    for file in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        try:
            if read_file(file, file.name) is not None:
                loose.append(file)
        except InputError:
            loose.append(file)
    if not loose:
        return []
    what = f"{loose[0]}: a DICOM file" if len(loose) == 1 else f"{loose[0]} and {len(loose) - 1} more DICOM files"
    reason = f"{what} beside the studies' folders; give each study a folder of its own"
    return [Refusal("", reason, tuple(loose))]


def _patient(study: Study, name: str) -> Patient:
    """Whom the images show: other programs' objects often lack sex, age and weight.

    Without PatientID and StudyInstanceUID a study stands for itself.
    """
    patient = (*study.of_kind(Kind.IMAGE), *study.series)[0].header.patient
    return patient if patient.patient_id or patient.study_uid else replace(patient, study_uid=f"folder {name}")


def _notes(patients: Mapping[str, Patient]) -> list[str]:
    if len(patients) < 2 or len({identity_of(p) for p in patients.values()}) > 1:
        return []
    return [f"all {len(patients)} studies carry one PatientID and count as one subject; if they are not, give --ids"]


def _label_files(folder: Path, label_pattern: Pattern | None) -> dict[str, list[Path]]:
    """Label maps by the name of their study."""
    found: dict[str, list[Path]] = defaultdict(list)
    for relative in walk(folder) if label_pattern else ():
        if label_pattern and (name := label_pattern.case_of(relative)):
            found[name].append(folder / relative)
    return found


def _case(
    path: Path, study: Study, choices: Choices, labels: Mapping[str, Sequence[Path]], case: str, subject: str
) -> tuple[DicomCase, SeriesSelection]:
    if not CASE_ID.fullmatch(case):
        raise InputError(f"{path}: case id '{case}' must consist of letters, digits, '.', '-' and '_'; rename it")
    study.check_sound()
    check_one_study(study)
    check_one_patient(study)
    if choices.label_pattern:
        raters: list[Series] = []
        labels_of = [_one_label(path, labels)]
    else:
        raters = _segmentations(path, study, choices)
        labels_of = [path / s.header.shown for s in raters]
    selection = select_series(study, series=choices.series, labelled=raters[0] if raters else None)
    chosen, archive = selection.chosen, None
    if not path.is_dir():
        chosen, raters, archive = chosen.moved(Path()), [s.moved(Path()) for s in raters], path
    return DicomCase(
        case,
        subject,
        (path,),
        labels_of[0],
        second_label=labels_of[1] if len(labels_of) > 1 else None,
        person=_person(chosen.header.patient),
        series=chosen,
        segmentations=dict(zip(labels_of, raters, strict=False)),
        archive=archive,
    ), selection


def _segmentations(path: Path, study: Study, choices: Choices) -> list[Series]:
    """The first rater's, and the second one's where it is named."""
    found = study.of_kind(Kind.SEGMENTATION)
    if choices.second_segmentation is None or not found:
        return [_one_segmentation(path, study, found, choices.segmentation)]
    second = pick(found, choices.second_segmentation, kind=Kind.SEGMENTATION, flag="--rater2-segmentation")
    others = [s for s in found if s is not second]
    return [_one_segmentation(path, study, others, choices.segmentation), second]


def _one_label(path: Path, labels: Mapping[str, Sequence[Path]]) -> Path:
    found = labels.get(path.name) or labels.get(path.stem) or ()
    if len(found) != 1:
        what = "no label map matches" if not found else f"{', '.join(map(str, found))} both match"
        raise InputError(f"{path}: {what}; every study needs one")
    return found[0]


def _one_segmentation(path: Path, study: Study, found: Sequence[Series], wanted: str | None) -> Series:
    if wanted is not None and found:
        return pick(found, wanted, kind=Kind.SEGMENTATION, flag="--segmentation")
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(s.name for s in found)
        raise InputError(f"{path}: holds {len(found)} DICOM SEG ({names}); choose with --segmentation")
    contours = "; export its contours (RTSTRUCT) as DICOM SEG" if study.of_kind(Kind.RTSTRUCT) else ""
    raise InputError(f"{path}: holds no DICOM SEG{contours}; add one, or give --label-pattern")


def _person(patient: Patient) -> Demographics:
    return Demographics(sex=sex_of(patient), age=age_of(patient), bmi=bmi_of(patient))


def _case_ids(patients: Mapping[str, Patient], subjects: Mapping[str, str]) -> dict[str, str]:
    """Folder name -> case id: the subject, numbered where a patient has several studies."""
    studies: dict[str, list[str]] = defaultdict(list)
    for name in sorted(patients, key=lambda n: (order_of(patients[n].study_uid), n)):
        studies[subjects[identity_of(patients[name])]].append(name)
    return {
        name: subject if len(names) == 1 else f"{subject}-{n}"
        for subject, names in studies.items()
        for n, name in enumerate(names, start=1)
    }


def _subject(patient: Patient, subjects: Mapping[str, str], name: str, choices: Choices) -> str:
    if not choices.keep_identifiers:
        return subjects[identity_of(patient)]
    return patient.patient_id if CASE_ID.fullmatch(patient.patient_id) else name


def _refusal(path: Path, case: str, error: ParaspinalError, patient: Patient, named: Sequence[Path]) -> Refusal:
    reason = _named(path, str(error))
    files = tuple(dict.fromkeys((path, *named)))
    return Refusal(case, str(path) + without_identifiers(reason.removeprefix(str(path)), [patient]), files)


def _named(path: Path, reason: str) -> str:
    return reason if reason.startswith(str(path)) else f"{path}: {reason}"


def _choice(selection: SeriesSelection) -> str:
    """What was chosen, without descriptions, which may hold anything."""
    others = len([line for line in selection.lines if not line.accepted])
    reason = next(line.reason for line in selection.lines if line.accepted)
    return f"series {selection.chosen.key} accepted ({reason}), {others} rejected"
