"""Made-up scans for the tests of conversion: grey noise, and six boxes that stand for the muscles, in RAS order."""

import nibabel as nib
import numpy as np

SHAPE = (20, 16, 6)
RAS = np.array([[4.0, 0, 0, -38], [0, 4.0, 0, -30], [0, 0, 5.0, -12], [0, 0, 0, 1]])
"""x = 0 lies between i = 9 and i = 10; i >= 10 is the patient's right."""

SAGITTAL = np.array([[0, 0, 12.0, -38], [4.0, 0, 0, -30], [0, 4.0, 0, -12], [0, 0, 0, 1]])


def grey(seed=0):
    return np.random.default_rng(seed).integers(0, 500, SHAPE).astype(np.int16)


def labels():
    """Six boxes in slices 1 to 4; the right ones at i = 12..14, the left ones at i = 4..6."""
    array = np.zeros(SHAPE, np.uint8)
    for right, rows in ((1, slice(2, 5)), (3, slice(6, 9)), (5, slice(11, 14))):
        array[12:15, rows, 1:5] = right
        array[4:7, rows, 1:5] = right + 1
    return array


def save(path, array, affine=RAS):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
