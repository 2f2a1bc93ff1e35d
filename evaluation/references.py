"""Finding the reference label maps, their label names, their images and whose they are."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from paraspinal_nnunet.anatomy import BY_KEY, PARASPINAL, Side
from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.evaluation.metrics.confusion import LABEL_LIMIT
from paraspinal_nnunet.image_io.images import ENDINGS, images_in, without_ending
from paraspinal_nnunet.image_io.pairing import no_images, warn_left_out
from paraspinal_nnunet.nnunet.datasets import CASES_FILE, read_case_table
from paraspinal_nnunet.utils.files import read_json
from paraspinal_nnunet.utils.names import name_fault

log = logging.getLogger(__name__)

SUFFIX = ".nii.gz"


IGNORE = "ignore"
"""nnU-Net's name of the label whose voxels count nowhere."""


@dataclass(frozen=True)
class Label:
    """A label that is evaluated.

    Attributes:
        value: Its value in the label maps.
        key: Its name in dataset.json, e.g. ``'multifidus_right'``.
        muscle: E.g. ``'multifidus'``.
        side: ``'right'``, ``'left'``, or ``''`` for a label without a side.
    """

    value: int
    key: str
    muscle: str
    side: str

    @classmethod
    def of(cls, key: str, value: int) -> "Label":
        """A label by its name in dataset.json."""
        if key in BY_KEY:
            return cls(value, key, BY_KEY[key].muscle.value, BY_KEY[key].side.value)
        stem, _, side = key.rpartition("_")
        return cls(value, key, stem, side) if stem and side in {s.value for s in Side} else cls(value, key, key, "")


@dataclass(frozen=True)
class References:
    """The cases of an evaluation.

    Attributes:
        folder: Where the reference label maps lie.
        labels: What is evaluated, by label value.
        files: Case -> reference label map.
        images: Case -> image; cases without a known image are absent.
        subjects: Case -> subject.
        ignored: Value of the reference's voxels that count nowhere, nnU-Net's label 'ignore'; None without one.
    """

    folder: Path
    labels: tuple[Label, ...]
    files: Mapping[str, Path]
    images: Mapping[str, Path]
    subjects: Mapping[str, str]
    ignored: int | None = None


def find_references(folder: Path, *, images: Path | None = None, cases: Path | None = None) -> References:
    """Look up everything that belongs to a folder of reference label maps.

    Args:
        folder: A folder of ``CASE.nii.gz``, or an nnU-Net data set with labelsTr.
        images: Folder of ``CASE_0000.nii.gz`` or ``CASE.nii.gz``; None looks beside the labels.
        cases: A table in the form of cases.tsv; None looks beside the labels, and without one each case is its own
            subject.

    Raises:
        InputError: A folder or file is missing or empty.
        LabelError: dataset.json names labels that cannot be evaluated.
        DatasetError: The table of cases is incomplete.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"reference folder {folder} does not exist; give a folder of CASE{SUFFIX} or a data set")
    if (folder / "labelsTr").is_dir():
        folder = folder / "labelsTr"
    files = label_files(folder)
    if not files:
        raise InputError(f"reference folder {folder} holds no *{SUFFIX}")
    labels, ignored = _labels(folder)
    return References(
        folder=folder,
        labels=labels,
        ignored=ignored,
        files=files,
        images=_images(folder, files, images),
        subjects=_subjects(folder, list(files), cases),
    )


def label_files(folder: Path) -> dict[str, Path]:
    """Case -> file of every label map in a folder, ``CASE.nii.gz`` or of another format, sorted by case.

    Raises:
        InputError: Two files of one case.
    """
    files: dict[str, Path] = {}
    for path in images_in(folder):
        case = without_ending(path.name)
        if fault := name_fault(case, written=False):
            raise InputError(f"{folder}: {fault}; rename the file")
        if case in files:
            raise InputError(f"{folder}: {files[case].name} and {path.name} are both of case {case}; keep one")
        files[case] = path
    warn_left_out(log, folder, no_images(folder), "no label map that can be read")
    return dict(sorted(files.items()))


def _beside(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder.parent / name) if p.is_file()), None)


def _labels(folder: Path) -> tuple[tuple[Label, ...], int | None]:
    """The labels that are evaluated, and the value that is ignored."""
    path = _beside(folder, "dataset.json")
    if path is None:
        return tuple(Label.of(s.key, s.label) for s in PARASPINAL), None
    entries = read_json(path).get("labels")
    if not isinstance(entries, dict):
        raise LabelError(f"{path} has no 'labels'; complete it or move it away")
    labels = []
    for key, value in entries.items():
        if type(value) is not int or not 0 <= value < LABEL_LIMIT:
            raise LabelError(f"{path}: label '{key}': {value} cannot be evaluated; labels are single values up to 255")
        if value and key != IGNORE:
            labels.append(Label.of(key, value))
    if len(set(entries.values())) != len(entries) or not labels:
        raise LabelError(f"{path}: needs at least one label besides background, and no value twice")
    return tuple(sorted(labels, key=lambda label: label.value)), entries.get(IGNORE)


def _images(folder: Path, cases: Iterable[str], given: Path | None) -> dict[str, Path]:
    if given is not None and not given.is_dir():
        raise InputError(f"image folder {given} does not exist")
    candidates = (
        [given] if given else [folder.parent / folder.name.replace("labels", "images"), folder.parent / "imagesTr"]
    )
    candidates = [c for c in candidates if c != folder]
    found = {}
    for case in cases:
        names = [f"{case}{channel}{ending}" for channel in ("_0000", "") for ending in ENDINGS]
        paths = [c / name for c in candidates for name in names if (c / name).is_file()]
        if paths:
            found[case] = paths[0]
        elif given is not None:
            raise InputError(f"case {case}: neither {case}_0000{SUFFIX} nor {case}{SUFFIX} in {given}")
    return found


def _subjects(folder: Path, cases: list[str], given: Path | None) -> dict[str, str]:
    if given is not None and not given.is_file():
        raise InputError(f"table of cases {given} does not exist")
    table = read_case_table(given or _beside(folder, CASES_FILE), cases)
    return dict(zip(table["case"], table["subject"], strict=True))
