"""Two time points of boxes whose changes are known: pairing, changes, what is detectable, flags, files and command."""

import base64
import json
from math import isnan, sqrt

import numpy as np
import pandas as pd
import pytest

from paraspinal_nnunet import cli, measure
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.follow_up.changes import changes_of
from paraspinal_nnunet.follow_up.checks import PAIR_FLAGS, pair_flags
from paraspinal_nnunet.follow_up.detectable import from_repeats, published_bound_ml
from paraspinal_nnunet.follow_up.outputs import TABLES
from paraspinal_nnunet.follow_up.pairing import pair_scans, pair_sessions
from paraspinal_nnunet.follow_up.scans import find_scans

SHAPE, LEVELS = (40, 30, 14), {"L3-L4": 9, "L4-L5": 6}
"""Voxels of 1 x 1 x 5 mm: each is 0.005 ml."""


def boxes(width=4, first=3, last=11, drop=()):
    """Six boxes of 5 rows in slices `first` to `last` (from 1): columns of the right multifidus `width`, others 4."""
    labels = np.zeros(SHAPE, np.uint8)
    for value, (i, j) in enumerate(((21, 4), (13, 4), (28, 4), (6, 4), (28, 20), (6, 20)), start=1):
        if value not in drop:
            labels[i : i + (width if value == 1 else 4), j : j + 5, first - 1 : last] = value
    return labels


def store(folder, case, labels, *, levels=LEVELS, size=(1.0, 1.0, 5.0), bottom=0.0, fat=0):
    """Measure a map, by its affine with a scan in which `fat` of 5 rows of each box are bright, and keep the record."""
    affine = np.diag([*size, 1.0])
    affine[2, 3] = bottom
    image = np.where(labels > 0, 100.0, 20.0)
    for j in (4, 20):
        image[:, j : j + fat][labels[:, j : j + fat] > 0] = 300
    image[::2] += 1  # no constant intensity, of which no method finds a threshold
    result = measure((image, affine), (labels, affine), case=case, levels=levels, fat_methods=("otsu",))
    (folder / case).mkdir(parents=True)
    (folder / case / "measures.json").write_text(json.dumps(result.to_json()))


def only_pair(folder):
    return pair_scans(find_scans(folder / "a"), find_scans(folder / "b"))[0]


def found(changes, **wanted):
    return [c for c in changes if all(getattr(c, name) == value for name, value in wanted.items())]


def of_right_multifidus(changes, measure, scope="whole", **more):
    return found(changes, muscle="multifidus", side="right", measure=measure, scope=scope, **more)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """The right multifidus is 4 columns wide, then 5; fat in 1 of 5 rows, then in 2."""
    folder = tmp_path_factory.mktemp("grown")
    store(folder / "a", "sub-1_ses-1", boxes(4), fat=1)
    store(folder / "b", "sub-1_ses-2", boxes(5), fat=2)
    return folder


def test_changes_are_those_that_were_made(grown):
    """By hand: 4 x 5 x 9 voxels of 0.005 ml are 0.9 ml, 5 x 5 x 9 are 1.125 ml: + 0.225 ml, 25 %."""
    changes = changes_of(only_pair(grown))
    (volume,) = of_right_multifidus(changes, "volume_ml")
    assert (volume.earlier, volume.later, volume.unit) == (pytest.approx(0.9), pytest.approx(1.125), "ml")
    assert (volume.change, volume.change_percent) == (pytest.approx(0.225), pytest.approx(25))
    (area,) = of_right_multifidus(changes, "csa_max_mm2")
    assert (area.earlier, area.later) == (pytest.approx(20), pytest.approx(25))
    (fat,) = of_right_multifidus(changes, "fat_fraction_otsu")
    assert (fat.earlier, fat.later, fat.change) == (pytest.approx(0.2), pytest.approx(0.4), pytest.approx(0.2))
    (lean,) = of_right_multifidus(changes, "lean_volume_otsu_ml")
    assert (lean.earlier, lean.later) == (pytest.approx(0.72), pytest.approx(0.675))
    others = [c for c in changes if c.measure == "volume_ml" and (c.muscle, c.side) != ("multifidus", "right")]
    assert {c.change for c in others} == {0.0}


def test_levels_are_matched_by_name(grown):
    changes = changes_of(only_pair(grown))
    levels = of_right_multifidus(changes, "csa_mid_mm2", "level")
    assert [(c.place, c.earlier, c.later, c.matched_by) for c in levels] == [
        ("L3-L4", pytest.approx(20), pytest.approx(25), "level"), ("L4", pytest.approx(20), pytest.approx(25), "level"),
        ("L4-L5", pytest.approx(20), pytest.approx(25), "level"),
    ]  # fmt: skip
    assert not found(changes, scope="slice")


def test_a_level_is_found_again_in_another_slice(tmp_path):
    """The disc lies in slice 6, then in slice 9, where the muscle is as wide as it was in slice 6."""
    first, second = boxes(4), boxes(4)
    first[21:26, 4:9, 5] = 1  # 25 pixels in slice 6
    second[21:26, 4:9, 8] = 1  # 25 pixels in slice 9
    store(tmp_path / "a", "x", first, levels={"L4-L5": 6})
    store(tmp_path / "b", "x", second, levels={"L4-L5": 9})
    (level,) = of_right_multifidus(changes_of(only_pair(tmp_path)), "csa_mid_mm2", "level")
    assert (level.earlier, level.later, level.change) == (25, 25, 0)


def levels_map(rows):
    """A levels map from level value (TotalSpineSeg: 43 L3, 44 L4, 45 L5) to its slices, from 1."""
    found = np.zeros(SHAPE, np.uint8)
    for value, (first, last) in rows.items():
        found[15:25, 10:18, first - 1 : last] = value
    return found


def test_common_levels_leave_out_what_an_end_of_a_stack_cuts(tmp_path):
    """L3 to L5 of 4 slices each, L5 cut by the first slice: 2 whole levels of 4 slices of 20 or 25 pixels of 5 mm."""
    for name, width in (("a", 4), ("b", 5)):
        levels = (levels_map({43: (9, 12), 44: (5, 8), 45: (1, 4)}), np.diag([1.0, 1.0, 5.0, 1.0]))
        store(tmp_path / name, "x", boxes(width, 1, 14), levels=levels)
    changes = changes_of(only_pair(tmp_path))
    (common,) = of_right_multifidus(changes, "volume_ml", "common levels")
    assert (common.place, common.earlier, common.later) == ("L3 to L4", pytest.approx(0.8), pytest.approx(1.0))
    (cut,) = of_right_multifidus(changes, "volume_ml", "level", place="L5")
    assert cut.cut
    assert "reaches an end of a stack" in cut.note


def test_without_levels_slices_are_matched_by_their_height_and_that_is_said(tmp_path):
    """The later stack begins 10 mm higher: its slice 1 lies where slice 3 lay."""
    store(tmp_path / "a", "x", boxes(4), levels=None)
    store(tmp_path / "b", "x", boxes(5), levels=None, bottom=10.0)
    pair = only_pair(tmp_path)
    slices = of_right_multifidus(changes_of(pair), "csa_mm2", "slice")
    assert [(c.earlier_slice, c.later_slice) for c in slices] == [(k, k - 2) for k in range(5, 12)]
    assert {c.matched_by for c in slices} == {"position"}
    assert [f.kind for f in pair_flags(pair)] == ["position"]


def test_a_stack_of_thicker_slices_finds_the_nearest(tmp_path):
    """Slices of 5 mm from 0, then of 10 mm from 1 mm on: 11 mm lies nearest to 10 mm, 21 to 20..."""
    store(tmp_path / "a", "x", boxes(4, 1, 14), levels=None)
    store(tmp_path / "b", "x", boxes(4, 1, 14), levels=None, size=(1.0, 1.0, 10.0), bottom=1.0)
    pair = only_pair(tmp_path)
    slices = of_right_multifidus(changes_of(pair), "csa_mm2", "slice")
    assert [(c.earlier_slice, c.later_slice) for c in slices] == [(2 * k + 1, k + 1) for k in range(7)]
    assert {f.kind: f.text for f in pair_flags(pair)}["spacing"] == "distance between slices: 5 mm, then 10 mm"


def test_a_missing_muscle_has_no_change(tmp_path):
    store(tmp_path / "a", "x", boxes())
    store(tmp_path / "b", "x", boxes(drop=(1,)))
    pair = only_pair(tmp_path)
    (row,) = found(changes_of(pair), muscle="multifidus", side="right")
    assert (row.earlier, row.note) == (pytest.approx(0.9), "no voxels in the later scan")
    assert isnan(row.change)
    assert pair_flags(pair)[0].text == "Multifidus right has no voxels in the later scan"


def test_a_muscle_cut_at_unequal_lengths_is_said_to_be_and_not_judged(tmp_path):
    """To the last slice: 12 slices of 5 mm are seen, then 14."""
    store(tmp_path / "a", "x", boxes(4, 3, 14), levels=None)
    store(tmp_path / "b", "x", boxes(4, 1, 14), levels=None, bottom=1.0)
    pair = only_pair(tmp_path)
    flag = next(f for f in pair_flags(pair) if f.kind == "coverage")
    assert flag.text.startswith("Multifidus right: the stacks show 60 mm of it, then 70 mm")
    (volume,) = of_right_multifidus(changes_of(pair), "volume_ml")
    assert volume.cut
    assert volume.beyond == ""


def test_one_mask_given_twice_is_serious(tmp_path):
    store(tmp_path / "a", "x", boxes())
    store(tmp_path / "b", "x", boxes())
    (flag,) = pair_flags(only_pair(tmp_path))
    assert (flag.kind, flag.severity) == ("person", "serious")
    assert set(PAIR_FLAGS) >= {flag.kind}


def test_people_are_paired_by_subject_by_name_or_by_a_table(tmp_path, caplog):
    for case in ("sub-1_ses-1", "sub-2_ses-1", "old"):
        store(tmp_path / "a", case, boxes())
    for case in ("sub-1_ses-2", "sub-2_ses-2", "new"):
        store(tmp_path / "b", case, boxes(5))
    scans = find_scans(tmp_path / "a"), find_scans(tmp_path / "b")
    pairs = pair_scans(*scans)
    assert [(p.person, p.earlier.case, p.later.case) for p in pairs] == [
        ("sub-1", "sub-1_ses-1", "sub-1_ses-2"), ("sub-2", "sub-2_ses-1", "sub-2_ses-2"),
    ]  # fmt: skip
    assert [r.getMessage() for r in caplog.records] == [
        "1 person without a second scan (only earlier), left out: old",
        "1 person without a second scan (only later), left out: new",
    ]
    table = tmp_path / "pairs.csv"
    table.write_text("earlier,later,person\nold,new,P7\n")
    (pair,) = pair_scans(*scans, table)
    assert (pair.person, pair.earlier.case, pair.later.case) == ("P7", "old", "new")
    table.write_text("earlier,later\nsub-1_ses-1,sub-2_ses-2\n")
    with pytest.raises(InputError, match=r"line 2: sub-1_ses-1 is of sub-1, sub-2_ses-2 of sub-2: two people"):
        pair_scans(*scans, table)
    table.write_text("earlier,later\nold,newer\n")
    with pytest.raises(InputError, match=r"line 2: newer is no later scan; there are new, sub-1_ses-2"):
        pair_scans(*scans, table)


def test_two_lone_scans_are_one_person_unless_their_names_say_otherwise(tmp_path):
    store(tmp_path / "a", "sub-1", boxes())
    store(tmp_path / "b", "sub-2", boxes())
    with pytest.raises(InputError, match="two people"):
        pair_scans(find_scans(tmp_path / "a"), find_scans(tmp_path / "b"))
    store(tmp_path / "c", "case-1a2b", boxes(5))
    (pair,) = pair_scans(find_scans(tmp_path / "a"), find_scans(tmp_path / "c"))
    assert pair.assumed
    assert "taken for one person" in pair_flags(pair)[0].text


def test_sessions_of_one_folder(tmp_path):
    for case in ("sub-1_ses-10", "sub-1_ses-02", "sub-2_ses-02"):
        store(tmp_path, case, boxes())
    (pair,) = pair_sessions(find_scans(tmp_path), tmp_path)
    assert (pair.earlier.case, pair.later.case) == ("sub-1_ses-02", "sub-1_ses-10")
    store(tmp_path, "sub-1_ses-11", boxes())
    with pytest.raises(InputError, match="sub-1 has 3 scans"):
        pair_sessions(find_scans(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        *(("2", "10"), ("M6", "M12"), ("20190830", "20210102"), ("a", "b"), ("1mo2", "1mo10")),
        *(("pre", "post"), ("preop", "fu12"), ("baseline", "12mo"), ("BL", "2"), ("1", "final")),
    ],
)
def test_the_order_of_sessions_is_what_their_names_tell_not_the_alphabets(tmp_path, earlier, later):
    for session in (earlier, later):
        store(tmp_path, f"sub-1_ses-{session}_T2w", boxes())
    (pair,) = pair_sessions(find_scans(tmp_path), tmp_path)
    assert (pair.earlier.case, pair.later.case) == (f"sub-1_ses-{earlier}_T2w", f"sub-1_ses-{later}_T2w")


def test_time_points_that_seem_to_be_exchanged_are_flagged(tmp_path):
    for folder, case in (("a", "sub-1_ses-1"), ("b", "sub-1_ses-2"), ("c", "sub-1_ses-x9y")):
        store(tmp_path / folder, case, boxes())
    first, second, unknown = (find_scans(tmp_path / folder) for folder in "abc")
    (pair,) = pair_scans(second, first)
    flag = next(flag for flag in pair_flags(pair) if flag.kind == "order")
    assert flag.severity == "serious"
    assert flag.text == "session 1 is given as the later one, session 2 as the earlier: were they exchanged?"
    for earlier, later in ((first, second), (unknown, first), (first, first)):
        assert "order" not in {flag.kind for flag in pair_flags(*pair_scans(earlier, later))}


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        (("ses-1y", "ses-6m"), "1y and 6m, do not tell which is the earlier"),
        (("ses-spring", "ses-autumn"), "autumn and spring, do not tell"),
        (("ses-1_run-1", "ses-1_run-2"), "sub-1_ses-1_run-1 and sub-1_ses-1_run-2 are of one session"),
    ],
)
def test_sessions_whose_order_nothing_tells_are_refused(tmp_path, sessions, message):
    for session in sessions:
        store(tmp_path, f"sub-1_{session}", boxes())
    with pytest.raises(InputError, match=message):
        pair_sessions(find_scans(tmp_path), tmp_path)


@pytest.fixture(scope="module")
def repeats(tmp_path_factory):
    """Five people read twice: the right multifidus differs by 0, 1, 2, 3 and 4 columns of 5 x 9 voxels of 0.005 ml."""
    folder = tmp_path_factory.mktemp("repeats")
    for person in range(5):
        store(folder / "r1", f"p{person}", boxes(2))
        store(folder / "r2", f"p{person}", boxes(2 + person))
    return folder


def test_the_smallest_detectable_change_of_readings(repeats):
    """By hand: differences of 0, 0.225, ... 0.9 ml; their SD is 0.225 x sqrt(10 / 4), SDC = 1.96 x SD."""
    known = from_repeats(pair_scans(find_scans(repeats / "r1"), find_scans(repeats / "r2")))
    own = known["multifidus", "right", "whole", "", "volume_ml"]
    sd = 0.225 * sqrt(10 / 4)
    assert (own.sem, own.value, own.people) == (pytest.approx(sd / sqrt(2)), pytest.approx(1.96 * sd), 5)
    assert ("multifidus", "left", "whole", "", "volume_ml") not in known  # read the same in all: no error to be known
    assert known["multifidus", "right", "level", "L4-L5", "csa_mid_mm2"].value == pytest.approx(1.96 * 5 * sqrt(2.5))


def test_the_papers_bound():
    """Its right multifidus has an SD of 25.7 ml, its ICCs are 0.940 or more: 1.96 x sqrt(2) x 25.7 x sqrt(0.06)."""
    assert published_bound_ml("multifidus", "right") == pytest.approx(1.96 * sqrt(2) * 25.7 * sqrt(0.06))
    assert isnan(published_bound_ml("quadratus_lumborum", "left"))


def run(capsys, *flags):
    code = cli.main(["compare", *map(str, flags)])
    return code, capsys.readouterr()


def test_files_and_their_dictionary(grown, repeats, tmp_path, capsys):
    code, said = run(
        capsys, grown / "a", grown / "b", "-o", tmp_path / "out", "--repeats", repeats / "r1", repeats / "r2"
    )
    assert code == 0
    assert "sub-1: volumes multifidus right +25.0 %, multifidus left +0.0 %" in said.out
    for name, declared in TABLES.items():
        header = (tmp_path / "out" / f"{name}.tsv").read_text().splitlines()[0].split("\t")
        assert (
            header
            == [column.name for column in declared]
            == list(json.loads((tmp_path / "out" / f"{name}.json").read_text()))
        )
    changes = pd.read_csv(tmp_path / "out" / "changes.tsv", sep="\t", keep_default_na=False)
    row = changes.query("scope == 'whole' and measure == 'volume_ml' and muscle == 'multifidus' and side == 'right'")
    assert row[["change", "change_percent", "beyond_detectable", "detectable_from"]].values.tolist() == [
        [0.225, 25.0, "no", "measured"]
    ]  # 0.225 < 1.96 x 0.225 x sqrt(2.5) = 0.697
    record = json.loads((tmp_path / "out" / "follow_up.json").read_text())
    assert len(record["changes"]) == len(changes)
    assert record["settings"]["people_read_twice"] == 5
    page = (tmp_path / "out" / "index.html").read_text()
    assert all(
        text in page for text in ("sub-1", "Volume", "+25.0", "0.7<", "L4-L5", "from 5 people who were read twice")
    )


def test_the_papers_bound_stands_beside_whole_volumes_of_long_stacks_only(tmp_path, capsys):
    """Stacks of 14 slices of 20 mm are 280 mm long, of 5 mm 70 mm: the paper's are about 320 mm."""
    for name, spacing in (("long", 20.0), ("short", 5.0)):
        for when, width in (("a", 4), ("b", 5)):
            store(tmp_path / name / when, "x", boxes(width), size=(1.0, 1.0, spacing))
        assert run(capsys, *(tmp_path / name / when for when in "ab"), "-o", tmp_path / name / "out")[0] == 0
    tables = [pd.read_csv(tmp_path / name / "out" / "changes.tsv", sep="\t") for name in ("long", "short")]
    assert tables[1]["smallest_detectable"].isna().all()
    known = tables[0].dropna(subset="smallest_detectable")
    assert set(zip(known["scope"], known["measure"], strict=True)) == {("whole", "volume_ml")}
    assert set(known["beyond_detectable"]) == {"unknown"}
    assert known["smallest_detectable"].iloc[0] == pytest.approx(17.4494, rel=1e-5)


def test_sessions_from_the_command(tmp_path, capsys):
    for case, width in (("sub-1_ses-1", 4), ("sub-1_ses-2", 5)):
        store(tmp_path / "r", case, boxes(width))
    assert run(capsys, tmp_path / "r", "-o", tmp_path / "out")[0] == 0
    code, said = run(capsys, tmp_path / "r", tmp_path / "r", "-o", tmp_path / "out")
    assert (code, "is given as both time points" in said.err) == (1, True)


def test_bad_folders_in_one_line(tmp_path, grown, capsys):
    (tmp_path / "empty").mkdir()
    code, said = run(capsys, tmp_path / "empty", grown / "b", "-o", tmp_path / "out")
    assert code == 1
    assert said.err.splitlines() == [
        f"paraspinal compare: error: {tmp_path / 'empty'}: holds no measured scan; give a folder of paraspinal measure "
        "or paraspinal predict"
    ]
    code, said = run(capsys, grown / "a", grown / "b", "-o", grown / "b" / "out")
    assert code == 1
    assert "would be written into what is read" in said.err
    code, said = run(capsys, grown / "a", grown / "b", "-o", tmp_path / "out", "--repeats", grown / "a", grown / "b")
    assert code == 1
    assert "needs at least 5" in said.err


def test_the_pictures_of_predictions_stand_side_by_side(tmp_path, capsys):
    """`paraspinal predict` writes results/NAME.png beside results/measures/NAME."""
    for when, width in (("a", 4), ("b", 5)):
        store(tmp_path / when / "measures", "x", boxes(width))
        (tmp_path / when / "x.png").write_bytes(f"picture {when}".encode())
    assert run(capsys, tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")[0] == 0
    page = (tmp_path / "out" / "index.html").read_text()
    pictures = [base64.b64encode(f"picture {when}".encode()).decode() for when in "ab"]
    assert all(f"data:image/png;base64,{picture}" in page for picture in pictures)
    assert page.index(pictures[0]) < page.index(pictures[1])
