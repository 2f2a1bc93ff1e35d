"""Networks as ONNX files: every kind of network, checked against torch before it counts."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from helpers.portable_models import PLAIN_3D, PLANES, RESIDUAL, RESIDUAL_ENCODER, STACK, make_model, make_plans

from paraspinal_nnunet.errors import InputError, SetupError
from paraspinal_nnunet.export import to_onnx as export_onnx
from paraspinal_nnunet.export.to_nnunet import size_multiple

KINDS = {
    "residual": ("2d", {"architecture": RESIDUAL}, [2, 2]),
    "stack": ("2.5d", {"architecture": STACK, "patch_size": [5, 16, 24]}, [1, 2, 2]),
    "planes": ("2.5d_orthogonal", {"architecture": PLANES, "patch_size": [8, 16, 24]}, [2, 2, 2]),
    "plain 3d": ("3d_fullres", {"architecture": PLAIN_3D, "patch_size": [8, 16, 24]}, [2, 4, 4]),
    "residual encoder": ("2d", {"architecture": RESIDUAL_ENCODER}, [4, 4]),
}


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[] if k == "residual" else pytest.mark.slow) for k in KINDS])
def test_networks_are_free_in_batch_and_in_plane_size(kind, tmp_path):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from paraspinal_nnunet.nnunet.plans_network import build_from_plans

    configuration, changes, multiple = KINDS[kind]
    model = make_model(tmp_path, make_plans(configuration, **changes), ("0",))
    assert size_multiple(model) == multiple
    export_onnx.export_files(model, "Made", tmp_path)
    network = build_from_plans(nnUNetTrainer, model.plans, configuration, model.dataset_json).eval()
    network.load_state_dict(model.weights["0"])
    session = onnxruntime.InferenceSession(str(tmp_path / "fold_0.onnx"), providers=["CPUExecutionProvider"])
    depth = model.plans["configurations"][configuration]["patch_size"][:-2]
    for batch, plane in ((1, (16, 24)), (3, (32, 16))):
        patch = torch.randn(batch, 1, *depth, *plane)
        with torch.inference_mode():
            expected = network(patch).numpy()
        found = session.run(None, {"image": patch.numpy()})[0]
        np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())
    assert [p.name for p in tmp_path.iterdir()] == ["fold_0.onnx"]


@pytest.mark.slow
def test_a_network_that_computes_something_else_is_not_exported(tmp_path, monkeypatch):
    model = make_model(tmp_path, make_plans())
    right = export_onnx.write_network

    def wrong(network, example, multiple, path):
        state = {key: value.clone() for key, value in network.state_dict().items()}
        next(iter(network.parameters())).data += 0.01
        right(network, example, multiple, path)
        network.load_state_dict(state)

    monkeypatch.setattr(export_onnx, "write_network", wrong)
    with pytest.raises(InputError, match=r"the ONNX network's logits are off by .*; not exported"):
        export_onnx.export_files(model, "Made", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(export_onnx.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else True)
    with pytest.raises(SetupError, match=r"needs onnxscript; run: pip install 'paraspinal-nnunet\[export\]'"):
        export_onnx.export_files(make_model(tmp_path, make_plans()), "Made", tmp_path)


def test_models_without_a_portable_form_are_refused_before_anything_is_written(tmp_path):
    plans = make_plans(normalization_schemes=["OwnNormalization"])
    with pytest.raises(InputError, match="normalises by 'OwnNormalization'"):
        export_onnx.export_files(make_model(tmp_path, plans), "Made", tmp_path)


@pytest.mark.slow
def test_a_model_of_our_trainer_goes_from_the_command_to_nnunets_labels(tiny, tmp_path, kept_environment, capsys):
    import json
    from pathlib import Path

    import nibabel as nib

    from paraspinal_nnunet.cli import main
    from paraspinal_nnunet.trainers import nnUNetTrainerParaspinalStride2

    plans = json.loads(tiny.plans_file.read_text())
    plans["paraspinal"]["overrides"]["iterations"] = 1
    dataset_json = json.loads((tiny.preprocessed / "dataset.json").read_text())
    trainer = nnUNetTrainerParaspinalStride2(plans, "2d", 0, dataset_json, torch.device("cpu"))
    trainer.run_training()
    capsys.readouterr()
    model, portable = Path(trainer.output_folder_base), tmp_path / "portable.zip"
    assert main(["export", "-m", str(model), "-o", str(portable), "--format", "onnx", "--licence", "MIT"]) == 0
    labels = {}
    for name, path in (("stock", model), ("portable", portable)):
        scan = tiny.raw / "imagesTr" / "sub-001_0000.nii.gz"
        assert main(["predict", "-i", str(scan), "-o", str(tmp_path / name), "-m", str(path), "-device", "cpu"]) == 0
        labels[name] = np.asarray(nib.load(tmp_path / name / "sub-001.nii.gz").dataobj)
    assert len(np.unique(labels["stock"])) > 2
    assert (labels["stock"] != labels["portable"]).mean() <= 1e-4
    printed = capsys.readouterr().out.split()
    assert printed == [str(portable), *(str(tmp_path / n / "sub-001.nii.gz") for n in ("stock", "portable"))]
