"""Files in which people name things: what is written is what is meant, or it is refused in one line."""

import json

import pytest

from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.measures.level_names import read_level_names
from paraspinal_nnunet.utils.tables import read_mapping

LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize("name", ["m.json", "m.yaml"])
def test_json_and_yaml_say_the_same(tmp_path, name):
    (tmp_path / name).write_text('{"41": "L1", "L2": 42, "both": [1, -2], "deep": {"a": null}}')
    assert read_mapping(tmp_path / name) == {"41": "L1", "L2": 42, "both": [1, -2], "deep": {"a": None}}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("m.json", '{"41": "L1", "41": "L2"}', "an entry stands there twice"),
        ("m.yaml", "41: L1\n41: L2\n", "an entry stands there twice"),
        ("m.yaml", LAUGHS, r"it uses an alias \(\*\)"),
        ("m.yaml", "010: L1\n", "010 is another number to YAML"),
        ("m.yaml", "0x29: L1\n", "0x29 is another number to YAML"),
        ("m.yaml", "1:30: L1\n", "1:30 is another number to YAML"),
        ("m.yaml", "!!python/object/apply:os.system [id]", "no valid JSON or YAML"),
        ("m.json", "[" * 100_000, "no valid JSON or YAML"),
        ("m.json", "[]", "holds no mapping"),
        ("m.json", "\ud800", "neither UTF-8 nor UTF-16"),
    ],
)
def test_what_means_something_else_is_refused_in_one_line(tmp_path, name, text, told):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(LabelError, match=told) as caught:
        read_mapping(tmp_path / name, kind=LabelError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"41": "L1", "L2": 41}, "41 stands for both L1 and L2"),
        ({"9" * 5000: "L1"}, "names no level"),
        ({"L1": "L2" * 5000}, "names no level"),
        ({"-1": "L1"}, "names no level"),
        ({"41": ""}, "names no level"),
    ],
)
def test_levels_have_one_name_each(tmp_path, content, told):
    (tmp_path / "names.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=told) as caught:
        read_level_names(tmp_path / "names.json")
    assert len(str(caught.value)) < 400
