"""Trainings of the tiny data set: started, killed and resumed as nnU-Net does it."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import torch

from paraspinal_nnunet.protocol.plans import ENTRY
from paraspinal_nnunet.trainers import nnUNetTrainerParaspinal

CPU = torch.device("cpu")


def plans_of(dataset, **overrides):
    plans = json.loads(dataset.plans_file.read_text())
    plans[ENTRY]["overrides"] |= overrides
    return plans


def trainer_of(
    dataset, *, trainer=nnUNetTrainerParaspinal, configuration="2d", fold=0, plans=None, resume=False, **overrides
):
    plans = plans_of(dataset, **overrides) if plans is None else plans
    dataset_json = json.loads((dataset.preprocessed / "dataset.json").read_text())
    made = trainer({**plans, "continue_training": resume}, configuration, fold, dataset_json, CPU)
    made.logger.plot_progress_png = lambda folder: None
    return made


def count_steps(trainer):
    """Note the epoch of every optimiser step."""
    trainer.initialize()
    epochs, step = [], trainer.optimizer.step

    def counted(*args, **kwargs):
        epochs.append(trainer.current_epoch)
        return step(*args, **kwargs)

    trainer.optimizer.step = counted
    return epochs


def files(trainer):
    return {p.name: p for p in Path(trainer.output_folder).iterdir()}


def digest(checkpoint):
    weights = torch.load(checkpoint, weights_only=False)["network_weights"]
    return hashlib.sha256(b"".join(name.encode() + w.numpy().tobytes() for name, w in weights.items())).hexdigest()


class KilledError(Exception):
    pass


def train_until_killed(trainer, epoch):
    on_epoch_start = trainer.on_epoch_start

    def killed():
        if trainer.current_epoch == epoch:
            raise KilledError
        on_epoch_start()

    trainer.on_epoch_start = killed
    with suppress(KilledError):
        trainer.run_training()


def resume(trainer):
    from nnunetv2.run.run_training import maybe_load_checkpoint

    maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
