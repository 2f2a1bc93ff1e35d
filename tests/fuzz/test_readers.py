"""Broken files of every kind are read or refused in one line: no other exception, crash or hang, and no memory at will.

`make fuzz` hunts for an hour; what it finds goes into `corpus/READER/`, named by its path with ``+`` for ``/``.
"""

import gzip
import mmap
import random
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.fuzzing import mutations
from helpers.fuzzing.child import outcome
from helpers.fuzzing.hunt import SOUND, batch
from helpers.fuzzing.kept import check_kept
from helpers.fuzzing.readers import READERS

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import read_image
from paraspinal_nnunet.utils.workers import in_own_process

CORPUS = Path(__file__).parent / "corpus"
LIGHT = ("a.nii", "a.mhd", "a.nhdr", "label files", "small tables", "study.yaml", "raw data", "workflow")
"""Readers whose files are made and read in a moment."""

TRIES, HEAVY_TRIES = 60, 8
HEAVY = ("training", "first weights", "evaluation", "predictions")
SETTING_FOLDERS = ("training", "first weights")
"""Readers that set nnU-Net's folders for their whole process."""


def kept(names):
    """Reader and file of what once broke a reader."""
    found = [(folder.name, path) for folder in sorted(CORPUS.iterdir()) for path in sorted(folder.iterdir())]
    return [pytest.param(name, path, id=f"{name}-{path.name}") for name, path in found if name in names]


@pytest.mark.parametrize(("name", "path"), kept(LIGHT))
def test_what_once_broke_a_reader(name, path, tmp_path, kept_environment):
    check_kept(name, path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "path"), kept(set(READERS) - set(LIGHT)))
def test_what_once_broke_a_heavy_reader(name, path, tmp_path, kept_environment):
    if name in SETTING_FOLDERS:
        in_own_process(check_kept, name, path, tmp_path)
    else:
        check_kept(name, path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_broken_files(name):
    tally = batch(name, round_="tests", count=HEAVY_TRIES if name in HEAVY else TRIES)
    assert not tally.faults
    assert sum(tally.counts[kind] for kind in SOUND) == sum(tally.counts.values()) > 0


def test_every_reader_has_valid_files_and_ways_to_break_them(tmp_path):
    for name in LIGHT:
        folder = tmp_path / name
        folder.mkdir()
        READERS[name].make(folder)
        assert outcome(READERS[name].read, folder)[0] == "read"
        assert all(list(folder.glob(pattern)) for pattern in READERS[name].targets), name


def test_faults_are_told_apart(tmp_path, monkeypatch):
    def refused(_):
        raise InputError("a.txt: one line")

    def broken(_):
        raise KeyError("x")

    class TwoLinesError(InputError):
        def __str__(self):
            return "two\nlines"

    def long(_):
        raise TwoLinesError

    def greedy(_):
        with mmap.mmap(-1, 40 << 20) as memory:  # from the system itself, whatever the process has kept
            memory.write(b"1" * (40 << 20))

    monkeypatch.setattr("helpers.fuzzing.child.MOST_GROWTH", 20 << 20)
    found = [outcome(read, tmp_path)[0] for read in (str, refused, broken, long, greedy)]
    assert found == ["read", "refused", "traceback", "many lines", "memory"]


@pytest.mark.slow
def test_a_crash_is_put_down_to_its_file(monkeypatch):
    program = (
        "import os, time\n"
        "from helpers.fuzzing.mutations import of_bytes\n"
        "from helpers.fuzzing.readers import Reader\n"
        "def make(folder): (folder / 'a').write_bytes(b'0' * 8)\n"
        "def read(folder):\n"
        "    if (folder / 'a').read_bytes() != b'0' * 8: os.abort()\n"
        "READERS = {'it': Reader(make, {'a': of_bytes}, read)}\n"
    )
    monkeypatch.setattr("helpers.fuzzing.hunt.CHILD", ("-c", program + CHILD_OF_IT))
    tally = batch("it", count=3)
    assert [(number, file, kind) for number, file, kind, _ in tally.faults] == [(n, "a", "crash") for n in range(3)]


CHILD_OF_IT = """
import sys
from pathlib import Path
from helpers.fuzzing import child, readers
readers.READERS = READERS
child.run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
"""


def test_the_same_number_gives_the_same_file():
    content = b'{"labels": {"a": 1, "b": [1, 2]}, "x": null}'
    for mutate in (mutations.of_bytes, mutations.of_text, mutations.of_json, mutations.of_protobuf):
        made = [mutate(content, random.Random(f"{n}")) for n in range(50)]
        assert made == [mutate(content, random.Random(f"{n}")) for n in range(50)]
        assert len(set(made)) > 30


def test_cut_gzip(tmp_path):
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    packed = gzip.compress(nib.Nifti1Image(array, np.eye(4)).to_bytes())
    for length in range(len(packed)):
        (tmp_path / "a.nii.gz").write_bytes(packed[:length])
        with pytest.raises(InputError):
            read_image(tmp_path / "a.nii.gz")
