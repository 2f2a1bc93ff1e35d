"""Where the pixels of a training image are taken from: pose, elastic deformation and field of view."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

FINER = 2
"""Image pixels are the mean of FINER x FINER painted ones."""


@dataclass(frozen=True)
class Frame:
    """How images are sampled.

    Attributes:
        size: Rows and columns.
        spacing_mm: Of their pixels.
    """

    size: tuple[int, int]
    spacing_mm: float

    @property
    def fine(self) -> "Frame":
        """The frame that is painted."""
        return Frame((self.size[0] * FINER, self.size[1] * FINER), self.spacing_mm / FINER)


@dataclass(frozen=True)
class Pose:
    """How one image is taken. Pairs are (x, y); lengths are mm.

    Attributes:
        mirrored: Whether right and left change places, labels with them.
        angle: Radians.
        scale: Of the body's image, below 1 for a larger body.
        shear: Share of y added to x.
        half: Half the field of view.
        middle: Of the field of view, seen from the spinal canal.
        patch: Where in a larger field of view the image lies, -1 to 1.
        elastic: Strength of the broad and of the fine deformation.
    """

    mirrored: bool
    angle: float
    scale: tuple[float, float]
    shear: float
    half: tuple[float, float]
    middle: tuple[float, float]
    patch: tuple[float, float]
    elastic: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Pose":
        """Any pose."""
        scale = np.exp(rng.normal(0, 0.06))
        centred = rng.random() < 0.6
        return cls(
            mirrored=bool(rng.random() < 0.5),
            angle=float(np.clip(rng.normal(0, 0.08), -0.3, 0.3)),
            scale=(float(scale * np.exp(rng.normal(0, 0.05))), float(scale * np.exp(rng.normal(0, 0.06)))),
            shear=float(rng.normal(0, 0.05)),
            half=(float(rng.uniform(95, 215)), float(rng.uniform(85, 200))),
            middle=(float(rng.normal(0, 12 if centred else 50)), float(rng.normal(5, 15 if centred else 40))),
            patch=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))),
            elastic=(float(abs(rng.normal(0, 2.8))), float(abs(rng.normal(0, 1.0)))),
        )

    def centre(self, frame: Frame) -> tuple[float, float]:
        """Middle of an image that lies inside a larger field of view, or around a smaller one."""
        found = []
        for axis, size in enumerate(frame.size[::-1]):
            room = abs(self.half[axis] - size * frame.spacing_mm / 2)
            found.append(self.middle[axis] + room * self.patch[axis])
        return found[0], found[1]

    def seen(self, frame: Frame) -> torch.Tensor:
        """Bool (rows, columns): pixels inside the field of view."""
        parts = []
        for axis, size in enumerate(frame.size[::-1]):
            position = (torch.arange(size) + 0.5 - size / 2) * frame.spacing_mm + self.centre(frame)[axis]
            parts.append((position - self.middle[axis]).abs() <= self.half[axis])
        return parts[1][:, None] & parts[0][None, :]

    def places(self, frame: Frame, generator: torch.Generator) -> torch.Tensor:
        """Where each pixel comes from: float32 (1, 2, rows, columns), x and y."""
        rows, columns = frame.size
        centre = self.centre(frame)
        x = ((torch.arange(columns) + 0.5 - columns / 2) * frame.spacing_mm + centre[0])[None, :]
        y = ((torch.arange(rows) + 0.5 - rows / 2) * frame.spacing_mm + centre[1])[:, None]
        c, s = float(np.cos(self.angle)), float(np.sin(self.angle))
        found = torch.empty(1, 2, rows, columns)
        found[0, 0] = (c * x - s * y) * self.scale[0] + self.shear * y
        found[0, 1] = (s * x + c * y) * self.scale[1]
        if self.mirrored:
            found[0, 0] *= -1
        found += self.elastic[0] * smooth_noise(2, frame, 65.0, generator)
        found += self.elastic[1] * smooth_noise(2, frame, 22.0, generator)
        return found


def smooth_noise(channels: int, frame: Frame, length_mm: float, generator: torch.Generator) -> torch.Tensor:
    """Noise of about unit variance that changes over a length: (1, channels, rows, columns)."""
    small = [max(4, round(n * frame.spacing_mm / length_mm) + 3) for n in frame.size]
    values = torch.randn(1, channels, *small, generator=generator)
    return functional.interpolate(values, size=frame.size, mode="bicubic", align_corners=True) * 1.3
