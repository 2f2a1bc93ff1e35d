"""Trainings of an exact number of iterations, cut into nnU-Net's epochs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as Trainer
else:
    Trainer = object


def epoch_count(iterations: int, per_epoch: int) -> int:
    """Epochs that a training takes, the last of which may be shorter.

    >>> epoch_count(30_000, 250), epoch_count(400, 250)
    (120, 2)
    """
    return -(-iterations // per_epoch)


def epoch_length(epoch: int, iterations: int, per_epoch: int) -> int:
    """Iterations of one epoch.

    >>> [epoch_length(epoch, 400, 250) for epoch in range(2)]
    [250, 150]
    """
    return max(0, min(per_epoch, iterations - epoch * per_epoch))


class ExactLength(Trainer):
    """Mixin for an nnU-Net trainer: stops after an exact number of iterations."""

    iterations: int
    iterations_per_epoch: int

    def set_length(self, *, iterations: int, per_epoch: int, val_iterations: int) -> None:
        """Fix the training's length before it begins.

        Args:
            iterations: Optimiser steps in all.
            per_epoch: Steps per epoch; a last, shorter epoch makes the total exact.
            val_iterations: Validation batches per epoch.
        """
        self.iterations = iterations
        self.iterations_per_epoch = per_epoch
        self.num_epochs = epoch_count(iterations, per_epoch)
        self.num_iterations_per_epoch = per_epoch
        self.num_val_iterations_per_epoch = val_iterations

    @property
    def iterations_done(self) -> int:
        """Optimiser steps before the current epoch."""
        return min(self.current_epoch * self.iterations_per_epoch, self.iterations)

    def on_epoch_start(self) -> None:
        """nnU-Net's hook: sets the length of the epoch that begins."""
        self.num_iterations_per_epoch = epoch_length(self.current_epoch, self.iterations, self.iterations_per_epoch)
        super().on_epoch_start()
