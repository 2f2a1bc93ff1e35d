"""What `paraspinal train` refuses before it trains: one line each, and nothing written."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from paraspinal_nnunet.cli import main


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["-f", "x"], "-f x: is no fold; give a number or 'all'"),
        (["-f", "0.5"], "-f 0.5: is no fold"),
        (["-f", "0", "-tr", "Nope"], "-tr Nope: no such trainer; 'paraspinal trainers' lists ours"),
        (["-f", "0", "--val"], "checkpoint_final.pth is missing; train fold 0 to its end before --val"),
        (["-f", "0", "-num_gpus", "2", "-device", "cpu"], "-num_gpus 2: several processes train on CUDA devices only"),
        (["-f", "0", "-num_gpus", "2"], "-num_gpus 2: several processes train on CUDA devices only"),
        (["-f", "0", "-num_gpus", "0"], "-num_gpus 0: give at least 1"),
        (["-f", "0", "-device", "cuda"], "finds no CUDA device; check the driver and the build, or give -device cpu"),
        (["-f", "0", "-device", "mps"], "torch finds no Apple GPU"),
        (["-f", "0", "-p", "Absent"], "Absent.json is missing; run: paraspinal plan -d 501 -p Absent"),
        (["-f", "0", "-c", "3d"], "has no configuration '3d', only 2d, 3d_fullres"),
        (["-f", "7"], "there is no fold 7; choose 0 to 2 or 'all'"),
        (["-f", "0", "-pretrained_weights", "absent.pth"], "absent.pth: no such checkpoint for -pretrained_weights"),
        (["-f", "0", "--resume", "-pretrained_weights", "absent.pth"], "leave out --resume and --val"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(
    tiny, tmp_path, kept_environment, capsys, flags, told, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    given = ["train", "-d", "501", *([] if "-c" in flags else ["-c", "2d"]), *([] if "-p" in flags else ["-p", "Tiny"])]
    assert main([*given, *flags]) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("paraspinal train: error: ")
    assert told in error[-1]
    assert "Traceback" not in "\n".join(error)
    assert list((tmp_path / "results").iterdir()) == []


def test_plans_that_are_damaged_are_refused_in_one_line(tiny_copy, capsys):
    tiny_copy.plans_file.write_text("{")
    assert main(["train", "-d", "501", "-c", "2d", "-f", "0", "-p", "Tiny"]) == 1
    assert "Tiny.json: is not valid JSON" in capsys.readouterr().err


def test_plans_that_name_code_are_refused(tiny_copy, tmp_path, capsys):
    plans = json.loads(tiny_copy.plans_file.read_text())
    plans["configurations"]["2d"]["architecture"]["network_class_name"] = "unittest.mock.MagicMock"
    tiny_copy.plans_file.write_text(json.dumps(plans))
    assert main(["train", "-d", "501", "-c", "2d", "-f", "0", "-p", "Tiny", "-tr", "nnUNetTrainer"]) == 1
    assert "Tiny.json: names the network 'unittest.mock.MagicMock'" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--resume"], ["--val"], ["-pretrained_weights"]])
def test_code_in_checkpoints_of_nnunets_own_trainers_is_refused(tiny, tmp_path, kept_environment, capsys, flags):
    """nnU-Net unpickles them whatever is in them."""
    fold = tmp_path / "results" / tiny.name / "nnUNetTrainer__Tiny__2d" / "fold_0"
    fold.mkdir(parents=True)
    path = fold / "checkpoint_final.pth"
    torch.save({"network_weights": {}, "extra": fold}, path)
    given = ["train", "-d", "501", "-c", "2d", "-f", "0", "-p", "Tiny", "-tr", "nnUNetTrainer", *flags]
    assert main(given + [str(path)] * (flags == ["-pretrained_weights"])) == 1
    assert "checkpoint_final.pth: holds more than weights and numbers" in capsys.readouterr().err


@pytest.mark.slow
def test_changes_are_accepted_by_the_flag(tiny, tmp_path, kept_environment, monkeypatch, capsys):
    """Two iterations of three, then the plans change: refused, and with the flag recorded."""
    monkeypatch.setenv("PARASPINAL_ACCEPT_CHANGES", "")
    plans = json.loads(tiny.plans_file.read_text())
    path = tiny.preprocessed / "Changing.json"
    overrides = plans["paraspinal"]["overrides"]
    try:
        for settings, flags, code in (
            ({"iterations": 2}, [], 0),
            ({"iterations": 3, "learning_rate": 1e-4}, ["--resume"], 1),
            ({"iterations": 3, "learning_rate": 1e-4}, ["--resume", "--accept-changes"], 0),
        ):
            plans["paraspinal"]["overrides"] = overrides | settings
            path.write_text(json.dumps(plans | {"plans_name": "Changing"}))
            given = ["train", "-d", "501", "-c", "2d", "-f", "0", "-p", "Changing", "-device", "cpu", "--no-val"]
            assert main([*given, *flags]) == code
    finally:
        path.unlink()
    assert "learning_rate 0.001 -> 0.0001" in capsys.readouterr().err
    fold = tmp_path / "results" / tiny.name / "nnUNetTrainerParaspinal__Changing__2d" / "fold_0"
    record = json.loads((fold / "protocol.json").read_text())
    expected = {"learning_rate": [1e-3, 1e-4], "iterations": [2, 3]}
    assert record["changed_on_the_way"] == [{"after_iterations": 2, "settings": expected}]
    assert json.loads((fold / "training.json").read_text())["iterations"] == 3
