"""Labels whose sides contradict the geometry: refused with the evidence, or mended as the user says what is wrong."""

import itertools

import numpy as np
import pytest

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.dataset_conversion.labels.sides import SidesError, mirrored, settle_sides
from paraspinal_nnunet.image_io.geometry import axis_codes, side_evidence, to_ras

EXCHANGED = np.array([0, 2, 1, 4, 3, 6, 5], np.uint8)


def x_of(labels, affine, value):
    return (affine @ [*np.argwhere(labels == value).mean(axis=0), 1])[0]


@pytest.fixture
def wrong(scans):
    """Case a contradicts the geometry in every muscle, case b agrees with it."""
    scans.add("a", labels=EXCHANGED[scans.labels()])
    scans.add("b")
    return scans


def test_contradicting_labels_are_refused_with_evidence_and_hint(wrong, capsys):
    assert wrong.convert() == 1
    line = capsys.readouterr().err
    assert "Multifidus: right at x = -18.0 mm, left at x = 14.0 mm" in line
    assert "--swap-sides if the header is right" in line
    assert "--trust-labels if the header" in line
    assert not wrong.dataset.exists()


def test_swap_sides_exchanges_the_labels_of_that_case_alone(wrong, capsys):
    assert wrong.convert("--swap-sides") == 0
    for case in ("a", "b"):
        labels, affine = wrong.load(f"labelsTr/{case}.nii.gz")
        np.testing.assert_array_equal(labels, wrong.labels())
        np.testing.assert_array_equal(affine, wrong.ras)
        image, affine = wrong.load(f"imagesTr/{case}_0000.nii.gz")
        np.testing.assert_array_equal(image, wrong.image(list(case.encode())))
        np.testing.assert_array_equal(affine, wrong.ras)
    first, second = wrong.report()["cases"]
    assert first["sides"] == "right and left labels exchanged"
    assert first["centroids_x_mm"]["Multifidus"] == {"right": 14.0, "left": -18.0}
    assert "sides" not in second
    out = capsys.readouterr().out
    assert out.count("right and left labels exchanged") == 1


def test_trust_labels_mirrors_the_header_of_that_case_alone(wrong):
    assert wrong.convert("--trust-labels") == 0
    labels, affine = wrong.load("labelsTr/a.nii.gz")
    np.testing.assert_array_equal(labels, EXCHANGED[wrong.labels()])
    # i = 0 lay at x = -38 mm and i = 19 at +38: mirrored about 0, i = 0 lies at +38 and each step goes 4 mm left
    np.testing.assert_array_equal(affine[0], [-4, 0, 0, 38])
    np.testing.assert_array_equal(affine[1:], wrong.ras[1:])
    assert x_of(labels, affine, 1) == 18
    assert x_of(labels, affine, 2) == -14
    image, image_affine = wrong.load("imagesTr/a_0000.nii.gz")
    np.testing.assert_array_equal(image, wrong.image(list(b"a")))
    np.testing.assert_array_equal(image_affine, affine)
    np.testing.assert_array_equal(wrong.load("labelsTr/b.nii.gz")[1], wrong.ras)
    assert wrong.report()["cases"][0]["sides"] == "header mirrored left to right"


@pytest.mark.parametrize("flag", [None, "--swap-sides", "--trust-labels"])
def test_mixed_evidence_is_always_refused(scans, flag, capsys):
    labels = scans.labels()
    labels[np.isin(labels, (5, 6))] = EXCHANGED[labels[np.isin(labels, (5, 6))]]
    scans.add("a", labels=labels)
    assert scans.convert(*[flag] if flag else []) == 1
    line = capsys.readouterr().err
    assert "Psoas major: right at x = -18.0 mm" in line
    assert "Multifidus" not in line
    assert "in 1 of 3 muscles only, which neither --swap-sides nor --trust-labels can help" in line


@pytest.mark.parametrize("flag", ["--swap-sides", "--trust-labels"])
def test_agreeing_labels_are_left_alone(scans, flag):
    scans.add("a")
    assert scans.convert(flag) == 0
    np.testing.assert_array_equal(scans.load("labelsTr/a.nii.gz")[0], scans.labels())
    assert "sides" not in scans.report()["cases"][0]


def test_the_two_flags_exclude_each_other(scans):
    scans.add("a")
    with pytest.raises(SystemExit) as caught:
        scans.convert("--swap-sides", "--trust-labels")
    assert caught.value.code == 2


@pytest.mark.parametrize("flag", ["--swap-sides", "--trust-labels"])
def test_two_raters_who_both_contradict_are_mended_alike(wrong, flag):
    second = EXCHANGED[wrong.labels()]
    second[12, 2, 1] = 0
    wrong.save("rater2/a_GT.nii.gz", second)
    assert wrong.convert(flag, "--rater2") == 0
    expected = EXCHANGED[second] if flag == "--swap-sides" else second
    labels, affine = wrong.load("labels_rater2/a.nii.gz")
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(affine, wrong.load("labelsTr/a.nii.gz")[1])
    assert x_of(labels, affine, 1) > 0 > x_of(labels, affine, 2)


@pytest.mark.parametrize("flag", [None, "--swap-sides", "--trust-labels"])
def test_raters_who_contradict_each_other_are_refused(wrong, flag, capsys):
    wrong.save("rater2/a_GT.nii.gz", wrong.labels())
    assert wrong.convert("--rater2", *[flag] if flag else []) == 1
    line = capsys.readouterr().err
    assert "a_GT.nii.gz: labels contradict" in line
    assert "rater2/a_GT.nii.gz does not; correct one rater's label map" in line


def test_one_hint_for_a_whole_data_set_at_odds(scans, capsys):
    scans.add("a", "b", "c", labels=EXCHANGED[scans.labels()])
    scans.add("d")
    assert scans.convert() == 1
    assert "all sides contradict the geometry in 3 of 4 cases" in capsys.readouterr().out
    scans.add("b", "c")
    assert scans.convert() == 1
    assert "all sides contradict" not in capsys.readouterr().out


KEPT = {"one of each side": (1, 4), "a pair and a lone side": (1, 2, 3)}


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_a_side_without_partner_is_held_against_the_other_muscles(scans, kept, capsys):
    """In `scans` right muscles lie at x = +14 mm and left ones at -18 mm."""
    labels = np.where(np.isin(scans.labels(), kept), scans.labels(), 0).astype(np.uint8)
    scans.add("good", labels=labels)
    assert scans.convert("--allow-empty-label") == 0
    assert "sides" not in scans.report()["cases"][0]
    wrong = EXCHANGED[scans.labels()]
    scans.add("good", labels=np.where(np.isin(wrong, kept), wrong, 0).astype(np.uint8))
    capsys.readouterr()
    assert scans.convert("--allow-empty-label", "--overwrite") == 1
    line = capsys.readouterr().err
    assert "right against the left of other muscles: right at x = -18.0 mm, left at x = 14.0 mm" in line
    assert scans.convert("--allow-empty-label", "--overwrite", "--swap-sides") == 0
    written, affine = scans.load("labelsTr/good.nii.gz")
    assert all(np.sign(x_of(written, affine, v)) == (1 if v % 2 else -1) for v in np.unique(written)[1:])


def test_labels_of_one_side_only_are_said_to_be_unchecked(scans, capsys):
    labels = scans.labels()
    labels[labels % 2 == 0] = 0
    scans.add("a", labels=labels)
    assert scans.convert("--allow-empty-label") == 0
    assert "sides not checked, since one side only is labelled" in capsys.readouterr().out
    assert scans.report()["cases"][0]["sides"].startswith("sides not checked")


def _affines():
    """All 48 stored orientations, straight and turned by 0.3 rad about an oblique axis, spacing 4 x 4 x 5 mm."""
    axis = np.array([0.5, 0.3, 0.2]) / np.linalg.norm([0.5, 0.3, 0.2])
    cross = np.cross(np.eye(3), axis)
    turn = np.eye(3) + np.sin(0.3) * cross + (1 - np.cos(0.3)) * cross @ cross
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            for rotation in (np.eye(3), turn):
                affine = np.eye(4)
                affine[:3, :3] = (
                    rotation @ np.eye(3)[:, order] @ np.diag(signs) @ np.diag(np.array([4, 4, 5])[[*order]])
                )
                affine[:3, 3] = (7, -11, 13)
                yield affine


def test_both_flags_put_right_labels_right_in_every_orientation(scans):
    """Left and right are told by position alone: after either mending the labels 1, 3, 5 lie at the larger x."""
    tried = 0
    for affine in _affines():
        base = scans.labels()
        axes = np.abs(np.linalg.inv(affine)[:3, :3] @ [1, 0, 0]).argmax()
        stored = np.moveaxis(base, 0, axes) if axes else base
        if all(e.agrees for e in side_evidence(stored, affine, PARASPINAL)):
            stored = EXCHANGED[stored]
        evidence = side_evidence(stored, affine, PARASPINAL)
        if any(e.agrees for e in evidence):
            continue
        tried += 1
        with pytest.raises(SidesError):
            settle_sides([stored], affine, PARASPINAL, ["x"], policy="refuse")
        for policy in ("swap-sides", "trust-labels"):
            (labels,), after, done = settle_sides([stored], affine, PARASPINAL, ["x"], policy=policy)
            assert done
            assert all(e.agrees for e in side_evidence(labels, after, PARASPINAL))
            if policy == "swap-sides":
                np.testing.assert_array_equal(after, affine)
            else:
                np.testing.assert_array_equal(labels, stored)
                assert sorted(axis_codes(after)) != sorted(axis_codes(affine))
                before, now = (to_ras(stored, a)[0] for a in (affine, after))
                np.testing.assert_array_equal(before, now[::-1])
    assert tried >= 90


def test_mirroring_keeps_the_volume_where_it_is():
    rng = np.random.default_rng(0)
    for affine in _affines():
        shape = tuple(rng.integers(2, 30, 3))
        after = mirrored(affine, shape)
        middle = [*((n - 1) / 2 for n in shape), 1]
        np.testing.assert_allclose(after @ middle, affine @ middle)
        np.testing.assert_allclose(mirrored(after, shape), affine, atol=1e-12)
        np.testing.assert_array_equal(after[1:], affine[1:])
        assert np.linalg.det(after) == pytest.approx(-np.linalg.det(affine))
