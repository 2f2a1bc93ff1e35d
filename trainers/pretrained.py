"""First weights from a checkpoint: ours or any of the same network; other labels get a fresh last layer."""

import pickle
import sys
from pathlib import Path
from typing import Any

import torch
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel

from paraspinal_nnunet.errors import InputError, TrainingRefusedError, one_line
from paraspinal_nnunet.utils.files import read_json
from paraspinal_nnunet.utils.fingerprint import file_sha256

LAST_LAYER = "model.2."
"""How the names of the weights begin that depend on the number of labels: MONAI's last upward layer."""

_HOOK = "load_pretrained_weights"
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
        path: A checkpoint of nnU-Net: ours, or of another trainer with the same network.

    Raises:
        TrainingRefusedError: Unreadable, or weights of another network.
    """
    name = type(trainer).__name__
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
        found = {_plain(key): value for key, value in content["network_weights"].items()}
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise TrainingRefusedError(f"{name}: {path} is no nnU-Net checkpoint ({one_line(error)})") from None
    network = _unwrapped(trainer.network)
    own = network.state_dict()
    wrong = [key for key in own if not key.startswith(LAST_LAYER) and _shape(found.get(key)) != _shape(own[key])]
    if wrong:
        raise TrainingRefusedError(
            f"{name}: {path} holds weights of another network ({content.get('trainer_name', 'unknown trainer')}; "
            f"{wrong[0]} is {_shape(found.get(wrong[0])) or 'missing'}, here {_shape(own[wrong[0]])}); pretrain with "
            "the same network and number of channels"
        )
    labels = _labels(content, path)
    kept = labels is not None and labels == trainer.dataset_json["labels"]
    taken = {key: found[key] for key in own if kept or not key.startswith(LAST_LAYER)}
    network.load_state_dict({**own, **taken})
    last = "kept" if kept else "fresh: its labels are not known" if labels is None else "fresh: its labels are others"
    trainer.pretrained = {
        "file": path.name,
        "sha256": file_sha256(path),
        "trainer": content.get("trainer_name"),
        "last_layer": last,
    }
    trainer.print_to_log_file(f"{name}: first weights from {path}, last layer {last}")


def _labels(content: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """Labels of the checkpoint's data set, from itself or from dataset.json beside its fold."""
    description = content.get("init_args", {}).get("dataset_json")
    if description is None:
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


def _shape(weights: torch.Tensor | None) -> tuple[int, ...] | None:
    return None if weights is None else tuple(weights.shape)


def _unwrapped(network: torch.nn.Module) -> torch.nn.Module:
    if isinstance(network, DistributedDataParallel):
        network = network.module
    return network._orig_mod if isinstance(network, OptimizedModule) else network
