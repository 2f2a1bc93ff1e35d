"""Draw docs/images/randomised_cohort.png: one slice of each of twelve scans drawn at random, with their labels.

Run from the root of the repository: python docs/make_randomised_picture.py
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.phantom.randomised.cohort import draw_stack
from paraspinal_nnunet.utils.files import atomic_path

SEED, CASES, COLUMNS = 1, 12, 4
GREYS = 48
"""Grey levels of the file."""

TILE_MM, TILE = (300.0, 240.0), (250, 200)
"""What a tile shows of a scan, and its pixels."""


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parent / "images" / "randomised_cohort.png"
    parser.add_argument("-o", "--output", type=Path, default=default, help=f"default: {default.name} in images")
    output = parser.parse_args().output
    rows = CASES // COLUMNS
    picture = Image.new("RGB", (COLUMNS * TILE[0], rows * TILE[1]))
    for case in range(CASES):
        place = (case % COLUMNS * TILE[0], case // COLUMNS * TILE[1])
        picture.paste(_tile(case), place)
    with atomic_path(output) as temporary:
        picture.quantize(palette=_palette(), dither=Image.Dither.NONE).save(temporary, optimize=True)


def _tile(case: int) -> Image.Image:
    """One slice seen from the feet: the patient's right is on the left."""
    stack = draw_stack(SEED, case)
    k = int(np.argmax((stack.labels > 0).sum(axis=(0, 1))))
    image, labels = stack.image[..., k].astype(float), stack.labels[..., k]
    black, white = np.percentile(image, (1, 99.5))
    grey = np.clip((image - black) / max(white - black, 1e-6) * 255, 0, 255)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    for structure in PARASPINAL:
        inside = labels == structure.label
        rgb[inside & ~binary_erosion(inside)] = structure.colour
    whole = Image.fromarray(rgb[::-1, ::-1].transpose(1, 0, 2).astype(np.uint8))
    spacing = float(stack.affine[0, 0])
    size = tuple(round(mm / spacing) for mm in TILE_MM)
    left, top = ((a - b) // 2 for a, b in zip(whole.size, size, strict=True))
    return whole.crop((left, top, left + size[0], top + size[1])).resize(TILE, Image.Resampling.NEAREST)


def _palette() -> Image.Image:
    greys = [(round(v),) * 3 for v in np.linspace(0, 255, GREYS)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in (*greys, *(s.colour for s in PARASPINAL)) for value in colour])
    return palette


if __name__ == "__main__":
    main()
