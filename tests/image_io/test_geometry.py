import itertools

import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.errors import GeometryError, LabelError
from paraspinal_nnunet.image_io import geometry

RAS = np.array([[2.0, 0, 0, -40], [0, 1.5, 0, 7], [0, 0, 5, 100], [0, 0, 0, 1]])
AXES = [("R", "L"), ("A", "P"), ("S", "I")]
ORIENTATIONS = [
    tuple(AXES[axis][flip] for axis, flip in zip(order, flips, strict=True))
    for order in itertools.permutations(range(3))
    for flips in itertools.product((0, 1), repeat=3)
]


def muscles():
    """MF right (1) at i = 12, left (2) at i = 4 of a RAS volume: right has the larger x."""
    labels = np.zeros((20, 10, 6), np.uint8)
    labels[12, 3, 2:4] = 1
    labels[4, 3, 2:4] = 2
    return labels


def stored(array, affine, codes):
    """The same volume stored in another orientation."""
    transform = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    return apply_orientation(array, transform), affine @ inv_ornt_aff(transform, array.shape)


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("codes", ORIENTATIONS, ids="".join)
def test_sides_hold_in_every_stored_orientation(codes):
    array, affine = stored(muscles(), RAS, codes)
    assert geometry.axis_codes(affine) == "".join(codes)
    geometry.check_sides(array, affine, PARASPINAL, "case")
    (evidence,) = geometry.side_evidence(array, affine, PARASPINAL)
    assert (evidence.right_x_mm, evidence.left_x_mm) == pytest.approx((12 * 2 - 40, 4 * 2 - 40))


@pytest.mark.parametrize("codes", ORIENTATIONS, ids="".join)
def test_to_ras_restores_voxels_and_affine(codes):
    array, affine = geometry.to_ras(*stored(muscles(), RAS, codes))
    assert np.array_equal(array, muscles())
    assert np.allclose(affine, RAS)


def test_swapped_sides_are_refused_with_the_centroids():
    labels = muscles()
    labels[labels > 0] = 3 - labels[labels > 0]
    with pytest.raises(LabelError, match=r"case_7: .*Multifidus: right at x = -32.0 mm, left at x = -16.0 mm"):
        geometry.check_sides(labels, RAS, PARASPINAL, "case_7")


def test_one_side_alone_is_no_evidence():
    labels = muscles()
    labels[labels == 2] = 0
    assert geometry.side_evidence(labels, RAS, PARASPINAL) == []
    geometry.check_sides(labels, RAS, PARASPINAL, "case")


@pytest.mark.parametrize(("codes", "axis"), [("RAS", 2), ("SRA", 0), ("ASL", 1), ("PIR", 1)])
def test_through_plane_axis_comes_from_the_affine(codes, axis):
    _, affine = stored(muscles(), RAS, codes)
    assert geometry.through_plane_axis(affine) == axis


def test_axial_slices_pass_and_sagittal_ones_do_not():
    geometry.check_axial(RAS, (20, 10, 6), "case")
    sagittal = np.diag([5.0, 0.5, 0.5, 1])
    with pytest.raises(GeometryError, match=r"case: slices are sagittal \(voxels of 5 x 0.5 x 0.5 mm"):
        geometry.check_axial(sagittal, (20, 256, 256), "case")
    with pytest.raises(GeometryError, match="slices are coronal"):
        geometry.check_axial(np.diag([0.5, 5.0, 0.5, 1]), (256, 20, 256), "case")


def test_isotropic_voxels_are_any_plane():
    geometry.check_axial(np.diag([1.0, 1.2, 1.1, 1]), (9, 9, 9), "case")


def test_oblique_slices_are_still_axial():
    angle = np.deg2rad(30)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    geometry.check_axial(rotation @ RAS, (20, 10, 6), "case")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a, None),
        (lambda a: a + np.pad([[5e-4]], ((0, 3), (3, 0))), None),
        (lambda a: a + np.pad([[1.0]], ((0, 3), (3, 0))), "origin"),
        (lambda a: a * [[1, 1, 1.01, 1]], "spacing"),
        (lambda a: a @ np.diag([-1.0, 1, 1, 1]), "direction"),
    ],
)
def test_grid_difference_names_what_differs(change, words):
    found = geometry.grid_difference((9, 9, 9), RAS, (9, 9, 9), change(RAS))
    assert (found is None) if words is None else found.startswith(words)


def test_a_small_difference_is_told_in_numbers_that_differ():
    """Rounded to four digits both sides read the same; 0.1 degrees turn a direction cosine by 0.0017."""
    moved = RAS + np.pad([[5e-3]], ((0, 3), (3, 0)))
    assert geometry.grid_difference((9, 9, 9), RAS, (9, 9, 9), moved).endswith(", 0.005 mm apart")
    angle = np.deg2rad(0.1)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert geometry.grid_difference((9, 9, 9), RAS, (9, 9, 9), turn @ RAS).endswith(", 0.1 degrees apart")
    wider = RAS @ np.diag([1 + 2e-3 / np.linalg.norm(RAS[:3, 0]), 1, 1, 1])
    assert geometry.grid_difference((9, 9, 9), RAS, (9, 9, 9), wider).endswith(" mm, 0.002 mm apart")


def test_grid_difference_of_shapes():
    assert geometry.grid_difference((9, 9, 9), RAS, (9, 9, 8), RAS) == "shape (9, 9, 9) against (9, 9, 8)"
