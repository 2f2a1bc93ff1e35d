"""ICC, Bland-Altman and correlation against psych, irr and R, published values and the paper's Table 1."""

import json
import math
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.agreement import (
    bland_altman,
    correlation,
    inter_rater_agreement,
    volume_agreement,
)
from paraspinal_nnunet.evaluation.statistics.reliability import MeanSquares, icc, icc_2_1, interval_2_1, mean_squares

DATA = Path(__file__).parents[1] / "data" / "statistics"
REFERENCE = json.loads((DATA / "reference.json").read_text())
MUSCLES = ("MF_L", "MF_R", "ES_L", "ES_R", "PM_L", "PM_R")
COLUMNS = {"volume": ("volumes.csv", "gt_ml", "pred_ml"), "raters": ("raters.csv", "rater1_ml", "rater2_ml")}
COMPARISONS = [(study, muscle) for study in COLUMNS for muscle in MUSCLES]
JUDGES = np.loadtxt(DATA / "shrout_fleiss.csv", delimiter=",", skiprows=1)


def pair(study, muscle):
    name, reference, prediction = COLUMNS[study]
    table = pd.read_csv(DATA / name).query("muscle == @muscle")
    return table[reference].to_numpy(), table[prediction].to_numpy()


def samples(seed, n=20):
    rng = np.random.default_rng(seed)
    reference = rng.normal(150, 40, n)
    return reference, reference + rng.normal(2, 8, n)


def check_icc(ratings, expected):
    for kind, value, low, high in [
        ("2,1", "icc21", "lo", "hi"),
        ("1,1", "icc11", "icc11_lo", "icc11_hi"),
        ("3,1", "icc31", "icc31_lo", "icc31_hi"),
        ("2,k", "icc2k", "icc2k_lo", "icc2k_hi"),
    ]:
        found = icc(ratings, kind=kind)
        wanted = (expected[value], expected[low], expected[high])
        assert (found.icc, found.ci_low, found.ci_high) == pytest.approx(wanted, rel=1e-12)
    found = icc(ratings)
    assert (found.icc, found.ci_low, found.ci_high) == pytest.approx(
        (expected["irr_icc21"], expected["irr_lo"], expected["irr_hi"]), rel=1e-12
    )
    assert (found.f, found.p) == pytest.approx((expected["F"], expected["p"]), rel=1e-11, abs=0)
    assert (found.n, found.k) == (expected["n"], expected["k"])
    squares = mean_squares(ratings)
    wanted = (expected["MSR"], expected["MSC"], expected["MSE"])
    assert (squares.subjects, squares.raters, squares.error) == pytest.approx(wanted, rel=1e-11)


@pytest.mark.parametrize(("study", "muscle"), COMPARISONS)
def test_icc_is_that_of_psych_and_irr(study, muscle):
    check_icc(np.column_stack(pair(study, muscle)), REFERENCE[study][muscle]["icc"])


def test_shrout_and_fleiss():
    check_icc(JUDGES, REFERENCE["shrout_fleiss"])
    # Shrout and Fleiss 1979, table 4, prints .17, .29, .71 and .62; further digits from the same formulas.
    published = {"1,1": 0.1657, "2,1": 0.2898, "3,1": 0.7148, "2,k": 0.6201}
    assert {kind: round(icc(JUDGES, kind=kind).icc, 4) for kind in published} == published
    found = icc(JUDGES)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.0187865, 0.7610844), abs=5e-8)
    assert (found.df1, found.df2, found.n, found.k) == (5, 15, 6, 4)


def test_identical_raters_have_no_interval():
    volumes = pair("volume", "MF_L")[0]
    found = icc_2_1(volumes, volumes)
    assert found.icc == 1
    assert found.f == math.inf
    assert found.p == 0
    assert math.isnan(found.ci_low)
    assert math.isnan(found.ci_high)


def test_a_constant_offset_lowers_agreement_but_not_consistency():
    # By hand: MSR = 2, MSE = 0, MSC = 1.5, n = 3: ICC(2,1) = 2 / (2 + 2 * 1.5 / 3) = 2/3, ICC(3,1) = 1.
    found = icc_2_1([1, 2, 3], [2, 3, 4])
    assert found.icc == pytest.approx(2 / 3, rel=1e-15)
    assert found.f == math.inf
    assert 0 < found.ci_low < 2 / 3 < found.ci_high < 1
    assert icc([[1, 2], [2, 3], [3, 4]], kind="3,1").icc == 1


def test_no_differences_at_all_leave_nothing_defined():
    found = icc_2_1([5, 5, 5], [5, 5, 5])
    assert all(math.isnan(value) for value in (found.icc, found.ci_low, found.ci_high, found.f, found.p))


def mean_squares_of(icc_value, rater_ratio, n):
    """Mean squares of two raters with MSE = 1, MSC = `rater_ratio` and this ICC(2,1)."""
    subjects = (1 + icc_value * (1 + 2 * (rater_ratio - 1) / n)) / (1 - icc_value)
    return MeanSquares(subjects, rater_ratio, 1.0, n, 2)


def can_print(n, value, low, high):
    """Whether some ICC that rounds to `value` has an interval that rounds to `low` and `high`, for n subjects."""
    for ratio in (*np.linspace(0, 2, 21), *np.geomspace(2.1, 60, 30)):
        for icc_value in np.linspace(value - 0.0005, value + 0.0005, 41):
            ends = interval_2_1(mean_squares_of(icc_value, ratio, n))
            if abs(ends[0] - low) <= 0.0005 and abs(ends[1] - high) <= 0.0005:
                return True
    return False


@pytest.mark.parametrize(("n", "reproduced"), [(76, 19), (77, 23), (78, 24), (79, 24)])
def test_table_1_of_the_paper(n, reproduced):
    # With its 76 subjects 5 of the 24 printed intervals are too narrow for any rater bias.
    table = pd.read_csv(DATA / "published_icc.csv")
    assert sum(can_print(n, row.icc, row.ci_low, row.ci_high) for row in table.itertuples()) == reproduced


def test_mean_squares_of_the_table_1_case_are_consistent():
    squares = mean_squares_of(0.967, 2.0, 76)
    rebuilt = icc(ratings_with(squares))
    assert rebuilt.icc == pytest.approx(0.967, rel=1e-12)
    assert (rebuilt.ci_low, rebuilt.ci_high) == pytest.approx(interval_2_1(squares), rel=1e-10)


def ratings_with(squares):
    """Two raters' values with exactly these mean squares."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(np.column_stack([np.ones(squares.n), rng.normal(size=(squares.n, 2))]))[0]
    means = basis[:, 1] * np.sqrt((squares.n - 1) * squares.subjects / 2)
    differences = basis[:, 2] * np.sqrt((squares.n - 1) * squares.error * 2) + np.sqrt(2 * squares.raters / squares.n)
    return np.column_stack([means + differences / 2, means - differences / 2])


@pytest.mark.parametrize(("study", "muscle"), COMPARISONS)
def test_bland_altman_is_that_of_r(study, muscle):
    expected = REFERENCE[study][muscle]["ba"]
    found = bland_altman(*pair(study, muscle))
    values = {
        "mean_diff": found.bias,
        "sd_diff": found.sd,
        "loa_lo": found.loa_low,
        "loa_hi": found.loa_high,
        "bias_ci_lo": found.bias_ci_low,
        "bias_ci_hi": found.bias_ci_high,
        "t_p": found.bias_p,
        "prop_bias_slope": found.slope,
        "prop_bias_p": found.slope_p,
        "n_outside_loa": found.outside,
    }
    assert values == pytest.approx({name: expected[name] for name in values}, rel=1e-12)
    assert [found.loa_low_ci_low, found.loa_low_ci_high] == pytest.approx(expected["loa_lo_ci86"], rel=1e-12)
    assert [found.loa_high_ci_low, found.loa_high_ci_high] == pytest.approx(expected["loa_hi_ci86"], rel=1e-12)


def test_bland_altman_by_hand():
    # d = 1, 2, 3: bias 2, SD 1, limits 2 -+ 1.96; t(0.975, 2) = 4.302652729749464.
    found = bland_altman([10, 20, 30], [11, 22, 33])
    assert astuple(found)[:4] == pytest.approx((2, 1, 0.04, 3.96), rel=1e-14)
    assert found.bias_ci_high == pytest.approx(2 + 4.302652729749464 / math.sqrt(3), rel=1e-12)
    assert found.loa_high_ci_high == pytest.approx(3.96 + 4.302652729749464, rel=1e-12)
    assert (found.outside, found.n) == (0, 3)


def test_bland_altman_of_constant_differences():
    found = bland_altman([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])
    assert found.sd == 0
    assert found.loa_low == found.loa_high == found.bias == pytest.approx(0.1)
    assert math.isnan(found.bias_p)
    assert math.isnan(found.slope_p)
    assert found.outside == 0


@pytest.mark.parametrize(("study", "muscle"), COMPARISONS)
def test_correlation_is_that_of_r(study, muscle):
    expected = REFERENCE[study][muscle]["ba"]
    pearson = correlation(*pair(study, muscle))
    spearman = correlation(*pair(study, muscle), method="spearman")
    values = {
        "pearson_r": pearson.r,
        "pearson_p": pearson.p,
        "pearson_lo": pearson.ci_low,
        "pearson_hi": pearson.ci_high,
        "spearman": spearman.r,
        "spearman_p": spearman.p,
        "fit_slope_pred_on_gt": pearson.slope,
        "fit_intercept": pearson.intercept,
    }
    assert values == pytest.approx({name: expected[name] for name in values}, rel=1e-11, abs=0)


def test_spearman_with_ties():
    # R: cor.test(c(1,2,2,4,5,6,8,9), c(2,1,3,3,6,5,9,9), method = "spearman", exact = FALSE)
    found = correlation([1, 2, 2, 4, 5, 6, 8, 9], [2, 1, 3, 3, 6, 5, 9, 9], method="spearman")
    assert (found.r, found.p) == pytest.approx((0.915168322804898, 0.00143075385592479), rel=1e-11)
    # Bonett and Wright by hand: tanh(atanh(r) -+ 1.959964 sqrt((1 + r^2 / 2) / 5)).
    half = 1.959963984540054 * math.sqrt((1 + 0.915168322804898**2 / 2) / 5)
    assert found.ci_low == pytest.approx(math.tanh(math.atanh(0.915168322804898) - half), rel=1e-10)


def test_correlation_at_its_edges():
    line = correlation([1, 2, 3, 4], [3, 5, 7, 9])
    assert (line.r, line.ci_low, line.ci_high, line.p) == (1, 1, 1, 0)
    assert (line.slope, line.intercept) == (2, 1)
    constant = correlation([1, 2, 3, 4], [5, 5, 5, 5])
    assert math.isnan(constant.r)
    assert math.isnan(constant.p)
    assert constant.slope == 0
    three = correlation([1, 2, 3], [1, 3, 2])
    assert three.r == pytest.approx(0.5)
    assert math.isnan(three.ci_low)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_swapping_the_raters(seed):
    reference, prediction = samples(seed)
    there, back = icc_2_1(reference, prediction), icc_2_1(prediction, reference)
    assert astuple(back) == pytest.approx(astuple(there), rel=1e-10)
    there, back = bland_altman(reference, prediction), bland_altman(prediction, reference)
    assert back.bias == pytest.approx(-there.bias, rel=1e-10)
    assert (back.loa_low, back.loa_high) == pytest.approx((-there.loa_high, -there.loa_low), rel=1e-10)
    assert (back.sd, back.outside) == pytest.approx((there.sd, there.outside), rel=1e-10)
    assert correlation(prediction, reference).r == pytest.approx(correlation(reference, prediction).r, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), confidence=st.floats(0.5, 0.999))
def test_order_of_subjects_does_not_matter_and_intervals_hold_the_estimate(seed, confidence):
    reference, prediction = samples(seed)
    order = np.random.default_rng(seed).permutation(len(reference))
    for function in (icc_2_1, bland_altman):
        expected = astuple(function(reference, prediction, confidence=confidence))
        assert astuple(function(reference[order], prediction[order], confidence=confidence)) == pytest.approx(
            expected, rel=1e-9
        )
    found = icc_2_1(reference, prediction, confidence=confidence)
    assert found.ci_low < found.icc < found.ci_high <= 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(2, 5))
def test_icc_of_k_raters_by_the_definition(seed, k):
    rng = np.random.default_rng(seed)
    ratings = rng.normal(size=(9, 1)) + rng.normal(size=(1, k)) + rng.normal(size=(9, k))
    grand = ratings.mean()
    msr = k * np.sum((ratings.mean(axis=1) - grand) ** 2) / 8
    msc = 9 * np.sum((ratings.mean(axis=0) - grand) ** 2) / (k - 1)
    residual = ratings - ratings.mean(axis=1, keepdims=True) - ratings.mean(axis=0) + grand
    mse = np.sum(residual**2) / (8 * (k - 1))
    expected = (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / 9)
    assert icc(ratings).icc == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("reference", "prediction", "message"),
    [
        ([1, 2, 3], [1, 2], r"shapes \(3,\) and \(2,\)"),
        ([1], [1], "1 pairs are too few; at least 2"),
        ([1, math.nan, 3], [1, 2, 3], "pair 1 is NaN or infinite"),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]], "give two vectors"),
    ],
)
@pytest.mark.parametrize("function", [icc_2_1, bland_altman])
def test_unusable_pairs_are_refused(function, reference, prediction, message):
    with pytest.raises(StatisticsError, match=message):
        function(reference, prediction)


@pytest.mark.parametrize(
    ("ratings", "kind", "message"),
    [
        ([[1, 2]], "2,1", r"shape \(1, 2\)"),
        ([[1], [2]], "2,1", r"shape \(2, 1\)"),
        ([[1, 2], [3, math.nan]], "2,1", "subject 1 has a rating that is NaN"),
        ([[1, 2], [3, 4]], "2", r"ICC\(2\) is unknown"),
    ],
)
def test_unusable_ratings_are_refused(ratings, kind, message):
    with pytest.raises(StatisticsError, match=message):
        icc(ratings, kind=kind)


def rater_table():
    table = pd.read_csv(DATA / "raters.csv")
    return table.assign(dice=np.linspace(0.85, 0.97, len(table)))


def test_inter_rater_agreement_per_muscle():
    table = rater_table()
    found = inter_rater_agreement(
        table, subject="subject", by="muscle", rater_1="rater1_ml", rater_2="rater2_ml", dice="dice"
    ).set_index("muscle")
    assert list(found.index) == list(MUSCLES)
    for muscle, row in found.iterrows():
        expected = REFERENCE["raters"][muscle]
        assert row.icc == pytest.approx(expected["icc"]["icc21"], rel=1e-12)
        assert (row.icc_ci_low, row.icc_ci_high) == pytest.approx((expected["icc"]["lo"], expected["icc"]["hi"]))
        assert (row.bias, row.loa_low) == pytest.approx((expected["ba"]["mean_diff"], expected["ba"]["loa_lo"]))
        own = table[table.muscle == muscle].dice
        assert (row.dice_mean, row.dice_sd) == pytest.approx((own.mean(), own.std()))
    assert set(found.n) == {25}


def test_inter_rater_agreement_with_a_missing_reading():
    table = rater_table()
    table.loc[8, "rater2_ml"] = np.nan
    options = {"subject": "subject", "by": "muscle", "rater_1": "rater1_ml", "rater_2": "rater2_ml", "dice": "dice"}
    with pytest.raises(StatisticsError, match="subject s002 at muscle=ES_L, column=rater2_ml has no value"):
        inter_rater_agreement(table, **options)
    found = inter_rater_agreement(table, missing="complete-case", **options)
    assert set(found.n) == {24}
    assert found.attrs["dropped"] == ["s002"]
    with pytest.raises(StatisticsError, match="no column 'rater3_ml'"):
        inter_rater_agreement(table, **options | {"rater_2": "rater3_ml"})


def test_volume_agreement_per_muscle():
    found = volume_agreement(
        pd.read_csv(DATA / "volumes.csv"), subject="subject", by="muscle", reference="gt_ml", prediction="pred_ml"
    ).set_index("muscle")
    for muscle, row in found.iterrows():
        expected = REFERENCE["volume"][muscle]
        assert (row.icc, row.bias, row.r, row.slope) == pytest.approx(
            (expected["icc"]["icc21"], *(expected["ba"][n] for n in ("mean_diff", "pearson_r", "fit_slope_pred_on_gt")))
        )


def test_the_mean_of_raters_who_contradict_each_other():
    """R: psych::ICC(cbind(c(1, 2, 3, 4, 5, 6.5), c(6, 5, 4, 3, 2, 1)), lmer = FALSE): ICC2 and ICC2k, beyond 1."""
    ratings = np.column_stack([[1, 2, 3, 4, 5, 6.5], [6, 5, 4, 3, 2, 1]])
    single, mean = icc(ratings, kind="2,1"), icc(ratings, kind="2,k")
    assert (single.icc, single.ci_low, single.ci_high) == pytest.approx(
        (-1.487603305785124, -1.497205515669574, -1.420218112966116), rel=1e-9
    )
    assert (mean.icc, mean.ci_low, mean.ci_high) == pytest.approx(
        (6.101694915254238, 6.022481523171860, 6.759433109351161), rel=1e-9
    )
    squares = mean_squares(ratings)
    spread = squares.subjects + (squares.raters - squares.error) / squares.n
    assert mean.icc == pytest.approx((squares.subjects - squares.error) / spread, rel=1e-12)
