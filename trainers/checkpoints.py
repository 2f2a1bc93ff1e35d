"""Checkpoints that are whole or not there, and tell how far a training was, under which settings and on which data."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from paraspinal_nnunet.errors import InputError, ParaspinalError, TrainingRefusedError, reason_of
from paraspinal_nnunet.models.checkpoints import read_trained
from paraspinal_nnunet.trainers.length import ExactLength
from paraspinal_nnunet.trainers.resume import ITERATIONS, as_json, check_resume, training_data
from paraspinal_nnunet.training.run import FINAL
from paraspinal_nnunet.training.sampling import INDEPENDENT, PASSES
from paraspinal_nnunet.utils.files import atomic_path

PROGRESS = "paraspinal_progress"
"""Key in the checkpoint beside nnU-Net's own: optimiser steps taken, the state of torch's generators, the rule by which
batches were drawn, settings and data, and what was changed on the way."""

LATEST, BEST = "checkpoint_latest.pth", "checkpoint_best.pth"


class WholeCheckpoints(ExactLength):
    """Mixin for an nnU-Net trainer of an exact length that can be resumed.

    Attributes:
        resuming: Whether the training is to go on from a checkpoint, and not only to predict with it.
        sampling_rule: How batches are drawn, see `sampling`.
        settings_changed: Accepted changes of settings or data, in their order.
        pretrained: Where the first weights came from; None where they are random.
    """

    resuming: bool = False
    sampling_rule: int = PASSES
    pretrained: dict[str, Any] | None = None

    def training_identity(self) -> dict[str, Any]:
        """Settings and data that a resumed training must share with the checkpoint; classes add their own."""
        train, val = self.do_split()
        data = training_data(
            Path(self.preprocessed_dataset_folder_base), Path(self.preprocessed_dataset_folder), train, val
        )
        own = {
            "trainer": type(self).__name__,
            "configuration": self.configuration_name,
            "fold": str(self.fold),
            ITERATIONS: self.iterations,
        }
        return as_json({**own, **data})

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return self.training_identity()

    @property
    def settings_changed(self) -> list[dict[str, Any]]:
        """Accepted changes on the way, in their order."""
        return self.__dict__.setdefault("_settings_changed", [])

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint beside its name and rename it, with the progress in it."""
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        with atomic_path(Path(filename)) as temporary:
            super().save_checkpoint(str(temporary))
            content = torch.load(temporary, map_location="cpu", weights_only=False)
            torch.save({**content, PROGRESS: self._progress()}, temporary)

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """nnU-Net's hook: where a training goes on, also refuses another one and puts its state back.

        Raises:
            TrainingRefusedError: Another training's checkpoint, or a damaged one.
        """
        try:
            self._load(filename_or_checkpoint)
        except (ParaspinalError, MemoryError):
            raise
        except Exception as error:  # a pickle that is damaged ends in whatever
            if not isinstance(filename_or_checkpoint, str):
                raise
            path = Path(filename_or_checkpoint)
            raise TrainingRefusedError(
                f"{type(self).__name__}: {path}: is damaged ({reason_of(error)[:200]}); {_way_on(path)}"
            ) from error

    def _load(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        content = filename_or_checkpoint
        if isinstance(content, str):
            path = Path(content)
            try:
                content = read_trained(path, advice=_way_on(path))  # nnU-Net itself would run what is in it
            except InputError as error:
                raise TrainingRefusedError(f"{type(self).__name__}: {error}") from error
        progress = content.get(PROGRESS) or {}
        steps = _steps(content, progress, self.iterations_per_epoch, self.iterations)
        if self.resuming:
            self._check(progress, steps)
        super().load_checkpoint(filename_or_checkpoint)
        self.pretrained = progress.get("pretrained")
        self.settings_changed[:] = [*progress.get("changes", []), *self.settings_changed]
        if self.resuming:
            self.sampling_rule = progress.get("sampling_rule", INDEPENDENT)
            self.go_on_after(steps)
            self._restore_generators(progress)
            for group in self.optimizer.param_groups:  # the checkpoint's are those from before accepted changes
                group["weight_decay"] = self.weight_decay

    def on_train_start(self) -> None:
        """nnU-Net's hook: final weights that are trained on are no longer final."""
        super().on_train_start()
        final = Path(self.output_folder) / FINAL
        if self.resuming and self.local_rank == 0 and self.steps_taken < self.iterations and final.is_file():
            os.replace(final, final.with_name(LATEST))

    def _check(self, progress: dict[str, Any], steps: int) -> None:
        name, now = type(self).__name__, self._identity
        before = progress.get("identity")
        self.print_to_log_file(f"{name}: goes on after {steps} of {self.iterations} iterations")
        if before is None:
            self.print_to_log_file(
                f"{name}: the checkpoint is of an earlier release and holds no settings to compare: whether they and "
                "the data are the same is not known; batches are drawn as that release did"
            )
            before = {}
        found = check_resume(before, now, steps=steps, trainer=name)
        if found:
            self.settings_changed.append({"after_iterations": steps, "settings": found})

    def _restore_generators(self, progress: dict[str, Any]) -> None:
        if "torch_generator" in progress:
            torch.set_rng_state(progress["torch_generator"].cpu())
        if self.device.type == "cuda" and progress.get("cuda_generator") is not None:
            torch.cuda.set_rng_state(progress["cuda_generator"].cpu(), self.device)

    def _progress(self) -> dict[str, Any]:
        cuda = self.device.type == "cuda"
        return {
            "steps": self.steps_taken,
            "counted": True,
            "sampling_rule": self.sampling_rule,
            "identity": self._identity,
            "changes": self.settings_changed,
            "pretrained": self.pretrained,
            "torch_generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state(self.device) if cuda else None,
        }


def _way_on(damaged: Path) -> str:
    """What to do about a damaged checkpoint: nnU-Net takes the next one in this order."""
    others = [name for name in (FINAL, LATEST, BEST) if name != damaged.name and (damaged.parent / name).is_file()]
    then = f"the training goes on from {others[0]}" if others else "the training begins anew"
    return f"move it away, then {then}"


def _steps(content: dict[str, Any], progress: dict[str, Any], per_epoch: int, iterations: int) -> int:
    """Optimiser steps that a checkpoint's weights took.

    Earlier releases wrote what the plans asked for; the optimiser's own count, where it keeps one, is the truth.
    """
    if progress.get("counted"):
        return int(progress["steps"])
    counts = [state["step"] for state in content["optimizer_state"]["state"].values() if "step" in state]
    if counts and content["grad_scaler_state"] is None:  # mixed precision leaves steps out
        return int(max(float(count) for count in counts))
    return int(progress.get("steps", min(content["current_epoch"] * per_epoch, iterations)))
