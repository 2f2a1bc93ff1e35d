"""One reader for all formats: it agrees with ITK and nibabel, and refuses what a file does not state or hold."""

import bz2
import gzip
import struct
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy.spatial.transform import Rotation

from paraspinal_nnunet.errors import GeometryError, InputError, LabelError
from paraspinal_nnunet.evaluation import evaluate
from paraspinal_nnunet.image_io.images import images_in, read_image, read_labels, read_uint8_labels, stem_of
from paraspinal_nnunet.image_io.in_memory import volume_of
from paraspinal_nnunet.measures.case import measure

ARRAY = (np.arange(3 * 4 * 5) % 100).reshape(5, 4, 3)  # (z, y, x) as SimpleITK has it
META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "1 2 3",
    "ElementSpacing": "0.5 0.5 4",
    "DimSize": "3 4 5",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}
NRRD = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "3 4 5",
    "space directions": "(0.5,0,0) (0,0.5,0) (0,0,4)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(1,2,3)",
}
AFFINE = np.array([[-0.5, 0, 0, -1], [0, -0.5, 0, -2], [0, 0, 4, 3], [0, 0, 0, 1.0]])
VOXELS = ARRAY.astype("<i2").tobytes()


def meta(path, voxels=VOXELS, **changes):
    fields = {**META, **changes}
    last = fields.pop("ElementDataFile")
    lines = [f"{name} = {value}" for name, value in fields.items() if value is not None]
    path.write_bytes("\n".join([*lines, f"ElementDataFile = {last}\n"]).encode() + voxels)
    return path


def nrrd(path, voxels=VOXELS, **changes):
    fields = {**NRRD, **{name.replace("_", " "): value for name, value in changes.items()}}
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    path.write_bytes("\n".join([*lines, "", ""]).encode() + voxels)
    return path


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("packed", [False, True])
def test_files_of_itk_are_read_as_it_reads_them(tmp_path, dtype, ending, packed):
    """The affine is ITK's own origin, spacing and directions, turned from LPS to RAS by hand."""
    image = sitk.GetImageFromArray(ARRAY.astype(dtype))
    directions = Rotation.from_euler("xyz", (10, 20, 30), degrees=True).as_matrix()
    image.SetSpacing((0.4, 0.5, 5.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection(directions.ravel())
    sitk.WriteImage(image, str(tmp_path / f"a{ending}"), packed)
    volume = read_image(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(volume.array, ARRAY.T)
    expected = np.eye(4)
    expected[:3, :3] = np.diag([-1, -1, 1]) @ directions @ np.diag([0.4, 0.5, 5.0])
    expected[:3, 3] = -10.0, 20.0, 30.0
    np.testing.assert_allclose(volume.affine, expected, atol=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("cm", 10), ("m", 1000), ("um", 1e-3), ("in", 25.4)])
def test_units_that_a_header_states_are_used(tmp_path, unit, factor):
    scale = np.diag([factor, factor, factor, 1.0])
    quoted = " ".join([f'"{unit}"'] * 3)
    for path in (meta(tmp_path / "a.mha", DistanceUnits=unit), nrrd(tmp_path / "a.nrrd", space_units=quoted)):
        volume = read_image(path)
        np.testing.assert_allclose(volume.affine, scale @ AFFINE)
        assert bool(volume.remarks) == (unit != "mm")


def test_encodings(tmp_path):
    text = " ".join(map(str, ARRAY.ravel())).encode()
    paths = [
        meta(tmp_path / "zlib.mha", zlib.compress(VOXELS), CompressedData="True"),
        meta(tmp_path / "big.mha", ARRAY.astype(">i2").tobytes(), BinaryDataByteOrderMSB="True"),
        meta(tmp_path / "text.mha", text, BinaryData="False"),
        nrrd(tmp_path / "gzip.nrrd", gzip.compress(VOXELS), encoding="gzip"),
        nrrd(tmp_path / "bzip.nrrd", bz2.compress(VOXELS), encoding="bzip2"),
        nrrd(tmp_path / "text.nrrd", text, encoding="ascii"),
        nrrd(tmp_path / "big.nrrd", ARRAY.astype(">i2").tobytes(), endian="big"),
        nrrd(tmp_path / "end.nrrd", b"skipped" + VOXELS, byte_skip="-1"),
        nrrd(
            tmp_path / "one_more.nrrd",
            dimension="4",
            sizes="3 4 5 1",
            space_directions=f"{NRRD['space directions']} none",
        ),
    ]
    for path in paths:
        volume = read_image(path)
        np.testing.assert_array_equal(volume.array, ARRAY.T, err_msg=path.name)
        np.testing.assert_allclose(volume.affine, AFFINE)


META_FAULTS = {
    "negative dimensions": ({"NDims": "-13"}, "states -13 dimensions"),
    "huge dimensions": ({"NDims": "99999999"}, "states 99999999 dimensions"),
    "two dimensions": ({"NDims": "2", "DimSize": "3 4"}, "has 2 dimensions"),
    "several volumes": ({"NDims": "4", "DimSize": "3 4 5 2"}, "not one 3D volume"),
    "negative size": ({"DimSize": "3 -4 5"}, "has no voxels"),
    "absurd size": ({"DimSize": "3000000 400000 50000"}, "= 60000000000000000 voxels, more than"),
    "larger than the file": ({"DimSize": "300 400 50"}, "truncated"),
    "no orientation": ({"TransformMatrix": None}, "gives no orientation"),
    "no spacing": ({"ElementSpacing": None}, "gives no voxel size"),
    "no origin": ({"Offset": None}, "gives no origin"),
    "unknown unit": ({"DistanceUnits": "parsec"}, "unknown unit of length"),
    "spacing zero": ({"ElementSpacing": "0.5 0 4"}, "voxel sizes"),
    "spacing NaN": ({"ElementSpacing": "0.5 nan 4"}, "not 3 numbers"),
    "long axes": ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "no unit vectors"),
    "channels": ({"ElementNumberOfChannels": "3"}, "more than one channel"),
    "type": ({"ElementType": "MET_STRING"}, "numbers of the type"),
    "another file": ({"ElementDataFile": "/etc/passwd"}, "names another file"),
    "several files": ({"ElementDataFile": "LIST"}, "names another file"),
}


@pytest.mark.parametrize("fault", META_FAULTS)
def test_metaimages_are_refused(tmp_path, fault):
    changes, words = META_FAULTS[fault]
    with pytest.raises(InputError, match=f"a.mha: .*{words}"):
        read_image(meta(tmp_path / "a.mha", **changes))


NRRD_FAULTS = {
    "no directions": ({"space_directions": None, "spacings": "1 1 1"}, "gives no orientation"),
    "no space": ({"space": None, "space_dimension": "3"}, "gives no orientation"),
    "no origin": ({"space_origin": None}, "gives no origin"),
    "unknown unit": ({"space_units": '"pixel" "pixel" "pixel"'}, "unknown unit of length"),
    "channels": (
        {"dimension": "4", "sizes": "3 3 4 5", "space_directions": f"none {NRRD['space directions']}"},
        "not one 3D volume",
    ),
    "absurd size": ({"sizes": "3000000 400000 50000"}, "= 60000000000000000 voxels, more than"),
    "no byte order": ({"endian": None}, "byte order"),
    "block": ({"type": "block"}, "numbers of the type"),
    "another file": ({"data_file": "../secret"}, "names another file"),
    "no axis": ({"space_directions": "(0,0,0) (0,1,0) (0,0,1)"}, "no valid voxel size"),
    "sheared": ({"space_directions": "(1,0,0) (1,1,0) (0,0,1)"}, "not at right angles"),
}


@pytest.mark.parametrize("fault", NRRD_FAULTS)
def test_nrrds_are_refused(tmp_path, fault):
    changes, words = NRRD_FAULTS[fault]
    with pytest.raises(InputError, match=f"a.nrrd: .*{words}"):
        read_image(nrrd(tmp_path / "a.nrrd", **changes))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.raw", "sub/a.raw", "..", "C:\\a.raw", "LIST", "a%03d.raw 1 5 1", ""]
)
def test_voxels_lie_in_the_headers_folder(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.raw").write_bytes(VOXELS)
    for path in (
        meta(tmp_path / "in/a.mhd", b"", ElementDataFile=name),
        nrrd(tmp_path / "in/a.nhdr", b"", data_file=name),
    ):
        with pytest.raises(InputError, match=r"outside its own folder|in several files"):
            read_image(path)


def test_a_data_file_beside_the_header(tmp_path):
    (tmp_path / "a.raw").write_bytes(VOXELS)
    for path in (
        meta(tmp_path / "a.mhd", b"", ElementDataFile="a.raw"),
        nrrd(tmp_path / "a.nhdr", b"", data_file="a.raw"),
    ):
        np.testing.assert_array_equal(read_image(path).array, ARRAY.T)
    (tmp_path / "a.raw").unlink()
    with pytest.raises(InputError, match=r"a\.mhd: its data file 'a\.raw' is missing"):
        read_image(tmp_path / "a.mhd")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii"])
def test_voxels_that_are_no_numbers_are_refused(tmp_path, name, value):
    array = ARRAY.astype(np.float32)
    array[0, 0, 0] = value
    if name.endswith(".nii"):
        nib.save(nib.Nifti1Image(array.T, AFFINE), tmp_path / name)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / name))
    with pytest.raises(InputError, match="1 of 60 voxels are NaN or infinite"):
        read_image(tmp_path / name)
    for read in (read_labels, read_uint8_labels):
        with pytest.raises(LabelError, match="1 of 60 voxels are NaN or infinite"):
            read(tmp_path / name)


def _nifti(path, **changes):
    content = bytearray(nib.Nifti1Image(ARRAY.T.astype(np.int16), AFFINE).to_bytes())
    for place, (form, value) in changes.items():
        struct.pack_into(form, content, int(place[1:]), value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"_40": ("<h", 0)}, "has 0 dimensions|damaged"),
        ({"_40": ("<h", 2)}, "has 2 dimensions"),
        ({"_42": ("<h", -3)}, "has no voxels"),
        ({"_42": ("<h", 32767)}, "truncated"),
        ({"_108": ("<f", -1.0)}, "voxels begin at byte|damaged"),
        ({"_108": ("<f", float("nan"))}, "voxels begin at byte|damaged"),
        ({"_108": ("<f", 1e30)}, "voxels begin at byte|damaged"),
        ({"_108": ("<f", 0.0)}, "voxels begin at byte|damaged"),
        ({"_70": ("<h", 32)}, "more than one channel"),
        ({"_70": ("<h", 128)}, "more than one channel"),
        ({"_70": ("<h", 999)}, "damaged"),
    ],
)
def test_niftis_are_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        read_image(_nifti(tmp_path / "a.nii", **changes))


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    """100 MB of zeros behind the 120 bytes of voxels; and a header that states 2^30 voxels over a few hundred bytes."""
    content = nib.Nifti1Image(ARRAY.T.astype(np.int16), AFFINE).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content + bytes(100_000_000), 9))
    with pytest.raises(InputError, match="unpacks to more than its header states"):
        read_image(tmp_path / "a.nii.gz")
    large = bytearray(content)
    struct.pack_into("<hhhh", large, 40, 3, 1024, 1024, 1024)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(large)))
    with pytest.raises(InputError, match="truncated"):
        read_image(tmp_path / "b.nii.gz")
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(content[:200]) + gzip.compress(content[200:]))
    np.testing.assert_array_equal(read_image(tmp_path / "c.nii.gz").array, ARRAY.T)


def test_endings_count_in_any_case(tmp_path):
    nib.save(nib.Nifti1Image(ARRAY.T.astype(np.int16), AFFINE), tmp_path / "y.nii.gz")
    (tmp_path / "y.nii.gz").rename(tmp_path / "Y.NII.GZ")
    meta(tmp_path / "X.MHA")
    nrrd(tmp_path / "Z.Nrrd")
    (tmp_path / "notes.txt").touch()
    assert [stem_of(p.name) for p in images_in(tmp_path)] == ["X", "Y", "Z"]
    for path in images_in(tmp_path):
        np.testing.assert_allclose(read_image(path).affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize(("unit", "mm"), [("mm", 1.0), ("meter", 1000.0), ("micron", 0.001)])
def test_every_command_converts_units(tmp_path, unit, mm):
    """24 x 24 x 12 voxels of 1 x 1 x 4 mm; the box of 10 x 10 x 6 voxels has 600 x 4 mm3 = 2.4 ml in any unit."""
    labels = np.zeros((24, 24, 12), np.uint8)
    labels[2:12, 4:14, 3:9] = 1
    affine = np.diag([1 / mm, 1 / mm, 4 / mm, 1.0])
    for folder in ("ref", "pred"):
        (tmp_path / folder).mkdir()
        image = nib.Nifti1Image(labels, affine)
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / folder / "a.nii.gz")
    found = evaluate(tmp_path / "ref", {"m": tmp_path / "pred"})
    of_label = found[(found["muscle"] == "multifidus") & (found["side"] == "right")].iloc[0]
    assert of_label["reference_ml"] == pytest.approx(2.4)
    assert of_label["prediction_ml"] == pytest.approx(2.4)
    for given in (tmp_path / "ref" / "a.nii.gz", image):
        assert measure(None, given).structure("multifidus_right").volume_ml == pytest.approx(2.4)


def test_every_command_refuses_a_header_without_forms(tmp_path):
    labels = np.ones((24, 24, 12), np.uint8)
    image = nib.Nifti1Image(labels, np.diag([1.0, 1.0, 4.0, 1.0]))
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    for folder in ("ref", "pred"):
        (tmp_path / folder).mkdir()
        nib.save(image, tmp_path / folder / "a.nii.gz")
    calls = (
        lambda: evaluate(tmp_path / "ref", {"m": tmp_path / "pred"}),
        lambda: measure(None, tmp_path / "ref" / "a.nii.gz"),
        lambda: volume_of(image, "labels"),
        lambda: read_image(tmp_path / "ref" / "a.nii.gz"),
    )
    for call in calls:
        with pytest.raises(GeometryError, match="neither sform nor qform"):
            call()
