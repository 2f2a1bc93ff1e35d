"""What the Snakefile asks: which files a rule waits for, and what its jobs need."""

import shlex
import sys
from collections.abc import Sequence
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
from paraspinal_nnunet.workflow.state import Step, marker, settings_file

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


def before_planning(workflow: Workflow) -> list[str]:
    """Planning waits for the inspection only where its findings stop the study."""
    inspection = workflow.content["inspect"]
    return [done("inspect")] if inspection["run"] and inspection["strict"] else [done("convert")]


def before_training(workflow: Workflow, model: str) -> list[str]:
    """Its own plans' data, and its own settings."""
    return [done("preprocess", find_model(workflow, model).plans), settings(f"models/{model}")]


def validated(workflow: Workflow, models: Sequence[str]) -> list[str]:
    """All folds of some models."""
    return [done("validate", model, fold) for model in models for fold in workflow.folds]


def before_evaluation(workflow: Workflow, name: str) -> list[str]:
    """All folds of the models of a set; which these are may follow from the best arm."""
    return [*validated(workflow, [m.name for m in models_of_set(workflow, name)]), settings("evaluation")]


def needs_choice(workflow: Workflow, name: str) -> bool:
    """Whether a set of models, or a prediction, follows from the best arm."""
    if len(workflow.arms) == 1:
        return False
    return (name == "predict" and workflow.content["predict"]["model"] == "best") or (
        name not in (ARMS, "predict") and workflow.content["depth"]["run"]
    )


def before_prediction(workflow: Workflow) -> list[str]:
    """All folds of the model that predicts."""
    wanted = workflow.content["predict"]["model"]
    name = best_arm(workflow) if wanted == "best" else wanted
    folds = [done("train", name, fold) for fold in workflow.folds] if name else []
    return [*folds, settings("predict")]


def steps_before(workflow: Workflow, job: Step) -> list[str]:
    """Markers of the steps that a step waits for, relative to the study, as the Snakefile has them."""
    before = {
        "convert": lambda: [],
        "inspect": lambda: [done("convert")],
        "fingerprint": lambda: before_planning(workflow),
        "plan": lambda: [done("fingerprint")],
        "preprocess": lambda: [done("plan", job.target)],
        "train": lambda: before_training(workflow, job.target)[:1],
        "validate": lambda: [done("train", job.target, job.fold)],
        "evaluate": lambda: before_evaluation(workflow, job.target)[:-1],
        "best": lambda: [done("evaluate", ARMS)],
        "statistics": lambda: [done("evaluate", job.target)],
        "report": lambda: [done("statistics", ALL)],
        "predict": lambda: before_prediction(workflow)[:-1],
    }
    return before[job.rule]()


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
