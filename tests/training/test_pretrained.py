"""Starting from the program's own weights: they are all there, and fit the default and the paper's 2D network."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.default_model.recipe import DEFAULT
from paraspinal_nnunet.network import build_network
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.training.pretrained import default_weights, pretrained_file

SHAPES = {(2, 2, 2, 2): DEFAULT.channels, PAPER.network.strides: PAPER.network.channels}


@pytest.mark.parametrize("strides", list(SHAPES))
def test_the_checkpoint_fits_the_network(tmp_path, monkeypatch, strides):
    monkeypatch.chdir(tmp_path)
    network = build_network(spatial_dims=2, in_channels=1, out_channels=7, channels=SHAPES[strides], strides=strides)
    with pretrained_file(Path("default"), {"arch_kwargs": {"strides": list(strides)}}) as path:
        content = torch.load(path, weights_only=True)
    network.load_state_dict(content["network_weights"])  # strict: every name, every shape
    assert content["init_args"]["dataset_json"]["labels"] == {"background": 0, **{s.key: s.label for s in PARASPINAL}}
    shipped = default_weights()
    for name, value in network.state_dict().items():
        if value.shape == shipped[name].shape:
            assert torch.equal(value, shipped[name])


def test_a_file_of_that_name_and_other_files_go_before_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").write_bytes(b"x")
    with pretrained_file((tmp_path / "default").relative_to(tmp_path), {}) as path:
        assert path.read_bytes() == b"x"
    with pretrained_file(None, {}) as path:
        assert path is None
