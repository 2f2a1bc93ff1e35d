"""Training crops of augmented images, computed when they are asked for: the augmented images are never stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paraspinal_nnunet.protocol.paper import Protocol
from paraspinal_nnunet.training.augmentation.centers import DeformedLabels
from paraspinal_nnunet.training.augmentation.deformation import PointMaps, Sources
from paraspinal_nnunet.training.augmentation.transform import AugmentedPool, exchange_table
from paraspinal_nnunet.training.loading import OUTSIDE, CropReader
from paraspinal_nnunet.training.sampling import Crop, crop_start, muscles_of


@dataclass
class AugmentedImage:
    """One image of the pool, opened in the processor's memory: its map, the case's image on disk and its labels.

    Attributes:
        labels: Its labels and the map of its voxels.
        image: (channels, z, y, x) of the case, read in boxes.
        table: New value of each label.
    """

    labels: DeformedLabels
    image: Any
    table: torch.Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.labels.shape

    def read(self, start: Sequence[int], size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """A box inside the image: (channels, *size) float32 and (*size) int16."""
        points = self.labels.points.on_boxes(torch.tensor([list(start)]), size)
        values = self.table[self.labels.on_points(points).long()]
        return self._sample(points).numpy(), values.numpy()

    def _sample(self, points: torch.Tensor) -> torch.Tensor:
        """Image values at points, of which the box that they need is read and no more."""
        flat = points[0].flatten(1)
        first, last = flat.amin(1).floor().long(), flat.amax(1).floor().long() + 1
        z, y, x = (slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
        box = np.asarray(self.image[:, z, y, x], dtype=np.float32)
        rows = torch.from_numpy(np.ascontiguousarray(box)).flatten(1)
        return Sources.one(box.shape[1:]).sample_image(rows, points - first.reshape(1, 3, 1, 1, 1))[0]


class AugmentedCropReader(CropReader):
    """Reads crops of a fold's augmented images; `Crop.case` is an image's id in the pool.

    The image that was read last stays open: in the paper's 2D batches four crops in a row come from one image.

    Args:
        folder: nnU-Net's preprocessed folder of the cases.
        patch_size: (y, x) or (z, y, x).
        foreground_ratio: Share of crops centred on a muscle voxel.
        pool: The augmented images.
        spacing_mm: (z, y, x) of the preprocessed cases.
        table: Label value -> value in a mirrored image, see `augmentation.exchange_table`; None keeps all values.
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
        pool: AugmentedPool,
        spacing_mm: Sequence[float],
        table: Mapping[int, int] | None,
        in_memory: bool = False,
        ignore_label: int | None = None,
        by_muscle: bool = False,
    ) -> None:
        super().__init__(
            folder,
            patch_size,
            foreground_ratio,
            in_memory=in_memory,
            ignore_label=ignore_label,
            by_muscle=by_muscle,
        )
        self.pool = pool
        self.spacing_mm = tuple(spacing_mm)
        self.table = None if table is None else dict(table)
        self._last: tuple[str, AugmentedImage] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_last": None}

    def read(self, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """Image (channels, *patch_size) as float32 and labels (1, *patch_size) as int16."""
        image = self.open_image(crop.case)
        generator = crop.generator()
        foreground = bool(generator.random() < self.foreground_ratio)
        start = crop_start(image.labels.draw_center(generator, foreground), self.size, image.shape)
        voxels, labels = _read_padded(image, start, self.size)
        return (voxels[:, 0], labels[:, 0]) if self.squeeze else (voxels, labels)

    def open_image(self, image_id: str) -> AugmentedImage:
        """One image of the pool; nothing of it is computed yet but the elastic field's noise."""
        if self._last is None or self._last[0] != image_id:
            self._last = (image_id, self._open_image(image_id))
        return self._last[1]

    def _open_image(self, image_id: str) -> AugmentedImage:
        transform = self.pool.image(image_id)
        case = self.open_case(transform.case)
        voxels = np.asarray(case.labels[0])
        z, y, x = voxels.shape
        labels = DeformedLabels(
            points=PointMaps.of([transform], [voxels.shape], self.spacing_mm),
            source=Sources.one(voxels.shape),
            labels=torch.from_numpy(voxels).reshape(-1),
            shape=(z, y, x),
            ignore=self.ignore_label,
            muscles=muscles_of(voxels, self.ignore_label) if self.by_muscle else (),
        )
        table = label_table(self.table if transform.flip else None, int(voxels.max()))
        return AugmentedImage(labels, case.image, table)


def label_table(exchanged: Mapping[int, int] | None, largest: int) -> torch.Tensor:
    """New value of each label up to the largest, int16."""
    table = np.arange(max(largest, *(exchanged or {0: 0})) + 1, dtype=np.int16)
    if exchanged is not None:
        table[list(exchanged)] = list(exchanged.values())
    return torch.from_numpy(table)


def augmented_reader(
    protocol: Protocol, configuration: str, *, folder: Path, cases: Sequence[str], fold: int, labels: Mapping[str, int]
) -> AugmentedCropReader:
    """The reader of a training whose protocol asks for the paper's augmentation.

    Args:
        protocol: The protocol in force, with the spacing and patch size of the plans.
        configuration: nnU-Net's configuration.
        folder: Its preprocessed cases.
        cases: The fold's training cases.
        fold: nnU-Net's fold; `sampling.FOLD_ALL` for 'all'.
        labels: Name -> value, of dataset.json.

    Raises:
        DatasetError: Labels that cannot be exchanged although images are mirrored.
        ProtocolError: Ranges that are none.
    """
    settings = protocol.augmentation
    exchanged = settings.exchange_labels and settings.flip_probability > 0
    return AugmentedCropReader(
        folder,
        protocol.sampling(configuration).patch_size,
        protocol.training.foreground_ratio,
        pool=AugmentedPool(tuple(sorted(cases)), protocol.training.seed, fold, settings),
        spacing_mm=protocol.preprocessing.spacing,
        table=exchange_table(labels) if exchanged else None,
        in_memory=protocol.bookkeeping.cache == "ram",
        ignore_label=labels.get("ignore"),
        by_muscle=protocol.training.foreground_centers == "muscle",
    )


def _read_padded(image: AugmentedImage, start: Sequence[int], size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The crop, filled with `OUTSIDE` where it is larger than the image."""
    begin = [max(s, 0) for s in start]
    end = [min(s + n, length) for s, n, length in zip(start, size, image.shape, strict=True)]
    voxels, labels = image.read(begin, [e - b for b, e in zip(begin, end, strict=True)])
    padding = [(b - s, s + n - e) for s, n, b, e in zip(start, size, begin, end, strict=True)]
    if any(before or after for before, after in padding):
        voxels = np.pad(voxels, [(0, 0), *padding], constant_values=OUTSIDE)
        labels = np.pad(labels, padding, constant_values=OUTSIDE)
    return voxels, labels[None]
