import pytest

from paraspinal_nnunet.utils.files import atomic_folder, atomic_path, write_json


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
