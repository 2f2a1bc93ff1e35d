import gzip
import struct
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from paraspinal_nnunet.errors import GeometryError, InputError, LabelError
from paraspinal_nnunet.image_io.images import read_image, read_labels, stem_of
from paraspinal_nnunet.image_io.nifti import write_image, write_labels

AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 20], [0, 0, 5.0, -7], [0, 0, 0, 1]])


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 900, (6, 5, 4)).astype(np.int16)


@pytest.fixture
def saved(tmp_path, array):
    """Write a scan with a header changed by a function; return its path."""

    def save(change=None, data=array, affine=AFFINE, name="a.nii.gz", kind=nib.Nifti1Image):
        image = kind(data, affine)
        image.header.set_xyzt_units("mm")
        if change is not None:
            change(image)
        nib.save(image, tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_voxels_and_affine_are_the_files(saved, array, name, kind):
    volume = read_image(saved(name=name, kind=kind))
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.array.dtype == np.int16
    assert volume.shape == (6, 5, 4)
    assert volume.spacing_mm == (2.0, 2.0, 5.0)
    assert volume.voxel_volume_ml == pytest.approx(0.02)


def test_a_gzipped_file_is_known_by_its_content(saved, array):
    path = saved()
    renamed = path.rename(path.with_name("b.nii"))
    np.testing.assert_array_equal(read_image(renamed).array, array)


def test_slope_and_intercept_are_applied_as_float32(saved, array):
    volume = read_image(saved(lambda image: image.header.set_slope_inter(0.5, 10)))
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, array * 0.5 + 10)


@pytest.mark.parametrize(
    ("stored", "read"),
    [("u1", "u1"), ("i2", "i2"), (">i2", "i2"), ("u2", "u2"), ("i4", "i4"), ("f4", "f4"), ("f8", "f4"), ("i8", "i4")],
)
def test_number_types(tmp_path, stored, read):
    data = np.arange(60).reshape(3, 5, 4).astype(stored)
    header = nib.Nifti1Header(endianness=">" if stored.startswith(">") else "<")
    nib.save(nib.Nifti1Image(data, AFFINE, header, dtype=data.dtype), tmp_path / "a.nii")
    volume = read_image(tmp_path / "a.nii")
    assert volume.array.dtype == np.dtype(read)
    np.testing.assert_array_equal(volume.array, data)


def test_trailing_axes_of_length_one_are_dropped(saved, array):
    np.testing.assert_array_equal(read_image(saved(data=array[..., None, None])).array, array)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("mm", 1.0), ("micron", 0.001), ("unknown", 1.0)])
def test_the_headers_unit_of_length_is_honoured(saved, unit, factor):
    volume = read_image(saved(lambda image: image.header.set_xyzt_units(unit)))
    np.testing.assert_allclose(volume.affine[:3], AFFINE[:3] * factor)
    np.testing.assert_array_equal(volume.affine[3], [0, 0, 0, 1])


def test_the_qform_holds_where_there_is_no_sform(saved):
    def qform_only(image):
        image.set_qform(AFFINE, code=1)
        image.header["sform_code"] = 0

    np.testing.assert_allclose(read_image(saved(qform_only)).affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_cut_anywhere_is_refused_with_its_name(saved, name):
    path = saved(name=name)
    whole = path.read_bytes()
    for length in (1, 100, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=name) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


def test_a_changed_byte_is_noticed_by_the_checksum(saved, array):
    path = saved()
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), 0))
    content[-20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"hello" * 200, gzip.compress(b"hello" * 200, mtime=0)])
def test_what_is_no_nifti_is_refused(tmp_path, content):
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nii\.gz"):
        read_image(tmp_path / "a.nii.gz")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.nii.*No such file"):
        read_image(tmp_path / "absent.nii")


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4, 2), (6, 5, 4, 1, 3)])
def test_other_than_three_dimensions_are_refused(saved, shape):
    with pytest.raises(InputError, match=f"{len(shape)} dimensions"):
        read_image(saved(data=np.ones(shape, np.int16)))


def test_colours_are_more_than_one_channel(saved):
    rgb = np.zeros((6, 5, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="more than one channel"):
        read_image(saved(data=rgb))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_counted(saved, array, value):
    data = array.astype(np.float32)
    data[0, 0, :3] = value
    with pytest.raises(InputError, match="3 of 120 voxels are NaN or infinite"):
        read_image(saved(data=data))


def test_an_image_without_orientation_is_refused(saved):
    with pytest.raises(GeometryError, match="left and right are unknown"):
        read_image(saved(affine=None))


def test_contradicting_orientations_are_refused(saved):
    mirrored = AFFINE * np.array([[-1], [1], [1], [1]])
    with pytest.raises(GeometryError, match="LPS against RPS"):
        read_image(saved(lambda image: (image.set_sform(AFFINE, 1), image.set_qform(mirrored, 1))))


def test_a_shear_is_refused(saved):
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.5
    with pytest.raises(GeometryError, match="right angles"):
        read_image(saved(lambda image: image.set_sform(sheared, 1)))


def test_a_degenerate_affine_is_refused(saved):
    flat = AFFINE.copy()
    flat[:, 2] = 0
    flat[3, 3] = 1
    with pytest.raises(GeometryError, match="no valid voxel size"):
        read_image(saved(lambda image: image.set_sform(flat, 1)))


def test_an_unknown_unit_is_refused(saved):
    def change(image):
        image.header["xyzt_units"] = 5

    with pytest.raises(GeometryError, match="xyzt_units 5"):
        read_image(saved(change))


@pytest.mark.parametrize("stored", ["u1", "i2", "f4", "f8"])
def test_labels_are_integers_whatever_the_type(saved, stored):
    data = np.zeros((6, 5, 4), dtype=stored)
    data[1, 2, 3] = 6
    labels = read_labels(saved(data=data)).array
    assert labels.dtype.kind in "iu"
    np.testing.assert_array_equal(labels, data)


def test_labels_between_two_integers_are_refused(saved):
    data = np.zeros((6, 5, 4), np.float32)
    data[0, 0, :2] = 1.5
    with pytest.raises(LabelError, match=r"2 voxels have no integer label, e\.g\. 1\.5"):
        read_labels(saved(data=data))


def test_a_written_image_reads_back_with_both_forms_in_mm(tmp_path, array):
    write_image(tmp_path / "a.nii.gz", array, AFFINE)
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), array)
    assert image.get_data_dtype() == np.int16
    assert image.header.get_xyzt_units()[0] == "mm"
    for affine, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        np.testing.assert_allclose(affine, AFFINE, atol=1e-5)
        assert code == 1


def test_written_labels_are_uint8(tmp_path):
    labels = np.arange(60).reshape(3, 5, 4)
    write_labels(tmp_path / "a.nii.gz", labels, AFFINE)
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), labels)


@pytest.mark.parametrize("value", [-1, 256])
def test_labels_beyond_uint8_are_refused(tmp_path, value):
    with pytest.raises(LabelError, match=f"{value}"):
        write_labels(tmp_path / "a.nii.gz", np.full((2, 2, 2), value), AFFINE)
    assert not (tmp_path / "a.nii.gz").exists()


def saved_with_pixdim(saved, pixdim, change=None):
    """The file with its voxel size overwritten; pixdim[1] stands at byte 80 of a NIfTI-1 header."""
    path = saved(change, name="a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<3f", content, 80, *pixdim)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pixdim", [(-2.0, 2.0, 5.0), (2.0, 2.0, -5.0), (0.0, 2.0, 5.0)])
def test_a_voxel_size_below_zero_leaves_the_sides_uncertain(saved, pixdim):
    # SimpleITK 2.5.7 takes -2 as a mirrored axis, nibabel 5.4.2 as 2: left and right depend on the reader.
    path = saved_with_pixdim(saved, pixdim, lambda image: image.set_qform(AFFINE, 1))
    with pytest.raises(GeometryError, match=r"voxel size of .* left and right are uncertain"):
        read_image(path)


def test_forms_of_different_voxel_size_are_refused(saved):
    doubled = AFFINE @ np.diag([2.0, 1.0, 1.0, 1.0])
    with pytest.raises(GeometryError, match="contradict each other in voxel size"):
        read_image(saved(lambda image: (image.set_sform(doubled, 1), image.set_qform(AFFINE, 1))))


def test_a_lone_sform_holds_against_pixdim_with_a_remark(saved):
    path = saved_with_pixdim(saved, (1.0, 1.0, 1.0))
    volume = read_image(path)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    assert "pixdim says voxels of 1 x 1 x 1 mm" in volume.remarks[0]


def test_forms_that_lie_apart_are_remarked_and_the_sform_holds(saved):
    moved = AFFINE.copy()
    moved[0, 3] += 3
    volume = read_image(saved(lambda image: (image.set_sform(moved, 2), image.set_qform(AFFINE, 1))))
    assert volume.affine[0, 3] == pytest.approx(moved[0, 3])
    assert volume.remarks == ("sform and qform lie up to 3 mm apart; sform taken",)


def test_an_orderly_header_needs_no_remark(saved):
    assert read_image(saved()).remarks == ()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a_0000.nii.gz", "a"),
        ("A.NII.GZ", "A"),
        ("b_0001.nii", "b_0001"),
        ("c.mha", "c"),
        ("c.png", "c.png"),
        ("d_0000_dseg.nii", "d_0000_dseg"),
    ],
)
def test_the_stem_is_the_name_without_ending_and_channel(name, stem):
    assert stem_of(name) == stem


def test_other_endings_are_taken_where_they_are_given():
    assert stem_of("c_0000.MHA", (".nii", ".mha")) == "c"


def test_reading_an_image_loads_no_pydicom():
    """Which nibabel would load whole."""
    program = (
        "import sys, paraspinal_nnunet.image_io.images as images\n"
        "assert 'pydicom' not in sys.modules and images.read_image\n"
        "import pydicom"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
