"""Training crops of augmented images, computed on the device where the cases stay."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod

import numpy as np
import torch

from paraspinal_nnunet.training.augmentation.centers import PROPOSALS, DeformedLabels, first_hits, propose
from paraspinal_nnunet.training.augmentation.crops import AugmentedCropReader, label_table
from paraspinal_nnunet.training.augmentation.deformation import PointMaps, Sources
from paraspinal_nnunet.training.augmentation.elastic import draw_noise, noise_offsets
from paraspinal_nnunet.training.device_cache import DeviceCache, filled, lies_inside, squeezed, to_device
from paraspinal_nnunet.training.loading import Batch
from paraspinal_nnunet.training.sampling import Crop, crop_start, draw_muscle, muscles_of

ROUNDS_AHEAD = {"cpu": 1, "cuda": 4}
"""Rounds of proposals that are looked at in one go, by device. On a GPU waiting for an answer costs more than most
proposals: four rounds miss the muscles, about a tenth of a scan, in less than one crop of a thousand."""

LABELS = 2**15
"""As many as int16 can hold."""

CROP_VOXELS = {"cpu": 2**16, "cuda": 2**22}
"""Voxels of the crops that are computed in one go, but at least one crop."""


class DeviceAugmentedReader(AugmentedCropReader):
    """The same crops of augmented images, from cases and random fields that stay on the training's device.

    Args:
        reader: Reads the cases, and says which images the pool has.
        device: Where they stay.
        precision: Of the images, see `DeviceCache`.
    """

    def __init__(self, reader: AugmentedCropReader, device: torch.device, precision: str = "fp32") -> None:
        patch_size = reader.size[1:] if reader.squeeze else reader.size
        super().__init__(
            reader.folder,
            patch_size,
            reader.foreground_ratio,
            pool=reader.pool,
            spacing_mm=reader.spacing_mm,
            table=reader.table,
            ignore_label=reader.ignore_label,
            by_muscle=reader.by_muscle,
        )
        self.cache = DeviceCache(self, reader.pool.cases, device, precision)
        self.images = [reader.pool.image(image_id) for image_id in reader.pool.ids]
        self._shapes = [self.cache.shapes[self.cache.row[t.case]] for t in self.images]
        self._offsets = noise_offsets(self.images, self._shapes)
        noise = torch.zeros(int(self._offsets[-1]), device=device)
        self._drawn: set[int] = set()
        self._muscles: dict[str, tuple[int, ...]] = {}
        self._maps = PointMaps.of(self.images, self._shapes, reader.spacing_mm, device, noise)
        tables = [label_table(table, LABELS - 1) for table in (None, self.table)]
        self._tables = None if self.table is None else torch.cat(tables).to(device)

    def begin(self, crops: Sequence[Crop]) -> Callable[[], Batch]:
        """Look at the first proposals for the centres of a batch; calling what is returned ends the search and cuts."""
        numbers = [int(crop.case) for crop in crops]
        self._hold(numbers)
        device, rounds = self.cache.labels.device, ROUNDS_AHEAD.get(self.cache.labels.device.type, 1)
        generators = [crop.generator() for crop in crops]
        foreground = np.array([generator.random() < self.foreground_ratio for generator in generators])
        muscles = [
            draw_muscle(g, self._muscles_of(self.images[n].case)) if wanted else None
            for g, n, wanted in zip(generators, numbers, foreground, strict=True)
        ]
        voxels = np.stack([propose(g, self._shapes[n], rounds) for g, n in zip(generators, numbers, strict=True)])
        images = to_device(np.array(numbers), device)
        cases = to_device(np.array([self.cache.row[self.images[n].case] for n in numbers]), device)
        maps, sources = self._maps.rows(images), self.cache.sources.rows(cases)
        labels = sources.sample_labels(self.cache.labels, maps.at(to_device(voxels, device)).mT)
        kinds, labels_of = (to_device(a, device) for a in (foreground, np.array([m or 0 for m in muscles])))
        hits = answer(first_hits(labels, kinds, labels_of, self.ignore_label))

        def cut() -> Batch:
            found = hits()
            missed = rounds * PROPOSALS
            centers = [
                voxels[k, found[k]]
                if found[k] < missed
                else self._labels_of(n).search(generators[k], bool(foreground[k]), muscles[k], rounds=rounds)
                for k, n in enumerate(numbers)
            ]
            shapes = [self._shapes[n] for n in numbers]
            starts = np.array([crop_start(c, self.size, s) for c, s in zip(centers, shapes, strict=True)])
            return self._cut(maps, sources, starts, shapes)

        return cut

    def read(self, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """One crop, as a batch has it."""
        image, labels = self.begin([crop])()
        return image[0].cpu().numpy(), labels[0].cpu().numpy()

    def _hold(self, numbers: Sequence[int]) -> None:
        """Read the cases of images, and draw their fields' noise, where that was not done before."""
        self.cache.hold([self.images[n].case for n in numbers])
        fields = self._maps.fields
        for n in dict.fromkeys(numbers):
            if fields is not None and n not in self._drawn:
                noise = draw_noise(self.images[n], self._shapes[n]).ravel()
                fields.noise[int(self._offsets[n]) : int(self._offsets[n + 1])] = torch.from_numpy(noise)
                self._drawn.add(n)

    def _muscles_of(self, case: str) -> tuple[int, ...]:
        if self.by_muscle and case not in self._muscles:
            self._muscles[case] = muscles_of(self.open_case(case).labels[:], self.ignore_label)
        return self._muscles.get(case, ())

    @lru_cache(maxsize=8)  # noqa: B019 - the reader lives as long as the training
    def _labels_of(self, number: int) -> DeformedLabels:
        device = self.cache.labels.device
        maps = self._maps.rows(torch.tensor([number], device=device))
        source = self.cache.sources.rows(torch.tensor([self.cache.row[self.images[number].case]], device=device))
        return DeformedLabels(maps, source, self.cache.labels, self._shapes[number], self.ignore_label)

    def _cut(
        self, maps: PointMaps, sources: Sources, starts: np.ndarray, shapes: Sequence[tuple[int, int, int]]
    ) -> Batch:
        first = to_device(starts, self.cache.labels.device)
        step = max(1, CROP_VOXELS.get(first.device.type, 1) // prod(self.size))
        spans = [slice(k, k + step) for k in range(0, len(starts), step)]
        parts = [self._sampled(maps.rows(span), sources.rows(span), first[span]) for span in spans]
        image, labels = (torch.cat(values) for values in zip(*parts, strict=True))
        if not lies_inside(starts, self.size, shapes):
            image, labels = filled(image, labels, first, self.size, maps.shapes)
        return squeezed(image, labels, self.squeeze)

    def _sampled(self, maps: PointMaps, sources: Sources, starts: torch.Tensor) -> Batch:
        points = maps.on_boxes(starts, self.size)
        labels = sources.sample_labels(self.cache.labels, points)[:, None]
        if self._tables is not None:
            index = labels + LABELS * maps.flips.reshape(-1, 1, 1, 1, 1).int()
            labels = self._tables.index_select(0, index.reshape(-1)).reshape(index.shape)
        return sources.sample_image(self.cache.images, points), labels


def answer(values: torch.Tensor) -> Callable[[], np.ndarray]:
    """Begin to copy a few numbers from the device; calling what is returned waits for them."""
    if values.device.type != "cuda":
        return values.cpu().numpy
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def wait() -> np.ndarray:
        copied.synchronize()
        return host.numpy()

    return wait
