"""Boxes around some muscles: where they lie, what is cut out, and what of a second mask comes back."""

import numpy as np
import pytest

from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.masks.boxes import MuscleBox, cut_out
from paraspinal_nnunet.image_io.volume import Volume

SPACING = (1.0, 2.0, 5.0)
BOX = MuscleBox((Muscle.MULTIFIDUS,), margin_mm=4.0)


def mask():
    labels = np.zeros((20, 20, 10), np.uint8)
    labels[8:10, 9:11, 4:6], labels[11:13, 9:11, 4:6] = 1, 2  # multifidus
    labels[14:18, 9:11, 2:8] = 3
    labels[1, 1, 1] = 1  # an island, smaller than the muscle
    return labels


def test_the_margin_is_rounded_up_to_whole_voxels_and_islands_do_not_count():
    """4 mm are 4 voxels of 1 mm, 2 of 2 mm, and 1 of 5 mm; the muscle lies in 8..12, 9..10 and 4..5."""
    assert BOX.around(mask(), SPACING) == (slice(4, 17), slice(7, 13), slice(3, 7))


def test_a_box_ends_with_the_scan():
    assert MuscleBox((Muscle.MULTIFIDUS,), 100.0).around(mask(), SPACING) == (slice(0, 20), slice(0, 20), slice(0, 10))


def test_without_the_muscle_there_is_no_box():
    assert MuscleBox((Muscle.PSOAS_MAJOR,)).around(mask(), SPACING) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_voxels_stay_where_they_are_in_the_patient(sign):
    affine = np.array([[0, sign * 2.0, 0, 7], [1.0, 0, 0, -3], [0, 0, 5.0, 1], [0, 0, 0, 1]])
    labels, box = mask(), (slice(4, 17), slice(7, 13), slice(3, 7))
    part = cut_out(Volume(labels, affine), box)
    before = {tuple(affine @ [*index, 1]) for index in np.argwhere(labels == 2)}
    assert {tuple(part.affine @ [*index, 1]) for index in np.argwhere(part.array == 2)} == before


class TestPutBack:
    def put(self, first, change):
        box = BOX.around(first, SPACING)
        second = first[box].copy()
        second[second > 2] = 0
        change(second)
        return BOX.put_back(first, box, second, SPACING)

    def test_the_second_alone_decides_and_the_island_goes(self):
        expected = mask()
        expected[1, 1, 1] = 0
        np.testing.assert_array_equal(self.put(mask(), lambda second: None), expected)

    def test_it_goes_before_other_muscles(self):
        def over_the_next(second):
            second[10, 2:4, 1:3] = 2  # whole scan: 14, 9..10, 4..5, which the first calls erector spinae

        merged = self.put(mask(), over_the_next)
        assert (merged[14, 9:11, 4:6] == 2).all()
        assert (merged[15:18, 9:11, 4:6] == 3).all()

    def test_what_it_gives_up_takes_the_nearest_label(self):
        """The left half of the first's left multifidus touches erector spinae only after a gap was closed by hand."""
        first = mask()
        first[13, 9:11, 4:6] = 2  # now 11..13, beside erector spinae at 14

        def smaller(second):
            second[9, 2:4, 1:3] = 0  # whole scan: 13: 1 mm from erector spinae, 2 mm from background above it
            second[4, 2:4, 1:3] = 0  # whole scan: 8, beside background

        merged = self.put(first, smaller)
        assert (merged[13, 9:11, 4:6] == 3).all()
        assert (merged[8, 9:11, 4:6] == 0).all()

    def test_labels_of_other_muscles_do_not_count(self):
        def others(second):
            second[0, 0, 0] = 5

        assert (self.put(mask(), others) != 5).all()


@pytest.mark.parametrize(
    "entry",
    [{"muscles": ["heart"], "margin_mm": 1}, {"muscles": [], "margin_mm": 1}, {"muscles": ["multifidus"]}, [1],
     {"muscles": ["multifidus"], "margin_mm": -1}, {"muscles": ["multifidus"], "margin_mm": float("nan")}],
)  # fmt: skip
def test_an_entry_that_cannot_be_is_refused(entry):
    with pytest.raises(InputError, match="get the model again"):
        MuscleBox.of({"box": entry}, "dataset.json")


def test_an_entry_comes_back_as_it_was_written():
    assert MuscleBox.of({"box": BOX.to_json()}, "x") == BOX
    assert MuscleBox.of({}, "x") is None
