"""Cross-validation folds by subject, in nnU-Net's splits_final.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from paraspinal_nnunet.errors import DatasetError, InputError, one_line
from paraspinal_nnunet.utils.files import read_bytes, read_json, write_json
from paraspinal_nnunet.utils.forms import check_form

FILE_NAME = "splits_final.json"
SUBJECTS_FILE = "subjects.json"
Split = dict[str, list[str]]


def make_splits(
    subjects: Mapping[str, str], *, folds: int, seed: int, strata: Mapping[str, str] | None = None
) -> list[Split]:
    """Deal subjects into folds at random, all cases of a subject together.

    Args:
        subjects: Case -> subject.
        folds: Number of folds; fold sizes differ by one subject at most (76 subjects in 3 folds: 26, 25, 25).
        seed: The same seed and subjects give the same folds, whatever the order of the cases.
        strata: Subject -> stratum such as the sex; each stratum is dealt out evenly too.

    Returns:
        nnU-Net's splits; 'val' are the test cases of the fold.

    Raises:
        DatasetError: When there are fewer subjects than folds.
    """
    names = sorted(set(subjects.values()))
    if len(names) < folds:
        raise DatasetError(f"{len(names)} subjects cannot make {folds} folds")
    generator = np.random.default_rng(seed)
    order = [names[i] for i in generator.permutation(len(names))]
    if strata is not None:
        order.sort(key=lambda subject: strata.get(subject, ""))  # stable: still random within a stratum
    fold_of = {subject: position % folds for position, subject in enumerate(order)}
    cases = sorted(subjects)
    return [
        {
            "train": [case for case in cases if fold_of[subjects[case]] != fold],
            "val": [case for case in cases if fold_of[subjects[case]] == fold],
        }
        for fold in range(folds)
    ]


def check_splits(splits: Sequence[Split], subjects: Mapping[str, str], *, folds: int, path: Path) -> None:
    """Refuse splits that are not a cross-validation of these cases by subject.

    Raises:
        DatasetError: Naming the file and what is wrong.
    """
    advice = f"move it away (a baseline's own folds?) and run 'paraspinal plan' again to get {folds} folds by subject"
    if len(splits) != folds:
        raise DatasetError(f"{path}: has {len(splits)} folds, the plans ask for {folds}; {advice}")
    tested = [case for split in splits for case in split["val"]]
    if sorted(tested) != sorted(subjects):
        difference = sorted(set(tested) ^ set(subjects)) or sorted({c for c in tested if tested.count(c) > 1})
        raise DatasetError(f"{path}: does not test each case exactly once (e.g. {difference[0]}); {advice}")
    for number, split in enumerate(splits):
        both = {subjects[c] for c in split["val"]} & {subjects[c] for c in split["train"] if c in subjects}
        if both:
            raise DatasetError(f"{path}: subject {sorted(both)[0]} is on both sides of fold {number}; {advice}")
        if sorted([*split["train"], *split["val"]]) != sorted(subjects):
            raise DatasetError(f"{path}: fold {number} does not use every case once; {advice}")


def check_fold_cases(split: Split, fold: int, subjects: Mapping[str, str] | None, path: Path) -> None:
    """Refuse a fold whose test cases are no test of what its training cases teach.

    Args:
        split: The fold, as it stands in the file now.
        fold: Its number.
        subjects: Case -> subject of all planned cases; None where they are not known.
        path: The file, for the message.

    Raises:
        DatasetError: An empty side, a case twice, on both sides or unknown, or a subject on both sides.
    """
    advice = "correct the file, or move it away and run 'paraspinal plan'"
    for side, name in (("train", "training"), ("val", "test")):
        if not split[side]:
            raise DatasetError(f"{path}: fold {fold} has no {name} cases; {advice}")
        twice = sorted({case for case in split[side] if split[side].count(case) > 1})
        if twice:
            raise DatasetError(f"{path}: fold {fold} names the {name} case {twice[0]} twice; {advice}")
    both = sorted(set(split["train"]) & set(split["val"]))
    if both:
        raise DatasetError(f"{path}: case {both[0]} is on both sides of fold {fold}; {advice}")
    if subjects is None:
        return
    unknown = sorted({*split["train"], *split["val"]} - set(subjects))
    if unknown:
        raise DatasetError(f"{path}: fold {fold} names {unknown[0]}, which is no planned case; {advice}")
    shared = sorted({subjects[c] for c in split["train"]} & {subjects[c] for c in split["val"]})
    if shared:
        raise DatasetError(f"{path}: subject {shared[0]} is on both sides of fold {fold}; {advice}")


def write_subjects(preprocessed: Path, subjects: Mapping[str, str]) -> None:
    """Note whom each planned case belongs to, for trainings on machines without the raw data set."""
    write_json(preprocessed / SUBJECTS_FILE, dict(subjects))


def planned_subjects(preprocessed: Path) -> dict[str, str] | None:
    """Case -> subject of the planned cases; None where they were planned by an earlier release or by nnU-Net.

    Raises:
        DatasetError: A damaged file.
    """
    path = preprocessed / SUBJECTS_FILE
    if not path.is_file():
        return None
    try:
        return {str(case): str(subject) for case, subject in read_json(path).items()}
    except InputError as error:
        raise DatasetError(f"{error}; run 'paraspinal plan' again") from None


def read_splits(path: Path) -> list[Split]:
    """Read a splits file.

    Raises:
        DatasetError: When it is not a list of {'train': [...], 'val': [...]}.
    """
    advice = "move it away and plan again"
    try:
        splits = json.loads(read_bytes(Path(path)))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not a splits file ({one_line(error)}); {advice}") from error
    where = f"{path}: not a splits file"
    check_form(splits, [{"train": [str], "val": [str]}], where, advice=advice, kind=DatasetError)
    return [{"train": split["train"], "val": split["val"]} for split in splits]


def write_splits(path: Path, splits: Sequence[Split]) -> None:
    """Write a splits file whole or not at all."""
    write_json(path, list(splits))
