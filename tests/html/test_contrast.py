"""What can be seen on a scan: grey values chosen by the muscles, and colours that stand out from them."""

import colorsys
import itertools

import numpy as np
import pytest

from paraspinal_nnunet.anatomy import ALL_STRUCTURES, BY_LABEL, side_pairs
from paraspinal_nnunet.html.viewer.colours import LABEL_COLOURS, contrast, relative_luminance
from paraspinal_nnunet.html.viewer.slices import display_stack
from paraspinal_nnunet.html.viewer.window import MUSCLE_GREY, display_window

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
MUSCLE = (round(255 * MUSCLE_GREY),) * 3


def lightness(colour) -> float:
    """CIE L* from the relative luminance."""
    y = relative_luminance(colour)
    return 116 * y ** (1 / 3) - 16 if y > 216 / 24389 else y * 24389 / 27


def scan(dtype=np.int16, *, coil: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Muscles of 60 to 100 among fat of 400, and skin at the coil as bright as `coil`; RAS."""
    image = np.full((64, 64, 6), 400, dtype)
    image[:, :14] = coil
    labels = np.zeros(image.shape, np.uint8)
    for label, x in ((1, 36), (2, 16)):
        labels[x : x + 12, 24:36, 1:5] = label
    generator = np.random.default_rng(0)
    image[labels != 0] = generator.integers(60, 101, (labels != 0).sum())
    return image, labels


class TestColours:
    def test_known_contrasts(self):
        """Black on white is 21:1; #767676 on white is the lightest grey of 4.5:1 (WCAG 2.2, understanding 1.4.3)."""
        assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
        assert contrast((0x76,) * 3, (255, 255, 255)) == pytest.approx(4.54, abs=0.005)
        assert contrast((0x77,) * 3, (255, 255, 255)) < 4.5

    @pytest.mark.parametrize("structure", ALL_STRUCTURES, ids=lambda s: s.key)
    def test_at_least_three_to_one_on_muscle(self, structure):
        assert contrast(LABEL_COLOURS[structure.label], MUSCLE) >= 3

    @pytest.mark.parametrize("structure", ALL_STRUCTURES, ids=lambda s: s.key)
    def test_the_papers_hue_is_kept(self, structure):
        own, shown = (colorsys.rgb_to_hls(*(c / 255 for c in colour))[0] for colour in (
            structure.colour, LABEL_COLOURS[structure.label]
        ))  # fmt: skip
        assert shown == pytest.approx(own, abs=0.01)

    def test_right_is_darker_than_left_in_grey_too(self):
        for right, left in side_pairs(ALL_STRUCTURES):
            assert lightness(LABEL_COLOURS[left.label]) - lightness(LABEL_COLOURS[right.label]) > 18

    def test_no_two_are_alike(self):
        for one, other in itertools.combinations(BY_LABEL, 2):
            assert np.abs(np.subtract(LABEL_COLOURS[one], LABEL_COLOURS[other])).sum() > 30


class TestWindow:
    @pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float32, np.int32])
    def test_bright_fat_at_the_coil_does_not_darken_the_muscles(self, dtype):
        image, labels = scan(dtype)
        grey = display_stack(image, {"muscles": labels}, AFFINE).grey
        shown = grey[:, ::-1, ::-1].transpose(2, 1, 0)[labels != 0]
        assert 50 <= np.median(shown) <= 75  # a quarter of the way to white
        bare = display_stack(image, {}, AFFINE).grey  # without labels: two percentiles of the whole scan
        assert bare[:, ::-1, ::-1].transpose(2, 1, 0)[labels != 0].max() < 10

    def test_by_hand(self):
        """One muscle of 0, 10, ..., 100 among 1000s: the median is 50, black the 1st percentile of what is above 0."""
        part = np.array([*range(0, 101, 10), *[1000] * 89], np.float32)
        labels = np.array([1] * 11 + [0] * 89, np.uint8)
        low, high = display_window(part, [labels])
        assert low == pytest.approx(np.percentile(part[1:], 1))
        assert high == pytest.approx(low + (50 - low) / MUSCLE_GREY)

    def test_fat_within_the_muscles_is_not_all_white(self):
        part = np.array([10.0] * 60 + [500.0] * 40)
        low, high = display_window(part, [np.ones(100, np.uint8)])
        assert (low, high) == (10, 500)

    def test_the_middle_muscle_counts_when_the_coil_lights_them_unevenly(self):
        part = np.concatenate([np.full(100, v) for v in (20.0, 100.0, 110.0)] + [np.full(700, 900.0)])
        labels = np.repeat([1, 2, 3, 0], [100, 100, 100, 700]).astype(np.uint8)
        low, high = display_window(part, [labels])
        assert (low, high) == (20, pytest.approx(20 + 80 / MUSCLE_GREY))

    def test_nothing_but_one_value(self):
        assert display_window(np.full(9, 7.0), [np.ones(9, np.uint8)]) == (7, 8)
        assert display_window(np.zeros(9), [np.ones(9, np.uint8)]) == (0, 1)
