"""Exported models that need neither torch nor nnU-Net: one ONNX network per fold, held to what torch computes."""

import importlib.util
import logging
import warnings
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from paraspinal_nnunet.errors import InputError, SetupError
from paraspinal_nnunet.export.to_nnunet import size_multiple, trainer_class
from paraspinal_nnunet.models.trained import TrainedModel
from paraspinal_nnunet.nnunet.plans_network import build_from_plans
from paraspinal_nnunet.utils.files import atomic_path
from paraspinal_nnunet.utils.packages import install_line

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED = ("onnx", "onnxscript", "onnxruntime")
INPUT, OUTPUT = "image", "logits"
TOLERANCE = 1e-3
"""Largest difference between ONNX Runtime's and torch's logits, as a share of the largest logit."""

MOST_PATCHES, MOST_MULTIPLES = 64, 1024
"""Bounds that the exporter's symbolic sizes need; no scan comes near them."""


def export_files(model: TrainedModel, plans_name: str, folder: Path) -> None:
    """Write fold_<fold>.onnx for every fold, with the weights inside and free in batch and in-plane size.

    Args:
        model: The model.
        plans_name: Goes into the manifest only.
        folder: Where to.

    Raises:
        InputError: The weights do not fit, the model's preprocessing has no portable form, or the exported network
            computes something else than torch.
        SetupError: A package for exporting is missing.
    """
    from paraspinal_nnunet.export.run import preprocessing_entry
    from paraspinal_nnunet.inference.portable.pipeline import read_pipeline

    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(f"exporting to ONNX needs {missing[0]}; run: {install_line('export')}")
    read_pipeline(preprocessing_entry(model), str(model.folder))
    network = build_from_plans(trainer_class(model), model.plans, model.configuration, model.dataset_json).eval()
    patch = model.resolved_configuration()["patch_size"]
    example = _noise(model, 2, patch)
    for fold, weights in tqdm(model.weights.items(), desc="exporting", unit="fold"):
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise InputError(f"{model.folder}: weights do not fit the network ({str(error).splitlines()[0]})") from None
        with atomic_path(folder / f"fold_{fold}.onnx") as temporary:
            write_network(network, example, size_multiple(model)[-2:], temporary)
            check_network(network, temporary, _noise(model, 1, patch), str(model.folder))


def write_network(network: torch.nn.Module, example: torch.Tensor, multiple: list[int], path: Path) -> None:
    """Write one network.

    Args:
        network: In evaluation mode.
        example: (batch of at least 2, channels, *patch).
        multiple: What rows and columns must be multiples of.
        path: The file.
    """
    dim = torch.export.Dim
    last = example.ndim - 1
    sizes = {0: dim("batch", min=1, max=MOST_PATCHES)}
    for axis, name, step in zip((last - 1, last), ("rows", "columns"), multiple, strict=True):
        size = dim(name, min=2, max=MOST_MULTIPLES)
        sizes[axis] = step * size if step > 1 else size
    with _quiet():
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=True,
            external_data=False,
            dynamic_shapes=(sizes,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )


def check_network(network: torch.nn.Module, path: Path, patch: torch.Tensor, where: str) -> None:
    """Let torch and ONNX Runtime segment one patch.

    Raises:
        InputError: Their logits differ by more than `TOLERANCE`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = network(patch).numpy()
    found = session.run([OUTPUT], {INPUT: patch.numpy()})[0]
    difference = float(np.abs(found - expected).max()) / max(float(np.abs(expected).max()), 1e-6)
    if found.shape != expected.shape or not difference <= TOLERANCE:
        raise InputError(f"{where}: the ONNX network's logits are off by {difference:.2g} of the largest; not exported")


def _noise(model: TrainedModel, batch: int, patch: list[int]) -> torch.Tensor:
    channels = len(model.dataset_json["channel_names"])
    return torch.randn(batch, channels, *patch, generator=torch.Generator().manual_seed(0))


@contextmanager
def _quiet() -> "Iterator[None]":
    """The exporter speaks of its own matters only, on several channels; errors still come through."""
    logger: Any = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
