"""Paired t-tests, Holm's adjustment and Wilcoxon's test against R and by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.long_table import join_columns
from paraspinal_nnunet.evaluation.statistics.posthoc import holm, paired_t_report, paired_t_tests, wilcoxon_p

DATA = Path(__file__).parents[1] / "data" / "statistics"
REFERENCE = json.loads((DATA / "reference.json").read_text())["paired_t"]
NAMES = {
    "mean_diff": "mean_difference",
    "sd_diff": "sd_difference",
    "t": "t",
    "df": "df",
    "p": "p",
    "ci_lo": "ci_low",
    "ci_hi": "ci_high",
    "dz": "dz",
    "wilcox_p": "p_wilcoxon",
    "p_holm18": "p_holm",
}


def dice_table():
    table = pd.read_csv(DATA / "dice_long.csv")
    return table.assign(arm=join_columns(table, ["model", "aug"], separator="_"))


def compared(table, **options):
    return paired_t_tests(table, value="dice", subject="subject", arm="arm", by="muscle", **options)


def small(differences):
    """One muscle; arm b exceeds arm a by these differences."""
    n = len(differences)
    base = np.linspace(0.5, 0.8, n)
    return pd.DataFrame(
        {
            "subject": [*range(n)] * 2,
            "muscle": "MF",
            "arm": ["a"] * n + ["b"] * n,
            "dice": np.concatenate([base, base + np.asarray(differences)]),
        }
    )


def test_every_number_is_that_of_r():
    found = compared(dice_table(), best="2D_no")
    assert len(found) == len(REFERENCE) == 18
    for row in found.to_dict("records"):
        expected = REFERENCE[f"{row['muscle']}|{row['arm']}"]
        assert {name: row[column] for name, column in NAMES.items()} == pytest.approx(expected, rel=1e-12, abs=0)


def test_the_best_arm_is_the_one_with_the_highest_mean():
    found = compared(dice_table())
    assert found.attrs["best"] == "2D_no"
    assert set(found["arm"]) == {"2D_yes", "3D_no", "3D_yes"}
    assert set(compared(dice_table(), best="3D_no")["arm"]) == {"2D_no", "2D_yes", "3D_yes"}


def test_by_hand():
    # d = best - other = 1, 2, 3: t = 2 sqrt(3), df 2, dz 2; CI 2 -+ t(0.95, 2) / sqrt(3), t = 2.919985580355516.
    row = compared(small([1, 2, 3]), confidence=0.9).iloc[0]
    assert (row["arm"], row["n"]) == ("a", 3)
    assert (row["t"], row["df"], row["dz"]) == pytest.approx((2 * math.sqrt(3), 2, 2), rel=1e-12)
    assert row["ci_high"] == pytest.approx(2 + 2.919985580355516 / math.sqrt(3), rel=1e-12)
    assert row["p"] == row["p_holm"]


def test_constant_differences_have_no_t():
    row = compared(small([0.1, 0.1, 0.1])).iloc[0]
    assert (row["mean_difference"], row["ci_low"], row["ci_high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert row["sd_difference"] == 0
    assert all(math.isnan(row[name]) for name in ("t", "dz", "p", "p_holm", "p_wilcoxon"))
    assert "-" in paired_t_report(compared(small([0.1, 0.1, 0.1])))


def test_holm_is_that_of_r():
    # R: p.adjust(c(.01, .04, NA, .03, .5, .9), "holm")
    found = holm([0.01, 0.04, math.nan, 0.03, 0.5, 0.9])
    np.testing.assert_allclose(found, [0.05, 0.12, math.nan, 0.12, 1, 1], rtol=1e-15)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_raw_and_bonferroni(p):
    adjusted = holm(p)
    assert np.all(adjusted >= np.array(p))
    assert np.all(adjusted <= np.minimum(np.array(p) * len(p), 1) + 1e-15)
    assert np.array_equal(np.argsort(adjusted[np.argsort(p, kind="stable")], kind="stable"), np.arange(len(p)))


def test_wilcoxon_with_ties_and_zeros_is_that_of_r():
    # R: wilcox.test(c(1,2,3,4,5,6,7,8), c(1,3,3,2,7,9,7.5,4), paired = TRUE, exact = FALSE, correct = FALSE)
    differences = np.array([1, 2, 3, 4, 5, 6, 7, 8]) - np.array([1, 3, 3, 2, 7, 9, 7.5, 4])
    assert wilcoxon_p(differences) == pytest.approx(0.833484004388959, rel=1e-12)
    assert math.isnan(wilcoxon_p(np.zeros(5)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_of_rows_does_not_matter(seed):
    table = dice_table().query("subject < 's013'")
    keys = ["muscle", "arm"]
    expected = compared(table, best="2D_no").sort_values(keys, ignore_index=True)
    found = compared(table.sample(frac=1, random_state=seed), best="2D_no").sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9, check_exact=False)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_other_way_round_flips_the_sign(seed):
    table = small(np.random.default_rng(seed).normal(0.1, 1, 8))
    there, back = compared(table, best="b").iloc[0], compared(table, best="a").iloc[0]
    assert back["t"] == pytest.approx(-there["t"], rel=1e-12)
    assert (back["ci_low"], back["p"]) == pytest.approx((-there["ci_high"], there["p"]), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t, {"best": "4D"}, "the arm '4D' is not in the table; its arms are a, b"),
        (lambda t: t[t.arm == "a"], {}, "only the arm 'a' is in the table"),
        (lambda t: t[t.subject == 0], {}, "1 complete subject is too few"),
        (lambda t: t.iloc[1:], {}, "subject 0 at muscle=MF, arm=a has no value"),
        (lambda t: pd.concat([t, t.iloc[:1]]), {}, "subject 0 at muscle=MF, arm=a has 2 values"),
    ],
)
def test_unusable_tables_are_refused(change, options, message):
    with pytest.raises(StatisticsError, match=message):
        compared(change(small([1.0, 2.0, 4.0])), **options)


def test_complete_case():
    found = compared(small([1.0, 2.0, 4.0, 3.0]).iloc[1:], missing="complete-case")
    assert found["n"].tolist() == [3]
    assert found.attrs["dropped"] == [0]


def test_the_report_prints_both_p():
    report = paired_t_report(compared(dice_table())).splitlines()
    assert report[0].split("  ")[-3:] == ["p (raw)", "p (Holm)", "p (Wilcoxon)"]
    line = next(line for line in report if line.startswith("MF_L    2D_yes"))
    assert line.split()[-3:] == ["0.009", "0.045", "0.009"]
    assert "95 % CI" in report[0]
    assert report[-1] == "Difference: 2D_no minus the arm named. Holm: over 18 tests."
