"""A resumed training continues with exactly what is missing, under the same settings and on the same data, or not."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from helpers.trainings import digest, files, resume, train_until_killed, trainer_of

from paraspinal_nnunet.errors import TrainingRefusedError
from paraspinal_nnunet.trainers import nnUNetTrainerParaspinalSGDPoly
from paraspinal_nnunet.trainers.checkpoints import PROGRESS
from paraspinal_nnunet.trainers.resume import changes, check_resume
from paraspinal_nnunet.training.run import ACCEPT_VARIABLE

pytestmark = pytest.mark.usefixtures("one_thread")

LATEST, FINAL = "checkpoint_latest.pth", "checkpoint_final.pth"


def optimiser_steps(path):
    return {int(state["step"]) for state in torch.load(path, weights_only=False)["optimizer_state"]["state"].values()}


@pytest.fixture
def stopped(tiny):
    """Fold 0, 7 iterations in epochs of 3, killed after the first epoch."""
    trainer = trainer_of(tiny)
    train_until_killed(trainer, epoch=1)
    assert LATEST in files(trainer)
    return tiny


def resumed(dataset, **overrides):
    trainer = trainer_of(dataset, resume=True, **overrides)
    resume(trainer)
    return trainer


@pytest.mark.parametrize("per_epoch", [3, 250])
def test_more_iterations_are_exactly_those_that_are_missing(tiny, per_epoch):
    """Planned for 4, then for 6: the optimiser takes 6 steps and ends in the weights of one training of 6."""
    first = trainer_of(tiny, iterations=4, iterations_per_epoch=per_epoch)
    first.run_training()
    assert optimiser_steps(files(first)[FINAL]) == {4}
    second = resumed(tiny, iterations=6, iterations_per_epoch=per_epoch)
    second.run_training()
    assert optimiser_steps(files(second)[FINAL]) == {6}
    content = torch.load(files(second)[FINAL], weights_only=False)
    assert content[PROGRESS]["steps"] == 6
    record = json.loads(files(second)["protocol.json"].read_text())
    assert record["changed_on_the_way"] == [{"after_iterations": 4, "settings": {"iterations": [4, 6]}}]
    assert LATEST not in files(second)
    expected = digest(files(second)[FINAL])
    whole = trainer_of(tiny, fold=0, iterations=6, iterations_per_epoch=per_epoch)
    whole.run_training()
    assert digest(files(whole)[FINAL]) == expected


def test_final_weights_that_are_trained_on_are_no_longer_final(tiny):
    first = trainer_of(tiny, iterations=3)
    first.run_training()
    second = resumed(tiny, iterations=9)
    train_until_killed(second, epoch=1)
    assert FINAL not in files(second)
    assert LATEST in files(second)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"learning_rate": 1e-4}, "learning_rate 0.001 -> 0.0001"),
        ({"weight_decay": 1e-5}, "weight_decay 0.0001 -> 1e-05"),
        ({"loss": "ce"}, "loss dice_ce -> ce"),
        ({"foreground_ratio": 0.25}, "foreground_ratio 0.5 -> 0.25"),
        ({"schedule": "polynomial"}, "schedule constant -> polynomial"),
        ({"gradient_clipping": 12.0}, "gradient_clipping None -> 12"),
        ({"seed": 1}, "seed 0 -> 1"),
        ({"augmentation": "paper"}, "augmentation none -> paper"),
        ({"batch_factor": 2.0}, "2d.batch_size 4 -> 8"),
        ({"2d.crops_per_case": 1}, "2d.crops_per_case 2 -> 1"),
        ({"iterations": 6}, "iterations 7 -> 6"),
    ],
)
def test_changed_settings_are_refused_by_name(stopped, overrides, told):
    with pytest.raises(TrainingRefusedError, match="settings or data changed since the training was stopped") as error:
        resumed(stopped, **overrides)
    assert told in str(error.value)
    assert "--accept-changes" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("overrides", [{"optimizer": "sgd"}, {"norm": "group"}])
def test_another_network_or_optimiser_is_refused_even_where_changes_are_accepted(stopped, monkeypatch, overrides):
    monkeypatch.setenv(ACCEPT_VARIABLE, "1")
    with pytest.raises(TrainingRefusedError, match=r"another training cannot be resumed \((network\.norm|optimizer) "):
        resumed(stopped, **overrides)


def test_another_patch_is_refused(stopped):
    plans = json.loads(stopped.plans_file.read_text())
    plans["configurations"]["2d"]["patch_size"] = [48, 32]
    trainer = trainer_of(stopped, plans=plans, resume=True)
    with pytest.raises(TrainingRefusedError, match=r"2d\.patch_size 32 x 32 -> 48 x 32"):
        resume(trainer)


def test_changes_without_bearing_on_the_weights_are_none(stopped):
    trainer = resumed(stopped, val_iterations=2, micro_batch_size=2, cache="ram", iterations_per_epoch=2)
    trainer.run_training()
    assert optimiser_steps(files(trainer)[FINAL]) == {7}
    assert trainer.settings_changed == []


def test_lowered_iterations_are_refused_also_after_them(stopped, monkeypatch):
    with pytest.raises(TrainingRefusedError, match="3 iterations were trained already, the plans ask for 2"):
        resumed(stopped, iterations=2)
    monkeypatch.setenv(ACCEPT_VARIABLE, "1")
    with pytest.raises(TrainingRefusedError, match="3 iterations were trained already"):
        resumed(stopped, iterations=2)


def test_accepted_changes_hold_and_stand_in_the_record(stopped, monkeypatch):
    monkeypatch.setenv(ACCEPT_VARIABLE, "1")
    trainer = resumed(stopped, learning_rate=1e-4, weight_decay=0.5)
    trainer.run_training()
    group = trainer.optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (1e-4, 0.5)
    expected = {"after_iterations": 3, "settings": {"learning_rate": [1e-3, 1e-4], "weight_decay": [1e-4, 0.5]}}
    record = json.loads(files(trainer)["protocol.json"].read_text())
    assert record["changed_on_the_way"] == [expected]
    monkeypatch.delenv(ACCEPT_VARIABLE)
    again = resumed(stopped, learning_rate=1e-4, weight_decay=0.5)
    assert again.settings_changed == [expected]


def test_more_iterations_of_a_falling_learning_rate_are_refused(tiny):
    """The rate of each epoch depends on their number: it would be another training."""
    trainer = trainer_of(tiny, trainer=nnUNetTrainerParaspinalSGDPoly)
    train_until_killed(trainer, epoch=1)
    longer = trainer_of(tiny, trainer=nnUNetTrainerParaspinalSGDPoly, resume=True, iterations=9)
    with pytest.raises(TrainingRefusedError, match="iterations 7 -> 9"):
        resume(longer)


def test_other_folds_and_other_data_are_refused(tiny_copy):
    trainer = trainer_of(tiny_copy)
    train_until_killed(trainer, epoch=1)
    path = tiny_copy.preprocessed / "splits_final.json"
    splits = json.loads(path.read_text())
    path.write_text(json.dumps([splits[1], splits[0], splits[2]]))
    with pytest.raises(TrainingRefusedError, match=r"training cases \w+ -> \w+, test cases \w+ -> \w+"):
        resumed(tiny_copy)
    path.write_text(json.dumps(splits))
    fingerprint = tiny_copy.preprocessed / "dataset_fingerprint.json"
    content = json.loads(fingerprint.read_text())
    content["spacings"][0][0] += 1
    fingerprint.write_text(json.dumps(content))
    with pytest.raises(TrainingRefusedError, match=r"data set's fingerprint \w+ -> \w+"):
        resumed(tiny_copy)


def test_other_voxels_of_the_same_fingerprint_are_refused(tiny_copy):
    trainer = trainer_of(tiny_copy)
    train_until_killed(trainer, epoch=1)
    (marker,) = tiny_copy.preprocessed.glob("*.complete.json")
    content = json.loads(marker.read_text())
    assert len(content["voxels"]) == 16
    marker.write_text(json.dumps(content | {"voxels": "0" * 16}))
    with pytest.raises(TrainingRefusedError, match=r"preprocessed voxels \w+ -> 0{16}"):
        resumed(tiny_copy)


def test_checkpoints_of_earlier_releases_go_on_as_they_began(tiny, capsys):
    """They hold no settings; the batches are drawn by their rule, and the optimiser's own count tells the steps."""
    trainer = trainer_of(tiny)
    train_until_killed(trainer, epoch=1)
    path = files(trainer)[LATEST]
    content = torch.load(path, weights_only=False)
    old = {key: content[PROGRESS][key] for key in ("steps", "torch_generator", "cuda_generator")}
    torch.save({**content, PROGRESS: {**old, "steps": 7}}, path)  # as written after the plans had grown
    later = resumed(tiny)
    assert (later.steps_taken, later.sampling_rule) == (3, 1)
    assert "checkpoint is of an earlier release and holds no settings to compare" in capsys.readouterr().out
    later.run_training()
    assert optimiser_steps(files(later)[FINAL]) == {7}
    again = torch.load(files(later)[FINAL], weights_only=False)
    assert again[PROGRESS]["sampling_rule"] == 1
    assert json.loads(files(later)["protocol.json"].read_text())["sampling_rule"].startswith("each batch")


def test_prediction_alone_asks_nothing(stopped):
    trainer = trainer_of(stopped, learning_rate=1e-4)
    trainer.load_checkpoint(str(files(trainer)[LATEST]))
    assert trainer.current_epoch == 1


def test_only_what_both_know_is_compared():
    assert changes({"a": 1, "b": 2, "old": 3}, {"a": 1, "b": 3, "new": 4}) == {"b": (2, 3)}


def test_another_arm_is_refused():
    before = {"trainer": "A", "iterations": 7}
    with pytest.raises(
        TrainingRefusedError, match=r"B: another training cannot be resumed \(trainer A -> B\); train anew"
    ):
        check_resume(before, {"trainer": "B", "iterations": 7}, steps=3, trainer="B")


@pytest.mark.parametrize(
    "damage", [lambda b: b[:200], lambda b: b"", lambda b: b.replace(b"network_weights", b"network_weightz")]
)
def test_a_damaged_checkpoint_is_refused_in_one_line_that_says_how_to_go_on(stopped, damage):
    path = files(trainer_of(stopped, resume=True))[LATEST]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        TrainingRefusedError, match=r"checkpoint_latest\.pth: is (damaged|no checkpoint) .*; move it away, then"
    ) as caught:
        resumed(stopped)
    assert "\n" not in str(caught.value)
    best = path.with_name("checkpoint_best.pth")
    assert ("goes on from checkpoint_best.pth" if best.is_file() else "begins anew") in str(caught.value)


class _Code:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


def test_code_in_a_checkpoint_is_refused_and_does_not_run(stopped, tmp_path):
    path = files(trainer_of(stopped, resume=True))[LATEST]
    torch.save({**torch.load(path, weights_only=False), "extra": _Code(tmp_path / "trace")}, path)
    with pytest.raises(TrainingRefusedError, match=r"checkpoint_latest\.pth: holds more than weights and numbers"):
        resumed(stopped)
    assert not (tmp_path / "trace").exists()
