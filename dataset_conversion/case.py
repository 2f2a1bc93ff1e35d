"""What a case finder hands to the engine, and what the engine makes of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from paraspinal_nnunet.dataset_conversion.labels.translation import LabelTranslation
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.image_io.masks.boxes import MuscleBox
from paraspinal_nnunet.image_io.volume import Volume

SidePolicy = Literal["refuse", "trust-labels", "swap-sides"]
"""``trust-labels``: the header's left and right are wrong; ``swap-sides``: the labels' names are."""


@dataclass(frozen=True)
class Demographics:
    """What is known of a subject; '' and None where it is not.

    Attributes:
        sex: ``'F'``, ``'M'``, ``'O'`` or ``''``.
        age: Years.
        bmi: kg/m2.
    """

    sex: str = ""
    age: float | None = None
    bmi: float | None = None


@dataclass(frozen=True)
class Case:
    """A scan with its label; a source with more to say about a case derives a class of its own.

    Attributes:
        case: The id in the data set.
        subject: Whom the image shows; all cases of a subject stay in one fold.
        images: One per channel, in the order of `Source.channels`: a file, or a folder that the source's reader
            understands.
        label: File, or a folder of masks.
        second_label: The second rater's, where there is one.
        person: Sex, age and body mass index.
    """

    case: str
    subject: str
    images: tuple[Path, ...]
    label: Path
    second_label: Path | None = None
    person: Demographics = field(default_factory=Demographics)

    @property
    def image(self) -> Path:
        """The first channel, by which messages and tables name the case."""
        return self.images[0]


def paths_of(case: Case) -> list[Path]:
    """All files and folders that a case names, also in the attributes that a source adds."""
    return list(dict.fromkeys(_paths(case)))


@dataclass(frozen=True)
class Refusal:
    """A case or file that cannot be accepted, and why.

    Attributes:
        case: Id, or ''.
        reason: One line that names the file.
        files: What is refused, so that a selection by path finds it.
        second_rater: The fault lies with a second rater's labels alone: it counts only where these are wanted.
    """

    case: str
    reason: str
    files: tuple[Path, ...] = ()
    second_rater: bool = False


@dataclass(frozen=True)
class Found:
    """All that a finder saw in a folder.

    Attributes:
        cases: Complete cases.
        refusals: Images without label, labels without image, ids met twice.
        other_files: Number of files that belong to no case.
        notes: Remarks for the report.
        tables: Files that were read beside those of the cases.
        passed_over: Files that neither belong to a case nor were read, relative to the folder; see `passed_over`.
    """

    cases: tuple[Case, ...]
    refusals: tuple[Refusal, ...] = ()
    other_files: int = 0
    notes: tuple[str, ...] = ()
    tables: tuple[Path, ...] = ()
    passed_over: tuple[str, ...] = ()


def read_case_images(case: Case) -> tuple[Volume, ...]:
    """The channels of a case kept as one NIfTI file each."""
    return tuple(read_image(path) for path in case.images)


def read_case_labels(case: Case) -> Volume:
    """The label map of a case kept as one NIfTI file, in source values."""
    return read_labels(case.label)


@dataclass(frozen=True)
class Source:
    """A declared converter: everything in which one source differs from another.

    Attributes:
        name: The verb after ``paraspinal convert``.
        labels: Source values and the classes they stand for.
        find_cases: Lists the cases of a folder; runs once, in the main process.
        channels: Names of the image channels in dataset.json; nnU-Net normalises by them (z-score unless it knows
            better).
        read_images: Loads a case's channels; a module-level function, since worker processes run it.
        read_labels: Loads ``case.label`` in source values; likewise.
        licence: Free text for dataset.json.
        reference: Free text for dataset.json.
        settings: What else was chosen, for the provenance.
        private: File and folder names may hold what identifies a person: nothing written repeats them.
        participants: Name of a table in the input folder, read where it is there and ``--participants`` names no other.
        box: Where the cases are cut out around some muscles of scans that were checked when they were converted.
        folds: Case -> the fold that tests it, where a new data set must keep another's folds.
    """

    name: str
    labels: LabelTranslation
    find_cases: Callable[[Path], Found]
    channels: tuple[str, ...] = ("T2",)
    read_images: Callable[[Case], tuple[Volume, ...]] = read_case_images
    read_labels: Callable[[Case], Volume] = read_case_labels
    licence: str = ""
    reference: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    private: bool = False
    participants: str = ""
    box: MuscleBox | None = None
    folds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Checks:
    """What is demanded of every case.

    Attributes:
        allow_empty: Accept a label map that lacks a required class.
        resample_labels: Resample a label map from another grid instead of refusing it.
        n4: Correct the images' bias field; see `bias_field.correct_bias_field`.
        sides: What is done with labels whose sides contradict the geometry; see `sides.settle_sides`.
        resample_channels: Resample a channel from another grid onto the first one's instead of refusing it.
        crop_margin: Keep only the slices that are labelled and this many on either side; None keeps all.
    """

    allow_empty: bool = False
    resample_labels: bool = False
    n4: bool = False
    sides: SidePolicy = "refuse"
    resample_channels: bool = False
    crop_margin: int | None = None


@dataclass(frozen=True)
class CaseOutcome:
    """What became of one case.

    Attributes:
        case: The case.
        reason: Why it was refused, in one line that names the file; None when it was accepted.
        image_hash: SHA-256 of the voxels, the same for every stored orientation and number type; '' when refused.
        facts: Grid, volumes and remarks, fit for JSON.
    """

    case: Case
    reason: str | None = None
    image_hash: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _paths(entry)
    elif isinstance(value, Mapping):
        yield from _paths((*value.keys(), *value.values()))
    elif is_dataclass(value):
        yield from _paths([getattr(value, entry.name) for entry in fields(value)])
