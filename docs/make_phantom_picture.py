"""Draw docs/images/phantom_cohort.png: two phantom cases at L1 to L5, as scanned and with the first rater's labels.

Run from the root of the repository: python docs/make_phantom_picture.py
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.phantom.cohort import PhantomCase, generate_case
from paraspinal_nnunet.phantom.muscles import LABELLED
from paraspinal_nnunet.utils.files import atomic_path

SEED = 0
CASES = (2, 10)
SHAPE = (256, 256, 50)
CROP_X, CROP_Y = slice(18, 238), slice(2, 182)
"""In voxels of `SHAPE`: the muscles and their neighbours."""

TILE = (176, 144)
BAND = 16
"""Pixels of the line of text above each case."""

GREYS = 40
"""Grey levels of the file: noise makes more of them costly."""

TEXT, PAPER_WHITE = (40, 40, 40), (255, 255, 255)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parent / "images" / "phantom_cohort.png"
    parser.add_argument("-o", "--output", type=Path, default=default, help=f"default: {default.name} in images")
    output = parser.parse_args().output
    strips = [_strip(generate_case(SEED, index, SHAPE)) for index in CASES]
    height = sum(strip.height for strip in strips)
    picture = Image.new("RGB", (strips[0].width, height), PAPER_WHITE)
    top = 0
    for strip in strips:
        picture.paste(strip, (0, top))
        top += strip.height
    with atomic_path(output) as temporary:
        picture.quantize(palette=_palette(), dither=Image.Dither.NONE).save(temporary, optimize=True)


def _strip(case: PhantomCase) -> Image.Image:
    """Two rows of one case under a line of text, seen from the feet: the patient's right is on the left."""
    image, _ = to_ras(case.image, case.affine)
    labels, _ = to_ras(case.labels, case.affine)
    black, white = np.percentile(image, (1, 97))
    levels = [_slice_of_level(labels, level) for level in range(5)]
    rows = []
    for outlined in (False, True):
        tiles = [_tile(image[..., k], labels[..., k], black, white, outlined) for k in levels]
        rows.append(np.hstack(tiles))
    body = Image.fromarray(np.vstack(rows))
    strip = Image.new("RGB", (body.width, body.height + BAND), PAPER_WHITE)
    strip.paste(body, (0, BAND))
    _write(strip, case, body.width // len(levels), body.height // 2)
    return strip


def _write(strip: Image.Image, case: PhantomCase, width: int, height: int) -> None:
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default()
    person = case.person
    title = f"{case.name}: {person.sex}, {person.age_years} years, BMI {person.bmi}, stored {case.orientation}"
    draw.text((4, 2), title, TEXT, font)
    for column in range(5):
        left = column * width
        for row in range(2):
            top = BAND + row * height
            draw.text((left + 3, top + 2), "R", PAPER_WHITE, font, stroke_width=1, stroke_fill=(0, 0, 0))
            draw.text((left + width - 10, top + 2), "L", PAPER_WHITE, font, stroke_width=1, stroke_fill=(0, 0, 0))
            if row == 0:
                place = (left + width // 2 - 6, top + 2)
                draw.text(place, f"L{column + 1}", PAPER_WHITE, font, stroke_width=1, stroke_fill=(0, 0, 0))


def _slice_of_level(labels: np.ndarray, level: float) -> int:
    used = np.flatnonzero(labels.any(axis=(0, 1)))
    first, last = LABELLED
    return round(used[-1] - (used[-1] - used[0]) * (level - first) / (last - first))


def _tile(image: np.ndarray, labels: np.ndarray, black: float, white: float, outlined: bool) -> np.ndarray:
    grey = np.clip((image - black) / (white - black), 0, 1) ** 0.8 * 255
    tile = np.repeat(_resized(grey.astype(np.uint8), Image.Resampling.BOX)[..., None], 3, axis=2)
    small = _resized(labels, Image.Resampling.NEAREST)
    for structure in PARASPINAL if outlined else ():
        inside = small == structure.label
        tile[inside & ~binary_erosion(inside, iterations=2)] = structure.colour
    return tile


def _resized(plane: np.ndarray, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(plane[CROP_X, CROP_Y].T[::-1, ::-1]).resize(TILE, how))


def _palette() -> Image.Image:
    greys = [(round(v),) * 3 for v in np.linspace(0, 255, GREYS)]
    colours = [*greys, *(structure.colour for structure in PARASPINAL)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in colours for value in colour])
    return palette


if __name__ == "__main__":
    main()
