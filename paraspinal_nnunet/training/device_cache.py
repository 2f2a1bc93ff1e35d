"""Cases that were read once and stay on the training's device, and the crops that are cut there."""

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

import blosc2
import numpy as np
import torch

from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.training.augmentation.deformation import Sources, box_voxels
from paraspinal_nnunet.training.loading import OUTSIDE, Batch, CropReader
from paraspinal_nnunet.training.sampling import Crop

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16}


class DeviceCache:
    """Images and labels of cases, one after the other in rows of voxels, so that one look-up serves a whole batch.

    A case is read when it is first asked for.

    Args:
        reader: Reads the cases.
        cases: All that may be asked for.
        device: Where they stay.
        precision: Of the images, a key of `PRECISIONS`; labels are int16.

    Attributes:
        images: (channels, voxels).
        labels: (voxels,); what lies outside the mask is background.
        sources: Where each case lies, a row per case.
        shapes: (z, y, x) of each case.
        row: Case -> its row.
    """

    def __init__(self, reader: CropReader, cases: Sequence[str], device: torch.device, precision: str = "fp32") -> None:
        self._reader = reader
        stored = {case: stored_shape(reader.folder, case) for case in cases}
        channels = sorted({shape[0] for shape in stored.values()})
        if len(channels) != 1:
            raise DatasetError(f"{reader.folder}: cases have {channels} channels; run 'paraspinal plan' again")
        self.shapes = [shape[1:] for shape in stored.values()]
        ends = np.cumsum([prod(shape) for shape in self.shapes])
        self.row = {case: row for row, case in enumerate(stored)}
        self.images = torch.empty((channels[0], int(ends[-1])), dtype=PRECISIONS[precision], device=device)
        self.labels = torch.empty(int(ends[-1]), dtype=torch.int16, device=device)
        self.sources = Sources(
            offsets=torch.tensor([0, *ends[:-1]], device=device), shapes=torch.tensor(self.shapes, device=device)
        )
        self._ends = ends
        self._held: set[str] = set()

    def hold(self, cases: Sequence[str]) -> None:
        """Read those of some cases that are not here yet."""
        for name in dict.fromkeys(cases):
            if name in self._held:
                continue
            case, row = self._reader.open_case(name), self.row[name]
            span = slice(int(self._ends[row]) - prod(self.shapes[row]), int(self._ends[row]))
            image = np.ascontiguousarray(case.image[:], dtype=np.float32).reshape(len(self.images), -1)
            self.images[:, span] = torch.from_numpy(image).to(self.images.device, self.images.dtype)
            labels = np.maximum(case.labels[:], 0).astype(np.int16).reshape(-1)
            self.labels[span] = torch.from_numpy(labels).to(self.labels.device)
            case.image = None  # no second copy
            self._held.add(name)

    def cut(self, rows: torch.Tensor, starts: torch.Tensor, size: Sequence[int]) -> Batch:
        """Boxes of cases, filled with `OUTSIDE` beyond them.

        Args:
            rows: The cases' rows.
            starts: First voxel (z, y, x) of each, shape (boxes, 3).
            size: Of all boxes, (z, y, x).

        Returns:
            (boxes, channels, *size) float32 and (boxes, 1, *size) int16.
        """
        sources = self.sources.rows(rows)
        last = (sources.shapes - 1).reshape(-1, 3, 1, 1, 1).unbind(1)
        inside = [torch.minimum(v.clamp(min=0), end) for v, end in zip(box_voxels(starts, size), last, strict=True)]
        index = sources.index(*inside)
        image = self.images.index_select(1, index.reshape(-1)).float().reshape(len(self.images), *index.shape)
        labels = self.labels.index_select(0, index.reshape(-1)).reshape(index.shape)
        return image.transpose(0, 1).contiguous(), labels[:, None]


class DeviceCropReader(CropReader):
    """Cuts the same crops, bit for bit, from cases that stay on the training's device.

    Labels stay in the processor's memory too, where centres are drawn.

    Args:
        reader: Reads the cases.
        cases: All that crops may come from.
        device: Where they stay.
        precision: Of the images, a key of `PRECISIONS`; in half precision crops are rounded to it.
    """

    def __init__(self, reader: CropReader, cases: Sequence[str], device: torch.device, precision: str = "fp32") -> None:
        patch_size = reader.size[1:] if reader.squeeze else reader.size
        super().__init__(
            reader.folder,
            patch_size,
            reader.foreground_ratio,
            in_memory=True,
            ignore_label=reader.ignore_label,
            by_muscle=reader.by_muscle,
        )
        self.cache = DeviceCache(self, cases, device, precision)

    def begin(self, crops: Sequence[Crop]) -> Callable[[], Batch]:
        """Draw the centres of a batch; calling what is returned cuts it, on the device."""
        cases = [crop.case for crop in crops]
        starts = np.array([self._start(self.open_case(crop.case), crop) for crop in crops])
        self.cache.hold(cases)
        device, numbers = self.cache.labels.device, [self.cache.row[case] for case in cases]
        rows, first = (to_device(a, device) for a in (np.array(numbers), starts))

        def cut() -> Batch:
            image, labels = self.cache.cut(rows, first, self.size)
            if not lies_inside(starts, self.size, [self.cache.shapes[n] for n in numbers]):
                image, labels = filled(image, labels, first, self.size, self.cache.sources.rows(rows).shapes)
            return squeezed(image, labels, self.squeeze)

        return cut

    def read(self, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """One crop, as a batch has it."""
        image, labels = self.begin([crop])()
        return image[0].cpu().numpy(), labels[0].cpu().numpy()


def stored_shape(folder: Path, case: str) -> tuple[int, int, int, int]:
    """(channels, z, y, x) of a preprocessed case; only its header is read."""
    path = folder / f"{case}.b2nd"
    if not path.is_file():
        raise DatasetError(f"{path}: preprocessed file is missing; run 'paraspinal plan' again")
    channels, z, y, x = blosc2.open(urlpath=str(path), mode="r").shape
    return channels, z, y, x


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A small array on the device, of which a GPU need not be waited for."""
    tensor = torch.from_numpy(array)
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def lies_inside(starts: np.ndarray, size: Sequence[int], shapes: Sequence[Sequence[int]]) -> bool:
    """Whether all boxes lie inside their images; crops do but where an image is smaller than they are."""
    return bool((starts >= 0).all() and (starts + np.asarray(size) <= np.asarray(shapes)).all())


def filled(
    image: torch.Tensor, labels: torch.Tensor, starts: torch.Tensor, size: Sequence[int], shapes: torch.Tensor
) -> Batch:
    """Boxes with `OUTSIDE` in what lies beyond their images."""
    inside = torch.ones((), dtype=torch.bool, device=starts.device)
    for voxels, length in zip(box_voxels(starts, size), shapes.reshape(-1, 3, 1, 1, 1).unbind(1), strict=True):
        inside = inside & ((voxels >= 0) & (voxels < length))[:, None]
    return torch.where(inside, image, OUTSIDE), torch.where(inside, labels, OUTSIDE)


def squeezed(image: torch.Tensor, labels: torch.Tensor, squeeze: bool) -> Batch:
    """Boxes of one slice without their first axis, where crops are of two dimensions."""
    return (image[:, :, 0], labels[:, :, 0]) if squeeze else (image, labels)
