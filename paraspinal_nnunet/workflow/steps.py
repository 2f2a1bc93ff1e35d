"""Running one step of a study: under a lock, into a log, with provenance beside the result and a marker at the end."""

import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import ParaspinalError, one_line
from paraspinal_nnunet.utils.files import read_json, write_json
from paraspinal_nnunet.utils.fingerprint import file_sha256
from paraspinal_nnunet.workflow import reuse
from paraspinal_nnunet.workflow.commands import dataset_folder_name, environment, find_model, job_commands
from paraspinal_nnunet.workflow.provenance import FILE_NAME, surroundings
from paraspinal_nnunet.workflow.results import choose_best, write_costs
from paraspinal_nnunet.workflow.settings import Workflow, digest
from paraspinal_nnunet.workflow.state import (
    HeldError,
    Step,
    append_heading,
    clear,
    failure,
    held,
    holder,
    is_held,
    log_file,
    marker,
    record_failure,
    settings_file,
)

LOCAL_GPUS = "PARASPINAL_STUDY_GPUS"
"""How many GPUs this machine's jobs share; set by the engine when it runs jobs here."""

_REUSABLE = ("train", "validate")
_STOPPED = tuple(128 + number for number in (signal.SIGINT, signal.SIGTERM))
"""What a command ends with that a person or the system stopped."""


class StepError(ParaspinalError):
    """A step of a study failed."""


Runner = Callable[[list[str]], int]
"""Runs one of our own commands in this process and returns its exit code; errors are raised."""


def run_step(workflow: Workflow, job: Step, run: Runner) -> None:
    """Do a step, unless its result is there already.

    Args:
        workflow: The workflow.
        job: Which step.
        run: Runs a command; its words are those after `paraspinal`.

    Raises:
        StepError: It failed; the message names the log.
    """
    commands = job_commands(workflow, job)  # refuses unknown steps before anything is touched
    with ExitStack() as locks:
        for lock in (lock_file(workflow.folder, job), *_shared_locks(workflow, job)):
            if is_held(lock):
                print(f"{job.name}: waiting for {holder(lock)}, which does the same", flush=True)
            locks.enter_context(held(lock, wait=True))
        clear(workflow.folder, job)
        os.chdir(workflow.folder)
        if job.rule in _REUSABLE and (before := reuse.finished(workflow, job)) is not None:
            print(f"{job.name}: finished before, taken as it is", flush=True)
            write_json(marker(workflow.folder, job), {**before, "reused": True})
            return
        with _gpu(workflow, job):
            _do(workflow, job, commands, run)


def lock_file(folder: Path, job: Step) -> Path:
    """Held while a step runs."""
    return folder / "state" / "locks" / f"{'.'.join(job.parts)}.lock"


def _shared_locks(workflow: Workflow, job: Step) -> list[Path]:
    """Beside what other studies may use too: the data set's plans, and a model's fold."""
    if job.rule in ("fingerprint", "plan", "preprocess"):
        return [workflow.nnunet_folder("preprocessed") / f".{dataset_folder_name(workflow)}.lock"]
    if job.rule in _REUSABLE:
        folder = reuse.fold_folder(workflow, job)
        return [folder.with_name(f".{folder.name}.lock")]
    return []


def _do(workflow: Workflow, job: Step, commands: list[list[str]], run: Runner) -> None:
    log, started, clock = log_file(workflow.folder, job), datetime.now(timezone.utc), time.monotonic()
    append_heading(log, f"{started.isoformat(timespec='seconds')} {job.name}")
    threads = workflow.resources(job.rule)["threads"]
    os.environ.update(environment(workflow, threads))
    try:
        with _into(log):
            _prepare(workflow, job)
            for command in commands:
                print(f"$ paraspinal {shlex.join(command)}", flush=True)
                _run(run, command, tolerated=(1,) if job.rule == "inspect" and not _strict(workflow) else ())
            outcome = _conclude(workflow, job)
        _finish(workflow, job, commands, started, outcome)
    except (Exception, SystemExit) as error:  # whatever nnU-Net raises, the failure is recorded and named
        message = one_line(error)
        record_failure(workflow.folder, job, message, seconds=time.monotonic() - clock)
        raise StepError(f"{job.name}: {message}; the whole output is in {log}") from error


def _run(run: Runner, command: list[str], *, tolerated: tuple[int, ...]) -> None:
    """Errors are left in the log with a traceback."""
    try:
        code = run([command[0], "--debug", *command[1:]])
    except BaseException:
        traceback.print_exc()
        raise
    if code in _STOPPED:
        raise KeyboardInterrupt  # no failure: the step goes on when it is run again
    if code and code not in tolerated:
        raise StepError(f"'paraspinal {command[0]}' ended with code {code}")


def _prepare(workflow: Workflow, job: Step) -> None:
    for name in ("raw", "preprocessed", "results"):
        workflow.nnunet_folder(name).mkdir(parents=True, exist_ok=True)
    if job.rule in _REUSABLE:
        moved = reuse.set_aside(workflow, job)
        if moved is not None:
            print(f"a training of other inputs was moved to {moved}", flush=True)


def _conclude(workflow: Workflow, job: Step) -> dict[str, Any]:
    """What a step does besides its commands, and what is to be known of it."""
    if job.rule == "convert":
        write_json(settings_file(workflow.folder, "converted"), {"digest": digest(workflow.content["dataset"])})
    if job.rule == "best":
        return {"best": choose_best(workflow)}
    if job.rule == "evaluate":
        write_costs(workflow, job.target)
    return {}


def _finish(
    workflow: Workflow, job: Step, commands: list[list[str]], started: datetime, outcome: dict[str, Any]
) -> None:
    content: dict[str, Any] = {"job": job.name, "commands": [f"paraspinal {shlex.join(c)}" for c in commands]}
    content |= {
        "study": workflow.content["name"],
        "study_digest": digest(workflow.content),
        **surroundings(started),
        **outcome,
    }
    place = _RESULT_FOLDERS.get(job.rule)
    if job.rule in _REUSABLE:
        content |= _training_provenance(workflow, job)
        write_json(reuse.provenance_file(workflow, job), content)
    elif place is not None:
        folder = workflow.folder / place / (job.target if job.rule in ("evaluate", "statistics") else "")
        tables = [p for p in folder.iterdir() if p.suffix in (".tsv", ".csv", ".json", ".md") and p.name != FILE_NAME]
        content["outputs"] = {p.name: file_sha256(p) for p in sorted(tables)}
        write_json(folder / FILE_NAME, content)
    failure(workflow.folder, job).unlink(missing_ok=True)
    write_json(marker(workflow.folder, job), content)


def _training_provenance(workflow: Workflow, job: Step) -> dict[str, Any]:
    model = find_model(workflow, job.target)
    folder = reuse.fold_folder(workflow, job)
    record = folder / "training.json"
    return {
        "inputs": reuse.inputs(workflow, job),
        "outputs": reuse.results(workflow, job),
        "model": model.name,
        "trainer": model.trainer,
        "configuration": model.configuration,
        "plans": model.plans,
        "plans_sha256": file_sha256(folder.parent / "plans.json"),
        "training": read_json(record) if record.is_file() else {},
    }


@contextmanager
def _into(log: Path) -> Iterator[None]:
    """Everything that this process and those that it starts print goes to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for own, target in zip(kept, (1, 2), strict=True):
            os.dup2(own, target)
            os.close(own)


@contextmanager
def _gpu(workflow: Workflow, job: Step) -> Iterator[None]:
    """One of this machine's GPUs for this step alone, where the engine shares out several."""
    count = int(os.environ.get(LOCAL_GPUS, "0") or 0)
    if count < 2 or not workflow.resources(job.rule)["gpu"] or os.environ.get("CUDA_VISIBLE_DEVICES"):
        yield
        return
    with ExitStack() as stack:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(_free_gpu(stack, workflow.folder / "state" / "locks", count))
        yield


def _free_gpu(stack: ExitStack, folder: Path, count: int) -> int:
    while True:
        for number in range(count):
            try:
                stack.enter_context(held(folder / f"gpu{number}.lock"))
            except HeldError:
                continue
            return number
        time.sleep(1)


def _strict(workflow: Workflow) -> bool:
    return bool(workflow.content["inspect"]["strict"])


_RESULT_FOLDERS = {"evaluate": "evaluation", "statistics": "statistics", "report": "report"}
