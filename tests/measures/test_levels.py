"""Levels from label maps on any grid and from tables, and what is measured at them."""

import json

import nibabel
import numpy as np
import pytest

from paraspinal_nnunet import measure
from paraspinal_nnunet.cli.scans.measure import LEVEL_SCHEMES as CHOICES
from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.level_names import LEVEL_SCHEMES, TOTALSPINESEG, read_level_names, standard_name
from paraspinal_nnunet.measures.levels import find_levels

AFFINE = np.diag([1.0, 1.0, 5.0, 1.0])
SHAPE = (30, 30, 12)


def muscle():
    """One voxel more in each slice: areas 1, 2, 3... mm2 from slice 1 on."""
    labels = np.zeros(SHAPE, np.uint8)
    for k in range(12):
        labels[20, 5 : 6 + k, k] = 1
    return labels


def grid():
    return Volume(muscle(), AFFINE)


def spine():
    """L5-S1 in slice 1, L5 in 2 to 4, L4-L5 in 5, L4 in 6 to 9, L3-L4 in 10 and 11; the cord everywhere."""
    levels = np.zeros(SHAPE, np.int16)
    for value, (first, last) in {100: (1, 1), 45: (2, 4), 95: (5, 5), 44: (6, 9), 94: (10, 11)}.items():
        levels[10:16, 10:16, first - 1 : last] = value
    levels[16:18, 10, :] = 1
    return levels


def rows(levels, **options):
    result = measure(None, (muscle(), AFFINE), levels=levels, **options)
    table = result.table("levels").query("muscle == 'multifidus' and side == 'right'")
    return result, table.set_index("level")


def test_totalspineseg_by_its_own_list():
    assert {TOTALSPINESEG[v] for v in (41, 45, 92, 95, 100)} == {"L1", "L5", "L1-L2", "L4-L5", "L5-S1"}
    assert (TOTALSPINESEG[32], TOTALSPINESEG[71], TOTALSPINESEG[82], TOTALSPINESEG[91]) == (
        *("T12", "C7-T1", "T11-T12", "T12-L1"),
    )
    assert not {1, 2} & set(TOTALSPINESEG)


def test_measures_at_levels_by_hand():
    result, table = rows((spine(), AFFINE))
    assert table.index.tolist() == ["L3-L4", "L4", "L4-L5", "L5", "L5-S1"]
    assert table["kind"].tolist() == ["disc", "vertebra", "disc", "vertebra", "disc"]
    l4 = table.loc["L4"]
    assert (l4["first_slice"], l4["last_slice"], l4["mid_slice"], l4["slices"]) == (6, 9, 7, 4)
    assert l4["csa_mean_mm2"] == pytest.approx((6 + 7 + 8 + 9) / 4)
    assert l4["csa_mid_mm2"] == 7
    assert l4["mid_z_mm"] == 30
    assert l4["volume_ml"] == pytest.approx((6 + 7 + 8 + 9) * 5 / 1000)
    assert result.structure("multifidus_right").csa_max_level == ""  # slice 12 has no level
    assert result.table("slices")["level"].tolist() == ["L5-S1", *["L5"] * 3, "L4-L5", *["L4"] * 4, *["L3-L4"] * 2, ""]


def test_most_voxels_decide_a_slice():
    levels = spine()
    levels[20:22, 20:29, 4] = 44  # 18 voxels of a process of L4 against 36 of the disc
    assert rows((levels, AFFINE))[1].loc["L4-L5", "slices"] == 1
    levels[20:25, 20:29, 4] = 44
    assert "L4-L5" not in rows((levels, AFFINE))[1].index


def test_map_on_a_sagittal_grid():
    """4 mm slices across x and 1 mm along z, stored PSL: the same levels."""
    fine = np.repeat(spine(), 5, axis=2)[::4]
    affine = np.diag([4.0, 1.0, 1.0, 1.0])
    affine[2, 3] = -2.0
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(fine, affine))
    turned = image.as_reoriented(nibabel.orientations.axcodes2ornt("LPS")[[1, 2, 0]])
    assert nibabel.aff2axcodes(turned.affine) != ("R", "A", "S")
    expected = rows((spine(), AFFINE))[1]
    found = rows(turned)[1]
    assert found.drop(columns="case").equals(expected.drop(columns="case"))


def test_table_of_discs_gives_vertebrae_between(tmp_path):
    path = tmp_path / "levels.csv"
    path.write_text("case,level,slice\nc,L3/L4,10\nc,L4/L5,5\nc,L5-S,1\nother,L1,1\n")
    table = rows(path, case="c")[1]
    assert table.index.tolist() == ["L3-L4", "L4", "L4-L5", "L5", "L5-S1"]
    assert (table.loc["L4", "first_slice"], table.loc["L4", "last_slice"], table.loc["L4", "mid_slice"]) == (6, 9, 7)
    assert table.loc["L4", "csa_mean_mm2"] == pytest.approx(7.5)
    assert table.loc["L4-L5", "csa_mid_mm2"] == 5
    assert np.isnan(table.loc["L4-L5", "csa_mean_mm2"])
    with pytest.raises(InputError, match="has no level of case d; it has c, other"):
        rows(path, case="d")
    for content in (b"", b"\xff\xfe\x00", b"level\nL4\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"levels\.csv"):
            rows(path, case="c")


def test_given_middle_of_a_vertebra_wins():
    found = find_levels({"L3-L4": 10, "L4-L5": 5, "L4": 8}, grid(), case="c")
    assert [(level.name, level.slices, level.mid_slice) for level in found.all][1] == ("L4", (6, 7, 8, 9), 8)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"L3": 5, "L4": 8}, "L3 in slice 5 does not lie above L4 in slice 8; slices count from 1 at the feet"),
        ({"L4-L5": 8, "L4": 8}, "L4 in slice 8 does not lie above L4-L5 in slice 8"),
        ({"L3": 13}, "L3 is said to be slice 13 of 12"),
        ({"L4-L5": 4, "l4/l5": 5}, "gives the level L4-L5 twice"),
    ],
)
def test_wrong_tables_are_refused(levels, message):
    with pytest.raises(InputError, match=message):
        find_levels(levels, grid(), case="c")


def test_other_values_by_a_map_of_names(tmp_path):
    levels = np.where(spine() == 44, 7, 0)
    with pytest.raises(LabelError, match="has no voxel of a level"):
        rows((levels, AFFINE))
    yaml, two_ways = tmp_path / "names.yaml", [{"7": "L4"}, {"L4": 7}]
    yaml.write_text("7: L4\n")
    for place, content in enumerate(two_ways):
        path = tmp_path / f"{place}.json"
        path.write_text(json.dumps(content))
        assert read_level_names(path) == read_level_names(yaml) == {7: "L4"}
    assert rows((levels, AFFINE), level_names={7: "L4"})[1].loc["L4", "slices"] == 4
    (tmp_path / "bad.json").write_text('{"L4": "L5"}')
    with pytest.raises(InputError, match="names no level"):
        read_level_names(tmp_path / "bad.json")
    (tmp_path / "worse.yaml").write_text("a: [")
    with pytest.raises(InputError, match="no valid JSON or YAML"):
        read_level_names(tmp_path / "worse.yaml")


def test_names_are_spelt_one_way():
    spelt = {"L1L2": "L1-L2", "l5_s1": "L5-S1", "disc_L4_L5": "L4-L5", "T12-L1": "T12-L1", "S1": "S1", "iliac": "iliac"}
    assert {name: standard_name(name) for name in spelt} == spelt


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *(
            ("Th12", "T12"),
            ("TH 12", "T12"),
            ("D12", "T12"),
            ("BWK12", "T12"),
            ("t09", "T9"),
            ("L 3", "L3"),
            ("l3", "L3"),
        ),
        *(("LWK3", "L3"), ("LWK 3", "L3"), ("L03", "L3"), ("vertebrae_L5", "L5"), ("Vertebra L5", "L5"), ("S 1", "S1")),
        *(("T12/L1", "T12-L1"), ("Th12-L1", "T12-L1"), ("D12/L1", "T12-L1"), ("L5/S1", "L5-S1"), ("L5 - S1", "L5-S1")),
        *(
            ("L4/5", "L4-L5"),
            ("L4\u2013L5", "L4-L5"),
            ("IVD L4/L5", "L4-L5"),
            ("disc_L4_L5", "L4-L5"),
            ("L5/S", "L5-S1"),
        ),
        *((" Os sacrum ", "sacrum"), ("LWK4/LWK5", "L4-L5"), ("L5-L6", "L5-L6"), ("L6/S1", "L6-S1"), ("L5L6", "L5-L6")),
    ],
)
def test_names_as_people_write_them(text, name):
    assert standard_name(text) == name


@pytest.mark.parametrize(
    ("text", "message"),
    [("L9", "no vertebra L9"), ("T14", "no vertebra T14"), ("L1-L4", "L1 and L4 are no neighbours")],
)
def test_names_that_nobody_has(text, message):
    with pytest.raises(InputError, match=message):
        find_levels({text: 5}, grid(), case="c")


def column(values, height=3):
    """A map with one block of slices per value, the first at the feet; slices of 5 mm."""
    levels = np.zeros((30, 30, height * len(values)), np.int16)
    for k, value in enumerate(values):
        levels[10:16, 10:16, height * k : height * (k + 1)] = value
    return levels


def tall(slices):
    return Volume(np.ones((30, 30, slices), np.uint8), AFFINE)


def found(values, height=3, **options):
    levels = column(values, height)
    return find_levels((levels, AFFINE), tall(levels.shape[2]), case="c", **options)


FIVE = ["L1", "L2", "L3", "L4", "L5"]


@pytest.mark.parametrize(
    ("values", "scheme", "names"),
    [
        ((27, 28, 29, 30, 31), "totalsegmentator", FIVE),
        ((25, 26, 27, 28), "totalsegmentator", ["L4", "L5", "S1", "sacrum"]),
        ((18, 19, 20, 21, 22), "totalsegmentator-v1", FIVE),
        ((45, 44, 43, 42, 41), "totalspineseg", FIVE),
        ((24, 23, 22, 21, 20), "verse", FIVE),
        ((26, 124, 24, 123, 23), "spineps", ["L4", "L4-L5", "L5", "L5-S1", "sacrum"]),
        ((201, 1, 202, 2, 203, 3), "spider", ["L3", "L3-L4", "L4", "L4-L5", "L5", "L5-S1"]),
        ((1, 11, 2, 12, 3), "mrspineseg", ["L4", "L4-L5", "L5", "L5-S1", "sacrum"]),
    ],
)
def test_known_schemes_are_recognised(values, scheme, names):
    levels = found(values)
    assert ([level.name for level in levels.all], levels.scheme) == (names, scheme)
    assert found(values, scheme=scheme) == levels
    by_names = find_levels((column(values), AFFINE), tall(3 * len(values)), case="c", names=LEVEL_SCHEMES[scheme].names)
    assert by_names.all == levels.all


def test_choices_of_the_command_are_the_schemes():
    assert tuple(LEVEL_SCHEMES) == CHOICES


def test_values_that_fit_several_schemes_are_asked_for():
    """1 to 5 from below are L5 to L1 by SPIDER, and sacrum to L2 by TotalSegmentator's model for MR."""
    with pytest.raises(
        LabelError, match=r"fit several schemes: .*mr \(L2 to sacrum\); spider \(L1 to L5\).*--levels-scheme"
    ):
        found((1, 2, 3, 4, 5))
    assert [level.name for level in found((1, 2, 3, 4, 5), scheme="spider").all] == FIVE
    with pytest.raises(InputError, match="levels scheme 'mine' is unknown; choose from totalspineseg"):
        found((1, 2), scheme="mine")


def test_levels_that_no_spine_has_are_refused():
    with pytest.raises(LabelError, match=r"fit no known scheme .*totalspineseg: L5 \(slices 13-15\) lies above L4 "):
        found((41, 42, 43, 44, 45))  # upside down
    with pytest.raises(LabelError, match=r"T11 \(slices 13-15\) lies above T10 \(slices 10-12\)"):
        found((27, 28, 29, 30, 31), scheme="totalspineseg")
    with pytest.raises(LabelError, match=r"L2 .* and L4 .* are neighbours without"):
        found((45, 44, 42), scheme="totalspineseg")
    with pytest.raises(LabelError, match="L4 is there twice"):
        found((45, 44, 43), names={45: "L5", 44: "L4", 43: "L4"})
    with pytest.raises(LabelError, match="is 100 mm high, not 15 to 60 mm"):
        found((45, 44, 43), height=20)
    with pytest.raises(LabelError, match=r"L4 \(slice 2\) is 5 mm high"):
        found((45, 44, 43), height=1)
    apart = column((45, 0, 0, 43))
    assert [v.name for v in find_levels((apart, AFFINE), tall(12), case="c").all] == ["L3", "L5"]  # 30 mm between


def test_the_scheme_stands_in_the_record():
    result = measure(None, (np.ones((30, 30, 15), np.uint8), AFFINE), levels=(column((27, 28, 29, 30, 31)), AFFINE))
    assert result.to_json()["levels_scheme"] == "totalsegmentator"
    assert result.table("levels")["level"].drop_duplicates().tolist() == FIVE


def test_a_map_by_the_command(tmp_path, capsys):
    from paraspinal_nnunet.cli import main

    image = nibabel.Nifti1Image(column((1, 2, 3, 4, 5)), AFFINE)
    nibabel.save(image, tmp_path / "levels.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.ones((30, 30, 15), np.uint8), AFFINE), tmp_path / "c.nii.gz")
    words = ["measure", "-l", str(tmp_path / "c.nii.gz"), "--levels", str(tmp_path / "levels.nii.gz")]
    assert main([*words, "-o", str(tmp_path / "out")]) == 1
    assert "fit several schemes" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path / "out"), "--levels-scheme", "spider"]) == 0
    assert "L1" in (tmp_path / "out" / "levels.tsv").read_text()
