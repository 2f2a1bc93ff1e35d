"""Training batches from nnU-Net's preprocessed files, in one fixed order for any number of worker processes."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.training.sampling import BatchSchedule, Crop, VoxelIndex, crop_start

OUTSIDE = 0
"""Value of image and labels beyond the image: zero is the mean of the normalised image, and background."""

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images (crops, channels, *patch_size) as float32 and labels (crops, 1, *patch_size) as int16."""


@dataclass
class _Case:
    image: Any
    labels: Any
    index: VoxelIndex | None = None


class CropReader:
    """Reads crops of preprocessed cases; opened files and voxel indices are kept, per process.

    Args:
        folder: nnU-Net's preprocessed folder with `CASE.b2nd` and `CASE_seg.b2nd`.
        patch_size: (y, x) or (z, y, x).
        foreground_ratio: Share of crops centred on a muscle voxel.
        in_memory: Keep every case that was read once, unpacked.
        ignore_label: No crop is centred on a voxel of this label.
        by_muscle: Draw a muscle of the case, then its voxel; else any muscle voxel.
    """

    def __init__(
        self,
        folder: Path,
        patch_size: Sequence[int],
        foreground_ratio: float,
        *,
        in_memory: bool = False,
        ignore_label: int | None = None,
        by_muscle: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.ignore_label = ignore_label
        self.by_muscle = by_muscle
        self.in_memory = in_memory
        self.squeeze = len(patch_size) == 2
        self.size = (1, *patch_size) if self.squeeze else tuple(patch_size)
        self.foreground_ratio = foreground_ratio
        self._cases: dict[str, _Case] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cases": {}}  # open files stay with the process that opened them

    def read(self, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """Image (channels, *patch_size) as float32 and labels (1, *patch_size) as int16."""
        case = self.open_case(crop.case)
        start = self._start(case, crop)
        image = _read_padded(case.image, start, self.size).astype(np.float32, copy=False)
        labels = np.maximum(_read_padded(case.labels, start, self.size), 0).astype(np.int16, copy=False)
        return (image[:, 0], labels[:, 0]) if self.squeeze else (image, labels)

    def begin(self, crops: Sequence[Crop]) -> Callable[[], Batch]:
        """Begin with the crops of a batch; calling what is returned gives them, stacked."""

        def read() -> Batch:
            images, labels = zip(*(self.read(crop) for crop in crops), strict=True)
            return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))

        return read

    def open_case(self, name: str) -> _Case:
        """A case's arrays: files that are read in boxes, or, with `in_memory`, unpacked ones."""
        if name not in self._cases:
            self._cases[name] = _Case(*(self._open_array(f"{name}{suffix}.b2nd") for suffix in ("", "_seg")))
        return self._cases[name]

    def _start(self, case: _Case, crop: Crop) -> tuple[int, ...]:
        """Where a crop begins in its case."""
        if case.index is None:
            case.index = VoxelIndex.of(case.labels[0], self.ignore_label, by_muscle=self.by_muscle)
        generator = crop.generator()
        foreground = bool(generator.random() < self.foreground_ratio)
        center = case.index.draw(generator, foreground, lambda z, y: case.labels[0, z, y])
        return crop_start(center, self.size, case.labels.shape[1:])

    def _open_array(self, file: str) -> Any:
        path = self.folder / file
        if not path.is_file():
            raise DatasetError(f"{path}: preprocessed file is missing; run 'paraspinal plan' again")
        memory_map = {} if os.name == "nt" else {"mmap_mode": "r"}
        array = blosc2.open(urlpath=str(path), mode="r", dparams={"nthreads": 1}, **memory_map)
        return array[:] if self.in_memory else array


class BatchDataset(Dataset[dict[str, Any]]):
    """Item k is batch k of a schedule."""

    def __init__(self, schedule: BatchSchedule, reader: CropReader, share: slice = slice(None)) -> None:
        self.schedule = schedule
        self.reader = reader
        self.share = share

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Batch `number` as nnU-Net's trainer takes it: 'data' (b, c, ...), 'target' (b, 1, ...), 'keys'."""
        return self.begin(number)()

    def begin(self, number: int) -> Callable[[], dict[str, Any]]:
        """Begin with a batch; calling what is returned ends it."""
        crops = self.schedule.batch(number, self.share)
        end = self.reader.begin(crops)

        def batch() -> dict[str, Any]:
            data, target = end()
            return {"data": data, "target": target, "keys": [crop.case for crop in crops]}

        return batch


def batches_ahead(dataset: BatchDataset, numbers: range) -> Iterator[dict[str, Any]]:
    """The batches `numbers`, made in this process: each is begun before the one before it is trained on.

    What a GPU must tell about a batch, where its crops are centred, is then known when it is asked for, and the GPU is
    never waited for.
    """
    begun = None
    for number in numbers:
        batch = (begun or dataset.begin(number))()
        begun = dataset.begin(number + 1) if number + 1 in numbers else None
        yield batch


def batches(dataset: BatchDataset, numbers: range, *, workers: int, pin_memory: bool) -> Iterator[dict[str, Any]]:
    """The batches `numbers`, in that order whatever the number of workers.

    Args:
        dataset: Makes the batches.
        numbers: Batch numbers; a resumed training begins with the first one not yet seen.
        workers: Processes; 0 makes each batch when it is asked for.
        pin_memory: For fast copies to a GPU.
    """
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=2 if workers else None,
    )
    return iter(loader)


def _read_padded(array: Any, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
    shape = array.shape[1:]
    stop = [begin + length for begin, length in zip(start, size, strict=True)]
    inside = [slice(max(b, 0), min(e, n)) for b, e, n in zip(start, stop, shape, strict=True)]
    box = (slice(None), *inside)
    part = np.asarray(array[box])
    padding = [(max(-b, 0), max(e - n, 0)) for b, e, n in zip(start, stop, shape, strict=True)]
    if any(before or after for before, after in padding):
        part = np.pad(part, [(0, 0), *padding], constant_values=OUTSIDE)
    return part
