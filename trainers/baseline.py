"""nnU-Net's own trainer, for comparison: length and rate can be set in the plans, folds must exist; all else is its."""

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import nnUNetTrainerNoMirroring

from paraspinal_nnunet.protocol.paper import PAPER, SECTION_OF_CONFIGURATION
from paraspinal_nnunet.protocol.plans import BASELINE_ENTRY
from paraspinal_nnunet.protocol.table import Row, comparison, format_table
from paraspinal_nnunet.trainers.checkpoints import WholeCheckpoints
from paraspinal_nnunet.trainers.checks import check_fold
from paraspinal_nnunet.trainers.resume import text_digest

SAVE_EVERY = 5
"""Epochs between checkpoints; nnU-Net's 50 would lose hours of an interrupted training."""

LEARNING_RATE = 1e-2
"""Source: nnU-Net 2.8, `nnUNetTrainer.__init__`."""

GRADIENT_CLIPPING = 12.0
"""Source: nnU-Net 2.8, `nnUNetTrainer.train_step`."""


class _PlannedLength(WholeCheckpoints):
    """Takes length and learning rate from the plans; without, nnU-Net's 1000 epochs of 250 iterations and 0.01 stay."""

    def __init__(
        self,
        plans: dict,  # nnU-Net reads the names of these arguments
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        check_fold(fold, plans["dataset_name"], None, type(self).__name__)
        self.resuming = bool(plans.setdefault("continue_training", False))
        super().__init__(plans, configuration, fold, dataset_json, device)
        planned: dict[str, Any] = plans.get(BASELINE_ENTRY, {})
        per_epoch = planned.get("iterations_per_epoch", self.num_iterations_per_epoch)
        self.threads: int | None = planned.get("threads")
        self.initial_lr: float = planned.get("learning_rate", LEARNING_RATE)
        self.save_every = SAVE_EVERY
        self.set_length(
            iterations=planned.get("iterations", self.num_epochs * per_epoch),
            per_epoch=per_epoch,
            val_iterations=planned.get("val_iterations", self.num_val_iterations_per_epoch),
        )

    def training_identity(self) -> dict[str, Any]:
        """nnU-Net's own settings, and the data."""
        own = {
            "plans' configuration": text_digest(self.configuration_manager.configuration),
            "learning_rate": self.initial_lr,
            "weight_decay": self.weight_decay,
            "schedule": "polynomial",
        }
        return {**super().training_identity(), **own}

    def on_train_start(self) -> None:
        """nnU-Net's hook."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        super().on_train_start()
        title = f"{type(self).__name__}, {self.configuration_name}, fold {self.fold}: nnU-Net's own protocol"
        self.print_to_log_file(f"\n{title}\n{format_table(baseline_rows(self))}\n", add_timestamp=False)


class nnUNetTrainerBaseline(_PlannedLength, nnUNetTrainer):
    """nnU-Net's default trainer; its mirroring confuses left and right in training and prediction."""


class nnUNetTrainerBaselineNoMirroring(_PlannedLength, nnUNetTrainerNoMirroring):
    """nnU-Net's default trainer without mirroring, in training or at test time."""


def baseline_rows(trainer: _PlannedLength) -> list[Row]:
    """Every protocol number with nnU-Net's value in force and the paper's beside it.

    Args:
        trainer: A baseline before its training; its length is read from it.
    """
    name = trainer.configuration_name
    rows = comparison(PAPER, name if name in SECTION_OF_CONFIGURATION else "3d_fullres")
    in_force = _values(trainer)
    return [Row(row.key, in_force.get(row.key, row.value), row.paper, row.source) for row in rows]


def _values(trainer: _PlannedLength) -> dict[str, Any]:
    numbers = trainer.configuration_manager
    resampling = numbers.configuration["resampling_fn_data_kwargs"]
    network = numbers.network_arch_init_kwargs
    return {
        "spacing": tuple(round(float(mm), 4) for mm in numbers.spacing),
        "normalization": ", ".join(numbers.normalization_schemes),
        "interpolation_order": resampling["order"],
        "interpolation_order_z": resampling["order_z"],
        "channels": tuple(network["features_per_stage"]),
        "strides": tuple(max(stride) for stride in network["strides"][1:]),
        "num_res_units": network.get("n_blocks_per_stage", 0),
        "kernel_size": max(max(kernel) for kernel in network["kernel_sizes"]),
        "patch_size": tuple(numbers.patch_size),
        "batch_size": numbers.batch_size,
        "crops_per_case": 1,
        "loss": "Dice without background + ce, deep supervision",
        "optimizer": "sgd",
        "schedule": "polynomial",
        "learning_rate": trainer.initial_lr,
        "weight_decay": trainer.weight_decay,
        "iterations": trainer.iterations,
        "foreground_ratio": trainer.oversample_foreground_percent,
        "augmentation": "nnunet",
        "seed": "none",
        "precision": "amp" if trainer.device.type == "cuda" else "fp32",
        "gradient_clipping": GRADIENT_CLIPPING,
        "iterations_per_epoch": trainer.iterations_per_epoch,
        "val_iterations": trainer.num_val_iterations_per_epoch,
        "threads": trainer.threads,
        "mirroring": bool(trainer.inference_allowed_mirroring_axes),
    }
