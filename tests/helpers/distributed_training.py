"""One of several processes that train together over gloo, as `nnUNetv2_train -num_gpus` starts them over NCCL."""

from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

CPU = torch.device("cpu")


def train_share(rank, world_size, folder, trainer, plans, dataset_json):
    """Train from the first iteration to the last; write what this process saw and ended with to ``RANK.pt``.

    nnU-Net 2.8.1 takes a GPU per process for granted in two places: the trainer's device and `device_ids`.
    """
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunet

    torch.set_num_threads(1)
    rendezvous = f"file://{Path(folder) / 'rendezvous'}"
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=world_size)
    made = trainer({**plans, "continue_training": False}, "2d", 0, dataset_json, CPU)
    made.device = CPU
    made.logger.plot_progress_png = lambda folder: None
    seen = watch(made)
    with patch.object(nnunet, "DDP", lambda network, **_: DistributedDataParallel(network)):
        made.run_training()
    torch.save({**seen, **result(made, made.network.module)}, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


def watch(trainer):
    """Note the batches of every optimiser step, and which cases the device's cache read for training."""
    seen, step, reader = {"batches": [], "held": set()}, trainer.train_step, trainer._reader

    def train_step(batch):
        seen["batches"].append({k: batch[k] if k == "keys" else batch[k].clone() for k in ("keys", "data", "target")})
        return step(batch)

    def watched(stream, cases):
        made = reader(stream, cases)
        if stream == "train" and hasattr(made, "cache"):
            made.cache.hold = partial(held, made.cache.hold)
        return made

    def held(hold, cases):
        seen["held"] |= set(cases)
        hold(cases)

    trainer.train_step, trainer._reader = train_step, watched
    return seen


def result(trainer, network):
    """Weights, and what was logged of each epoch."""
    logged = {key: trainer.logger.get_value(key, step=None) for key in ("train_losses", "val_losses", "mean_fg_dice")}
    return {"weights": dict(network.state_dict()), "cache": trainer.cache_taken, **logged}
