"""Exported models for nnU-Net, whose own commands predict with them without trainer look-up or environment variable."""

from contextlib import redirect_stdout
from copy import deepcopy
from io import StringIO
from math import prod
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.masks.boxes import ENTRY as BOX
from paraspinal_nnunet.models.checkpoints import write_slim
from paraspinal_nnunet.models.exported import CHECKPOINT
from paraspinal_nnunet.models.trained import TrainedModel
from paraspinal_nnunet.network import planes_of, plans_architecture
from paraspinal_nnunet.nnunet.compat import register_trainers
from paraspinal_nnunet.nnunet.plans_network import build_from_plans
from paraspinal_nnunet.protocol.plans import resolve
from paraspinal_nnunet.utils.files import write_json

DATASET_KEYS = ("channel_names", "labels", "numTraining", "file_ending", "overwrite_image_reader_writer", BOX)
"""What travels of dataset.json; the rest says where the cases came from."""

PLANS_KEYS = (
    "dataset_name",
    "original_median_spacing_after_transp",
    "original_median_shape_after_transp",
    "image_reader_writer",
    "transpose_forward",
    "transpose_backward",
    "experiment_planner_used",
    "label_manager",
    "foreground_intensity_properties_per_channel",
)
CONFIGURATION_KEYS = (
    "data_identifier",
    "preprocessor_name",
    "batch_size",
    "patch_size",
    "median_image_size_in_voxels",
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_seg",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg_kwargs",
    "resampling_fn_probabilities",
    "resampling_fn_probabilities_kwargs",
    "architecture",
    "batch_dice",
)


def export_files(model: TrainedModel, plans_name: str, folder: Path) -> None:
    """Write plans.json, dataset.json and one slim checkpoint per fold.

    nnU-Net keeps no names of cases in what is written, and needs no dataset_fingerprint.json to predict.

    Raises:
        InputError: The network that the plans describe is not the one that was trained.
    """
    plans = slim_plans(model, plans_name)
    dataset_json = {key: model.dataset_json[key] for key in DATASET_KEYS if key in model.dataset_json}
    check_same_network(model, plans)
    write_json(folder / "plans.json", plans)
    write_json(folder / "dataset.json", dataset_json)
    for fold, weights in tqdm(model.weights.items(), desc="exporting", unit="fold"):
        write_slim(folder / f"fold_{fold}" / CHECKPOINT, weights, model.configuration, model.mirroring_axes)


def slim_plans(model: TrainedModel, plans_name: str) -> dict[str, Any]:
    """Plans of the one configuration, in which the network stands as the trainer built it."""
    configuration = model.resolved_configuration()
    slim = {key: deepcopy(configuration[key]) for key in CONFIGURATION_KEYS if key in configuration}
    slim["architecture"] = trained_architecture(model, configuration["architecture"])
    plans = {key: model.plans[key] for key in PLANS_KEYS if key in model.plans}
    return {**plans, "plans_name": plans_name, "configurations": {model.configuration: slim}}


def trained_architecture(model: TrainedModel, planned: dict[str, Any]) -> dict[str, Any]:
    """The `architecture` entry that rebuilds the trained network without its trainer.

    Args:
        model: The model.
        planned: The entry in its plans, which our trainers depart from where their name says so.
    """
    from paraspinal_nnunet.trainers.base import ParaspinalTrainer

    trainer = trainer_class(model)
    if not issubclass(trainer, ParaspinalTrainer):
        return deepcopy(planned)
    protocol = resolve(trainer.settings, model.plans)
    kwargs = planned["arch_kwargs"]
    planes = planes_of(planned["network_class_name"])
    architecture = plans_architecture(protocol.network, kwargs["spatial_dims"], kwargs["slices"], planes)
    architecture["arch_kwargs"]["precision"] = protocol.training.precision
    return architecture


def size_multiple(model: TrainedModel) -> list[int]:
    """Per axis of the patch, what sizes must be a multiple of for the network to come back to them."""
    configuration = model.resolved_configuration()
    strides = trained_architecture(model, configuration["architecture"])["arch_kwargs"]["strides"]
    axes = len(configuration["patch_size"])
    per_level = [[step] * axes if isinstance(step, int) else list(step) for step in strides]
    if model.configuration == "2.5d":
        per_level = [[1, *steps[1:]] for steps in per_level]
    return [prod(steps) for steps in zip(*per_level, strict=True)]


def check_same_network(model: TrainedModel, plans: dict[str, Any]) -> None:
    """Let the trainer's network and the exported one segment a patch of noise with the first fold's weights.

    Raises:
        InputError: The outputs differ in any bit, or the weights do not fit.
    """
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    weights = next(iter(model.weights.values()))
    patch = plans["configurations"][model.configuration]["patch_size"]
    noise = torch.randn(1, len(model.dataset_json["channel_names"]), *patch, generator=torch.Generator().manual_seed(0))
    outputs = []
    for trainer, described in ((trainer_class(model), model.plans), (nnUNetTrainer, plans)):
        network = build_from_plans(trainer, described, model.configuration, model.dataset_json)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise InputError(f"{model.folder}: weights do not fit the network ({str(error).splitlines()[0]})") from None
        with torch.inference_mode():
            outputs.append(network.eval()(noise))
    if not torch.equal(*outputs):
        raise InputError(f"{model.folder}: {model.trainer} builds another network than its plans say; not exported")


def trainer_class(model: TrainedModel) -> Any:
    """The class of the trainer that made a model, as nnU-Net's look-up finds it.

    Raises:
        InputError: It is not installed.
    """
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    register_trainers()
    with redirect_stdout(StringIO()):
        found = recursive_find_trainer_class_by_name(model.trainer)
    if found is None:
        raise InputError(f"{model.folder}: trainer {model.trainer} is not installed; nnUNet_extTrainer may name it")
    return found
