"""nnU-Net's resampling without its memory: linear and nearest interpolation axis by axis, splines by SciPy.

Both interpolations are products of one-dimensional ones, so results agree with `scipy.ndimage.zoom` (`grid_mode`, edges
repeated) to the rounding of float64, in which nnU-Net computes too. Source: nnU-Net 2.8, default_resampling.py.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from paraspinal_nnunet.inference.portable.pipeline import Resampling

ANISOTROPY_THRESHOLD = 3
"""Spacings further apart than this are resampled apart across the coarse axis. Source: nnunetv2.configuration."""


@dataclass(frozen=True)
class AxisMap:
    """Interpolation along one axis: out[n] = (1 - weight[n]) * in[lower[n]] + weight[n] * in[upper[n]]."""

    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray
    identity: bool

    def apply(self, array: np.ndarray, axis: int) -> np.ndarray:
        """Interpolate along one axis, in float64."""
        if self.identity:
            return array
        low = array.take(self.lower, axis)
        if not self.weight.any():
            return low
        shape = [1] * array.ndim
        shape[axis] = -1
        weight = self.weight.reshape(shape)
        difference = array.take(self.upper, axis)
        difference -= low
        difference *= weight
        difference += low
        return difference


@lru_cache(maxsize=32)
def axis_map(old: int, new: int, order: int) -> AxisMap:
    """The map of an axis of `old` voxels to one of `new` that covers the same length.

    Args:
        old: Voxels there are.
        new: Voxels there shall be.
        order: 0 nearest, 1 linear.
    """
    position = np.clip(old / new * (np.arange(new) + 0.5) - 0.5, 0, old - 1)
    lower = np.floor(position + (0.5 if order == 0 else 0)).astype(np.intp)
    weight = np.zeros(new) if order == 0 else position - lower
    return AxisMap(lower, np.minimum(lower + 1, old - 1), weight, old == new)


def separate_axis(resampling: Resampling, current_mm: Sequence[float], new_mm: Sequence[float]) -> int | None:
    """The coarse axis if it is resampled apart from the others, else None."""
    if resampling.force_separate_z is False:
        return None
    if resampling.force_separate_z or _is_coarse(current_mm):
        decisive = current_mm
    elif _is_coarse(new_mm):
        decisive = new_mm
    else:
        return None
    coarsest = np.flatnonzero(max(decisive) / np.asarray(decisive) == 1)
    return int(coarsest[0]) if len(coarsest) == 1 else None


def axis_orders(resampling: Resampling, current_mm: Sequence[float], new_mm: Sequence[float]) -> tuple[int, ...]:
    """Order of the interpolation along each axis."""
    apart = separate_axis(resampling, current_mm, new_mm)
    return tuple(resampling.order_z if axis == apart else resampling.order for axis in range(3))


def resample_image(
    image: np.ndarray,
    new_shape: Sequence[int],
    current_mm: Sequence[float],
    new_mm: Sequence[float],
    resampling: Resampling,
) -> np.ndarray:
    """Resample one channel.

    Args:
        image: (z, y, x) float32.
        new_shape: To this shape.
        current_mm: Spacing before.
        new_mm: Spacing after.
        resampling: Orders.

    Returns:
        float32; the image itself when the shape stays.
    """
    if tuple(image.shape) == tuple(new_shape):
        return image
    orders = axis_orders(resampling, current_mm, new_mm)
    if max(orders) > 1:
        return _by_splines(image, new_shape, separate_axis(resampling, current_mm, new_mm), resampling)
    maps = [axis_map(old, new, order) for old, new, order in zip(image.shape, new_shape, orders, strict=True)]
    slices = [_in_plane(plane[None], maps)[0].astype(np.float64) for plane in image]
    out = np.empty(tuple(new_shape), np.float32)
    for place in range(new_shape[0]):
        out[place] = _between(slices, maps[0], place)
    return out


def resampled_labels(
    logits: Iterable[np.ndarray], old_shape: Sequence[int], new_shape: Sequence[int], orders: Sequence[int]
) -> Iterator[np.ndarray]:
    """Label slices on another grid, from slices of logits that come one after the other.

    Args:
        logits: (classes, y, x) float16 for each z.
        old_shape: (z, y, x) of the logits.
        new_shape: (z, y, x) of the labels.
        orders: 0 or 1 per axis.

    Yields:
        (y, x) uint8, the class of the largest logit after rounding to float16, as nnU-Net rounds; the first of equals.
    """
    if tuple(old_shape) == tuple(new_shape):
        yield from map(largest_class, logits)
        return
    maps = [axis_map(old, new, order) for old, new, order in zip(old_shape, new_shape, orders, strict=True)]
    source, held, count = iter(logits), dict[int, np.ndarray](), 0
    for place in range(new_shape[0]):
        while count <= maps[0].upper[place]:
            held[count] = _in_plane(next(source), maps)
            count += 1
        yield largest_class(_between(held, maps[0], place).astype(np.float16))
        for done in [z for z in held if z < maps[0].lower[place]]:
            del held[done]
    for _ in source:  # nearest neighbours may leave the last slices unused; whoever makes them still counts on it
        pass


def largest_class(logits: np.ndarray) -> np.ndarray:
    """The class of the largest logit, the first of equals.

    Args:
        logits: (classes, y, x).

    Returns:
        (y, x) uint8.
    """
    values = logits.astype(np.float32, copy=False)
    best = values[0].copy()
    labels = np.zeros(best.shape, np.uint8)
    for label in range(1, len(values)):
        np.copyto(labels, label, where=values[label] > best)
        np.maximum(best, values[label], out=best)
    return labels


def new_shape_of(shape: Sequence[int], current_mm: Sequence[float], new_mm: Sequence[float]) -> tuple[int, ...]:
    """The shape at another spacing, rounded as nnU-Net rounds."""
    return tuple(round(old / new * size) for old, new, size in zip(current_mm, new_mm, shape, strict=True))


def _is_coarse(spacing_mm: Sequence[float]) -> bool:
    return max(spacing_mm) / min(spacing_mm) > ANISOTROPY_THRESHOLD


def _in_plane(plane: np.ndarray, maps: Sequence[AxisMap]) -> np.ndarray:
    wide = plane.astype(np.float64)
    return maps[2].apply(maps[1].apply(wide, 1), 2)


def _between(slices: "dict[int, np.ndarray] | list[np.ndarray]", axis: AxisMap, place: int) -> np.ndarray:
    lower, upper, weight = axis.lower[place], axis.upper[place], axis.weight[place]
    if weight == 0:
        return slices[lower]
    between: np.ndarray = slices[upper] - slices[lower]
    between *= weight
    between += slices[lower]
    return between


def _by_splines(image: np.ndarray, new_shape: Sequence[int], apart: int | None, resampling: Resampling) -> np.ndarray:
    """Splines of order 2 and more, in nnU-Net's order: each slice across the coarse axis, then along it."""
    from scipy import ndimage

    wide = image.astype(np.float64)
    if apart is None:
        return _zoomed(wide, new_shape, resampling.order).astype(np.float32)
    plane_shape = [size for axis, size in enumerate(new_shape) if axis != apart]
    planes = [_zoomed(plane, plane_shape, resampling.order) for plane in np.moveaxis(wide, apart, 0)]
    stack = np.stack(planes, axis=apart)
    old, new = stack.shape[apart], new_shape[apart]
    if old == new:
        return stack.astype(np.float32)
    if resampling.order_z <= 1:
        return axis_map(old, new, resampling.order_z).apply(stack, apart).astype(np.float32)
    grid = np.mgrid[tuple(slice(size) for size in new_shape)].astype(np.float64)
    grid[apart] = old / new * (grid[apart] + 0.5) - 0.5
    return ndimage.map_coordinates(stack, grid, order=resampling.order_z, mode="nearest").astype(np.float32)


def _zoomed(array: np.ndarray, shape: Sequence[int], order: int) -> np.ndarray:
    """`skimage.transform.resize` without anti-aliasing: a spline, clipped to the range of what it interpolates."""
    from scipy import ndimage

    zoom = [new / old for old, new in zip(array.shape, shape, strict=True)]
    resized: np.ndarray = ndimage.zoom(array, zoom, order=order, mode="nearest", grid_mode=True)
    return np.clip(resized, array.min(), array.max(), out=resized)
