import numpy as np
import pytest
from scipy import ndimage

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.image_io.masks.postprocessing import close_clefts, fill_holes, largest_component, postprocess

MM = (1.0, 1.0, 5.0)


def two_pieces():
    labels = np.zeros((3, 6, 6), np.uint8)
    labels[1, 0:2, 0:2] = 1  # 4 voxels
    labels[1, 4, 4] = 1  # 1 voxel, apart
    labels[1, 4, 0] = 2
    return labels


def test_only_the_largest_piece_of_each_label_stays():
    cleaned = largest_component(two_pieces())
    assert (cleaned == 1).sum() == 4
    assert cleaned[1, 4, 4] == 0
    assert cleaned[1, 4, 0] == 2


def test_pieces_that_touch_at_a_corner_are_one():
    labels = np.zeros((2, 2, 2), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 3
    assert np.array_equal(largest_component(labels), labels)


def test_a_hole_is_filled_but_another_muscle_in_it_stays():
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[1:4, 1:4, 1:4] = 1
    labels[2, 2, 2] = 0
    assert fill_holes(labels)[2, 2, 2] == 1
    labels[2, 2, 2] = 2
    assert np.array_equal(fill_holes(labels), labels)


def test_background_that_reaches_out_is_no_hole():
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[1:4, 1:4, 1:4] = 1
    labels[2, 2, 2:] = 0
    assert np.array_equal(fill_holes(labels), labels)


def test_steps_run_in_the_given_order_and_leave_their_input():
    labels = two_pieces()
    before = labels.copy()
    assert (postprocess(labels, ["fill-holes", "largest-component"], MM) == 1).sum() == 4
    assert np.array_equal(labels, before)
    assert postprocess(labels, [], MM) is labels
    with pytest.raises(ProtocolError, match="unknown post-processing 'opening'; choose from largest-component"):
        postprocess(labels, ["opening"], MM)


def two_strips(gap):
    """Two strips of muscle 1 with `gap` voxels of background between them, 8 voxels high, in three slices."""
    labels = np.zeros((20, 14, 3), np.uint8)
    labels[4:8, 3:11] = labels[8 + gap : 12 + gap, 3:11] = 1
    return labels


@pytest.mark.parametrize(
    ("gap", "radius", "closed"), [(3, 2.0, True), (3, 1.0, False), (1, 1.0, True), (5, 2.0, False)]
)
def test_a_cleft_is_closed_up_to_twice_the_radius(gap, radius, closed):
    """A disc of radius r holds 2r + 1 voxels of 1 mm: it fits into a gap of 5, and not into one of 3, for r = 2."""
    labels = two_strips(gap)
    result = close_clefts(labels, MM, radius)
    assert (result[8 : 8 + gap, 5:9] == 1).all() == closed
    assert (result[labels > 0] == labels[labels > 0]).all()


def test_a_closing_is_measured_in_millimetres():
    labels = two_strips(3)
    assert (close_clefts(labels, (0.5, 1.0, 5.0), 1.0)[8:11, 5:9] == 1).all()
    assert (close_clefts(labels, (2.0, 1.0, 5.0), 2.0)[8:11, 5:9] == 0).all()
    through_plane = np.zeros((6, 6, 5), np.uint8)
    through_plane[1:5, 1:5, ::2] = 1
    assert np.array_equal(close_clefts(through_plane, MM, 3.0), through_plane)  # 5 mm to the next slice
    assert (close_clefts(through_plane, (1.0, 1.0, 1.0), 1.0)[2:4, 2:4] == 1).all()


def test_a_closing_equals_scipys_by_the_same_ball():
    labels = (np.random.default_rng(3).random((18, 17, 9)) > 0.6).astype(np.uint8)
    spacing, radius = (0.7, 1.0, 1.9), 2.0
    reach = [int(radius // mm) for mm in spacing]
    places = np.meshgrid(*(np.arange(-r, r + 1) * mm for r, mm in zip(reach, spacing, strict=True)), indexing="ij")
    ball = sum(place**2 for place in places) <= radius**2
    around = np.pad(labels > 0, 5)
    expected = ndimage.binary_closing(around, ball)[5:-5, 5:-5, 5:-5]
    assert np.array_equal(close_clefts(labels, spacing, radius) > 0, expected | (labels > 0))


def test_closing_never_takes_from_nor_grows_into_another_muscle():
    labels = two_strips(3)
    labels[9, 3:11] = 2  # another muscle in the cleft
    result = close_clefts(labels, MM, 2.0)
    assert (result[9, 3:11] == 2).all()
    side_by_side = np.zeros((20, 30, 1), np.uint8)
    side_by_side[2:18, 4:8], side_by_side[2:18, 11:15] = 1, 2
    side_by_side[10, 6:8], side_by_side[10, 11:13] = 0, 0  # a notch in each, and the gap between them
    closed = close_clefts(side_by_side, MM, 1.0)
    assert (closed[10, 6, 0], closed[10, 12, 0]) == (1, 2)
    assert not closed[:, 8:11].any()


def test_a_voxel_that_two_muscles_would_fill_stays_background():
    labels = np.zeros((9, 9, 1), np.uint8)
    labels[3, 4], labels[5, 4], labels[4, 3], labels[4, 5] = 1, 1, 2, 2
    assert close_clefts(labels, MM, 1.0)[4, 4, 0] == 0


def test_the_radius_is_given_with_the_name():
    labels = two_strips(3)
    assert np.array_equal(postprocess(labels, ["closing=1"], MM), close_clefts(labels, MM, 1.0))
    assert np.array_equal(postprocess(labels, ["closing"], MM), close_clefts(labels, MM, 2.0))
    for wrong in ("closing=", "closing=x", "closing=-1", "closing=0", "closing=inf", "closing=nan", "fill-holes=2"):
        with pytest.raises(ProtocolError, match="closing alone takes a number"):
            postprocess(labels, [wrong], MM)
