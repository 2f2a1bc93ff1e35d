"""Studies: study.yaml and its errors, what is named after settings, what is recomputed, locks, status and costs."""

import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from paraspinal_nnunet import cli
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation.comparison.answer import comparison_table
from paraspinal_nnunet.evaluation.comparison.costs import COST_COLUMNS, read_costs
from paraspinal_nnunet.evaluation.comparison.view import view_study
from paraspinal_nnunet.utils.files import read_json, write_json
from paraspinal_nnunet.workflow import reuse, steps
from paraspinal_nnunet.workflow.commands import BEST_FILE, every_model, job_commands, models_of_set
from paraspinal_nnunet.workflow.engine import RunOptions, engine_command
from paraspinal_nnunet.workflow.layout import lay_down
from paraspinal_nnunet.workflow.narrator import Narrator
from paraspinal_nnunet.workflow.results import inference_seconds
from paraspinal_nnunet.workflow.settings import deeper, further_models, read_study, retrained
from paraspinal_nnunet.workflow.state import HeldError, Step, failure, held, is_held, log_file, marker, settings_file
from paraspinal_nnunet.workflow.status import (
    expected_jobs,
    job_state,
    job_states,
    log_of,
    seconds_left,
    status_text,
)
from paraspinal_nnunet.workflow.steps import lock_file
from paraspinal_nnunet.workflow.study_file.schema import FIELDS
from paraspinal_nnunet.workflow.study_file.template import PAPERS, demo_text
from paraspinal_nnunet.workflow.study_file.yaml_nodes import StudyFileError

SMALL = "dataset: {id: 5, convert: {source: author, input: cohort}}\narms:\n  a: {configuration: 2d}\n  b: {}\n"


def study_of(folder, text=SMALL):
    folder.mkdir(exist_ok=True)
    (folder / "study.yaml").write_text(text)
    return read_study(folder)


def test_the_papers_study_is_what_init_writes(tmp_path):
    """Methods and Results: 2D and 3D, each without and with augmentation, on 3 folds; each baseline with and without
    mirroring. Arms of one configuration share their plans."""
    assert cli.main(["study", "init", "-s", str(tmp_path)]) == 0
    study = read_study(tmp_path)
    arms = [m for m in study.models if m.role == "arm"]
    assert {(m.configuration, m.trainer.removeprefix("nnUNetTrainerParaspinal")) for m in arms} == {
        ("2d", ""),
        ("2d", "DA"),
        ("3d_fullres", ""),
        ("3d_fullres", "DA"),
    }
    assert study.folds == ("0", "1", "2")
    assert len({m.plans for m in arms}) == 2
    assert sum(m.is_baseline for m in study.models) == 4
    assert cli.main(["study", "init", "-s", str(tmp_path)]) == 1  # not written over


def test_every_field_is_explained():
    assert all(field.about for field in FIELDS.values())


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("dataset: {id: 5}\narms:\n  2d: {trainr: x}\n", 3, "arms.2d.trainr is unknown; did you mean trainer?"),
        ("dataset: {id: 5}\n\narms:\n  a:\n    trainer: nnUNetTrainerParaspinalDAA\n", 5, "arms.a.trainer is"),
        ("dataset:\n  name: X\narms: {a: {}}\n", 2, "dataset.id is missing"),
        ("dataset: {id: 5}\narms: {a: {}}\nfolds: [0, 0]\n", 3, "folds is [0, 0]; give different folds"),
        ("dataset: {id: 5}\narms:\n  a:\n    set:\n      iteration: 4\n", 5, "arms.a.set cannot be used"),
        ("dataset: {id: 5}\narms: {a: {set: {iterations: many}}}\n", 2, "expected a whole number"),
        ("dataset: {id: five}\narms: {a: {}}\n", 1, "dataset.id is 'five'; give a whole number"),
        ("dataset: {id: 5}\narms: {a: {configuration: 4d}}\n", 2, "choose from 2d, 3d_fullres, 2.5d"),
        ("dataset: {id: 5}\narms: {a_deep: {}}\n", 2, "ends in _deep or _retrained"),
        ("dataset: {id: 5}\narms: {a: {}}\narms: {b: {}}\n", 3, "arms stands there twice"),
        ("dataset: {id: 5}\narms: {a: {}}\nresources:\n  train: {minutes: 0}\n", 4, "train.minutes is 0; give 1"),
        ("dataset: {id: 5}\narms: {a: {}}\nresources:\n  training: {}\n", 4, "did you mean train?"),
        ("dataset: {id: 5}\narms: [a]\n", 2, "arms must hold fields"),
        ("dataset: {id: 5}\n", 1, "arms names no arm"),
        ("dataset: {id: 5}\narms: {a: {}\n", 3, "is not valid YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_field(tmp_path, text, line, message):
    with pytest.raises(StudyFileError) as error:
        study_of(tmp_path, text)
    assert f"study.yaml, line {line}: " in str(error.value)
    assert message in str(error.value)


def test_models_must_have_names_of_their_own(tmp_path):
    with pytest.raises(InputError, match=r"baselines\.a: the name a is taken"):
        study_of(tmp_path, "dataset: {id: 5}\narms: {a: {}}\nbaselines: {a: {}}\n")


@pytest.mark.parametrize("text", [PAPERS, demo_text(), PAPERS.replace("# retrain", "retrain")])
def test_every_step_is_a_command_that_a_user_could_type(tmp_path, text):
    study = study_of(tmp_path, text)
    write_json(tmp_path / "state" / BEST_FILE, {"best": "2d"})
    jobs = [*expected_jobs(study), Step("evaluate", "arms")]
    commands = [command for job in jobs for command in job_commands(study, job)]
    for command in commands:
        cli.parser_for(command).parse_args(command)
    trainings = [c for c in commands if c[0] == "train"]
    again = text == PAPERS.replace("# retrain", "retrain")
    models = len(study.models) + 1 + again  # the deeper one, and the best arm again
    assert len(trainings) == 2 * models * len(study.folds)
    assert len({shlex.join(c) for c in trainings}) == len(trainings)


def test_the_deeper_network_has_one_level_of_512_filters(tmp_path):
    """Methods, Training: 'one extra layer with 512 filters' on 16, 32, 64, 128, 256."""
    best = study_of(tmp_path, PAPERS).model("2d_da")
    deep = deeper(best, None)
    assert deep.overrides["channels"] == [16, 32, 64, 128, 256, 512]
    assert deep.overrides["strides"] == [1, 2, 2, 2, 2]
    assert (deep.trainer, deep.name, deep.role) == (best.trainer, "2d_da_deep", "deep")
    assert retrained(best, 1).overrides == {"seed": 1}
    assert len({best.plans, deep.plans, deeper(best, 1).plans, retrained(best, 1).plans}) == 4


def test_what_follows_from_the_best_arm(tmp_path):
    study = study_of(tmp_path, SMALL + "depth: {retrain: {seed: 1}}\n")
    assert [m.name for m in further_models(study, "b")] == ["b_retrained", "b_deep"]
    assert [m.name for m in every_model(study)] == ["a", "b"]  # not chosen yet
    write_json(tmp_path / "state" / BEST_FILE, {"best": "b"})
    assert [m.name for m in models_of_set(study, "depth")] == ["b_retrained", "b_deep"]
    assert [m.name for m in models_of_set(study, "arms")] == ["a", "b"]
    (tmp_path / "study.yaml").write_text(SMALL + "depth: {run: false}\n")
    assert further_models(read_study(tmp_path), "b") == ()


def times(folder):
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in (folder / "state").rglob("*.json")}


def test_changing_one_arm_touches_nothing_of_the_others(tmp_path):
    first = study_of(tmp_path)
    lay_down(first)
    before = times(tmp_path)
    lay_down(first)
    assert times(tmp_path) == before
    second = study_of(tmp_path, SMALL.replace("b: {}", "b: {set: {iterations: 7}}"))
    lay_down(second)
    changed = {name for name, moment in times(tmp_path).items() if before.get(name) != moment}
    plans = second.model("b").plans
    assert plans != first.model("b").plans
    assert changed == {"state/settings/models/b.json", f"state/settings/plans/{plans}.json"}
    assert second.model("a") == first.model("a")


def test_common_settings_reach_arms_but_not_baselines(tmp_path):
    text = SMALL + "set: {iterations: 9, seed: 4}\nablations: {c: {set: {seed: 5}}}\nbaselines: {n: {}}\n"
    study = study_of(tmp_path, text)
    assert study.model("a").overrides == {"iterations": 9, "seed": 4}
    assert study.model("c").overrides == {"iterations": 9, "seed": 5}
    assert study.model("n").overrides == {}


def test_every_flag_of_run_reaches_the_engine(tmp_path, monkeypatch):
    """No cluster here keeps accounts, so its jobs are followed by squeue."""
    monkeypatch.setattr("paraspinal_nnunet.workflow.engine._keeps_accounts", lambda: False)
    text = SMALL + "engine: {retries: 5, gpus: 3}\nslurm: {partition: gpu, account: lab}\n"
    study = study_of(tmp_path, text)
    here = shlex.join(engine_command(study, RunOptions(cores=7, targets=("train/a/0",), further=("--forceall",))))
    assert "--cores 7" in here
    assert "--resources planning=1 gpu=3" in here
    assert "--retries 5" in here
    assert here.endswith("--forceall -- state/done/train/a/0.json")
    assert "slurm" not in here
    there = engine_command(study, RunOptions(profile="slurm"))
    assert {"slurm_partition='gpu'", "slurm_account='lab'", "squeue"} <= set(there)
    assert "--cores" not in there
    own = tmp_path / "own"
    own.mkdir()
    (own / "config.yaml").write_text("executor: lsf\n")
    assert str(own) in engine_command(study, RunOptions(profile="own"))
    for name in ("own", "../own", "./own"):
        with pytest.raises(InputError, match=f"engine.profile is '{name}', which may have come with study.yaml"):
            engine_command(study_of(tmp_path, SMALL + f"engine: {{profile: {name}}}\n"), RunOptions())
    assert str(own) in engine_command(study_of(tmp_path, SMALL + f"engine: {{profile: {own}}}\n"), RunOptions())
    with pytest.raises(InputError, match="profile elsewhere: is neither slurm nor local"):
        engine_command(study, RunOptions(profile="elsewhere"))


HOLD = """
import sys, time
from pathlib import Path
from paraspinal_nnunet.workflow.state import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_dies_with_its_process(tmp_path):
    lock = tmp_path / "x.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert is_held(lock)
        with pytest.raises(HeldError, match=f"held by process {other.pid} on "), held(lock):
            pass
        other.send_signal(signal.SIGKILL)
    assert not is_held(lock)
    with held(lock):
        assert is_held(lock)
    assert not is_held(lock)


def test_two_engines_are_refused_in_one_line(tmp_path, capsys):
    pytest.importorskip("snakemake")
    study_of(tmp_path)
    with held(tmp_path / "state" / "engine.lock"):
        assert cli.main(["study", "run", "-s", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "is being run already by process" in message
    assert "wait for it, or end that process" in message


def test_status_tells_every_state_and_the_time_left(tmp_path):
    """Four trainings of equal length: one done in 100 s, one failed, one cut off, one missing: 300 s are left."""
    study = study_of(tmp_path, SMALL + "folds: [0, 1]\ndepth: {run: false}\n")
    done, failed, cut, missing = (Step("train", m, f) for m in ("a", "b") for f in ("0", "1"))
    write_json(marker(tmp_path, done), {"plans": study.model("a").plans, "seconds": 100})
    write_json(failure(tmp_path, failed), {"error": "no memory"})
    log_file(tmp_path, cut).parent.mkdir(parents=True)
    log_file(tmp_path, cut).write_text("Epoch 1\n")
    states = {s.job: s for s in job_states(study)}
    assert [states[j].state for j in (done, failed, cut, missing)] == ["done", "failed", "interrupted", "missing"]
    trainings = [s for s in job_states(study) if s.job.rule == "train"]
    assert seconds_left(study, trainings) == (300, 0)
    text = status_text(study)
    assert "failed: train/a/1: no memory" in text
    assert "paraspinal study logs train/a/1" in text
    with held(lock_file(tmp_path, missing)):
        assert job_state(study, missing).state == "running"
    changed = study_of(tmp_path, SMALL.replace("{configuration: 2d}", "{set: {iterations: 7}}"))
    assert job_state(changed, done).state == "missing"


def test_a_step_is_missing_again_when_one_that_it_waits_for_ended_after_it(tmp_path):
    """An arm trained and validated anew under other settings outdates the evaluation, whatever the files' times are."""
    study = study_of(tmp_path, SMALL + "folds: [0]\ndepth: {run: false}\n")
    steps = [Step("train", "a", "0"), Step("validate", "a", "0"), Step("evaluate", "all"), Step("statistics", "all")]
    for minute, step in enumerate(steps):
        write_json(marker(tmp_path, step), {"ended": f"2026-01-01T10:0{minute}:00+00:00"})
    assert [job_state(study, step).state for step in steps] == ["done"] * 4
    for minute, step in enumerate(steps[:2], start=5):
        write_json(marker(tmp_path, step), {"ended": f"2026-01-01T10:0{minute}:00+00:00"})
    states = [job_state(study, step) for step in steps]
    assert [state.state for state in states] == ["done", "done", "missing", "done"]
    assert states[2].note == "what it is made from changed"
    write_json(marker(tmp_path, steps[2]), {"ended": "2026-01-01T10:07:00+00:00"})
    assert job_state(study, steps[3]).state == "missing"


def test_a_running_training_tells_how_far_it_is(tmp_path):
    """120 epochs of 250 make the paper's 30,000; at epoch 30 of 2 s each, 90 x 2 s are left."""
    study = study_of(tmp_path)
    job = Step("train", "a", "0")
    folder = reuse.fold_folder(study, job)
    folder.mkdir(parents=True)
    (folder / "training_log_1.txt").write_text("2026-01-01 00:00:00: Epoch 29 \nx: Epoch time: 2.0 s\nx: Epoch 30 \n")
    with held(lock_file(tmp_path, job)):
        state = job_state(study, job)
    assert (state.progress, state.seconds_left) == (30 / 120, 180)


@pytest.mark.parametrize(("code", "state"), [(130, "interrupted"), (143, "interrupted"), (1, "failed")])
def test_a_step_that_was_stopped_has_not_failed(tmp_path, monkeypatch, code, state):
    """Ctrl-C and SIGTERM end a command with 128 + their number; the next run goes on without a word of failure."""
    study, job = study_of(tmp_path), Step("fingerprint")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(steps, "environment", lambda *_: {})
    with pytest.raises(steps.StepError if state == "failed" else KeyboardInterrupt):
        steps.run_step(study, job, lambda command: code)
    assert job_state(study, job).state == state


def test_what_was_so_before_is_not_told_again(tmp_path, capsys):
    study, job = study_of(tmp_path), Step("train", "a", "0")
    write_json(failure(tmp_path, job), {"error": "no memory"})
    with closing(Narrator(study)) as narrator:
        narrator.tell()
        assert "failed" not in capsys.readouterr().out
        write_json(marker(tmp_path, job), {"plans": study.model("a").plans, "seconds": 100})
        failure(tmp_path, job).unlink()
        narrator.tell()
        assert "done: train/a/0 (100 s)" in capsys.readouterr().out


def test_logs_of_the_first_failure_are_one_command_away(tmp_path, capsys):
    study_of(tmp_path)
    job = Step("train", "b", "1")
    write_json(failure(tmp_path, job), {"error": "x"})
    log_file(tmp_path, job).parent.mkdir(parents=True)
    log_file(tmp_path, job).write_text("first\nlast words\n")
    assert cli.main(["study", "logs", "-s", str(tmp_path), "-n", "1"]) == 0
    assert capsys.readouterr().out.endswith("\nlast words\n")
    assert log_of(read_study(tmp_path), "train/b") == log_file(tmp_path, job)
    with pytest.raises(InputError, match=r"step train/a/0: has no log; there are logs of: train/b/1"):
        log_of(read_study(tmp_path), "train/a/0")


@pytest.mark.slow
def test_a_failed_step_leaves_its_reason_and_no_marker(tmp_path):
    """In a process of its own: its output goes to the log whatever prints it."""
    study_of(tmp_path)
    command = [sys.executable, "-m", "paraspinal_nnunet", "study", "step", "convert", "-s", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    job = Step("convert")
    assert result.returncode == 1
    assert result.stderr.startswith("paraspinal study: error: convert: cohort: no such folder; ")
    assert not marker(tmp_path, job).is_file()
    assert "cohort" in failure(tmp_path, job).read_text()
    log = log_file(tmp_path, job).read_text()
    assert "$ paraspinal convert author -i cohort" in log
    assert "Traceback" in log


LOG = """\
2026-01-01 10:00:00.000000: predicting a
2026-01-01 10:00:09.000000: predicting b
2026-01-01 11:00:00.000000: predicting a
2026-01-01 11:00:02.000000: a, shape torch.Size([1, 16, 64, 64]), rank 0
2026-01-01 11:00:03.000000: predicting b
2026-01-01 11:00:05.500000: Validation complete
"""


def test_seconds_per_scan_are_those_of_the_validation_that_was_finished(tmp_path):
    """The first attempt was cut off; in the second a took 3 s and b 2.5 s."""
    (tmp_path / "log.txt").write_text(LOG)
    assert inference_seconds(tmp_path / "log.txt") == [3.0, 2.5]


def test_the_first_table_ranks_recipes_with_their_costs(evaluation, tmp_path):
    """Numbers by hand from the metrics: each subject's mean over the six muscles."""
    view = view_study(evaluation)
    row = ("near", "arm", "nnUNetTrainerParaspinal", "2d", "0 1 2", "NVIDIA X", 1.5, 6.4, 1626871, 900, 0.1, 76)
    costs = pd.DataFrame([row], columns=list(COST_COLUMNS)).set_index("model")
    table = comparison_table(view, costs)
    means = view.metrics.groupby(["model", "subject"])["dice"].mean().unstack("model")
    first, second = ([cell.text for cell in row.cells] for row in table.rows)
    assert first[0] == "near"
    assert first[2].startswith(f"{means['near'].mean():.3f} (")
    assert first[3:5] == ["-", "-"]
    assert first[5:8] == ["90 min (NVIDIA X)", "6.4", "1,626,871"]
    assert second[3].startswith(f"{(means['near'] - means[second[0]]).mean():.3f} [")
    assert second[5:8] == ["-", "-", "-"]
    assert read_costs(tmp_path) is None
    (tmp_path / "costs.tsv").write_text("model\thours\nnear\t1\n")
    with pytest.raises(InputError, match="expected one row per model"):
        read_costs(tmp_path)


def test_shards_are_disjoint_and_miss_no_scan(tmp_path):
    """Masks of unknown origin stand in every scan's way, so that each call names the scans of its share."""
    from paraspinal_nnunet.prediction import PredictionRequest, predict

    (tmp_path / "scans").mkdir()
    (tmp_path / "masks").mkdir()
    for n in range(7):
        nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), tmp_path / "scans" / f"s{n}.nii.gz")
        (tmp_path / "masks" / f"s{n}.nii.gz").touch()
    shares = []
    for shard in ((1, 3), (2, 3), (3, 3)):
        with pytest.raises(InputError) as error:
            predict(PredictionRequest(tmp_path / "scans", tmp_path / "masks", Path(__file__), shard=shard))
        shares.append(re.findall(r"(s\d)\.nii\.gz \(", str(error.value)))
    assert shares == [["s0", "s3", "s6"], ["s1", "s4"], ["s2", "s5"]]


def test_further_scans_are_predicted_in_shards_under_the_weights_that_made_them(tmp_path):
    study = study_of(tmp_path, SMALL + "folds: [0]\npredict: {input: new, model: a, shard_size: 3}\n")
    (tmp_path / "new").mkdir()
    for number in range(7):
        (tmp_path / "new" / f"s{number}.nii.gz").touch()
    shards = [job for job in expected_jobs(study) if job.rule == "predict"]
    assert [job.target for job in shards] == ["1", "2", "3"]
    places = set()
    for weights in ("first", "other"):
        write_json(marker(tmp_path, Step("train", "a", "0")), {"outputs": {"checkpoint_final.pth": weights}})
        (command,) = job_commands(study, shards[1])
        cli.parser_for(command).parse_args(command)
        assert command[-2:] == ["--shard", "2/3"]
        places.add(command[command.index("-o") + 1])
    assert len(places) == 2
    (tmp_path / "study.yaml").write_text(SMALL + "predict: {input: nowhere}\n")
    with pytest.raises(InputError, match=r"nowhere: no such folder; correct predict\.input"):
        expected_jobs(read_study(tmp_path))


def test_a_training_of_other_inputs_is_set_aside_and_none_is_repeated(tiny, tmp_path):
    """The study takes its data set and plans from nnU-Net's folders as they are."""
    folders = "\n".join(f"  {n}: {tiny.root / n}" for n in ("raw", "preprocessed")) + f"\n  results: {tmp_path / 'r'}"
    text = (
        f"dataset: {{id: 501}}\nfolders:\n{folders}\narms: {{a: {{plans: {tiny.plans_name}}}}}\ndepth: {{run: false}}\n"
    )
    study = study_of(tmp_path / "s", text)
    job = Step("train", "a", "0")
    folder = reuse.fold_folder(study, job)
    folder.mkdir(parents=True)
    (folder / "checkpoint_final.pth").write_text("weights of other data")
    assert reuse.set_aside(study, job) == folder.with_name("replaced_0_fold_0")
    assert reuse.finished(study, job) is None
    (folder / "checkpoint_latest.pth").write_text("half trained")
    assert reuse.set_aside(study, job) is None  # the same inputs: it goes on
    (folder / "checkpoint_final.pth").write_text("weights")
    write_json(
        reuse.provenance_file(study, job), {"inputs": reuse.inputs(study, job), "outputs": reuse.results(study, job)}
    )
    assert reuse.finished(study, job) is not None
    (folder / "checkpoint_final.pth").write_text("damaged")
    assert reuse.finished(study, job) is None


def settings_time(folder, name):
    return (folder / "state" / "settings" / f"{name}.json").stat().st_mtime_ns


def test_a_changed_file_of_the_same_name_outdates_what_was_made_from_it(tmp_path):
    """By content: a copy with other times outdates nothing; nor does a record of an earlier release, without hashes."""
    text = SMALL.replace("cohort}", "cohort, options: [--rater2, second]}") + "predict: {input: new, model: a}\n"
    study = study_of(tmp_path, text)
    files = {"dataset": ["cohort/x.nii.gz", "second/x.nii.gz"], "predict": ["new/s.nii.gz"]}
    for name in (*files["dataset"], *files["predict"]):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("old")
    lay_down(study)
    for settings, names in files.items():
        path = settings_file(tmp_path, settings)
        content = read_json(path)
        first = settings_time(tmp_path, settings)
        write_json(path, {key: value for key, value in content.items() if key != "made_from"})
        os.utime(path, ns=(first, first))
        lay_down(study)
        assert settings_time(tmp_path, settings) == first
        assert read_json(path) == content
        for name in names:
            os.utime(tmp_path / name, (1, 1))
            lay_down(study)
            assert settings_time(tmp_path, settings) == first
            (tmp_path / name).write_text("new")
            lay_down(study)
            assert settings_time(tmp_path, settings) > first
            first = settings_time(tmp_path, settings)
        (tmp_path / names[0]).parent.rename(tmp_path / "away")  # as a drive that is not mounted now
        if settings == "dataset":
            lay_down(study)
            assert settings_time(tmp_path, settings) == first
        (tmp_path / "away").rename((tmp_path / names[0]).parent)
