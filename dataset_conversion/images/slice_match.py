"""Where a cut-out of a scan lies in the scan, told by the voxels alone: cutting tools often lose the origin."""

import numpy as np

from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.image_io.geometry import by_text, to_ras
from paraspinal_nnunet.image_io.volume import Volume

SAME_CORRELATION = 0.999
"""Pearson's r of a cut-out with its own place; number types and scaling differ between tools, voxels do not."""

MARGIN = 0.002
"""By how much every other place must be worse. In subject TUM01 of LPM_Segmentator, cut-outs of 6 to 20 slices
correlate with the place one slice off by 0.978 to 0.994."""

SPACING_TOLERANCE = 1e-3
"""Relative: tools round the voxel size."""

_STRIDE = 3


def find_slices(part: Volume, whole: Volume, name: str) -> int:
    """The slice of a scan at which a cut-out begins, both seen in RAS.

    Args:
        part: A cut-out along head-foot with all rows and columns, on a grid whose origin counts for nothing.
        whole: The scan.
        name: The cut-out's file, for messages.

    Returns:
        Index of its first slice, counted from the feet.

    Raises:
        GeometryError: Other rows, columns or voxel sizes, or no place, or several, where the voxels are the same.
    """
    (small, small_affine), (large, large_affine) = to_ras(part.array, part.affine), to_ras(whole.array, whole.affine)
    spacing_small, spacing_large = (np.linalg.norm(a[:3, :3], axis=0) for a in (small_affine, large_affine))
    if small.shape[:2] != large.shape[:2] or small.shape[2] > large.shape[2]:
        raise GeometryError(f"{name}: voxels {small.shape} are no cut-out of {large.shape}")
    if np.abs(spacing_small / spacing_large - 1).max() > SPACING_TOLERANCE:
        sizes = " against ".join(by_text(s) for s in (spacing_small, spacing_large))
        raise GeometryError(f"{name}: voxels of {sizes} mm are no cut-out")
    scores = _correlations(small[::_STRIDE, ::_STRIDE], large[::_STRIDE, ::_STRIDE])
    best = int(np.argmax(scores))
    if scores[best] < SAME_CORRELATION:
        raise GeometryError(f"{name}: its voxels are found nowhere in the scan (best correlation {scores[best]:.4f})")
    others = np.delete(scores, best)
    if len(others) and others.max() > scores[best] - MARGIN:
        raise GeometryError(f"{name}: its voxels fit several places of the scan (correlation {others.max():.4f})")
    return best


def slices_of(volume: Volume, first: int, count: int) -> Volume:
    """Some slices of a volume along head-foot, counted from the feet, in RAS."""
    array, affine = to_ras(volume.array, volume.affine)
    moved = np.eye(4)
    moved[2, 3] = first
    return Volume(array[:, :, first : first + count], affine @ moved)


def _correlations(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    """Pearson's r at every possible first slice; 0 where one of the two is constant."""
    count = small.shape[2]
    centred = small.astype(np.float64) - small.mean()
    scores = []
    for first in range(large.shape[2] - count + 1):
        there = large[:, :, first : first + count].astype(np.float64)
        there -= there.mean()
        norm = np.sqrt((centred**2).sum() * (there**2).sum())
        scores.append(float((centred * there).sum() / norm) if norm > 0 else 0.0)
    return np.array(scores)
