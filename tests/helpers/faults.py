"""Verbs that are killed, or whose disk is full: one line, and afterwards a rerun gives the files of an undisturbed run.

``python -m helpers.faults FOLDER --kills 40`` from the folder ``tests`` goes over all verbs and counts.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from helpers.command_line import paraspinal

TIMES = {"times", "created", "provenance"}
"""Entries of records that equal runs may differ in."""


@dataclass(frozen=True)
class Verb:
    """One verb as it is run here: its words, and what it writes, as seen from the folder of all inputs."""

    words: tuple[str, ...]
    output: str


def prepare(folder):
    """What the verbs read, and where: verb -> how it is run. Nothing of what they write is there."""
    from helpers.fuzzing import seeds
    from helpers.tiny_portable import AFFINE, boxes, painted, write_tiny_model

    seeds.author_scans(folder / "scans")
    (folder / "raw").mkdir()
    seeds.convert_author(folder)
    write_tiny_model(folder / "tiny")
    for number, case in enumerate("abc"):
        seeds.write_nifti(folder / "images" / f"{case}.nii.gz", painted(boxes(), number), AFFINE)
        seeds.write_nifti(folder / "labelsTr" / f"{case}.nii.gz", boxes(), AFFINE)
        seeds.write_nifti(folder / "near" / f"{case}.nii.gz", boxes(), AFFINE)
    seeds.exported_archive(folder)
    models = ("--pred", f"a={folder}/near", f"b={folder}/labelsTr")
    seeds.quietly("evaluate", "-ref", folder / "labelsTr", *models, "-o", folder / "evaluated", "-np", "1")
    predict = ("--runtime", "onnxruntime", "--threads", "1")
    at = str(folder)
    return {
        "phantom": Verb(("-o", f"{at}/out", "-n", "2", "--shape", "40", "40", "13", "-np", "2"), "out"),
        "convert": Verb(
            ("author", "-i", f"{at}/scans", "-d", "502", "-np", "2", "--raw", f"{at}/out"), "out"
        ),
        "inspect": Verb(("-d", "501", "--raw", f"{at}/raw", "-o", f"{at}/out", "-np", "2"), "out"),
        "predict": Verb(("-i", f"{at}/images", "-o", f"{at}/out", "-m", f"{at}/tiny", *predict), "out"),
        "measure": Verb(("-l", f"{at}/labelsTr", "-i", f"{at}/images", "-o", f"{at}/out", "-np", "2"), "out"),
        "evaluate": Verb(("-ref", f"{at}/labelsTr", *models, "-o", f"{at}/out", "-np", "2"), "out"),
        "statistics": Verb((f"{at}/evaluated", "-o", f"{at}/out", *seeds.LENIENT), "out"),
        "report": Verb(("-e", f"{at}/evaluated", "-o", f"{at}/out"), "out"),
        "import": Verb((f"{at}/model.zip",), "out"),
    }  # fmt: skip


def environment(folder):
    """nnU-Net's folders lie in the output, but for the raw data."""
    places = {f"nnUNet_{name}": str(folder / "out") for name in ("raw", "preprocessed", "results")}
    return {**os.environ, **places, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "MPLBACKEND": "agg"}


def start(name, verb, folder, **options):
    """Begin a verb in a group of processes of its own."""
    (folder / verb.output).mkdir(exist_ok=True)
    return subprocess.Popen(
        paraspinal(name, *verb.words), env=environment(folder), text=True, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def run(name, verb, folder, **options):
    """Run a verb to its end: exit code, lines on standard error, seconds."""
    begun = time.monotonic()
    with start(name, verb, folder, **options) as process:
        _, said = process.communicate()
    return process.returncode, said.strip().splitlines(), time.monotonic() - begun


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


def leftovers(folder):
    """What no process has tidied up."""
    return [p.name for p in folder.rglob(".*") if p.name.endswith((".partial", ".replaced"))]


def small_files(size):
    """Let a process write no file beyond a size, as on a full disk; for `subprocess`."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def fault_of_full_disk(code, lines):
    """Why an outcome on a full disk breaks the rule; '' where it does not."""
    if code != 1:
        return f"exit code {code}"
    told = [line for line in lines if "error" in line or "failed" in line or "not measured" in line]
    if not told or any("Traceback" in line or "internal error" in line for line in lines):
        return f"said {lines[-3:]}"
    return ""


def kill_and_rerun(name, verb, folder, seconds, expected):
    """Kill a verb after some seconds, run it again, and compare; what was wrong, or ''."""
    shutil.rmtree(folder / verb.output, ignore_errors=True)
    process = start(name, verb, folder)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.communicate()
    if hashes(folder / verb.output) == expected and not leftovers(folder):
        return ""  # it had ended, or as good as
    code, lines, _ = run(name, verb, folder)
    if code:
        return f"rerun: exit code {code}: {lines[-1:]}"
    if hashes(folder / verb.output) != expected:
        return "other files than undisturbed"
    return f"left {leftovers(folder)}" if leftovers(folder) else ""


def main():
    """Count kills and full disks over all verbs; 1 where one broke the rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--disks", type=int, nargs="*", default=[0, 300, 5000], metavar="BYTES")
    parser.add_argument("--verbs", nargs="*")
    args = parser.parse_args()
    args.folder.mkdir(parents=True)
    verbs, chance, faults = prepare(args.folder.resolve()), random.Random(0), 0
    names = args.verbs or list(verbs)
    for name in names:
        verb, folder = verbs[name], args.folder.resolve()
        shutil.rmtree(folder / verb.output, ignore_errors=True)
        code, lines, seconds = run(name, verb, folder)
        if code:
            print(f"{name}: undisturbed: exit code {code}: {lines[-2:]}")
            return 2
        expected = hashes(folder / verb.output)
        kills = args.kills // len(names) + (names.index(name) < args.kills % len(names))
        found = [kill_and_rerun(name, verb, folder, chance.uniform(0.1, 1) * seconds, expected) for _ in range(kills)]
        for size in args.disks:
            shutil.rmtree(folder / verb.output, ignore_errors=True)
            code, lines, _ = run(name, verb, folder, preexec_fn=small_files(size))
            found.append(f"{size} bytes: {fault}" if (fault := fault_of_full_disk(code, lines)) else "")
            code, lines, _ = run(name, verb, folder)
            found.append(
                "" if not code and hashes(folder / verb.output) == expected else f"rerun after {size} bytes: {code}"
            )
        told = [fault for fault in found if fault]
        faults += len(told)
        print(
            f"{name} ({seconds:.1f} s): {kills} kills, {len(args.disks)} full disks: {told or 'all well'}", flush=True
        )
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
