"""Small studies for tests and benchmarks: phantoms, few iterations, and one thread so that sums round alike."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

SHAPE = (64, 64, 16)
SETTINGS = (
    "{spacing: [15.625, 3.12, 3.12], patch_size: [32, 32], batch_size: 4, crops_per_case: 2, "
    "iterations: ITERATIONS, iterations_per_epoch: 2, val_iterations: 1, threads: 1}"
)
STUDY = """\
name: test
dataset:
  id: 77
  name: Tiny
  convert: {source: author, input: cohort, options: [--allow-empty-label]}
inspect: {run: false}
folds: [0]
set: SETTINGS
arms:
  2d: {}
depth: {run: false}
resources:
  convert: {threads: 1, memory_gb: 2}
  fingerprint: {threads: 1, memory_gb: 2}
  plan: {threads: 1, memory_gb: 2}
  preprocess: {threads: 1, memory_gb: 2}
  train: {threads: 1, memory_gb: 4, gpu: 0}
  validate: {threads: 1, memory_gb: 4, gpu: 0}
  evaluate: {threads: 1, memory_gb: 2}
  best: {threads: 1, memory_gb: 2}
  statistics: {threads: 1, memory_gb: 2}
  report: {threads: 1, memory_gb: 4}
engine: {cores: 2, retries: 3}
slurm: {partition: main}
"""


def make_study(folder: Path, *, iterations: int = 8, more: str = "", cases: int = 6) -> Path:
    """A study's folder with its cohort, nothing run."""
    from paraspinal_nnunet.phantom import write_cohort

    folder.mkdir(parents=True)
    write_cohort(folder / "cohort", cases=cases, shape=SHAPE, second_rater=1, workers=1)
    text = STUDY.replace("SETTINGS", SETTINGS).replace("ITERATIONS", str(iterations))
    (folder / "study.yaml").write_text(text + more)
    return folder


def start(folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """Begin `paraspinal study run`."""
    return subprocess.Popen(
        [sys.executable, "-m", "paraspinal_nnunet", "study", "run", "-s", str(folder), *flags],
        env={**(environment or os.environ), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def finish(folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a study to its end.

    Raises:
        RuntimeError: It failed.
    """
    with start(folder, *flags, environment=environment) as process:
        output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(output + everything_logged(folder))
    return output


def everything_logged(folder: Path) -> str:
    """The ends of all logs."""
    return "".join(
        f"\n## {p}\n{p.read_text(errors='replace')[-3000:]}" for p in sorted((folder / "logs").rglob("*.log"))
    )


def processes(*words: str) -> list[int]:
    """Running processes whose command line has these arguments in this order."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if _in_order(words, arguments):
            found.append(int(entry.name))
    return found


def in_folder(pids: Sequence[int], folder: Path) -> list[int]:
    """Those of the processes that work in a folder, or were given it."""
    kept = []
    for pid in pids:
        try:
            inside = Path(os.readlink(f"/proc/{pid}/cwd")) == folder.resolve()
            given = str(folder) in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if inside or given:
            kept.append(pid)
    return kept


def kill(pids: Sequence[int]) -> None:
    """End processes at once, without a chance to tidy up."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def training_of(folder: Path) -> list[int]:
    """Processes that train a model of the study."""
    return in_folder(processes("paraspinal_nnunet", "study", "step", "train"), folder)


def engine_of(folder: Path) -> list[int]:
    """The engine, and the command that watches it."""
    found = processes("snakemake", "--snakefile") + processes("paraspinal_nnunet", "study", "run")
    return in_folder(found, folder)


def wait_for(condition, seconds: float = 300) -> bool:
    """Look until it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def epochs_logged(folder: Path) -> int:
    """Epochs that the trainings have begun so far."""
    logs = (folder / "nnunet" / "results").glob("*/*/fold_*/training_log_*.txt")
    return sum(log.read_text(errors="replace").count(": Epoch ") for log in logs)


def tables(folder: Path) -> dict[str, str]:
    """Hashes of the tables that must not depend on interruptions: metrics, statistics, and the weights' own masks."""
    files = [*(folder / "evaluation").rglob("metrics.tsv"), *(folder / "statistics").rglob("*.tsv")]
    files = [file for file in files if file.name != "compare_with_paper.tsv"]  # states seconds per scan
    files += (folder / "nnunet" / "results").glob("*/*/fold_*/validation/*.nii.gz")
    return {str(f.relative_to(folder)): hashlib.sha256(_content(f)).hexdigest() for f in sorted(files)}


def _content(file: Path) -> bytes:
    if file.suffix != ".gz":
        return file.read_bytes()
    import gzip

    return gzip.decompress(file.read_bytes())  # the archive's header holds the time


def _in_order(words: Sequence[str], arguments: Sequence[str]) -> bool:
    rest = iter(arguments)
    return all(any(word == argument for argument in rest) for word in words)
