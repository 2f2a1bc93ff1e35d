"""Findings on splits_final.json: subjects on both sides, cases tested never or twice, empty and unbalanced folds."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from paraspinal_nnunet.errors import DatasetError, SetupError, one_line
from paraspinal_nnunet.nnunet.datasets import nnunet_folder
from paraspinal_nnunet.nnunet.splits import FILE_NAME, Split, read_splits
from paraspinal_nnunet.quality_control.dataset import Dataset
from paraspinal_nnunet.quality_control.findings import Finding, Severity
from paraspinal_nnunet.utils.text import pluralize, some

BALANCE_LIMIT = 2.5
"""A fold whose test subjects differ in sex or age by more than so many standard errors of dealing at random is
remarked."""


@dataclass(frozen=True)
class Fold:
    """One fold.

    Attributes:
        train_cases: Number of training cases.
        test_cases: Number of test cases (nnU-Net's 'val').
        train_subjects: Number of their subjects.
        test_subjects: Likewise.
        test_female: Women among the test subjects of known sex.
        test_sex_known: Test subjects of known sex.
        test_age_mean: Mean age of the test subjects in years, NaN where unknown.
    """

    train_cases: int
    test_cases: int
    train_subjects: int
    test_subjects: int
    test_female: int
    test_sex_known: int
    test_age_mean: float


@dataclass(frozen=True)
class SplitsCheck:
    """What was found of the splits.

    Attributes:
        path: The file, or None where it was not looked for.
        folds: None of them where there is no readable file.
        findings: On them.
    """

    path: Path | None
    folds: tuple[Fold, ...]
    findings: tuple[Finding, ...]


def check_dataset_splits(dataset: Dataset, *, preprocessed: Path | None = None) -> SplitsCheck:
    """Check the data set's splits_final.json.

    Args:
        dataset: The raw data set.
        preprocessed: Instead of the environment variable nnUNet_preprocessed.
    """
    try:
        path = nnunet_folder("preprocessed", instead=preprocessed) / dataset.folder.name / FILE_NAME
    except SetupError as error:
        return SplitsCheck(None, (), (Finding(Severity.NOTE, "splits", "", f"not checked: {error}"),))
    if not path.exists():
        return SplitsCheck(path, (), (_no_file(dataset),))
    try:
        splits = read_splits(path)
    except DatasetError as error:
        return SplitsCheck(path, (), (Finding(Severity.PROBLEM, "splits", "", one_line(error)),))
    people = dataset.people.drop_duplicates("subject").set_index("subject")
    folds = tuple(_fold(split, dataset.subjects, people) for split in splits)
    found = [*_partition_findings(splits, dataset.subjects), *_side_findings(splits, dataset.subjects)]
    return SplitsCheck(path, folds, (*found, *_balance_findings(splits, dataset.subjects, people)))


def _no_file(dataset: Dataset) -> Finding:
    several = len(set(dataset.subjects.values())) < len(dataset.cases)
    text = f"no {FILE_NAME} yet"
    if several:
        text += "; nnU-Net would deal cases, not subjects, into folds: run 'paraspinal plan', which keeps each together"
    return Finding(Severity.LOOK if several else Severity.NOTE, "splits", "", text)


def _partition_findings(splits: Sequence[Split], subjects: Mapping[str, str]) -> Iterator[Finding]:
    def problem(case: str, text: str) -> Finding:
        return Finding(Severity.PROBLEM, "splits", case, text)

    if not splits:
        yield problem("", "no fold at all")
        return
    tested = Counter(case for split in splits for case in split["val"])
    listed = {case for split in splits for part in split.values() for case in part}
    if unknown := sorted(listed - set(subjects)):
        yield problem("", f"folds list {pluralize(len(unknown), 'case')} not in the data set: {some(unknown)}")
    for case in sorted(subjects):
        if case not in listed:
            yield problem(case, "is in no fold at all")
        elif tested[case] != 1:
            yield problem(case, f"is tested in {tested[case]} folds, not in exactly one")
    yield from _fold_findings(splits, subjects, listed)


def _fold_findings(splits: Sequence[Split], subjects: Mapping[str, str], listed: set[str]) -> Iterator[Finding]:
    for number, split in enumerate(splits):
        for part, name in (("train", "training"), ("val", "test")):
            if not split[part]:
                yield Finding(Severity.PROBLEM, "splits", "", f"fold {number} has no {name} case")
        missing = sorted(set(subjects) - set(split["train"]) - set(split["val"]))
        used_elsewhere = [case for case in missing if case in listed]
        if used_elsewhere:
            text = f"fold {number} leaves out {pluralize(len(used_elsewhere), 'case')}: {some(used_elsewhere)}"
            yield Finding(Severity.LOOK, "splits", "", text)


def _side_findings(splits: Sequence[Split], subjects: Mapping[str, str]) -> Iterator[Finding]:
    for number, split in enumerate(splits):
        train, test = (set(split[part]) for part in ("train", "val"))
        for case in sorted(train & test):
            text = f"is both a training and a test case of fold {number}"
            yield Finding(Severity.PROBLEM, "splits", case, text, 2.0)
        both = {subjects[c] for c in train - test if c in subjects} & {
            subjects[c] for c in test - train if c in subjects
        }
        for subject in sorted(both):
            cases = sorted(c for c in (train | test) if subjects.get(c) == subject)
            text = f"subject {subject} is on both sides of fold {number}"
            yield Finding(Severity.PROBLEM, "splits", ", ".join(cases), text, 2.0)


def _fold(split: Split, subjects: Mapping[str, str], people: pd.DataFrame) -> Fold:
    train, test = (sorted({subjects[c] for c in split[part] if c in subjects}) for part in ("train", "val"))
    sex, age = people["sex"].reindex(test), people["age"].reindex(test)
    return Fold(
        train_cases=len(split["train"]),
        test_cases=len(split["val"]),
        train_subjects=len(train),
        test_subjects=len(test),
        test_female=int((sex == "F").sum()),
        test_sex_known=int((sex != "").sum()),
        test_age_mean=float(age.mean()) if age.notna().any() else float("nan"),
    )


def _balance_findings(splits: Sequence[Split], subjects: Mapping[str, str], people: pd.DataFrame) -> Iterator[Finding]:
    female = people["sex"].map(lambda sex: np.nan if sex == "" else float(sex == "F")).astype(float)
    for number, split in enumerate(splits):
        test = sorted({subjects[c] for c in split["val"] if c in subjects})
        for name, values, scale, unit in (
            ("the share of women", female, 100.0, " %"),
            ("the mean age", people["age"].astype(float), 1.0, " years"),
        ):
            score = dealing_z(values.reindex(test).to_numpy(), values.to_numpy())
            if abs(score) > BALANCE_LIMIT:
                own, all_ = scale * values.reindex(test).mean(), scale * values.mean()
                text = f"fold {number}: {name} of the test subjects is {own:.3g}{unit}, of all {all_:.3g}{unit}"
                yield Finding(Severity.LOOK, "balance", "", f"{text} ({score:+.1f} standard errors)", abs(score))


def dealing_z(part: np.ndarray, whole: np.ndarray) -> float:
    """How far a part's mean lies from the whole's, in standard errors of drawing it without replacement.

    Args:
        part: float (n,); NaN where unknown.
        whole: float (N,); the part is among it.

    Returns:
        ``(mean(part) - mean(whole)) / sqrt(s^2 / n (1 - n / N))`` with the sample variance s^2 of the whole; 0 where
        that is not defined.

    Source: Cochran WG. Sampling Techniques, 3rd ed. Wiley, 1977, theorem 2.2.
    """
    part, whole = (np.asarray(a, float)[np.isfinite(a)] for a in (part, whole))
    if not len(part) or len(part) >= len(whole):
        return 0.0
    error = float(np.sqrt(whole.var(ddof=1) / len(part) * (1 - len(part) / len(whole))))
    return float(part.mean() - whole.mean()) / error if error > 0 else 0.0
