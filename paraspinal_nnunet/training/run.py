"""nnU-Net's training from Python, with our trainers found and independent of torchvision."""

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import DatasetError, SetupError
from paraspinal_nnunet.models.planned import check_network
from paraspinal_nnunet.models.shipped import DEFAULT_NAME as DEFAULT_MODEL
from paraspinal_nnunet.nnunet.compat import find_trainer, register_trainers, torch_device
from paraspinal_nnunet.nnunet.datasets import find_dataset, nnunet_folder, read_dataset_json
from paraspinal_nnunet.nnunet.pools import one_worker_here
from paraspinal_nnunet.protocol.plans import DEFAULT_NAME
from paraspinal_nnunet.utils.files import read_json

FINAL = "checkpoint_final.pth"
"""nnU-Net's name of the last weights."""

ACCEPT_VARIABLE = "PARASPINAL_ACCEPT_CHANGES"
"""Set to 1 it lets a training go on under changed settings, also in nnU-Net's own command; both stand in the record."""


@dataclass(frozen=True)
class TrainingRequest:
    """What to train; the names are those of nnUNetv2_train."""

    dataset: str | int
    configuration: str
    fold: str | int
    trainer: str = "nnUNetTrainerParaspinal"
    plans_name: str = DEFAULT_NAME
    device: str | None = None
    gpus: int = 1
    resume: bool = False
    only_validate: bool = False
    keep_probabilities: bool = False
    validate: bool = True
    accept_changes: bool = False
    pretrained: Path | None = None


def model_folder(request: TrainingRequest) -> Path:
    """nnU-Net's folder of the trained model, all folds."""
    dataset = find_dataset(request.dataset).name
    return nnunet_folder("results") / dataset / f"{request.trainer}__{request.plans_name}__{request.configuration}"


def train(request: TrainingRequest) -> Path:
    """Train one fold and predict its test cases; training.json in the fold's folder tells what the training took.

    Returns:
        The model folder.

    Raises:
        SetupError: nnU-Net or its folders are missing.
        DatasetError: No such data set, plans, configuration or fold, or no final weights to validate.
        InputError: Plans or checkpoints that nnU-Net would run code for.
        SetupError: No such device or trainer.
    """
    folder = model_folder(request)
    dataset = find_dataset(request.dataset).name
    _check_plans(request, nnunet_folder("preprocessed") / dataset)
    _check_fold(request, folder)
    _check_device(request)
    register_trainers()
    if not find_trainer(request.trainer).__module__.startswith("paraspinal_nnunet."):
        _check_checkpoints(request, folder / f"fold_{request.fold}")
    if request.accept_changes:
        os.environ[ACCEPT_VARIABLE] = "1"  # read by the trainer, which may be in a process per GPU

    if request.gpus > 1:
        _train_on_several_gpus(request, dataset)
    else:
        _train_here(request, dataset)
    return folder


def _check_plans(request: TrainingRequest, preprocessed: Path) -> None:
    path = preprocessed / f"{request.plans_name}.json"
    if not path.is_file():
        raise DatasetError(f"{path} is missing; run: paraspinal plan -d {request.dataset} -p {request.plans_name}")
    configurations = read_json(path).get("configurations", {})
    if request.configuration not in configurations:
        raise DatasetError(
            f"{path}: has no configuration '{request.configuration}', only {', '.join(configurations) or 'none'}; run "
            "'paraspinal plan' with -c"
        )
    for configuration in configurations.values():
        if isinstance(configuration, dict) and "architecture" in configuration:
            check_network(configuration["architecture"], path)
    read_dataset_json(preprocessed)


def _check_checkpoints(request: TrainingRequest, fold: Path) -> None:
    """Refuse checkpoints that would run code; nnU-Net's trainers unpickle what they go on from, ours do not."""
    from paraspinal_nnunet.models.checkpoints import read_trained

    loaded = fold.glob("checkpoint_*.pth") if request.resume or request.only_validate else ()
    for path in (*loaded, *filter(None, [request.pretrained])):
        if path != Path(DEFAULT_MODEL):
            read_trained(path)


def _check_fold(request: TrainingRequest, folder: Path) -> None:
    if request.fold != "all" and not str(request.fold).isdecimal():
        raise DatasetError(f"-f {request.fold}: is no fold; give a number or 'all'")
    final = folder / f"fold_{request.fold}" / FINAL
    if request.only_validate and not final.is_file():
        raise DatasetError(f"{final} is missing; train fold {request.fold} to its end before --val")
    if request.pretrained is not None and (request.resume or request.only_validate):
        raise DatasetError("-pretrained_weights begin a training; leave out --resume and --val")
    if request.pretrained not in (None, Path(DEFAULT_MODEL)) and not request.pretrained.is_file():
        raise DatasetError(f"{request.pretrained}: no such checkpoint for -pretrained_weights")


def _check_device(request: TrainingRequest) -> None:
    """Refuse devices that torch does not find, and several GPUs on none."""
    import torch

    cuda = torch.cuda.is_available()
    if request.device == "cuda" and not cuda:
        raise SetupError(
            f"-device cuda: torch {torch.__version__} finds no CUDA device; check the driver and the build, or give "
            "-device cpu"
        )
    if request.device == "mps" and not torch.backends.mps.is_available():
        raise SetupError("-device mps: torch finds no Apple GPU; give -device cpu")
    if request.gpus < 1:
        raise SetupError(f"-num_gpus {request.gpus}: give at least 1 (with -device cpu it is not used)")
    if request.gpus > 1 and (request.device not in (None, "cuda") or not cuda):
        raise SetupError(f"-num_gpus {request.gpus}: several processes train on CUDA devices only; leave it out")
    if request.gpus > 1 and request.gpus > torch.cuda.device_count():
        raise SetupError(f"-num_gpus {request.gpus}: this machine has {torch.cuda.device_count()}")


def _train_on_several_gpus(request: TrainingRequest, dataset: str) -> None:
    """nnU-Net's own command, which starts a process per GPU."""
    from nnunetv2.run.run_training import run_training

    if not request.validate:
        raise SetupError("--no-val works on one GPU only; leave it out, or give -num_gpus 1")
    run_training(
        dataset,
        request.configuration,
        str(request.fold),
        request.trainer,
        request.plans_name,
        None if request.pretrained is None else str(request.pretrained),
        num_gpus=request.gpus,
        export_validation_probabilities=request.keep_probabilities,
        continue_training=request.resume,
        only_run_validation=request.only_validate,
        device=torch_device(request.device),
    )


def _train_here(request: TrainingRequest, dataset: str) -> None:
    """What nnU-Net's `run_training` does on one device, with the trainer in hand to record what it took."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    from paraspinal_nnunet.training.record import record_training

    resume = request.resume and not request.only_validate
    fold: Any = request.fold if request.fold == "all" else int(request.fold)
    device = torch_device(request.device)
    trainer = get_trainer_from_args(
        dataset, request.configuration, fold, request.trainer, request.plans_name, resume, device=device
    )
    pretrained = None if request.pretrained is None else str(request.pretrained)
    maybe_load_checkpoint(trainer, resume, request.only_validate, pretrained)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True  # ours turn both round again
    if not request.only_validate:
        trainer.run_training()
        record_training(trainer)
    if request.validate:
        with one_worker_here() if device.type == "cpu" else nullcontext():  # a GPU would wait for a thread
            trainer.perform_actual_validation(request.keep_probabilities)
