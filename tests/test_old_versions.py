"""What version 0.1 wrote is still read: models, plans, records, evaluations, statistics, studies.

`data/version_0_1/README.md` says how the files were made; `expected.json` holds what that version said of them.
"""

import gzip
import json
import os
import pydoc
import shutil
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from paraspinal_nnunet import measure, segment
from paraspinal_nnunet.cli import main

OLD = Path(__file__).parent / "data" / "version_0_1"
EXPECTED = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))
SCAN = OLD / "scan.nii.gz"
DATASET = "Dataset077_Tiny"
PLANS = "ParaspinalPlans_2d_bffba1b1"


def run(*words):
    """One command of the program; its exit code."""
    return main([str(word) for word in words])


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study of version 0.1 as it lay on the disk, with nnU-Net's three folders, to which the variables point."""
    folder = tmp_path / "study"
    with zipfile.ZipFile(OLD / "study.zip") as archive:
        archive.extractall(folder)
    for name, time in EXPECTED["raw_times_ns"].items():  # a data set's hash holds them, but no archive does
        os.utime(folder / "nnunet" / "raw" / name, ns=(time, time))
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(folder / "nnunet" / name))
    for name in ("nnUNet_def_n_proc", "nnUNet_n_proc_DA"):  # steps set them
        monkeypatch.setenv(name, "1")
    monkeypatch.chdir(folder)  # and change the folder
    return folder


@pytest.fixture
def predictions(tmp_path):
    """An output folder of version 0.1; its pages were left out."""
    folder = tmp_path / "predictions"
    with zipfile.ZipFile(OLD / "predictions.zip") as archive:
        archive.extractall(folder)
    return folder


def results_folder(study, trainer="nnUNetTrainerParaspinal"):
    return study / "nnunet" / "results" / DATASET / f"{trainer}__{PLANS}__2d"


def labels_of(path):
    return np.asanyarray(nib.load(path).dataobj).astype(int)


def old_labels():
    with zipfile.ZipFile(OLD / "predictions.zip") as archive:
        image = nib.Nifti1Image.from_bytes(gzip.decompress(archive.read("scan.nii.gz")))
    return np.asanyarray(image.dataobj).astype(int)


def assert_same_labels(labels, reference):
    """Processors round differently: single voxels may lie elsewhere."""
    assert labels.shape == reference.shape
    assert np.count_nonzero(labels != reference) <= 10


def assert_counts(labels, name):
    found = np.bincount(labels.ravel(), minlength=7)
    assert found == pytest.approx(np.array(EXPECTED["voxels_of_label"][name]), abs=10)


def test_the_files_are_true_to_what_is_expected():
    """Else a test below would compare nothing: seven labels, each of at least 250 voxels."""
    counts = np.bincount(old_labels().ravel(), minlength=7)
    assert counts.tolist() == EXPECTED["voxels_of_label"]["predictions"]
    assert counts.min() > 250
    assert counts.sum() == nib.load(SCAN).get_fdata().size


def test_a_portable_model(tmp_path):
    pytest.importorskip("onnxruntime")
    out = tmp_path / "out"
    assert run("predict", "-i", SCAN, "-o", out, "-m", OLD / "portable.zip", "--threads", 1, "--no-pages") == 0
    assert_same_labels(labels_of(out / "scan.nii.gz"), old_labels())
    table = pd.read_csv(out / "measures" / "measures.tsv", sep="\t")
    volumes = dict(zip(table["muscle"] + "_" + table["side"], table["volume_ml"], strict=True))
    assert volumes == pytest.approx(EXPECTED["volume_ml"], abs=5)


def test_a_portable_model_from_python(tmp_path):
    pytest.importorskip("onnxruntime")
    from paraspinal_nnunet.prediction import PredictionRequest, predict

    result = segment(SCAN, OLD / "portable.zip")
    assert_counts(result.labels.astype(int), "portable")
    (mask,) = predict(PredictionRequest(SCAN, tmp_path / "out", OLD / "portable.zip"))
    assert_same_labels(labels_of(mask), old_labels())


def test_the_network_is_found_where_old_plans_have_it(study):
    """As nnU-Net's own commands look it up, which know nothing of this program's moves."""
    pytest.importorskip("nnunetv2")
    for plans in (study / "nnunet" / "preprocessed" / DATASET).glob("ParaspinalPlans*.json"):
        configurations = json.loads(plans.read_text(encoding="utf-8"))["configurations"]
        names = {c["architecture"]["network_class_name"] for c in configurations.values() if "architecture" in c}
        assert names == {"paraspinal_nnunet.network.ResidualUNet"}
        assert all(pydoc.locate(name) is not None for name in names)


@pytest.mark.slow
def test_a_model_exported_for_nnunet(tmp_path, capsys):
    pytest.importorskip("nnunetv2")
    results = tmp_path / "results"
    results.mkdir()
    assert run("import", OLD / "nnunet.zip", "-o", results) == 0
    assert DATASET in capsys.readouterr().out
    (model,) = (results / DATASET).iterdir()
    words = ("-device", "cpu", "--no-pages", "--no-measures")
    for number, given in enumerate((OLD / "nnunet.zip", model)):
        out = tmp_path / f"out{number}"
        assert run("predict", "-i", SCAN, "-o", out, "-m", given, *words) == 0
        assert_counts(labels_of(out / "scan.nii.gz"), "nnunet")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folds", "name"),
    [(("-f", "0", "1"), "results_folder"), ((), "results_folder_of_three_folds")],
)
def test_a_results_folder(study, tmp_path, folds, name):
    """Its plans and checkpoints name the network and trainer by where version 0.1 had them."""
    pytest.importorskip("nnunetv2")
    words = ("-device", "cpu", "--no-pages", "--no-measures")
    out = tmp_path / "out"
    assert run("predict", "-i", SCAN, "-o", out, "-m", results_folder(study), *folds, *words) == 0
    assert_counts(labels_of(out / "scan.nii.gz"), name)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["nnunet", "onnx"])
def test_a_results_folder_is_exported(study, tmp_path, form):
    pytest.importorskip("nnunetv2")
    pytest.importorskip("onnxscript")
    model = tmp_path / "model.zip"
    assert run("export", "-m", results_folder(study), "-o", model, "--format", form, "-f", 0, 1) == 0
    words = ("--threads", 1) if form == "onnx" else ("-device", "cpu")
    out = tmp_path / "out"
    assert run("predict", "-i", SCAN, "-o", out, "-m", model, *words, "--no-pages", "--no-measures") == 0
    assert_same_labels(labels_of(out / "scan.nii.gz"), old_labels())


def same_settings(folder, *more):
    """The command that made the old output, without pages unless asked for otherwise."""
    words = ("predict", "-i", SCAN, "-o", folder, "-m", OLD / "portable.zip", "--threads", 1)
    return run(*words, "--fat", "otsu", "gmm", *more)


def test_old_outputs_are_made_again_and_it_is_said(predictions, caplog):
    """Records of that version do not say from which content a mask was made: it may be another scan's by now."""
    pytest.importorskip("onnxruntime")
    before = labels_of(predictions / "scan.nii.gz")
    with caplog.at_level("INFO"):
        assert same_settings(predictions) == 0
    assert any("does not say from which scan" in record.getMessage() for record in caplog.records)
    assert_same_labels(labels_of(predictions / "scan.nii.gz"), before)
    assert (predictions / "pages" / "scan.html").is_file()
    assert (predictions / "index.html").is_file()
    record = json.loads((predictions / "records" / "scan.json").read_text(encoding="utf-8"))
    for key in ("model", "folds", "mode", "step_size", "mirroring"):
        assert record["prediction"][key] == EXPECTED["record"]["prediction"][key]
    assert record["disagreement"] == pytest.approx(EXPECTED["record"]["disagreement"], abs=0.02)
    made = contents(predictions)
    assert same_settings(predictions) == 0  # and is kept from then on
    assert contents(predictions) == made


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_old_mask_has_its_old_volumes(predictions):
    measured = measure(SCAN, predictions / "scan.nii.gz")
    found = {key: measured.structure(key).volume_ml for key in EXPECTED["volume_ml"]}
    assert found == pytest.approx(EXPECTED["volume_ml"], rel=1e-9)


def test_measures_are_the_same_again(predictions, tmp_path):
    words = ("measure", "-i", SCAN, "-l", predictions / "scan.nii.gz", "--fat", "otsu", "gmm")
    assert run(*words, "-o", tmp_path / "measures") == 0
    for name in ("measures", "slices", "asymmetry"):
        old, new = (pd.read_csv(f / f"{name}.tsv", sep="\t") for f in (predictions / "measures", tmp_path / "measures"))
        shared = [column for column in old.columns if column in new.columns]
        assert len(shared) > len(old.columns) / 2
        pd.testing.assert_frame_equal(new[shared], old[shared], check_dtype=False, rtol=1e-5)  # six digits since


def test_predictions_are_evaluated_as_before(study, tmp_path):
    """The metrics of the same masks, to the last digit but rounding."""
    models = [f"2d={results_folder(study)}", f"2d_da={results_folder(study, 'nnUNetTrainerParaspinalDA')}"]
    raw = study / "nnunet" / "raw" / DATASET
    words = ("--surface", "--surface-convention", "voxels", "--per-slice", "--volumes", "-np", 1)  # as it counted
    assert run("evaluate", "-ref", raw, "--pred", *models, "-o", tmp_path / "evaluation", *words) == 0
    for name in ("metrics", "surface", "slices", "volumes"):
        old = pd.read_csv(study / "evaluation" / "all" / f"{name}.csv")
        new = pd.read_csv(tmp_path / "evaluation" / f"{name}.tsv", sep="\t")
        pd.testing.assert_frame_equal(new[list(old.columns)], old, rtol=1e-9)
    found = pd.read_csv(tmp_path / "evaluation" / "metrics.tsv", sep="\t")
    expected = EXPECTED["evaluation"]
    assert len(found) == expected["rows"]
    for column, means in expected["mean"].items():
        assert found.groupby("model")[column].mean().to_dict() == pytest.approx(means)


def test_an_old_evaluation_has_its_old_statistics(study, tmp_path):
    words = ("--missing", "complete-case", "--average-cases", "--seed", 0)
    new = tmp_path / "statistics"
    assert run("statistics", study / "evaluation" / "all", "-o", new, *words) == 0
    names = ("overall_dice", "descriptives", "table1", "anova_augmentation_muscle", "bland_altman", "bootstrap_means")
    for name in names:
        old = pd.read_csv(study / "statistics" / "all" / f"{name}.csv")
        found = pd.read_csv(new / f"{name}.tsv", sep="\t")
        pd.testing.assert_frame_equal(found[list(old.columns)], old, rtol=1e-6)
    overall = pd.read_csv(new / "overall_dice.tsv", sep="\t").to_dict("records")
    assert [(row["model"], row["n"]) for row in overall] == [("2d", 6), ("2d_da", 6)]
    wanted = [row["mean"] for row in EXPECTED["statistics"]["overall_dice"]]
    assert [row["mean"] for row in overall] == pytest.approx(wanted)


@pytest.mark.slow
def test_old_statistics_are_reported(study, tmp_path):
    pytest.importorskip("matplotlib")
    folders = [study / name / "all" for name in ("evaluation", "statistics")]
    assert run("report", "-e", folders[0], "-s", folders[1], "-o", tmp_path / "report") == 0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "0.718" in page  # mean Dice of the better model
    assert "0.519" in page
    assert (tmp_path / "report" / "statistics" / "table1.csv").read_bytes() == (folders[1] / "table1.csv").read_bytes()


def test_a_study_tells_how_far_it_was(study, capsys):
    """Steps that were done, one that failed, one that was killed, and those of an arm that was never begun."""
    assert run("study", "status", "-s", study) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:-1] == [line.split() for line in EXPECTED["status"][:-1]]
    assert lines[-1][:3] == ["left:", "9", "steps,"]
    assert run("study", "logs", "report", "-s", study) == 0
    assert "run paraspinal statistics first" in capsys.readouterr().out


@pytest.mark.parametrize("step", [("train", "2d", "0"), ("train", "2d", "2"), ("validate", "2d", "1")])
def test_a_finished_step_of_a_study_is_not_done_again(study, capsys, step):
    """Its inputs have the same hash as before, and its results are unchanged."""
    before = (results_folder(study) / f"fold_{step[2]}" / "checkpoint_final.pth").stat().st_mtime_ns
    assert run("study", "step", *step, "-s", study) == 0
    assert f"{'/'.join(step)}: finished before" in capsys.readouterr().out
    assert (results_folder(study) / f"fold_{step[2]}" / "checkpoint_final.pth").stat().st_mtime_ns == before
    marker = json.loads((study / "state" / "done" / "/".join(step)).with_suffix(".json").read_text(encoding="utf-8"))
    assert marker["reused"]


@pytest.mark.slow
def test_settings_of_a_study_are_written_only_where_they_differ(study):
    """The engine runs again what depends on a file that is newer; an arm that is new has files that are new."""
    pytest.importorskip("snakemake")
    settings = study / "state" / "settings"
    before = contents(settings)
    assert run("study", "run", "-n", "-s", study) == 0
    after = contents(settings)
    assert {name: after[name] for name in before} == before
    assert any(name.startswith("models/later") for name in after)


def test_plans_of_other_settings_are_told_apart(study, capsys):
    pytest.importorskip("nnunetv2")
    words = ("plan", "-d", 77, "-c", "2d", "-p", PLANS, "--until", "plan", "-np", 1)
    assert run(*words, "--set", "iterations=5") == 1
    assert "hold other settings" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("words", [("-c", "2d", "3d_fullres", "2.5d"), ("-c", "2d", "3d_fullres", "--baseline")])
def test_old_plans_and_folds_are_taken_over(study, words):
    pytest.importorskip("nnunetv2")
    folder = study / "nnunet" / "preprocessed" / DATASET
    splits = (folder / "splits_final.json").read_bytes()
    assert run("plan", "-d", 77, *words, "--until", "plan", "-np", 1) == 0
    assert (folder / "splits_final.json").read_bytes() == splits
    assert [fold["val"] for fold in json.loads(splits)] == EXPECTED["splits"]
    name = "nnUNetPlans" if "--baseline" in words else "ParaspinalPlans"
    plans = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["configurations"]
    sizes = {key: plans[key]["patch_size"] for key in EXPECTED["plans"][name]}
    assert sizes == EXPECTED["plans"][name]


def test_an_old_data_set_is_inspected(study, tmp_path, capsys):
    assert run("inspect", "-d", 77, "-o", tmp_path / "inspection", "-np", 1) == 0
    content = json.loads((tmp_path / "inspection" / "inspection.json").read_text(encoding="utf-8"))
    assert "6 cases" in capsys.readouterr().out
    assert content


@pytest.mark.slow
def test_old_weights_validate_under_old_plans(study):
    """The data are preprocessed anew by the old plans; the old checkpoint predicts the old masks."""
    pytest.importorskip("nnunetv2")
    folder = results_folder(study) / "fold_0" / "validation"
    old = {path.name: labels_of(path) for path in folder.glob("*.nii.gz")}
    assert len(old) == 2
    shutil.rmtree(folder)
    assert run("study", "step", "preprocess", PLANS, "-s", study) == 0
    assert run("train", "-d", 77, "-c", "2d", "-f", 0, "-p", PLANS, "-device", "cpu", "--val") == 0
    for name, labels in old.items():
        assert_same_labels(labels_of(folder / name), labels)
