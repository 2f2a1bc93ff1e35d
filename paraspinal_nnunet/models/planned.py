"""Plans and dataset.json of models from elsewhere, judged before nnU-Net, which trusts them, builds anything."""

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


def check_configuration(resolved: dict[str, Any], path: Path) -> None:
    """Refuse a configuration, whole, of another form, or with a patch or grid that would ask for all memory.

    Raises:
        InputError: Naming the entry.
    """
    check_form(resolved, _CONFIGURATION, path, advice=ADVICE)
    patch, spacing_mm = resolved["patch_size"], resolved["spacing"]
    if not all(0 < n <= LARGEST_PATCH for n in patch) or prod(patch) > LARGEST_PATCH_VOXELS or not 2 <= len(patch) <= 3:
        raise InputError(f"{path}: the patch size {str(patch)[:80]} cannot be; {ADVICE}")
    if not 2 <= len(spacing_mm) <= 3 or not all(SMALLEST_SPACING_MM <= mm <= LARGEST_SPACING_MM for mm in spacing_mm):
        raise InputError(f"{path}: the spacing {str(spacing_mm)[:80]} cannot be; {ADVICE}")
