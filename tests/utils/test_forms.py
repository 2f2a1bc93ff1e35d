"""Parsed JSON of another form is refused with the place of the first fault."""

import json

import pytest

from paraspinal_nnunet.errors import DatasetError, InputError
from paraspinal_nnunet.utils.forms import ANY, check_form, read_form

FORM = {
    **{"name": str, "sizes": [int], "mean?": (float, None), "labels": {ANY: (int, [int])}},
    **{"flag?": bool, "any?": object},
}
SOUND = {"name": "a", "sizes": [1, 2], "labels": {"x": 1, "y": [1, 2]}}


@pytest.mark.parametrize("more", [{}, {"mean": None}, {"mean": 2}, {"flag": True}, {"any": []}, {"else": 1}])
def test_what_fits(more):
    check_form({**SOUND, **more}, FORM, "a.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 1}, "name is 1, not text"),
        ({"name": None}, "name is None, not text"),
        ({"sizes": 3}, "sizes is 3, not a list"),
        ({"sizes": [1, 2.0]}, "sizes[1] is 2.0, not a whole number"),
        ({"sizes": [True]}, "sizes[0] is True, not a whole number"),
        ({"mean": "1"}, "mean is '1', not a number or null"),
        ({"mean": True}, "mean is True, not a number or null"),
        ({"labels": {"x": "1"}}, "labels.x is '1', not a whole number or a list"),
        ({"labels": {"x": [1, "2"]}}, "labels.x[1] is '2', not a whole number"),
        ({"labels": {"x" * 200: None}}, f"labels.{'x' * 60}... is None, not a whole number or a list"),
        ({"flag": 1}, "flag is 1, not true or false"),
    ],
)
def test_what_does_not(change, said):
    with pytest.raises(InputError) as caught:
        check_form({**SOUND, **change}, FORM, "a.json", advice="mend it")
    assert str(caught.value) == f"a.json: {said}; mend it"


def test_what_is_missing_and_what_is_no_object():
    with pytest.raises(DatasetError, match=r"^a: labels is missing; make it again$"):
        check_form({"name": "a", "sizes": []}, FORM, "a", kind=DatasetError)
    with pytest.raises(InputError, match=r"^a: the content is \[\], not an object; make it again$"):
        check_form([], FORM, "a")


def test_the_message_is_one_line():
    with pytest.raises(InputError, match=r"^a: name is \['\\n\\ud800.*\.\.\., not text; make it again$"):
        check_form({**SOUND, "name": ["\n\ud800" * 99]}, FORM, "a")


def test_reading(tmp_path):
    path = tmp_path / "a.json"
    for text in ("", "[1]", "{", "[" * 100_000, '{"name": 1}'):
        path.write_text(text)
        with pytest.raises(DatasetError, match="mend it"):
            read_form(path, FORM, advice="mend it", kind=DatasetError)
    path.write_text(json.dumps(SOUND))
    assert read_form(path, FORM) == SOUND
