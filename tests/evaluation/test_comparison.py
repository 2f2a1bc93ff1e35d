"""A study's data, its statistics against R's numbers through the command, and what happens with less."""

import json
import logging
import sys
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import DatasetError, InputError, StatisticsError
from paraspinal_nnunet.evaluation.comparison.data import load_study, study_data
from paraspinal_nnunet.evaluation.comparison.files import as_json
from paraspinal_nnunet.evaluation.comparison.results import Options
from paraspinal_nnunet.evaluation.comparison.run import study_statistics
from paraspinal_nnunet.evaluation.record import COLUMNS

DATA = Path(__file__).parents[1] / "data" / "statistics"
REFERENCE = json.loads((DATA / "reference.json").read_text())
MUSCLES = {"MF": "multifidus", "ES": "erector_spinae", "PM": "psoas_major"}
ABBREVIATIONS = {"Multifidus": "MF", "Erector": "ES", "Psoas": "PM"}
DESIGN = "model,dimension,augmentation,depth,is_baseline\n" + "".join(
    f"{arm},{arm[:2]},{arm[3:]},5,\n" for arm in ("2D_no", "2D_yes", "3D_no", "3D_yes")
)
QUICK = Options(mixed_models=False)


def as_metrics(table, *, first="gt_ml", second="pred_ml"):
    """Columns of metrics.tsv from arm, subject, muscle, dice and two volumes."""
    dice = table["dice"]
    frame = pd.DataFrame(
        {
            "model": table["arm"],
            "case": table["subject"],
            "subject": table["subject"],
            "fold": "",
            "muscle": table["muscle"].str[:2].map(MUSCLES),
            "side": table["muscle"].str[-1].map({"L": "left", "R": "right"}),
            **{"dice": dice, "jaccard": dice / (2 - dice), "conformity": 3 - 2 / dice},
            **{"tpr": dice, "tnr": 1.0, "ppv": dice, "volume_ratio": table[second] / table[first]},
            **{"reference_ml": table[first], "prediction_ml": table[second]},
        }
    )
    return frame[list(COLUMNS)]


@cache
def study_metrics():
    """The data set of R's answers: four arms, and the deeper network."""
    arms = pd.read_csv(DATA / "dice_long.csv")
    arms["arm"] = arms["model"] + "_" + arms["aug"]
    deep = pd.read_csv(DATA / "depth_long.csv").query("depth == 'deep'").assign(arm="deep")
    both = pd.concat([arms, deep], ignore_index=True)[["arm", "subject", "muscle", "dice"]]
    return as_metrics(both.merge(pd.read_csv(DATA / "volumes.csv"), on=["subject", "muscle"], how="left"))


def some_metrics(models=("2D_no",), subjects=76, muscles=None):
    metrics = study_metrics()
    kept = metrics["model"].isin(models) & (metrics["subject"] <= f"s{subjects:03}")
    return metrics[kept & (metrics["muscle"].isin(muscles) if muscles else True)].reset_index(drop=True)


def write(folder, metrics, design=DESIGN):
    folder.mkdir(parents=True, exist_ok=True)
    metrics.to_csv(folder / "metrics.tsv", sep="\t", index=False)
    if design:
        (folder / "design.tsv").write_text(design)
    return folder


def abbreviation(muscle):
    return f"{ABBREVIATIONS[muscle.split()[0]]}_{muscle.split()[-1][0].upper()}"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """statistics.json of the whole data set, and its folder."""
    root = tmp_path_factory.mktemp("study")
    write(root / "in", study_metrics(), DESIGN + "deep,2D,no,6,\n")
    second = pd.read_csv(DATA / "raters.csv").assign(arm="rater", dice=0.91)
    write(root / "rater2", as_metrics(second, first="rater1_ml", second="rater2_ml"), None)
    rater2 = ["--rater2", str(root / "rater2")]
    code = main(["statistics", str(root / "in"), "-o", str(root / "out"), *rater2, "--no-mixed-model"])
    assert code == 0
    return json.loads((root / "out" / "statistics.json").read_text()), root


@pytest.mark.parametrize(
    ("table", "reference", "names"),
    [
        ("anova_dimension_augmentation_muscle", "anova3", {"dimension": "model", "augmentation": "aug"}),
        ("anova_depth_muscle", "anova2_depth_x_muscle", {}),
    ],
)
def test_analyses_of_variance_are_those_of_r(written, table, reference, names):
    rows = written[0]["tables"][table]
    expected = REFERENCE[reference]
    ours = {" x ".join(names.get(f, f) for f in row["effect"].split(" x ")): row for row in rows}
    assert set(ours) == set(expected)
    for effect, row in ours.items():
        columns = {"ss": "SS", "f": "F", "p": "p", "eta2_partial": "pes", "eta2_generalized": "ges"}
        if row["df1"] > 1:
            columns |= {"gg_epsilon": "GG_eps", "p_gg": "p_GG", "hf_epsilon": "HF_eps", "p_hf": "p_HF"}
            columns |= {"mauchly_w": "mauchly_W", "mauchly_p": "mauchly_p"}
        for ours_name, r_name in columns.items():
            assert row[ours_name] == pytest.approx(expected[effect][r_name], rel=1e-9), (effect, ours_name)


def test_post_hoc_tests_are_those_of_r(written):
    result = written[0]
    assert result["best"] == "2D_no"
    assert len(result["tables"]["post_hoc"]) == 18
    names = {"mean_difference": "mean_diff", "t": "t", "p": "p", "p_holm": "p_holm18", "dz": "dz", "ci_low": "ci_lo"}
    for row in result["tables"]["post_hoc"]:
        expected = REFERENCE["paired_t"][f"{abbreviation(row['muscle'])}|{row['model']}"]
        for ours, theirs in names.items():
            assert row[ours] == pytest.approx(expected[theirs], rel=1e-8), (row["muscle"], row["model"], ours)


def test_the_deeper_network_is_compared_apart(written):
    rows = written[0]["tables"]["other_models"]
    assert {row["model"] for row in rows} == {"deep"}
    assert len(rows) == 6


def test_shapes_are_those_of_r(written):
    for row in written[0]["tables"]["normality"]:
        expected = REFERENCE["shape_cell_residuals"][f"{row['model']}_{abbreviation(row['muscle'])}"]
        assert row["skewness"] == pytest.approx(expected["skew_G1"], rel=1e-8)
        assert row["shapiro_p"] == pytest.approx(expected["shapiro_p"], rel=1e-5)
    for row in written[0]["tables"]["post_hoc_normality"]:
        expected = REFERENCE["shape_diffs"][f"{abbreviation(row['muscle'])}|{row['model']}"]
        assert row["kurtosis"] == pytest.approx(expected["kurt_G2"], rel=1e-8)


def test_agreement_is_that_of_r(written):
    rows = [row for row in written[0]["tables"]["agreement"] if row["model"] == "2D_no"]
    for row in rows:
        expected = REFERENCE["volume"][abbreviation(row["muscle"])]
        assert row["icc"] == pytest.approx(expected["icc"]["icc21"], rel=1e-9)
        assert row["icc_ci_low"] == pytest.approx(expected["icc"]["lo"], rel=1e-9)
        assert row["bias"] == pytest.approx(expected["ba"]["mean_diff"], rel=1e-9)
    assert len(rows) == 6


def test_raters_and_equivalence_are_those_of_r(written):
    tables = written[0]["tables"]
    for row in tables["inter_rater"]:
        assert row["icc"] == pytest.approx(REFERENCE["raters"][abbreviation(row["muscle"])]["icc"]["icc21"], rel=1e-9)
        assert row["n"] == 25
    margins = {row["muscle"]: row["margin_ml"] for row in tables["inter_rater_margins"]}
    assert margins["Multifidus left"] == pytest.approx(REFERENCE["sem_MF_L"], rel=1e-9)
    assert tables["equivalence"][0]["margin"] == margins["Multifidus left"]
    assert tables["equivalence"][0]["equivalent"] is True
    assert {row["n"] for row in tables["human_level"]} == {25}


def test_every_table_is_a_file_and_every_file_is_listed(written):
    result, root = written
    assert sorted(result["files"]) == sorted(path.name for path in (root / "out").iterdir())
    dictionary = json.loads((root / "out" / "dictionary.json").read_text())
    for name, rows in result["tables"].items():
        numbers = root / "out" / f"{name}_numbers.tsv"
        frame = pd.read_csv(numbers if numbers.exists() else root / "out" / f"{name}.tsv", sep="\t")
        assert len(frame) == len(rows)
        assert list(dictionary[numbers.stem if numbers.exists() else name]) == list(frame.columns)
    anova = pd.read_csv(root / "out" / "anova_depth_muscle.tsv", sep="\t").to_dict("records")
    assert anova[0]["p"] == pytest.approx(result["tables"]["anova_depth_muscle"][0]["p"], rel=1e-15)


def test_the_text_for_readers(written):
    text = (written[1] / "out" / "statistics.md").read_text()
    for heading in ("Analysis of variance", "Post-hoc tests", "Two raters", "Beyond the paper", "Not computed"):
        assert f"\n## {heading}\n" in text
    assert "| augmentation x muscle | 2.13 | 5, 375 | 0.061 | 0.076 | 0.072 |" in text
    assert "2D without DA against 2D with DA, multifidus" in text
    beyond = text.index("## Beyond the paper")
    assert all(text.index(f"**{title}") > beyond for title in ("Equivalence of", "Mean Dice with", "What paired"))


def test_settings_and_versions_are_recorded(written):
    result = written[0]
    assert result["settings"] == {"missing": "error", "alpha": 0.05, "seed": 0, "mixed_models": False}
    assert {"python", "numpy", "scipy", "pandas"} <= set(result["versions"])
    assert result["sources"]["design"].endswith("design.tsv")
    assert [a["is_papers"] for a in result["analyses"]] == [True, True]


@pytest.mark.slow
def test_the_mixed_model_is_that_of_lme4(tmp_path):
    pytest.importorskip("statsmodels")
    folder = write(tmp_path / "in", some_metrics(("2D_no", "2D_yes", "3D_no", "3D_yes")))
    study = study_statistics(load_study(folder))
    ours = study.frames["mixed_model"].set_index("effect")["chi2"]
    assert ours["dimension"] == pytest.approx(REFERENCE["mixed"]["balanced"]["chi2"]["model"], rel=1e-5)


def test_without_statsmodels_the_mixed_model_is_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.api", None)
    study = study_statistics(study_data(some_metrics(subjects=4)))
    assert "mixed_model" not in study.frames
    assert "pip install 'paraspinal-nnunet[statistics]'" in reasons(study)["linear mixed model"]


def reasons(study):
    return {omission.what: omission.why for omission in study.omissions}


def test_one_model_has_a_muscle_anova_and_agreement():
    study = study_statistics(study_data(some_metrics()), QUICK)
    assert [a.factors for a in study.analyses] == [("muscle",)]
    expected = REFERENCE["anova1_muscle_2Dno"]["muscle"]
    assert study.analyses[0].anova["f"].iloc[0] == pytest.approx(expected["F"], rel=1e-9)
    assert len(study.frames["agreement"]) == 6
    assert "post_hoc" not in study.frames
    assert reasons(study)["post-hoc tests of the arms"] == "2D_no is the only arm"


def test_models_without_design_are_compared_as_models():
    study = study_statistics(study_data(some_metrics(("2D_no", "3D_yes"))), QUICK)
    assert [a.factors for a in study.analyses] == [("model", "muscle")]
    assert len(study.frames["post_hoc"]) == 6
    assert any("is unknown: write design.tsv" in omission.why for omission in study.omissions)


def test_baselines_stay_out_of_the_anova_and_in_the_tables(tmp_path):
    text = DESIGN.replace("3D_yes,3D,yes,5,", "3D_yes,3D,nnunet,,true")
    folder = write(tmp_path / "in", some_metrics(("2D_no", "2D_yes", "3D_no", "3D_yes")), text)
    study = study_statistics(load_study(folder), QUICK)
    assert not any("3D_yes" in analysis.models for analysis in study.analyses)
    assert {a.factors for a in study.analyses} == {("dimension", "muscle"), ("augmentation", "muscle")}
    assert set(study.frames["other_models"]["model"]) == {"3D_yes"}
    assert "3D_yes" in set(study.frames["table1"]["model"])
    expected = REFERENCE["anova2_model_x_muscle_noaug"]["model"]["F"]
    own = next(a for a in study.analyses if a.factors == ("dimension", "muscle"))
    assert own.anova["f"].iloc[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("subjects", "analyses"), [(1, 0), (2, 1), (4, 1)])
def test_few_subjects(subjects, analyses):
    study = study_statistics(study_data(some_metrics(("2D_no", "2D_yes"), subjects)), QUICK)
    assert len(study.analyses) == analyses
    assert len(study.frames["table1"]) == 2 * 6 * 8
    if subjects < 3:
        assert "at least" in reasons(study)["agreement of volumes"]
    if subjects == 4:
        from paraspinal_nnunet.evaluation.comparison.markdown import statistics_markdown

        assert "Mauchly's test is undefined" in statistics_markdown(study)


def test_four_muscles():
    study = study_statistics(study_data(some_metrics(("2D_no", "2D_yes"), 10, ["multifidus", "psoas_major"])), QUICK)
    assert study.data.muscles == ("Multifidus left", "Multifidus right", "Psoas major left", "Psoas major right")
    assert study.analyses[0].anova.set_index("effect").loc["muscle", "df1"] == 3


def test_labels_without_side_and_unknown_muscles():
    metrics = some_metrics(subjects=5, muscles=["psoas_major"])
    extra = metrics[metrics["side"] == "left"].assign(muscle="vertebra", side="")
    assert study_data(pd.concat([metrics, extra])).muscles == ("Psoas major left", "Psoas major right", "Vertebra")


def test_a_missing_value_is_an_error_or_left_out(caplog):
    metrics = some_metrics(("2D_no", "2D_yes"), 10)
    metrics.loc[3, "dice"] = np.nan
    with pytest.raises(StatisticsError, match=r"subject s001 at model=2D_no, muscle=Erector spinae right has no value"):
        study_statistics(study_data(metrics), QUICK)
    with caplog.at_level(logging.WARNING):
        study = study_statistics(study_data(metrics), Options("complete-case", mixed_models=False))
    assert study.analyses[0].anova.attrs == {"subjects": 9, "dropped": ["s001"]}
    assert [r.getMessage() for r in caplog.records] == ["left out 1 of 10 subjects that lack a cell: s001"]
    assert study.frames["overall_dice"]["undefined"].tolist() == [1, 0]


def test_a_muscle_absent_everywhere_is_left_out_by_name():
    """Its Dice is undefined in all cases; the other five muscles are tested as if it had never been there."""
    metrics = some_metrics(("2D_no", "2D_yes"), 10)
    absent = (metrics["muscle"] == "psoas_major") & (metrics["side"] == "left")
    lacking = metrics.copy()
    lacking.loc[absent, ["dice", "jaccard", "conformity", "tpr", "ppv", "volume_ratio"]] = np.nan
    lacking.loc[absent, ["reference_ml", "prediction_ml"]] = 0.0
    data = study_data(lacking)
    assert "Psoas major left" not in data.muscles
    assert data.notes == ("Left out, since neither a reference nor a model has it in any case: Psoas major left.",)
    found, expected = (study_statistics(study_data(m), QUICK) for m in (lacking, metrics[~absent]))
    pd.testing.assert_frame_equal(found.analyses[0].anova, expected.analyses[0].anova)
    pd.testing.assert_frame_equal(found.frames["agreement"], expected.frames["agreement"])
    with pytest.raises(StatisticsError, match="no case has any of the muscles"):
        study_data(lacking[absent])


def test_models_with_different_subjects():
    metrics = some_metrics(("2D_no", "2D_yes"), 10)
    lacking = metrics[(metrics["model"] == "2D_no") | (metrics["subject"] > "s005")]
    with pytest.raises(StatisticsError, match="s001 at model=2D_yes"):
        study_statistics(study_data(lacking), QUICK)
    study = study_statistics(study_data(lacking), Options("complete-case", mixed_models=False))
    assert study.analyses[0].anova.attrs["subjects"] == 5
    assert study.frames["overall_dice"]["n"].tolist() == [10, 5]


def test_several_cases_of_a_subject_need_a_word():
    metrics = some_metrics(subjects=3)
    second = metrics[metrics["subject"] == "s001"].assign(case="s001_fat")
    second["dice"] += 0.02
    both = pd.concat([metrics, second])
    with pytest.raises(StatisticsError, match=r"subject s001 has several cases of one model.*--average-cases"):
        study_data(both)
    data = study_data(both, average_cases=True)
    own = data.table[data.table["subject"] == "s001"]
    before = metrics[metrics["subject"] == "s001"]["dice"].mean()
    assert own["dice"].mean() == pytest.approx(before + 0.01)
    assert own["cases"].tolist() == [2] * 6
    assert data.notes == ("The cases of 1 subjects with several cases were averaged: s001.",)


def test_an_undefined_case_leaves_the_mean_of_its_subject_undefined():
    metrics = some_metrics(subjects=2)
    second = metrics[metrics["subject"] == "s001"].assign(case="s001_fat", dice=np.nan)
    table = study_data(pd.concat([metrics, second]), average_cases=True).table
    assert table.loc[table["subject"] == "s001", "dice"].isna().all()
    assert table.loc[table["subject"] == "s002", "dice"].notna().all()


def test_training_dice_is_labelled():
    from paraspinal_nnunet.evaluation.comparison.markdown import main_tables

    study = study_statistics(study_data(some_metrics(subjects=5).assign(fold="all")), QUICK)
    assert study.frames["overall_dice"]["kind"].iloc[0].startswith("training Dice")
    assert main_tables(study)["table1"].head == ("", "2D_no (training Dice)")


def test_infinite_conformity_spoils_only_its_own_row():
    metrics = some_metrics(("2D_no", "2D_yes"), 6)
    metrics.loc[0, "conformity"] = -np.inf
    study = study_statistics(study_data(metrics), QUICK)
    rows = study.frames["descriptives"].set_index(["model", "muscle", "metric"])["infinite"]
    assert rows[rows > 0].index.tolist() == [("2D_no", "Multifidus left", "conformity")]
    assert study.analyses


def test_the_seed_decides_the_bootstrap():
    data = study_data(some_metrics(subjects=8))
    runs = [study_statistics(data, Options(seed=s, mixed_models=False)).frames["bootstrap_means"] for s in (0, 0, 1)]
    assert runs[0].equals(runs[1])
    assert not runs[0].equals(runs[2])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.nan, None),
        (pd.NA, None),
        (-np.inf, "-Infinity"),
        (np.float64(0.1), 0.1),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ({1: (np.nan, "a")}, {"1": [None, "a"]}),
    ],
)
def test_json_is_strict(value, expected):
    assert as_json(value) == expected
    json.dumps(as_json(value), allow_nan=False)


def run(*arguments):
    return main(["statistics", *map(str, arguments)])


def test_known_errors_end_with_one_line(tmp_path, capsys):
    assert run(tmp_path / "absent", "-o", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert "metrics.tsv" in captured.err or "does not exist" in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_wrong_usage_ends_with_2(tmp_path):
    for extra in (["--alpha", "2"], ["--missing", "perhaps"], ["--seed", "-1"], []):
        with pytest.raises(SystemExit) as ended:
            run(tmp_path, *(["-o", tmp_path, *extra] if extra else []))
        assert ended.value.code == 2


def test_the_evaluation_is_not_overwritten(tmp_path, capsys):
    folder = write(tmp_path / "in", some_metrics(subjects=3))
    assert run(folder, "-o", folder, "--no-mixed-model") == 1
    assert "give another" in capsys.readouterr().err
    assert (folder / "design.tsv").read_text() == DESIGN


def test_files_of_an_earlier_run_go_away_and_others_stay(tmp_path):
    both = write(tmp_path / "both", some_metrics(("2D_no", "2D_yes"), 5))
    one = write(tmp_path / "one", some_metrics(subjects=5))
    out = tmp_path / "out"
    assert run(both, "-o", out, "--no-mixed-model") == 0
    assert (out / "post_hoc.tsv").exists()
    (out / "mine.txt").write_text("kept")
    assert run(one, "-o", out, "--no-mixed-model") == 0
    assert not (out / "post_hoc.tsv").exists()
    assert (out / "mine.txt").exists()


def test_missing_flag_reaches_the_tests(tmp_path, capsys):
    metrics = some_metrics(("2D_no", "2D_yes"), 6)
    metrics.loc[0, "dice"] = np.nan
    folder = write(tmp_path / "in", metrics)
    assert run(folder, "-o", tmp_path / "out", "--no-mixed-model") == 1
    assert "s001" in capsys.readouterr().err
    assert run(folder, "-o", tmp_path / "out", "--no-mixed-model", "--missing", "complete-case", "--alpha", "0.01") == 0
    result = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert result["analyses"][0]["dropped"] == ["s001"]
    assert result["settings"]["alpha"] == 0.01


def test_a_file_of_metrics_and_a_design_given_by_name(tmp_path):
    folder = write(tmp_path / "in", some_metrics(("2D_no", "3D_no"), 5), None)
    (tmp_path / "mine.csv").write_text(DESIGN)
    flags = ["--design", tmp_path / "mine.csv", "--average-cases", "--seed", 3, "--no-mixed-model"]
    assert run(folder / "metrics.tsv", "-o", tmp_path / "out", *flags) == 0
    result = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert [a["factors"] for a in result["analyses"]] == [["dimension", "muscle"]]
    assert result["settings"]["seed"] == 3


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("dice", 91.2, "metrics.tsv: line 2: dice is 91.2, which lies outside 0 to 1; write shares, no percent"),
        ("conformity", 78.0, "conformity is 78.0, which lies outside -inf to 1"),
        ("prediction_ml", -1.0, "prediction_ml is -1.0, which lies outside 0 to inf"),
        ("tnr", 1.0000001, ""),
    ],
)
def test_metrics_that_no_formula_gives_are_refused(tmp_path, column, value, text, capsys):
    metrics = some_metrics(subjects=4)
    metrics.loc[0, column] = value
    folder = write(tmp_path / "in", metrics, None)
    assert run(folder, "-o", tmp_path / "out", "--no-mixed-model") == (1 if text else 0)
    assert text in capsys.readouterr().err


def test_names_of_models_are_escaped_everywhere(tmp_path):
    name = "<b>|_$&%\\x"
    folder = write(tmp_path / "in", some_metrics(subjects=4).assign(model=name), None)
    assert run(folder, "-o", tmp_path / "out", "--no-mixed-model") == 0
    out = tmp_path / "out"
    assert "<b>" not in (out / "table1.html").read_text()
    assert "<b>" not in (out / "statistics.md").read_text()
    assert r"\textless{}b\textgreater{}\textbar{}\_\$\&\%\textbackslash{}x" in (out / "table1.tex").read_text()
    assert json.loads((out / "statistics.json").read_text())["best"] == name


PEOPLE = "case\tsubject\tsex\tage\tbmi\n" + "".join(
    f"s{i:03}\ts{i:03}\t{'F' if i % 2 else 'M'}\t{20 + i}\t{'n/a' if i == 1 else 20 + i % 7}\n" for i in range(1, 13)
)


def test_people_and_folds(tmp_path):
    metrics = some_metrics(subjects=9)
    metrics["fold"] = [str(int(subject[1:]) % 3) for subject in metrics["subject"]]
    folder = write(tmp_path / "in", metrics, None)
    (tmp_path / "cases.tsv").write_text(PEOPLE)
    study = study_statistics(load_study(folder, cases=tmp_path / "cases.tsv"), QUICK)
    folds = study.frames["supplementary_table1"]
    assert folds[["fold", "part", "n", "female"]].to_numpy().tolist() == [
        ["", "all", 12, 6],  # three people of the table were not evaluated: they trained
        ["0", "training", 9, 4],
        ["0", "test", 3, 2],
        ["1", "training", 9, 4],
        ["1", "test", 3, 2],
        ["2", "training", 9, 5],
        ["2", "test", 3, 1],
    ]
    everybody = folds.iloc[0]
    assert everybody["age_mean"] == 26.5
    assert everybody["age_sd"] == pytest.approx(np.sqrt(13))  # of 1 to 12
    assert everybody["bmi_known"] == 11
    sex = study.frames["by_sex"]
    assert (sex["n_female"].iloc[0], sex["n_male"].iloc[0]) == (5, 4)
    own = metrics[(metrics["muscle"] == "multifidus") & (metrics["side"] == "left")]
    women = own[own["subject"].str[1:].astype(int) % 2 == 1]["dice"]
    assert sex.iloc[0]["mean_female"] == pytest.approx(women.mean())
    ages = study.frames["by_age_and_bmi"].query("covariate == 'age' and measure == 'dice'")
    expected = np.corrcoef(own["subject"].str[1:].astype(int), own["dice"])[0, 1]
    assert ages.iloc[0]["pearson_r"] == pytest.approx(expected)


def test_people_that_contradict_themselves(tmp_path):
    folder = write(tmp_path / "in", some_metrics(subjects=2), None)
    cases = tmp_path / "cases.tsv"
    cases.write_text("case\tsubject\tsex\tage\ns001\ts001\tF\t30\ns002\ts002\tF\t31\ns001_b\ts001\tM\t30\n")
    with pytest.raises(DatasetError, match="the cases of subject s001 differ in sex, age or bmi"):
        load_study(folder, cases=cases)


def test_models_of_different_folds_have_no_supplementary_table():
    metrics = pd.concat([some_metrics(subjects=4).assign(fold="0"), some_metrics(["2D_yes"], 4).assign(fold="1")])
    study = study_statistics(study_data(metrics), QUICK)
    assert "subject s001 is in folds 0 and 1" in reasons(study)["Supplementary Table 1"]


def test_different_references_are_not_mixed():
    metrics = some_metrics(("2D_no", "2D_yes"), 4)
    metrics.loc[0, "reference_ml"] += 1
    study = study_statistics(study_data(metrics), QUICK)
    expected = "subject s001, Multifidus left: the models' reference volumes differ by 1 ml"
    assert reasons(study)["reference volumes"].startswith(expected)


def test_reference_volumes_are_compared_on_each_side():
    study = study_statistics(study_data(some_metrics(subjects=20)), QUICK)
    tests = study.frames["reference_volume_tests"]
    assert len(tests) == 6
    assert set(zip(tests["larger"], tests["smaller"], strict=True)) == {
        ("Erector spinae", "Multifidus"),
        ("Erector spinae", "Psoas major"),
        ("Psoas major", "Multifidus"),
    }


def test_second_rater_without_evaluation(tmp_path):
    folder = write(tmp_path / "in", some_metrics(subjects=3), None)
    (tmp_path / "labels").mkdir()
    with pytest.raises(InputError, match="can be compared only beside an evaluation folder"):
        load_study(folder, rater2=tmp_path / "labels")
    several = write(tmp_path / "several", some_metrics(("2D_no", "2D_yes"), 3), None)
    with pytest.raises(InputError, match="must hold one 'model'"):
        load_study(folder, rater2=several)
    fewer = write(tmp_path / "fewer", some_metrics(subjects=3, muscles=["multifidus"]), None)
    with pytest.raises(StatisticsError, match="the second rater has no Erector spinae left"):
        load_study(folder, rater2=fewer)


def test_muscles_that_the_second_rater_never_drew_are_no_disagreement(tmp_path):
    """Of maps with multifidus alone all other muscles had a Dice and a volume of 0, and an ICC of them."""
    folder = write(tmp_path / "in", some_metrics(subjects=3), None)
    second = some_metrics(subjects=3)
    load_study(folder, rater2=write(tmp_path / "all", second, None))
    undrawn = second["muscle"] == "psoas_major"
    second.loc[undrawn, ["dice", "jaccard", "tpr", "volume_ratio", "prediction_ml"]] = 0.0
    with pytest.raises(StatisticsError, match="the second rater has no Psoas major left, Psoas major right; compare"):
        load_study(folder, rater2=write(tmp_path / "some", second, None))
    once = second.index[undrawn & (second["subject"] == second["subject"].iloc[0])]
    second.loc[once, "prediction_ml"] = 5.0
    load_study(folder, rater2=write(tmp_path / "once", second, None))


def label_maps(folder, cases, shift=0):
    """Label maps of six blocks of 24 voxels (5 mm3) per layer; `shift` adds layers to label 1."""
    folder.mkdir(parents=True)
    for number in range(cases):
        array = np.zeros((8, 12, 12), np.uint8)
        for label in range(1, 7):
            array[: 3 + (number + label) % 4 + (shift if label == 1 else 0), :, 2 * label - 2 : 2 * label] = label
        nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 5.0, 1.0])), folder / f"p{number}.nii.gz")


def test_from_label_maps_to_statistics(tmp_path, capsys):
    label_maps(tmp_path / "labels", 5)
    label_maps(tmp_path / "model", 5, shift=1)
    label_maps(tmp_path / "second", 4, shift=-1)
    pairs = ["--pred", f"model={tmp_path / 'model'}"]
    assert main(["evaluate", "-ref", str(tmp_path / "labels"), *pairs, "-o", str(tmp_path / "evaluation")]) == 0
    data = load_study(tmp_path / "evaluation", rater2=tmp_path / "second")
    assert data.design["dimension"].tolist() == [""]
    first = data.rater2[data.rater2["muscle"] == "Multifidus right"]  # label 1 has 4, 5, 6 and 3 layers
    assert first["subject"].tolist() == ["p0", "p1", "p2", "p3"]
    assert first["rater1_ml"].tolist() == pytest.approx([0.48, 0.60, 0.72, 0.36])
    assert (first["rater2_ml"] - first["rater1_ml"]).tolist() == pytest.approx([-0.12] * 4)
    assert first["dice"].tolist() == pytest.approx([6 / 7, 8 / 9, 10 / 11, 4 / 5])
    (tmp_path / "second").rename(tmp_path / "labels_rater2")  # as conversions leave it
    assert run(tmp_path / "evaluation", "-o", tmp_path / "alone", "--no-mixed-model") == 0
    printed = capsys.readouterr().out
    assert f"there is one: give --rater2 {tmp_path / 'labels_rater2'}" in printed
    flags = ["--rater2", tmp_path / "labels_rater2", "--no-mixed-model"]
    assert run(tmp_path / "evaluation", "-o", tmp_path / "out", *flags) == 0
    result = json.loads((tmp_path / "out" / "statistics.json").read_text())
    agreement = {row["muscle"]: row for row in result["tables"]["inter_rater"]}
    assert agreement["Multifidus right"]["bias"] == pytest.approx(-0.12)
    assert agreement["Multifidus left"]["dice_mean"] == 1
    assert result["sources"]["rater 2"].endswith("labels_rater2")


def test_a_level_that_so_few_subjects_never_reach_costs_the_power_alone(tmp_path, capsys):
    folder = write(tmp_path / "in", some_metrics(("2D_no", "2D_yes"), 3))
    assert run(folder, "-o", tmp_path / "out", "--no-mixed-model", "--alpha", "1e-9") == 0
    assert "power: 3 subjects show no difference at the level 1e-09, however large" in capsys.readouterr().out
