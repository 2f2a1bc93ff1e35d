import json
import pickle
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from helpers.trainings import CPU, count_steps, digest, files, plans_of, resume, train_until_killed, trainer_of
from monai.networks.nets import UNet

from paraspinal_nnunet.errors import TrainingRefusedError
from paraspinal_nnunet.nnunet.compat import register_trainers
from paraspinal_nnunet.nnunet.preprocessed import mark_unfinished
from paraspinal_nnunet.nnunet.splits import make_splits, write_splits
from paraspinal_nnunet.planning.run import PlanRequest, plan
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.protocol.plans import BASELINE_ENTRY, ENTRY
from paraspinal_nnunet.trainers import (
    base,
    nnUNetTrainerBaseline,
    nnUNetTrainerBaselineNoMirroring,
    nnUNetTrainerParaspinal,
    nnUNetTrainerParaspinalDeep,
)
from paraspinal_nnunet.trainers.baseline import baseline_rows
from paraspinal_nnunet.trainers.checkpoints import PROGRESS
from paraspinal_nnunet.trainers.length import epoch_count, epoch_length
from paraspinal_nnunet.training import compilation

OURS = (nnUNetTrainerParaspinal, nnUNetTrainerParaspinalDeep)
BASELINES = (nnUNetTrainerBaseline, nnUNetTrainerBaselineNoMirroring)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("iterations", "per_epoch", "lengths"),
    [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 3, [2]), (1, 1, [1]), (400, 250, [250, 150]), (30_000, 250, [250] * 120)],
)
def test_epochs_make_the_exact_length(iterations, per_epoch, lengths):
    assert epoch_count(iterations, per_epoch) == len(lengths)
    assert [epoch_length(epoch, iterations, per_epoch) for epoch in range(len(lengths))] == lengths
    assert epoch_length(len(lengths), iterations, per_epoch) == 0


def test_the_papers_settings_are_in_force(tiny):
    plans = plans_of(tiny)
    plans[ENTRY]["overrides"] = {}
    trainer = trainer_of(tiny, plans=plans)
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.iterations) == (120, 250, 30_000)
    assert trainer.num_val_iterations_per_epoch == 2
    assert trainer.inference_allowed_mirroring_axes is None
    assert trainer.enable_deep_supervision is False
    assert trainer.grad_scaler is None
    assert trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[3] is None
    trainer.initialize()
    group = trainer.optimizer.param_groups[0]
    assert type(trainer.optimizer) is torch.optim.AdamW
    assert (group["lr"], group["weight_decay"], group["betas"]) == (1e-3, 1e-4, (0.9, 0.999))
    for epoch in (0, 60, 119):
        trainer.lr_scheduler.step(epoch)
        assert group["lr"] == 1e-3


@pytest.mark.parametrize(
    ("trainer", "channels", "strides"),
    [(OURS[0], (16, 32, 64, 128, 256), (1, 2, 2, 2)), (OURS[1], (16, 32, 64, 128, 256, 512), (1, 2, 2, 2, 2))],
)
@pytest.mark.parametrize(("configuration", "dimensions"), [("2d", 2), ("3d_fullres", 3)])
def test_the_network_is_monais(tiny, trainer, channels, strides, configuration, dimensions):
    made = trainer_of(tiny, trainer=trainer, configuration=configuration)
    made.initialize()
    torch.manual_seed(0)
    expected = UNet(dimensions, 1, 7, channels, strides, num_res_units=2, act="LeakyReLU", norm="INSTANCE").state_dict()
    found = made.network.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_first_weights_do_not_depend_on_what_ran_before(tiny):
    one, other = trainer_of(tiny), trainer_of(tiny)
    one.initialize()
    torch.rand(10)
    other.initialize()
    assert all(torch.equal(a, b) for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True))


def test_training_takes_the_exact_number_of_steps(tiny, capsys):
    trainer = trainer_of(tiny)
    steps = count_steps(trainer)
    trainer.run_training()
    assert steps == [0, 0, 0, 1, 1, 1, 2]
    found = files(trainer)
    assert "checkpoint_final.pth" in found
    assert not {"checkpoint_best.pth", "checkpoint_latest.pth"} & set(found)
    assert not [name for name in found if "partial" in name]
    assert capsys.readouterr().out.count("in force") == 1
    assert "crops_per_case" in next(p for n, p in found.items() if n.startswith("training_log")).read_text()


def test_a_resumed_training_goes_on_to_the_same_weights(tiny):
    whole = trainer_of(tiny, fold=0)
    whole.run_training()
    expected = digest(files(whole)["checkpoint_final.pth"])
    files(whole)["checkpoint_final.pth"].unlink()

    first = trainer_of(tiny, fold=0)
    steps = count_steps(first)
    train_until_killed(first, epoch=1)
    assert steps == [0, 0, 0]
    assert {"checkpoint_latest.pth"} == {n for n in files(first) if n.startswith("checkpoint")}

    second = trainer_of(tiny, fold=0, resume=True)
    steps = count_steps(second)
    resume(second)
    second.run_training()
    assert steps == [1, 1, 1, 2]
    assert digest(files(second)["checkpoint_final.pth"]) == expected
    assert "checkpoint_best.pth" not in files(second)

    third = trainer_of(tiny, fold=0, resume=True)
    steps = count_steps(third)
    resume(third)
    third.run_training()
    assert steps == []
    assert digest(files(third)["checkpoint_final.pth"]) == expected


def test_the_number_of_workers_changes_nothing_and_the_seed_does(tiny, monkeypatch):
    digests = {}
    for workers in (0, 1, 2):
        monkeypatch.setenv("nnUNet_n_proc_DA", str(workers))
        trainer = trainer_of(tiny, iterations=3)
        trainer.run_training()
        digests[workers] = digest(files(trainer)["checkpoint_final.pth"])
    assert len(set(digests.values())) == 1
    other = trainer_of(tiny, iterations=3, seed=1)
    other.run_training()
    assert digest(files(other)["checkpoint_final.pth"]) != digests[0]


def test_the_cache_changes_no_weight_and_is_recorded(tiny):
    digests = {}
    for cache in ("disk", "ram", "device"):
        trainer = trainer_of(tiny, iterations=3, cache=cache)
        trainer.run_training()
        digests[cache] = digest(files(trainer)["checkpoint_final.pth"])
        assert json.loads(files(trainer)["protocol.json"].read_text())["cache"] == cache
    assert len(set(digests.values())) == 1
    assert trainer_of(tiny).cache_taken == "disk"  # auto, on a CPU


def loss_of(trainer, batch):
    """Of a step on a batch; trainers leave it on the device."""
    return float(trainer.train_step(batch)["loss"])


def test_precision_and_tf32_change_the_training_where_asked(tiny):
    single, half = (trainer_of(tiny, iterations=1, precision=precision) for precision in ("fp32", "bf16"))
    losses = []
    for trainer in (single, half):
        trainer.initialize()
        assert trainer.grad_scaler is None
        losses.append(loss_of(trainer, next(trainer._batches("train", ["sub-001", "sub-002"], range(1)))))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)  # bfloat16 has 8 bits
    for choice in ("off", "on"):
        trainer = trainer_of(tiny, iterations=1, tf32=choice)
        trainer.on_train_start()
        assert torch.backends.cudnn.allow_tf32 == (choice == "on")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "asked", "taken"), [("off", True, False), ("on", True, True), ("on", False, False), ("auto", True, True)]
)
def test_network_and_loss_are_compiled_where_asked_and_nnunet_agrees(tiny, monkeypatch, choice, asked, taken):
    """nnU-Net compiles on CUDA, unless its own variable says no. The backend 'eager' runs the graph as it is."""
    monkeypatch.setattr(compilation, "BACKEND", "eager")
    monkeypatch.setenv("nnUNet_compile", str(asked).lower())
    plain, trainer = trainer_of(tiny), trainer_of(tiny, compile=choice)
    plain.initialize()
    trainer.initialize()
    whole = list(trainer._batches("train", trainer.do_split()[0], range(2)))
    for batch, part in zip(whole, trainer.first_crops(2, 3), strict=True):
        assert torch.equal(part["data"], batch["data"][:3])
    monkeypatch.setattr(trainer, "_to_device", lambda batch: (batch["data"], batch["target"]))
    trainer.device = torch.device("cuda")
    trainer._compile()
    trainer.device = CPU
    assert trainer.compilation["compiled"] == taken == trainer.record()["compilation"]["compiled"]
    assert (trainer._compiled is not None) == taken
    batch = first_batch(trainer) | {"data": first_batch(trainer)["data"].float()}
    assert loss_of(trainer, batch) == loss_of(plain, batch)


def test_compiled_code_that_computes_something_else_is_not_taken(tiny, monkeypatch):
    trainer = trainer_of(tiny)
    trainer.initialize()
    samples = [(batch["data"], batch["target"]) for batch in trainer.first_crops(2, 4)]
    given = trainer.loss, samples, trainer._autocast, 1e-3
    wrong = lambda network, loss: lambda data, target: loss(network(data) * 1.0001, target)  # noqa: E731
    before = [p.clone() for p in trainer.network.parameters()]
    for made, told in ((wrong, "gradients_from_double_precision"), (lambda *_: None, "reason")):
        monkeypatch.setattr(compilation, "compiled", made)
        found = compilation.compare(trainer.network, *given)
        assert found["compiled"] is False
        assert told in found
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))


def test_validation_batches_do_not_touch_the_weights(tiny):
    digests = set()
    for count in (1, 3):
        trainer = trainer_of(tiny, iterations=3, val_iterations=count)
        trainer.run_training()
        digests.add(digest(files(trainer)["checkpoint_final.pth"]))
    assert len(digests) == 1


def in_double_precision(trainer):
    """Gradients of parts and of the whole then differ by nothing but the last bits of 64."""
    trainer.initialize()
    trainer.network.double()
    trainer.network.forward = lambda x: UNet.forward(trainer.network, x)
    return trainer


def first_batch(trainer):
    batch = next(trainer._batches("train", ["sub-001", "sub-002", "sub-003"], range(1)))
    return {**batch, "data": batch["data"].double()}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_micro_batches_equal_the_whole_batch(tiny, size):
    whole, parts = (in_double_precision(trainer_of(tiny, micro_batch_size=s)) for s in (None, size))
    losses = [loss_of(t, first_batch(t)) for t in (whole, parts)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)  # summed for the log in single precision
    for one, other in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-9, atol=1e-13)
        torch.testing.assert_close(other, one, rtol=0, atol=1e-8)


@pytest.mark.parametrize("size", [None, 1])
def test_processes_mean_gradient_is_the_whole_batchs(tiny, monkeypatch, size):
    whole = in_double_precision(trainer_of(tiny))
    loss = loss_of(whole, first_batch(whole))
    ranks = [in_double_precision(trainer_of(tiny, micro_batch_size=size)) for _ in range(3)]
    losses = []
    monkeypatch.setattr(base.distributed, "get_world_size", lambda: 3)
    for rank, trainer in enumerate(ranks):  # 4 crops for 3 processes: 2, 1, 1
        trainer.is_ddp, trainer.local_rank = True, rank
        trainer.network.no_sync = nullcontext
        batch = first_batch(trainer)
        assert len(batch["data"]) == (2, 1, 1)[rank]
        losses.append(loss_of(trainer, batch))
    assert np.mean(losses) == pytest.approx(loss, rel=1e-6)
    for parameters in zip(whole.network.parameters(), *(r.network.parameters() for r in ranks), strict=True):
        expected, *found = (p.grad for p in parameters)
        torch.testing.assert_close(torch.stack(found).mean(0), expected, rtol=1e-9, atol=1e-13)


def test_micro_batches_in_validation_count_the_same_voxels(tiny):
    results = []
    for size in (None, 3):
        trainer = trainer_of(tiny, micro_batch_size=size)
        trainer.initialize()
        trainer.network.eval()
        with torch.no_grad():
            results.append(trainer.validation_step(next(trainer._batches("val", ["sub-004"], range(1)))))
    assert results[1]["loss"] == pytest.approx(results[0]["loss"], rel=1e-5)
    for key in ("tp_hard", "fp_hard", "fn_hard"):
        np.testing.assert_array_equal(results[0][key], results[1][key])


def test_a_step_is_adamw_on_monais_loss_without_clipping(tiny):
    """In double precision: AdamW makes whole steps of the rounding noise of gradients that are 0, as of the biases."""
    from monai.losses import DiceCELoss

    trainer = in_double_precision(trainer_of(tiny))
    network = UNet(2, 1, 7, (16, 32, 64, 128, 256), (1, 2, 2, 2), num_res_units=2, act="LeakyReLU", norm="INSTANCE")
    network.double().load_state_dict(trainer.network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    for batch in trainer._batches("train", ["sub-001", "sub-002", "sub-003"], range(2)):
        double = {**batch, "data": batch["data"].double()}
        optimizer.zero_grad()
        value = loss(network(double["data"]), double["target"])
        value.backward()
        optimizer.step()
        assert loss_of(trainer, double) == pytest.approx(value.item(), rel=1e-6)
    for one, other in zip(network.parameters(), trainer.network.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("size", "crops", "advised"),
    [
        (None, 4, "micro_batch_size=2, or"),
        (2, 2, "micro_batch_size=1, or"),
        (1, 1, "a smaller patch_size and train anew"),
    ],
)
def test_a_gpu_whose_memory_runs_out_is_told_in_one_line(tiny, size, crops, advised):
    trainer = trainer_of(tiny, micro_batch_size=size)

    def full(batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee the documentation")

    trainer.train_step = full
    with pytest.raises(TrainingRefusedError, match=f"ran out with {crops} crops at once") as error:
        trainer.run_training()
    assert advised in str(error.value)
    assert "\n" not in str(error.value)


def test_gradients_are_clipped_only_where_asked(tiny):
    norms = []
    for clipping in (None, 0.01):
        trainer = trainer_of(tiny, gradient_clipping=clipping)
        trainer.initialize()
        trainer.train_step(next(trainer._batches("train", ["sub-001", "sub-002"], range(1))))
        norms.append(float(torch.stack([p.grad.norm() for p in trainer.network.parameters()]).norm()))
    assert norms[0] > 0.05
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_the_table_and_the_record_tell_what_differs(tiny):
    trainer = trainer_of(tiny, iterations=1, micro_batch_size=3)
    trainer.run_training()
    record = json.loads(files(trainer)["protocol.json"].read_text())
    different = {row["key"]: row for row in record["settings"] if not row["is_papers"]}
    expected = {"spacing", "patch_size", "batch_size", "crops_per_case", "iterations", "iterations_per_epoch"}
    assert set(different) == expected | {"val_iterations", "micro_batch_size"}
    assert (different["iterations"]["value"], different["iterations"]["paper"]) == (1, 30_000)
    assert different["patch_size"]["paper"] == [256, 256]
    assert (record["trainer"], record["configuration"], record["fold"]) == ("nnUNetTrainerParaspinal", "2d", 0)
    assert {"nnunetv2", "torch", "monai", "paraspinal-nnunet"} <= set(record["versions"])


def test_fold_all_trains_on_everybody(tiny):
    trainer = trainer_of(tiny, fold="all", iterations=1)
    trainer.run_training()
    assert sorted(trainer.do_split()[0]) == [f"sub-00{n}" for n in range(1, 7)]
    assert "checkpoint_final.pth" in files(trainer)


@pytest.mark.parametrize("trainer", OURS)
def test_it_travels_to_spawned_processes(trainer):
    assert pickle.loads(pickle.dumps(trainer)) is trainer


@pytest.mark.parametrize("trainer", OURS)
def test_foreign_plans_are_refused(tiny, trainer):
    plans = plans_of(tiny)
    del plans[ENTRY]
    with pytest.raises(
        TrainingRefusedError, match=r"plans 'Tiny' were not written by .* add -p ParaspinalPlans"
    ) as error:
        trainer_of(tiny, trainer=trainer, plans=plans)
    assert "\n" not in str(error.value)


def test_a_refusal_ends_stock_commands_with_its_message():
    error = TrainingRefusedError("one line")
    assert isinstance(error, SystemExit)
    assert error.code == "one line"  # Python prints a text and exits with 1
    assert str(error) == "one line"


def test_a_refusal_leaves_nothing_in_the_results(tiny, tmp_path):
    with pytest.raises(TrainingRefusedError):
        trainer_of(tiny, fold=3)
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("trainer", OURS + BASELINES)
@pytest.mark.parametrize("fold", [3, -1])
def test_folds_beyond_the_splits_are_refused(tiny, trainer, fold):
    with pytest.raises(TrainingRefusedError, match=f"there is no fold {fold}; choose 0 to 2 or 'all'"):
        trainer_of(tiny, trainer=trainer, fold=fold)


@pytest.mark.parametrize("trainer", OURS + BASELINES)
def test_missing_splits_are_refused(tiny_copy, trainer):
    (tiny_copy.preprocessed / "splits_final.json").unlink()
    with pytest.raises(TrainingRefusedError, match=r"splits_final.json is missing; run 'paraspinal plan'"):
        trainer_of(tiny_copy, trainer=trainer)
    assert trainer_of(tiny_copy, trainer=trainer, fold="all").fold == "all"


@pytest.mark.parametrize("trainer", [OURS[0], BASELINES[0]])
@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda s: s["train"].append(s["val"][0]), r"case sub-00\d is on both sides of fold 0"),
        (lambda s: s["train"].append("sub-099"), "fold 0 names sub-099, which is no planned case"),
        (lambda s: s["val"].clear(), "fold 0 has no test cases"),
        (lambda s: s["train"].clear(), "fold 0 has no training cases"),
        (lambda s: s["train"].append(s["train"][0]), r"fold 0 names the training case sub-00\d twice"),
    ],
)
def test_splits_edited_after_planning_are_refused(tiny_copy, trainer, edit, told):
    path = tiny_copy.preprocessed / "splits_final.json"
    splits = json.loads(path.read_text())
    edit(splits[0])
    path.write_text(json.dumps(splits))
    with pytest.raises(TrainingRefusedError, match=told):
        trainer_of(tiny_copy, trainer=trainer)
    assert trainer_of(tiny_copy, trainer=trainer, fold=1).fold == 1


def test_a_subject_on_both_sides_is_refused_without_the_raw_data(tiny_copy, monkeypatch):
    path = tiny_copy.preprocessed / "subjects.json"
    subjects = json.loads(path.read_text())
    split = json.loads((tiny_copy.preprocessed / "splits_final.json").read_text())[0]
    path.write_text(json.dumps(subjects | {split["train"][0]: "one", split["val"][0]: "one"}))
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(TrainingRefusedError, match="subject one is on both sides of fold 0"):
        trainer_of(tiny_copy)
    path.unlink()  # planned by an earlier release
    trainer_of(tiny_copy)


def test_splits_of_another_number_are_refused(tiny_copy):
    cases = {f"sub-00{n}": f"sub-00{n}" for n in range(1, 7)}
    write_splits(tiny_copy.preprocessed / "splits_final.json", make_splits(cases, folds=5, seed=1))
    with pytest.raises(TrainingRefusedError, match="has 5 folds, the plans ask for 3; move it away"):
        trainer_of(tiny_copy)
    assert trainer_of(tiny_copy, folds=5, fold=4).fold == 4


def test_a_missing_configuration_is_refused(tiny):
    plans = plans_of(tiny)
    del plans["configurations"]["3d_fullres"]
    with pytest.raises(TrainingRefusedError, match="have no configuration '3d_fullres', only 2d; run 'paraspinal"):
        trainer_of(tiny, plans=plans, configuration="3d_fullres")


def test_a_patch_that_the_deep_network_cannot_halve_is_refused(tiny):
    plans = plans_of(tiny)
    plans["configurations"]["2d"]["patch_size"] = [40, 48]
    assert trainer_of(tiny, plans=plans).protocol.sampling_2d.patch_size == (40, 48)
    with pytest.raises(TrainingRefusedError, match=r"TrainerParaspinalDeep: patch size 40 x 48 .* multiple of 16"):
        trainer_of(tiny, trainer=nnUNetTrainerParaspinalDeep, plans=plans)


def test_levels_without_strides_are_refused(tiny):
    with pytest.raises(TrainingRefusedError, match="needs 2 strides, got 4"):
        trainer_of(tiny, channels=[8, 16, 32])


@pytest.mark.parametrize(
    ("labels", "overrides", "message"),
    [
        ({"background": 0, "whole": [1, 2]}, {}, "dataset.json defines regions"),
        ({"background": 0, "a": 1, "ignore": 2}, {"micro_batch_size": 2}, "where labels are ignored"),
    ],
)
def test_labels_that_the_loss_has_no_meaning_for_are_refused(tiny, labels, overrides, message):
    dataset_json = json.loads((tiny.preprocessed / "dataset.json").read_text()) | {"labels": labels}
    with pytest.raises(TrainingRefusedError, match=message):
        nnUNetTrainerParaspinal(plans_of(tiny, **overrides), "2d", 0, dataset_json, CPU)


@pytest.mark.parametrize("what", ["marker", "folder", "case"])
def test_unfinished_preprocessing_is_refused(tiny_copy, what):
    (marker,) = tiny_copy.preprocessed.glob("*.complete.json")
    folder = marker.with_name(marker.name.removesuffix(".complete.json"))
    if what == "marker":
        mark_unfinished(folder)
    elif what == "folder":
        folder.rename(folder.with_name("elsewhere"))
    else:
        (folder / "sub-003_seg.b2nd").unlink()
    with pytest.raises(TrainingRefusedError, match=r"is missing or incomplete.*; run 'paraspinal plan' \(again\)"):
        trainer_of(tiny_copy).run_training()


def baseline_plans(dataset, **length):
    plans = plans_of(dataset)
    del plans[ENTRY]
    return {**plans, BASELINE_ENTRY: length} if length else plans


@pytest.mark.parametrize("trainer", BASELINES)
def test_a_baseline_is_as_long_as_nnunets(tiny, trainer):
    made = trainer_of(tiny, trainer=trainer, plans=baseline_plans(tiny))
    assert (made.num_epochs, made.num_iterations_per_epoch, made.num_val_iterations_per_epoch) == (1000, 250, 50)
    assert (made.initial_lr, made.weight_decay, made.enable_deep_supervision) == (1e-2, 3e-5, True)


@pytest.mark.parametrize("trainer", BASELINES)
def test_a_baselines_length_and_learning_rate_may_be_set(tiny, trainer):
    plans = baseline_plans(tiny, iterations=7, iterations_per_epoch=3, val_iterations=1, learning_rate=0.1)
    made = trainer_of(tiny, trainer=trainer, plans=plans)
    assert made.initial_lr == 0.1
    assert (made.num_epochs, made.num_val_iterations_per_epoch) == (3, 1)
    lengths = []
    for made.current_epoch in range(3):
        made.on_epoch_start()
        lengths.append(made.num_iterations_per_epoch)
    assert lengths == [3, 3, 1]


def test_mirroring_is_what_tells_the_baselines_apart(tiny):
    plans = baseline_plans(tiny)
    axes = [
        trainer_of(tiny, trainer=t, plans=plans).configure_rotation_dummyDA_mirroring_and_inital_patch_size()[3]
        for t in BASELINES
    ]
    assert axes == [(0, 1), None]


def test_a_leaf_says_only_what_differs():
    assert nnUNetTrainerParaspinal.settings == PAPER
    deep = nnUNetTrainerParaspinalDeep.settings
    assert replace(deep, network=PAPER.network) == PAPER


def test_prediction_builds_the_trained_network(tiny, kept_environment):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    register_trainers()
    trainer = trainer_of(tiny, trainer=nnUNetTrainerParaspinalDeep, iterations=1)
    trainer.run_training()
    predictor = nnUNetPredictor(device=CPU)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,), "checkpoint_final.pth")
    assert predictor.allowed_mirroring_axes is None
    expected = trainer.network.state_dict()
    found = predictor.network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_a_baseline_says_what_is_not_the_papers(tiny_copy, thread_pools, capsys):
    plan(PlanRequest(501, ["2d"], plans_name="Base", baseline=True, overrides={"iterations": 5}, processes=1))
    plans = json.loads((tiny_copy.preprocessed / "Base.json").read_text())
    trainer = trainer_of(tiny_copy, trainer=nnUNetTrainerBaselineNoMirroring, plans=plans)
    trainer.initialize()
    rows = {row.key: row for row in baseline_rows(trainer)}
    assert {key: rows[key].value for key in ("iterations", "optimizer", "learning_rate", "gradient_clipping")} == {
        "iterations": 5,
        "optimizer": "sgd",
        "learning_rate": 1e-2,
        "gradient_clipping": 12.0,
    }
    assert rows["patch_size"].value == tuple(plans["configurations"]["2d"]["patch_size"])
    assert not any(rows[key].is_papers for key in ("iterations", "optimizer", "spacing", "batch_size"))
    assert rows["folds"].is_papers


def test_a_checkpoint_tells_its_steps_and_brings_the_generator_back(tiny):
    """7 iterations in epochs of 3: 3 steps after the first epoch, 7 at the end."""
    trainer = trainer_of(tiny)
    train_until_killed(trainer, 1)
    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    progress = torch.load(latest, weights_only=False)[PROGRESS]
    assert progress["steps"] == 3
    torch.manual_seed(99)
    resumed = trainer_of(tiny, resume=True)
    resumed.load_checkpoint(str(latest))
    assert torch.equal(torch.get_rng_state(), progress["torch_generator"])
    resumed.run_training()
    final = torch.load(Path(resumed.output_folder) / "checkpoint_final.pth", weights_only=False)
    assert final[PROGRESS]["steps"] == 7
