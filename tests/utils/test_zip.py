import stat
import struct
import zipfile

import numpy as np
import pytest

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.zip import Limits, extract_zip, write_zip

NOISE = np.random.default_rng(0).bytes(2_500_000)


def archive(path, *members):
    """Members are (name or ZipInfo, bytes)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def info(name, mode=0):
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    return made


def unpacked(path, folder, **limits):
    folder.mkdir()
    extract_zip(path, folder, Limits(**limits) if limits else None)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(path, tmp_path, message, **limits):
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(InputError, match=message):
        unpacked(path, place / "in", **limits)
    assert sorted(p.name for p in place.rglob("*")) == ["in"]


def test_what_was_packed_is_unpacked(tmp_path):
    source = tmp_path / "model"
    (source / "fold_0").mkdir(parents=True)
    (source / "plans.json").write_bytes(b"{}")
    (source / "fold_0" / "weights").write_bytes(NOISE)
    write_zip(source, tmp_path / "model.zip")
    assert unpacked(tmp_path / "model.zip", tmp_path / "out") == {
        "plans.json": b"{}",
        "fold_0/weights": NOISE,
    }


def test_equal_folders_make_equal_archives(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plans.json").write_text("{}")
        write_zip(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/out", "a//b", "C:/out", "a\\..\\out", "./a", "a\nb", "..", "a/.."]
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    path = archive(tmp_path / "evil.zip", ("first", b"1"), (name, b"2"))
    refused(path, tmp_path, "has a name that leads out of the folder; refused")


def test_a_name_cut_by_a_zero_byte_is_refused(tmp_path):
    path = archive(tmp_path / "evil.zip", ("abcd", b"1"))
    path.write_bytes(path.read_bytes().replace(b"abcd", b"a\x00cd"))
    refused(path, tmp_path, "leads out of the folder")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_special_files_are_refused(tmp_path, kind):
    path = archive(tmp_path / "evil.zip", (info("link", kind | 0o777), b"/etc/passwd"))
    refused(path, tmp_path, "'link' is a link or a special file; refused")


def test_members_that_stand_twice_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "evil.zip", ("a", b"1"), ("a", b"2"))
    refused(path, tmp_path, "'a' stands there twice")


def test_names_that_differ_in_case_alone_are_refused(tmp_path):
    path = archive(tmp_path / "evil.zip", ("plans.json", b"1"), ("Plans.json", b"2"))
    refused(path, tmp_path, r"'plans\.json' stands there twice")


def test_bombs_are_refused(tmp_path):
    path = archive(tmp_path / "evil.zip", ("zeros", bytes(4 << 20)))
    refused(path, tmp_path, "'zeros' unpacks to 4194304 bytes from")


def test_limits_on_size_and_number(tmp_path):
    path = archive(tmp_path / "big.zip", ("a", b"12345"), ("b", b"67890"))
    refused(path, tmp_path, "unpacks to 10 bytes, more than 9; refused", total_bytes=9)
    assert unpacked(path, tmp_path / "fits", total_bytes=10, members=2) == {"a": b"12345", "b": b"67890"}
    with pytest.raises(InputError, match="holds 2 files, more than 1; refused"):
        unpacked(path, tmp_path / "many", members=1)


def test_a_member_larger_than_it_says_is_refused(tmp_path):
    path = archive(tmp_path / "liar.zip", ("a", bytes(5000)))
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 5000), struct.pack("<I", 50)))
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(InputError, match="is no sound zip archive"):
        extract_zip(path, folder)
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 50


def test_encrypted_members_are_refused(tmp_path):
    path = archive(tmp_path / "locked.zip", ("a", b"1"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # general purpose flag of the central directory
    path.write_bytes(content)
    refused(path, tmp_path, "'a' is encrypted; refused")


def test_damaged_archives_are_refused(tmp_path):
    path = archive(tmp_path / "model.zip", ("a", bytes(range(256)) * 20))
    whole = path.read_bytes()
    for damaged in (b"no archive", whole[:-30], whole[:60] + b"XXXX" + whole[64:]):
        path.write_bytes(damaged)
        folder = tmp_path / f"out{len(damaged)}{damaged[60:62].hex()}"
        folder.mkdir()
        with pytest.raises(InputError, match=r"model\.zip: is no sound zip archive"):
            extract_zip(path, folder)
