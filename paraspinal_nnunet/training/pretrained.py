"""The program's own weights as a checkpoint of nnU-Net's, for trainings that start from them."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.default_model.shipped import DEFAULT_MODEL, resolve_model, shipped_models
from paraspinal_nnunet.errors import SetupError

if TYPE_CHECKING:
    import torch

WRAPPED, HALF = "network.", ".half"
"""What the ONNX file puts before and behind the names of weights."""

STRIDED = "model.0.residual.weight"
"""Of the layers the one whose kernel depends on the first stride: 3 x 3 when it strides, else 1 x 1."""


@contextmanager
def pretrained_file(wanted: Path | None, architecture: dict[str, Any]) -> Iterator[Path | None]:
    """The checkpoint that a training starts from.

    Args:
        wanted: A checkpoint, None, or ``'default'`` for the model that comes with the program; a file of that name
            goes before it.
        architecture: Of the network in the plans.

    Raises:
        SetupError: The onnx package is missing.
    """
    if wanted is None or str(wanted) != DEFAULT_MODEL or wanted.is_file():
        yield wanted
        return
    strides = architecture.get("arch_kwargs", {}).get("strides") or [2]
    with TemporaryDirectory(prefix="paraspinal-weights-") as folder:
        path = Path(folder) / f"{resolve_model(DEFAULT_MODEL).stem}.pth"
        write_default_checkpoint(path, strided=strides[0] != 1)
        yield path


def write_default_checkpoint(path: Path, *, strided: bool = True) -> None:
    """Write the default model's weights as nnU-Net's loaders take them.

    Args:
        path: The file.
        strided: Whether the network's first layer strides, as the default model's does. The paper's does not: its
            first residual kernel is 1 x 1 and gets the sum of the 3 x 3 one, which a flat image cannot tell apart.

    Raises:
        SetupError: The onnx package is missing.
    """
    import torch

    weights = default_weights()
    if not strided:
        weights[STRIDED] = weights[STRIDED].sum(dim=(2, 3), keepdim=True)
    manifest = shipped_models()[-1].manifest
    labels = {"background": 0, **{entry["key"]: entry["value"] for entry in manifest["labels"]}}
    content = {
        "network_weights": weights,
        "trainer_name": manifest["trainer"],
        "init_args": {"dataset_json": {"labels": labels}},
    }
    torch.save(content, path)


def default_weights() -> "dict[str, torch.Tensor]":
    """The default model's weights under the names of `network.ResidualUNet`.

    Raises:
        SetupError: The onnx package is missing.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise SetupError("the program's own weights need onnx; run: pip install 'paraspinal-nnunet[export]'") from error
    import torch

    with zipfile.ZipFile(resolve_model(DEFAULT_MODEL)) as archive:
        model = onnx.load_model_from_string(archive.read("fold_0.onnx"))
    found = {}
    for tensor in model.graph.initializer:
        name = tensor.name.removesuffix(HALF)
        if name.startswith(WRAPPED):
            values = numpy_helper.to_array(tensor).astype("float32")
            found[name.removeprefix(WRAPPED)] = torch.from_numpy(values)
    return found
