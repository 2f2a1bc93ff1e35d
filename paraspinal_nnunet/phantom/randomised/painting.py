"""Contrast and scanner: from tissues and fat to the image that a scanner would make of them."""

import numpy as np
import torch
from torch.nn import functional

from paraspinal_nnunet.phantom.randomised.sampling import FINER, Frame, smooth_noise
from paraspinal_nnunet.phantom.randomised.tissues import COUNT, FATTY, MUSCULAR, Tissue, draw_signals


def paint(
    tissue: torch.Tensor, fat: torch.Tensor, frame: Frame, rng: np.random.Generator, generator: torch.Generator
) -> torch.Tensor:
    """Signal of every painted pixel.

    Args:
        tissue: Int64 (rows, columns) on the fine frame.
        fat: Float32 (rows, columns), share of fat in muscle.
        frame: The image's, not the fine one.
        rng: Of the contrast.
        generator: Of the texture.

    Returns:
        Float32 (rows, columns) on the fine frame.
    """
    signals = torch.from_numpy(draw_signals(rng))
    grain = rng.random(COUNT).astype(np.float32) ** 2 * 0.2
    grain[list(MUSCULAR)] = grain[int(Tissue.MUSCLE)]
    flat = tissue.flatten()
    shifted = flat
    if rng.random() < 0.3:  # chemical shift: fat is seen a little aside
        shifted = torch.roll(tissue, int(rng.integers(-2, 3)), dims=int(rng.integers(0, 2))).flatten()
    fatty = torch.zeros(COUNT)
    fatty[list(FATTY)] = 1.0
    water = (signals * (1 - fatty))[flat].view_as(tissue)
    oil = (signals * fatty)[shifted].view_as(tissue)
    signal = water * (1 - fat) + oil + fat * float(0.95 * signals[Tissue.FAT])
    noise = 0.7 * smooth_noise(1, frame, 7.0, generator)
    noise += 1.4 * functional.avg_pool2d(torch.randn(1, 1, *frame.size, generator=generator), 3, 1, 1)
    noise = functional.interpolate(noise, scale_factor=FINER, mode="bilinear")[0, 0]
    return signal * (1 + torch.from_numpy(grain)[flat].view_as(tissue) * noise)


def scan(
    signal: torch.Tensor,
    frame: Frame,
    rng: np.random.Generator,
    generator: torch.Generator,
    *,
    coils: torch.Generator | None = None,
    peak: float | None = None,
) -> torch.Tensor:
    """Blur, mixing of neighbours, magnitude, coil, noise and ringing.

    Args:
        signal: Float32 (rows, columns) on the fine frame.
        frame: The image's.
        rng: Of the settings.
        generator: Of the noise.
        coils: Of the coils' profile, where slices of one scan are to share it; `generator` when None.
        peak: Signal that becomes 1, where slices of one scan are to share it; each slice's largest when None.

    Returns:
        Float32 (rows, columns), 0 to about 1.
    """
    image = signal[None, None]
    if rng.random() < 0.5:  # coarser voxels
        image = blurred(image, float(rng.uniform(0.3, 1.3)) / frame.fine.spacing_mm)
    image = functional.avg_pool2d(image, FINER)
    if rng.random() < 0.35:  # thick slices and motion: a shifted copy
        share = float(rng.uniform(0, 0.45))
        shift = tuple(int(v) for v in rng.integers(-2, 3, 2))
        image = (1 - share) * image + share * torch.roll(image, shift, dims=(2, 3))
    image = image.abs()
    image = image / (peak or image.amax() + 1e-3) * coil(frame, rng, coils or generator)
    if rng.random() < 0.25:  # ghosts along the phase
        image = image + float(rng.uniform(0, 0.12)) * torch.roll(image, int(rng.integers(15, 70)), dims=2)
    noise = torch.randn(1, 2, *frame.size, generator=generator) * float(
        np.exp(rng.uniform(np.log(0.003), np.log(0.07)))
    )
    if rng.random() < 0.5:
        noise = blurred(noise, 0.6) * 1.6
    image = torch.hypot(image + noise[:, :1], noise[:, 1:])
    if rng.random() < 0.3:  # ringing and filters that sharpen
        image = (image + float(rng.uniform(0, 0.9)) * (image - blurred(image, 1.0))).clamp_min(0)
    image = (image / (peak or image.amax() + 1e-3)) ** float(np.exp(rng.normal(0, 0.25)))
    return image[0, 0]


def coil(frame: Frame, rng: np.random.Generator, generator: torch.Generator) -> torch.Tensor:
    """Sensitivity of the coils, brighter at the back in most scans: (1, 1, rows, columns)."""
    rows, columns = frame.size
    y = (torch.arange(rows) - rows / 2)[:, None] * (frame.spacing_mm / 100)
    x = (torch.arange(columns) - columns / 2)[None, :] * (frame.spacing_mm / 100)
    tilt = rng.normal((-0.3, 0, 0), (0.5, 0.18, 0.15)).tolist()
    plane = tilt[0] * y + tilt[1] * x + tilt[2] * (y**2 + x**2)
    local = smooth_noise(1, frame, 110.0, generator) * float(rng.uniform(0, 0.3))
    return (plane + local).clamp(-2.5, 2.5).exp()


def normalized(image: torch.Tensor, seen: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Z-scores as a whole scan's statistics would give them, and 0 outside the field of view."""
    inside = image[seen]
    if not inside.numel():
        return torch.zeros_like(image)
    gain, offset = float(np.exp(rng.normal(0, 0.35))), float(rng.normal(0, 0.6))
    deviation = max(float(inside.std(correction=0)), 1e-4)
    return torch.where(seen, (image - inside.mean()) / deviation * gain + offset, 0.0)


def blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (1, channels, rows, columns)."""
    reach = max(1, int(np.ceil(2.5 * sigma)))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = weights / weights.sum()
    flat = image.transpose(0, 1)
    flat = functional.conv2d(functional.pad(flat, (reach, reach, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))
    flat = functional.conv2d(functional.pad(flat, (0, 0, reach, reach), mode="replicate"), weights.view(1, 1, -1, 1))
    return flat.transpose(0, 1)
