"""A training that starts from weights that are there: the program's own model, or a checkpoint of nnU-Net's."""

import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from paraspinal_nnunet.default_model.shipped import DEFAULT_NAME, resolve_model, shipped_models
from paraspinal_nnunet.errors import InputError, SetupError

HEAD = "model.2."
"""The layers of the paper's network that end in one channel per label."""

LEAST_SHARE = 0.5
"""Of the network's numbers that must be taken over; with less, the weights are another network's."""

WRAPPED = "network."
HALF = ".half"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transfer:
    """What came of it: names of the parameters that were taken over, and of those that start anew."""

    taken: tuple[str, ...]
    fresh: tuple[str, ...]


def load_pretrained(network: torch.nn.Module, source: str, labels: Mapping[str, Any]) -> Transfer:
    """Take over all weights of equal name and shape; the head starts anew where the labels are others.

    Args:
        network: To be filled.
        source: ``'default'`` for the model that comes with the program, or a checkpoint of nnU-Net's.
        labels: Of the data set, as dataset.json holds them.

    Raises:
        InputError: No such file, or weights of another network.
        SetupError: The onnx package is missing.
    """
    weights, known = _weights(source)
    own = network.state_dict()
    same_labels = known is None or dict(known) == dict(labels)
    taken = tuple(
        name
        for name, value in own.items()
        if name in weights and weights[name].shape == value.shape and (same_labels or not name.startswith(HEAD))
    )
    share = sum(own[name].numel() for name in taken) / max(sum(value.numel() for value in own.values()), 1)
    if share < LEAST_SHARE:
        raise InputError(
            f"pretrained weights {source}: only {100 * share:.0f} % of the network's numbers are in them; they are of "
            "another network (the program's own model is 2D)"
        )
    network.load_state_dict({**own, **{name: weights[name] for name in taken}})
    fresh = tuple(name for name in own if name not in set(taken))
    log.info("pretrained weights %s: %.0f %% taken over, %d tensors start anew", source, 100 * share, len(fresh))
    return Transfer(taken, fresh)


def default_weights() -> dict[str, torch.Tensor]:
    """The default model's weights under the names of `network.ResidualUNet`.

    Raises:
        SetupError: The onnx package is missing.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise SetupError("the program's own weights need onnx; run: pip install 'paraspinal-nnunet[export]'") from error
    with zipfile.ZipFile(resolve_model(DEFAULT_NAME)) as archive:
        model = onnx.load_model_from_string(archive.read("fold_0.onnx"))
    found = {}
    for tensor in model.graph.initializer:
        name = tensor.name.removesuffix(HALF)
        if name.startswith(WRAPPED):
            values = numpy_helper.to_array(tensor).astype("float32")
            found[name.removeprefix(WRAPPED)] = torch.from_numpy(values)
    return found


def _weights(source: str) -> tuple[Mapping[str, torch.Tensor], Mapping[str, int] | None]:
    """Weights by name, and the labels of their head where they are known."""
    if source == DEFAULT_NAME and not Path(source).exists():
        entries = shipped_models()[-1].manifest["labels"]
        return default_weights(), {"background": 0, **{entry["key"]: entry["value"] for entry in entries}}
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
        weights = content["network_weights"]
    except FileNotFoundError:
        raise InputError(f"{source}: no such checkpoint; give a file, or '{DEFAULT_NAME}'") from None
    except Exception as error:  # torch raises many kinds
        raise InputError(f"{source}: is no checkpoint that can be read safely ({type(error).__name__})") from error
    return weights, None
