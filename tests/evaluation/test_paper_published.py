"""The paper's results as data, and the contradictions among them."""

import numpy as np
import pytest
from helpers.paper_checks import check_overlaps, derived_contradictions, interval_can_be_printed, overlap_checks

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.evaluation.metrics.overlap import METRICS
from paraspinal_nnunet.evaluation.paper.published import (
    MODEL_OF_ARM,
    VOLUME_ICC,
    contradictions,
    contradictions_of,
    published_notes,
    published_statements,
    published_table1,
)
from paraspinal_nnunet.protocol.paper import PAPER

IMPLIED_DICE = {
    ("multifidus", "left"): 0.891,
    ("multifidus", "right"): 0.885,
    ("erector_spinae", "left"): 0.917,
    ("erector_spinae", "right"): 0.914,
    ("psoas_major", "left"): 0.923,
    ("psoas_major", "right"): 0.921,
}


def cell(model, muscle, side, metric):
    table = published_table1().set_index(["model", "muscle", "side", "metric"])
    return table.loc[(model, muscle, side, metric)]


def test_table_1_is_complete():
    table = published_table1()
    assert len(table) == 4 * 6 * 8
    assert not table.duplicated(["model", "muscle", "side", "metric"]).any()
    assert set(table["model"]) == set(MODEL_OF_ARM.values())
    assert set(table["metric"]) == {*METRICS, VOLUME_ICC}
    assert {(s.muscle.value, s.side.value) for s in PARASPINAL} == set(zip(table["muscle"], table["side"], strict=True))
    is_icc = table["metric"] == VOLUME_ICC
    assert table.loc[is_icc, ["mean", "ci_low", "ci_high"]].notna().all(axis=None)
    assert table.loc[~is_icc, ["mean", "sd"]].notna().all(axis=None)


def test_numbers_are_what_is_printed():
    for row in published_table1().itertuples():
        if row.note:
            continue
        icc = f"{row.mean:.3f} ({row.ci_low:.3f}–{row.ci_high:.3f})"
        assert row.printed == (icc if row.metric == VOLUME_ICC else f"{row.mean:.3f} ({row.sd:.3f})")


def test_some_cells_read_by_eye():
    assert cell("2D without DA", "multifidus", "left", "dice")["printed"] == "0.905 (0.021)"
    assert cell("3D with DA", "psoas_major", "right", "volume_ratio")["printed"] == "0.996 (0.090)"
    assert cell("2D with DA", "erector_spinae", "right", VOLUME_ICC)["printed"] == "0.939 (0.906–0.961)"
    misprint = cell("3D without DA", "psoas_major", "left", VOLUME_ICC)
    assert misprint["printed"] == "0.981–0.967–0.989)"
    assert tuple(misprint[["mean", "ci_low", "ci_high"]]) == (0.981, 0.967, 0.989)


def test_a_caller_cannot_change_the_data():
    changed = published_table1()
    changed["mean"] = 0.0
    assert published_table1()["mean"].min() > 0.7


def test_volumes_of_the_text_are_those_of_the_protocol():
    statements = published_statements()
    for muscle in ("multifidus", "erector_spinae", "psoas_major"):
        right, left = (statements[f"volume {muscle} {side}"] for side in ("right", "left"))
        printed = (*right.values, right.sd, *left.values, left.sd)
        assert printed == getattr(PAPER.cohort, f"{muscle}_ml")


def test_every_statement_says_where_it_stands():
    for statement in published_statements().values():
        assert statement.place
        assert all(f"{value:g}".lstrip("-0") in statement.printed for value in statement.values)
    assert all(place and text for place, text in published_notes())


def test_only_3d_with_da_has_dice_that_its_jaccard_and_conformity_exclude():
    checks = overlap_checks()
    assert len(checks) == 24
    found = {key: round(check.implied_dice, 3) for key, check in checks.items() if not check.feasible}
    assert found == {("3D with DA", *muscle): dice for muscle, dice in IMPLIED_DICE.items()}


@pytest.mark.parametrize("seed", range(3))
def test_numbers_of_one_set_of_masks_are_feasible(seed):
    dice = np.random.default_rng(seed).beta(60, 6, size=76)
    values = {"dice": dice, "jaccard": dice / (2 - dice), "conformity": 3 - 2 / dice}
    printed = {name: (round(v.mean(), 3), round(v.std(ddof=1), 3)) for name, v in values.items()}
    check = check_overlaps(printed)
    assert check.miss <= 0.01
    assert check.implied_dice == pytest.approx(dice.mean(), abs=0.001)
    wrong = printed | {"conformity": (round(3 - 2 / printed["dice"][0] + 0.002, 3), printed["conformity"][1])}
    assert not check_overlaps(wrong).feasible  # a mean conformity cannot lie above 3 - 2 / mean Dice


def test_conformity_of_means_is_an_upper_bound_in_every_feasible_row():
    table = published_table1().pivot(index=["model", "muscle", "side"], columns="metric", values="mean")
    bound = 3 - 2 / (table["dice"] + 0.0005)
    assert (table["conformity"] - 0.0005 <= bound).all()


def test_the_contradictions_that_are_shipped_are_those_derived():
    assert contradictions() == derived_contradictions()


def test_text_that_table_1_contradicts():
    assert "ICC2,1 ≥ 0.941" in contradictions_of(("2D with DA", "erector_spinae", "right", VOLUME_ICC))[0]
    ranged = [c for c in contradictions() if "0.893–0.905" in c.text]
    assert [key[:3] for key in ranged[0].cells] == [
        ("3D without DA", "multifidus", "right"),
        ("3D with DA", "multifidus", "right"),
    ]
    assert contradictions_of(("2D without DA", "psoas_major", "left", "dice")) == ()


def test_intervals_that_76_subjects_cannot_have():
    narrow = [c for c in contradictions() if "McGraw" in c.text]
    assert len(narrow[0].cells) == 5
    assert interval_can_be_printed(0.967, 0.949, 0.979)
    assert not interval_can_be_printed(0.962, 0.941, 0.975)
