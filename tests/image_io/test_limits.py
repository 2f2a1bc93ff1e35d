"""How many voxels a header may ask for: by the machine's memory, by what is set, in every format and process."""

import gzip
import os

import nibabel as nib
import numpy as np
import pytest
from helpers.fuzzing import seeds

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io import limits
from paraspinal_nnunet.image_io.images import images_in, read_image
from paraspinal_nnunet.image_io.limits import MOST, VARIABLE, max_voxels, voxel_limit
from paraspinal_nnunet.utils import machine


def test_the_limit_is_what_memory_holds(monkeypatch):
    """16 bytes per voxel: 8 GiB hold 2^29 voxels."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(limits, "memory_bytes", lambda: 8 * 2**30)
    assert max_voxels() == 2**29
    monkeypatch.setattr(limits, "memory_bytes", lambda: 2**50)
    assert max_voxels() == MOST == 2**31
    monkeypatch.setattr(limits, "memory_bytes", lambda: None)
    assert max_voxels() == MOST


def test_a_container_has_the_memory_that_it_was_given(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_CGROUP_LIMITS", (str(tmp_path / "none"), str(limit)))
    limit.write_text("max\n")
    whole = machine.memory_bytes()
    assert whole == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit.write_text("1048576\n")
    assert machine.memory_bytes() == 1048576


@pytest.mark.parametrize("wrong", ["many", "0", "-3", "1e9"])
def test_a_limit_that_is_no_number(monkeypatch, wrong):
    monkeypatch.setenv(VARIABLE, wrong)
    with pytest.raises(InputError, match=f"{VARIABLE} is '{wrong}'; give a number"):
        max_voxels()


def test_the_block_leaves_things_as_they_were(monkeypatch):
    monkeypatch.setenv(VARIABLE, "7")
    with voxel_limit(5):
        assert max_voxels() == 5
    assert max_voxels() == 7
    with voxel_limit(None):
        assert max_voxels() == 7
    with pytest.raises(InputError, match="--max-voxels 0: give 1 or more"), voxel_limit(0):
        pass


def test_every_format_keeps_to_it(tmp_path):
    """12 x 10 x 4 = 480 voxels."""
    seeds.itk_images(tmp_path)
    seeds.nifti_images(tmp_path)
    paths = images_in(tmp_path)
    assert len(paths) == 10
    for path in paths:
        with voxel_limit(480):
            read_image(path)
        with voxel_limit(479), pytest.raises(InputError) as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: header states 12 x 10 x 4 = 480 voxels, more than the 479")
        assert "--max-voxels" in str(caught.value)


def test_dicom_keeps_to_it(tmp_path):
    pytest.importorskip("pydicom")
    from paraspinal_nnunet.dicom.find import find_series
    from paraspinal_nnunet.dicom.stack import read_stack

    seeds.dicom_series(tmp_path)
    (series,) = find_series(tmp_path)
    with voxel_limit(8 * 6 * 8 - 1), pytest.raises(InputError, match="8 x 6 x 8 = 384 voxels, more than the 383"):
        read_stack(series)
    assert read_stack(series).volume.shape == (8, 6, 8)


def test_little_packed_voxels_of_much_memory_are_refused_at_once(tmp_path, monkeypatch):
    """600 kB that unpack to 600 MB, as a machine of 8 MiB would meet them: nothing is unpacked."""
    header = nib.Nifti1Header()
    header.set_data_shape((1000, 1000, 600))
    header.set_data_dtype(np.uint8)
    header.set_sform(np.eye(4), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    packed = gzip.compress(bytes(header.binaryblock) + bytes(4 + 1000)) + b"more" * 150_000
    (tmp_path / "a.nii.gz").write_bytes(packed)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(limits, "memory_bytes", lambda: 2**33)
    with pytest.raises(InputError, match=r"1000 x 1000 x 600 = 600000000 voxels, more than the 536870912"):
        read_image(tmp_path / "a.nii.gz")


def test_verbs_have_the_flag_and_go_on_with_the_others(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    seeds.author_scans(tmp_path / "scans")
    seeds.write_nifti(tmp_path / "scans" / "c_img.nii.gz", seeds.grey(3, (40, 20, 4)))
    seeds.write_nifti(tmp_path / "scans" / "c_GT.nii.gz", seeds.masks((40, 20, 4)))
    (tmp_path / "raw").mkdir()
    words = ["convert", "author", "-i", str(tmp_path / "scans"), "-d", "501", "-np", "1", "--skip-refused"]
    assert main([*words, "--raw", str(tmp_path / "raw"), "--max-voxels", "2000", "--allow-empty-label"]) == 1
    said = capsys.readouterr()
    assert "40 x 20 x 4 = 3200 voxels, more than the 2000 that are read here" in said.err
    assert "2 cases of 2 subjects accepted" in said.out
    masks = tmp_path / "raw" / "Dataset501_Paraspinal" / "labelsTr"
    words = ["measure", "-l", str(masks), "-o", str(tmp_path / "measured"), "-np", "1", "--max-voxels", "1919"]
    assert main(words) == 1
    assert capsys.readouterr().err.count("24 x 20 x 4 = 1920 voxels, more than the 1919") == 2
    words = ["inspect", "-d", "501", "--raw", str(tmp_path / "raw"), "-np", "1", "--max-voxels", "1919", "--strict"]
    assert main(words) == 1
    assert capsys.readouterr().out.count("1920 voxels, more than the 1919") == 4
    assert VARIABLE not in os.environ
