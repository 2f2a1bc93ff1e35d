"""One slice of one person: which tissue lies where, and how much fat is in the muscles."""

from dataclasses import dataclass

import numpy as np

from paraspinal_nnunet.phantom.randomised.body import Body
from paraspinal_nnunet.phantom.randomised.canvas import Canvas
from paraspinal_nnunet.phantom.randomised.fat import fat_share
from paraspinal_nnunet.phantom.randomised.muscles import paint_muscles
from paraspinal_nnunet.phantom.randomised.spine import paint_back, paint_front
from paraspinal_nnunet.phantom.randomised.trunk import paint_trunk


@dataclass(frozen=True)
class Slice:
    """A drawn slice on the canvas' grid.

    Attributes:
        tissue: Uint8 (rows, columns), values of `Tissue`.
        fat: Uint8 (rows, columns), share of fat in the muscles, 255 for all.
    """

    tissue: np.ndarray
    fat: np.ndarray


def draw_slice(body: Body, level: float, rng: np.random.Generator) -> Slice:
    """Draw one slice.

    Args:
        body: The person.
        level: 0 is the middle of L1, 4 of L5, 5 of S1.
        rng: Of bowel and texture.
    """
    canvas = Canvas(body, level)
    paint_trunk(canvas, rng)
    paint_front(canvas)
    paint_muscles(canvas)
    paint_back(canvas)
    tissue = canvas.array()
    fat = fat_share(canvas, tissue, rng)
    return Slice(tissue, np.rint(255 * fat).astype(np.uint8))
