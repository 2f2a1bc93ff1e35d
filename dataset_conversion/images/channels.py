"""Several channels of one scan on one grid: checked, or resampled onto the first where that is asked for."""

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import affine_transform

from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.image_io.geometry import grid_difference
from paraspinal_nnunet.image_io.volume import Volume

OVERHANG_VOXELS = 1.0
"""By how much the first channel's outermost voxels may lie outside another one, which then repeats its border."""


def match_channels(
    images: Sequence[Volume], names: Sequence[str], *, resample: bool
) -> tuple[tuple[Volume, ...], dict[str, str]]:
    """Bring the channels of a scan onto the first one's grid, or refuse them.

    Args:
        images: One per channel.
        names: Their files, for messages.
        resample: Resample (linear; float32) a channel from another grid instead of refusing it.

    Returns:
        The channels, and for each resampled one (by its place, as text) how its grid differed.

    Raises:
        GeometryError: Another grid and `resample` is off, or a channel that does not cover the first one.
    """
    first, matched, differences = images[0], [], {}
    for place, (image, name) in enumerate(zip(images, names, strict=True)):
        difference = grid_difference(image.shape, image.affine, first.shape, first.affine)
        if difference is None:
            matched.append(Volume(image.array, first.affine))
            continue
        if not resample:
            raise GeometryError(
                f"{name}: lies on another grid than {names[0]} ({difference}); channels must share one; give "
                "--resample-channels if the patient lay still between them"
            )
        matched.append(_resampled(image, first, name, names[0]))
        differences[str(place)] = difference
    return tuple(matched), differences


def _resampled(image: Volume, first: Volume, name: str, first_name: str) -> Volume:
    to_source = np.linalg.inv(image.affine) @ first.affine
    corners = np.array(list(itertools.product(*((0, n - 1) for n in first.shape)))) @ to_source[:3, :3].T
    corners += to_source[:3, 3]
    outside = np.maximum(-corners, corners - (np.array(image.shape) - 1)).max()
    if outside > OVERHANG_VOXELS:
        raise GeometryError(
            f"{name}: ends {outside:.1f} voxels before {first_name} does, so it cannot be resampled onto that grid; do "
            "both show the same region?"
        )
    array = affine_transform(
        image.array.astype(np.float32),
        to_source[:3, :3],
        to_source[:3, 3],
        output_shape=first.shape,
        order=1,
        mode="nearest",
    )
    return Volume(array, first.affine)
