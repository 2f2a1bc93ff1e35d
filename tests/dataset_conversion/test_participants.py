import pytest

from paraspinal_nnunet.dataset_conversion.case import Demographics
from paraspinal_nnunet.dataset_conversion.participants import read_participants
from paraspinal_nnunet.errors import InputError


def read(tmp_path, text):
    (tmp_path / "participants.tsv").write_text(text)
    return read_participants(tmp_path / "participants.tsv")


def test_values_and_their_absence(tmp_path):
    people = read(tmp_path, "Participant_ID\tAge\tsex\tgroup\nsub-01\t45.5\tFemale\tx\n02\tn/a\tm\t\n03\t\tN/A\t\n")
    assert people == {"01": Demographics("F", 45.5, None), "02": Demographics("M"), "03": Demographics()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\tage\na\t1\n", "no column participant_id"),
        ("participant_id,age\na,1;2\n", "age of a is '1;2'"),
        ("participant_id\na\nsub-a\n", "participant a stands there twice"),
        ("participant_id\tsex\na\t1\n", "sex of a is '1'"),
        ("participant_id\tage\na\t-4\n", "age of a is '-4'"),
        ("participant_id\tbmi\na\t1.024,5\n", "bmi of a is '1.024,5'"),
        ("participant_id\tage\na\tinf\n", "age of a is 'inf'"),
        ("", "is an empty table"),
    ],
)
def test_faulty_tables_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=r"participants\.tsv") as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.tsv"):
        read_participants(tmp_path / "absent.tsv")
