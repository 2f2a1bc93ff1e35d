"""What a data set says of itself: dataset.json, its files and cases.tsv, with every contradiction as a finding."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.errors import DatasetError, one_line
from paraspinal_nnunet.nnunet.datasets import CASES_FILE, read_case_table, read_dataset_json
from paraspinal_nnunet.quality_control.classes import LabelClass, classes_of
from paraspinal_nnunet.quality_control.findings import Finding, Severity
from paraspinal_nnunet.utils.text import pluralize, some

if TYPE_CHECKING:
    import pandas as pd

REORIENTING_READER = "NibabelIOWithReorient"
"""The only reader of nnU-Net's that hands every scan to the network in one orientation."""

IMAGES, LABELS = "imagesTr", "labelsTr"


@dataclass(frozen=True)
class CaseFiles:
    """One training case on disk.

    Attributes:
        case: Its id.
        subject: Whom it shows.
        images: One file per channel.
        labels: Its label map, or None where there is none.
    """

    case: str
    subject: str
    images: tuple[Path, ...]
    labels: Path | None


@dataclass(frozen=True)
class Dataset:
    """A raw data set as it describes itself.

    Attributes:
        folder: Where it lies.
        classes: Without background.
        ignored: The value of nnU-Net's 'ignore' label, or None.
        channels: Names, in the order of the files.
        reader: dataset.json's ``overwrite_image_reader_writer``, or ''.
        cases: By id.
        people: One row per case in `datasets.CASE_COLUMNS`.
        findings: What is wrong with all that.
    """

    folder: Path
    classes: tuple[LabelClass, ...]
    ignored: int | None
    channels: tuple[str, ...]
    reader: str
    cases: tuple[CaseFiles, ...]
    people: "pd.DataFrame"
    findings: tuple[Finding, ...]

    @property
    def subjects(self) -> dict[str, str]:
        """Case -> subject."""
        return {case.case: case.subject for case in self.cases}


def describe_dataset(folder: Path) -> Dataset:
    """Read what a data set says of itself.

    Args:
        folder: In nnUNet_raw.

    Raises:
        DatasetError: No readable dataset.json, or no training case at all.
    """
    folder = Path(folder)
    content = read_dataset_json(folder)
    labels = content.get("labels")
    labels = labels if isinstance(labels, dict) else {}
    channels = content.get("channel_names")
    channels = channels if isinstance(channels, dict) else {}
    ending = str(content.get("file_ending", ".nii.gz"))
    images, maps = _files(folder, content, ending)
    ids = sorted(set(images) | set(maps))
    if not ids:
        raise DatasetError(f"{folder.name}: {IMAGES} and {LABELS} hold no *{ending} file; is file_ending right?")
    people, people_findings = _people(folder, ids)
    cases = tuple(
        CaseFiles(case, str(subject), tuple(images.get(case, ())), maps.get(case))
        for case, subject in zip(ids, people["subject"], strict=True)
    )
    findings = [
        *_content_findings(content, len(images), labels, channels),
        *_file_findings(cases, max(len(channels), 1)),
        *people_findings,
    ]
    ignored = labels.get("ignore")
    return Dataset(
        folder=folder,
        classes=classes_of(labels),
        ignored=ignored if isinstance(ignored, int) else None,
        channels=tuple(map(str, channels.values())) or ("unknown",),
        reader=str(content.get("overwrite_image_reader_writer", "")),
        cases=cases,
        people=people,
        findings=tuple(findings),
    )


def _files(folder: Path, content: Mapping[str, Any], ending: str) -> tuple[dict[str, list[Path]], dict[str, Path]]:
    """Images of each case by channel, and label maps; nnU-Net takes both from ``dataset`` where that is given."""
    listed = content.get("dataset")
    if isinstance(listed, dict):
        images = {str(c): [folder / p for p in entry.get("images", ())] for c, entry in listed.items()}
        return images, {str(c): folder / entry["label"] for c, entry in listed.items() if "label" in entry}
    images = {}
    for path in _with_ending(folder / IMAGES, ending):
        case, _, channel = path.name[: -len(ending)].rpartition("_")
        if case and len(channel) == 4 and channel.isdecimal():
            images.setdefault(case, []).append(path)
    return images, {path.name[: -len(ending)]: path for path in _with_ending(folder / LABELS, ending)}


def _with_ending(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.name.endswith(ending) and not p.name.startswith("."))


def _people(folder: Path, ids: list[str]) -> "tuple[pd.DataFrame, list[Finding]]":
    path = folder / CASES_FILE
    if not path.exists():
        text = (
            f"no {CASES_FILE}: but for names of BIDS (sub-07_ses-2) each case counts as a subject of its own, so that "
            "splits by subject cannot be checked"
        )
        return read_case_table(None, ids), [Finding(Severity.NOTE, "cases.tsv", "", text)]
    try:
        return read_case_table(path, ids), []
    except DatasetError as error:
        text = one_line(error)
        return read_case_table(None, ids), [Finding(Severity.PROBLEM, "cases.tsv", "", text)]


def _content_findings(
    content: Mapping[str, Any], images: int, labels: Mapping[str, Any], channels: Mapping[str, Any]
) -> Iterator[Finding]:
    def problem(text: str) -> Finding:
        return Finding(Severity.PROBLEM, "dataset.json", "", text)

    if content.get("numTraining") != images:
        yield problem(f"numTraining is {content.get('numTraining')}, but {images} cases have images")
    if "file_ending" not in content:
        yield problem("file_ending is missing; nnU-Net demands it")
    if sorted(channels) != [str(n) for n in range(len(channels))] or not channels:
        yield problem(f"channel_names must be numbered '0', '1', ... and has {some(sorted(channels)) or 'nothing'}")
    yield from map(problem, _label_faults(labels))
    reader = content.get("overwrite_image_reader_writer", "")
    if reader != REORIENTING_READER:
        text = (
            f"the reader is {reader or 'left to nnU-Net'}, not {REORIENTING_READER}: the network sees the stored voxel "
            "order, so that left and right depend on each file"
        )
        yield Finding(Severity.LOOK, "dataset.json", "", text)


def _label_faults(labels: Mapping[str, Any]) -> Iterator[str]:
    if labels.get("background") != 0:
        yield f"labels give background the value {labels.get('background')}, not 0"
    values: set[int] = set()
    for name, entry in labels.items():
        own = entry if isinstance(entry, list) else [entry]
        if not all(isinstance(v, int) and not isinstance(v, bool) for v in own):
            yield f"label '{name}' has the value {entry!r}, not an integer; is it in the old form, value to name?"
            return
        values |= set(own)
    if sorted(values) != list(range(len(values))):
        yield f"label values {some(sorted(values), 12)} are not consecutive from 0"
    plain = [v for v in labels.values() if isinstance(v, int)]
    if len(set(plain)) < len(plain):
        yield "two labels have the same value"
    if "ignore" in labels and labels["ignore"] != max(values):
        yield f"'ignore' has the value {labels['ignore']}, but must have the highest, {max(values)}"


def _file_findings(cases: tuple[CaseFiles, ...], channels: int) -> Iterator[Finding]:
    for case in cases:
        if not case.images:
            yield Finding(Severity.PROBLEM, "dataset.json", case.case, f"has labels, but no image in {IMAGES}")
        elif len(case.images) != channels:
            text = f"has {pluralize(len(case.images), 'image file')} for {pluralize(channels, 'channel')}"
            yield Finding(Severity.PROBLEM, "dataset.json", case.case, text)
        if case.labels is None:
            yield Finding(Severity.PROBLEM, "dataset.json", case.case, f"has an image, but no labels in {LABELS}")
