"""What is read is never written over, whatever it is called."""

import os

import pytest

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.files import refuse_overwriting_inputs


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "work" / "scan.nii.gz"
    path.parent.mkdir()
    path.write_bytes(b"voxels")
    return path


def same_path(scan):
    return scan


def another_way(scan):
    return scan.parent / ".." / "work" / scan.name


def symbolic_link(scan):
    (scan.parent.parent / "link.nii.gz").symlink_to(scan)
    return scan.parent.parent / "link.nii.gz"


def linked_folder(scan):
    (scan.parent.parent / "alias").symlink_to(scan.parent)
    return scan.parent.parent / "alias" / scan.name


def hard_link(scan):
    os.link(scan, scan.parent.parent / "hard.nii.gz")
    return scan.parent.parent / "hard.nii.gz"


def letters(scan):
    return scan.with_name("SCAN.nii.gz")


WAYS = [same_path, another_way, symbolic_link, linked_folder, hard_link, letters]


@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_not_written_over_by_any_name(scan, way):
    with pytest.raises(InputError, match="would be written over"):
        refuse_overwriting_inputs([scan], [scan.parent.parent / "fine", way(scan)])
    assert scan.read_bytes() == b"voxels"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["inputs", "trees"])
def test_nor_is_a_file_of_a_folder(scan, way, kind):
    read = {"inputs": [], kind: [scan.parent]}
    with pytest.raises(InputError, match="would be written over"):
        refuse_overwriting_inputs(outputs=[way(scan)], **read)


def test_a_link_in_an_input_folder_guards_what_it_leads_to(scan):
    folder = scan.parent.parent / "links"
    folder.mkdir()
    (folder / "a.nii.gz").symlink_to(scan)
    with pytest.raises(InputError, match="would be written over"):
        refuse_overwriting_inputs([folder], [scan])


def test_new_files_stay_out_of_input_folders(scan):
    with pytest.raises(InputError, match="would be written over"):
        refuse_overwriting_inputs([scan.parent], [scan.parent / "new.json"])
    with pytest.raises(InputError, match="would be written into"):
        refuse_overwriting_inputs([scan.parent], [], folders=[scan.parent])
    refuse_overwriting_inputs([scan.parent], [scan.parent / "masks" / "a"], folders=[scan.parent / "masks"])
    with pytest.raises(InputError, match="would be written into"):
        refuse_overwriting_inputs([], [], folders=[scan.parent / "deep" / "masks"], trees=[scan.parent])


def test_what_is_replaced_holds_no_input(scan):
    with pytest.raises(InputError, match=r"would be replaced, but holds the input .*scan\.nii\.gz"):
        refuse_overwriting_inputs([scan], [], replaced=[scan.parent])
    with pytest.raises(InputError, match="holds the input"):
        refuse_overwriting_inputs([scan.parent], [], replaced=[scan.parent.parent])


def test_other_places_are_free(scan):
    beside = scan.parent / "other.nii.gz"
    beside.write_bytes(b"")
    refuse_overwriting_inputs([scan, None], [beside, None], folders=[scan.parent], replaced=[scan.parent / "new"])
