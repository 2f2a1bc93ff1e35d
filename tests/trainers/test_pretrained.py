"""-pretrained_weights: the weights of the same network, of other labels the classes of the same name; their source."""

import hashlib
import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from helpers.trainings import CPU, files, plans_of, trainer_of

from paraspinal_nnunet.errors import TrainingRefusedError
from paraspinal_nnunet.models.shipped import resolve_model
from paraspinal_nnunet.trainers import nnUNetTrainerParaspinal, nnUNetTrainerParaspinalDeep
from paraspinal_nnunet.trainers.pretrained import LAST_LAYER, exported_weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def source(tiny, tmp_path):
    """A checkpoint of one iteration, outside the results folder."""
    trainer = trainer_of(tiny, iterations=1)
    trainer.run_training()
    path = tmp_path / "source.pth"
    files(trainer)["checkpoint_final.pth"].rename(path)
    return path


def started(trainer, path):
    """As nnUNetv2_train starts with -pretrained_weights."""
    from nnunetv2.run.run_training import maybe_load_checkpoint

    maybe_load_checkpoint(trainer, False, False, str(path))
    return trainer.network.state_dict()


def other_labels(dataset, labels):
    dataset_json = json.loads((dataset.preprocessed / "dataset.json").read_text()) | {"labels": labels}
    trainer = nnUNetTrainerParaspinal(plans_of(dataset, iterations=1), "2d", 1, dataset_json, CPU)
    trainer.logger.plot_progress_png = lambda folder: None
    return trainer


def test_the_same_labels_keep_all_weights_and_the_record_names_the_source(tiny, source):
    weights = torch.load(source, weights_only=False)["network_weights"]
    trainer = trainer_of(tiny, fold=1, iterations=1)
    found = started(trainer, source)
    assert all(torch.equal(found[key], weights[key]) for key in weights)
    trainer.run_training()
    record = json.loads(files(trainer)["protocol.json"].read_text())["pretrained"]
    assert record == {
        "file": "source.pth",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "trainer": "nnUNetTrainerParaspinal",
        "last_layer": "kept",
        "share_taken": 1.0,
        "left_out": [],
    }


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "muscle": 1, "vertebra": 2},
        {"background": 0, **{f"other_{n}": n for n in range(1, 7)}},  # as many, but others
    ],
)
def test_other_labels_get_a_fresh_last_layer(tiny, source, labels):
    weights = torch.load(source, weights_only=False)["network_weights"]
    fresh = other_labels(tiny, labels)
    fresh.initialize()
    trainer = other_labels(tiny, labels)
    found = started(trainer, source)
    for key, value in found.items():
        expected = fresh.network.state_dict()[key] if key.startswith(LAST_LAYER) else weights[key]
        assert torch.equal(value, expected), key
    assert trainer.pretrained["last_layer"] == "fresh: its labels are others"
    left = [key for key in found if key.startswith(LAST_LAYER)]
    assert trainer.pretrained["left_out"] == left
    numbers = sum(found[key].numel() for key in found if key not in left) / sum(v.numel() for v in found.values())
    assert trainer.pretrained["share_taken"] == pytest.approx(numbers, abs=5e-5)
    assert len(found["model.2.1.conv.unit0.conv.weight"]) == len(labels)


def test_other_labels_take_over_the_classes_of_the_same_name(tiny, source):
    """Four of the six muscles in another order, and a new one between: rows and columns go by name, its stay."""
    own = json.loads((tiny.preprocessed / "dataset.json").read_text())["labels"]
    names = ["erector_spinae_left", "multifidus_right", "new", "multifidus_left"]
    labels = {"background": 0, **{name: k for k, name in enumerate(names, start=1)}}
    weights = torch.load(source, weights_only=False)["network_weights"]
    fresh = other_labels(tiny, labels)
    fresh.initialize()
    untouched = fresh.network.state_dict()
    trainer = other_labels(tiny, labels)
    found = started(trainer, source)
    assert trainer.pretrained["last_layer"] == (
        "of the classes background, erector_spinae_left, multifidus_right, multifidus_left"
    )
    assert trainer.pretrained["left_out"] == []
    upward, last, bias = (f"model.2.{name}" for name in ("0.conv.weight", "1.conv.unit0.conv.weight", "0.conv.bias"))
    for name, value in labels.items():
        if name == "new":
            assert torch.equal(found[last][value], untouched[last][value])
            assert torch.equal(found[upward][:, value], untouched[upward][:, value])
            continue
        assert torch.equal(found[upward][:, value], weights[upward][:, own[name]])
        assert found[bias][value] == weights[bias][own[name]]
        for other, column in labels.items():
            expected = untouched[last][value, column] if other == "new" else weights[last][own[name], own[other]]
            assert torch.equal(found[last][value, column], expected)
    fit = sum(v.numel() for k, v in found.items() if not k.startswith(LAST_LAYER))
    last_shared = 4 * found[upward][:, 0].numel() + 4 + 16 * found[last][0, 0].numel() + 4
    assert trainer.pretrained["share_taken"] == pytest.approx(
        (fit + last_shared) / sum(v.numel() for v in found.values()), abs=5e-5
    )


def test_the_shipped_weights_start_the_papers_network_by_the_names_of_the_muscles(tiny):
    pytest.importorskip("onnx")
    shipped = exported_weights(resolve_model("default"))
    trainer = other_labels(tiny, {"background": 0, "psoas_major_left": 1, "multifidus_right": 2})
    found = started(trainer, "default")
    assert trainer.pretrained["last_layer"] == "of the classes background, psoas_major_left, multifidus_right"
    assert trainer.pretrained["left_out"] == ["model.0.residual.weight"]  # 3 x 3 where it strides, here 1 x 1
    bias = "model.2.1.conv.unit0.conv.bias"
    assert torch.equal(found[bias], shipped[bias][[0, 6, 1]])  # anatomy.PARASPINAL: multifidus right 1, psoas left 6
    body = [key for key in found if not key.startswith(LAST_LAYER) and key != "model.0.residual.weight"]
    assert all(torch.equal(found[key], shipped[key]) for key in body)


def test_weights_of_another_network_are_refused_in_one_line(tiny, source, tmp_path):
    deep = trainer_of(tiny, trainer=nnUNetTrainerParaspinalDeep, fold=1, iterations=1)
    with pytest.raises(TrainingRefusedError, match="holds weights of another network") as error:
        started(deep, source)
    assert "\n" not in str(error.value)
    torch.save({"network_weights": {"encoder.stages.0.weight": torch.zeros(3)}}, tmp_path / "nnunet.pth")
    with pytest.raises(TrainingRefusedError, match=r"model\.0\.conv\.unit0\.conv\.weight is missing, here"):
        started(trainer_of(tiny, fold=1, iterations=1), tmp_path / "nnunet.pth")
    (tmp_path / "damaged.pth").write_bytes(b"PK no")
    with pytest.raises(TrainingRefusedError, match="is no checkpoint of a supported format"):
        started(trainer_of(tiny, fold=1, iterations=1), tmp_path / "damaged.pth")
