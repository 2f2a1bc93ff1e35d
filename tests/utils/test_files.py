import os

import pytest

from paraspinal_nnunet.errors import InputError, reason_of
from paraspinal_nnunet.models.description import manifest_content
from paraspinal_nnunet.models.manifest import FILE_NAME, read_manifest
from paraspinal_nnunet.nnunet.splits import read_splits
from paraspinal_nnunet.utils.files import MOST_BYTES, atomic_folder, atomic_path, read_json, write_json
from paraspinal_nnunet.utils.fingerprint import file_sha256
from paraspinal_nnunet.utils.tables import read_mapping, read_table
from paraspinal_nnunet.utils.workplace import workplace
from paraspinal_nnunet.utils.zip import extract_zip
from paraspinal_nnunet.workflow.study_file.reading import read_study_file


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "numbers.json"
    write_json(target, {"a": 1})
    before = target.read_bytes()
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["numbers.json"]


def test_a_temporary_name_keeps_the_suffixes(tmp_path):
    with atomic_path(tmp_path / "scan.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz")
        assert temporary.parent.parent == tmp_path
        assert temporary.parent.name.startswith(".")  # of a name that no process shares, in containers neither
        temporary.write_bytes(b"x")
    assert (tmp_path / "scan.nii.gz").read_bytes() == b"x"


def test_a_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "data") as temporary:
        (temporary / "half").write_text("x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_finished_folder_stands_under_its_name(tmp_path):
    with atomic_folder(tmp_path / "data") as temporary:
        (temporary / "whole").write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_a_taken_folder_name_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(FileExistsError), atomic_folder(tmp_path / "data"):
        pass


def refused(number=28):
    return OSError(number, os.strerror(number))


def as_pydicom_says_it():
    try:
        raise refused()
    except OSError as error:
        raise OSError(f"With tag (7FE0,0010) got exception: {error}\nTraceback (most recent call last)") from error


def as_torch_says_it():
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")


def as_blosc2_says_it():
    raise RuntimeError("Error while creating the NDArray")


def plainly():
    raise refused()


@pytest.mark.parametrize("fail", [plainly, as_pydicom_says_it, as_torch_says_it, as_blosc2_says_it])
@pytest.mark.parametrize("whole", [atomic_path, atomic_folder])
def test_a_full_disk_is_told_with_the_name_of_what_was_written(tmp_path, fail, whole):
    with pytest.raises(OSError, match=r"full disk|No space left") as caught, whole(tmp_path / "a"):
        fail()
    assert caught.value.filename == str(tmp_path / "a")
    said = reason_of(caught.value)
    assert said.startswith(f"{tmp_path / 'a'}: ")
    assert said.endswith("; free some space there and run the command again")
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_hidden_folder_is_told_as_the_one_that_holds_it(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, workplace(tmp_path) as place:
        raise OSError(28, "No space left on device", str(place / "scan.nii"))
    assert caught.value.filename == str(tmp_path)


@pytest.mark.parametrize("error", [InputError("a: is no image"), KeyError("x"), OSError(2, "No such file", "b")])
def test_other_errors_pass_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught, atomic_path(tmp_path / "a"):
        raise error
    assert caught.value is error


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("what", ["pipe", "device"])
@pytest.mark.parametrize(
    "read",
    [
        *(read_json, read_table, read_splits, read_mapping, read_study_file, file_sha256, manifest_content),
        lambda path: extract_zip(path, path.parent),
        lambda path: read_manifest(path.parent),
    ],
)
def test_pipes_and_devices_are_refused_and_not_waited_for(tmp_path, what, read):
    """A pipe that nobody writes to never begins, a device never ends."""
    path = tmp_path / FILE_NAME
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match=rf"{FILE_NAME}: is a pipe or a device; give a file"):
        read(path)


def test_a_file_of_more_than_a_gigabyte_is_not_read_whole(tmp_path):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match=r"x\.json: has 1073741825 bytes; at most 1073741824 are read"):
        read_json(tmp_path / "x.json")
