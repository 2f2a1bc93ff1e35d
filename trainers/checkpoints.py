"""Checkpoints that are whole or not there, and tell how far a training was and how its generators stood."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from paraspinal_nnunet.utils.files import atomic_path

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as Trainer
else:
    Trainer = object

PROGRESS = "paraspinal_progress"
"""Key in the checkpoint beside nnU-Net's own: optimiser steps taken, and the state of torch's generators."""


class WholeCheckpoints(Trainer):
    """Mixin for an nnU-Net trainer of an exact length (see `length.ExactLength`)."""

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint beside its name and rename it, with the progress in it."""
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        with atomic_path(Path(filename)) as temporary:
            super().save_checkpoint(str(temporary))
            content = torch.load(temporary, map_location="cpu", weights_only=False)
            torch.save({**content, PROGRESS: self._progress(content["current_epoch"])}, temporary)

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """nnU-Net's hook: also puts torch's generators back as they were."""
        content = filename_or_checkpoint
        if isinstance(content, str):
            content = torch.load(content, map_location=self.device, weights_only=False)
        super().load_checkpoint(filename_or_checkpoint)
        progress = content.get(PROGRESS)
        if progress is not None:
            torch.set_rng_state(progress["torch_generator"].cpu())
            if self.device.type == "cuda" and progress["cuda_generator"] is not None:
                torch.cuda.set_rng_state(progress["cuda_generator"].cpu(), self.device)

    def _progress(self, epochs: int) -> dict[str, Any]:
        cuda = self.device.type == "cuda"
        return {
            "steps": min(epochs * self.iterations_per_epoch, self.iterations),
            "torch_generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state(self.device) if cuda else None,
        }
