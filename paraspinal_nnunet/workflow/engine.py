"""Running a workflow on Snakemake or, without it, step after step; one engine at a time, and what a left lock means."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from paraspinal_nnunet.errors import InputError, ParaspinalError, SetupError
from paraspinal_nnunet.utils.packages import install_line
from paraspinal_nnunet.workflow.layout import lay_down
from paraspinal_nnunet.workflow.narrator import Narrator
from paraspinal_nnunet.workflow.settings import Workflow
from paraspinal_nnunet.workflow.state import HeldError, held
from paraspinal_nnunet.workflow.status import DONE, FAILED, job_states
from paraspinal_nnunet.workflow.steps import LOCAL_GPUS, Runner, run_step

SNAKEFILE = Path(__file__).parent / "Snakefile"
PROFILES = Path(__file__).parent / "profiles"
ENGINE_LOG = "logs/engine.log"
_POLL_SECONDS = 1.0
_LATENCY_SECONDS = 15


@dataclass(frozen=True)
class RunOptions:
    """How to run.

    Attributes:
        profile: slurm, local, or a folder; None takes what study.yaml says.
        cores: Of this machine; None takes what study.yaml says, or all.
        dry_run: Only show what would be run.
        targets: Names of steps to be done, e.g. ``train/2d/0``; all where none is named.
        further: Flags handed on to Snakemake.
    """

    profile: str | None = None
    cores: int | None = None
    dry_run: bool = False
    targets: tuple[str, ...] = ()
    further: tuple[str, ...] = ()


class StudyFailedError(ParaspinalError):
    """Some steps of a study failed."""


def run_study(workflow: Workflow, options: RunOptions) -> None:
    """Run all steps that are missing.

    Raises:
        SetupError: Snakemake is not installed.
        InputError: Another engine runs this study, or an unknown profile.
        StudyFailedError: Steps failed; the message names the first and how to see its log.
    """
    check_engine(_profile_name(workflow, options))
    with _one_engine(workflow) as lock:
        lay_down(workflow)
        command = engine_command(workflow, options)
        _unlock(workflow, lock)
        if options.dry_run:
            code = subprocess.run(
                [*command, "--dry-run", "--quiet", "host", "rules"], env=_environment(workflow, options)
            ).returncode
        else:
            code = _watched(workflow, command, lock, _environment(workflow, options))
    if code:
        raise StudyFailedError(what_failed(workflow))


def run_sequentially(workflow: Workflow) -> None:
    """Run every step that is not done, one after another in one process: none imports again what another did.

    The steps are the engine's own, so that an engine finds done what was done here. Only an engine knows what a change
    of settings outdates: this is for studies that are begun and finished as they are.

    Raises:
        InputError: An engine runs this study.
        StudyFailedError: A step failed.
    """
    with _one_engine(workflow) as lock:
        lay_down(workflow)
        command = [sys.executable, "-m", "paraspinal_nnunet", "study", "step", "-s", str(workflow.folder)]
        if _watched(workflow, command, lock, dict(os.environ)):
            raise StudyFailedError(what_failed(workflow))


def run_missing_steps(workflow: Workflow, run: Runner) -> None:
    """Run every step that is not done in this process, each when those that it needs are.

    Raises:
        StepError: One failed; the message names the log.
    """
    while waiting := [s.job for s in job_states(workflow) if s.state != DONE]:  # grows when the best arm is known
        run_step(workflow, waiting[0], run)


def engine_command(workflow: Workflow, options: RunOptions) -> list[str]:
    """Snakemake's command line."""
    name, profile = _profile_name(workflow, options), _profile(workflow, options)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(workflow.folder)]
    command += ["--profile", str(profile), "--workflow-profile", "none"]  # else profiles/default of the folder is used
    command += ["--rerun-triggers", "mtime", "input", "--rerun-incomplete", "--nocolor"]
    command += ["--retries", str(workflow.content["engine"]["retries"])]
    resources = ["planning=1"]
    if name == "local":
        command += ["--cores", str(_cores(workflow, options)), "--latency-wait", str(_LATENCY_SECONDS)]
        resources += [f"gpu={_gpus(workflow)}"]
    command += ["--resources", *resources]
    if name == "slurm" and not _keeps_accounts():
        command += ["--slurm-status-command", "squeue"]
    defaults = {f"slurm_{key}": value for key, value in workflow.content["slurm"].items() if value}
    if defaults and name != "local":
        # Snakemake evaluates each value as Python, after it replaced $NAME and ~; values.py lets neither through.
        command += ["--default-resources", *(f"{key}={value!r}" for key, value in defaults.items())]
    command += options.further
    return [*command, "--", *(f"state/done/{t}.json" for t in options.targets)] if options.targets else command


def check_engine(profile: str) -> None:
    """Refuse a machine without Snakemake, or without its executor.

    Raises:
        SetupError: Naming the extra.
    """
    wanted = ["snakemake"] + (["snakemake_executor_plugin_slurm"] if profile == "slurm" else [])
    for module in wanted:
        if importlib.util.find_spec(module) is None:
            advice = f"{install_line('study')} (Python 3.11 or newer)"
            raise SetupError(f"studies need {module.replace('_', '-')}; run: {advice}")
    if profile == "slurm" and shutil.which("sbatch") is None:
        raise SetupError("there is no sbatch on this machine; run on a login node of the cluster, or --profile local")


def engine_lock(folder: Path) -> Path:
    """Held while an engine runs a study."""
    return folder / "state" / "engine.lock"


@contextmanager
def _one_engine(workflow: Workflow) -> Iterator[IO[str]]:
    try:
        with held(engine_lock(workflow.folder)) as lock:
            yield lock
    except HeldError as error:
        who = str(error).rpartition("held by ")[2]
        raise InputError(
            f"study {workflow.folder}: is being run already by {who}; wait for it, or end that process and run again"
        ) from None


def _unlock(workflow: Workflow, lock: IO[str]) -> None:
    """Whoever holds our lock is the only engine: a lock of Snakemake's own is left from one that was killed."""
    if any((workflow.folder / ".snakemake" / "locks").glob("*.lock")):
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(SNAKEFILE),
            "--directory",
            str(workflow.folder),
        ]
        subprocess.run([*command, "--unlock", "--cores", "1", "--quiet"], check=True, capture_output=True)


def _watched(workflow: Workflow, command: Sequence[str], lock: IO[str], environment: dict[str, str]) -> int:
    """Run the engine, which holds our lock too and so keeps it if this process is killed; say what gets done."""
    log = workflow.folder / ENGINE_LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink, closing(Narrator(workflow)) as narrator:
        return _followed(narrator, subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=environment,
            pass_fds=(lock.fileno(),), start_new_session=True,
        ))  # fmt: skip


def _followed(narrator: Narrator, process: "subprocess.Popen[bytes]") -> int:
    """Tell what gets done until a process ends; when this one is asked to end, it is stopped with all its steps.

    They are a group of their own, so that Ctrl-C in a terminal and a signal to this process alone come to the same.
    """
    try:
        while True:
            code = process.poll()
            narrator.tell()
            if code is not None:
                return code
            time.sleep(_POLL_SECONDS)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise


def what_failed(workflow: Workflow) -> str:
    """The first step that failed, or else the engine's last words."""
    failed = [s for s in job_states(workflow) if s.state == FAILED]
    if failed:
        first = failed[0]
        others = f" (and {len(failed) - 1} more steps)" if len(failed) > 1 else ""
        return f"{first.job.name} failed{others}: {first.note}; see: paraspinal study logs {first.job.name}"
    lines = (workflow.folder / ENGINE_LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"the engine failed ({lines[-1].strip() if lines else 'no output'}); see {workflow.folder / ENGINE_LOG}"


def _profile_name(workflow: Workflow, options: RunOptions) -> str:
    return str(options.profile or workflow.content["engine"]["profile"])


def _profile(workflow: Workflow, options: RunOptions) -> Path:
    name = _profile_name(workflow, options)
    if name in ("slurm", "local"):
        return PROFILES / name
    if options.profile is None and not Path(name).is_absolute():
        raise InputError(
            f"study {workflow.folder}: engine.profile is '{name}', which may have come with study.yaml, and a profile "
            f"can run any command; look at it, then run with --profile {name}, or write its whole path"
        )
    for folder in (Path(name), workflow.folder / name):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    raise InputError(f"profile {name}: is neither slurm nor local, nor a folder with a config.yaml")


def _keeps_accounts() -> bool:
    """Whether the cluster tells of past jobs by `sacct`; without its data base only `squeue` tells anything."""
    try:
        return subprocess.run(["sacct", "-n", "-X"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _environment(workflow: Workflow, options: RunOptions) -> dict[str, str]:
    name = _profile_name(workflow, options)
    local = {LOCAL_GPUS: str(_gpus(workflow))} if name == "local" else {}
    return {**os.environ, **local, "PYTHONUNBUFFERED": "1"}


def _cores(workflow: Workflow, options: RunOptions) -> int:
    return int(options.cores or workflow.content["engine"]["cores"] or os.cpu_count() or 1)


def _gpus(workflow: Workflow) -> int:
    """At least 1: without a GPU trainings follow one another on the CPU."""
    given = workflow.content["engine"]["gpus"]
    if given:
        return int(given)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return max(1, len([v for v in visible.split(",") if v.strip()]))
    if shutil.which("nvidia-smi") is None:
        return 1
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return max(1, sum(line.startswith("GPU ") for line in found.stdout.splitlines()))
