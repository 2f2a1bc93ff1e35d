"""Series are found by content, whatever their files are called, and divided where they mix several things."""

import zipfile

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from helpers.dicom_files import (
    AXIAL,
    CORONAL,
    RTSTRUCT,
    SAGITTAL,
    enhanced,
    rotated,
    save,
    save_series,
    series_headers,
    slices,
    voxels,
)
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from paraspinal_nnunet.dicom import Kind, find_series, opened_source, read_stack, scan_study
from paraspinal_nnunet.errors import InputError


def test_files_are_known_by_content(tmp_path):
    made = slices()
    names = ["DICOM/A/1", "x.txt", "scan.IMA", "scan.dcm", "e.jpg", "sub dir/ü.dcm", "7", "8", "9.bin", "10"]
    save_series(made, tmp_path, names=names)
    (tmp_path / "readme.dcm").write_text("no DICOM whatever its name says")
    (tmp_path / "empty").touch()
    (tmp_path / "long.bin").write_bytes(bytes(500))
    (tmp_path / ".hidden").write_bytes((tmp_path / "7").read_bytes())
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "7").write_bytes((tmp_path / "7").read_bytes())
    study = scan_study(tmp_path)
    assert len(study.series) == 1
    assert study.other_files == 3
    assert (read_stack(study.series[0]).volume.array == voxels()).all()


def test_files_without_preamble_and_indices(tmp_path):
    for k, dataset in enumerate(slices()):
        save(dataset, tmp_path / f"{k}", preamble=False)
    index = Dataset()
    index.SOPClassUID, index.SOPInstanceUID = "1.2.840.10008.1.3.10", generate_uid()
    save(index, tmp_path / "DICOMDIR")
    study = scan_study(tmp_path)
    assert [len(s.frames) for s in study.series] == [10]
    assert study.other_files == 1


def test_a_linked_folder_is_read_once_and_a_loop_ends(tmp_path):
    save_series(slices(), tmp_path / "real" / "series")
    (tmp_path / "real" / "series" / "loop").symlink_to(tmp_path / "real")
    assert [len(s.frames) for s in find_series(tmp_path / "real")] == [10]


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        find_series(tmp_path / "none")
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(InputError, match=r"holds no DICOM file \(1 other"):
        find_series(tmp_path)


@pytest.mark.parametrize("kept", [400, 800, 1250])
def test_a_damaged_header_is_named(tmp_path, kept):
    path = save(slices()[0], tmp_path / "sub" / "IM1")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"sub/IM1: is a damaged DICOM file"):
        find_series(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "parts"),
    [
        ({"EchoTime": 30.0, "EchoNumbers": 1}, {"EchoTime": 102.0, "EchoNumbers": 2}, ["echo 1", "echo 2"]),
        ({"EchoTime": 30.0}, {"EchoTime": 102.0}, ["TE 30 ms", "TE 102 ms"]),
        (
            {"ImageType": ["DERIVED", "PRIMARY", "DIXON", "W"]},
            {"ImageType": ["DERIVED", "PRIMARY", "DIXON", "F"]},
            ["F", "W"],
        ),
        ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 800.0}, ["b 0", "b 800"]),
        ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}, ["time point 1", "time point 2"]),
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, ["acquisition 1", "acquisition 2"]),
    ],
)
def test_one_series_of_two_contrasts(tmp_path, first, second, parts):
    uid = generate_uid()
    save_series(slices(SeriesInstanceUID=uid, **first), tmp_path / "a")
    save_series(slices(voxels(seed=1), SeriesInstanceUID=uid, **second), tmp_path / "b")
    found = find_series(tmp_path)
    assert [s.key for s in found] == ["5.1", "5.2"]
    assert [s.part for s in found] == parts
    assert not any(s.torn for s in found)
    stored = {read_stack(s).volume.array.tobytes() for s in found}
    assert stored == {voxels().tobytes(), voxels(seed=1).tobytes()}


def test_acquisition_numbers_that_count_up_do_not_divide(tmp_path):
    made = slices()
    for k, dataset in enumerate(made):
        dataset.AcquisitionNumber = k
    save_series(made, tmp_path)
    assert [len(s.frames) for s in find_series(tmp_path)] == [10]


def test_tags_that_some_slices_lack_do_not_divide(tmp_path):
    made = slices()
    for dataset in made[::2]:
        del dataset.EchoNumbers
        dataset.DiffusionBValue = 0.0
        dataset.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
        dataset.add_new(0x0019100C, "IS", "0")
        dataset.add_new(0x00291010, "OB", bytes(64))
    save_series(made, tmp_path)
    found = find_series(tmp_path)
    assert [len(s.frames) for s in found] == [10]
    assert (read_stack(found[0]).volume.array == voxels()).all()


def test_planes_sizes_and_spacings_are_torn_parts(tmp_path):
    uid = generate_uid()
    kinds = [
        {"orientation": AXIAL},
        {"orientation": SAGITTAL},
        {"orientation": CORONAL},
        {"array": voxels((16, 16, 10))},
        {"spacing": (2.0, 2.0, 8.0)},
        {"orientation": rotated(AXIAL, 10, (1, 0, 0))},
    ]
    for n, kind in enumerate(kinds):
        save_series(slices(SeriesInstanceUID=uid, **kind), tmp_path / str(n))
    found = find_series(tmp_path)
    assert len(found) == 6
    assert all(s.torn and s.siblings == 6 for s in found)
    assert sorted(s.part for s in found) == [
        "10 slices, 16 x 16 voxels, 3 mm pixels, axial",
        "10 slices, 24 x 20 voxels, 2 mm pixels, axial",
        "10 slices, 24 x 20 voxels, 3 mm pixels, axial",
        "10 slices, 24 x 20 voxels, 3 mm pixels, axial",
        "10 slices, 24 x 20 voxels, 3 mm pixels, coronal",
        "10 slices, 24 x 20 voxels, 3 mm pixels, sagittal",
    ]
    for s in found:
        read_stack(s)


def test_orientations_that_jitter_are_one(tmp_path):
    made = slices()
    for k, dataset in enumerate(made):
        dataset.ImageOrientationPatient = [1, 1e-5 * (-1) ** k, 0, 0, 1, 4e-5]
    save_series(made, tmp_path)
    assert len(find_series(tmp_path)) == 1


def test_series_with_one_number_get_keys_of_their_own(tmp_path):
    save_series(slices(), tmp_path / "a")
    save_series(slices(), tmp_path / "b")
    save_series(slices(SeriesNumber=None), tmp_path / "c")
    assert [s.key for s in find_series(tmp_path)] == ["5", "5-2", "unnumbered"]


def test_objects_that_are_no_images(tmp_path):
    for n, uid in enumerate((RTSTRUCT, "1.2.840.10008.5.1.4.1.1.88.11")):
        dataset = Dataset()
        for keyword, value in series_headers(SOPClassUID=uid, SeriesNumber=n).items():
            setattr(dataset, keyword, value)
        dataset.SOPInstanceUID = generate_uid()
        save(dataset, tmp_path / str(n))
    found = find_series(tmp_path)
    assert [s.kind for s in found] == [Kind.RTSTRUCT, Kind.OTHER]
    with pytest.raises(InputError, match=r"series 0 't2_tse_tra': holds no image \(RT Structure Set Storage\)"):
        read_stack(found[0])


def test_multi_frame_with_echoes(tmp_path):
    save(enhanced(order=[3, 1, 2, 0, 9, 8, 7, 6, 5, 4], echoes=(30.0, 102.0)), tmp_path / "one")
    found = find_series(tmp_path)
    assert [s.part for s in found] == ["TE 30 ms", "TE 102 ms"]
    first, second = (read_stack(s).volume for s in found)
    assert first.array.dtype == np.uint16
    assert (first.array == voxels()).all()
    assert second.array.dtype == np.float32
    assert (second.array == 2 * voxels()).all()


def test_a_zip_is_opened_elsewhere_and_cleared_away(tmp_path):
    files = save_series(slices(), tmp_path / "study")
    archive = tmp_path / "export.bin"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in files:
            packed.write(file, f"PAT/{file.name}")
    before = archive.read_bytes()
    with opened_source(archive) as folder:
        assert (read_stack(find_series(folder)[0]).volume.array == voxels()).all()
        assert not folder.is_relative_to(tmp_path)
    assert not folder.exists()
    assert archive.read_bytes() == before
    with opened_source(tmp_path / "study") as folder:
        assert folder == tmp_path / "study"


@pytest.mark.parametrize("member", ["../out.dcm", "/out.dcm", "a/../../out.dcm", "c:\\out.dcm"])
def test_a_zip_that_leads_out_is_refused(tmp_path, member):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(member, b"x")
    with pytest.raises(InputError, match="leads out of the folder"), opened_source(archive):
        pass


def test_neither_folder_nor_zip(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    for name, fault in (("a.txt", "is neither a folder nor a zip"), ("b", "does not exist")):
        with pytest.raises(InputError, match=fault), opened_source(tmp_path / name):
            pass
