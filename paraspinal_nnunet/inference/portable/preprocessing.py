"""From a scan to the array that the network sees, and from labels on its grid back to the scan's, as nnU-Net does it.

Source: nnU-Net 2.8, DefaultPreprocessor and default_normalization_schemes.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.geometry import from_ras, spacing_mm, to_ras
from paraspinal_nnunet.inference.portable.pipeline import Pipeline
from paraspinal_nnunet.inference.portable.resampling import axis_orders, new_shape_of, resample_image, resampled_labels

if TYPE_CHECKING:
    from paraspinal_nnunet.image_io.volume import Volume

SMALLEST_DIVISOR = 1e-8

_SQUARED_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Prepared:
    """A scan as the network sees it, and the way back.

    Attributes:
        data: (1, z, y, x) float32, contiguous.
        full_shape: (z, y, x) before cropping.
        box: The part of it that holds anything but zeros.
        shape: (z, y, x) of that part.
        spacing_mm: Of the scan, in the order of `data`.
        network_spacing_mm: Of `data`.
    """

    data: np.ndarray
    full_shape: tuple[int, ...]
    box: tuple[slice, ...]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    network_spacing_mm: tuple[float, ...]


def prepare(volume: "Volume", pipeline: Pipeline) -> Prepared:
    """Turn, transpose, crop to what is not zero, normalise and resample.

    Args:
        volume: The scan.
        pipeline: The model's.
    """
    array, spacing = _in_network_order(volume, pipeline)
    box = nonzero_box(array)
    image = np.array(array[box], dtype=np.float32, order="C")
    normalize(image, pipeline)
    target = pipeline.spacing_mm if len(pipeline.spacing_mm) == 3 else (spacing[0], *pipeline.spacing_mm)
    shape = new_shape_of(image.shape, spacing, target)
    if min(shape) < 1:
        raise InputError(
            f"a scan of {image.shape} voxels of {spacing} mm (z, y, x) vanishes at the model's {target} mm"
        )
    resampled = resample_image(image, shape, spacing, target, pipeline.data)
    return Prepared(resampled[None], array.shape, box, image.shape, spacing, target)


def restore(logits: Iterable[np.ndarray], prepared: Prepared, volume: "Volume", pipeline: Pipeline) -> np.ndarray:
    """Labels on the scan's own grid.

    Args:
        logits: (classes, y, x) float16 for each z of the network's grid.
        prepared: What they belong to.
        volume: The scan.
        pipeline: The model's.

    Returns:
        (i, j, k) uint8.
    """
    full = np.zeros(prepared.full_shape, np.uint8)
    cropped = full[prepared.box]
    grid = prepared.data.shape[1:]
    orders = axis_orders(pipeline.logits, prepared.network_spacing_mm, prepared.spacing_mm)
    for place, labels in enumerate(resampled_labels(logits, grid, prepared.shape, orders)):
        cropped[place] = labels
    stored = full.transpose(pipeline.transpose_backward).transpose(2, 1, 0)
    if pipeline.reorient:
        stored = from_ras(stored, volume.affine)
    return np.ascontiguousarray(stored)


def nonzero_box(array: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds every voxel but zeros; the whole array when all are zero."""
    mask = array != 0
    sides = []
    for axis in range(3):
        occupied = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        sides.append(slice(int(occupied[0]), int(occupied[-1]) + 1) if len(occupied) else slice(0, array.shape[axis]))
    return tuple(sides)


def normalize(image: np.ndarray, pipeline: Pipeline) -> None:
    """Normalise in place.

    Args:
        image: (z, y, x) float32, cropped to what is not zero.
        pipeline: Scheme and statistics.

    Raises:
        InputError: Values outside 0..255 where the scheme is for such.
    """
    if pipeline.normalization == "ZScoreNormalization":
        _z_score(image, nonzero_only=pipeline.nonzero_only)
    elif pipeline.normalization == "CTNormalization":
        known = pipeline.intensities
        np.clip(image, known["percentile_00_5"], known["percentile_99_5"], out=image)
        image -= known["mean"]
        image /= max(known["std"], SMALLEST_DIVISOR)
    elif pipeline.normalization == "RescaleTo01Normalization":
        image -= image.min()
        image /= np.clip(image.max(), SMALLEST_DIVISOR, None)
    elif pipeline.normalization == "RGBTo01Normalization":
        if image.min() < 0 or image.max() > 255:
            raise InputError(f"this model takes grey values of 0 to 255, found {image.min():g} to {image.max():g}")
        image /= 255.0


def body_mask(image: np.ndarray) -> np.ndarray | None:
    """Voxels that are not zero or lie in a hole among such; None when there is no zero outside.

    A cropped image gives what nnU-Net finds in the whole one, since nothing but zeros was cropped away.
    """
    zeros = image == 0
    if not zeros.any():
        return None
    from scipy import ndimage

    pieces, count = ndimage.label(zeros)
    faces = [pieces.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]
    is_outside = np.zeros(count + 1, bool)
    is_outside[np.concatenate(faces)] = True
    is_outside[0] = False
    return ~is_outside[pieces] if is_outside.any() else None


def _z_score(image: np.ndarray, *, nonzero_only: bool) -> None:
    mask = body_mask(image) if nonzero_only else None
    if mask is not None and not mask.any():
        return
    image -= (image.ravel() if mask is None else image[mask]).mean()
    inside = image.ravel() if mask is None else image[mask]
    deviation = np.sqrt(np.float32(float(_sum_of_squares(inside)) / inside.size))
    image /= max(deviation, SMALLEST_DIVISOR)
    if mask is not None:
        image[~mask] = 0


def _sum_of_squares(values: np.ndarray) -> np.float32:
    """To the last bit what NumPy's `std` adds up, half by half as it does, but without a copy of a large scan."""
    if values.size <= _SQUARED_AT_ONCE:
        return np.add.reduce(np.square(values))
    half = values.size // 2
    half -= half % 8
    return _sum_of_squares(values[:half]) + _sum_of_squares(values[half:])


def _in_network_order(volume: "Volume", pipeline: Pipeline) -> tuple[np.ndarray, tuple[float, ...]]:
    array = volume.array
    spacing: tuple[float, ...] = volume.spacing_mm
    if pipeline.reorient:
        array, ras = to_ras(array, volume.affine)
        spacing = spacing_mm(ras)
    spacing_zyx = [float(np.float32(mm)) for mm in spacing[::-1]]  # as NIfTI headers hold it
    forward = pipeline.transpose_forward
    return array.transpose(2, 1, 0).transpose(forward), tuple(spacing_zyx[axis] for axis in forward)
