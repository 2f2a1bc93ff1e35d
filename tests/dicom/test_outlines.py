"""Outlines filled by another library give the very pixels, each once; small ones are told by hand."""

import numpy as np
import pytest

path = pytest.importorskip("matplotlib.path")

from paraspinal_nnunet.dicom.results.outlines import outlines


def filled(polygons, shape):
    """How many polygons hold each pixel's centre, by matplotlib.path.Path.contains_points."""
    centres = np.stack(np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5), axis=-1).reshape(-1, 2)
    found = np.zeros(shape, int)
    for points in polygons:
        closed = path.Path(np.vstack([points, points[:1]]), closed=True)
        found += closed.contains_points(centres).reshape(shape)
    return found


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_any_mask_comes_back(share):
    """Of noise: holes, islands in holes, pixels that touch at corners, borders of the picture."""
    rng = np.random.default_rng(int(share * 100))
    for _ in range(25):
        mask = rng.random(rng.integers(1, 13, 2)) < share
        np.testing.assert_array_equal(filled(outlines(mask), mask.shape), mask)


def rolled(points):
    start = min(range(len(points)), key=lambda n: tuple(points[n]))
    return [tuple(p) for p in np.roll(points, -start, axis=0).tolist()]


def test_one_pixel_a_row_and_nothing():
    mask = np.zeros((3, 5), bool)
    assert outlines(mask) == []
    mask[1, 2] = True
    (square,) = outlines(mask)
    assert rolled(square) == [(2, 1), (3, 1), (3, 2), (2, 2)]
    mask[1, 3] = True
    (row,) = outlines(mask)
    assert rolled(row) == [(2, 1), (4, 1), (4, 2), (2, 2)]


def test_a_ring_is_one_polygon_with_a_channel():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    (ring,) = outlines(mask)
    corners = {tuple(p) for p in ring.tolist()}
    assert corners == {(0, 0), (3, 0), (3, 3), (0, 3), (1, 1), (2, 1), (2, 2), (1, 2), (0, 1)}
    assert len(ring) == 10  # (0, 1) once each way; on the way back the channel goes straight over (1, 1)


def test_pixels_that_touch_at_a_corner_are_two():
    mask = np.eye(2, dtype=bool)
    assert sorted(rolled(p)[0] for p in outlines(mask)) == [(0, 0), (1, 1)]
