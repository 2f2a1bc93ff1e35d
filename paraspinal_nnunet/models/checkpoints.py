"""Checkpoints read without running code from them: nnU-Net's own, and the slim ones of exported models."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paraspinal_nnunet.errors import InputError, ParaspinalError, SetupError, one_line
from paraspinal_nnunet.utils.files import open_regular
from paraspinal_nnunet.utils.forms import ANY, check_form

PLAIN_TRAINER = "nnUNetTrainer"
"""The trainer whose look-up imports nothing; it builds whatever network the plans name."""

_ZIP_MAGIC = b"PK\x03\x04"
_AGAIN = "get the model again"
_NOT_WEIGHTS = "holds more than weights and numbers, and loading it would run its author's code"


def read_trained(path: Path, *, advice: str = _AGAIN) -> dict[str, Any]:
    """A checkpoint as nnU-Net's trainers write it; besides tensors and plain values only numpy's numbers are let in.

    Args:
        path: The checkpoint.
        advice: What to do about a damaged one.

    Raises:
        InputError: It cannot be read, or holds anything else.
        SetupError: A torch that cannot be told what to let in.
    """
    if not hasattr(torch.serialization, "safe_globals"):
        raise SetupError(f"reading {path} safely needs torch 2.6 or newer, found {torch.__version__}; update it")
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64, np.bool_)]
    names = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    with torch.serialization.safe_globals([*names, np.dtype, *kinds]):
        return _load(path, advice)


def check_trained(content: Mapping[str, Any], path: Path) -> None:
    """Refuse what is no checkpoint of nnU-Net's.

    Args:
        content: What was read.
        path: From where, for the message.

    Raises:
        InputError: Naming the entry that is missing or of another form.
    """
    form = {
        **{"network_weights": {ANY: object}, "trainer_name": str},
        **{"init_args": {"configuration": str, "plans?": dict}},
        "inference_allowed_mirroring_axes?": ([int], tuple, None),
    }
    check_form(content, form, path, advice="this is no checkpoint of nnU-Net's; get it again")
    check_weights(content["network_weights"], path)


def check_weights(weights: Any, path: Path) -> None:
    """Refuse what is no mapping of names to tensors.

    Raises:
        InputError: It is none.
    """
    named = isinstance(weights, dict) and all(isinstance(key, str) for key in weights)
    if not named or not weights or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise InputError(f"{path}: holds no weights; get the model again")


def write_slim(path: Path, weights: Mapping[str, torch.Tensor], configuration: str, mirroring: Any) -> None:
    """Write what nnU-Net's prediction reads of a checkpoint, and nothing else; equal weights make equal files."""
    content = {
        "network_weights": dict(weights),
        "trainer_name": PLAIN_TRAINER,
        "init_args": {"configuration": configuration},
        "inference_allowed_mirroring_axes": None if mirroring is None else tuple(int(axis) for axis in mirroring),
    }
    buffer = io.BytesIO()  # given a path, torch puts the file's name into the archive
    torch.save(content, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def read_slim(path: Path, configuration: str, mirroring: tuple[int, ...] | None) -> dict[str, torch.Tensor]:
    """The weights of a slim checkpoint.

    Args:
        path: The checkpoint.
        configuration: What it must be of.
        mirroring: The axes that it must allow.

    Raises:
        InputError: Anything in it that `write_slim` does not write, or another configuration or other axes.
    """
    content = _load(path)
    weights = content.pop("network_weights", None)
    said = content.pop("inference_allowed_mirroring_axes", None)
    if content != {"trainer_name": PLAIN_TRAINER, "init_args": {"configuration": configuration}} or said != mirroring:
        raise InputError(f"{path}: is no checkpoint of the {configuration} model that the manifest describes; refused")
    check_weights(weights, path)
    return dict(weights)


def _load(path: Path, advice: str = _AGAIN) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            if file.read(len(_ZIP_MAGIC)) != _ZIP_MAGIC:  # the older formats have been a way round weights_only
                raise InputError(f"{path}: is no checkpoint of a supported format; {advice}")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except ParaspinalError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: {_NOT_WEIGHTS}; refused") from error
    except Exception as error:  # a pickle's own program may end in any
        raise InputError(f"{path}: is damaged ({one_line(error)[:200]}); {advice}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, no checkpoint")
    return content
