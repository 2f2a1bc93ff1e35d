"""What the Snakefile asks: which files a rule waits for, and what its jobs need."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paraspinal_nnunet.workflow.commands import (
    ALL,
    ARMS,
    best_arm,
    find_model,
    models_of_set,
    sets_evaluated,
    shard_count,
)
from paraspinal_nnunet.workflow.settings import Workflow
from paraspinal_nnunet.workflow.state import DONE_FOLDER, Step, marker, settings_file

_NOWHERE = Path()
MB = 1000


def done(rule: str, target: str = "", fold: str = "") -> str:
    """A marker's path relative to the study; target and fold may be wildcards."""
    return marker(_NOWHERE, Step(rule, target, fold)).as_posix()


def settings(name: str) -> str:
    """A settings file's path relative to the study."""
    return settings_file(_NOWHERE, name).as_posix()


def step_command(*parts: str) -> str:
    """The shell command of a step, in which Snakemake replaces {wildcards}: braces of a path are doubled."""
    command = shlex.join([sys.executable, "-m", "paraspinal_nnunet", "study", "step", *parts])
    return command.replace("{", "{{").replace("}", "}}")


def waits_for(workflow: Workflow, rule: str, target: str = "", fold: str = "") -> list[str]:
    """What a step waits for: other steps' markers and settings files, relative to the study.

    Args:
        workflow: Of which study.
        rule: The step's rule.
        target: See `Step`; a wildcard of Snakemake's where files' names alone follow from it.
        fold: Likewise.
    """
    inputs: dict[str, Callable[[], list[str]]] = {
        "convert": lambda: [settings("dataset")],
        "inspect": lambda: [done("convert")],
        "fingerprint": lambda: [_checked(workflow)],
        "plan": lambda: [done("fingerprint"), settings(f"plans/{target}")],
        "preprocess": lambda: [done("plan", target)],
        "train": lambda: [done("preprocess", find_model(workflow, target).plans), settings(f"models/{target}")],
        "validate": lambda: [done("train", target, fold)],
        "evaluate": lambda: [*_validated(workflow, target), settings("evaluation")],
        "best": lambda: [done("evaluate", ARMS)],
        "statistics": lambda: [done("evaluate", target)],
        "report": lambda: [done("statistics", ALL)],
        "predict": lambda: [*_predicting(workflow), settings("predict")],
    }
    return inputs[rule]()


def steps_before(workflow: Workflow, job: Step) -> list[Path]:
    """The markers of the steps that a step waits for."""
    found = (workflow.folder / name for name in waits_for(workflow, job.rule, job.target, job.fold))
    return [path for path in found if path.is_relative_to(workflow.folder / DONE_FOLDER)]


def _checked(workflow: Workflow) -> str:
    """Planning waits for the inspection only where its findings stop the study."""
    inspection = workflow.content["inspect"]
    return done("inspect") if inspection["run"] and inspection["strict"] else done("convert")


def _validated(workflow: Workflow, name: str) -> list[str]:
    """All folds of the models of a set; which these are may follow from the best arm."""
    return [done("validate", m.name, fold) for m in models_of_set(workflow, name) for fold in workflow.folds]


def _predicting(workflow: Workflow) -> list[str]:
    """All folds of the model that predicts."""
    wanted = workflow.content["predict"]["model"]
    name = best_arm(workflow) if wanted == "best" else wanted
    return [done("train", name, fold) for fold in workflow.folds] if name else []


def needs_choice(workflow: Workflow, name: str) -> bool:
    """Whether a set of models, or a prediction, follows from the best arm."""
    if len(workflow.arms) == 1:
        return False
    return (name == "predict" and workflow.content["predict"]["model"] == "best") or (
        name not in (ARMS, "predict") and workflow.content["depth"]["run"]
    )


def targets(workflow: Workflow) -> list[str]:
    """The study's ends; what else there is follows from them."""
    shards = [done("predict", str(number + 1)) for number in range(shard_count(workflow))]
    others = [done("statistics", name) for name in sets_evaluated(workflow) if name != ALL]
    inspection = [done("inspect")] if workflow.content["inspect"]["run"] else []
    return [*inspection, done("report"), *others, *shards]


def resource(workflow: Workflow, rule: str, name: str, attempt: int = 1) -> Any:
    """What a job of a rule asks for; memory grows with every attempt."""
    value = workflow.resources(rule)[name]
    return value * MB * attempt if name == "memory_gb" else value
