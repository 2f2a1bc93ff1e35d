import json
import math

import pytest

from paraspinal_nnunet.errors import DatasetError, SetupError
from paraspinal_nnunet.nnunet.datasets import (
    case_ids,
    dataset_name,
    datasets_with_number,
    find_dataset,
    nnunet_folder,
    read_case_table,
    read_cases,
    read_dataset_json,
)

HEADER = "case\tsubject\tsex\tage\tbmi\tsource\tlabel_source\n"


@pytest.fixture
def dataset(raw):
    folder = raw / "Dataset501_Tiny"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for case in ("b", "a_0001"):
        (folder / "imagesTr" / f"{case}_0000.nii.gz").touch()
        (folder / "labelsTr" / f"{case}.nii.gz").touch()
    (folder / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    return folder


@pytest.mark.parametrize("name", ["raw", "preprocessed", "results"])
def test_the_folder_is_the_variables(name, tmp_path, monkeypatch):
    monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path))
    assert nnunet_folder(name) == tmp_path


def test_a_missing_variable_says_how_to_set_it(monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    with pytest.raises(SetupError, match="export nnUNet_raw="):
        nnunet_folder("raw")


def test_a_variable_without_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "absent"))
    with pytest.raises(SetupError, match=r"nnUNet_results names .*absent"):
        nnunet_folder("results")


@pytest.mark.parametrize("number", [0, 1000, -1])
def test_numbers_outside_three_digits_are_refused(number):
    with pytest.raises(DatasetError, match=f"{number}"):
        dataset_name(number, "X")


@pytest.mark.parametrize("name", ["", "a b", "../x"])
def test_names_that_are_no_folder_names_are_refused(name):
    with pytest.raises(DatasetError):
        dataset_name(1, name)


@pytest.mark.parametrize("asked", [501, "501", "Dataset501_Tiny"])
def test_a_data_set_is_found_by_number_and_by_name(asked, dataset):
    assert find_dataset(asked) == dataset


@pytest.mark.parametrize("asked", [502, "Tiny", "Dataset502_Tiny"])
def test_an_absent_data_set_names_those_that_are_there(asked, dataset):
    with pytest.raises(DatasetError, match="Dataset501_Tiny"):
        find_dataset(asked)


def test_two_data_sets_of_one_number_are_refused(dataset, raw):
    (raw / "Dataset501_Other").mkdir()
    assert len(datasets_with_number(raw, 501)) == 2
    with pytest.raises(DatasetError, match="more than once"):
        find_dataset(501)


def test_case_ids_lose_the_channel_only(dataset):
    assert case_ids(dataset) == ["a_0001", "b"]


def test_a_label_without_image_is_named(dataset):
    (dataset / "labelsTr" / "c.nii.gz").touch()
    with pytest.raises(DatasetError, match="without image: c"):
        case_ids(dataset)


def test_without_table_each_case_is_its_own_subject(dataset):
    table = read_cases(dataset)
    assert list(table["subject"]) == ["a_0001", "b"]
    assert table["age"].isna().all()
    assert list(table["sex"]) == ["", ""]


def test_without_table_names_of_bids_tell_the_subject():
    names = ["anna_1", "anna_2", "sub-07_ses-1", "sub-07_ses-2_T2w", "sub-7"]
    assert list(read_case_table(None, names)["subject"]) == ["anna_1", "anna_2", "sub-07", "sub-07", "sub-7"]


def test_the_table_is_read_in_the_order_of_the_cases(dataset):
    (dataset / "cases.tsv").write_text(HEADER + "b\t07\tF\t41.5\tn/a\tx.nii\ty.nii\na_0001\t07\tn/a\tn/a\t22\t\t\n")
    table = read_cases(dataset)
    assert list(table["case"]) == ["a_0001", "b"]
    assert list(table["subject"]) == ["07", "07"]
    assert list(table["sex"]) == ["", "F"]
    assert math.isnan(table["age"][0])
    assert table["age"][1] == 41.5
    assert table["bmi"][0] == 22.0


def test_sex_is_understood_as_people_write_it(dataset):
    """Women were counted as 'F' alone: of a table with 'female' none was one."""
    (dataset / "cases.tsv").write_text(HEADER + "b\t07\tfemale\t\t\t\t\na_0001\t08\tm\t\t\t\t\n")
    assert list(read_cases(dataset)["sex"]) == ["M", "F"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case\nb\n", "no column subject"),
        (HEADER + "b\ts\t\t\t\t\t\n", "no row for a_0001"),
        (HEADER + "b\ts\t\t\t\t\t\nb\ts\t\t\t\t\t\na_0001\ts\t\t\t\t\t\n", "twice: b"),
        (HEADER + "b\tn/a\t\t\t\t\t\na_0001\ts\t\t\t\t\t\n", "no subject for b"),
        (HEADER + "b\ts\t\told\t\t\t\na_0001\ts\t\t\t\t\t\n", "age 'old'"),
        (HEADER + "b\ts\t\t-999\t\t\t\na_0001\ts\t\t\t\t\t\n", "age '-999': write a number greater than 0"),
        (HEADER + "b\ts\t\t\t0.002\t\t\na_0001\ts\t\t\t\t\t\n", "bmi '0.002'"),
        (HEADER + "b\ts\t2\t\t\t\t\na_0001\ts\t\t\t\t\t\n", "sex '2': write F, M, O or n/a"),
    ],
)
def test_a_faulty_table_is_refused(dataset, text, message):
    (dataset / "cases.tsv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_cases(dataset)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_faulty_dataset_json_is_refused(dataset, text):
    (dataset / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        read_dataset_json(dataset)


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        case_ids(tmp_path)
