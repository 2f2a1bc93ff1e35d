"""What is kept of a scan to find copies of it: hashes of its slices, and a thumbnail of its texture."""

import hashlib
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

from paraspinal_nnunet.image_io.geometry import spacing_mm, to_ras
from paraspinal_nnunet.image_io.volume import Volume

THUMBNAIL_SHAPE = (48, 40, 16)
THUMBNAIL_MM = (5.0, 5.0, 8.0)
"""Cells along the patient's right, front and head: 240 x 200 x 128 mm around the middle of the scan."""

DETAIL_SIGMA_CELLS = (2.5, 2.5, 1.5)
"""Structures wider than this are taken away before thumbnails are compared: coil shading, and the trunk's outline,
which all scans share."""

_OFFSET_SHARE = 0.05
_CLIP_SD = 3.0
_LARGEST = 127


@dataclass(frozen=True)
class Fingerprint:
    """One channel of a case.

    Attributes:
        slices: One hash per axial slice that is not constant, the same for the slice mirrored left-right or
            front-back.
        thumbnail: int8 of `THUMBNAIL_SHAPE`, mean 0 but for rounding, so that thousands of them fit into memory;
            None where the scan has no texture.
    """

    slices: tuple[bytes, ...]
    thumbnail: np.ndarray | None


def fingerprint(image: Volume) -> Fingerprint:
    """The fingerprint of a scan.

    The thumbnail is of log intensities without their slow changes, so that it hardly depends on scaling, offset and
    shading. It is laid out along the stored axes nearest to right, front and head, centred on the scan.

    Args:
        image: In any stored orientation.
    """
    array, affine = to_ras(image.array, image.affine)
    return Fingerprint(_slice_hashes(array), _thumbnail(array, spacing_mm(affine)))


def _slice_hashes(array: np.ndarray) -> tuple[bytes, ...]:
    hashes = []
    for k in range(array.shape[2]):
        plane = np.asarray(array[:, :, k], np.float32)
        if plane.min() != plane.max():
            face = reduce(_lesser, (plane[::-1], plane[:, ::-1], plane[::-1, ::-1]), plane)
            hashes.append(hashlib.blake2b(np.ascontiguousarray(face), digest_size=16).digest())
    return tuple(hashes)


def _lesser(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The one of two planes that has the smaller value where they first differ."""
    differ = (one != other).ravel()
    first = int(differ.argmax())
    return one if one.flat[first] <= other.flat[first] else other


def _thumbnail(array: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray | None:
    small, cell_mm = _block_means(array, spacing)
    low, high = np.percentile(small, (0.5, 99.0))
    if high <= low:
        return None
    logs = np.log(np.clip((small - low) / (high - low), 0, None) + _OFFSET_SHARE)
    scale = np.array(THUMBNAIL_MM) / cell_mm
    start = (np.array(small.shape) - 1) / 2 - scale * (np.array(THUMBNAIL_SHAPE) - 1) / 2
    cells = affine_transform(logs, scale, start, output_shape=THUMBNAIL_SHAPE, order=1, mode="nearest")
    detail = cells - gaussian_filter(cells, DETAIL_SIGMA_CELLS, mode="nearest")
    detail = _inside(detail, small.shape, scale, start)
    detail -= detail.mean()
    sd = float(detail.std())
    if sd < 1e-6:
        return None
    detail = np.clip(detail, -_CLIP_SD * sd, _CLIP_SD * sd)
    detail -= detail.mean()
    return np.rint(detail * (_LARGEST / np.abs(detail).max())).astype(np.int8)


def _block_means(array: np.ndarray, spacing: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The scan averaged over whole blocks of voxels no larger than a cell, around its middle, and their size in mm."""
    factors = [max(1, min(n, int(cell / mm))) for n, cell, mm in zip(array.shape, THUMBNAIL_MM, spacing, strict=True)]
    box = []
    for n, factor in zip(array.shape, factors, strict=True):
        spare = n % factor
        box.append(slice(spare // 2, n - (spare - spare // 2)))
    cut = array[tuple(box)]
    blocks = cut.reshape([m for n, f in zip(cut.shape, factors, strict=True) for m in (n // f, f)])
    return blocks.mean(axis=(1, 3, 5), dtype=np.float32), np.array(factors) * np.array(spacing)


def _inside(detail: np.ndarray, shape: tuple[int, ...], scale: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Zero where a cell's middle lies outside of the scan."""
    for axis in range(3):
        place = start[axis] + scale[axis] * np.arange(detail.shape[axis])
        outside = (place < -0.5) | (place > shape[axis] - 0.5)
        detail[(slice(None),) * axis + (outside,)] = 0
    return detail
