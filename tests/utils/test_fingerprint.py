"""Fingerprints follow the content of files; sizes and times only save reading them."""

import hashlib
import os
import shutil

import pytest

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils import fingerprint as module
from paraspinal_nnunet.utils.fingerprint import Fingerprint, fingerprint

OLD = 1_600_000_000


@pytest.fixture
def _settled(monkeypatch):
    """Files count as old enough for a first look, though a test has just written them."""
    monkeypatch.setattr(module, "_SETTLED_S", 0.0)


def test_a_single_file_has_the_hash_that_sha256sum_prints(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fingerprint(tmp_path / "a").sha256 == expected


@pytest.mark.usefixtures("_settled")
def test_nothing_is_read_again_while_size_and_time_stay(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc")
    first = fingerprint(tmp_path / "a")
    monkeypatch.setattr(module, "file_sha256", lambda *_: pytest.fail("read again"))
    assert fingerprint(tmp_path / "a", known=first) == first


@pytest.mark.usefixtures("_settled")
def test_a_file_of_equal_size_and_time_is_noticed(tmp_path):
    scan, other = tmp_path / "a", tmp_path / "b"
    scan.write_bytes(b"abc")
    os.utime(scan, (OLD, OLD))
    first = fingerprint(scan)
    other.write_bytes(b"xyz")
    os.utime(other, (OLD, OLD))
    shutil.copy2(other, scan)
    assert scan.stat().st_mtime == OLD
    assert not fingerprint(scan, known=first).same_content(first)


def test_young_files_keep_no_first_look(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert fingerprint(tmp_path / "a").look == ""


def test_touching_or_moving_changes_no_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    first = fingerprint(tmp_path / "a")
    os.utime(tmp_path / "a", (OLD, OLD))
    (tmp_path / "a").rename(tmp_path / "b")
    assert fingerprint(tmp_path / "b", known=first).same_content(first)


def test_a_series_is_known_by_its_files_whatever_they_are_called(tmp_path):
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"one")
    two.write_bytes(b"two")
    first = fingerprint([one, two])
    lines = sorted(f"{hashlib.sha256(content).hexdigest()}  \n" for content in (b"one", b"two"))
    assert first.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    one.rename(tmp_path / "9")
    assert fingerprint([tmp_path / "9", two]).same_content(first)
    (tmp_path / "3").write_bytes(b"three")
    assert not fingerprint(tmp_path).same_content(first)


def test_under_a_root_names_count(tmp_path):
    (tmp_path / "plans.json").write_bytes(b"{}")
    first = fingerprint(tmp_path, root=tmp_path)
    (tmp_path / "plans.json").rename(tmp_path / "dataset.json")
    assert not fingerprint(tmp_path, root=tmp_path).same_content(first)


def test_it_goes_through_a_record():
    mark = Fingerprint("ab", "cd")
    assert Fingerprint.from_entry(mark.to_entry()) == mark
    assert Fingerprint.from_entry({"sha256": "ab"}) == Fingerprint("ab")
    assert [Fingerprint.from_entry(entry) for entry in (None, "ab", {}, {"sha256": 3})] == [None] * 4


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.nii: cannot be read"):
        fingerprint(tmp_path / "gone.nii")
