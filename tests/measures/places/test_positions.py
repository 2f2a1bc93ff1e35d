"""Muscles where they lie in a body, and what is said where they do not."""

from itertools import permutations

import numpy as np
import pytest

from paraspinal_nnunet import measure
from paraspinal_nnunet.anatomy import BY_LABEL, LABEL_SCHEMES, PARASPINAL, Side
from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.measures.places.midline import beyond_midline, midlines
from paraspinal_nnunet.measures.places.positions import check_positions, fitting_schemes, label_places, misplaced
from paraspinal_nnunet.measures.shapes import Stack, measure_shapes

AFFINE = np.array([[2.0, 0, 0, -100], [0, 2.0, 0, -50], [0, 0, 8.0, 0], [0, 0, 0, 1.0]])
SHAPE = (101, 60, 12)
CENTRES = {1: (60, 15), 3: (75, 17), 5: (72, 42)}  # on the right; the midline is at voxel 50, x = 0 mm


def body():
    """Six boxes of 9 x 9 voxels in slices 2 to 11, mirrored about x = 0 mm."""
    labels = np.zeros(SHAPE, np.uint8)
    for value, (x, y) in CENTRES.items():
        for own, centre in ((value, x), (value + 1, 100 - x)):
            labels[centre - 4 : centre + 5, y - 4 : y + 5, 1:11] = own
    return labels


def shapes_of(labels):
    return measure_shapes(labels, Stack(labels.shape, AFFINE), range(1, 9))


def read_as(table, labels=None):
    """Structures in a body whose true value v is read as ``table[v]``."""
    shapes = shapes_of(body() if labels is None else labels)
    return {BY_LABEL[read]: shapes[true] for true, read in table.items()}


def flags(labels, kind, affine=AFFINE):
    return [f for f in measure(None, (labels, affine)).flags if f.kind == kind]


@pytest.mark.parametrize("turn", [(0, 1, 2), (2, 0, 1)])
def test_places_are_those_of_the_shapes_however_the_map_is_stored(turn):
    labels = body()
    labels[50:53, 20:24, 5] = 4  # a second piece
    labels[0, 0, 0] = 200  # not asked for
    stored = labels[::-1].transpose(turn)
    affine = (AFFINE @ np.array([[-1, 0, 0, 100], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))[:, [*turn, 3]]
    for array in (stored, np.asfortranarray(stored)):
        places = label_places(array, affine, range(1, 9))
        for value, shape in shapes_of(labels).items():
            np.testing.assert_allclose(places[value].centres_mm, shape.centres_mm, rtol=1e-12)
            np.testing.assert_allclose(places[value].centre_mm, shape.centre_mm, rtol=1e-12)
            assert places[value].voxels == shape.voxels


def test_a_body_is_as_it_should_be():
    assert misplaced(read_as({v: v for v in range(1, 7)})) == ()
    assert fitting_schemes(shapes_of(body())) == ("author", "musclemap-abdomen")
    check_positions(body(), AFFINE, PARASPINAL, "case")
    assert [f for kind in ("label scheme", "sides") for f in flags(body(), kind)] == []


def test_only_the_right_reading_of_six_values_goes_unnoticed():
    """Readings that exchange both sides of a muscle are known by `side_evidence`; the others must be out of place."""
    x = {v: CENTRES[v][0] if v % 2 else 100 - CENTRES[v - 1][0] for v in range(1, 7)}
    unnoticed = []
    for reading in permutations(range(1, 7)):
        true = {read: value for value, read in enumerate(reading, start=1)}
        mirrored = any(x[true[right]] < x[true[right + 1]] for right in (1, 3, 5))
        if not mirrored and not misplaced(read_as(dict(zip(range(1, 7), reading, strict=True)))):
            unnoticed.append(reading)
    assert unnoticed == [(1, 2, 3, 4, 5, 6)]


def lpm():
    """The four muscles of the back in LPM's values: 1 ES right, 2 MF right, 3 MF left, 4 ES left."""
    ours = body()
    return np.select([ours == 3, ours == 1, ours == 2, ours == 4], [1, 2, 3, 4], 0).astype(np.uint8)


def test_another_schemes_values_are_known_by_place():
    (flag,) = flags(lpm(), "label scheme")
    assert flag.severity == "serious"
    assert "Multifidus right lies lateral of erector spinae right in 100 % of their slices" in flag.text
    assert "they fit the label scheme lpm" in flag.text
    with pytest.raises(LabelError, match=r"a\.nii\.gz: Multifidus right .* scheme lpm"):
        check_positions(lpm(), AFFINE, PARASPINAL, "a.nii.gz")
    values = {v: next(s.label for s in PARASPINAL if s.key == k) for v, k in LABEL_SCHEMES["lpm"].values.items()}
    assert not [f for f in measure(None, (lpm(), AFFINE), label_values=values).flags if f.kind == "label scheme"]


@pytest.mark.parametrize("step", [1, -1])
def test_the_stored_orientation_does_not_matter(step):
    turned = np.array([[0, -2.0, 0, 100], [0, 0, 2.0 * step, -50 if step > 0 else 68], [8.0, 0, 0, 0], [0, 0, 0, 1.0]])
    stored = body()[::-1, ::step].transpose(2, 0, 1)
    check_positions(stored, turned, PARASPINAL, "case")
    with pytest.raises(LabelError, match="fit the label scheme lpm"):
        check_positions(lpm()[::-1, ::step].transpose(2, 0, 1), turned, PARASPINAL, "case")


def test_bones_read_as_muscles():
    """Vertebrae on the midline, numbered from below: two values have one place but for their height."""
    labels = np.zeros(SHAPE, np.uint8)
    for value in range(1, 7):
        labels[46 - value : 66 - value, 20:45, 2 * value - 2 : 2 * value] = value
    (flag,) = flags(labels, "label scheme")
    assert flag.severity == "serious"
    assert "Multifidus right and left have their centres only 2.0 mm apart" in flag.text


def with_piece(value, x, y, slices, size=3):
    labels = body()
    labels[x : x + size, y : y + size, slices] = value
    return labels


def test_a_piece_of_the_right_psoas_in_the_left_one():
    """3 x 3 voxels of 32 mm3 in slices 5 and 6: 0.58 ml; the centroids of both muscles stay on their sides."""
    labels = with_piece(5, 27, 41, slice(4, 6))
    (flag,) = flags(labels, "sides")
    assert (flag.severity, flag.subject) == ("serious", "psoas_major_right")
    assert flag.value == pytest.approx(18 * 32 / 1000)
    assert "beyond the body's midline, in slices 5-6" in flag.text
    (speck,) = flags(with_piece(5, 27, 41, slice(4, 5), size=1), "sides")
    assert speck.severity == "warning"
    assert flags(with_piece(5, 60, 55, slice(4, 6)), "sides") == []  # apart, but on its own side


def test_sides_exchanged_in_some_slices():
    labels = body()
    labels[:, :, 3:5] = np.array([0, 2, 1, 3, 4, 5, 6], np.uint8)[labels[:, :, 3:5]]
    found = flags(labels, "sides")
    assert [(f.subject, f.severity) for f in found] == [
        ("multifidus_right", "serious"),
        ("multifidus_left", "serious"),
    ]
    assert all("in slices 4-5" in f.text for f in found)


def test_one_side_alone_on_the_other_side():
    labels = np.select([body() == 2, body() == 3, body() == 4], [1, 3, 4], 0).astype(np.uint8)
    subjects = {f.subject: f.severity for f in flags(labels, "sides")}
    assert subjects == {"multifidus_right": "serious"}


def test_the_midline_follows_a_bent_spine():
    """The body moves by 2 voxels per slice; its midline by 4 mm per slice."""
    bent = np.stack([np.roll(body()[:, :, k], 2 * (k - 5), axis=0) for k in range(12)], axis=2)
    shapes = shapes_of(bent)
    middle = midlines([(shapes[v], shapes[v + 1]) for v in (1, 3, 5)], 12)
    assert middle[5:7].tolist() == [0.0, 4.0]
    assert beyond_midline(shapes[1], Side.RIGHT, middle) is None
    assert beyond_midline(shapes[1], Side.LEFT, middle).share == 1
    assert np.isnan(midlines([], 3)).all()
