"""Repeated-measures ANOVA and the balance of long tables against R's numbers and by hand."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.anova import (
    COLUMNS,
    anova_report,
    effect_contrasts,
    quoted_tests,
    repeated_measures_anova,
)
from paraspinal_nnunet.evaluation.statistics.long_table import balance, describe_cells, join_columns

DATA = Path(__file__).parents[1] / "data" / "statistics"
REFERENCE = json.loads((DATA / "reference.json").read_text())
NAMES = {
    "SS": "ss",
    "df1": "df1",
    "SSE": "ss_error",
    "df2": "df2",
    "F": "f",
    "p": "p",
    "pes": "eta2_partial",
    "ges": "eta2_generalized",
    "GG_eps": "gg_epsilon",
    "p_GG": "p_gg",
    "HF_eps": "hf_epsilon",
    "p_HF": "p_hf",
    "mauchly_W": "mauchly_w",
    "mauchly_p": "mauchly_p",
}
WITHIN = ["model", "aug", "muscle"]


def dice_table():
    table = pd.read_csv(DATA / "dice_long.csv")
    return table.assign(cnn=join_columns(table, ["model", "aug"], separator="_"))


def melted(name):
    wide = pd.read_csv(DATA / name).rename_axis("subject").reset_index()
    return wide.melt("subject", var_name="c", value_name="dice")


def anova(table, within, **options):
    return repeated_measures_anova(table, value="dice", subject="subject", within=within, **options)


def without_first_cell(table):
    return table[~((table.subject == "s001") & (table.cnn == "2D_no") & (table.muscle == "MF_L"))]


CASES = {
    "anova3": lambda: anova(dice_table(), WITHIN),
    "anova2_cnn_x_muscle": lambda: anova(dice_table(), ["cnn", "muscle"]),
    "anova2_model_x_muscle_noaug": lambda: anova(dice_table().query("aug == 'no'"), ["model", "muscle"]),
    "anova2_depth_x_muscle": lambda: anova(pd.read_csv(DATA / "depth_long.csv"), ["depth", "muscle"]),
    "anova1_muscle_2Dno": lambda: anova(dice_table().query("cnn == '2D_no'"), ["muscle"]),
    "anova3_drop_s001": lambda: anova(without_first_cell(dice_table()), WITHIN, missing="complete-case"),
    "edge_hf_gt1": lambda: anova(melted("edge_hf_gt1.csv"), ["c"]),
    "edge_singular": lambda: anova(melted("edge_singular.csv"), ["c"]),
}


@pytest.mark.parametrize("case", CASES)
def test_every_number_is_that_of_car(case):
    result = CASES[case]()
    assert list(result.columns) == list(COLUMNS)
    assert list(result["effect"]) == list(REFERENCE[case])
    for row in result.to_dict("records"):
        expected = REFERENCE[case][row["effect"]]
        found = {name: row[column] for name, column in NAMES.items() if name in expected}
        assert found == pytest.approx(expected, rel=1e-11, abs=0)


def test_where_car_refuses_epsilons_exist_and_mauchly_does_not():
    row = CASES["edge_singular"]().iloc[0]
    assert row.gg_epsilon == pytest.approx(REFERENCE["edge_singular_SPSSlike"]["GG_eps"], rel=1e-12)
    assert row.hf_epsilon == pytest.approx(REFERENCE["edge_singular_SPSSlike"]["HF_eps"], rel=1e-12)
    assert np.isnan(row.mauchly_w)
    assert np.isnan(row.mauchly_p)


def test_two_level_effects_are_spherical():
    row = CASES["anova3"]().set_index("effect").loc["model x aug"]
    assert (row.gg_epsilon, row.hf_epsilon) == (1.0, 1.0)
    assert row.p_gg == row.p_hf == row.p
    assert np.isnan(row.mauchly_w)


def test_huynh_feldt_above_one_is_reported_and_capped_in_p():
    row = CASES["edge_hf_gt1"]().iloc[0]
    assert row.hf_epsilon > 1
    assert row.p_hf == row.p


def test_a_two_level_effect_is_the_paired_t_test():
    # By hand: d = b - a = 1, 2, 3, mean 2, SD 1, t = 2 sqrt(3), F = t^2 = 12; SS = n mean(d)^2 / 2 = 6, SSE = 1.
    table = pd.DataFrame({"subject": [1, 2, 3] * 2, "arm": list("aaabbb"), "dice": [5, 1, 3, 6, 3, 6]})
    row = anova(table, ["arm"]).iloc[0]
    assert (row.ss, row.ss_error, row.f) == pytest.approx((6, 1, 12), rel=1e-14)
    assert (row.df1, row.df2, row.eta2_partial) == pytest.approx((1, 2, 6 / 7), rel=1e-14)


def test_four_factors():
    rng = np.random.default_rng(3)
    index = pd.MultiIndex.from_product([range(6), *[range(2)] * 3, range(3)], names=["subject", *"abcd"])
    table = pd.DataFrame({"dice": rng.normal(size=len(index))}, index=index).reset_index()
    result = anova(table, list("abcd"))
    assert len(result) == 15
    assert result["effect"].iloc[-1] == "a x b x c x d"
    cells = table.pivot(index="subject", columns=list("abcd"), values="dice").to_numpy()
    within = np.sum((cells - cells.mean(axis=1, keepdims=True)) ** 2)
    assert result["ss"].sum() + result["ss_error"].sum() == pytest.approx(within, rel=1e-12)


def test_contrasts_are_orthonormal_and_complete():
    effects = [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2], []]
    whole = np.column_stack([effect_contrasts([2, 3, 4], chosen) for chosen in effects])
    np.testing.assert_allclose(whole.T @ whole, np.eye(24), atol=1e-14)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_of_rows_and_names_of_subjects_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    table = dice_table().query("subject < 's013'")
    renamed = dict(zip(table.subject.unique(), rng.permutation(12), strict=True))
    shuffled = table.sample(frac=1, random_state=seed).assign(subject=lambda t: t.subject.map(renamed))
    expected, found = anova(table, WITHIN), anova(shuffled, WITHIN)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9, check_exact=False)


@settings(max_examples=20, deadline=None)
@given(shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
def test_unit_and_origin_do_not_matter(shift, scale):
    table = dice_table().query("subject < 's013'")
    columns = ["effect", "f", "p", "gg_epsilon", "mauchly_p", "eta2_generalized"]
    moved = anova(table.assign(dice=shift + scale * table.dice), WITHIN)
    pd.testing.assert_frame_equal(moved[columns], anova(table, WITHIN)[columns], rtol=1e-7, check_exact=False)


def test_a_missing_cell_names_subject_and_cell():
    with pytest.raises(StatisticsError, match=r"subject s001 at model=2D, aug=no, muscle=MF_L has no value \(1 cells"):
        anova(without_first_cell(dice_table()), WITHIN)
    hollow = dice_table()
    hollow.loc[5, "dice"] = np.nan
    with pytest.raises(StatisticsError, match=r"subject s001 at model=2D, aug=no, muscle=PM_R has no value"):
        anova(hollow, WITHIN)


def test_complete_case_says_who_was_dropped(caplog):
    result = CASES["anova3_drop_s001"]()
    assert result.attrs == {"subjects": 75, "dropped": ["s001"]}
    assert "left out 1 of 76 subjects that lack a cell: s001" in caplog.text
    assert "left out for missing cells: s001." in anova_report(result)


def test_an_arm_that_nobody_has_leaves_no_complete_case():
    table = dice_table().query("cnn != '3D_yes'")
    with pytest.raises(StatisticsError, match="no subject is complete"):
        anova(table, WITHIN, missing="complete-case")


def test_duplicates_name_subject_and_cell():
    table = dice_table()
    doubled = pd.concat([table, table.iloc[[7, 8, 8]]])
    with pytest.raises(StatisticsError, match=r"subject s001 at model=2D, aug=yes, muscle=MF_R has 2 values \(2 cells"):
        anova(doubled, WITHIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[t.subject == "s001"], "1 complete subject is too few"),
        (lambda t: t[t.model == "2D"], "factor 'model' has only the level '2D'"),
        (lambda t: t.drop(columns="aug"), "no column 'aug'"),
        (lambda t: t.assign(dice=t.dice.where(t.index > 0, np.inf)), "muscle=MF_L is infinite"),
        (lambda t: t.assign(dice=t.dice.astype(str)), "instead of numbers"),
        (lambda t: t.assign(muscle=t.muscle.where(t.index > 3)), "row 0 of the table has no muscle"),
        (lambda t: t.iloc[:0], "the table has no rows"),
    ],
)
def test_unusable_tables_are_refused(change, message):
    with pytest.raises(StatisticsError, match=message):
        anova(change(dice_table()), WITHIN)


@pytest.mark.parametrize(
    ("within", "missing", "message"),
    [
        ([], "error", "at least one factor"),
        (["muscle", "muscle"], "error", "must be different columns"),
        (["muscle"], "drop", "choose 'error' or 'complete-case'"),
    ],
)
def test_unusable_arguments_are_refused(within, missing, message):
    with pytest.raises(StatisticsError, match=message):
        anova(dice_table(), within, missing=missing)


def test_no_error_variance():
    steps = pd.DataFrame({"subject": [1, 2, 3] * 3, "c": list("aaabbbccc"), "dice": [0.1, 0.5, 0.7] * 3})
    same = anova(steps, ["c"]).iloc[0]
    assert np.isnan(same.f)
    assert np.isnan(same.p)
    steps["dice"] += steps.c.map({"a": 0.1, "b": 0.2, "c": 0.7})
    parallel = anova(steps, ["c"]).iloc[0]
    assert parallel.f == np.inf
    assert parallel.p == 0


def test_two_subjects_have_no_huynh_feldt_epsilon():
    # By hand: differences of both subjects leave one error eigenvalue, GG = 1 / df1 = 1/2; HF = 0 / 0.
    table = pd.DataFrame({"subject": [1, 1, 1, 2, 2, 2], "c": list("abcabc"), "dice": [1, 2, 4, 2, 5, 4.0]})
    row = anova(table, ["c"]).iloc[0]
    assert (row.ss, row.ss_error, row.f, row.gg_epsilon) == pytest.approx((7, 7 / 3, 3, 0.5))
    assert np.isnan(row.hf_epsilon)
    assert np.isnan(row.p_hf)


def test_the_quoted_test_follows_the_rule():
    result = CASES["anova3"]()
    quoted = quoted_tests(result).set_index("effect")
    assert quoted.loc["model", "correction"] == "none"
    assert quoted.loc["muscle", "correction"] == "Greenhouse-Geisser"
    assert quoted.loc["muscle", "p"] == result.set_index("effect").loc["muscle", "p_gg"]
    assert quoted.loc["muscle", "df2"] == pytest.approx(375 * 0.558424342943004, rel=1e-12)
    lenient = quoted_tests(result, alpha=0.001).set_index("effect")
    assert lenient.loc["model x aug x muscle", "correction"] == "none"
    assert lenient.loc["model x aug x muscle", "p"] == result.set_index("effect").loc["model x aug x muscle", "p"]
    assert quoted_tests(CASES["edge_singular"]())["correction"].tolist() == ["Greenhouse-Geisser"]
    assert quoted_tests(CASES["edge_hf_gt1"]())["correction"].tolist() == ["none"]


def test_the_report_prints_all_three_and_names_the_quoted():
    report = anova_report(CASES["anova3"]()).splitlines()
    assert report[0].split()[:9] == ["effect", "F", "df", "p", "p", "(GG)", "p", "(HF)", "eps"]
    line = next(line for line in report if line.startswith("aug x muscle"))
    assert line.split()[3:9] == ["2.134", "5,", "375", "0.061", "0.076", "0.072"]
    assert line.endswith("0.076 (GG)")
    assert next(line for line in report if line.startswith("model x aug ")).endswith("0.018 (uncorrected)")
    assert "Greenhouse-Geisser (GG) where Mauchly's p is below 0.05" in report[-1]


def test_time():
    table = dice_table()
    anova(table, WITHIN)
    took = []
    for _ in range(5):
        start = time.perf_counter()
        anova(table, WITHIN)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.05


def test_levels_keep_the_order_of_categories():
    table = dice_table().query("cnn == '2D_no'")
    order = ["PM_R", "PM_L", "ES_R", "ES_L", "MF_R", "MF_L", "QL_R"]
    table["muscle"] = pd.Categorical(table["muscle"], categories=order)
    balanced = balance(table, value="dice", subject="subject", within=["muscle"])
    assert balanced.levels == (tuple(order[:-1]),)
    assert balanced.values[0, -1] == 0.921681


def test_descriptives_are_those_of_r():
    for row in describe_cells(dice_table(), value="dice", by=["cnn", "muscle"]).to_dict("records"):
        expected = REFERENCE["dice_desc"][f"{row.pop('cnn')}_{row.pop('muscle')}"]
        assert row == pytest.approx(expected, rel=1e-13)
