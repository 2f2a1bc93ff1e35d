"""Exported models in use: nothing of them is read before archive, manifest, hashes and plans have been checked."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from typing import Any

from paraspinal_nnunet.errors import InputError, reason_of
from paraspinal_nnunet.models.manifest import (
    FILE_NAME,
    Manifest,
    check_files,
    read_manifest,
)
from paraspinal_nnunet.models.planned import check_network, read_model_files, resolved_configuration
from paraspinal_nnunet.nnunet.compat import check_nnunet
from paraspinal_nnunet.utils.files import atomic_folder, read_bytes, refuse_overwriting_inputs
from paraspinal_nnunet.utils.workplace import sweep, workplace
from paraspinal_nnunet.utils.zip import extract_zip

CHECKPOINT = "checkpoint_final.pth"
TRAINER = "nnUNetTrainer"

MASK_ENDING = ".nii.gz"


def is_exported(model: Path) -> bool:
    """Whether a path is an exported model, to be checked, rather than nnU-Net's own folder."""
    return model.is_file() or (model / FILE_NAME).exists()


@contextmanager
def opened_model(model: Path) -> Iterator[tuple[Path, Manifest]]:
    """Yield folder and manifest of a checked model; an archive is unpacked for as long as the block lasts.

    Args:
        model: An exported folder or archive.

    Raises:
        InputError: Anything about it that is not as its manifest says, or that nnU-Net would run code for.
    """
    if not model.exists():
        raise InputError(f"{model}: no such model")
    if model.is_dir():
        yield model, checked_manifest(model, exact=False)
        return
    with workplace() as place:
        folder = place / model.name
        folder.mkdir()
        extract_zip(model, folder)
        yield folder, checked_manifest(folder, exact=True)


def checked_manifest(folder: Path, *, exact: bool) -> Manifest:
    """The manifest of a model whose files have been compared with it, and whose plans name nothing foreign.

    Args:
        folder: The model's.
        exact: Refuse files that the manifest does not name, too.

    Raises:
        InputError: As `opened_model`.
    """
    manifest = read_manifest(folder)
    if manifest.format != "nnunet":
        raise InputError(f"{folder}: a model of format '{manifest.format}'; only 'nnunet' can be predicted with")
    check_files(folder, manifest, exact=exact)
    named = {entry.path for entry in manifest.files}
    needed = ["plans.json", "dataset.json", *(f"fold_{fold}/{CHECKPOINT}" for fold in manifest.folds)]
    missing = [name for name in needed if name not in named]
    if missing:
        raise InputError(f"{folder / FILE_NAME}: does not name {missing[0]}; get the model again")
    _check_plans(folder / "plans.json", manifest)
    _check_dataset(folder / "dataset.json", manifest)
    return manifest


def import_model(model: Path, results: Path, *, overwrite: bool = False) -> Path:
    """Check an exported model and copy it to where nnU-Net's commands look for it.

    Args:
        model: An exported folder or archive.
        results: nnUNet_results.
        overwrite: Replace a model of the same name.

    Returns:
        The model's folder, ``<results>/<data set>/nnUNetTrainer__<plans>__<configuration>``.

    Raises:
        InputError: As `opened_model`; or a checkpoint that holds more than weights; or a model of that name is there.
        SetupError: nnU-Net is missing.
    """
    check_nnunet()
    with opened_model(model) as (folder, manifest):
        _load(folder, manifest, manifest.folds)  # what could not be predicted with is not installed either
        target = results / manifest.dataset_name / model_folder_name(manifest)
        sweep(target.parent)
        refuse_overwriting_inputs([model], [], replaced=[target])
        if target.exists() and not overwrite:
            raise InputError(f"{target}: is there already; --overwrite replaces it")
        with atomic_folder(target, overwrite=overwrite) as copy:
            for name in [FILE_NAME, *(entry.path for entry in manifest.files)]:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                copyfile(folder / name, copy / name)
            check_files(copy, manifest, exact=True)
    return target


def model_folder_name(manifest: Manifest) -> str:
    """nnU-Net's name of the model's folder."""
    return f"{TRAINER}__{manifest.plans_name}__{manifest.configuration}"


def initialize_predictor(predictor: Any, folder: Path, manifest: Manifest, folds: Sequence[str] | None) -> None:
    """Hand a checked model to nnU-Net's predictor, which then reads no file of it itself.

    Args:
        predictor: An `nnUNetPredictor`.
        folder: The model's, checked.
        manifest: Its manifest.
        folds: Folds to average; all when None.

    Raises:
        InputError: A fold that the model does not hold, or a checkpoint that is not what the manifest describes.
    """
    chosen = [str(f).removeprefix("fold_") for f in folds] if folds else list(manifest.folds)
    unknown = [fold for fold in chosen if fold not in manifest.folds]
    if unknown:
        raise InputError(f"{folder}: holds no fold {unknown[0]}, only {', '.join(manifest.folds)}")
    network, plans, weights, dataset_json = _load(folder, manifest, chosen)
    configuration = plans.get_configuration(manifest.configuration)
    predictor.manual_initialization(
        network, plans, configuration, weights, dataset_json, TRAINER, manifest.mirroring_axes
    )


def _load(folder: Path, manifest: Manifest, folds: Sequence[str]) -> tuple[Any, Any, list[Any], dict[str, Any]]:
    """Network, nnU-Net's manager of the plans, weights of the folds, and dataset.json of a checked model."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from paraspinal_nnunet.models.checkpoints import read_slim
    from paraspinal_nnunet.nnunet.plans_network import build_from_plans

    configuration, axes = manifest.configuration, manifest.mirroring_axes
    weights = [read_slim(folder / f"fold_{fold}" / CHECKPOINT, configuration, axes) for fold in folds]
    plans, dataset_json = read_model_files(folder)
    resolved_configuration(plans, configuration, folder / "plans.json")
    try:
        manager = PlansManager(plans)
        network = build_from_plans(nnUNetTrainer, plans, configuration, dataset_json)
    except Exception as error:  # plans from a stranger, which nnU-Net trusts
        raise InputError(f"{folder}: no network can be built from its plans ({reason_of(error)[:200]})") from error
    try:
        for state in weights:
            network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{folder}: weights do not fit the network ({str(error).splitlines()[0]})") from None
    return network, manager, weights, dataset_json


def _check_plans(path: Path, manifest: Manifest) -> None:
    plans = _read_object(path)
    said = (plans.get("dataset_name"), plans.get("plans_name"))
    if said != (manifest.dataset_name, manifest.plans_name):
        raise InputError(f"{path}: are not the plans that the manifest describes; get the model again")
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict) or list(configurations) != [manifest.configuration]:
        raise InputError(f"{path}: holds other configurations than {manifest.configuration}; get the model again")
    configuration = configurations[manifest.configuration]
    if not isinstance(configuration, dict) or "inherits_from" in configuration:
        raise InputError(f"{path}: configuration {manifest.configuration} is not whole; get the model again")
    check_network(configuration.get("architecture"), path)


def _check_dataset(path: Path, manifest: Manifest) -> None:
    content = _read_object(path)
    labels = content.get("labels")
    described = {label["key"]: label["value"] for label in manifest.labels}
    if not isinstance(labels, dict) or any(labels.get(key) != value for key, value in described.items()):
        raise InputError(f"{path}: has other labels than the manifest; get the model again")
    check_ending(path.parent, content)


def check_ending(model: Path, dataset_json: Mapping[str, Any]) -> None:
    """Refuse a model that was trained on files of another kind.

    Raises:
        InputError: It was.
    """
    ending = dataset_json.get("file_ending")
    if ending != MASK_ENDING:
        raise InputError(f"{model}: this model writes {ending} files; only {MASK_ENDING} is supported")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid JSON ({error}); get the model again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not an object; get the model again")
    return content
