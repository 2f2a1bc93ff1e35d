"""Messages of known errors: one line, whatever of a damaged file they quote."""

import pickle

import pytest

from paraspinal_nnunet.errors import (
    LONGEST_MESSAGE,
    InputError,
    TrainingRefusedError,
    WorkerDiedError,
    one_line,
    reason_of,
)


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\x0b", "\x85", "\u2028"])
def test_line_breaks_become_spaces(mark):
    error = InputError(f"a.csv: has no column 'x'; found a,b{mark}1,2")
    assert str(error) == "a.csv: has no column 'x'; found a,b 1,2"


def test_other_spaces_stay_since_names_have_them():
    assert str(InputError("two  spaces.nii: is missing")) == "two  spaces.nii: is missing"


@pytest.mark.parametrize("say", [InputError, lambda text: one_line(ValueError(text))])
def test_what_is_too_long_keeps_its_beginning_and_what_to_do(say):
    said = str(say(f"a.csv: found {'x' * 100_000}; correct the file"))
    assert len(said) == LONGEST_MESSAGE
    assert said.startswith("a.csv: found xxx")
    assert said.endswith("xxx; correct the file")
    assert " ... " in said


def test_errors_travel_between_processes():
    """As pools send them."""
    assert str(pickle.loads(pickle.dumps(InputError("a\nb")))) == "a b"


def test_kinds_with_a_constructor_of_their_own():
    assert WorkerDiedError("case\n1", "died").args[0].startswith("case 1: its worker process died")
    refused = TrainingRefusedError("fold 9\nis unknown")
    assert (str(refused), reason_of(refused)) == ("fold 9 is unknown", "fold 9 is unknown")
