"""Cropping to the labelled slices: through the slices only, for all channels and raters alike."""

import numpy as np
import pytest

from paraspinal_nnunet.dataset_conversion.images.crop import cropped, labelled_range
from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.image_io.volume import Volume


@pytest.mark.parametrize(("flags", "first", "last"), [(["0"], 1, 4), ([], 1, 4), (["1"], 0, 5), (["9"], 0, 5)])
def test_labelled_slices_and_a_margin_are_kept_in_place(scans, flags, first, last, capsys):
    scans.add("a")  # labels lie in slices 1 to 4 of 0 to 5
    assert scans.convert("--crop-to-labels", *flags) == 0
    for name, whole in (("imagesTr/a_0000", scans.image(list(b"a"))), ("labelsTr/a", scans.labels())):
        array, affine = scans.load(f"{name}.nii.gz")
        np.testing.assert_array_equal(array, whole[:, :, first : last + 1])
        # the origin moves up by 5 mm for every slice that is cut off below
        np.testing.assert_array_equal(affine[:3, 3], [-38, -30, -12 + 5 * first])
    (case,) = scans.report()["cases"]
    assert case["cropped_slices"] == {"first": first, "last": last, "of": 6}
    assert case["shape"] == [20, 16, last - first + 1]
    assert set(case["volumes_ml"].values()) == {2.88}
    assert f"stored slices {first} to {last} of 6 kept" in capsys.readouterr().out


def test_the_range_is_that_of_both_raters(scans):
    scans.add("a")
    first, second = scans.labels(), scans.labels()
    first[:, :, 1], second[:, :, 4] = 0, 0
    scans.save("a_GT.nii.gz", first)
    scans.save("rater2/a_GT.nii.gz", second)
    assert scans.convert("--crop-to-labels", "--rater2") == 0
    np.testing.assert_array_equal(scans.load("labelsTr/a.nii.gz")[0], first[:, :, 1:5])
    np.testing.assert_array_equal(scans.load("labels_rater2/a.nii.gz")[0], second[:, :, 1:5])
    assert scans.convert("--crop-to-labels", "--no-rater2", "--overwrite") == 0
    np.testing.assert_array_equal(scans.load("labelsTr/a.nii.gz")[0], first[:, :, 2:5])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_axis_is_found_from_the_affine(axis, sign):
    """The stored axis that runs along z is cropped, wherever it stands in the array and whichever way it runs."""
    order = [a for a in range(3) if a != axis]
    affine = np.zeros((4, 4))
    affine[0, order[0]], affine[1, order[1]], affine[2, axis], affine[3, 3] = 1, 1, 4 * sign, 1
    affine[:3, 3] = (10, 20, 30)
    labels = np.zeros((7, 8, 9), np.uint8)
    labels[3:5, 3:5, 3:5] = 1
    kept = labelled_range([labels], affine, "x", margin=1)
    assert (kept.start, kept.stop) == (2, 6)
    volume = cropped(Volume(labels, affine), kept)
    assert volume.shape == tuple(4 if a == axis else n for a, n in enumerate((7, 8, 9)))
    before = {tuple(affine @ [*index, 1]) for index in np.argwhere(labels)}
    assert {tuple(volume.affine @ [*index, 1]) for index in np.argwhere(volume.array)} == before


def test_one_labelled_slice_is_no_scan(scans, capsys):
    labels = scans.labels()
    labels[:, :, 2:] = 0
    scans.add("a", labels=labels)
    assert scans.convert("--crop-to-labels") == 1
    assert "a_GT.nii.gz: labels one slice only, which is no 3D scan; give --crop-to-labels 1" in capsys.readouterr().err
    assert scans.convert("--crop-to-labels", "1") == 0
    with pytest.raises(LabelError):
        labelled_range([labels], scans.ras, "x", margin=0)


def test_a_negative_margin_is_wrong_usage(scans):
    scans.add("a")
    with pytest.raises(SystemExit) as caught:
        scans.convert("--crop-to-labels=-1")
    assert caught.value.code == 2
