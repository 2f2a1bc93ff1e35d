"""What scans like those of the training look like, so that others can be told from them."""

import numpy as np
from tqdm import tqdm

from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.evidence import scan_statistics
from paraspinal_nnunet.measures.inputs import Input
from paraspinal_nnunet.measures.voxels import Images, gather
from paraspinal_nnunet.phantom.randomised.cohort import draw_stack

CASES = 24
WIDENED_BY, WIDENED_FACTOR = 0.25, 1.5
"""Ranges of so few scans are widened: by a share of themselves on either side, or, of what is never below zero, by a
factor."""

FIXED = {
    "pixel_mm": (0.25, 2.0),
    "slice_mm": (1.0, 10.0),
    "field_of_view_mm": (150.0, 450.0),
    "muscle_slices": (0.5, 1.0),
    "highest_share": (0.0, 0.001),
}
"""Set by what training images are drawn from and by what prediction makes of a grid, not by 24 scans."""


def scan_ranges(seed: int, cases: int = CASES) -> dict[str, list[float]]:
    """Lowest and highest of each of `evidence.SCAN_TEXTS` over scans drawn by the generator of the training.

    Args:
        seed: Of the recipe.
        cases: How many scans.
    """
    found: dict[str, list[float]] = {}
    for case in tqdm(range(cases), "scans to compare with", unit="scan"):
        stack = draw_stack(seed, case)
        labels, image = (Volume(array, stack.affine) for array in (stack.labels, stack.image))
        voxels = gather(Input(labels, "labels"), Images(image=Input(image, "image")))
        for name, value in scan_statistics(voxels).items():
            found.setdefault(name, []).append(value)
    ranges = {name: list(limits) for name, limits in FIXED.items()}
    for name, values in found.items():
        if name not in FIXED:
            low, high = float(np.nanmin(values)), float(np.nanmax(values))
            room = WIDENED_BY * (high - low)
            wide = (low / WIDENED_FACTOR, high * WIDENED_FACTOR) if low > 0 else (low - room, high + room)
            ranges[name] = [float(f"{limit:.3g}") for limit in wide]
    return ranges
