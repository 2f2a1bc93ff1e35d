"""Plans and dataset.json of models from elsewhere, judged before nnU-Net, which trusts them, builds anything."""

import re
from math import prod
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.models.manifest import (
    LARGEST_PATCH,
    LARGEST_PATCH_VOXELS,
    LARGEST_SPACING_MM,
    SMALLEST_SPACING_MM,
)
from paraspinal_nnunet.nnunet.datasets import DATASET_FORM
from paraspinal_nnunet.protocol.plans import PLANS_FORM
from paraspinal_nnunet.utils.forms import ANY, check_form, read_form
from paraspinal_nnunet.utils.guards import guarded

ADVICE = "get the model again"

NETWORKS = (
    "paraspinal_nnunet.network.ResidualUNet",
    "paraspinal_nnunet.network.OrthogonalUNet",
    "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
)
"""nnU-Net imports and calls whatever a plans file names, with whatever arguments; these are what it may name."""

_LAYER = r"torch\.nn\.(modules\.(conv|instancenorm|batchnorm|dropout|activation)\.)?[A-Z][A-Za-z0-9]*"

_PLANS = {
    **PLANS_FORM,
    **{"image_reader_writer": str, "transpose_forward": [int], "transpose_backward": [int]},
    "foreground_intensity_properties_per_channel": {ANY: {ANY: float}},
}
_CONFIGURATION = {
    **{"spacing": [float], "patch_size": [int], "normalization_schemes": [str], "use_mask_for_norm": [bool]},
    **{f"resampling_fn_{what}": str for what in ("data", "seg", "probabilities")},
    **{f"resampling_fn_{what}_kwargs": dict for what in ("data", "seg", "probabilities")},
    "architecture": {"network_class_name": str, "arch_kwargs": dict, "_kw_requires_import": [str]},
}


def read_model_files(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """plans.json and dataset.json of a model's folder.

    Raises:
        InputError: Unreadable, or of another form than nnU-Net's.
    """
    plans = read_form(folder / "plans.json", _PLANS, advice=ADVICE)
    forward, backward = plans["transpose_forward"], plans["transpose_backward"]
    if sorted(forward) != [0, 1, 2] or backward != [forward.index(axis) for axis in range(3)]:
        raise InputError(f"{folder / 'plans.json'}: turns axes by {forward} and back by {backward}; {ADVICE}")
    return plans, read_form(folder / "dataset.json", DATASET_FORM, advice=ADVICE)


def resolved_configuration(plans: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    """A configuration of plans, with what it inherits from others.

    Args:
        plans: From `read_model_files`.
        name: The configuration's.
        path: The plans file, for messages.

    Raises:
        InputError: None of that name, or as `check_configuration`.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    with guarded(path, ADVICE):
        resolved: dict[str, Any] = PlansManager(plans).get_configuration(name).configuration
    check_configuration(resolved, path)
    return resolved


def check_network(architecture: Any, path: Path) -> None:
    """Refuse a network that nnU-Net would import from somewhere else, or with arguments from there.

    Args:
        architecture: The entry of that name in a configuration of plans.
        path: The plans file, for messages.

    Raises:
        InputError: None of `NETWORKS`, or an argument to be imported that is no layer of torch.
    """
    if not isinstance(architecture, dict) or architecture.get("network_class_name") not in NETWORKS:
        name = architecture.get("network_class_name") if isinstance(architecture, dict) else architecture
        raise InputError(f"{path}: names the network {name!r}, which is none of the known ones; refused")
    kwargs, imported = architecture.get("arch_kwargs"), architecture.get("_kw_requires_import")
    if not isinstance(kwargs, dict) or not isinstance(imported, list):
        raise InputError(f"{path}: the network has no arguments; {ADVICE}")
    for key in imported:
        value = kwargs.get(key) if isinstance(key, str) else key
        if value is not None and not (isinstance(value, str) and re.fullmatch(_LAYER, value)):
            raise InputError(f"{path}: would import {value!r} for '{key}', which is no layer of torch.nn; refused")


def check_configuration(resolved: dict[str, Any], path: Path) -> None:
    """Refuse a configuration of another form, of a foreign network, or with a patch or grid that asks for all memory.

    Args:
        resolved: With what it inherits from others.
        path: The plans file, for messages.

    Raises:
        InputError: Naming the entry.
    """
    check_form(resolved, _CONFIGURATION, path, advice=ADVICE)
    check_network(resolved["architecture"], path)
    patch, spacing_mm = resolved["patch_size"], resolved["spacing"]
    if not all(0 < n <= LARGEST_PATCH for n in patch) or prod(patch) > LARGEST_PATCH_VOXELS or not 2 <= len(patch) <= 3:
        raise InputError(f"{path}: the patch size {str(patch)[:80]} cannot be; {ADVICE}")
    if not 2 <= len(spacing_mm) <= 3 or not all(SMALLEST_SPACING_MM <= mm <= LARGEST_SPACING_MM for mm in spacing_mm):
        raise InputError(f"{path}: the spacing {str(spacing_mm)[:80]} cannot be; {ADVICE}")
