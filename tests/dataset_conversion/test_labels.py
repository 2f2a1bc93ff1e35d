import json
import pickle

import numpy as np
import pytest

from paraspinal_nnunet.anatomy import ALL_STRUCTURES, LABEL_SCHEMES
from paraspinal_nnunet.dataset_conversion.labels.translation import from_scheme, label_map
from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.image_io.masks.label_names import parse_label_name


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
        ("{", "no valid JSON or YAML"),
        ("[1]", "holds no mapping"),
        ("{}", "holds no mapping"),
        ({"1": "multifidus"}, "'multifidus': says no side"),
        ({"1": "gluteus maximus left"}, "unknown class 'gluteus maximus left'"),
        ({"1": 2}, "unknown class '2'"),
        ({"multifidus_right": 1, "2": "multifidus_left"}, "mixes"),
        ({"multifidus_right": 1.5}, "'1.5' is no label value"),
        ({"multifidus_right": True}, "'True' is no label value"),
        ({"-1": "multifidus_right"}, "'-1' is no label value"),
        ({"0": "multifidus_right"}, "value 0 is always background"),
        ({"multifidus_right": 1, "multifidus_left": 1}, "value 1 stands for both"),
        ('{"1": "multifidus_right", "1": "multifidus_left"}', "stands there twice"),
        ({"--1": "multifidus_right"}, "unknown class '--1'"),
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


SIX = {
    1: "multifidus_right",
    2: "multifidus_left",
    3: "erector_spinae_right",
    4: "erector_spinae_left",
    5: "psoas_major_right",
    6: "psoas_major_left",
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.yaml",
            "# any\n1: MF_R\n2: left multifidus\n3: ES right\n4: esl\n5: PsoasRight\n6: psoas_major_left\n",
        ),
        ("a.yml", "MF_R: [1]\nMF_L: 2\nES_R: 3\nES_L: 4\nPM_R: 5\nPM_L: 6\nignore: [7, 9]\n"),
        ("a.json", '{"1": "RMF", "2": "MFL", "3": "es_r", "4": "ES-L", "5": "psoas right", "6": "L psoas major"}'),
        (
            "a.tsv",
            "name\tindex\tcolor\nMultifidus R\t1\tx\nMultifidus L\t2\tx\nErector spinae right\t3\tx\n"
            "Erector spinae left\t4\tx\nRight psoas\t5\tx\nLeft psoas\t6\tx\nvertebra L3\t33\tx\n",
        ),
        (
            "a.csv",
            "Region,Anatomy,Side,Value\na,thoracolumbar multifidus,right,1\na,thoracolumbar multifidus,left,2"
            "\na,erector spinae,right,3\na,erector spinae,left,4\na,psoas major,right,5\na,psoas major,left,6\n"
            "pelvis,sacrum,no side,6160\n",
        ),
        (
            "a.ctbl",
            "# Color table file a.ctbl\n# 7 values\n0 Background 0 0 0 0\n1 multifidus_right 216 101 79 255\n"
            "2 multifidus_left 1 2 3 255\n3 erector_spinae_right 1 2 3 255\n4 erector_spinae_left 1 2 3 255\n"
            "5 psoas_right 1 2 3 255\n6 psoas_left 1 2 3 255 more\n7 spinal_cord 1 2 3 255\n",
        ),
        (
            "a.label",
            '# ITK-SnAP Label Description File\n    0     0    0    0        0  0  0    "Clear Label"\n'
            + "".join(f'    {v}   255    0    0        1  1  1    "{key}"\n' for v, key in SIX.items())
            + '    8   255    0    0        0.5  1  1    "Label 8"\n',
        ),
    ],
)
def test_every_kind_of_file_names_the_six(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    labels = label_map(str(tmp_path / name))
    assert labels.values == SIX
    assert labels.name == name


def test_a_table_drops_what_is_no_muscle_of_ours(tmp_path):
    (tmp_path / "a.tsv").write_text("index\tname\n0\tbackground\n3\tsacrum\n4\tMF_L\n")
    assert label_map(str(tmp_path / "a.tsv")).dropped == {3: "sacrum"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "1: MF_R\n1: MF_L\n", "an entry stands there twice"),
        ("a.yaml", "1: [MF_R\n", "no valid JSON or YAML"),
        ("a.yaml", "{? [1, 2] : MF_R}\n", "an entry has a list or a mapping for a name"),
        ("a.tsv", "index\tname\n1\t\n2\tMF_L\n", "value 1 has no name"),
        ("a.yaml", "1: mutlifidus right\n", "is it 'multifidus'?"),
        ("a.yaml", "1: paraspinal right\n", "'paraspinal right': could be multifidus or erector spinae"),
        ("a.yaml", "1: right left psoas\n", "says two sides"),
        ("a.tsv", "indices,name\n1,MF_R\n", "has no columns 'index' and 'name'"),
        ("a.tsv", "index\tname\nx\tMF_R\n", "'x' is no label value"),
        ("a.tsv", "index\tname\n1\tpsoas\n", "'psoas': says no side"),
        (
            "a.tsv",
            "index\tname\n1\tMF_R\n1\tES_R\n",
            "value 1 stands for both multifidus_right and",
        ),
        ("a.label", "1 MF_R\n", "'1 MF_R' is no line"),
        ("a.ctbl", "# nothing\n", "lists no label"),
        ("a.xml", "<a/>", "its name must end in"),
    ],
)
def test_faulty_maps_and_tables_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelError) as caught:
        label_map(str(tmp_path / name))
    assert name in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("thoracolumbar multifidus left", "multifidus_left"),
        ("semispinalis cervicis and multifidus left", None),
        ("psoas minor right", None),
        ("MFL", "multifidus_left"),
        ("erector spinae and multifidus R", "erector_spinae_and_multifidus_right"),
        ("iliopsoas_left", "iliopsoas_left"),
        ("M. psoas major rechts", "psoas_major_right"),
        ("Psoas_Sin", "psoas_major_left"),
        ("linker Multifidus", "multifidus_left"),
        ("gemelli and quadratus femoris left", None),
        ("rib_left_1", None),
        ("L5", None),
    ],
)
def test_names_and_the_classes_they_mean(name, key):
    assert parse_label_name(name) == key


@pytest.mark.parametrize("name", ["right psoas fat", "Multifidus L4 left", "erector spinae (iliocostalis) R"])
def test_names_that_hold_a_muscles_and_mean_something_else_are_asked_for(name):
    """They were background, which a network would have learnt."""
    with pytest.raises(LabelError, match=r"is it one of ours\? name it e\.g\. 'multifidus_right', or mark it 'ignore'"):
        parse_label_name(name)


def test_every_class_is_understood_by_each_of_its_own_names():
    for structure in ALL_STRUCTURES:
        for name in (structure.key, structure.display_name, structure.abbreviation):
            assert parse_label_name(name) == structure.key
