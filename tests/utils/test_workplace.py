"""What processes that were really killed leave behind: swept at the next start, and what was set aside comes back."""

import os
import signal
import subprocess
import sys

import pytest

from paraspinal_nnunet.utils.files import atomic_folder, atomic_path, replace_folders
from paraspinal_nnunet.utils.workplace import sweep, workplace

WRITE = """
import sys, time
from pathlib import Path
from paraspinal_nnunet.utils.files import atomic_folder, atomic_path
from paraspinal_nnunet.utils import files

target = Path(sys.argv[1])
if sys.argv[2] == "file":
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        time.sleep(300)
elif sys.argv[2] == "folder":
    with atomic_folder(target, overwrite=True) as temporary:
        (temporary / "half").touch()
        print("ready", flush=True)
        time.sleep(300)
else:  # between setting the old one aside and naming the new one
    def wait(*paths):
        print("ready", flush=True)
        time.sleep(300)
    with atomic_folder(target, overwrite=True) as temporary:
        (temporary / "half").touch()
        from paraspinal_nnunet.utils import workplace
        real = files.set_aside
        def set_aside(*arguments):
            real(*arguments)
            wait()
        files.set_aside = set_aside
"""


def writing(target, kind):
    """A process that is in the middle of writing."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(target), kind], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout.readline() == "ready\n"
    return process


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_leftovers_of_a_killed_process_are_swept_and_those_of_a_living_one_are_not(tmp_path, kind):
    process = writing(tmp_path / "result", kind)
    try:
        assert len(names(tmp_path)) == 1
        sweep(tmp_path)
        assert len(names(tmp_path)) == 1  # its owner lives
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_folder_that_was_set_aside_comes_back_when_the_process_is_killed(tmp_path):
    with atomic_folder(tmp_path / "case") as folder:
        (folder / "old").touch()
    process = writing(tmp_path / "case", "exchange")
    assert not (tmp_path / "case").exists()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    sweep(tmp_path)
    assert names(tmp_path) == ["case"]
    assert names(tmp_path / "case") == ["old"]


def test_ctrl_c_while_a_folder_is_set_aside_brings_it_back(tmp_path):
    with atomic_folder(tmp_path / "case") as folder:
        (folder / "old").touch()
    process = writing(tmp_path / "case", "exchange")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert names(tmp_path) == ["case"]
    assert names(tmp_path / "case") == ["old"]


def test_the_next_write_sweeps(tmp_path):
    """In a process of its own: each sweeps a folder once, at its first write."""
    process = writing(tmp_path / "a.txt", "file")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    other = writing(tmp_path / "b.txt", "file")
    assert len(names(tmp_path)) == 1
    other.send_signal(signal.SIGINT)
    other.communicate()
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["partial", "replaced"])
def test_leftovers_that_carry_a_process_number_are_put_right_too(tmp_path, kind):
    (tmp_path / f".99999999.{kind}.case").mkdir()
    (tmp_path / f".{os.getpid()}.{kind}.other").mkdir()  # it lives
    sweep(tmp_path)
    expected = ["case"] if kind == "replaced" else []
    assert names(tmp_path) == sorted([f".{os.getpid()}.{kind}.other", *expected])


def test_a_set_aside_folder_of_another_name_goes_when_the_new_one_stands(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "finished").mkdir()
    replace_folders(tmp_path / "finished", tmp_path / "new", replaces=[tmp_path / "old"])
    assert names(tmp_path) == ["new"]


def test_a_replacement_that_cannot_be_brings_the_old_one_back(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(FileNotFoundError):
        replace_folders(tmp_path / "never", tmp_path / "new", replaces=[tmp_path / "old"])
    assert names(tmp_path) == ["old"]


def test_two_writers_of_one_name_do_not_meet(tmp_path):
    with atomic_path(tmp_path / "x") as first, atomic_path(tmp_path / "x") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "x").read_text() == "first"  # the outer block ends last
    assert names(tmp_path) == ["x"]


def test_a_workplace_of_the_system_is_private():
    with workplace() as place:
        assert place.stat().st_mode & 0o077 == 0
    assert not place.exists()


STOPPED = """
import os, pathlib, shutil, sys
from paraspinal_nnunet.utils.workplace import workplace

owner, name = {place}
real, calls = getattr(owner, name), []

def stopped(*args, **options):
    calls.append(args)
    if len(calls) == 1:
        raise KeyboardInterrupt
    return real(*args, **options)

folder = pathlib.Path(sys.argv[1])
with workplace(folder):
    pass  # what is imported and swept first
setattr(owner, name, stopped)
with workplace(folder) as place:
    (place / "a").touch()
"""


@pytest.mark.parametrize("place", ["shutil, 'rmtree'", "os, 'open'", "os, 'close'"])
def test_a_stop_while_it_is_made_or_removed_leaves_nothing(tmp_path, place):
    run = subprocess.run([sys.executable, "-c", STOPPED.format(place=place), tmp_path], capture_output=True, text=True)
    assert run.stderr.rstrip().endswith("KeyboardInterrupt")
    assert list(tmp_path.iterdir()) == []
