"""Interrupted, repeated and simultaneous conversions, full disks, and sources that must not be touched."""

import contextlib
import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from paraspinal_nnunet.dataset_conversion import convert_case as take
from paraspinal_nnunet.dataset_conversion import resume
from paraspinal_nnunet.dataset_conversion.case import Case, Checks, Demographics
from paraspinal_nnunet.dataset_conversion.engine import RefusedError, convert
from paraspinal_nnunet.dataset_conversion.lock import number_lock
from paraspinal_nnunet.dataset_conversion.resume import tasks_of
from paraspinal_nnunet.dataset_conversion.sources.author import author_source
from paraspinal_nnunet.errors import DatasetError, InputError
from paraspinal_nnunet.nnunet.datasets import case_ids

UNFINISHED = ".Dataset501.unfinished"


def content(folder):
    """Every file of a data set and its bytes."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def cohort(scans):
    scans.add(*"abcd")
    return scans


@pytest.fixture
def calls(monkeypatch):
    """The cases whose images were read."""
    seen = []
    read = take._checked_images

    def reading(case, *args):
        seen.append(case.case)
        return read(case, *args)

    monkeypatch.setattr(take, "_checked_images", reading)
    return seen


def interrupt_at(monkeypatch, case, error):
    write = take.write_labels

    def fail(path, *args):
        if path.name == f"{case}.nii.gz":
            raise error
        write(path, *args)

    monkeypatch.setattr(take, "write_labels", fail)


# Going on where it stopped


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("crash"), OSError(errno.ENOSPC, "No space left")])
def test_a_rerun_takes_over_what_was_finished_and_writes_the_same(cohort, monkeypatch, calls, capsys, tmp_path, error):
    with monkeypatch.context() as patch:
        interrupt_at(patch, "c", error)
        with contextlib.suppress(RuntimeError):
            assert cohort.convert() in (1, 130)
    assert [p.name for p in cohort.raw.iterdir()] == [UNFINISHED]
    calls.clear()
    capsys.readouterr()
    assert cohort.convert() == 0
    assert calls == ["c", "d"]
    assert "note: 2 cases taken over from an unfinished conversion" in capsys.readouterr().out
    assert [p.name for p in cohort.raw.iterdir()] == ["Dataset501_Paraspinal"]
    (tmp_path / "whole").mkdir()
    assert cohort.convert("--raw", tmp_path / "whole") == 0
    assert content(cohort.dataset) == content(tmp_path / "whole/Dataset501_Paraspinal")


def test_a_refused_conversion_goes_on_after_the_fault_is_mended(cohort, calls, capsys):
    whole = (cohort.folder / "c_GT.nii.gz").read_bytes()
    (cohort.folder / "c_GT.nii.gz").write_bytes(whole[:-20])
    assert cohort.convert() == 1
    assert f"finished cases stay in {UNFINISHED} for the next try" in capsys.readouterr().out
    (cohort.folder / "c_GT.nii.gz").write_bytes(whole)
    calls.clear()
    assert cohort.convert() == 0
    assert calls == ["c"]
    assert case_ids(cohort.dataset) == list("abcd")
    assert [p.name for p in cohort.raw.iterdir()] == ["Dataset501_Paraspinal"]


@pytest.fixture
def interrupted(cohort, monkeypatch, calls):
    """Cases a to c are finished, d is not."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, "d", KeyboardInterrupt())
        assert cohort.convert() == 130
    calls.clear()
    return cohort


def test_a_changed_source_file_is_read_again(interrupted, calls):
    os.utime(interrupted.folder / "b_img.nii.gz", ns=(1, 1))
    assert interrupted.convert() == 0
    assert calls == ["b", "d"]


@pytest.mark.parametrize("flags", [["--n4"], ["--crop-to-labels"], ["--allow-empty-label"], ["--swap-sides"]])
def test_other_settings_start_afresh(interrupted, calls, flags):
    assert interrupted.convert(*flags) == 0
    assert calls == list("abcd")


def test_what_only_the_tables_hold_may_change(interrupted, calls):
    (interrupted.folder / "participants.tsv").write_text("participant_id\tage\na\t41\n")
    flags = ["-n", "Other", "--licence", "CC0", "--subject-pattern", "(.)", "--channel", "T2"]
    assert interrupted.convert(*flags) == 0
    assert calls == ["d"]
    assert "\t41\t" in (interrupted.raw / "Dataset501_Other/cases.tsv").read_text()


def test_a_file_that_was_cut_or_removed_is_made_again(interrupted, calls):
    dataset = interrupted.raw / UNFINISHED / "dataset"
    (dataset / "imagesTr/a_0000.nii.gz").write_bytes(b"half")
    (dataset / "labelsTr/b.nii.gz").unlink()
    (dataset / "imagesTr/foreign.nii.gz").write_bytes(b"x")
    assert interrupted.convert() == 0
    assert calls == ["a", "b", "d"]
    np.testing.assert_array_equal(interrupted.load("imagesTr/a_0000.nii.gz")[0], interrupted.image(list(b"a")))
    assert not (interrupted.dataset / "imagesTr/foreign.nii.gz").exists()


def test_cases_that_are_no_longer_wanted_are_not_in_the_data_set(interrupted):
    assert interrupted.convert("--exclude", "a") == 0
    assert case_ids(interrupted.dataset) == ["b", "c", "d"]
    assert len(list((interrupted.dataset / "imagesTr").iterdir())) == 3


def test_fingerprints_do_not_depend_on_the_process():
    case = Case("a", "a", (Path("/absent/a"),), Path("/absent/b"))
    (here,) = resume.tasks_of([case], author_source(), Checks())
    program = (
        "from pathlib import Path\n"
        "from paraspinal_nnunet.dataset_conversion.sources.author import author_source\n"
        "from paraspinal_nnunet.dataset_conversion.case import Case, Checks\n"
        "from paraspinal_nnunet.dataset_conversion.resume import tasks_of\n"
        "case = Case('a', 'a', (Path('/absent/a'),), Path('/absent/b'))\n"
        "print(tasks_of([case], author_source(), Checks())[0].fingerprint)"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert there.strip() == here.fingerprint


def test_fingerprints_follow_checks_and_source_but_not_the_person(cohort):
    found = author_source().find_cases(cohort.folder).cases
    prints = {
        resume.tasks_of(cases, source, checks)[0].fingerprint
        for cases, source, checks in (
            (found, author_source(), Checks()),
            ([replace(found[0], subject="x", person=Demographics(age=3))], author_source(licence="x"), Checks()),
            (found, author_source(), Checks(crop_margin=0)),
            (found, author_source(), Checks(crop_margin=1)),
            (found, replace(author_source(), channels=("T1",)), Checks()),
            (found, replace(author_source(), settings={"a": "b"}), Checks()),
        )
    }
    assert len(prints) == 5


# Two at once


def test_a_second_conversion_into_a_number_is_refused_whatever_its_name(cohort, capsys):
    with number_lock(cohort.raw, 501):
        for name in ("Paraspinal", "Other"):
            assert cohort.convert("-n", name) == 1
            error = capsys.readouterr().err
            assert f"data set number 501 of {cohort.raw} is in the hands of process {os.getpid()} on" in error
            assert error.count("\n") == 1
        assert cohort.convert(number=502) == 0
    assert cohort.convert() == 0
    assert sorted(p.name for p in cohort.raw.iterdir()) == ["Dataset501_Paraspinal", "Dataset502_Paraspinal"]


def test_a_lock_file_without_its_process_holds_nobody_up(cohort):
    (cohort.raw / ".Dataset501.lock").write_text("process 1 on elsewhere")
    assert cohort.convert() == 0
    assert [p.name for p in cohort.raw.iterdir()] == ["Dataset501_Paraspinal"]


def test_of_many_at_once_one_converts(cohort):
    """Threads stand for processes: the lock belongs to the open file, not to the process."""
    came = []

    def work():
        try:
            with number_lock(cohort.raw, 501):
                came.append("in")
                time.sleep(0.05)
                came.append("out")
        except Exception as error:
            came.append(type(error).__name__)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [entry for entry in came if entry in ("in", "out")]
    assert held == ["in", "out"] * (len(held) // 2)
    assert set(came) <= {"in", "out", "DatasetError"}
    assert list(cohort.raw.glob(".Dataset501.lock")) == []


def test_a_replacement_that_was_cut_off_is_put_right(cohort):
    assert cohort.convert() == 0
    aside = cohort.raw / ".99999.replaced.Dataset501_Paraspinal"
    cohort.dataset.rename(aside)
    assert cohort.convert() == 1, "the old data set is back and holds the number"
    assert case_ids(cohort.dataset) == list("abcd")
    aside.mkdir()
    assert cohort.convert("--overwrite") == 0
    assert [p.name for p in cohort.raw.iterdir()] == ["Dataset501_Paraspinal"]


# Sources are not touched


def state(folder):
    """Names, kinds, modes, times and content of all that is in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[path.relative_to(folder).as_posix()] = (info.st_mode, info.st_mtime_ns, info.st_nlink, digest)
    return found


def test_read_only_and_linked_sources_are_read_and_left_as_they_are(cohort, tmp_path):
    (cohort.folder / "sub").mkdir()
    (cohort.folder / "participants.tsv").write_text("participant_id\tage\na\t41\n")
    cohort.save("rater2/a_GT.nii.gz", cohort.labels())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("b_img.nii.gz", "b_GT.nii.gz"):
        (cohort.folder / name).rename(elsewhere / name)
        (cohort.folder / name).symlink_to(elsewhere / name)
    os.link(cohort.folder / "c_img.nii.gz", elsewhere / "c_hard.nii.gz")
    for folder in (cohort.folder, elsewhere):
        for path in [*folder.rglob("*"), folder]:
            if not path.is_symlink():
                path.chmod(0o555 if path.is_dir() else 0o444)
    before = state(cohort.folder), state(elsewhere)
    try:
        assert cohort.convert("--rater2", "--trust-labels", "--crop-to-labels", "--previews", "--n4") == 0
        assert (state(cohort.folder), state(elsewhere)) == before
        (written,) = [cohort.load("labelsTr/b.nii.gz")[0]]
        np.testing.assert_array_equal(written, cohort.labels()[:, :, 1:5])
        assert not any(p.is_symlink() for p in cohort.dataset.rglob("*"))
        assert all(os.access(p, os.W_OK) and p.stat().st_nlink == 1 for p in cohort.dataset.rglob("*.gz"))
    finally:
        for folder in (cohort.folder, elsewhere):
            for path in [folder, *folder.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755)


def test_a_target_in_the_source_folder_is_refused(cohort, capsys):
    for raw in (cohort.folder, cohort.folder / "nnUNet_raw"):
        raw.mkdir(exist_ok=True)
        before = state(cohort.folder)
        assert cohort.convert("--raw", raw) == 1
        assert "lies in the folder to convert, which is never written to" in capsys.readouterr().err
        assert state(cohort.folder) == before


def test_links_into_the_data_set_that_would_be_replaced_are_refused(cohort, capsys, scans, tmp_path):
    assert cohort.convert() == 0
    again = tmp_path / "again"
    again.mkdir()
    (again / "a_img.nii.gz").symlink_to(cohort.dataset / "imagesTr/a_0000.nii.gz")
    (again / "a_GT.nii.gz").symlink_to(cohort.dataset / "labelsTr/a.nii.gz")
    scans.folder = again
    assert scans.convert("--overwrite") == 1
    assert (
        "a_img.nii.gz: is a link into Dataset501_Paraspinal, which --overwrite would remove" in capsys.readouterr().err
    )
    assert case_ids(cohort.dataset) == list("abcd")


def test_a_broken_link_is_named_with_its_target(cohort, capsys):
    (cohort.folder / "b_GT.nii.gz").unlink()
    (cohort.folder / "b_GT.nii.gz").symlink_to("/absent/b.nii.gz")
    assert cohort.convert() == 1
    assert "b_GT.nii.gz: is a broken link to /absent/b.nii.gz" in capsys.readouterr().err


# Disks


def test_a_target_that_cannot_be_written_to_is_one_line(cohort, capsys):
    raw = Path("/sys/kernel")
    if not raw.is_dir():
        pytest.skip("needs /sys, in which no one can make a file")
    assert cohort.convert("--raw", raw) == 1
    error = capsys.readouterr().err
    assert "/sys/kernel/Dataset501_Paraspinal: cannot be written (" in error
    assert error.count("\n") == 1


def test_a_full_disk_says_what_to_do_and_the_next_try_goes_on(cohort, monkeypatch, capsys, calls):
    with monkeypatch.context() as patch:
        interrupt_at(patch, "c", OSError(errno.ENOSPC, "No space left on device"))
        assert cohort.convert() == 1
    error = capsys.readouterr().err
    assert f"free some space in {cohort.raw} and run the same command again" in error
    assert "which takes over 2 finished cases" in error
    assert error.count("\n") == 1
    assert not cohort.dataset.exists()
    calls.clear()
    assert cohort.convert() == 0
    assert calls == ["c", "d"]


def _run(scans, *flags, limit_bytes=None, workers=2):
    """The command in a process of its own, with worker processes; optionally no file may grow beyond a limit."""
    heard = "import signal as s; s.signal(s.SIGINT, s.default_int_handler)"  # background jobs are started deaf to it
    program = f"{heard}; import sys; from paraspinal_nnunet.cli import main; sys.exit(main(sys.argv[1:]))"
    if limit_bytes is not None:
        program = f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({limit_bytes},) * 2); {program}"
    given = ["convert", "author", "-i", scans.folder, "-d", 501, "-np", workers, "--raw", scans.raw, *flags]
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_write_that_the_system_cuts_off_in_a_worker_is_one_line(cohort):
    process = _run(cohort, limit_bytes=2000)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot be written (File too large); free some space" in error
    assert "Traceback" not in error
    assert [p.name for p in cohort.raw.iterdir() if p.name.startswith("Dataset")] == []
    assert cohort.convert() == 0


@pytest.mark.slow
def test_a_full_file_system_is_one_line_and_leaves_no_data_set(cohort, capsys):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", cohort.raw], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    try:
        cohort.add(*(f"more{n}" for n in range(40)))
        process = _run(cohort)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 1
        assert error.strip().splitlines()[-1].startswith("paraspinal convert: error: ")
        assert "cannot be written (No space left on device); free some space" in error
        assert "Traceback" not in error
        assert [p.name for p in cohort.raw.iterdir() if p.name.startswith("Dataset")] == []
        subprocess.run(["mount", "-o", "remount,size=10m", cohort.raw], check=True)
        assert cohort.convert() == 0
        assert "taken over from an unfinished conversion" in capsys.readouterr().out
        assert len(case_ids(cohort.dataset)) == 44
    finally:
        subprocess.run(["umount", "-l", cohort.raw], check=True)


# The end of the process


def _children(pid):
    """Processes below one, of the session that it leads."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == pid and int(stat.parent.name) != pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for the worker processes in /proc")
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_conversion_that_is_killed_goes_on_and_comes_to_the_same(scans, tmp_path, kind, capsys):
    """Killed when a number of cases, drawn by chance, is finished; workers are gone within seconds."""
    scans.add(*(f"c{n:03d}" for n in range(120)))
    finished = scans.raw / UNFINISHED / "cases"
    wanted = int(np.random.default_rng().integers(1, 60))
    process = _run(scans)
    while len(list(finished.glob("*.json")) if finished.exists() else []) < wanted:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(kind)
    process.wait(timeout=30)
    assert process.returncode == (-kind if kind == signal.SIGKILL else 128 + kind)
    deadline = time.monotonic() + 10
    while _children(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _children(process.pid) == []
    process.communicate()
    assert not [p for p in scans.raw.iterdir() if p.name.startswith("Dataset")]
    assert scans.convert() == 0
    (note,) = [line for line in capsys.readouterr().out.splitlines() if "taken over" in line]
    assert wanted <= int(note.split()[1]) < 120
    assert [p.name for p in scans.raw.iterdir()] == ["Dataset501_Paraspinal"]
    (tmp_path / "whole").mkdir()
    assert scans.convert("--raw", tmp_path / "whole") == 0
    assert content(scans.dataset) == content(tmp_path / "whole/Dataset501_Paraspinal")


@pytest.mark.slow
def test_two_commands_at_once_make_one_whole_data_set(scans):
    scans.add(*(f"c{n:03d}" for n in range(80)))
    processes = [_run(scans, "-n", name) for name in ("One", "Two")]
    ends = [(p.communicate(timeout=120), p.returncode) for p in processes]
    assert sorted(code for _, code in ends) == [0, 1]
    ((_, error),) = [streams for streams, code in ends if code]
    assert "data set number 501" in error
    assert error.count("\n") == 1
    (dataset,) = scans.raw.iterdir()
    assert len(case_ids(dataset)) == 80


def test_a_case_for_which_memory_does_not_suffice_is_named(cohort):
    source = replace(author_source(), read_images=_too_large)

    with pytest.raises(DatasetError, match=r"a_img.nii.gz: memory does not suffice"):
        convert(source, cohort.folder, number=501, name="X", raw=cohort.raw)


def _too_large(_case):
    raise MemoryError


def test_a_source_file_without_the_right_to_read_it_is_a_refusal_not_a_fault_of_the_target(cohort):
    source = replace(author_source(), read_images=_forbidden)
    with pytest.raises(RefusedError) as caught:
        convert(source, cohort.folder, number=501, name="X", raw=cohort.raw)
    assert {r.reason for r in caught.value.report.refusals} == {"/mr/IM1: cannot be read (Permission denied)"}
    source = replace(author_source(), find_cases=_forbidden)
    with pytest.raises(InputError, match=r"^/mr/IM1: cannot be read \(Permission denied\)"):
        convert(source, cohort.folder, number=501, name="X", raw=cohort.raw)
    assert list(cohort.raw.iterdir()) == []


def _forbidden(_given):
    raise PermissionError(errno.EACCES, "Permission denied", "/mr/IM1")


def test_voxels_beside_their_header_count_as_source(tmp_path):
    for name in ("a.mhd", "a.zraw", "b.zraw", "a_GT.nii.gz"):
        (tmp_path / name).write_bytes(b"x")
    cases = [Case("a", "a", (tmp_path / "a.mhd",), tmp_path / "a_GT.nii.gz")]
    (before,) = tasks_of(cases, author_source(), Checks())
    (tmp_path / "b.zraw").write_bytes(b"of another scan")
    assert tasks_of(cases, author_source(), Checks()) == [before]
    (tmp_path / "a.zraw").write_bytes(b"other voxels")
    assert tasks_of(cases, author_source(), Checks()) != [before]
