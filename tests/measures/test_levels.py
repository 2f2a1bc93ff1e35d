"""Levels from label maps on any grid and from tables, and what is measured at them."""

import json

import nibabel
import numpy as np
import pytest

from paraspinal_nnunet import measure
from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.levels import TOTALSPINESEG, find_levels, read_level_names, standard_name

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
