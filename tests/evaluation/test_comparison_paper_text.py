"""Every statement of the paper's text has a row, with ours or the reason why there is none."""

from dataclasses import replace

import pandas as pd
import pytest

from paraspinal_nnunet.evaluation.comparison.costs import COST_COLUMNS
from paraspinal_nnunet.evaluation.comparison.paper_text import compare_with_paper
from paraspinal_nnunet.evaluation.paper.published import MODEL_OF_ARM, published_statements, published_table1

STATEMENTS = 42
"""Counted in the paper: 1 of the people, 6 of the ANOVAs, 7 ranges, 4 in words, 6 post-hoc, 2 of raters, 8 of volumes,
6 differences, 2 of time."""


def rows(frames=None, published=None, data=None):
    return compare_with_paper(frames or {"table1": TABLE1}, (), published or {}, data or StubData())


class StubData:
    """A study of which nothing is known but its costs."""

    costs = None
    table = pd.DataFrame({"muscle_name": ["multifidus"], "side": ["left"]})


TABLE1 = pd.DataFrame({"model": [], "metric": [], "muscle": pd.Series([], dtype=str), "mean": []})


def test_all_statements_have_a_row_and_a_reason_where_nothing_is_known():
    found = rows()
    assert len(found) == len(published_statements()) == STATEMENTS
    assert (found["ours"] == "–").all()
    assert (found["note"] != "").all()
    assert found["printed"].tolist() == [s.printed for s in published_statements().values()]
    time = found[found["about"] == "manual segmentation of one person"].iloc[0]
    assert (time["printed"], time["note"]) == ("35.6 (5.8) minutes", "nothing here measures how long people take")


def test_seconds_per_scan_come_from_the_costs():
    costs = pd.DataFrame([dict.fromkeys(COST_COLUMNS)]).assign(
        model="mine", inference_s=6.44, inference_sd_s=0.12, inference_scans=76, device="NVIDIA X"
    )
    data = StubData()
    data.costs = costs.set_index("model")
    found = rows(published={"mine": "2D without DA"}, data=data)
    row = found[found["printed"] == "6.4 (0.1) seconds"].iloc[0]
    assert row["ours"] == "6.4 (0.1) seconds, n = 76, NVIDIA X; resampling and writing included"
    assert row["note"] == ""
    other = rows(published={"other": "2D without DA"}, data=data)
    assert other[other["printed"] == "6.4 (0.1) seconds"].iloc[0]["ours"] == "–"


@pytest.mark.parametrize(("larger", "expected"), [("Erector spinae", "p = 0.030"), ("Psoas major", "another order")])
def test_volumes_of_the_muscles_are_compared_on_both_sides(larger, expected):
    """The largest p of both sides is told, and only where the paper's order is there."""
    smaller = {"Erector spinae": "Psoas major", "Psoas major": "Erector spinae"}[larger]
    tests = pd.DataFrame(
        [(side, larger, smaller, p) for side, p in (("left", 0.03), ("right", 0.001))],
        columns=["side", "larger", "smaller", "p"],
    )
    found = rows({"table1": TABLE1, "reference_volume_tests": tests})
    row = found[found["about"].str.contains("erector spinae larger than psoas")].iloc[0]
    assert row["ours"].startswith(expected)
    assert found[found["about"].str.contains("multifidus smallest")].iloc[0]["ours"] == "–"


def test_assumptions_are_those_of_the_papers_analysis():
    from paraspinal_nnunet.evaluation.comparison.results import Analysis

    anova = pd.DataFrame({"mauchly_p": [float("nan"), 0.2, 0.0004]})
    quoted = pd.DataFrame({"effect": [], "p": [], "correction": []})
    papers = Analysis("a", ("dimension", "augmentation", "muscle"), ("one", "two"), True, anova, quoted)
    normality = pd.DataFrame({"model": ["one", "two", "else"], "shapiro_p": [0.04, 0.5, 0.001]})
    frames = {"table1": TABLE1, "normality": normality}
    found = compare_with_paper(frames, [papers], {}, StubData())
    row = found[found["about"].str.contains("normality and sphericity")].iloc[0]
    assert row["ours"] == "least of all tests: normality of the cells p = 0.040, sphericity p < 0.001"
    found = compare_with_paper(frames, [replace(papers, is_papers=False)], {}, StubData())
    assert found[found["about"].str.contains("normality and sphericity")].iloc[0]["ours"] == "–"


ARMS = {name: name for name in MODEL_OF_ARM.values()}
"""Models that are called as the paper's arms."""


def papers_own():
    """The paper's Table 1 as if it were ours."""
    table = published_table1()
    names = table["muscle"].str.replace("_", " ").str.capitalize() + " " + table["side"]
    return table.assign(muscle=names)[["model", "muscle", "metric", "mean"]]


def ours(frames, about, published=ARMS):
    found = rows(frames, published)
    return found.loc[found["about"].str.startswith(about), "ours"].tolist()


def test_what_the_paper_says_in_words_follows_from_its_own_table():
    """Means of Table 1 by hand, of 12 cells each: Dice of 2D (.9208 + .9138) / 2, of 3D (.9158 + .9103) / 2, without DA
    (.9208 + .9158) / 2, with DA (.9138 + .9103) / 2."""
    frames = {"table1": papers_own()}
    assert ours(frames, "mean Dice over muscles, 2D against 3D") == ["0.917 against 0.913"]
    assert ours(frames, "mean Dice over muscles, without against with DA") == ["0.918 against 0.912"]
    assert ours(frames, "mean Dice of the muscles, both sides together") == ["lowest in 4 of 4 models"]
    (larger,) = ours(frames, "means over muscles, 3D against 2D")
    assert larger == (
        "volume ratio 1.013 against 1.003, conformity index 0.805 against 0.817, positive predictive value 0.909 "
        "against 0.918"
    )
    assert ours(frames, "volume ICC(2,1) of 2D without DA, psoas major") == ["≥ 0.985"]
    assert ours(frames, "volume ICC(2,1) of 2D without DA in all muscles") == ["≥ 0.941"]
    assert ours(frames, "volume ICC(2,1) of the four models") == ["≥ 0.939"]


def test_directions_need_all_four_arms():
    three = {model: name for model, name in ARMS.items() if name != "3D with DA"}
    frames = {"table1": papers_own()}
    assert ours(frames, "mean Dice over muscles, 2D against 3D", three) == ["–"]
    assert ours(frames, "mean Dice of the muscles, both sides", three) == ["–"]


def test_the_people_are_those_of_the_models():
    row = {"fold": "", "part": "all", "n": 12, "female": 5, "sex_known": 11, "age_mean": 45.62, "age_sd": 12.78}
    row |= {"age_known": 12, "bmi_mean": float("nan"), "bmi_sd": float("nan"), "bmi_known": 0}
    frames = {"table1": TABLE1, "supplementary_table1": pd.DataFrame([row])}
    assert ours(frames, "people") == ["n = 12; 5 female of 11 known; mean (SD) age: 45.6 (12.8) years"]
