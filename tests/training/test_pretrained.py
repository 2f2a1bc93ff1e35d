"""Starting from weights that are there: what is taken over, what starts anew, what is refused."""

import pytest
import torch

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.default_model.recipe import DEFAULT
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.network import build_network
from paraspinal_nnunet.training.pretrained import HEAD, default_weights, load_pretrained

LABELS = {"background": 0, **{s.key: s.label for s in PARASPINAL}}


def network(classes=7, strides=DEFAULT.strides, dims=2):
    torch.manual_seed(3)
    return build_network(
        spatial_dims=dims, in_channels=1, out_channels=classes, channels=DEFAULT.channels, strides=strides
    )


def test_equal_labels_take_everything_over():
    pytest.importorskip("onnx")
    filled = network()
    transfer = load_pretrained(filled, "default", LABELS)
    assert not transfer.fresh
    shipped = default_weights()
    for name, value in filled.state_dict().items():
        assert torch.equal(value, shipped[name])


def test_other_labels_start_with_a_fresh_head():
    pytest.importorskip("onnx")
    before = {name: value.clone() for name, value in network().state_dict().items()}
    filled = network()
    swapped = {**LABELS, "multifidus_right": 2, "multifidus_left": 1}
    transfer = load_pretrained(filled, "default", swapped)
    assert transfer.fresh
    assert all(name.startswith(HEAD) for name in transfer.fresh)
    for name in transfer.fresh:
        assert torch.equal(filled.state_dict()[name], before[name])
    assert len(load_pretrained(network(classes=3), "default", {"background": 0, "a": 1, "b": 2}).fresh) > 0


def test_the_papers_strides_take_all_but_the_layers_of_other_shape():
    pytest.importorskip("onnx")
    transfer = load_pretrained(network(strides=(1, 2, 2, 2)), "default", LABELS)
    assert transfer.fresh == ("model.0.residual.weight",)  # 1 x 1 where nothing is strided


def test_weights_of_another_network_are_refused(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(InputError, match="another network"):
        load_pretrained(network(dims=3), "default", LABELS)
    with pytest.raises(InputError, match="no such checkpoint"):
        load_pretrained(network(), str(tmp_path / "none.pth"), LABELS)
    torch.save({"network_weights": network().state_dict()}, tmp_path / "some.pth")
    assert not load_pretrained(network(), str(tmp_path / "some.pth"), LABELS).fresh
