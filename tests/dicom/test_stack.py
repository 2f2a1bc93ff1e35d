"""A stack is sorted by place, checked, and lies where the standard, SimpleITK and dcm2niix say."""

import copy
import dataclasses
import itertools
import subprocess

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from helpers.dicom_files import (
    AXIAL,
    CORONAL,
    ORIGIN,
    SAGITTAL,
    SPACING,
    affine_ras,
    enhanced,
    rotated,
    save,
    save_series,
    set_pixels,
    slices,
    voxels,
)
from helpers.tools import tool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from paraspinal_nnunet.dicom import find_series, read_stack
from paraspinal_nnunet.dicom.grid import slice_grid
from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.image_io.images import read_image
from paraspinal_nnunet.image_io.nifti import write_image

FLIPPED = (-1, 0, 0, 0, -1, 0)
PLANES = {
    "axial": AXIAL,
    "sagittal": SAGITTAL,
    "coronal": CORONAL,
    "axial, feet first": (-1, 0, 0, 0, 1, 0),
    "axial, prone": FLIPPED,
    "axial, transposed": (0, 1, 0, 1, 0, 0),
    "tilted": rotated(AXIAL, 14, (1, 0, 0)),
    "doubly oblique": rotated(AXIAL, 17, (1, 0.6, 0.3)),
    "oblique sagittal": rotated(SAGITTAL, 11, (0.2, 1, 0.5)),
}


def read(folder):
    found = find_series(folder)
    assert len(found) == 1
    return read_stack(found[0])


def in_ras(array, affine):
    array, affine = to_ras(array, affine)
    return np.asarray(array), affine


def itk_volume(folder):
    """SimpleITK's own sorting and geometry."""
    reader = sitk.ImageSeriesReader()
    (uid,) = reader.GetGDCMSeriesIDs(str(folder))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), uid))
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, np.diag([-1.0, -1, 1, 1]) @ affine


@pytest.mark.parametrize("plane", PLANES)
def test_planes_against_the_standard_and_simpleitk(tmp_path, plane):
    save_series(slices(orientation=PLANES[plane]), tmp_path)
    volume = read(tmp_path).volume
    assert volume.array.dtype == np.uint16
    assert (volume.array == voxels()).all()
    np.testing.assert_allclose(volume.affine, affine_ras(PLANES[plane]), atol=1e-5)
    itk_array, itk_affine = in_ras(*itk_volume(tmp_path))
    array, affine = in_ras(volume.array, volume.affine)
    assert (array == itk_array).all()
    np.testing.assert_allclose(affine, itk_affine, atol=1e-4)


@pytest.mark.slow
def test_all_24_orientations_that_dicom_can_store(tmp_path):
    """Rows and columns along any two axes, either way; slices follow the normal, so left-handed grids do not exist."""
    phantom = voxels((4, 3, 2))  # in RAS
    spacing, affine = np.array([2.5, 3.0, 4.0]), np.diag([2.5, 3.0, 4.0, 1.0])
    tried = 0
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            directions = np.zeros((3, 3))
            directions[list(axes), range(3)] = signs  # stored axis -> RAS axis
            if np.linalg.det(directions) < 0:
                continue
            stored = phantom.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
            first = [0 if sign > 0 else n - 1 for sign, n in zip(signs, stored.shape, strict=True)]
            origin_ras = np.zeros(3)
            origin_ras[list(axes)] = np.array(first) * spacing[list(axes)]
            lps = np.diag([-1.0, -1, 1]) @ directions
            made = slices(
                stored,
                orientation=(*lps[:, 0], *lps[:, 1]),
                spacing=spacing[list(axes)],
                origin=origin_ras * [-1, -1, 1],
            )
            folder = tmp_path / f"{axes}{signs}"
            save_series(made, folder)
            array, found = in_ras(read(folder).volume.array, read(folder).volume.affine)
            assert np.array_equal(array, phantom), (axes, signs)
            np.testing.assert_allclose(found, affine, atol=1e-5)
            tried += 1
    assert tried == 24


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    degrees=st.floats(-180, 180),
    axis=st.tuples(*(st.floats(0.05, 1) for _ in "xyz")),
    spacing=st.tuples(*(st.floats(0.4, 9) for _ in "ijk")),
    origin=st.tuples(*(st.floats(-400, 400) for _ in "xyz")),
    seed=st.integers(0, 99),
)
def test_any_oblique_grid(tmp_path_factory, degrees, axis, spacing, origin, seed):
    """Headers alone, frames in any order: the affine is the one that the positions were made from."""
    orientation = rotated(AXIAL, degrees, axis)
    folder = tmp_path_factory.mktemp("any")
    array = voxels((3, 2, 5), seed)
    save_series(slices(array, orientation=orientation, spacing=spacing, origin=origin), folder)
    volume = read(folder).volume
    assert (volume.array == array).all()
    np.testing.assert_allclose(volume.affine, affine_ras(orientation, spacing, origin), atol=2e-5)


def test_the_same_phantom_through_nifti_is_identical(tmp_path):
    orientation = PLANES["doubly oblique"]
    save_series(slices(orientation=orientation), tmp_path / "series")
    stack = read(tmp_path / "series").volume
    stored = tmp_path / "phantom.nii.gz"
    flips = np.diag([-1.0, 1, -1, 1])
    flips[:3, 3] = [voxels().shape[0] - 1, 0, voxels().shape[2] - 1]
    write_image(stored, voxels()[::-1, :, ::-1], affine_ras(orientation) @ flips)
    nifti = read_image(stored)
    (a, affine_a), (b, affine_b) = in_ras(stack.array, stack.affine), in_ras(nifti.array, nifti.affine)
    assert (a == b).all()
    np.testing.assert_allclose(affine_a, affine_b, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("plane", PLANES)
def test_dcm2niix_writes_the_same(tmp_path, plane):
    program = tool("dcm2niix", "pip install dcm2niix")
    save_series(slices(orientation=PLANES[plane]), tmp_path / "series")
    (tmp_path / "out").mkdir()
    command = [program, "-f", "x", "-o", str(tmp_path / "out"), str(tmp_path / "series")]
    subprocess.run(command, check=True, capture_output=True)
    written = nibabel.load(tmp_path / "out" / "x.nii")
    theirs, their_affine = in_ras(np.asarray(written.dataobj), written.affine)
    stack = read(tmp_path / "series").volume
    ours, affine = in_ras(stack.array, stack.affine)
    assert (ours == theirs).all()
    np.testing.assert_allclose(affine, their_affine, atol=1e-3)


def test_enhanced_multi_frame_is_sorted_by_place(tmp_path):
    orientation = PLANES["tilted"]
    save(enhanced(orientation=orientation, order=[5, 0, 9, 1, 8, 2, 7, 3, 6, 4]), tmp_path / "one")
    stack = read(tmp_path)
    assert (stack.volume.array == voxels()).all()
    np.testing.assert_allclose(stack.volume.affine, affine_ras(orientation), atol=1e-5)
    assert stack.source_datasets == (tmp_path / "one",)
    assert stack.acquisition["multi_frame"] is True


def test_rescaling_by_slice(tmp_path):
    """7.5 x 4 - 3 = 27 in every other slice, the stored 4 in the rest: float32; ITK would apply one slice's to all."""
    made = slices(np.full((4, 4, 6), 4, np.uint16))
    for dataset in made[::2]:
        dataset.RescaleSlope, dataset.RescaleIntercept = "7.5", "-3"
    save_series(made, tmp_path)
    array = read(tmp_path).volume.array
    assert array.dtype == np.float32
    assert array[0, 0].tolist() == [27, 4, 27, 4, 27, 4]


def test_whole_intercepts_keep_integers(tmp_path):
    array = voxels()
    save_series(slices(array, RescaleSlope="1", RescaleIntercept="-1024"), tmp_path)
    found = read(tmp_path).volume.array
    assert found.dtype == np.int16
    assert (found == array.astype(int) - 1024).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_signed_and_unsigned(tmp_path, dtype):
    limits = np.iinfo(dtype)
    array = np.random.default_rng(1).integers(limits.min, limits.max, (4, 5, 6), endpoint=True).astype(dtype)
    save_series(slices(array), tmp_path)
    found = read(tmp_path).volume.array
    assert found.dtype == dtype
    assert (found == array).all()


def test_twelve_bits_signed_with_noise_above(tmp_path):
    """Bits above BitsStored are no part of the value: 0xF801 in 12 signed bits is -2047."""
    made = slices(np.zeros((2, 2, 3), np.uint16))
    for dataset in made:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
        dataset.PixelData = np.array([0xF801, 0x0801, 0x07FF, 0x0FFF], np.uint16).tobytes()
    save_series(made, tmp_path)
    assert read(tmp_path).volume.array[:, :, 0].T.ravel().tolist() == [-2047, -2047, 2047, -1]


def test_twelve_bits_at_the_top_of_their_words_are_refused(tmp_path):
    """The decoder takes the lowest twelve: 0x7FF0, which is 2047, became 4080."""
    made = slices(np.full((2, 2, 3), 0x7FF0, np.uint16))
    for dataset in made:
        dataset.BitsStored, dataset.HighBit = 12, 15
    save_series(made, tmp_path)
    with pytest.raises(InputError, match="HighBit is 15 of 12 bits, so that values are uncertain"):
        read(tmp_path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed(tmp_path, syntax):
    made = slices()
    for k, dataset in enumerate(made):
        path = save(dataset, tmp_path / f"{k}.dcm")
        if syntax != JPEG2000Lossless:
            packed = pydicom.dcmread(path)
            packed.compress(syntax)
            packed.save_as(path)
        else:
            itk_compress(path, "JPEG2000")
    assert pydicom.dcmread(tmp_path / "0.dcm").file_meta.TransferSyntaxUID == syntax
    assert (read(tmp_path).volume.array == voxels()).all()


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -10)])
def test_jpeg_lossless(tmp_path, slope, intercept):
    """The commonest encoding of archives, which GDCM decodes for pydicom."""
    made = slices(RescaleSlope=slope, RescaleIntercept=intercept)
    for k, dataset in enumerate(made):
        itk_compress(save(dataset, tmp_path / f"{k}.dcm"), "JPEG")
    assert pydicom.dcmread(tmp_path / "0.dcm").file_meta.TransferSyntaxUID == JPEGLosslessSV1
    assert (read(tmp_path).volume.array == voxels().astype(float) * slope + intercept).all()


def itk_compress(path, codec):
    """Replace a file's voxels by GDCM's encoding of them, and leave all else as it is."""
    dataset = pydicom.dcmread(path)
    image = sitk.GetImageFromArray(dataset.pixel_array)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor(codec)
    writer.SetFileName(str(path.with_suffix(".packed.dcm")))
    writer.Execute(image)
    packed = pydicom.dcmread(path.with_suffix(".packed.dcm"))
    path.with_suffix(".packed.dcm").unlink()
    dataset.PixelData = packed.PixelData
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    dataset.save_as(path)


def test_an_encoding_that_nothing_decodes_names_what_to_install(tmp_path):
    made = slices()
    for k, dataset in enumerate(made):
        path = save(dataset, tmp_path / f"{k}")
        packed = pydicom.dcmread(path)
        packed.compress(RLELossless)
        packed.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2KLossless
        packed.save_as(path)
    with pytest.raises(InputError, match=r"encoded as High-Throughput JPEG 2000.*pip install .*pylibjpeg"):
        read(tmp_path)


def test_truncated_voxels_are_named(tmp_path):
    files = save_series(slices(), tmp_path)
    files[3].write_bytes(files[3].read_bytes()[:-100])
    with pytest.raises(InputError, match=rf"{files[3].name}: voxels are damaged or incomplete"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("more", "suppressed"),
    [
        ({"SeriesDescription": "t2_tse_tra"}, False),
        ({"SeriesDescription": "t2_tse_fs_tra"}, True),
        ({"SeriesDescription": "t2_tse_tra", "ScanOptions": "FS"}, True),
        ({"SeriesDescription": "t2 dixon", "ImageType": ["ORIGINAL", "PRIMARY", "DIXON", "W"]}, True),
    ],
)
def test_a_scan_whose_fat_is_dark_says_so(tmp_path, more, suppressed):
    save_series(slices(**more), tmp_path)
    remarks = read(tmp_path).volume.remarks
    assert any("fat fractions of this scan say nothing" in text for text in remarks) is suppressed


def test_monochrome1_is_turned_and_said(tmp_path):
    save_series(slices(PhotometricInterpretation="MONOCHROME1"), tmp_path)
    stack = read(tmp_path)
    assert "MONOCHROME1" in stack.acquisition["photometric"]
    assert "MONOCHROME1" in stack.volume.remarks[0]
    assert stack.volume.array.dtype == np.uint16
    assert (stack.volume.array == 65535 - voxels().astype(int)).all()


def test_monochrome1_is_turned_within_its_own_bits(tmp_path):
    """Signed: -1 - v; twelve bits: 4095 - v. RescaleSlope comes after."""
    made = slices((voxels().astype(int) - 2000).astype(np.int16), PhotometricInterpretation="MONOCHROME1")
    save_series(made, tmp_path / "signed")
    assert (read(tmp_path / "signed").volume.array == -1 - (voxels().astype(int) - 2000)).all()
    made = slices(PhotometricInterpretation="MONOCHROME1", RescaleSlope=2.0, RescaleIntercept=1.0)
    for dataset in made:
        dataset.BitsStored, dataset.HighBit = 12, 11
    save_series(made, tmp_path / "twelve")
    assert (read(tmp_path / "twelve").volume.array == 2 * (4095 - voxels().astype(int)) + 1).all()


@pytest.mark.parametrize("scaling", [{"RescaleSlope": 0.0}, {"RescaleSlope": "x"}, {"RescaleIntercept": "x"}])
def test_a_scaling_that_is_none_is_refused(tmp_path, scaling):
    made = slices()
    for keyword, value in scaling.items():
        with pydicom.config.disable_value_validation():
            made[3].add_new(keyword, "DS" if isinstance(value, float) else "LO", value)
    files = save_series(made, tmp_path)
    with pytest.raises(InputError, match=f"{files[3].name}: RescaleSlope or RescaleIntercept"):
        read(tmp_path)


def _without(made, keyword, where=slice(None)):
    for dataset in made[where]:
        delattr(dataset, keyword)


def _move(made, place, mm):
    x, y, z = (float(v) for v in made[place].ImagePositionPatient)
    made[place].ImagePositionPatient = [x + mm[0], y + mm[1], z + mm[2]]


def _lean(made):
    for k in range(len(made)):
        _move(made, k, (0, 0.8 * k, 0))


def _colour(made):
    for dataset in made:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.PixelData = bytes(3 * dataset.Rows * dataset.Columns)
        dataset.BitsAllocated = dataset.BitsStored = 8


FAULTS = {
    "one missing": (lambda m: m.pop(3), "slice missing between z = -96.0 and -80.0 mm; copy"),
    "two missing": (lambda m: (m.pop(6), m.pop(3)), "2 slices missing between z = -96.0 and -80.0 mm, z = -72.0 and"),
    "three in a row": (lambda m: [m.pop(3) for _ in range(3)], "3 slices missing between z = -96.0 and -64.0 mm"),
    "twice": (lambda m: m.append(copy.deepcopy(m[4])), "1 slices lie where another does, e.g. at z = -80.0 mm"),
    "unequal": (lambda m: _move(m, 5, (0, 0, 2.5)), r"unequally spaced, 5.50 to 10.50 mm \(e.g. "),
    "aside": (lambda m: _move(m, 5, (3, 0, 0)), "lies 3.0 mm beside the line of the other slices"),
    "leaning": (_lean, "the stack leans by 5.7 degrees"),
    "single": (lambda m: [m.pop() for _ in range(9)], "is a single slice"),
    "no position": (
        lambda m: _without(m, "ImagePositionPatient", slice(2, 4)),
        "2 of 10 slices have no valid Image",
    ),
    "no spacing": (lambda m: _without(m, "PixelSpacing"), "10 of 10 slices have no valid PixelSpacing"),
    "no orientation": (lambda m: _without(m, "ImageOrientationPatient"), "10 of 10 slices have no valid ImageOrient"),
    "spacing zero": (lambda m: [setattr(d, "PixelSpacing", [0, 0]) for d in m], "PixelSpacing is not positive"),
    "no unit vectors": (
        lambda m: [setattr(d, "ImageOrientationPatient", [1, 0, 0, 0.3, 1, 0]) for d in m],
        "does not hold two unit vectors at right angles",
    ),
    "colour": (_colour, r"holds colour pictures \(RGB, 3 values per pixel\)"),
    "mosaic": (
        lambda m: [setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]) for d in m],
        "is a Siemens mosaic.*dcm2niix",
    ),
    "no voxels": (lambda m: _without(m, "PixelData", slice(0, 1)), "holds no voxels"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_refused_with_what_was_found(tmp_path, fault):
    spoil, message = FAULTS[fault]
    made = slices()
    spoil(made)
    save_series(made, tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    if fault != "no voxels":
        assert str(caught.value).startswith("series 5 't2_tse_tra': ")


def test_every_second_slice_is_missed_by_the_header(tmp_path):
    """Regular at 16 mm, but the scanner says 8 mm."""
    save_series(slices()[::2], tmp_path)
    with pytest.raises(GeometryError, match=r"4 slices missing between z = -112.0 and -96.0 mm"):
        read(tmp_path)


def test_a_spacing_that_is_the_gap_tells_of_no_missing_slices(tmp_path):
    """Some writers give the gap, here 0.8 of 8 mm, where the distance belongs."""
    save_series(slices(SpacingBetweenSlices=0.8), tmp_path)
    assert read(tmp_path).volume.shape == (24, 20, 10)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"orientation": PLANES["tilted"]}, "10 of 20 slices stand in another orientation"),
        ({"array": voxels((16, 20, 10))}, "mixes slices of 16 x 20, 24 x 20 voxels"),
        ({"spacing": (2.0, 2.0, 8.0)}, "mixes pixels of 2 x 2, 3 x 2.5 mm"),
    ],
)
def test_mixed_parts_are_refused(tmp_path, other, message):
    save_series(slices(), tmp_path / "a")
    save_series(slices(**other), tmp_path / "b")
    a, b = find_series(tmp_path)
    with pytest.raises(GeometryError, match=message):
        read_stack(dataclasses.replace(a, frames=a.frames + b.frames))


def test_positions_with_few_digits_are_regular(tmp_path):
    """4.4 mm at 15 degrees, rounded to 0.01 mm as some scanners write them."""
    orientation = rotated(AXIAL, 15, (1, 0, 0))
    made = slices(orientation=orientation, spacing=(2.5, 3.0, 4.4))
    for dataset in made:
        dataset.ImagePositionPatient = [f"{float(v):.2f}" for v in dataset.ImagePositionPatient]
        dataset.SpacingBetweenSlices = 4.4
    save_series(made, tmp_path)
    expected = affine_ras(orientation, (2.5, 3.0, 4.4))
    np.testing.assert_allclose(read(tmp_path).volume.affine, expected, atol=0.012)


def test_two_slices_in_one_file_of_many_frames_without_places(tmp_path):
    made = slices()[0]
    made.NumberOfFrames = 3
    set_pixels(made, np.zeros((3, 4, 4), np.uint16))
    del made.ImagePositionPatient
    save(made, tmp_path / "x")
    with pytest.raises(GeometryError, match="3 of 3 slices have no valid ImagePositionPatient"):
        read(tmp_path)


def test_grid_needs_no_voxels(tmp_path):
    save_series(slices(), tmp_path)
    grid = slice_grid(find_series(tmp_path)[0].frames, "x")
    assert [f.position_mm[2] for f in grid.frames] == [ORIGIN[2] + SPACING[2] * k for k in range(10)]
    np.testing.assert_allclose(grid.spacing_mm, SPACING)
