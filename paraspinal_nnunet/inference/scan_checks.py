"""Files that no model must be asked about, label maps, and what the program's own must not see: empty scans, and CT."""

import numpy as np

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.image_io.grey_values import MOST_VOXELS, describe_grey_values, filled_share, has_air_of_ct
from paraspinal_nnunet.image_io.volume import Volume

FEWEST_VALUES = 24
"""Fewer distinct whole numbers are labels: scans have hundreds of grey values. Source: ours."""

EVEN_BODY, FILLED_BODY = 0.2, 0.78
"""Of CT stored with an offset or rescaled, the largest spread of the body's grey values (`GreyValues.body_spread`) and
the least part of lines through it that is brighter than air (`filled_share`). In trunks drawn with Hounsfield units
these are 0.04 to 0.17 and 0.81 and more. In MR the spread is larger, 0.25 and more in 204 drawn in any contrast and 1
and more in the scans of persons that were looked at; or the body is fat alone, and muscle is as dark as air."""


def check_is_scan(volume: Volume, name: str) -> None:
    """Refuse a label map, which lies beside its scan in many folders.

    Args:
        volume: What was read.
        name: Of the case, for the message.

    Raises:
        InputError: Saying how many values it has.
    """
    values = volume.array.ravel("K")
    distinct = np.unique(values[:: max(values.size // MOST_VOXELS, 1)])
    if 1 < distinct.size < FEWEST_VALUES and np.array_equal(distinct, np.rint(distinct)):
        raise InputError(
            f"{name}: holds {distinct.size} whole values only, as a label map does; give scans alone, in a folder of "
            "their own"
        )


def check_is_mr(volume: Volume) -> None:
    """Refuse a scan without any content, and one whose grey values are those of CT.

    CT that was cut to a window of soft tissue cannot be told so; a flag says that its grey values were cut off.

    Raises:
        InputError: Saying what was found.
    """
    values = np.asarray(volume.array)
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest:
        raise InputError(f"every voxel of the scan is {lowest:g}; there is nothing to segment")
    if has_air_of_ct(values):
        raise InputError(
            f"the scan's values go down to {lowest:g}, as Hounsfield units of CT do; the model that comes with the "
            "program is for MR; give a model of your own with -m"
        )
    spread = describe_grey_values(values).body_spread
    if spread < EVEN_BODY and filled_share(to_ras(values, volume.affine)[0]) > FILLED_BODY:
        raise InputError(
            f"the body's grey values hardly differ (the middle half of them by {spread:.2f} of their median), as in CT "
            "stored with an offset or rescaled; the model that comes with the program is for MR; give a model of your "
            "own with -m"
        )
