"""Hunts for files that break a reader: ``python -m helpers.fuzzing.hunt --seconds 3600`` from the folder ``tests``."""

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SOUND = ("read", "refused")
"""What may come of a broken file."""

LONGEST_S = 90.0
"""A try that takes longer hangs; on a machine that has other things to do."""

BATCH = 200
CHILD = ("-m", "helpers.fuzzing.child")


@dataclass
class Tally:
    """What came of one reader's tries.

    Attributes:
        counts: Outcome -> number of tries.
        faults: Number of the try, file, outcome and what was said, of each that broke the rule.
    """

    counts: Counter = field(default_factory=Counter)
    faults: list = field(default_factory=list)

    def add(self, number, file, kind, said):
        self.counts[kind] += 1
        if kind not in SOUND:
            self.faults.append((number, file, kind, said))


def batch(name, *, round_="0", first=0, count=BATCH, keep=None, until=None):
    """Tries of one reader, in processes that may die.

    Args:
        name: Of the reader.
        round_: Makes other mutations of the same numbers.
        first: Number of the first try.
        count: How many.
        keep: Folder for files that broke the rule; None keeps none.
        until: `time.monotonic` at which to stop.

    Raises:
        RuntimeError: The reader does not even read what is valid.
    """
    tally, last = Tally(), first + count
    with tempfile.TemporaryDirectory(prefix="paraspinal-hunt-") as scratch:
        while first < last and (until is None or time.monotonic() < until):
            first = _child(name, round_, first, last, Path(scratch), tally, keep, until)
    return tally


def _child(name, round_, first, last, scratch, tally, keep, until):
    """Number of the next try, after a process ended, however it did."""
    command = [sys.executable, *CHILD, name, round_, str(first), str(last - first), str(scratch)]
    tests = Path(__file__).parents[2]
    paths = os.pathsep.join([str(tests), str(tests.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    surroundings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")},
        "PYTHONPATH": paths,
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "TMPDIR": str(scratch),
    }
    errors = (scratch / "stderr").open("wb+")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=surroundings, start_new_session=True)
    at, file, begun = first, "", False
    try:
        for line in _lines(process, until):
            told = json.loads(line)
            if "seed" in told:
                if told["seed"] != "read":
                    raise RuntimeError(f"{name}: its valid files give {told['seed']}: {told['said']}")
                begun = True
            elif "number" in told:
                at, file = told["number"], told["file"]
            else:
                _note(tally, keep, scratch, name, (at, file, told["kind"], told["said"]))
                at, file = at + 1, ""
    except TimeoutError:
        if until is not None and time.monotonic() >= until:
            return last
        _note(tally, keep, scratch, name, (at, file, "hang", ""))
        return at + 1
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        errors.seek(0)
        said = errors.read().decode(errors="replace")[-3000:]
        errors.close()
    if not begun or (not file and at < last):
        raise RuntimeError(f"{name}: the process ended between two tries: {said}")
    if file:  # it died at this one
        _note(tally, keep, scratch, name, (at, file, "crash", f"code {process.returncode}\n{said}"))
        at += 1
    return at


def _lines(process, until):
    """Lines as they come; TimeoutError where none comes for too long."""
    data = b""
    while True:
        left = 4 * LONGEST_S if not data and process.poll() is None else LONGEST_S
        if until is not None:
            left = min(left, max(0.0, until - time.monotonic()) + 0.1)
        if not select.select([process.stdout], [], [], left)[0]:
            raise TimeoutError
        part = os.read(process.stdout.fileno(), 65536)
        if not part:
            return
        *lines, rest = (data + part).split(b"\n")
        data = rest
        yield from lines


def _note(tally, keep, scratch, name, fault):
    tally.add(*fault)
    number, file, kind, said = fault
    if kind not in SOUND and keep is not None and (scratch / "current").is_file():
        folder = Path(keep) / name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scratch / "current", folder / f"{number}-{Path(file).name}")
        (folder / f"{number}.txt").write_text(f"{file}\n{kind}\n{said}", errors="replace")


def main():
    """Hunt over all readers until the time is up; 1 where a file broke the rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--count", type=int, help="tries per reader, instead of a time")
    parser.add_argument("--round", default=str(int(time.time())))
    parser.add_argument("--keep", type=Path, default=Path("found"))
    parser.add_argument("--readers", nargs="*")
    args = parser.parse_args()
    from helpers.fuzzing.readers import READERS

    names, tallies = args.readers or list(READERS), {}
    end = None if args.count else time.monotonic() + args.seconds
    for place, name in enumerate(names):
        share = None if end is None else time.monotonic() + (end - time.monotonic()) / (len(names) - place)
        try:
            tally = batch(name, round_=args.round, count=args.count or 10**9, keep=args.keep, until=share)
        except RuntimeError as error:
            print(str(error)[-1500:], flush=True)
            raise SystemExit(2) from None
        tallies[name] = tally
        counts = ", ".join(f"{kind} {number}" for kind, number in sorted(tally.counts.items()))
        print(f"{name}: {sum(tally.counts.values())} tries: {counts}", flush=True)
        for number, file, kind, said in tally.faults[:5]:
            print(f"  {number} {file}: {kind}: {(said.strip().splitlines() or [''])[-1][:200]}", flush=True)
    print(f"round {args.round}: {sum(sum(t.counts.values()) for t in tallies.values())} tries")
    return any(tally.faults for tally in tallies.values())


if __name__ == "__main__":
    sys.exit(main())
