"""nnU-Net's training from Python, with our trainers found and independent of torchvision."""

import multiprocessing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.errors import DatasetError, SetupError
from paraspinal_nnunet.nnunet.compat import register_trainers
from paraspinal_nnunet.nnunet.datasets import find_dataset, nnunet_folder
from paraspinal_nnunet.protocol.plans import DEFAULT_NAME

if TYPE_CHECKING:
    import torch


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
    pretrained: str | None = None


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
        DatasetError: No such data set or plans.
    """
    folder = model_folder(request)
    dataset = find_dataset(request.dataset).name
    plans = nnunet_folder("preprocessed") / dataset / f"{request.plans_name}.json"
    if not plans.is_file():
        raise DatasetError(f"{plans} is missing; run: paraspinal plan -d {request.dataset} -p {request.plans_name}")
    register_trainers()

    if request.pretrained and (request.resume or request.only_validate or request.gpus > 1):
        raise SetupError("pretrained weights are for the start of a training on one device; leave the other flag out")
    if request.gpus > 1:
        _train_on_several_gpus(request, dataset)
    else:
        _train_here(request, dataset)
    return folder


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
    maybe_load_checkpoint(trainer, resume, request.only_validate)
    if request.pretrained:
        from paraspinal_nnunet.training.pretrained import load_pretrained

        trainer.initialize()
        load_pretrained(trainer.network, request.pretrained, trainer.dataset_json["labels"])
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True  # ours turn both round again
    if not request.only_validate:
        trainer.run_training()
        record_training(trainer)
    if request.validate:
        trainer.perform_actual_validation(request.keep_probabilities)


def torch_device(name: str | None) -> "torch.device":
    """A device by name; the GPU where there is one when None.

    The process is set up for it: threads as nnU-Net's commands set them, and memory that stays for the next step.
    """
    import torch

    from paraspinal_nnunet.utils.memory import keep_freed_memory

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        keep_freed_memory()
    torch.set_num_threads(multiprocessing.cpu_count() if name == "cpu" else 1)
    return torch.device(name)
