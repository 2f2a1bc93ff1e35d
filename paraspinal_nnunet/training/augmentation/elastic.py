"""The random elastic field of MONAI's Rand3DElastic, drawn on a coarse grid and evaluated only where it is asked for.

MONAI blurs uniform(-1, 1) noise of every voxel with a Gaussian that ends at a number of standard deviations, takes
what lies beyond the image as 0, and multiplies by the magnitude. A voxel's displacement is then a sum of some ten
thousand small terms, so it is Gaussian, and the field is known by its covariance: along each axis
``C(p, q) = sum over voxels k of g(p - k) g(q - k)``, times ``magnitude ** 2 / 3`` for uniform noise. Here the noise is
normal, one number per block of voxels, and stands at the block's centre with the square root of its length as weight.
For blocks shorter than sigma the sum over blocks equals the sum over voxels but for the borders; each row is scaled so
that the variance is MONAI's at every voxel, less towards the borders.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

NODE_SPACING = 4
"""Voxels per noise block."""

STEP = 2.0**-12
"""Displacements are whole multiples of this many voxels, so that the rounding of matrix products, which differs with
the size of the box asked for, does not show: every box holds the same numbers."""


@dataclass(frozen=True)
class ElasticField:
    """One drawn field.

    Attributes:
        noise: Normal numbers of the three components (along z, y, x) per node, shape (3, nodes z, nodes y, nodes x).
        kernels: Per axis, the weight of each node at each voxel, shape (voxels, nodes).
    """

    noise: np.ndarray
    kernels: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def draw(
        cls, generator: np.random.Generator, shape: Sequence[int], *, sigma: float, magnitude: float, truncation: float
    ) -> "ElasticField":
        """Draw a field for images of one shape.

        Args:
            generator: Source of randomness.
            shape: (z, y, x) of the image.
            sigma: Standard deviation of the blur in voxels, the same along all axes.
            magnitude: Factor of the blurred noise, in voxels.
            truncation: Where the blur's kernel ends, in standard deviations.
        """
        by_length = {n: axis_kernel(n, sigma, truncation) for n in set(shape)}
        z, y, x = (by_length[n] for n in shape)
        nodes = (3, z.shape[1], y.shape[1], x.shape[1])
        noise = generator.standard_normal(nodes, dtype=np.float32).astype(np.float64)
        noise *= magnitude / np.sqrt(3.0)  # uniform(-1, 1) has variance 1/3
        return cls(noise, (z, y, x))

    def on_box(self, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """Displacements in voxels at the voxels of a box inside the image, shape (3, *size), float64."""
        rows = [k[s : s + n] for k, s, n in zip(self.kernels, start, size, strict=True)]
        reach = [_reach(r) for r in rows]
        z, y, x = (r[:, span] for r, span in zip(rows, reach, strict=True))
        noise = self.noise[:, reach[0], reach[1], reach[2]]
        field = (z @ noise.reshape(3, z.shape[1], -1)).reshape(3, len(z), *noise.shape[2:])
        return _rounded((y @ field) @ x.T)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Displacements in voxels at single voxels.

        Args:
            points: (n, 3) whole numbers (z, y, x) inside the image.

        Returns:
            (n, 3), the same numbers as `on_box` has there.
        """
        field = np.empty((len(points), 3))
        for number, point in enumerate(points):
            rows = [k[i] for k, i in zip(self.kernels, point, strict=True)]
            reach = [_reach(r[None]) for r in rows]
            z, y, x = (r[span] for r, span in zip(rows, reach, strict=True))
            field[number] = (self.noise[:, reach[0], reach[1], reach[2]] @ x @ y) @ z
        return _rounded(field)


def axis_kernel(length: int, sigma: float, truncation: float) -> np.ndarray:
    """How much each noise node moves each voxel along one axis.

    Args:
        length: Voxels along the axis.
        sigma: Standard deviation of the blur in voxels.
        truncation: Where the kernel ends, in standard deviations.

    Returns:
        (length, nodes); the squares of row p sum to MONAI's ``C(p, p)``.
    """
    edges = np.append(np.arange(0, length, NODE_SPACING), length)
    centers = (edges[:-1] + edges[1:] - 1) / 2
    tail = kernel_tail(sigma, truncation)
    distance = np.arange(length)[:, None] - centers
    weights = np.sqrt(np.diff(edges)) * np.where(abs(distance) <= tail + 0.5, gaussian(distance, sigma), 0.0)
    squares = gaussian(np.arange(-tail, tail + 1), sigma) ** 2
    variance = np.convolve(np.ones(length), squares)[tail : tail + length]
    weights *= np.sqrt(variance / (weights**2).sum(axis=1))[:, None]
    return weights


def kernel_tail(sigma: float, truncation: float) -> int:
    """Voxels on each side of the blur's kernel. Source: MONAI 1.6.1, `gaussian_1d`."""
    return int(max(sigma * truncation, 0.5) + 0.5)


def gaussian(distance: np.ndarray, sigma: float) -> np.ndarray:
    """The blur's weight at a distance in voxels: the Gaussian's integral over one voxel. Source: as `kernel_tail`."""
    scale = 1 / (np.sqrt(2.0) * sigma)
    return 0.5 * (erf(scale * (distance + 0.5)) - erf(scale * (distance - 0.5)))


def _reach(rows: np.ndarray) -> slice:
    """The nodes that have any weight in some of the rows."""
    nodes = np.flatnonzero(rows.any(axis=0))
    return slice(int(nodes[0]), int(nodes[-1]) + 1)


def _rounded(field: np.ndarray) -> np.ndarray:
    field /= STEP
    np.rint(field, out=field)
    field *= STEP
    return field
