import json
import random

import pytest

from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.nnunet.splits import check_splits, make_splits, read_splits, write_splits

SUBJECTS = {f"case_{n:02d}": f"subject_{n:02d}" for n in range(76)}


def check(splits, subjects=SUBJECTS, folds=3):
    check_splits(splits, subjects, folds=folds, path="splits_final.json")


def test_76_subjects_make_26_25_25():
    splits = make_splits(SUBJECTS, folds=3, seed=0)
    assert [len(s["val"]) for s in splits] == [26, 25, 25]
    assert [len(s["train"]) for s in splits] == [50, 51, 51]
    check(splits)


def test_each_case_is_tested_once_and_never_trained_on_then():
    splits = make_splits(SUBJECTS, folds=3, seed=0)
    assert sorted(case for s in splits for case in s["val"]) == sorted(SUBJECTS)
    assert all(set(s["train"]).isdisjoint(s["val"]) for s in splits)


def test_all_scans_of_a_subject_stay_together():
    subjects = {f"{person}_{scan}": person for person in "abcdefg" for scan in range(1 + ord(person) % 3)}
    for split in make_splits(subjects, folds=3, seed=1):
        assert {subjects[c] for c in split["train"]}.isdisjoint(subjects[c] for c in split["val"])


def test_the_order_of_the_cases_does_not_matter():
    shuffled = list(SUBJECTS.items())
    random.Random(3).shuffle(shuffled)
    assert make_splits(dict(shuffled), folds=3, seed=0) == make_splits(SUBJECTS, folds=3, seed=0)


def test_the_seed_does():
    assert make_splits(SUBJECTS, folds=3, seed=0) != make_splits(SUBJECTS, folds=3, seed=1)


def test_the_folds_are_random():
    first = [int(c[-2:]) for c in make_splits(SUBJECTS, folds=3, seed=0)[0]["val"]]
    assert first != [n for n in range(76) if n % 3 == 0]


@pytest.mark.parametrize("seed", range(5))
def test_strata_are_dealt_out_evenly(seed):
    sexes = {f"subject_{n:02d}": "F" if n < 46 else "M" for n in range(76)}
    splits = make_splits(SUBJECTS, folds=3, seed=seed, strata=sexes)
    women = [sum(sexes[SUBJECTS[c]] == "F" for c in s["val"]) for s in splits]
    assert sorted(women) == [15, 15, 16]
    assert sorted(len(s["val"]) for s in splits) == [25, 25, 26]


def test_subjects_of_unknown_sex_are_a_stratum():
    splits = make_splits(SUBJECTS, folds=3, seed=0, strata={})
    assert sorted(len(s["val"]) for s in splits) == [25, 25, 26]


def test_too_few_subjects_are_refused():
    with pytest.raises(DatasetError, match="2 subjects cannot make 3 folds"):
        make_splits({"a": "x", "b": "y", "c": "y"}, folds=3, seed=0)


def test_as_many_subjects_as_folds_suffice():
    assert [s["val"] for s in make_splits({"a": "x", "b": "y", "c": "z"}, folds=3, seed=0)] != []


def test_another_number_of_folds_is_refused():
    with pytest.raises(DatasetError, match=r"splits_final.json: has 5 folds, the plans ask for 3; move it away"):
        check(make_splits(SUBJECTS, folds=5, seed=0))


def splits_of_three():
    subjects = {"a1": "a", "a2": "a", "b": "b", "c": "c"}
    splits = [
        {"train": ["b", "c"], "val": ["a1", "a2"]},
        {"train": ["a1", "a2", "c"], "val": ["b"]},
        {"train": ["a1", "a2", "b"], "val": ["c"]},
    ]
    return splits, subjects


def test_splits_by_hand_are_accepted():
    check(*splits_of_three())


@pytest.mark.parametrize(
    ("fold", "part", "value", "message"),
    [
        (0, "val", ["a1"], r"does not test each case exactly once \(e.g. a2\)"),
        (1, "val", ["b", "c"], r"does not test each case exactly once \(e.g. c\)"),
        (1, "val", ["d"], r"does not test each case exactly once \(e.g. b\)"),
        (1, "train", ["a1", "a2"], "fold 1 does not use every case once"),
        (1, "train", ["a1", "a2", "c", "d"], "fold 1 does not use every case once"),
        (1, "train", ["a1", "a2", "c", "c"], "fold 1 does not use every case once"),
        (1, "train", ["a1", "a2", "c", "b"], "subject b is on both sides of fold 1"),
    ],
)
def test_splits_that_are_no_cross_validation_are_refused(fold, part, value, message):
    splits, subjects = splits_of_three()
    splits[fold][part] = value
    with pytest.raises(DatasetError, match=message):
        check(splits, subjects)


def test_a_subject_on_both_sides_is_refused():
    splits, subjects = splits_of_three()
    splits[0] = {"train": ["a2", "b", "c"], "val": ["a1"]}
    splits[1] = {"train": ["a1", "c"], "val": ["a2", "b"]}
    with pytest.raises(DatasetError, match="subject a is on both sides of fold 0"):
        check(splits, subjects)


def test_splits_survive_the_file(tmp_path):
    splits = make_splits(SUBJECTS, folds=3, seed=0)
    write_splits(tmp_path / "splits_final.json", splits)
    assert read_splits(tmp_path / "splits_final.json") == splits


@pytest.mark.parametrize("content", ["{", "[1]", '{"train": []}', json.dumps([{"train": []}]), "3"])
def test_files_that_hold_no_splits_are_refused(tmp_path, content):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(DatasetError, match="not a splits file"):
        read_splits(tmp_path / "s.json")
