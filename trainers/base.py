"""The one base of the paper's trainers: nnU-Net's life cycle with the protocol's network, batches and optimiser."""

import platform
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import distributed

from paraspinal_nnunet import __version__
from paraspinal_nnunet.network import build_in_planes, planes_of
from paraspinal_nnunet.nnunet.compat import installed
from paraspinal_nnunet.protocol.paper import PAPER, Protocol
from paraspinal_nnunet.protocol.plans import PlansEntry, resolve
from paraspinal_nnunet.protocol.table import Row, comparison, format_table
from paraspinal_nnunet.trainers import checks
from paraspinal_nnunet.trainers.batches import ScheduledBatches
from paraspinal_nnunet.trainers.checkpoints import WholeCheckpoints
from paraspinal_nnunet.trainers.pretrained import take_over_pretraining
from paraspinal_nnunet.trainers.resume import training_settings
from paraspinal_nnunet.training.compilation import SAMPLES, STEPS, Forward, compare, compiled
from paraspinal_nnunet.training.losses import LossFunction, build_loss
from paraspinal_nnunet.training.optimization import build_optimizer, build_schedule
from paraspinal_nnunet.training.sampling import PASSES
from paraspinal_nnunet.utils.files import write_json
from paraspinal_nnunet.utils.machine import keep_freed_memory

RECORDED_PACKAGES = ("nnunetv2", "torch", "monai", "numpy", "batchgenerators", "blosc2")


class ParaspinalTrainer(ScheduledBatches, WholeCheckpoints, nnUNetTrainer):
    """Trains one arm of the study; a leaf states its `settings` and nothing else.

    The fold's 'val' cases are the paper's test cases: they serve the curve and the final evaluation, and no weights are
    chosen by them. Batch k is the same whatever the number of workers and resumes.

    Args:
        plans: Plans of `paraspinal plan`.
        configuration: ``'2d'`` or ``'3d_fullres'``.
        fold: A fold of splits_final.json, or ``'all'``.
        dataset_json: nnU-Net's dataset.json.
        device: Where to train.

    Raises:
        TrainingRefusedError: Plans, configuration, fold or labels that the protocol cannot be run with.
    """

    settings: ClassVar[Protocol] = PAPER

    def __init__(
        self,
        plans: dict,  # nnU-Net reads the names of these arguments
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        name = type(self).__name__
        self.protocol = checks.protocol_in_force(self.settings, plans, configuration, name)
        checks.check_fold(fold, plans["dataset_name"], self.protocol.validation, name)
        checks.check_labels(dataset_json, self.protocol.bookkeeping.micro_batch_size, name)
        self.resuming = bool(plans.setdefault("continue_training", False))
        super().__init__(plans, configuration, fold, dataset_json, device)
        training, bookkeeping = self.protocol.training, self.protocol.bookkeeping
        self.set_length(
            iterations=training.iterations,
            per_epoch=bookkeeping.iterations_per_epoch,
            val_iterations=bookkeeping.val_iterations,
        )
        self.initial_lr = training.learning_rate
        self.weight_decay = training.weight_decay
        self.enable_deep_supervision = False
        self.inference_allowed_mirroring_axes = None
        if self.protocol.training.precision != "amp":
            self.grad_scaler = None  # nnU-Net makes one on CUDA, for its mixed precision
        self.save_every = 1
        self.compilation: dict[str, Any] = {"compiled": False}
        self._compiled: Forward | None = None

    def initialize(self) -> None:
        """nnU-Net's hook: seeds the weights, then builds network, optimiser and loss."""
        checks.check_preprocessed(Path(self.preprocessed_dataset_folder), type(self).__name__)
        torch.manual_seed(self.protocol.training.seed)
        super().initialize()
        take_over_pretraining(self)

    @classmethod
    def build_network_architecture(  # type: ignore[override]
        cls,
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> torch.nn.Module:
        """nnU-Net's hook, called for training and for prediction: the network of this arm under these plans."""
        protocol = resolve(cls.settings, plans_manager.plans)
        planned = configuration_manager.network_arch_init_kwargs
        return build_in_planes(
            planes_of(configuration_manager.network_arch_class_name),
            in_channels=num_input_channels,
            out_channels=num_output_channels,
            spatial_dims=planned["spatial_dims"],
            slices=planned["slices"],
            precision=protocol.training.precision,
            **asdict(protocol.network),
        )

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """nnU-Net's hook: the protocol's optimiser and schedule."""
        training = self.protocol.training
        optimizer = build_optimizer(self.network.parameters(), training)
        return optimizer, build_schedule(optimizer, training, self.num_epochs)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple:  # noqa: N802 - nnU-Net's name
        """nnU-Net's hook: no rotation, no mirroring in training or at test time."""
        self.inference_allowed_mirroring_axes = None
        return (0.0, 0.0), False, self.configuration_manager.patch_size, None

    def on_train_start(self) -> None:
        """nnU-Net's hook: fixes what would make two runs differ, and says which protocol is in force."""
        if self.protocol.bookkeeping.threads is not None:
            torch.set_num_threads(self.protocol.bookkeeping.threads)
        if self.device.type == "cpu":
            keep_freed_memory()
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = self.protocol.bookkeeping.tf32 == "on"
        super().on_train_start()
        self._compile()
        if self.local_rank == 0:
            title = f"{type(self).__name__}, {self.configuration_name}, fold {self.fold}"
            self.print_to_log_file(f"\n{title}\n{format_table(self.settings_table())}\n", add_timestamp=False)
            write_json(Path(self.output_folder) / "protocol.json", self.record())

    def run_training(self) -> None:
        """nnU-Net's hook: a GPU whose memory runs out is told with what to do.

        Raises:
            TrainingRefusedError: It did.
        """
        try:
            super().run_training()
        except torch.OutOfMemoryError as error:
            whole = range(self.protocol.sampling(self.configuration_name).batch_size)
            crops = self._micro_batches(len(whole[self._share()]))[0].stop
            raise checks.out_of_memory(type(self).__name__, self.device, crops, error) from error

    def training_identity(self) -> dict[str, Any]:
        """The protocol's numbers that bear on the weights, and the data."""
        return {**super().training_identity(), **training_settings(self.protocol, self.configuration_name)}

    def settings_table(self) -> list[Row]:
        """Every protocol number in force beside the paper's."""
        entry = PlansEntry.of(self.plans_manager.plans)
        return comparison(self.protocol, self.configuration_name, entry.adapted if entry else None)

    def record(self) -> dict[str, Any]:
        """The settings in force, the paper's beside them, and the versions and machine that ran them."""
        return {
            "trainer": type(self).__name__,
            "configuration": self.configuration_name,
            "fold": self.fold,
            "plans": self.plans_manager.plans_name,
            "settings": [{**asdict(row), "is_papers": row.is_papers} for row in self.settings_table()],
            "versions": {"paraspinal-nnunet": __version__, **{p: installed(p) for p in RECORDED_PACKAGES}},
            "python": platform.python_version(),
            "device": str(self.device),
            "device_name": torch.cuda.get_device_name() if self.device.type == "cuda" else platform.processor(),
            "threads": torch.get_num_threads(),
            "cache": self.cache_taken,
            "sampling_rule": "passes" if self.sampling_rule == PASSES else "each batch on its own (0.1.0)",
            "changed_on_the_way": self.settings_changed,
            "pretrained": self.pretrained,
            "compilation": self.compilation,
            "tf32_convolutions": self.device.type == "cuda" and torch.backends.cudnn.allow_tf32,
        }

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One optimiser step; mixed precision, micro-batches and clipped gradients only where the protocol says so."""
        data, target = self._to_device(batch)
        self.optimizer.zero_grad(set_to_none=True)
        parts = self._micro_batches(len(data))
        total = torch.zeros((), device=self.device)
        for number, part in enumerate(parts):
            with self._synchronised(number == len(parts) - 1):
                with self._autocast():
                    loss = self._forward(data[part], target[part]) * self._weight(part)
                self._backward(loss)
            total += loss.detach()
        self._step()
        return {"loss": total}  # fetched at the epoch's end: asking a GPU for it here would wait for the step

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """nnU-Net's hook: fetches the losses of the epoch's steps."""
        losses = torch.stack([output["loss"] for output in train_outputs]).cpu().numpy()
        super().on_train_epoch_end([{"loss": loss} for loss in losses])

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's own validation step, in micro-batches where the plans say so."""
        parts = self._micro_batches(len(batch["data"]))
        results = [
            super(ParaspinalTrainer, self).validation_step({k: batch[k][part] for k in ("data", "target")})
            for part in parts
        ]
        sizes = [part.stop - part.start for part in parts]
        return {
            "loss": np.average([r["loss"] for r in results], weights=sizes),
            **{key: sum(r[key] for r in results) for key in ("tp_hard", "fp_hard", "fn_hard")},
        }

    def on_epoch_end(self) -> None:
        """nnU-Net's hook: the test cases choose no checkpoint."""
        self._best_ema = float("inf")
        super().on_epoch_end()

    def on_train_end(self) -> None:
        """nnU-Net's hook: ends the loading processes too."""
        super().on_train_end()
        self.dataloader_train = self.dataloader_val = None

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """nnU-Net's hook: the network has one output only."""

    def plot_network_architecture(self) -> None:
        """nnU-Net's hook: its plotting library is no longer maintained."""

    def _build_loss(self) -> LossFunction:
        return build_loss(self.protocol.training.loss, ignore_label=self.label_manager.ignore_label)

    def _do_i_compile(self) -> bool:
        return False  # network and loss are compiled together, see `_compile`

    def _compile(self) -> None:
        """Compile network and loss where the protocol, nnU-Net's variable and, with 'auto', a comparison say so."""
        choice = self.protocol.bookkeeping.compile
        if choice == "off" or not super()._do_i_compile():
            return
        if choice == "auto":
            self.compilation = compare(
                self.network.module if self.is_ddp else self.network,
                self.loss,
                [self._to_device(batch) for batch in self.first_crops(STEPS, SAMPLES)],
                self._autocast,
                self.initial_lr,
            )
        else:
            self.compilation = {"compiled": True}
        if self.compilation["compiled"]:
            self._compiled = compiled(self.network, self.loss)

    def _forward(self, data: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self._compiled is not None:
            return self._compiled(data, target)
        value: torch.Tensor = self.loss(self.network(data), target)
        return value

    def _autocast(self) -> torch.autocast:
        if self.protocol.training.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return torch.autocast(self.device.type, enabled=self.grad_scaler is not None)

    def _backward(self, loss: torch.Tensor) -> None:
        (loss if self.grad_scaler is None else self.grad_scaler.scale(loss)).backward()

    def _step(self) -> None:
        if self.grad_scaler is not None:
            self.grad_scaler.unscale_(self.optimizer)
        if (norm := self.protocol.training.gradient_clipping) is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), norm)
        if self.grad_scaler is None:
            self.optimizer.step()
        else:
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()

    def _micro_batches(self, size: int) -> list[slice]:
        step = self.protocol.bookkeeping.micro_batch_size or size
        return [slice(start, min(start + step, size)) for start in range(0, size, step)]

    def _weight(self, part: slice) -> float:
        """Share of a part in the whole batch; gradients of several processes are averaged, so each counts as many."""
        processes = distributed.get_world_size() if self.is_ddp else 1
        return (part.stop - part.start) * processes / self.protocol.sampling(self.configuration_name).batch_size

    def _synchronised(self, last: bool) -> Any:
        return nullcontext() if last or not self.is_ddp else self.network.no_sync()

    def _to_device(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        return batch["data"].to(self.device, non_blocking=True), batch["target"].to(self.device, non_blocking=True)
