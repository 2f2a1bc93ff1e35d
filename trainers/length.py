"""Trainings of an exact number of iterations, cut into nnU-Net's epochs and counted by the steps that were taken."""

from typing import TYPE_CHECKING, Any

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
    """Mixin for an nnU-Net trainer: stops after an exact number of iterations, over all interruptions."""

    iterations: int
    iterations_per_epoch: int
    steps_taken: int = 0
    """Optimiser steps in all epochs that are complete."""

    _resumed: tuple[int, int] = (0, 0)
    """Epochs and steps that the checkpoint had which this process went on from."""

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

    def go_on_after(self, steps: int) -> None:
        """Plan the epochs that are still to come, once the checkpoint's epoch is set.

        Args:
            steps: Optimiser steps that were taken.
        """
        self.steps_taken = steps
        self._resumed = self.current_epoch, steps
        self.num_epochs = self.current_epoch + epoch_count(self.iterations - steps, self.iterations_per_epoch)
        self.lr_scheduler.max_steps = self.num_epochs

    def on_epoch_start(self) -> None:
        """nnU-Net's hook: sets the length of the epoch that begins."""
        epochs, steps = self._resumed
        self.num_iterations_per_epoch = epoch_length(
            self.current_epoch - epochs, self.iterations - steps, self.iterations_per_epoch
        )
        super().on_epoch_start()

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """nnU-Net's hook: counts the steps that were taken."""
        super().on_train_epoch_end(train_outputs)
        self.steps_taken += len(train_outputs)
