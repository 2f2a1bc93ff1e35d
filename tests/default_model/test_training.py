"""The default model's training: the same weights every time, also when it was stopped in between."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from paraspinal_nnunet.default_model import run, training
from paraspinal_nnunet.default_model.generator import generator_hash
from paraspinal_nnunet.default_model.packing import EXCHANGED, BothSides, network_of, pack
from paraspinal_nnunet.default_model.recipe import DEFAULT, MEMBERS
from paraspinal_nnunet.default_model.run import ARCHIVE, pack_trained, train_default
from paraspinal_nnunet.errors import InputError, ProtocolError
from paraspinal_nnunet.inference.portable import open_model
from paraspinal_nnunet.models.manifest import COMPUTED_ONLY
from paraspinal_nnunet.trainers.pretrained import exported_weights

TINY = replace(
    DEFAULT, cases=1, iterations=4, batch=2, patch_size=(32, 48), channels=(4, 8), strides=(2,), warm_up=2, seed=1
)


def weights(path):
    return torch.load(path, weights_only=True)["mean"]


def test_learning_rate_rises_stays_and_falls_to_zero():
    recipe = replace(DEFAULT, iterations=1100, warm_up=100, decay=400, learning_rate=1.0)
    assert training.learning_rate(recipe, 0) == pytest.approx(0.01)
    assert training.learning_rate(recipe, 99) == training.learning_rate(recipe, 700) == pytest.approx(1.0)
    assert training.learning_rate(recipe, 900) == pytest.approx(0.5)  # half of a cosine
    assert training.learning_rate(recipe, 1100) == pytest.approx(0.0)
    short = replace(recipe, iterations=200)  # falls from the end of the rise on
    assert training.learning_rate(short, 150) == pytest.approx(0.5)


def test_multifidus_weighs_more_at_first_and_the_same_later():
    recipe = replace(DEFAULT, emphasis=4.0, emphasis_steps=50)
    start, half, end = (training.loss_of(recipe, n).cross_entropy.weight.tolist() for n in (0, 25, 50))
    assert start == [1, 4, 4, 1, 1, 1, 1]
    assert half == [1, 2.5, 2.5, 1, 1, 1, 1]
    assert end == [1] * 7


def test_what_is_added_to_logits_moves_two_muscles_on_both_sides():
    network = training.build(TINY).eval()
    image = torch.zeros(1, 1, 32, 48)
    with torch.inference_mode():
        moved = BothSides(network, (1.0, -2.0))(image) - BothSides(network)(image)
    torch.testing.assert_close(moved[0, :, 5, 5], torch.tensor([0.0, 1, 1, 0, 0, -2, -2]), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_stopped_training_ends_in_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LOG_EVERY", 1)
    whole = weights(training.train(tmp_path / "whole", TINY, workers=0))
    real, steps = training._step, []

    def stopping(state, recipe, image, labels):
        steps.append(state.iteration)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return real(state, recipe, image, labels)

    monkeypatch.setattr(training, "SAVE_EVERY", 2)
    monkeypatch.setattr(training, "_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        training.train(tmp_path / "stopped", TINY, workers=0)
    stopped = weights(training.train(tmp_path / "stopped", TINY, workers=0))
    assert steps == [0, 1, 2, 3, 2, 3]  # the checkpoint after two steps was gone on from
    for name, value in whole.items():
        torch.testing.assert_close(value, stopped[name], rtol=0, atol=0)
    logs = [(tmp_path / name / training.LOG_FILE).read_text() for name in ("whole", "stopped")]
    assert logs[0] == logs[1]
    assert [row.split(",")[0] for row in logs[0].splitlines()] == ["1", "2", "3", "4"]
    with pytest.raises(InputError, match="another recipe"):
        training.train(tmp_path / "stopped", replace(TINY, seed=2), workers=0)


@pytest.mark.slow
def test_from_an_empty_folder_to_an_archive_that_opens(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "scan_ranges", lambda seed: {"pixel_mm": [0.25, 2.0]})  # drawing 24 scans takes a minute
    second = replace(TINY, seed=2, ovals=1.0, iterations=3)
    archive = train_default(tmp_path, (TINY, second), workers=0)
    assert archive.name == ARCHIVE
    model = open_model(archive)
    assert model.folds == ("0", "1")
    told = model.manifest.training
    assert told[COMPUTED_ONLY] is True
    assert told["recipe"]["iterations"] == 4
    assert [(other["recipe"]["iterations"], other["recipe"]["seed"]) for other in told["others"]] == [(3, 2)]
    assert told["others"][0]["generator"] == generator_hash(2, 1.0) != told["generator"] == generator_hash(1)
    assert model.pipeline.spacing_mm == (1.5, 1.5)  # slices stay where they are
    for fold, folder in zip(model.folds, ("network-1", "network-2"), strict=True):
        trained = weights(tmp_path / folder / training.CHECKPOINT)
        for name, packed in exported_weights(archive, fold).items():
            torch.testing.assert_close(packed, trained[name], rtol=1e-3, atol=1e-4)  # half precision
    with pytest.raises(InputError, match="3 of 9 steps are made"):
        pack_trained([(tmp_path / "network-2", replace(second, iterations=9))], tmp_path / "other.zip")


def test_numbers_that_cannot_be(tmp_path):
    with pytest.raises(ProtocolError, match="1 or more"):
        train_default(tmp_path, [TINY, replace(TINY, iterations=0)])
    assert not list(tmp_path.iterdir())


def test_the_networks_that_are_averaged_are_of_one_build_and_each_of_its_own_seed():
    first = MEMBERS[0].to_json()
    apart = {"seed", "ovals", "iterations", "emphasis_steps"}
    for other in MEMBERS[1:]:
        assert {name for name, value in other.to_json().items() if value != first[name]} <= apart
    assert len({recipe.seed for recipe in MEMBERS}) == len(MEMBERS)


def test_both_sides_gives_a_mirrored_scan_mirrored_labels():
    network = BothSides(training.build(TINY).eval())
    image = torch.randn(1, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits, mirrored = network(image), network(image.flip(3)).flip(3)
    torch.testing.assert_close(mirrored[:, list(EXCHANGED)], logits, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_weights_stored_in_half_precision_give_the_labels_of_single_precision(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    content = training.build(TINY).state_dict()
    folder = pack([(content, TINY)], tmp_path / "model", {})
    session = onnxruntime.InferenceSession(str(folder / "fold_0.onnx"), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).normal(size=(1, 1, 64, 96)).astype(np.float32)
    found = session.run(None, {"image": image})[0]
    with torch.inference_mode():
        expected = network_of(content, TINY)(torch.from_numpy(image)).numpy()
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))
