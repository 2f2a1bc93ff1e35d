"""Values of study.yaml mean what people read in them, or are refused with line and field."""

import pytest

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.nnunet.splits import FILE_NAME, write_splits
from paraspinal_nnunet.workflow.settings import read_study
from paraspinal_nnunet.workflow.study_file.reading import read_study_file
from paraspinal_nnunet.workflow.study_file.yaml_nodes import MOST_BYTES, StudyFileError

BASE = "dataset: {id: 5}\narms: {a: {}}\n"


def content_of(folder, text):
    path = folder / "study.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_study_file(path)


@pytest.mark.parametrize(
    "number",
    [
        "010",
        "0x10",
        "0o7",
        "0b11",
        "1:30",
        "5.0",
        "5e0",
        ".nan",
        ".inf",
        "'5'",
        "true",
        "2026-01-01",
        "1000",
        "-1",
        "9" * 5000,
    ],
)
def test_a_number_that_people_and_yaml_read_differently_is_refused(tmp_path, number):
    with pytest.raises(StudyFileError, match=r"study\.yaml, line 1: dataset\.id is ") as error:
        content_of(tmp_path, f"dataset: {{id: {number}}}\narms: {{a: {{}}}}\n")
    assert len(str(error.value)) < 300


def test_texts_are_what_is_written(tmp_path):
    """YAML 1.1 reads 1.10 as 1.1, 0123 as 83, no as False, 1:30 as 90 and a date as a date."""
    for text in ("1.10", "0123", "no", "1:30", "2026-01-01", "1e3"):
        assert content_of(tmp_path, BASE + f"name: {text}\n")["name"] == text
    assert content_of(tmp_path, BASE + "slurm: {partition: on}\n")["slurm"]["partition"] == "on"


@pytest.mark.parametrize(("word", "flag"), [("yes", True), ("no", False), ("On", True), ("FALSE", False)])
def test_flags_are_words_of_yaml(tmp_path, word, flag):
    assert content_of(tmp_path, BASE + f"inspect: {{run: {word}}}\n")["inspect"]["run"] is flag


@pytest.mark.parametrize("value", ["'yes'", "1", "y", "2", "[true]"])
def test_what_is_no_flag_is_refused(tmp_path, value):
    with pytest.raises(StudyFileError, match=r"inspect\.run is .*; give true or false"):
        content_of(tmp_path, BASE + f"inspect: {{run: {value}}}\n")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ("{iterations: 010}", {"iterations": 10}),  # decimal, as people read it
        ("{iterations: 1_000}", {"iterations": 1000}),
        ("{patch_size: [96, 064]}", {"2d.patch_size": [96, 64]}),
    ],
)
def test_protocol_numbers_are_decimal(tmp_path, settings, found):
    overrides = content_of(tmp_path, BASE + f"set: {settings}\n")["set"]
    assert found.items() <= overrides.items()


@pytest.mark.parametrize("value", ["1:30", ".nan", "nan", ".inf", "0x10", "{a: 1}", "2026-01-01", "yes", "~", "[[1]]"])
def test_what_is_no_protocol_number_is_refused(tmp_path, value):
    with pytest.raises(StudyFileError, match=r"line 3: set cannot be used"):
        content_of(tmp_path, BASE + f"set: {{iterations: {value}}}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE + "name: !!python/object/apply:os.system [ls]\n", "line 3: the file uses the tag 'tag:yaml.org"),
        (BASE + "name: !x y\n", "line 3: the file uses the tag '!x'"),
        (BASE + "set: &a {iterations: 3}\nablations: {b: {set: *a}}\n", "line 3: the file uses an anchor or alias"),
        (BASE + "set: {iterations: 3, iterations: 4}\n", "line 3: set.iterations stands there twice"),
        (BASE + "? [a, b]\n: 3\n", "line 3: the file has a name that is no text"),
        (BASE + "~: 3\n", "line 3: the file has a name that is no text"),
        (BASE + "1: 3\n", "line 3: 1 is unknown"),
        (BASE + "<<: {name: x}\n", "line 3: << is unknown"),
        (BASE + "name: " + "[" * 5000 + "\n", "line 3: the file is nested more than 20 levels deep"),
        (BASE + "folds: [0, 01]\n", "line 3: folds is [0, '01']; give different folds"),
        (BASE + "folds: [yes]\n", "line 3: folds is [True]"),
        (BASE + "name: \"a\\nb\"\n", "line 3: name is 'a\\nb'; give one line of text"),
        (BASE + "predict: {input: -o}\n", "line 3: predict.input is -o, which reads as a flag; write ./-o"),
        (BASE + "---\n" + BASE, "is not valid YAML"),
        (BASE.encode() + b"name: \xff\xfe\n", "is not valid YAML"),
        (BASE.encode() + b"name: a\x00b\n", "is not valid YAML"),
        (b"# " + b"x" * MOST_BYTES, "has more than 1000000 bytes"),
        ("", "line 1: holds no fields"),
    ],
)  # fmt: skip
def test_yaml_that_fields_do_not_need_is_one_line(tmp_path, text, message):
    with pytest.raises(StudyFileError) as error:
        content_of(tmp_path, text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("folds", "more", "message"),
    [
        ("[0, 3]", "", "folds: there is no fold 3, only 0 to 2"),  # Methods: three folds
        ("[4]", "set: {folds: 5}\n", None),
        ("[5]", "set: {folds: 5}\n", "folds: there is no fold 5, only 0 to 4"),
        ("[all]", "", None),
        ("[1]", "splits", "folds: there is no fold 1, only 0 to 0"),
    ],
)
def test_folds_beyond_the_splits_are_refused_before_anything_runs(tmp_path, folds, more, message):
    splits = more == "splits"
    (tmp_path / "study.yaml").write_text(BASE + f"folds: {folds}\n" + ("" if splits else more))
    if splits:
        write_splits(tmp_path / "nnunet/preprocessed/Dataset005_X" / FILE_NAME, [{"train": ["a"], "val": ["b"]}])
    if message is None:
        read_study(tmp_path)
        return
    with pytest.raises(InputError, match=message):
        read_study(tmp_path)


def test_a_byte_order_mark_is_no_field(tmp_path):
    assert content_of(tmp_path, b"\xef\xbb\xbf" + BASE.encode())["dataset"]["id"] == 5
