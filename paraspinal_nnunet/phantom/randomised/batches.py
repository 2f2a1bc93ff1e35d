"""Training batches from drawn slices: deformed, painted with a contrast and passed through a scanner, anew each time."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from paraspinal_nnunet.phantom.randomised.canvas import BACK_MM, LEFT_MM, SHAPE, SPACING_MM
from paraspinal_nnunet.phantom.randomised.pool import Pool
from paraspinal_nnunet.phantom.randomised.tissues import COUNT, FATTY, LABELLED, MUSCULAR, Tissue, draw_signals

FINER = 2
"""Image pixels are the mean of FINER x FINER painted ones."""

EXCHANGED = np.array([0, 2, 1, 4, 3, 6, 5], np.int64)
"""Labels in a mirror."""


@dataclass(frozen=True)
class Batch:
    """Images and labels, (batch, 1, rows, columns): float32 of about unit variance, and int64."""

    image: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Frame:
    """How images are sampled.

    Attributes:
        size: Rows and columns.
        spacing_mm: Of their pixels.
    """

    size: tuple[int, int]
    spacing_mm: float


def draw_batch(pool: Pool, frame: Frame, *, batch: int, seed: int, number: int) -> Batch:
    """One batch: a function of the pool, the seed and the number alone."""
    rng = np.random.default_rng([seed, number])
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
    index = np.sort(rng.choice(len(pool.tissue), batch, replace=False))
    tissue = torch.from_numpy(pool.tissue[index])
    fat = torch.from_numpy(pool.fat[index])
    fine = Frame((frame.size[0] * FINER, frame.size[1] * FINER), frame.spacing_mm / FINER)
    draws = [_Draw(rng) for _ in range(batch)]
    field = _field(fine, draws, generator)
    coarse = functional.avg_pool2d(field, FINER)
    place, inside = _places(field)
    flat_tissue = tissue.flatten(1).gather(1, place).view(batch, *fine.size).long()
    flat_tissue[~inside] = 0
    flat_fat = fat.flatten(1).gather(1, place).view(batch, *fine.size).float() / 255
    near, near_inside = _places(coarse)
    labels = tissue.flatten(1).gather(1, near).view(batch, *frame.size).long()
    labels[(labels > LABELLED) | ~near_inside] = 0
    mirrored = torch.tensor([d.mirrored for d in draws])
    labels[mirrored] = torch.from_numpy(EXCHANGED)[labels[mirrored]]
    image = _paint(flat_tissue, flat_fat, rng, generator)
    image = _scan(image, draws, rng, generator, fine)
    seen = torch.stack([d.field_of_view(frame) for d in draws])
    labels = torch.where(seen, labels, 0)
    return Batch(_normalized(image, seen, rng)[:, None], labels[:, None])


class _Draw:
    """How one image of a batch is taken."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.mirrored = rng.random() < 0.5
        self.angle = float(np.clip(rng.normal(0, 0.09), -0.3, 0.3))
        scale = np.exp(rng.normal(0, 0.07))
        self.scale = (float(scale * np.exp(rng.normal(0, 0.05))), float(scale * np.exp(rng.normal(0, 0.07))))
        self.shear = float(rng.normal(0, 0.05))
        self.half = (float(rng.uniform(95, 215)), float(rng.uniform(85, 200)))
        centred = rng.random() < 0.5
        self.middle = (float(rng.normal(0, 12 if centred else 55)), float(rng.normal(5, 15 if centred else 45)))
        self.patch = (float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1)))
        self.elastic = (float(abs(rng.normal(0, 4.0))), float(abs(rng.normal(0, 1.3))))

    def centre(self, frame: Frame) -> tuple[float, float]:
        """(x, y) mm of the patch's middle: a patch lies inside a larger field of view, or around a smaller one."""
        found = []
        for axis, size in enumerate(frame.size[::-1]):
            room = abs(self.half[axis] - size * frame.spacing_mm / 2)
            found.append(self.middle[axis] + room * self.patch[axis])
        return found[0], found[1]

    def field_of_view(self, frame: Frame) -> torch.Tensor:
        """Bool (rows, columns): pixels of the patch inside the field of view."""
        parts = []
        for axis, size in enumerate(frame.size[::-1]):
            position = (torch.arange(size) + 0.5 - size / 2) * frame.spacing_mm + self.centre(frame)[axis]
            parts.append((position - self.middle[axis]).abs() <= self.half[axis])
        return parts[1][:, None] & parts[0][None, :]


def _field(frame: Frame, draws: list[_Draw], generator: torch.Generator) -> torch.Tensor:
    """Where each pixel is taken from: float32 (batch, 2, rows, columns), x and y in mm."""
    rows, columns = frame.size
    x = (torch.arange(columns) + 0.5 - columns / 2) * frame.spacing_mm
    y = (torch.arange(rows) + 0.5 - rows / 2) * frame.spacing_mm
    found = torch.empty(len(draws), 2, rows, columns)
    coarse = _noise(len(draws), 2, frame, 65.0, generator) * torch.tensor([d.elastic[0] for d in draws])[:, None, None, None]
    fine = _noise(len(draws), 2, frame, 22.0, generator) * torch.tensor([d.elastic[1] for d in draws])[:, None, None, None]
    for number, draw in enumerate(draws):
        centre = draw.centre(frame)
        px, py = (x + centre[0])[None, :], (y + centre[1])[:, None]
        c, s = np.cos(draw.angle), np.sin(draw.angle)
        fx = (c * px - s * py) * draw.scale[0] + draw.shear * py
        fy = (s * px + c * py) * draw.scale[1]
        found[number, 0], found[number, 1] = -fx if draw.mirrored else fx, fy
    return found + coarse + fine


def _noise(batch: int, channels: int, frame: Frame, length_mm: float, generator: torch.Generator) -> torch.Tensor:
    """Smooth noise of about unit variance that changes over a length: (batch, channels, rows, columns)."""
    small = [max(4, round(n * frame.spacing_mm / length_mm) + 3) for n in frame.size]
    values = torch.randn(batch, channels, *small, generator=generator)
    return functional.interpolate(values, size=frame.size, mode="bicubic", align_corners=True) * 1.3


def _places(field: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    column = ((field[:, 0] - LEFT_MM) / SPACING_MM - 0.5).round().long()
    row = ((field[:, 1] - BACK_MM) / SPACING_MM - 0.5).round().long()
    inside = (column >= 0) & (column < SHAPE[1]) & (row >= 0) & (row < SHAPE[0])
    place = row.clamp(0, SHAPE[0] - 1) * SHAPE[1] + column.clamp(0, SHAPE[1] - 1)
    return place.flatten(1), inside


def _paint(tissue: torch.Tensor, fat: torch.Tensor, rng: np.random.Generator, generator: torch.Generator) -> torch.Tensor:
    """Signal of every painted pixel, float32 (batch, rows, columns)."""
    batch = len(tissue)
    signals = torch.from_numpy(np.stack([draw_signals(rng) for _ in range(batch)]))
    grain = torch.from_numpy((rng.random((batch, COUNT)) ** 2 * 0.18).astype(np.float32))
    grain[:, list(MUSCULAR)] = grain[:, [int(Tissue.MUSCLE)]]
    flat = tissue.flatten(1)
    shifted = flat
    shift = int(rng.integers(-2, 3)) if rng.random() < 0.3 else 0
    if shift:  # chemical shift: fat is seen a little aside
        shifted = torch.roll(tissue, shift, dims=int(rng.integers(1, 3))).flatten(1)
    fatty = torch.zeros(COUNT)
    fatty[list(FATTY)] = 1.0
    water = (signals * (1 - fatty)).gather(1, flat)
    oil = (signals * fatty).gather(1, shifted)
    fat = fat.flatten(1)
    signal = (water * (1 - fat) + oil + fat * 0.95 * signals[:, [int(Tissue.FAT)]]).view_as(tissue)
    texture = grain.gather(1, flat).view_as(tissue)
    frame = Frame((tissue.shape[1] // 2, tissue.shape[2] // 2), 1.5)
    broad = _noise(batch, 1, frame, 7.0, generator)
    small = torch.randn(batch, 1, *frame.size, generator=generator)
    small = functional.avg_pool2d(small, 3, 1, 1) * 2.0
    both = functional.interpolate(0.7 * broad + 0.7 * small, size=tissue.shape[1:], mode="bilinear")[:, 0]
    return signal * (1 + texture * both)


def _scan(
    image: torch.Tensor, draws: list[_Draw], rng: np.random.Generator, generator: torch.Generator, frame: Frame
) -> torch.Tensor:
    """Blur, mixing of neighbours, magnitude, coil, noise and ringing: float32 (batch, rows, columns) of the images."""
    batch = len(image)
    image = image[:, None]
    if rng.random() < 0.5:  # coarser voxels
        sigma = rng.uniform(0.3, 1.3) / frame.spacing_mm
        image = _blurred(image, sigma)
    image = functional.avg_pool2d(image, FINER)
    coarse = Frame((image.shape[2], image.shape[3]), frame.spacing_mm * FINER)
    if rng.random() < 0.35:  # thick slices and motion: a shifted copy
        share = torch.from_numpy(rng.uniform(0, 0.45, (batch, 1, 1, 1)).astype(np.float32))
        shift = tuple(int(v) for v in rng.integers(-2, 3, 2))
        image = (1 - share) * image + share * torch.roll(image, shift, dims=(2, 3))
    image = image.abs()
    size = image.amax((2, 3), keepdim=True) + 1e-3
    image = image / size
    bias = _bias(batch, coarse, rng, generator)
    image = image * bias
    if rng.random() < 0.25:  # ghosts along the phase
        amount = torch.from_numpy((rng.uniform(0, 0.12, (batch, 1, 1, 1))).astype(np.float32))
        image = image + amount * torch.roll(image, int(rng.integers(15, 70)), dims=2)
    sd = torch.from_numpy(np.exp(rng.uniform(np.log(0.003), np.log(0.07), (batch, 1, 1, 1))).astype(np.float32))
    noise = torch.randn(batch, 2, *image.shape[2:], generator=generator) * sd
    if rng.random() < 0.5:
        noise = _blurred(noise, 0.6) * 1.6
    image = ((image + noise[:, :1]) ** 2 + noise[:, 1:] ** 2).sqrt()
    if rng.random() < 0.3:  # ringing and filters that sharpen
        image = (image + float(rng.uniform(0, 0.9)) * (image - _blurred(image, 1.0))).clamp_min(0)
    gamma = torch.from_numpy(np.exp(rng.normal(0, 0.25, (batch, 1, 1, 1))).astype(np.float32))
    size = image.amax((2, 3), keepdim=True) + 1e-3
    return ((image / size) ** gamma)[:, 0]


def _bias(batch: int, frame: Frame, rng: np.random.Generator, generator: torch.Generator) -> torch.Tensor:
    rows, columns = frame.size
    y = (torch.arange(rows) - rows / 2) * frame.spacing_mm / 100
    x = (torch.arange(columns) - columns / 2) * frame.spacing_mm / 100
    tilt = torch.from_numpy(rng.normal(0, 1, (batch, 3)).astype(np.float32)) * torch.tensor([0.35, 0.15, 0.12])
    tilt[:, 0] -= 0.2  # coils in the table
    plane = tilt[:, 0, None, None] * y[:, None] + tilt[:, 1, None, None] * x[None, :]
    plane = plane + tilt[:, 2, None, None] * (y[:, None] ** 2 + x[None, :] ** 2)
    local = _noise(batch, 1, frame, 110.0, generator)[:, 0] * torch.from_numpy(
        rng.uniform(0, 0.3, (batch, 1, 1)).astype(np.float32)
    )
    return (plane + local).clamp(-2.5, 2.5).exp()[:, None]


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    reach = max(1, int(np.ceil(2.5 * sigma)))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = weights / weights.sum()
    batch, channels, rows, columns = image.shape
    flat = image.reshape(batch * channels, 1, rows, columns)
    flat = functional.conv2d(functional.pad(flat, (reach, reach, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))
    flat = functional.conv2d(functional.pad(flat, (0, 0, reach, reach), mode="replicate"), weights.view(1, 1, -1, 1))
    return flat.view(batch, channels, rows, columns)


def _normalized(image: torch.Tensor, seen: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Z-scores as a whole scan's statistics would give them, and 0 outside the field of view."""
    weight = seen.float()
    count = weight.sum((1, 2), keepdim=True).clamp_min(1)
    mean = (image * weight).sum((1, 2), keepdim=True) / count
    deviation = (((image - mean) ** 2 * weight).sum((1, 2), keepdim=True) / count).sqrt().clamp_min(1e-4)
    batch = len(image)
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.25, (batch, 1, 1))).astype(np.float32))
    offset = torch.from_numpy(rng.normal(0, 0.25, (batch, 1, 1)).astype(np.float32))
    return torch.where(seen, ((image - mean) / deviation) * gain + offset, 0.0)
