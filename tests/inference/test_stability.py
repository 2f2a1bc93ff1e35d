"""How much a mask depends on contrast and frame, on scans small enough to count by hand."""

import numpy as np
import pytest

from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.portable import preprocessing
from paraspinal_nnunet.inference.portable.stability import disagreement


def bright(volume):
    """1 where the grey value is above half of the range."""
    return (volume.array > 0.5).astype(np.uint8)


@pytest.mark.parametrize("flip", [1, -1])
def test_one_minus_dice_with_masks_of_the_changed_scan(flip):
    """Of 10 x 10 voxels 20 are 1.0 and 9 are 0.55, none in the first row or column, which are cut off in turn.

    0.55 to the power of 0.75 is 0.64, so the first mask is the same; to that of 1.33 it is 0.45, so the second one
    misses 9 of 29: Dice 2 * 20 / (20 + 29).
    """
    scan = np.zeros((10, 10, 1), np.float32)
    scan[4:6, 1:], scan[7, 1:3], scan[6, 1:] = 1, 1, 0.55
    own = (scan > 0.5).astype(np.uint8)
    affine = np.diag([flip, 1.0, 5.0, 1.0])
    stored = Volume(scan[::flip], affine)
    found = disagreement(own[::flip], stored, bright)
    assert found == {1: pytest.approx((0 + 1 - 2 * 20 / (20 + 29)) / 2)}


def test_a_structure_of_one_mask_alone_is_all_lost():
    scan = np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 10, 10)
    masks = iter([np.full((9, 10, 10), 3, np.uint8), np.zeros((10, 9, 10), np.uint8)])
    found = disagreement(np.zeros((10, 10, 10), np.uint8), Volume(scan, np.eye(4)), lambda _: next(masks))
    assert found == {3: 0.5}


def test_the_frame_is_cut_and_keeps_its_place():
    """6 % of 50 are 3 planes from the side of lower x, then of lower y; what is left lies where it lay."""
    seen = []

    def note(volume):
        seen.append((volume.array.shape, volume.affine[:3, 3].tolist(), volume.array.max()))
        return np.zeros(volume.array.shape, np.uint8)

    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    scan = np.arange(50 * 50 * 2, dtype=np.int16).reshape(50, 50, 2)
    assert disagreement(np.zeros(scan.shape, np.uint8), Volume(scan, affine), note) == {}
    assert [place for _, place, _ in seen] == [[6.0, 0.0, 0.0], [0.0, 6.0, 0.0]]
    assert [shape for shape, _, _ in seen] == [(47, 50, 2), (50, 47, 2)]
    white = np.percentile(scan, 99.5)
    assert [top for _, _, top in seen] == [pytest.approx((4999 / white) ** gamma) for gamma in (0.75, 1.33)]
    assert scan.max() == 4999


def test_a_scan_is_normalised_in_pieces_as_in_one(monkeypatch):
    """To the last bit as NumPy does it at once."""
    monkeypatch.setattr(preprocessing, "_SQUARED_AT_ONCE", 1000)
    image = np.random.default_rng(0).gamma(2, 100, (7, 53, 101)).astype(np.float32)
    expected = (image - image.mean()) / image.std()
    preprocessing._z_score(image, nonzero_only=False)
    np.testing.assert_array_equal(image, expected)
