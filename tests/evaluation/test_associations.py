"""Linear models against R, and from a table of measures and one of people to effects."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import StatisticsError
from paraspinal_nnunet.evaluation.statistics.linear_model import linear_model

DATA = pd.read_csv(Path(__file__).parents[1] / "data" / "statistics" / "people_fat.csv")
TERMS = ["sex", "age", "bmi", "race"]

# R 4.2: d <- read.csv("people_fat.csv"); fit <- lm(fat ~ sex + age + bmi + race, data = d)
# cbind(coef(summary(fit)), confint(fit))
R = {
    ("(Intercept)", ""): (
        *(-0.1629870000934654506, 0.03304290124130312284, -4.93258745360211215, 4.0147717133901992e-05),
        *(-0.2309076563331331489, -0.0950663438537977662),
    ),
    ("sex", "M"): (
        *(-0.0296484400565230691, 0.01148336592738148122, -2.58185973032766691, 1.5814707925132020e-02),
        *(-0.0532528367749642156, -0.0060440433380819225),
    ),
    ("age", ""): (
        *(0.0034344159761430008, 0.00052548816869707883, 6.53566755776530695, 6.2732668949497011e-07),
        *(0.0023542595757276232, 0.0045145723765583779),
    ),
    ("bmi", ""): (
        *(0.0060167316449595935, 0.00106004954987858014, 5.67589660846397237, 5.7030993640432083e-06),
        *(0.0038377685887640458, 0.0081956947011551408),
    ),
    ("race", "B"): (
        *(0.0097671470356955250, 0.01185055990234952332, 0.82419287495091809, 4.1732706505125439e-01),
        *(-0.0145920277079847286, 0.0341263217793757803),
    ),
    ("race", "C"): (
        *(-0.0133532882268822557, 0.01732351205402627575, -0.77081876845975505, 4.4776287896369771e-01),
        *(-0.0489622772346179208, 0.0222557007808534130),
    ),
}
# drop1(fit, test = "F"): F and p of sex, age, bmi, race
DROP1 = {
    "sex": (6.66599966708764935, 1.5814707925132041e-02),
    "age": (42.71495042562590783, 6.2732668949497127e-07),
    "bmi": (32.21580230997285099, 5.7030993640431660e-06),
    "race": (0.85269290368512685, 4.3784348757658104e-01),
}
COLUMNS = ["estimate", "se", "t", "p", "ci_low", "ci_high"]


def assert_is_r(rows):
    for key, expected in R.items():
        row = rows[(rows["term"] == key[0]) & (rows["level"].fillna("") == key[1])]
        assert row[COLUMNS].to_numpy()[0] == pytest.approx(expected, rel=1e-9), key
    for term, (f, p) in DROP1.items():
        found = rows[rows["term"] == term]
        assert found["term_f"].to_numpy() == pytest.approx(f, rel=1e-9)
        assert found["term_p"].to_numpy() == pytest.approx(p, rel=1e-9)


def test_a_linear_model_is_rs():
    found = linear_model(DATA, outcome="fat", terms=TERMS)
    assert_is_r(found)
    assert list(found["reference"]) == ["", "F", "", "", "A", "A"]
    assert set(found["df"]) == {26}
    # summary(fit)$r.squared, summary(fit)$sigma
    assert found.attrs["r2"] == pytest.approx(0.82514683872153205, rel=1e-9)
    assert found.attrs["residual_sd"] == pytest.approx(0.030321839242174718, rel=1e-9)
    assert (found.attrs["n"], found.attrs["left_out"]) == (32, 0)


def test_rows_with_gaps_are_left_out_and_counted():
    gaps = pd.concat([DATA, DATA.iloc[:3].assign(age=np.nan), DATA.iloc[:2].assign(sex="")], ignore_index=True)
    found = linear_model(gaps, outcome="fat", terms=TERMS)
    assert_is_r(found)
    assert (found.attrs["n"], found.attrs["left_out"]) == (32, 5)


@pytest.mark.parametrize(
    ("changed", "terms", "text"),
    [
        ({"sex": "F"}, TERMS, "sex is F throughout; leave it out"),
        ({}, ["height"], "no column height; there are"),
        ({"twice": 2 * DATA["age"] + 1}, ["age", "twice"], "age, twice cannot be told apart"),
        ({"fat": 0.1}, TERMS, "fat is 0.1 throughout"),
        ({"fat": DATA["age"] / 100}, ["age"], "no variance to test against"),
    ],
)
def test_what_no_model_can_use_is_refused(changed, terms, text):
    with pytest.raises(StatisticsError, match=text):
        linear_model(DATA.assign(**changed), outcome="fat", terms=terms)


def test_too_few_people_are_refused():
    with pytest.raises(StatisticsError, match="5 complete rows for 5 coefficients"):
        linear_model(DATA.iloc[[0, 1, 2, 3, 5]], outcome="fat", terms=["sex", "age", "bmi", "race"])


@pytest.fixture
def tables(tmp_path):
    """Measures of 32 people, one case of each, and who they are, with two more whom nobody knows or measured."""
    people = DATA[["sex", "age", "bmi", "race"]].copy()
    people.insert(0, "participant_id", [f"sub-{n}" for n in range(32)])
    people["ethnicity"] = "n/a"
    people["sex"] = people["sex"].map({"F": "female", "M": "M"})
    people.loc[32] = ["sub-99", "F", 40, 25, "A", "n/a"]
    people.to_csv(tmp_path / "participants.tsv", sep="\t", index=False)
    rows = [(f"sub-{n}_T2w", "multifidus", "left", fat) for n, fat in enumerate(DATA["fat"])]
    rows += [(f"sub-{n}_T2w", "multifidus", "right", 2 * fat) for n, fat in enumerate(DATA["fat"])]
    rows.append(("sub-77_T2w", "multifidus", "left", 0.2))
    columns = ["case", "muscle", "side", "fat_fraction_gmm3"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "measures.tsv", sep="\t", index=False)
    return tmp_path


def run(tables, *flags):
    given = ["associate", tables, "--people", tables / "participants.tsv", "-o", tables / "out", *flags]
    return main([str(each) for each in given])


def test_from_tables_to_effects(tables, capsys):
    assert run(tables) == 0
    found = pd.read_csv(tables / "out" / "associations.tsv", sep="\t")
    assert_is_r(found[found["side"] == "left"])
    right = found[(found["side"] == "right") & (found["term"] == "age")].iloc[0]
    assert right["estimate"] == pytest.approx(2 * R["age", ""][0], rel=1e-9)
    assert right["p_holm"] == pytest.approx(2 * R["age", ""][3], rel=1e-9)  # two muscles with one p
    assert set(found["n"]) == {32}
    printed = capsys.readouterr().out
    assert "fat_fraction_gmm3, age: least p < 0.001 (multifidus left), n = 32" in printed
    assert "Not in participants.tsv and left out: sub-77_T2w." in printed
    assert "left out: ethnicity." in printed
    text = (tables / "out" / "associations.md").read_text()
    assert "fat\\_fraction\\_gmm3 \\~ sex + age + bmi + race" in text
    assert "| multifidus left | sex: M against F | 32 | -0.0296 | -0.0533 to -0.0060 | 0.016 | 0.032 | 0.016 |" in text


def test_terms_and_outcomes_can_be_named(tables):
    assert run(tables, "--terms", "age", "--outcome", "fat_fraction_gmm3") == 0
    found = pd.read_csv(tables / "out" / "associations.tsv", sep="\t")
    assert set(found["formula"]) == {"fat_fraction_gmm3 ~ age"}


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--terms", "height"], "participants.tsv: has no column height"),
        (["--outcome", "volume_ml"], "measures.tsv: has no column volume_ml"),
        (["--terms", "ethnicity"], "multifidus left: ethnicity is not known throughout"),
    ],
)
def test_columns_that_are_not_there_are_named(tables, flags, text, capsys):
    assert run(tables, *flags) == 1
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "cell", "text"),
    [
        ("age", "-999", "participants.tsv: age '-999': write a number greater than 0 and up to 120, or n/a"),
        ("age", "36Y", "age '36Y': write a number"),
        ("bmi", "0", "bmi '0': write a number greater than 8"),
        ("sex", "intersex?", "sex 'intersex?': write F, M, O or n/a"),
        ("race", "", ""),
    ],
)
def test_ages_and_the_like_that_nobody_has_are_no_numbers_of_the_models(tables, column, cell, text, capsys):
    people = pd.read_csv(tables / "participants.tsv", sep="\t", dtype=str, keep_default_na=False)
    people.loc[5, column] = cell
    people.to_csv(tables / "participants.tsv", sep="\t", index=False)
    assert run(tables) == (1 if text else 0)
    assert text in capsys.readouterr().err


def test_what_is_not_known_is_a_gap_and_no_group(tables):
    people = pd.read_csv(tables / "participants.tsv", sep="\t", dtype=str, keep_default_na=False)
    people.loc[5, "age"], people.loc[6, "sex"] = "unknown", "Unknown"
    people.to_csv(tables / "participants.tsv", sep="\t", index=False)
    assert run(tables) == 0
    found = pd.read_csv(tables / "out" / "associations.tsv", sep="\t")
    assert set(found["n"]) == {30}
    assert set(found["term"] + found["level"].fillna("")) == {"(Intercept)", "sexM", "age", "bmi", "raceB", "raceC"}


def test_a_word_among_numbers_does_not_make_groups_of_them(tables, capsys):
    people = pd.read_csv(tables / "participants.tsv", sep="\t", dtype=str, keep_default_na=False)
    people["height"] = [str(160 + n) for n in range(32)] + ["tall"]
    people.to_csv(tables / "participants.tsv", sep="\t", index=False)
    assert run(tables, "--terms", "height") == 1
    assert "participants.tsv: height holds numbers and 'tall'" in capsys.readouterr().err
    people["height"] = ["short", "tall"] * 16 + [""]
    people.to_csv(tables / "participants.tsv", sep="\t", index=False)
    assert run(tables, "--terms", "height") == 0


def test_people_are_described_by_the_case_that_was_measured(tables):
    """Everybody's first case is ten years younger and was not measured."""
    people = pd.read_csv(tables / "participants.tsv", sep="\t", dtype=str, keep_default_na=False)[:32]
    later = people.rename(columns={"participant_id": "case"}).assign(subject=[f"s{n}" for n in range(32)])
    later["case"] = [f"sub-{n}_T2w" for n in range(32)]
    earlier = later.assign(case=[f"sub-{n}_early" for n in range(32)], age=[str(float(a) - 10) for a in later["age"]])
    pd.concat([earlier, later]).to_csv(tables / "participants.tsv", sep="\t", index=False)
    assert run(tables, "--terms", "sex", "age", "bmi", "race") == 0
    found = pd.read_csv(tables / "out" / "associations.tsv", sep="\t")
    assert_is_r(found[found["side"] == "left"])


def test_a_muscle_without_voxels_is_no_volume_of_nothing(tables, capsys):
    """Its volume is 0 in measures.tsv: a failed mask, which would pull every effect."""
    measures = pd.read_csv(tables / "measures.tsv", sep="\t").rename(columns={"fat_fraction_gmm3": "volume_ml"})
    measures["voxels"] = 100
    failed = measures[measures["case"] == "sub-3_T2w"].assign(case="sub-99_T2w", voxels=0, volume_ml=0)
    pd.concat([measures, failed]).to_csv(tables / "measures.tsv", sep="\t", index=False)
    assert run(tables, "--outcome", "volume_ml") == 0
    found = pd.read_csv(tables / "out" / "associations.tsv", sep="\t")
    assert_is_r(found[found["side"] == "left"])
    assert "Without voxels of a muscle that was looked for, and left out there: sub-99_T2w." in capsys.readouterr().out


def test_two_cases_of_one_person_are_refused_or_averaged(tables, capsys):
    measures = pd.read_csv(tables / "measures.tsv", sep="\t")
    again = measures[measures["case"] == "sub-3_T2w"].assign(case="sub-3_run-2_T2w")
    pd.concat([measures, again]).to_csv(tables / "measures.tsv", sep="\t", index=False)
    assert run(tables) == 1
    assert "3 has 2 cases; a model needs one row per person" in capsys.readouterr().err
    assert run(tables, "--average-cases") == 0
    found = pd.read_csv(tables / "out" / "associations.tsv", sep="\t")
    assert_is_r(found[found["side"] == "left"])


def test_nobody_in_both_tables_is_an_error(tables, capsys):
    (tables / "participants.tsv").write_text("participant_id\tage\nother\t3\n")
    assert run(tables) == 1
    assert "has none of the cases of" in capsys.readouterr().err
