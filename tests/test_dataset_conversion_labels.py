import json
import pickle

import numpy as np
import pytest

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.dataset_conversion.labels import from_scheme, label_map
from paraspinal_nnunet.errors import LabelError


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "map.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


@pytest.mark.parametrize("name", LABEL_SCHEMES)
def test_every_scheme_translates_each_of_its_values(name):
    labels = from_scheme(LABEL_SCHEMES[name], quadratus=True)
    values = np.array([0, *labels.values])
    canonical = labels.canonical(values, "x")
    order = ["multifidus", "erector_spinae", "psoas_major", "quadratus_lumborum"]
    expected = [
        2 * order.index(k.rpartition("_")[0]) + (1 if k.endswith("right") else 2) for k in labels.values.values()
    ]
    assert canonical.tolist() == [0, *expected]
    assert canonical.dtype == np.uint8


def test_musclemap_codes_by_hand():
    labels = label_map("musclemap", quadratus=True)
    codes = np.array([[5101, 5102, 5111, 5112], [5121, 5122, 5131, 5132]], np.int32)
    assert labels.canonical(codes, "x").tolist() == [[2, 1, 4, 3], [6, 5, 8, 7]]


def test_lpm_has_four_consecutive_labels():
    assert list(label_map("lpm").dataset_labels.values()) == [1, 2, 3, 4]
    assert label_map("lpm").canonical(np.arange(5), "x").tolist() == [0, 3, 1, 2, 4]


def test_both_directions_of_a_file_mean_the_same(written):
    forward = label_map(written({"4": "psoas_major_right", "9": "psoas_major_left", "5": "ignore", "0": "background"}))
    backward = label_map(written({"psoas_major_right": 4, "psoas_major_left": [9], "ignore": 5, "background": 0}))
    assert forward == backward
    assert forward.values == {4: "psoas_major_right", 9: "psoas_major_left"}
    assert forward.dropped == {5: "ignore"}


def test_gaps_are_closed_in_canonical_order(written):
    labels = label_map(written({"1": "quadratus_lumborum_left", "2": "multifidus_left"}), quadratus=True)
    assert labels.dataset_labels == {"multifidus_left": 1, "quadratus_lumborum_left": 2}
    canonical = labels.canonical(np.array([0, 1, 2]), "x")
    assert canonical.tolist() == [0, 8, 2]
    assert labels.renumber(canonical).tolist() == [0, 2, 1]


def test_quadratus_is_dropped_unless_asked_for():
    assert sorted(label_map("musclemap-abdomen").dropped) == [7, 8]
    assert not label_map("musclemap-abdomen", quadratus=True).dropped


@pytest.mark.parametrize(
    ("values", "text"), [([0, 7], "7"), ([-3, 1], "-3"), ([1, 70000], "70000"), (range(20), r"7, 8, 9, 10, 11 \.\.\.")]
)
def test_unknown_values_are_named(values, text):
    with pytest.raises(LabelError, match=rf"x\.nii: unknown label value {text}; 'author' knows 1, 2, 3, 4, 5, 6"):
        label_map("author").canonical(np.array(values), "x.nii")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "no valid label map"),
        ("[1]", "write an object"),
        ("{}", "write an object"),
        ({"1": "multifidus"}, "unknown class 'multifidus'"),
        ({"1": 2}, "unknown class '2'"),
        ({"multifidus_right": 1, "2": "multifidus_left"}, "mixes"),
        ({"multifidus_right": 1.5}, "'1.5' is no label value"),
        ({"multifidus_right": True}, "'True' is no label value"),
        ({"-1": "multifidus_right"}, "'-1' is no label value"),
        ({"0": "multifidus_right"}, "value 0 is always background"),
        ({"multifidus_right": 1, "multifidus_left": 1}, "value 1 stands for both"),
        ('{"1": "multifidus_right", "1": "multifidus_left"}', "stands there twice"),
        ({"1": "ignore"}, "maps no value to a class"),
        ({"1": "quadratus_lumborum_left"}, "maps no value to a class"),
    ],
)
def test_faulty_files_are_refused(written, content, text):
    with pytest.raises(LabelError, match=r"map\.json") as caught:
        label_map(written(content))
    assert text in str(caught.value)


def test_label_maps_travel_to_worker_processes():
    assert pickle.loads(pickle.dumps(label_map("lpm"))) == label_map("lpm")
