import numpy as np
import pytest

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.inference.postprocessing import fill_holes, largest_component, postprocess


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
    assert (postprocess(labels, ["fill-holes", "largest-component"]) == 1).sum() == 4
    assert np.array_equal(labels, before)
    assert postprocess(labels, []) is labels
    with pytest.raises(ProtocolError, match="unknown post-processing 'opening'; choose from largest-component"):
        postprocess(labels, ["opening"])
