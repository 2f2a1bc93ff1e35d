"""Studies really run: on this machine with kills in between, and on a SLURM of one node."""

import shutil
import subprocess
import sys

import pandas as pd
import pytest
from helpers import slurm_cluster as slurm
from helpers import studies as makers

from paraspinal_nnunet.utils.files import read_json

pytest.importorskip("nnunetv2")
pytest.importorskip("snakemake")

pytestmark = pytest.mark.slow

WEIGHTS = "nnunet/results/*/*/fold_0/checkpoint_final.pth"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A study that was run whole, and its folder as it was before."""
    fresh = makers.make_study(tmp_path_factory.mktemp("study") / "fresh", iterations=30)
    study = fresh.with_name("undisturbed")
    shutil.copytree(fresh, study)
    makers.finish(study)
    return fresh, study


def test_kills_of_engine_and_training_change_no_table(undisturbed):
    """The training is killed in its 4th epoch, the engine in the 8th; then a second run ends it all."""
    fresh, whole = undisturbed
    study = fresh.with_name("killed")
    shutil.copytree(fresh, study)
    with makers.start(study) as process:
        assert makers.wait_for(lambda: makers.epochs_logged(study) >= 4)
        first = makers.training_of(study)
        makers.kill(first)
        assert makers.wait_for(lambda: makers.epochs_logged(study) >= 8)
        assert set(makers.training_of(study)).isdisjoint(first)
        makers.kill(makers.engine_of(study))
        process.communicate()
    makers.finish(study)  # takes over from a training that went on, and clears the engine's lock
    assert makers.tables(study) == makers.tables(whole)
    assert len(makers.tables(study)) > 15
    again = makers.finish(study)
    assert "done: " not in again  # nothing is computed twice


def test_costs_and_provenance_stand_beside_the_results(undisturbed):
    """30 iterations in epochs of 2 make 15; the paper's 2D network has 1,626,871 parameters."""
    _, study = undisturbed
    (row,) = pd.read_csv(study / "evaluation" / "all" / "costs.tsv", sep="\t").to_dict("records")
    assert (row["model"], row["role"], row["parameters"], row["device"]) == ("2d", "arm", 1626871, "CPU")
    (fold,) = (study / "nnunet" / "results").glob("*/*/fold_0")
    record = read_json(fold / "training.json")
    assert (record["epochs"], record["seed"], record["threads"]) == (15, 0, 1)
    assert row["training_hours"] == pytest.approx(record["training_seconds"] / 3600)
    assert 0 < row["inference_s"] < 600
    for path in (fold / "provenance.json", fold / "validation_provenance.json", study / "report" / "provenance.json"):
        content = read_json(path)
        assert content["outputs"]
        assert content["commands"][0].startswith("paraspinal ")
        assert content["versions"]["nnunetv2"]
    assert "Which recipe is best on these data" in (study / "report" / "report.html").read_text()


def test_one_arm_changed_trains_one_arm(undisturbed, tmp_path):
    _, whole = undisturbed
    study = tmp_path / "changed"
    shutil.copytree(whole, study, symlinks=True)
    text = (study / "study.yaml").read_text().replace("  2d: {}\n", "  2d: {}\n  short: {set: {iterations: 2}}\n")
    (study / "study.yaml").write_text(text)
    command = [sys.executable, "-m", "paraspinal_nnunet", "study", "run", "-s", str(study), "-n"]
    plan = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    counts = dict(line.split() for line in plan.splitlines() if len(line.split()) == 2 and line.split()[1].isdigit())
    once = ("plan", "preprocess", "train", "validate")
    assert {rule: counts.get(rule) for rule in ("convert", "fingerprint", *once)} == {
        "convert": None,
        "fingerprint": None,
        **dict.fromkeys(once, "1"),
    }


def test_depth_with_another_seed_and_further_scans_in_shards(undisturbed, tmp_path):
    """Added to a finished study: the arm again under seed 1, the deeper network, and three scans in two shards."""
    _, whole = undisturbed
    study = tmp_path / "more"
    shutil.copytree(whole, study, symlinks=True)
    text = (study / "study.yaml").read_text().replace("depth: {run: false}", "depth: {retrain: {seed: 1}}")
    (study / "study.yaml").write_text(text + "predict: {input: new, model: 2d, shard_size: 2}\n")
    (study / "new").mkdir()
    for number, scan in enumerate(sorted(whole.glob("nnunet/raw/*/imagesTr/*.nii.gz"))[:3]):
        shutil.copy(scan, study / "new" / f"s{number}.nii.gz")
    before = {p: p.stat().st_mtime_ns for p in study.glob(WEIGHTS)}
    makers.finish(study)
    weights = sorted(study.glob(WEIGHTS))
    assert len(weights) == 3  # the arm's, and those of two new trainings under another seed or with more filters
    assert [p.stat().st_mtime_ns for p in before] == [before[p] for p in before]
    assert len({p.read_bytes() for p in weights}) == 3
    assert sorted(p.name for p in study.glob("predictions/*/s*.nii.gz")) == ["s0.nii.gz", "s1.nii.gz", "s2.nii.gz"]
    costs = pd.read_csv(study / "evaluation" / "depth" / "costs.tsv", sep="\t").set_index("role")
    assert costs["model"].to_dict() == {"retrained": "2d_retrained", "deep": "2d_deep"}
    assert costs["parameters"].to_dict() == {"retrained": 1626871, "deep": 6519287}  # the paper's networks


def test_a_study_runs_on_slurm_and_retries_what_fails(undisturbed, tmp_path_factory):
    """Conversion fails at first (its cohort is elsewhere); the training's process is killed once; both are retried."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    fresh, whole = undisturbed
    study = fresh.with_name("on_slurm")
    shutil.copytree(fresh, study)
    (study / "cohort").rename(study / "elsewhere")
    try:
        with slurm.slurm_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
            flags = ("--profile", "slurm", "--engine", "slurm-init-seconds-before-status-checks=3")
            with makers.start(study, *flags, environment=cluster.environment) as process:
                failed = study / "state" / "failed" / "convert.json"
                assert makers.wait_for(failed.is_file), makers.everything_logged(study)
                (study / "elsewhere").rename(study / "cohort")
                assert makers.wait_for(lambda: makers.epochs_logged(study) >= 3), makers.everything_logged(study)
                makers.kill(makers.training_of(study))
                output, _ = process.communicate()
            assert process.returncode == 0, output + makers.everything_logged(study)
            ended = cluster.finished_jobs()
    except slurm.ClusterUnavailableError as error:
        pytest.skip(str(error))
    states = [job["StepState"] for job in ended]
    assert states.count("COMPLETED") == 9, states  # convert to report
    assert states.count("FAILED") >= 2, states
    assert makers.tables(study) == makers.tables(whole)
