"""Training crops of augmented images, computed when they are asked for: the augmented images are never stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet.protocol.paper import Protocol
from paraspinal_nnunet.training.augmentation.deformation import PointMap, sample_image, sample_labels
from paraspinal_nnunet.training.augmentation.transform import AugmentedPool, exchange_table
from paraspinal_nnunet.training.loading import OUTSIDE, CropReader
from paraspinal_nnunet.training.sampling import Crop, crop_start, draw_muscle, is_kind, muscles_of

PROPOSALS = 16
"""Voxels that are drawn at once while a centre is sought."""

ROUNDS = 64
"""Rounds of `PROPOSALS` before the whole augmented label map is computed instead."""


@dataclass
class AugmentedImage:
    """One image of the pool, opened: its map, the case's image on disk and its labels in memory.

    Attributes:
        points: From voxels of this image to points in the case.
        image: (channels, z, y, x) of the case, read in boxes.
        labels: (z, y, x) of the case.
        table: New value of each label.
        ignore: Label of voxels that no crop is centred on.
        muscles: Labels of the case of which one is drawn before a muscle voxel; empty draws any muscle voxel.
    """

    points: PointMap
    image: Any
    labels: np.ndarray
    table: np.ndarray
    ignore: int | None = None
    muscles: tuple[int, ...] = ()
    _deformed: np.ndarray | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.points.shape

    def read(self, start: Sequence[int], size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """A box inside the image: (channels, *size) float32 and (*size) int16."""
        points = self.points.on_box(start, size)
        image = sample_image(self._read_case, points, self.shape)
        labels = np.maximum(sample_labels(self.labels, points), 0)
        return image, self.table[labels]

    def _read_case(self, box: tuple[slice, slice, slice]) -> np.ndarray:
        z, y, x = box
        return self.image[:, z, y, x]

    def draw_center(self, generator: np.random.Generator, foreground: bool) -> tuple[int, int, int]:
        """A voxel, uniform over all foreground or all background voxels of the augmented image, or of a drawn muscle.

        Voxels are proposed uniformly over the image until one is of the wanted kind. Where none turns up, the whole
        label map is computed, which also finds out that the image has no such voxel: then one of the other kind is
        given, as MONAI does; where a muscle was drawn that the deformation moved out, one of any muscle.
        """
        muscle = draw_muscle(generator, self.muscles) if foreground else None
        for _ in range(ROUNDS if self._deformed is None else 0):
            voxels = generator.integers(0, self.shape, size=(PROPOSALS, 3))
            labels = sample_labels(self.labels, self.points.map_points(voxels).T)
            hits = np.flatnonzero(is_kind(labels, foreground, self.ignore, muscle))
            if len(hits):
                z, y, x = voxels[hits[0]]
                return int(z), int(y), int(x)
        if self._deformed is None:
            slices = (self.points.on_box((z, 0, 0), (1, *self.shape[1:])) for z in range(self.shape[0]))
            self._deformed = np.concatenate([sample_labels(self.labels, points) for points in slices])
        wanted = ((foreground, muscle), (foreground, None), (not foreground, None))
        kinds = (np.flatnonzero(is_kind(self._deformed, kind, self.ignore, one)) for kind, one in wanted)
        candidates = next((voxels for voxels in kinds if len(voxels)), np.arange(self._deformed.size))
        z, y, x = np.unravel_index(candidates[generator.integers(len(candidates))], self.shape)
        return int(z), int(y), int(x)


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
        start = crop_start(image.draw_center(generator, foreground), self.size, image.shape)
        voxels, labels = _read_padded(image, start, self.size)
        return (voxels[:, 0], labels[:, 0]) if self.squeeze else (voxels, labels)

    def open_image(self, image_id: str) -> AugmentedImage:
        """One image of the pool; nothing of it is computed yet but the elastic field's noise."""
        if self._last is None or self._last[0] != image_id:
            self._last = (image_id, self._open_image(image_id))
        return self._last[1]

    def _open_image(self, image_id: str) -> AugmentedImage:
        transform = self.pool.image(image_id)
        case = self._open(transform.case)
        labels = np.asarray(case.labels[0])
        table = np.arange(max(int(labels.max()), *(self.table or {0: 0})) + 1, dtype=np.int16)
        if transform.flip and self.table is not None:
            table[list(self.table)] = list(self.table.values())
        points = PointMap.of(transform, labels.shape, self.spacing_mm)
        muscles = muscles_of(labels, self.ignore_label) if self.by_muscle else ()
        return AugmentedImage(points, case.image, labels, table, self.ignore_label, muscles)


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
