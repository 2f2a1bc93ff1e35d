"""nnU-Net's own trainer, for comparison: its length can be set in the plans, and folds must exist; all else is its."""

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import nnUNetTrainerNoMirroring

from paraspinal_nnunet.protocol.plans import BASELINE_ENTRY
from paraspinal_nnunet.protocol.table import format_table
from paraspinal_nnunet.trainers.baseline_table import baseline_rows
from paraspinal_nnunet.trainers.checkpoints import WholeCheckpoints
from paraspinal_nnunet.trainers.checks import check_fold
from paraspinal_nnunet.trainers.length import ExactLength

SAVE_EVERY = 5
"""Epochs between checkpoints; nnU-Net's 50 would lose hours of an interrupted training."""


class _PlannedLength(ExactLength, WholeCheckpoints):
    """Takes the length from the plans; without it, nnU-Net's 1000 epochs of 250 iterations stay."""

    def __init__(
        self,
        plans: dict,  # nnU-Net reads the names of these arguments
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        check_fold(fold, plans["dataset_name"], None, type(self).__name__)
        plans.setdefault("continue_training", False)
        super().__init__(plans, configuration, fold, dataset_json, device)
        planned: dict[str, Any] = plans.get(BASELINE_ENTRY, {})
        per_epoch = planned.get("iterations_per_epoch", self.num_iterations_per_epoch)
        self.threads: int | None = planned.get("threads")
        self.save_every = SAVE_EVERY
        self.set_length(
            iterations=planned.get("iterations", self.num_epochs * per_epoch),
            per_epoch=per_epoch,
            val_iterations=planned.get("val_iterations", self.num_val_iterations_per_epoch),
        )

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
