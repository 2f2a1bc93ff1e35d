"""One process of the hunt: breaks the files of one reader, one after the other, and tells what came of each.

Started by `hunt`; its place is told before each try, so that a crash or a hang can be put down to its file.
"""

import contextlib
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

MOST_SECONDS = 20.0
"""Processor time of one try; files are tiny."""

MOST_GROWTH = 300 << 20
"""Bytes that one try may take beyond what the process had; files are tiny."""

_MOST_DATA = 3 << 30


def outcome(read, folder):
    """What came of one try: kind, and what was said."""
    from paraspinal_nnunet.errors import ParaspinalError

    silent = io.StringIO()
    before = _peak(reset=True)
    start = time.process_time()
    try:
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(folder)
        kind, said = "read", ""
    except ParaspinalError as error:
        said = str(error)
        kind = "refused" if said.strip() and "\n" not in said and len(said) < 6000 else "many lines"
        if "needs more memory than" in said or "not enough memory" in said:
            kind = "memory"
    except SystemExit as error:
        kind, said = ("refused", "") if error.code == 2 else ("traceback", f"SystemExit {error.code}")
    except BaseException:
        kind, said = "traceback", traceback.format_exc()
    if (seconds := time.process_time() - start) > MOST_SECONDS:
        kind, said = "slow", f"{seconds:.1f} s; {said}"
    if (growth := _peak() - before) > MOST_GROWTH:
        kind, said = "memory", f"{growth >> 20} MB; {said}"
    return kind, said


def _peak(*, reset=False):
    """Most memory that was resident, in bytes; since the last reset."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # another system
        return 0
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def _path_of(target):
    return str(target[0])


def _restore(seed, work):
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(seed, work)


def run(name, round_, first, count, keep):
    """Tries `first` to ``first + count - 1`` of a reader; lines of JSON on standard output.

    Args:
        name: Of the reader.
        round_: Makes other mutations of the same numbers.
        first: Number of the first try.
        count: How many.
        keep: Folder for files that broke the rule.
    """
    from helpers.fuzzing.readers import READERS

    reader, told = READERS[name], os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = io.StringIO()  # whatever native code prints
    with tempfile.TemporaryDirectory(prefix="paraspinal-fuzz-") as scratch:
        seed, work = Path(scratch) / "seed", Path(scratch) / "work"
        seed.mkdir()
        reader.make(seed)
        for _ in range(2):  # the first one imports everything, which no file is to be charged for
            _restore(seed, work)
            kind, said = outcome(reader.read, work)
        told.write(json.dumps({"seed": kind, "said": said}) + "\n")
        if kind != "read":
            return
        soft = _peak() + _MOST_DATA
        resource.setrlimit(resource.RLIMIT_DATA, (soft, resource.RLIM_INFINITY))
        targets = sorted(((p, m) for pattern, m in reader.targets.items() for p in seed.glob(pattern)), key=_path_of)
        for number in range(first, first + count):
            chance = random.Random(f"{name} {round_} {number}")
            path, mutate = targets[chance.randrange(len(targets))]
            content = mutate(path.read_bytes(), chance)
            _restore(seed, work)
            place = path.relative_to(seed)
            (work / place).write_bytes(content)
            told.write(json.dumps({"number": number, "file": str(place)}) + "\n")
            (keep / "current").write_bytes(content)
            kind, said = outcome(reader.read, work)
            told.write(json.dumps({"kind": kind, "said": said[-3000:]}) + "\n")


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
