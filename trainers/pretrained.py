"""First weights from a checkpoint: ours or any of the same network; of other labels, the classes of the same name."""

import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel

from paraspinal_nnunet.errors import InputError, TrainingRefusedError
from paraspinal_nnunet.models.checkpoints import check_weights, read_trained
from paraspinal_nnunet.models.shipped import DEFAULT_NAME, resolve_model, shipped_models
from paraspinal_nnunet.trainers.shared_classes import class_count, merged, shared_classes
from paraspinal_nnunet.utils.files import read_json
from paraspinal_nnunet.utils.fingerprint import file_sha256
from paraspinal_nnunet.utils.packages import optional_package

LAST_LAYER = "model.2."
"""How the names of the weights begin that depend on the number of labels: MONAI's last upward layer."""

LARGEST_SHARE_LEFT_OUT = 0.1
"""Of the network's numbers, where the program's own weights do not fit all layers; beyond, it is another network."""

_HOOK = "load_pretrained_weights"
_WRAPPED, _HALF = "network.", ".half"
"""How exported networks name a weight: with this before it, and this behind where it is kept in half precision."""
_PREFIXES = ("module.", "_orig_mod.")


def take_over_pretraining(trainer: Any) -> None:
    """Let `-pretrained_weights` of nnU-Net's command load weights as this module does.

    nnU-Net's own function knows its own last layers only; other labels end it in a failed assertion.

    Args:
        trainer: One of ours; gets the attribute `pretrained`.
    """
    for name in ("nnunetv2.run.run_training", "__main__"):  # imported, or started with python -m
        module = sys.modules.get(name)
        if module is not None and hasattr(module, _HOOK):
            setattr(module, _HOOK, lambda network, file, verbose=False: load_pretrained(trainer, Path(file)))


def load_pretrained(trainer: Any, path: Path) -> None:
    """Load first weights into a trainer's network, and note where they came from.

    Args:
        trainer: Initialised.
        path: A checkpoint of nnU-Net: ours, or of another trainer with the same network; or ``default`` for the model
            that comes with the program, of which layers of another shape are left out (the paper's network has its
            first residual connection 1 x 1, since nothing is strided there).

    Raises:
        TrainingRefusedError: Unreadable, more than weights and numbers, or weights of another network.
    """
    name = type(trainer).__name__
    shipped = path == Path(DEFAULT_NAME) and not path.exists()
    source = resolve_model(DEFAULT_NAME) if shipped else path
    try:
        content = shipped_checkpoint() if shipped else read_trained(path)
        check_weights(content.get("network_weights"), path)
    except InputError as error:
        raise TrainingRefusedError(f"{name}: {error}") from None
    found = {_plain(key): value for key, value in content["network_weights"].items()}
    network = _unwrapped(trainer.network)
    own = network.state_dict()
    wrong = [key for key in own if not key.startswith(LAST_LAYER) and _shape(found.get(key)) != _shape(own[key])]
    if sum(own[key].numel() for key in wrong) > (LARGEST_SHARE_LEFT_OUT * _size(own) if shipped else 0):
        raise TrainingRefusedError(
            f"{name}: {path} holds weights of another network ({content.get('trainer_name', 'unknown trainer')}; "
            f"{wrong[0]} is {_shape(found.get(wrong[0])) or 'missing'}, here {_shape(own[wrong[0]])}); pretrain with "
            "the same network and number of channels"
        )
    labels = _labels(content, path)
    before = {key: found[key] for key in own if key not in wrong and not key.startswith(LAST_LAYER)}
    layer, copied, last = _last_layer(own, found, trainer.dataset_json["labels"], labels)
    taken, numbers = {**before, **layer}, _size(before) + copied
    network.load_state_dict({**own, **taken})
    trainer.pretrained = {
        "file": source.name,
        "sha256": file_sha256(source),
        "trainer": content.get("trainer_name"),
        "last_layer": last,
        "share_taken": round(numbers / _size(own), 4),
        "left_out": [key for key in own if key not in taken],
    }
    trainer.print_to_log_file(
        f"{name}: first weights from {path}, {100 * numbers / _size(own):.1f} % of the network's numbers; last "
        f"layer {last}; drawn at random: {', '.join(trainer.pretrained['left_out']) or 'none'}"
    )


def _last_layer(
    own: dict[str, torch.Tensor], found: dict[str, torch.Tensor], labels: dict[str, Any], other: dict[str, Any] | None
) -> tuple[dict[str, torch.Tensor], int, str]:
    """What the last layer takes over: its tensors, how many of their numbers, and what became of it in words."""
    keys = [key for key in own if key.startswith(LAST_LAYER)]
    if other == labels:
        return {key: found[key] for key in keys}, _size({key: own[key] for key in keys}), "kept"
    shared = shared_classes(labels, other)
    if not shared or other is None:
        return {}, 0, "fresh: its labels are not known" if other is None else "fresh: its labels are others"
    layer = {key: own[key].clone() for key in keys if key in found}
    counts, values = (class_count(labels), class_count(other)), list(shared.values())
    copied = sum(merged(layer[key], found[key], values, counts) for key in layer)
    return layer, copied, f"of the classes {', '.join(shared)}"


def shipped_checkpoint() -> dict[str, Any]:
    """The model that comes with the program as a checkpoint: its first network.

    Raises:
        SetupError: The onnx package is missing.
    """
    labels = {entry["key"]: entry["value"] for entry in shipped_models()[-1].manifest["labels"]}
    return {
        "network_weights": exported_weights(resolve_model(DEFAULT_NAME)),
        "trainer_name": "the model that comes with the program",
        "init_args": {"dataset_json": {"labels": {"background": 0, **labels}}},
    }


def exported_weights(archive: Path, fold: str = "0") -> dict[str, torch.Tensor]:
    """Weights of one network of the program's own model, under the names of `network.ResidualUNet`.

    Args:
        archive: As `paraspinal train-default` writes it.
        fold: Which of its networks.

    Raises:
        SetupError: The onnx package is missing.
        InputError: No such archive.
    """
    onnx = optional_package("onnx", "onnx.numpy_helper", purpose="the program's own weights need", extra="export")
    try:
        with zipfile.ZipFile(archive) as opened:
            graph = onnx.load_model_from_string(opened.read(f"fold_{fold}.onnx")).graph
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{archive}: holds no network fold_{fold}.onnx ({error})") from None
    weights = {}
    for tensor in graph.initializer:
        name = tensor.name.removesuffix(_HALF)
        if name.startswith(_WRAPPED):
            values = onnx.numpy_helper.to_array(tensor).astype("float32")
            weights[name.removeprefix(_WRAPPED)] = torch.from_numpy(values)
    return weights


def _labels(content: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Labels of the checkpoint's data set, from itself or from dataset.json beside its fold."""
    arguments = content.get("init_args")
    description = arguments.get("dataset_json") if isinstance(arguments, dict) else None
    if not isinstance(description, dict):
        try:
            description = read_json(path.parent.parent / "dataset.json")
        except InputError:
            return None
    labels = description.get("labels")
    return labels if isinstance(labels, dict) else None


def _plain(key: str) -> str:
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _size(weights: dict[str, torch.Tensor]) -> int:
    return sum(value.numel() for value in weights.values())


def _shape(weights: torch.Tensor | None) -> tuple[int, ...] | None:
    return None if weights is None else tuple(weights.shape)


def _unwrapped(network: torch.nn.Module) -> torch.nn.Module:
    if isinstance(network, DistributedDataParallel):
        network = network.module
    return network._orig_mod if isinstance(network, OptimizedModule) else network
