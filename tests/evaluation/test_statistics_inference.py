"""Bootstrap, equivalence, power and the mixed model against R, closed forms and simulation."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from paraspinal_nnunet.errors import SetupError, StatisticsError
from paraspinal_nnunet.evaluation.statistics.anova import repeated_measures_anova
from paraspinal_nnunet.evaluation.statistics.equivalence import (
    inter_rater_margin,
    inter_rater_margins,
    tost,
    volume_equivalence,
)
from paraspinal_nnunet.evaluation.statistics.inference import (
    bootstrap_differences,
    bootstrap_interval,
    bootstrap_means,
    paired_power,
    subjects_needed,
)
from paraspinal_nnunet.evaluation.statistics.long_table import join_columns
from paraspinal_nnunet.evaluation.statistics.mixed_effects import get_statsmodels, mixed_model

DATA = Path(__file__).parents[1] / "data" / "statistics"
REFERENCE = json.loads((DATA / "reference.json").read_text())
WITHIN = ["model", "aug", "muscle"]


def dice_table():
    table = pd.read_csv(DATA / "dice_long.csv")
    return table.assign(arm=join_columns(table, ["model", "aug"], separator="_"))


def volumes(muscle):
    table = pd.read_csv(DATA / "volumes.csv").query("muscle == @muscle")
    return table.gt_ml.to_numpy(), table.pred_ml.to_numpy()


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("method", "name"), [("bca", "BCa"), ("percentile", "percentile")])
def test_bootstrap_agrees_with_scipy(method, name):
    # Skewed enough that BCa and percentile differ by over three times the tolerance.
    sample = rng(3).gamma(2, size=60)
    expected = stats.bootstrap((sample,), np.mean, n_resamples=100_000, method=name, random_state=1, batch=10_000)
    low, high = bootstrap_interval(sample, rng=rng(2), method=method, resamples=100_000)
    error = 0.03 * expected.standard_error
    assert low[0] == pytest.approx(expected.confidence_interval.low, abs=error)
    assert high[0] == pytest.approx(expected.confidence_interval.high, abs=error)


def test_bca_shifts_towards_the_long_tail():
    sample = rng(3).lognormal(sigma=1.2, size=40)
    bca, percentile = (bootstrap_interval(sample, rng=rng(), method=method) for method in ("bca", "percentile"))
    assert bca[0][0] > percentile[0][0]
    assert bca[1][0] > percentile[1][0]


def test_bootstrap_draws_the_same_cases_for_every_column():
    sample = rng(1).normal(size=30)
    low, high = bootstrap_interval(np.column_stack([sample, sample, -sample]), rng=rng())
    assert low[0] == low[1]
    assert (low[2], high[2]) == pytest.approx((-high[0], -low[0]), abs=1e-12)


def test_bootstrap_is_reproducible_and_follows_the_seed():
    sample = rng(1).normal(size=30)
    assert bootstrap_interval(sample, rng=rng(5)) == bootstrap_interval(sample, rng=rng(5))
    assert bootstrap_interval(sample, rng=rng(5)) != bootstrap_interval(sample, rng=rng(6))


def test_bootstrap_of_a_constant_is_the_constant():
    low, high = bootstrap_interval(np.full(12, 0.9), rng=rng())
    assert (low[0], high[0]) == pytest.approx((0.9, 0.9), abs=1e-15)


def test_bootstrap_covers_the_mean():
    # 95 % of 400 intervals of normal samples: 380 expected, SD 4.4; n = 40 costs BCa about one point.
    samples = rng(7).normal(size=(40, 400))
    low, high = bootstrap_interval(samples, rng=rng(8), resamples=2000)
    assert 360 <= np.sum((low < 0) & (high > 0)) <= 395


def test_bootstrap_means_table():
    table = dice_table()
    found = bootstrap_means(table, value="dice", subject="subject", within=["arm", "muscle"], rng=rng(), resamples=2000)
    assert len(found) == 24
    row = found.query("arm == '2D_no' and muscle == 'MF_L'").iloc[0]
    assert row["mean"] == pytest.approx(REFERENCE["dice_desc"]["2D_no_MF_L"]["mean"], rel=1e-12)
    error = REFERENCE["dice_desc"]["2D_no_MF_L"]["sd"] / math.sqrt(76)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(
        (row["mean"] - 1.96 * error, row["mean"] + 1.96 * error), abs=0.2 * error
    )
    assert (row["n"], row["method"], row["resamples"], row["confidence"]) == (76, "bca", 2000, 0.95)


def test_bootstrap_differences_table():
    found = bootstrap_differences(
        dice_table(), value="dice", subject="subject", arm="arm", by="muscle", rng=rng(), resamples=2000
    )
    assert found.attrs["best"] == "2D_no"
    for row in found.to_dict("records"):
        expected = REFERENCE["paired_t"][f"{row['muscle']}|{row['arm']}"]
        assert row["mean_difference"] == pytest.approx(expected["mean_diff"], rel=1e-9)
        width = expected["ci_hi"] - expected["ci_lo"]
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(
            (expected["ci_lo"], expected["ci_hi"]), abs=0.15 * width
        )


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ([1.0], {}, "at least two cases"),
        ([1.0, math.nan], {}, "NaN or infinite"),
        ([1.0, 2.0], {"method": "t"}, "choose 'bca' or 'percentile'"),
        ([1.0, 2.0], {"resamples": 0}, "at least 1 is needed"),
    ],
)
def test_unusable_bootstraps_are_refused(samples, options, message):
    with pytest.raises(StatisticsError, match=message):
        bootstrap_interval(samples, rng=rng(), **options)


@pytest.mark.parametrize(("n", "dz", "alpha", "power"), REFERENCE["power"])
def test_power_is_that_of_r(n, dz, alpha, power):
    assert paired_power(n, dz, alpha=alpha) == pytest.approx(power, rel=1e-11)
    assert paired_power(n, -dz, alpha=alpha) == paired_power(n, dz, alpha=alpha)


@pytest.mark.parametrize(("dz", "power", "n"), REFERENCE["subjects"])
def test_subjects_are_those_of_r(dz, power, n):
    assert subjects_needed(dz, power=power) == math.ceil(n)


def test_subjects_needed_as_published():
    # Cohen's small, medium and large effect at 80 % power, as G*Power 3.1 prints for matched pairs.
    assert [subjects_needed(dz) for dz in (0.2, 0.5, 0.8)] == [199, 34, 15]


def test_power_at_its_edges():
    assert paired_power(20, 0) == 0.05
    assert paired_power(100, 3) == paired_power(1000, 5) == 1
    assert subjects_needed(20) == 2
    assert paired_power(subjects_needed(0.01), 0.01) >= 0.8 > paired_power(subjects_needed(0.01) - 1, 0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_power(1, 0.5), "at least 2 subjects"),
        (lambda: paired_power(10, math.nan), "a finite dz"),
        (lambda: paired_power(10, 0.5, alpha=1), "alpha between 0 and 1"),
        (lambda: subjects_needed(0), "a dz other than 0"),
        (lambda: subjects_needed(0.5, power=0.04), "0 < alpha < power < 1"),
        (lambda: subjects_needed(1e-5), "more than 10000000 subjects"),
    ],
)
def test_unusable_power_is_refused(call, message):
    with pytest.raises(StatisticsError, match=message):
        call()


@pytest.mark.parametrize("expected", REFERENCE["tost"], ids=lambda e: f"{e['muscle']}-{e['margin']:g}")
def test_equivalence_is_that_of_r(expected):
    found = tost(*volumes(expected["muscle"]), margin=expected["margin"])
    names = [name for name in expected if name != "muscle"]
    assert {n: getattr(found, n) for n in names} == pytest.approx({n: expected[n] for n in names}, rel=1e-11)
    assert found.p == max(found.p_low, found.p_high)
    assert found.equivalent == (found.p < 0.05)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), margin=st.floats(0.1, 5), alpha=st.floats(0.01, 0.3))
def test_equivalence_is_an_interval_within_the_margin(seed, margin, alpha):
    reference = rng(seed).normal(100, 10, 15)
    prediction = reference + rng(seed + 1).normal(0.5, 2, 15)
    there = tost(reference, prediction, margin=margin, alpha=alpha)
    assert there.equivalent == (-margin < there.ci_low and there.ci_high < margin)
    back = tost(prediction, reference, margin=margin, alpha=alpha)
    assert (back.bias, back.p) == pytest.approx((-there.bias, there.p), rel=1e-9)


def test_equivalence_of_constant_differences():
    inside = tost([1, 2, 3], [2, 3, 4], margin=1.5)
    assert (inside.p, inside.equivalent) == (0, True)
    assert (inside.t_low, inside.t_high) == (math.inf, -math.inf)
    outside = tost([1, 2, 3], [2, 3, 4], margin=0.5)
    assert (outside.p, outside.equivalent) == (1, False)
    on_the_edge = tost([1, 2, 3], [2, 3, 4], margin=1)
    assert math.isnan(on_the_edge.p)
    assert not on_the_edge.equivalent


@pytest.mark.parametrize("margin", [0, -1, math.nan, math.inf])
def test_unusable_margins_are_refused(margin):
    with pytest.raises(StatisticsError, match="give a number above 0"):
        tost([1, 2, 3], [1, 2, 4], margin=margin)


def test_margins_come_from_the_raters():
    assert inter_rater_margin([1, 2, 3], [2, 4, 6]) == pytest.approx(1 / math.sqrt(2), rel=1e-15)
    raters = pd.read_csv(DATA / "raters.csv")
    margins = inter_rater_margins(raters, subject="subject", by="muscle", rater_1="rater1_ml", rater_2="rater2_ml")
    assert margins["MF_L"] == pytest.approx(REFERENCE["sem_MF_L"], rel=1e-12)
    # The standard error of measurement is the root of the residual mean square of the raters' ANOVA.
    for muscle, margin in margins.items():
        assert margin**2 == pytest.approx(REFERENCE["raters"][muscle]["icc"]["MSE"], rel=1e-10)


def test_equivalence_of_volumes_per_muscle():
    table = pd.read_csv(DATA / "volumes.csv")
    options = {"subject": "subject", "by": "muscle", "reference": "gt_ml", "prediction": "pred_ml"}
    found = volume_equivalence(table, margins=3.0, **options).set_index("muscle")
    expected = next(e for e in REFERENCE["tost"] if e["muscle"] == "ES_L" and e["margin"] == 3)
    assert found.loc["ES_L", "p_high"] == pytest.approx(expected["p_high"], rel=1e-11)
    assert not found.loc["ES_L", "equivalent"]
    own = volume_equivalence(table, margins=dict.fromkeys(table.muscle.unique(), 3.0) | {"ES_L": 12.0}, **options)
    assert own.set_index("muscle").loc["ES_L", "equivalent"]
    with pytest.raises(StatisticsError, match="muscle MF_R has no equivalence margin"):
        volume_equivalence(table, margins={"MF_L": 3.0}, **options)


def test_the_mixed_model_needs_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.api", None)
    with pytest.raises(SetupError, match=r"pip install 'paraspinal-nnunet\[statistics\]'"):
        get_statsmodels()


def fit(table, within=WITHIN):
    pytest.importorskip("statsmodels", reason="the extra 'statistics' is not installed")
    return mixed_model(table, value="dice", subject="subject", within=within)


def test_the_mixed_model_is_that_of_nlme():
    found = fit(dice_table())
    expected = REFERENCE["mixed"]["balanced"]["chi2"]
    assert dict(zip(found["effect"], found["chi2"], strict=True)) == pytest.approx(expected, rel=1e-7)
    assert found["p"].tolist() == stats.chi2.sf(found["chi2"], found["df"]).tolist()


def test_the_balanced_mixed_model_is_the_pooled_anova():
    found = fit(dice_table())
    anova = repeated_measures_anova(dice_table(), value="dice", subject="subject", within=WITHIN)
    pooled = anova["ss_error"].sum() / anova["df2"].sum()
    np.testing.assert_allclose(found["chi2"], anova["ss"] / pooled, rtol=1e-7)
    assert found["df"].tolist() == anova["df1"].tolist()
    assert found.attrs["variance_residual"] == pytest.approx(pooled, rel=1e-7)
    cells = dice_table().groupby("subject").dice.mean()
    assert found.attrs["variance_subject"] == pytest.approx(cells.var() - pooled / 24, rel=1e-6)


def test_the_mixed_model_uses_incomplete_subjects():
    expected = REFERENCE["mixed"]["gaps"]
    found = fit(dice_table().drop(index=expected["rows_dropped"]))
    assert dict(zip(found["effect"], found["chi2"], strict=True)) == pytest.approx(expected["chi2"], rel=2e-6)
    assert found.attrs["observations"] == 1820
    assert found.attrs["subjects"] == 76


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[t.arm != "3D_yes"], "no subject has a value at model=3D, aug=yes, muscle=MF_L"),
        (lambda t: t[t.model == "2D"], "factor 'model' has only the level '2D'"),
        (lambda t: t[t.subject == "s001"], "at least 2 subjects"),
        (lambda t: t.assign(dice=0.9), "a mixed model needs variance"),
    ],
)
def test_unusable_mixed_models_are_refused(change, message):
    with pytest.raises(StatisticsError, match=message):
        fit(change(dice_table()))


def test_all_of_the_evaluation_imports_neither_statsmodels_nor_torch():
    code = (
        "import sys\n"
        "from paraspinal_nnunet.evaluation import *\n"
        "print(mixed_model.__name__, 'statsmodels' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["mixed_model", "False", "False"]
