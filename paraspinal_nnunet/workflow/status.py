"""How far a study is: every step done, running, failed, interrupted or missing, and the time that is left."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.protocol.overrides import override
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.protocol.plans import BASELINE_NAME
from paraspinal_nnunet.utils.forms import read_form
from paraspinal_nnunet.utils.text import pluralize
from paraspinal_nnunet.workflow.commands import (
    ARMS,
    best_arm,
    dataset_folder_name,
    every_model,
    find_model,
    plans_of,
    sets_evaluated,
    shard_count,
)
from paraspinal_nnunet.workflow.rules import steps_before
from paraspinal_nnunet.workflow.settings import PlannedModel, Workflow
from paraspinal_nnunet.workflow.state import Step, failure, is_held, log_file, marker
from paraspinal_nnunet.workflow.steps import lock_file

DONE, RUNNING, FAILED, INTERRUPTED, MISSING = "done", "running", "failed", "interrupted", "missing"
STATES = (DONE, RUNNING, FAILED, INTERRUPTED, MISSING)
BASELINE_EPOCHS, BASELINE_ITERATIONS = 1000, 250
"""Source: nnU-Net 2.8, `nnUNetTrainer.__init__`."""

_EPOCH = re.compile(r": Epoch (\d+) *$", re.MULTILINE)
_EPOCH_TIME = re.compile(r"Epoch time: ([\d.]+) s")


@dataclass(frozen=True)
class StepState:
    """One step and how it stands.

    Attributes:
        job: The step.
        state: One of `STATES`; interrupted is begun, but neither running nor ended.
        note: Why it failed.
        seconds: How long it took, where it is done.
        progress: Of a running training, 0 to 1.
        seconds_left: Of a running training, by its epochs so far.
    """

    job: Step
    state: str
    note: str = ""
    seconds: float | None = None
    progress: float | None = None
    seconds_left: float | None = None

    @property
    def is_running(self) -> bool:
        """Whether a process is at it now."""
        return self.state == RUNNING


def expected_jobs(workflow: Workflow) -> list[Step]:
    """All steps of a study as far as they are known: the depth comparison's follow from the best arm."""
    content = workflow.content
    models = every_model(workflow)
    jobs = [Step("convert")] + ([Step("inspect")] if content["inspect"]["run"] else []) + [Step("fingerprint")]
    plans = [name for name in dict.fromkeys(m.plans for m in models) if name in plans_of(workflow)]
    jobs += [Step(rule, name) for rule in ("plan", "preprocess") for name in plans]
    jobs += [Step(rule, m.name, fold) for rule in ("train", "validate") for m in models for fold in workflow.folds]
    chosen = len(workflow.arms) > 1 and (
        content["depth"]["run"] or (content["predict"]["input"] and content["predict"]["model"] == "best")
    )
    if chosen:
        jobs += [Step("evaluate", ARMS), Step("best")]
    for name in sets_evaluated(workflow):
        jobs += [Step("evaluate", name), Step("statistics", name)]
    return [*jobs, Step("report"), *(Step("predict", str(n + 1)) for n in range(shard_count(workflow)))]


def job_states(workflow: Workflow) -> list[StepState]:
    """How every step stands."""
    return [job_state(workflow, job) for job in expected_jobs(workflow)]


def job_state(workflow: Workflow, job: Step) -> StepState:
    """How one step stands."""
    folder = workflow.folder
    if is_held(lock_file(folder, job)):
        return _running(workflow, job)
    if failure(folder, job).is_file():
        return StepState(job, FAILED, note=(_content(failure(folder, job)) or {}).get("error", ""))
    if marker(folder, job).is_file():
        content = _content(marker(folder, job))
        if content is None:
            return StepState(job, MISSING, note="its record is damaged")
        plans = content.get("plans")
        if plans is not None and plans != find_model(workflow, job.target).plans:
            return StepState(job, MISSING, note="its settings changed")
        if _is_outdated(workflow, job, content):
            return StepState(job, MISSING, note="what it is made from changed")
        return StepState(job, DONE, seconds=content.get("seconds"))
    return StepState(job, INTERRUPTED if log_file(folder, job).is_file() else MISSING)


def _is_outdated(workflow: Workflow, job: Step, content: Mapping[str, Any]) -> bool:
    """Whether a step that this one waits for ended after it; told by the records, whose times copies keep."""
    ended = content.get("ended")
    records = (_content(path) or {} for path in steps_before(workflow, job))
    return ended is not None and any(before.get("ended", "") > ended for before in records)


def seconds_left(workflow: Workflow, states: Sequence[StepState]) -> tuple[float, int]:
    """Work that is left, by what finished and running steps of the same kind take.

    Returns:
        Seconds in all, as if one step ran at a time, and how many steps it knows nothing about yet.
    """
    known: dict[str, list[float]] = {}
    for state in states:
        took = state.seconds
        if took is None and state.seconds_left is not None and state.progress:
            took = state.seconds_left / (1 - state.progress) if state.progress < 1 else None
        if took is not None:
            known.setdefault(_kind(workflow, state.job), []).append(took)
    total, unknown = 0.0, 0
    for state in states:
        if state.state == DONE:
            continue
        like = known.get(_kind(workflow, state.job))
        if state.seconds_left is not None:
            total += state.seconds_left
        elif like:
            total += sum(like) / len(like)
        else:
            unknown += 1
    return total, unknown


def status_text(workflow: Workflow) -> str:
    """A table of rules, what is running and what failed, and the time left."""
    states = job_states(workflow)
    rows = [f"{'rule':<12}" + "".join(f"{state:>13}" for state in STATES)]
    for rule in dict.fromkeys(s.job.rule for s in states):
        own = [s for s in states if s.job.rule == rule]
        rows.append(f"{rule:<12}" + "".join(f"{_count(own, state):>13}" for state in STATES))
    rows.append(f"{'all':<12}" + "".join(f"{_count(states, state):>13}" for state in STATES))
    for model in every_model(workflow):
        own = [s for s in states if s.job.rule in ("train", "validate") and s.job.target == model.name]
        rows.append(f"{model.name}: " + ", ".join(f"{s.job.rule} {s.job.fold} {_shown(s)}" for s in own))
    for state in states:
        if state.state == FAILED:
            rows.append(f"failed: {state.job.name}: {state.note}\n  see: paraspinal study logs {state.job.name}")
    left = [s for s in states if s.state != DONE]
    if not left:
        return "\n".join([*rows, "the study is complete"])
    total, unknown = seconds_left(workflow, states)
    at_once = max(1, sum(s.is_running for s in states))
    more = f", and {pluralize(unknown, 'step')} whose like has not been timed yet" if unknown else ""
    if best_arm(workflow) is None and workflow.content["depth"]["run"]:
        more += "; the depth comparison follows when the best arm is known"
    rows.append(
        f"left: {pluralize(len(left), 'step')}, about {duration(total / at_once)} with {at_once} at a time{more}"
    )
    return "\n".join(rows)


def log_of(workflow: Workflow, name: str | None) -> Path:
    """The log of a step, or of the first that failed.

    Raises:
        InputError: No such log, or nothing failed.
    """
    states = job_states(workflow)
    if name is None:
        failed = [s.job for s in states if s.state in (FAILED, INTERRUPTED)]
        if not failed:
            raise InputError("no step has failed; name one, e.g. paraspinal study logs train/2d/0")
        return log_file(workflow.folder, failed[0])
    wanted = name.strip("/")
    found = [s.job for s in states if s.job.name == wanted or s.job.name.startswith(f"{wanted}/")]
    begun = [job for job in found if log_file(workflow.folder, job).is_file()]
    if not begun:
        known = ", ".join(s.job.name for s in states if log_file(workflow.folder, s.job).is_file()) or "none"
        raise InputError(f"step {wanted}: has no log; there are logs of: {known}")
    failed = [job for job in begun if failure(workflow.folder, job).is_file()]
    return log_file(workflow.folder, (failed or begun)[0])


def duration(seconds: float) -> str:
    """For readers.

    >>> duration(45), duration(600), duration(4000), duration(200_000)
    ('45 s', '10 min', '1 h 7 min', '2 d 8 h')
    """
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _running(workflow: Workflow, job: Step) -> StepState:
    if job.rule != "train":
        return StepState(job, RUNNING)
    model = find_model(workflow, job.target)
    folder = workflow.nnunet_folder("results") / dataset_folder_name(workflow) / model.folder_name / f"fold_{job.fold}"
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("training_log_*")))
    epochs, times = _EPOCH.findall(text), [float(s) for s in _EPOCH_TIME.findall(text)]
    if not epochs:
        return StepState(job, RUNNING)
    total = planned_epochs(model)
    left = (total - int(epochs[-1])) * sum(times) / len(times) if times else None
    return StepState(job, RUNNING, progress=min(1.0, int(epochs[-1]) / total), seconds_left=left)


def planned_epochs(model: PlannedModel) -> int:
    """How many epochs a training has; of plans that the study did not make, nnU-Net's or the paper's."""
    if model.is_baseline or model.plans.startswith(BASELINE_NAME):
        per_epoch = int(model.overrides.get("iterations_per_epoch", BASELINE_ITERATIONS))
        return -(-int(model.overrides.get("iterations", BASELINE_EPOCHS * per_epoch)) // per_epoch)
    protocol = override(PAPER, model.overrides)
    return -(-protocol.training.iterations // protocol.bookkeeping.iterations_per_epoch)


def _kind(workflow: Workflow, job: Step) -> str:
    """Steps that take about as long as each other."""
    if job.rule not in ("train", "validate"):
        return job.rule
    model = find_model(workflow, job.target)
    return f"{job.rule} {model.configuration} {'baseline' if model.is_baseline else planned_epochs(model)}"


def _shown(state: StepState) -> str:
    return f"{state.state} {state.progress:.0%}" if state.progress is not None else state.state


def _count(states: Sequence[StepState], wanted: str) -> str:
    number = sum(s.state == wanted for s in states)
    return str(number) if number else "-"


def _content(path: Path) -> dict[str, Any] | None:
    """What a step's record says; None where it is damaged."""
    try:
        return read_form(path, {"seconds?": (float, None), "plans?": (str, None), "error?": str, "ended?": str})
    except InputError:
        return None
