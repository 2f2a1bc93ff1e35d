"""Whether a scan looks like the training's: numbers by hand, ranges, and flags in words."""

import numpy as np
import pytest

from paraspinal_nnunet import measure
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.grey_values import describe_grey_values, filled_share
from paraspinal_nnunet.measures.evidence import SCAN_TEXTS, unlike_training
from paraspinal_nnunet.measures.quality import TrainingDescription

AFFINE = np.diag([2.0, 2.0, 8.0, 1.0])


def test_spread_is_that_of_the_body_alone():
    """Air at 0; body values 100 and 200 in equal parts, 300 once: quartiles 100 and 200, median 100 or 200."""
    values = np.r_[np.zeros(500), np.full(300, 100), np.full(200, 200)]
    found = describe_grey_values(values)
    assert found.body_spread == pytest.approx((200 - 100) / 100)
    assert found.highest_share == pytest.approx(0.2)
    moved = describe_grey_values(values - 1000)  # only distances from the lowest value count
    assert moved == found
    for nothing in (np.zeros(5), np.zeros(0), np.full((2, 2), 7)):
        assert np.isnan(describe_grey_values(nothing).body_spread)


def test_a_body_is_filled_as_far_as_lines_through_it_are_bright():
    """Ten voxels from side to side, in one of two slices with a hole of four: 16 of 20."""
    slices = np.zeros((20, 3, 2))
    slices[5:15, 1] = 100
    assert filled_share(slices) == 1.0
    slices[8:12, 1, 0] = 0
    assert filled_share(slices) == pytest.approx(16 / 20)


def test_what_lies_outside_a_range_is_told_and_what_is_unknown_is_not():
    ranges = {"pixel_mm": (0.3, 2.0), "muscle_z": (-1.0, 2.0), "body_spread": (0.2, 3.0)}
    statistics = {"pixel_mm": 2.5, "muscle_z": float("nan"), "body_spread": 0.2}
    (found,) = unlike_training(statistics, ranges)
    assert str(found) == "pixels measure 2.5 mm (in training 0.3 to 2)"


def scan():
    """Two boxes of 10 x 10 voxels of 4 mm2 in all of 12 slices: 8 cm2; grey 300 in a body of 100, 0 around."""
    labels = np.zeros((60, 60, 12), np.uint8)
    labels[35:45, 20:30], labels[15:25, 20:30] = 1, 2
    image = np.zeros(labels.shape)
    image[5:55, 5:55] = 100
    image[labels > 0] = 300
    image[5:55, 50:55] = np.linspace(50, 500, 50)[:, None, None]
    return image, labels


def flags(ranges):
    image, labels = scan()
    training = TrainingDescription.from_entry({"scan_ranges": ranges})
    found = measure((image, AFFINE), (labels, AFFINE), training=training).flags
    return [f for f in found if f.kind == "unlike training"]


def test_one_number_outside_is_a_warning_and_two_are_serious():
    inside = {"pixel_mm": [1, 3], "slice_mm": [3, 9], "muscle_cm2": [7.9, 8.1], "muscle_slices": [0.5, 1]}
    assert flags(inside) == []
    (one,) = flags(inside | {"muscle_cm2": [20, 150]})
    assert (one.severity, one.value, one.threshold) == ("warning", pytest.approx(8.0), 20.0)
    assert one.text == "the muscles of a slice measure 8.0 cm2 together (in training 20 to 150)"
    two = flags(inside | {"muscle_cm2": [20, 150], "field_of_view_mm": [150, 450]})
    assert [f.severity for f in two] == ["serious", "serious"]
    assert two[1].value == 120.0  # 60 pixels of 2 mm


def test_grey_values_that_were_cut_off_are_serious_alone():
    (found,) = flags({"highest_share": [0, 0.0001]})
    # the last of 50 values from 50 to 500 fills 5 x 12 of 60 x 60 x 12 voxels
    assert (found.severity, found.value) == ("serious", pytest.approx(60 / 43200))
    assert "cut off" in found.text


def test_models_that_say_nothing_or_more_than_is_known():
    assert flags({}) == []
    assert flags({"something_new": [0, 1]}) == []
    for wrong in ({"pixel_mm": [1]}, {"pixel_mm": ["a", 2]}, [1, 2]):
        with pytest.raises(InputError, match="training entry cannot be understood"):
            TrainingDescription.from_entry({"scan_ranges": wrong})


def test_every_number_has_its_words():
    from paraspinal_nnunet.default_model.looks import FIXED, scan_ranges

    ranges = scan_ranges(3, cases=1)
    assert set(ranges) == set(SCAN_TEXTS) > set(FIXED)
    assert all(low <= high for low, high in ranges.values())
