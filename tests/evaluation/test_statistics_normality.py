"""Skewness, kurtosis, Shapiro-Wilk and Q-Q points against R's e1071 and stats."""

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
from paraspinal_nnunet.evaluation.statistics.normality import (
    normality_of_cells,
    normality_of_differences,
    qq_points,
    shape_of,
)

DATA = Path(__file__).parents[1] / "data" / "statistics"
REFERENCE = json.loads((DATA / "reference.json").read_text())
NAMES = {"skew_G1": "skewness", "kurt_G2": "kurtosis", "se_skew": "skewness_se", "se_kurt": "kurtosis_se"}


def dice_table():
    table = pd.read_csv(DATA / "dice_long.csv")
    return table.assign(arm=join_columns(table, ["model", "aug"], separator="_"))


def check(row, expected):
    assert row["n"] == expected["n"]
    assert {name: row[column] for name, column in NAMES.items()} == pytest.approx(
        {name: expected[name] for name in NAMES}, rel=1e-11, abs=0
    )
    assert row["shapiro_w"] == pytest.approx(expected["shapiro_W"], rel=1e-9)
    assert row["shapiro_p"] == pytest.approx(expected["shapiro_p"], rel=1e-9)


def test_cells_are_those_of_r():
    found = normality_of_cells(dice_table(), value="dice", subject="subject", within=["arm", "muscle"])
    assert len(found) == 24
    for row in found.to_dict("records"):
        check(row, REFERENCE["shape_cell_residuals"][f"{row['arm']}_{row['muscle']}"])


def test_paired_differences_are_those_of_r():
    found = normality_of_differences(dice_table(), value="dice", subject="subject", arm="arm", by="muscle")
    assert len(found) == 18
    for row in found.to_dict("records"):
        check(row, REFERENCE["shape_diffs"][f"{row['muscle']}|{row['arm']}"])


@pytest.mark.parametrize("study", ["volume", "raters"])
def test_volume_differences_are_those_of_r(study):
    name, *columns = {
        "volume": ("volumes.csv", "gt_ml", "pred_ml"),
        "raters": ("raters.csv", "rater1_ml", "rater2_ml"),
    }[study]
    for muscle, rows in pd.read_csv(DATA / name).groupby("muscle"):
        found = shape_of(rows[columns[1]].to_numpy() - rows[columns[0]].to_numpy())
        expected = REFERENCE[study][muscle]["ba"]
        assert found.shapiro_w == pytest.approx(expected["shapiro_W"], rel=1e-9)
        assert found.shapiro_p == pytest.approx(expected["shapiro_p"], rel=1e-9)


def test_standard_errors_by_hand():
    # n = 4: SE(G1)^2 = 6 * 4 * 3 / (2 * 5 * 7) = 72/70; SE(G2)^2 = 4 * 72/70 * 15 / (1 * 9).
    found = shape_of([1.0, 2.0, 4.0, 9.0])
    assert found.skewness_se == pytest.approx(math.sqrt(72 / 70), rel=1e-15)
    assert found.kurtosis_se == pytest.approx(math.sqrt(4 * 72 / 70 * 15 / 9), rel=1e-15)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.001, 1000), shift=st.floats(-100, 100))
def test_mirroring_shifting_and_scaling(seed, scale, shift):
    sample = np.random.default_rng(seed).gamma(2, size=30)
    there, back = shape_of(sample), shape_of(shift - scale * sample)
    assert back.skewness == pytest.approx(-there.skewness, rel=1e-6, abs=1e-9)
    assert back.kurtosis == pytest.approx(there.kurtosis, rel=1e-6, abs=1e-9)
    assert back.shapiro_w == pytest.approx(there.shapiro_w, rel=1e-6)


def test_small_and_constant_samples():
    two = shape_of([1.0, 2.0])
    assert two.n == 2
    assert all(math.isnan(value) for value in (two.skewness, two.skewness_se, two.kurtosis, two.shapiro_p))
    three = shape_of([1.0, 2.0, 4.0])
    assert three.skewness == pytest.approx(0.9352195295828237, rel=1e-12)  # g1 = 0.38180177..., times sqrt(6)
    assert math.isnan(three.kurtosis)
    assert math.isnan(three.kurtosis_se)
    constant = shape_of([0.1 + 0.2, 0.3, 0.3, 0.3])
    assert all(math.isnan(v) for v in (constant.skewness, constant.kurtosis, constant.shapiro_w, constant.shapiro_p))
    assert constant.skewness_se > 0
    assert shape_of([]).n == 0


def test_qq_points_are_those_of_r():
    sample = dice_table().query("arm == '2D_no' and muscle == 'MF_L'").dice.to_numpy()
    residuals = sample - sample.mean()
    blom = qq_points(residuals)
    np.testing.assert_allclose(blom.theoretical, REFERENCE["qq"]["blom_76"], rtol=1e-11, atol=1e-14)
    assert blom.formula == "Blom: (i - 3/8) / (n + 1/4)"
    hazen = qq_points(residuals, positions="hazen")
    expected = REFERENCE["qq"]["hazen_first_cell"]
    np.testing.assert_allclose(hazen.theoretical, expected["theoretical_sorted"], rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(hazen.observed, expected["sample_sorted"], rtol=1e-11, atol=1e-14)
    assert hazen.formula == "Hazen: (i - 1/2) / n"
    assert (blom.mean, blom.sd) == pytest.approx((0, sample.std(ddof=1)), abs=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shape_of([[1.0, 2.0]]), r"shape \(1, 2\)"),
        (lambda: shape_of([1.0, math.nan]), "value 1 of the sample is NaN"),
        (lambda: qq_points([1.0]), "1 values are too few"),
        (lambda: qq_points([1.0, 2.0], positions="filliben"), "choose from blom, hazen"),
    ],
)
def test_unusable_samples_are_refused(call, message):
    with pytest.raises(StatisticsError, match=message):
        call()
