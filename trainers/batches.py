"""The batches of a training: which cases, from where they are read, and by whom."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from torch import distributed
from tqdm import tqdm

from paraspinal_nnunet.errors import ProtocolError, TrainingRefusedError
from paraspinal_nnunet.protocol.paper import Protocol
from paraspinal_nnunet.training.augmentation.crops import AugmentedCropReader, augmented_reader
from paraspinal_nnunet.training.augmentation.nnunet import nnunet_augmented
from paraspinal_nnunet.training.augmentation.on_device import DeviceAugmentedReader
from paraspinal_nnunet.training.cache import choose_cache
from paraspinal_nnunet.training.device_cache import DeviceCropReader
from paraspinal_nnunet.training.loading import BatchDataset, CropReader, batches, batches_ahead
from paraspinal_nnunet.training.sampling import FOLD_ALL, BatchSchedule, distributed_share

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as Trainer
else:
    Trainer = object


class ScheduledBatches(Trainer):
    """Mixin for a trainer of an exact length: batch k is the same whatever the processes, resumes and cache."""

    protocol: Protocol
    iterations: int
    steps_taken: int
    sampling_rule: int

    @cached_property
    def cache_taken(self) -> str:
        """Where the cases stay: ``'device'``, ``'ram'`` or ``'disk'``.

        Raises:
            TrainingRefusedError: The device was asked for and cannot take them.
        """
        train, val = self.do_split()
        try:
            return choose_cache(
                self.protocol,
                self.configuration_name,
                folder=Path(self.preprocessed_dataset_folder),
                cases=sorted({*train, *val}),
                device=self.device,
                processes=distributed.get_world_size() if self.is_ddp else 1,
            )
        except ProtocolError as error:
            raise TrainingRefusedError(f"{type(self).__name__}: {error}") from None

    def get_dataloaders(self) -> tuple[Iterator[dict[str, Any]], Iterator[dict[str, Any]]]:
        """nnU-Net's hook: the batches that are still to come, for training and for the curve."""
        train_cases, val_cases = self.do_split()
        first = self.steps_taken
        train = self._batches("train", train_cases, range(first, self.iterations))
        first_val = self.current_epoch * self.num_val_iterations_per_epoch
        val = self._batches("val", val_cases, range(first_val, self.num_epochs * self.num_val_iterations_per_epoch))
        progress = tqdm(train, initial=first, total=self.iterations, unit="it", disable=None, desc="training")
        return iter(progress), val

    def first_crops(self, batches: int, crops: int) -> list[dict[str, Any]]:
        """The first crops of the first training batches, not augmented; of the cases no more is read."""
        cases, _ = self.do_split()
        dataset = BatchDataset(self._schedule("train", tuple(sorted(cases))), self._plain_reader("train"), slice(crops))
        return [dataset[number] for number in range(batches)]

    def _batches(self, stream: str, cases: list[str], numbers: range) -> Iterator[dict[str, Any]]:
        reader = self._reader(stream, cases)
        ids = reader.pool.ids if isinstance(reader, AugmentedCropReader) else tuple(sorted(cases))
        dataset = BatchDataset(self._schedule(stream, ids), reader, self._share())
        if isinstance(reader, DeviceCropReader | DeviceAugmentedReader):
            return batches_ahead(dataset, numbers)
        workers = get_allowed_n_proc_DA()
        workers = min(workers, 1) if stream == "val" else workers
        return batches(dataset, numbers, workers=workers, pin_memory=self.device.type == "cuda")

    def _schedule(self, stream: str, ids: tuple[str, ...]) -> BatchSchedule:
        sampling = self.protocol.sampling(self.configuration_name)
        return BatchSchedule(
            cases=ids,
            batch_size=sampling.batch_size,
            crops_per_case=sampling.crops_per_case,
            seed=self.protocol.training.seed,
            fold=self._fold_number(),
            stream=stream,
            rule=self.sampling_rule,
        )

    def _reader(self, stream: str, cases: list[str]) -> CropReader:
        augmentation = self.protocol.training.augmentation if stream == "train" else "none"
        on_device, precision = self.cache_taken == "device", self.protocol.bookkeeping.cache_precision
        if augmentation == "paper":
            augmented = augmented_reader(
                self.protocol,
                self.configuration_name,
                folder=Path(self.preprocessed_dataset_folder),
                cases=cases,
                fold=self._fold_number(),
                labels=self.dataset_json["labels"],
            )
            return DeviceAugmentedReader(augmented, self.device, precision) if on_device else augmented
        reader = self._plain_reader(stream)
        if augmentation == "nnunet":
            return nnunet_augmented(self, reader)
        return DeviceCropReader(reader, sorted(cases), self.device, precision) if on_device else reader

    def _plain_reader(self, stream: str) -> CropReader:
        return CropReader(
            Path(self.preprocessed_dataset_folder),
            self.protocol.sampling(self.configuration_name).patch_size,
            self.protocol.training.foreground_ratio,
            in_memory=self.protocol.bookkeeping.cache == "ram",
            ignore_label=self.label_manager.ignore_label,
            by_muscle=stream == "train" and self.protocol.training.foreground_centers == "muscle",
        )

    def _fold_number(self) -> int:
        return FOLD_ALL if self.fold == "all" else int(self.fold)

    def _share(self) -> slice:
        if not self.is_ddp:
            return slice(None)
        size = self.protocol.sampling(self.configuration_name).batch_size
        return distributed_share(size, self.local_rank, distributed.get_world_size())
