"""A trained model folder of nnU-Net's, read whole and checked for folds that do not belong together."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.models.checkpoints import check_trained, read_trained
from paraspinal_nnunet.models.exported import CHECKPOINT
from paraspinal_nnunet.models.nnunet_predictor import chosen_folds
from paraspinal_nnunet.models.planned import ADVICE, read_model_files, resolved_configuration
from paraspinal_nnunet.utils.forms import read_form


@dataclass(frozen=True)
class TrainedModel:
    """Some folds of one trained model.

    Attributes:
        folder: nnU-Net's model folder.
        plans: Its plans, configurations that inherit from others included as they are.
        dataset_json: Its dataset.json.
        trainer: The trainer's name.
        configuration: The configuration's name.
        mirroring_axes: Axes over which predictions may be averaged.
        weights: Fold -> network weights.
        settings: The protocol that the folds' protocol.json record beside the paper's; None for other models.
        versions: Of the packages that trained, where recorded.
    """

    folder: Path
    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    trainer: str
    configuration: str
    mirroring_axes: tuple[int, ...] | None
    weights: dict[str, dict[str, torch.Tensor]]
    settings: list[dict[str, Any]] | None
    versions: dict[str, Any] | None

    def resolved_configuration(self) -> dict[str, Any]:
        """The model's configuration in the plans, with what it inherits from others.

        Raises:
            InputError: The second stage of a cascade, which cannot predict alone.
        """
        resolved = resolved_configuration(self.plans, self.configuration, self.folder / "plans.json")
        if resolved.get("previous_stage"):
            raise InputError(f"{self.folder}: needs another configuration's predictions; cascades are not exported")
        return resolved


def read_trained_model(folder: Path, folds: Sequence[str] | None = None) -> TrainedModel:
    """Read a model folder.

    Args:
        folder: nnU-Net's folder ``<trainer>__<plans>__<configuration>``.
        folds: The folds; all trained ones when None.

    Raises:
        InputError: A file is missing, or the folds were trained under different plans or settings.
    """
    chosen = chosen_folds(folder, folds)
    plans, dataset_json = read_model_files(folder)
    checkpoints = {fold: read_trained(folder / f"fold_{fold}" / CHECKPOINT) for fold in chosen}
    first = checkpoints[chosen[0]]
    for fold, checkpoint in checkpoints.items():
        _check_fold(folder / f"fold_{fold}" / CHECKPOINT, checkpoint, first, plans)
    records = {fold: _record(folder / f"fold_{fold}") for fold in chosen}
    for fold, record in records.items():
        if (record or {}).get("settings") != (records[chosen[0]] or {}).get("settings"):
            raise InputError(f"{folder}: folds {chosen[0]} and {fold} were trained with different settings")
    record = records[chosen[0]]
    axes = first.get("inference_allowed_mirroring_axes")
    return TrainedModel(
        folder=folder,
        plans=plans,
        dataset_json=dataset_json,
        trainer=first["trainer_name"],
        configuration=first["init_args"]["configuration"],
        mirroring_axes=None if axes is None else tuple(int(axis) for axis in axes),
        weights={fold: checkpoint["network_weights"] for fold, checkpoint in checkpoints.items()},
        settings=record["settings"] if record else None,
        versions=record["versions"] if record else None,
    )


def _check_fold(path: Path, checkpoint: dict[str, Any], first: dict[str, Any], plans: dict[str, Any]) -> None:
    check_trained(checkpoint, path)
    own = (checkpoint["trainer_name"], checkpoint["init_args"]["configuration"])
    trained_under = checkpoint["init_args"].get("plans")
    if own != (first["trainer_name"], first["init_args"]["configuration"]):
        raise InputError(f"{path}: is of {' '.join(own)}, the other folds are not; move it away")
    if trained_under is not None and _normal(trained_under) != _normal(plans):
        raise InputError(
            f"{path}: was trained under other plans than those in {path.parents[1] / 'plans.json'}; train it again, or "
            "name the folds that belong to these plans with -f"
        )


def _normal(plans: dict[str, Any]) -> str:
    """Plans as text; a trainer adds 'continue_training' to its own copy."""
    return json.dumps({k: v for k, v in plans.items() if k != "continue_training"}, sort_keys=True, default=list)


def _record(fold_folder: Path) -> dict[str, Any] | None:
    path = fold_folder / "protocol.json"
    form = {"settings": [{"key": str}], "versions": dict}
    return read_form(path, form, advice=ADVICE) if path.is_file() else None
