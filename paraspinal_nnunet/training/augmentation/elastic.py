"""The random elastic field of MONAI's Rand3DElastic, drawn on a coarse grid and evaluated only where it is asked for.

MONAI blurs uniform(-1, 1) noise of every voxel with a Gaussian that ends at a number of standard deviations, takes
what lies beyond the image as 0, and multiplies by the magnitude. A voxel's displacement is then a sum of some ten
thousand small terms, so it is Gaussian, and the field is known by its covariance: along each axis
``C(p, q) = sum over voxels k of g(p - k) g(q - k)``, times ``magnitude ** 2 / 3`` for uniform noise. Here the noise is
normal, one number per block of voxels, and stands at the block's centre with the square root of its length as weight.
For blocks shorter than sigma the sum over blocks equals the sum over voxels but for the borders; each row is scaled so
that the variance is MONAI's at every voxel, less towards the borders.

Numbers of displacements and kernels are float64: the processor and a GPU then round to the same multiple of `STEP`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

import numpy as np
import torch

from paraspinal_nnunet.training.augmentation.transform import ImageTransform

NODE_SPACING = 4
"""Voxels per noise block."""

STEP = 2.0**-12
"""Displacements are whole multiples of this many voxels, so that the rounding of matrix products, which differs with
the size of the box asked for, does not show: every box holds the same numbers."""

TERMS = {"cpu": 2**19, "cuda": 2**25}
"""Products of noise and weights that are held at once while single voxels are evaluated, by device."""


@dataclass(frozen=True)
class ElasticFields:
    """The fields of some images, one row each; all tensors lie on one device.

    Attributes:
        noise: Normal numbers of all images one after the other, per image of shape (3, nodes z, nodes y, nodes x);
            components along z, y, x.
        offset: Where an image's noise begins, shape (images,).
        lengths: Voxels (z, y, x) of the images, shape (images, 3).
        sigma: Standard deviation of the blur in voxels, the same along all axes, shape (images,).
        tail: Voxels on each side of the blur's kernel, shape (images,).
        factor: What the blurred noise is multiplied by; 0 for images without a field, shape (images,).
        reach: The largest tail, and at least as many nodes per axis (z, y, x) as any image has.
    """

    noise: torch.Tensor
    offset: torch.Tensor
    lengths: torch.Tensor
    sigma: torch.Tensor
    tail: torch.Tensor
    factor: torch.Tensor
    reach: tuple[int, tuple[int, int, int]]

    @classmethod
    def of(
        cls,
        transforms: Sequence[ImageTransform],
        shapes: Sequence[Sequence[int]],
        device: torch.device,
        noise: torch.Tensor | None = None,
    ) -> "ElasticFields | None":
        """The fields of augmented images; None where no image has any.

        Args:
            transforms: The images' parameters.
            shapes: (z, y, x) of each.
            device: Where displacements are computed.
            noise: Where the noise of these images will be written, zeros until then; None draws it at once.
        """
        if not any(has_field(t) for t in transforms):
            return None
        if noise is None:
            drawn = [draw_noise(t, s).ravel() for t, s in zip(transforms, shapes, strict=True)]
            noise = torch.from_numpy(np.concatenate(drawn)).to(device)
        sigmas = [t.sigma if has_field(t) else 1.0 for t in transforms]
        tails = [kernel_tail(s, t.truncation) for s, t in zip(sigmas, transforms, strict=True)]
        nodes = np.array([node_counts(s) for s in shapes])

        def tensor(values: object, dtype: torch.dtype = torch.float64) -> torch.Tensor:
            return torch.tensor(np.asarray(values), dtype=dtype, device=device)

        return cls(
            noise=noise,
            offset=tensor(noise_offsets(transforms, shapes)[:-1], torch.int64),
            lengths=tensor(shapes, torch.int64),
            sigma=tensor(sigmas),
            tail=tensor(tails, torch.int64),
            factor=tensor([t.magnitude / np.sqrt(3.0) if has_field(t) else 0.0 for t in transforms]),  # variance 1/3
            reach=(max(tails), (int(nodes[:, 0].max()), int(nodes[:, 1].max()), int(nodes[:, 2].max()))),
        )

    def rows(self, index: torch.Tensor | slice) -> "ElasticFields":
        """The fields of some images, by their rows; a row may be asked for several times."""
        names = ("offset", "lengths", "sigma", "tail", "factor")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def on_boxes(self, starts: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Displacements in voxels at the voxels of one box in each image.

        Args:
            starts: First voxel (z, y, x) of each box, shape (images, 3); what lies beyond the image gets its edge's.
            size: Of all boxes, (z, y, x).

        Returns:
            (images, 3, *size), float64.
        """
        nodes, weights = [], []
        for axis, length in enumerate(size):
            voxels = starts[:, axis, None] + torch.arange(length, device=starts.device)
            voxels = torch.minimum(voxels.clamp(min=0), self.lengths[:, axis, None] - 1)
            nodes.append(self._nodes(voxels[:, 0], axis, length)[:, None])
            weights.append(self._weights(voxels, nodes[-1], axis))
        z, y, x = weights
        noise = self._noise_at([n[:, 0] for n in nodes])
        images, nodes_z, _, nodes_y, nodes_x = noise.shape
        along_z_first = size[0] < nodes_z
        if along_z_first:
            noise = (z @ noise.reshape(images, nodes_z, -1)).reshape(images, size[0], 3, nodes_y, nodes_x)
        field = torch.matmul(torch.matmul(y[:, None, None], noise), x.mT[:, None, None])
        if not along_z_first:
            field = (z @ field.reshape(images, nodes_z, -1)).reshape(images, size[0], 3, *size[1:])
        return self._finished(field.transpose(1, 2))

    def at(self, voxels: torch.Tensor) -> torch.Tensor:
        """Displacements in voxels at single voxels of each image, the same numbers as `on_boxes` has there.

        Args:
            voxels: Whole numbers (z, y, x) inside the image, shape (images, points, 3).

        Returns:
            (images, points, 3), float64.
        """
        terms = 3 * prod(self._window(1, axis) for axis in range(3))
        points = max(1, TERMS.get(voxels.device.type, TERMS["cpu"]) // (terms * len(voxels)))
        return torch.cat([self._at(part) for part in voxels.split(points, dim=1)], dim=1)

    def _at(self, voxels: torch.Tensor) -> torch.Tensor:
        nodes = [self._nodes(voxels[:, :, axis], axis, 1) for axis in range(3)]
        z, y, x = (self._weights(voxels[:, :, axis], nodes[axis], axis).flatten(0, 1)[:, :, None] for axis in range(3))
        noise = self._noise_at([n.flatten(0, 1) for n in nodes], repeats=voxels.shape[1])
        points, nodes_z, _, nodes_y, nodes_x = noise.shape
        field = noise.reshape(points, -1, nodes_x) @ x
        field = field.reshape(points, -1, nodes_y) @ y
        field = z.mT @ field.reshape(points, nodes_z, 3)
        return self._finished(field.reshape(*voxels.shape[:2], 3))

    def _window(self, length: int, axis: int) -> int:
        """Nodes that bear on a stretch of voxels, at most."""
        tail, nodes = self.reach
        return min((2 * length + 4 * tail + 3) // (2 * NODE_SPACING) + 1, nodes[axis])

    def _nodes(self, first: torch.Tensor, axis: int, length: int) -> torch.Tensor:
        """The nodes that bear on a stretch that begins at voxels `first`, shape (*first, nodes); some are none."""
        tail, _ = self.reach
        lowest = -torch.div(tail + 2 - first, NODE_SPACING, rounding_mode="floor")
        count = self._window(length, axis)
        all_nodes = torch.div(self.lengths[:, axis] + NODE_SPACING - 1, NODE_SPACING, rounding_mode="floor")
        highest = (all_nodes - count).reshape(-1, *[1] * (first.ndim - 1))
        lowest = torch.minimum(lowest, highest).clamp(min=0)
        return lowest[..., None] + torch.arange(count, device=first.device)

    def _weights(self, voxels: torch.Tensor, nodes: torch.Tensor, axis: int) -> torch.Tensor:
        length, sigma, tail = (v[:, None] for v in (self.lengths[:, axis], self.sigma, self.tail))
        return kernel_rows(voxels, nodes, length=length, sigma=sigma, tail=tail, reach=self.reach[0])

    def _noise_at(self, nodes: Sequence[torch.Tensor], repeats: int = 1) -> torch.Tensor:
        """The noise at a block of nodes per row, shape (rows, nodes z, 3, nodes y, nodes x), float64.

        Args:
            nodes: Per axis, shape (rows, nodes); those beyond an image have no weight and get any noise.
            repeats: Rows per image.
        """
        counts = torch.div(self.lengths + NODE_SPACING - 1, NODE_SPACING, rounding_mode="floor")
        counts, offset = counts.repeat_interleave(repeats, 0), self.offset.repeat_interleave(repeats)
        z, y, x = (torch.minimum(n, counts[:, a, None] - 1) for a, n in enumerate(nodes))
        of_y, of_x = counts[:, 1, None], counts[:, 2, None]
        component = torch.arange(3, device=z.device) * counts.prod(1)[:, None]
        planes = (offset[:, None] + z * of_y * of_x)[:, :, None] + component[:, None, :]
        index = planes[:, :, :, None, None] + (y * of_x)[:, None, None, :, None] + x[:, None, None, None, :]
        index.clamp_(max=self.noise.numel() - 1)  # images without a field have no noise
        return self.noise[index].double()

    def _finished(self, field: torch.Tensor) -> torch.Tensor:
        field = field * (self.factor / STEP).reshape(-1, *[1] * (field.ndim - 1))
        return field.round_().mul_(STEP)


def has_field(transform: ImageTransform) -> bool:
    """Whether an image is displaced elastically."""
    return transform.sigma > 0 and transform.magnitude > 0


def node_counts(shape: Sequence[int]) -> tuple[int, int, int]:
    """Noise blocks along z, y, x of an image of a (z, y, x) shape."""
    z, y, x = (ceil(n / NODE_SPACING) for n in shape)
    return z, y, x


def noise_offsets(transforms: Sequence[ImageTransform], shapes: Sequence[Sequence[int]]) -> np.ndarray:
    """Where the noise of each image begins when it stands in one row, and where the last ends, shape (images + 1,)."""
    sizes = [3 * prod(node_counts(s)) if has_field(t) else 0 for t, s in zip(transforms, shapes, strict=True)]
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def draw_noise(transform: ImageTransform, shape: Sequence[int]) -> np.ndarray:
    """The normal numbers of an image's field, shape (3, nodes z, nodes y, nodes x), float32; none where it has none."""
    if not has_field(transform):
        return np.empty(0, np.float32)
    generator = np.random.default_rng(transform.entropy)
    return generator.standard_normal((3, *node_counts(shape)), dtype=np.float32)


def kernel_rows(
    voxels: torch.Tensor,
    nodes: torch.Tensor,
    *,
    length: torch.Tensor,
    sigma: torch.Tensor,
    tail: torch.Tensor,
    reach: int,
) -> torch.Tensor:
    """How much noise nodes move voxels along one axis.

    Args:
        voxels: Whole numbers inside the image, shape (images, voxels).
        nodes: Numbers of nodes, shape (images, 1 or voxels, nodes): all that lie within the tail of the voxels.
        length: Voxels along the axis, shape (images, 1).
        sigma: Standard deviation of the blur in voxels, shape (images, 1).
        tail: `kernel_tail`, shape (images, 1).
        reach: The largest tail.

    Returns:
        (images, voxels, nodes), float64; the squares of a voxel's row sum to MONAI's ``C(p, p)``.
    """
    begin = nodes * NODE_SPACING
    end = torch.minimum(begin + NODE_SPACING, length[:, :, None])
    distance = voxels[:, :, None] - (begin + end - 1).double() / 2
    weights = gaussian(distance, sigma[:, :, None]) * (end - begin).clamp(min=0).double().sqrt()
    weights *= distance.abs() <= tail[:, :, None] + 0.5
    return weights * (_variance(voxels, length, sigma, tail, reach) / weights.square().sum(2)).sqrt()[:, :, None]


def _variance(
    voxels: torch.Tensor, length: torch.Tensor, sigma: torch.Tensor, tail: torch.Tensor, reach: int
) -> torch.Tensor:
    """MONAI's ``C(p, p)``: the sum of the kernel's squares over the voxels that the image has."""
    offsets = torch.arange(-reach, reach + 1, device=voxels.device)
    squares = gaussian(offsets.double(), sigma).square() * (offsets.abs() <= tail)
    sums = torch.nn.functional.pad(squares.cumsum(1), (1, 0))
    below, above = torch.minimum(voxels, tail), torch.minimum(length - 1 - voxels, tail)
    return sums.gather(1, reach + 1 + above) - sums.gather(1, reach - below)


def kernel_tail(sigma: float, truncation: float) -> int:
    """Voxels on each side of the blur's kernel. Source: MONAI 1.6.1, `gaussian_1d`."""
    return int(max(sigma * truncation, 0.5) + 0.5)


def gaussian(distance: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The blur's weight at a distance in voxels: the Gaussian's integral over one voxel. Source: as `kernel_tail`."""
    scale = 1 / (np.sqrt(2.0) * sigma)
    return 0.5 * (torch.erf(scale * (distance + 0.5)) - torch.erf(scale * (distance - 0.5)))
