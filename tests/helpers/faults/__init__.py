"""Verbs that are killed, stopped, or whose disk is full: one line, and a rerun gives the files of an undisturbed run.

``python -m helpers.faults.hunt FOLDER --kills 40`` from the folder ``tests`` goes over all verbs and counts.
"""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from helpers.command_line import paraspinal

TIMES = {"times", "created", "provenance"}
"""Entries of records that equal runs may differ in."""

MARK = "PARASPINAL_TEST_RUN"
"""Variable by which all processes of a run are known, whoever started them."""

LEFT = (".partial", ".replaced")
"""Endings of what a process works on."""


def hashes(folder):
    """Path -> hash of what a verb wrote, without records of when."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    contents = {p.relative_to(folder).as_posix(): repr(without_times(p)).encode() for p in files}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def without_times(path):
    """A file's bytes; of JSON without the entries that tell when."""
    if path.suffix != ".json":
        return path.read_bytes()
    content = json.loads(path.read_text())
    return {key: value for key, value in content.items() if key not in TIMES} if isinstance(content, dict) else content


@dataclass(frozen=True)
class Verb:
    """One verb as it is run here; it writes into the folder ``out`` beside its inputs.

    Attributes:
        words: The command.
        places: Variables of the environment, e.g. nnU-Net's folders.
        begin: Puts into ``out`` what must lie there before the first run.
        contents: What equal runs have in common: name -> hash.
    """

    words: tuple[str, ...]
    places: Mapping[str, str] = field(default_factory=dict)
    begin: Callable | None = None
    contents: Callable = hashes


def out_of(folder):
    """Where a verb writes."""
    return folder / "out"


def environment(folder, verb):
    """One thread, nothing random, and temporary files beside the output."""
    places = {f"nnUNet_{name}": str(out_of(folder)) for name in ("raw", "preprocessed", "results")}
    steady = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "MPLBACKEND": "agg", "nnUNet_n_proc_DA": "0"}
    return {**os.environ, **places, **steady, "TMPDIR": str(folder / "tmp"), MARK: str(folder), **verb.places}


def prepare_output(verb, folder):
    """As before the first run."""
    for place in (out_of(folder), folder / "tmp"):
        empty(place)
    if verb.begin is not None:
        verb.begin(folder)


def empty(folder):
    """A folder without anything in it; the folder itself may be a mounted disk."""
    import shutil

    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def start(verb, folder, **options):
    """Begin a verb in a group of processes of its own."""
    return subprocess.Popen(
        paraspinal(*verb.words), env=environment(folder, verb), text=True, errors="replace", start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder, **options,
    )  # fmt: skip


def run(verb, folder, **options):
    """Run a verb to its end: exit code, lines on standard error, seconds."""
    begun = time.monotonic()
    with start(verb, folder, **options) as process:
        _, said = process.communicate()
    return process.returncode, said.strip().splitlines(), time.monotonic() - begun


def leftovers(folder):
    """What no process has tidied up, in the output and among temporary files."""
    places = (out_of(folder), folder / "tmp")
    return [p.relative_to(folder).as_posix() for place in places for p in place.rglob(".*") if p.name.endswith(LEFT)]


def fault_of_line(code, lines):
    """Why an outcome is no error in one line; '' where it is."""
    if code != 1:
        return f"exit code {code}, said {lines[-2:]}"
    told = [line for line in lines if "error" in line or "failed" in line or "not measured" in line]
    if not told or any("Traceback" in line or "internal error" in line for line in lines):
        return f"said {lines[-3:]}"
    return ""
