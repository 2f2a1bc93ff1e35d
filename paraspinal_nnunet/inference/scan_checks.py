"""Scans that a model trained on computed MR alone must not be asked about: empty ones, and CT."""

import numpy as np

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.volume import Volume

AIR_HU = -500.0
"""MR magnitudes are not negative, and resampling leaves little below zero; air in CT lies at -1000."""

AIR_SHARE = 0.01
"""Of the voxels; a few may be damaged."""


def check_is_mr(volume: Volume) -> None:
    """Refuse a scan without any content, and one in Hounsfield units.

    Raises:
        InputError: Saying what was found.
    """
    values = np.asarray(volume.array)
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest:
        raise InputError(f"every voxel of the scan is {lowest:g}; there is nothing to segment")
    if lowest < AIR_HU and np.mean(values < AIR_HU) > AIR_SHARE:
        raise InputError(
            f"the scan's values go down to {lowest:g}, as Hounsfield units of CT do; the model that comes with the "
            "program is for MR; give a model of your own with -m"
        )
