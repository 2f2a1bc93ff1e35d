"""The commands that the steps of a study consist of; each can be repeated by hand in the study's folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.nnunet.datasets import dataset_name, find_dataset
from paraspinal_nnunet.utils.files import read_json
from paraspinal_nnunet.workflow.settings import PlannedModel, Workflow, digest, further_models
from paraspinal_nnunet.workflow.state import Step, marker, settings_file

ARMS, ALL, DEPTH = "arms", "all", "depth"
"""Sets of models that are evaluated together."""

BEST_FILE = "best.json"
Command = list[str]


def job_commands(workflow: Workflow, job: Step) -> list[Command]:
    """Arguments after `paraspinal` of every command of a step.

    Args:
        workflow: The workflow.
        job: Which step.

    Returns:
        None to several commands; choosing the best arm is no command.

    Raises:
        InputError: An unknown rule, or the best arm is not known yet.
    """
    if job.rule not in _COMMANDS:
        raise InputError(f"study step {job.name}: unknown rule; known are {', '.join(_COMMANDS)}")
    return _COMMANDS[job.rule](workflow, job)


def environment(workflow: Workflow, threads: int) -> dict[str, str]:
    """The variables that the commands need."""
    folders = {f"nnUNet_{name}": str(workflow.nnunet_folder(name)) for name in ("raw", "preprocessed", "results")}
    workers = str(threads - 1 if threads > 2 else 0)
    return {**folders, "nnUNet_def_n_proc": str(max(1, threads // 2)), "nnUNet_n_proc_DA": workers}


def dataset_folder_name(workflow: Workflow) -> str:
    """The data set's full name."""
    number = workflow.content["dataset"]["id"]
    if workflow.content["dataset"]["convert"]:
        return dataset_name(number, workflow.content["dataset"]["name"])
    return find_dataset(number, raw=workflow.nnunet_folder("raw")).name


def model_path(workflow: Workflow, model: PlannedModel) -> Path:
    """nnU-Net's folder of the trained model."""
    return workflow.nnunet_folder("results") / dataset_folder_name(workflow) / model.folder_name


def best_arm(workflow: Workflow) -> str | None:
    """The arm that was chosen, or None while it is not known."""
    if len(workflow.arms) == 1:
        return workflow.arms[0]
    path = workflow.folder / "state" / BEST_FILE
    chosen = str(read_json(path).get("best")) if path.is_file() else None
    return chosen if chosen in workflow.arms else None


def every_model(workflow: Workflow) -> tuple[PlannedModel, ...]:
    """All models, those of the depth comparison too once the best arm is known."""
    best = best_arm(workflow)
    return workflow.models if best is None else (*workflow.models, *further_models(workflow, best))


def find_model(workflow: Workflow, name: str) -> PlannedModel:
    """A model by name, those of the depth comparison included.

    Raises:
        InputError: No such model, or the best arm is not known yet.
    """
    for model in every_model(workflow):
        if model.name == name:
            return model
    return workflow.model(name)


def models_of_set(workflow: Workflow, name: str) -> tuple[PlannedModel, ...]:
    """The models that are evaluated together; the arms come first.

    Raises:
        InputError: An unknown set.
    """
    models = every_model(workflow)
    if name == ARMS:
        return tuple(m for m in models if m.role == "arm")
    if name == ALL:
        order = ("arm", "retrained", "deep", "ablation", "baseline")
        return tuple(sorted(models, key=lambda m: order.index(m.role)))
    if name == DEPTH:
        return tuple(m for m in models if m.role in ("retrained", "deep"))
    raise InputError(f"study step evaluate {name}: choose {ARMS}, {ALL} or {DEPTH}")


def sets_evaluated(workflow: Workflow) -> tuple[str, ...]:
    """The sets whose statistics are computed; a retrained arm is no second arm beside the first, so it has its own."""
    depth = workflow.content["depth"]
    return (ALL, DEPTH) if depth["run"] and depth["retrain"] else (ALL,)


def plans_of(workflow: Workflow) -> dict[str, PlannedModel]:
    """Name of plans -> a model that has them."""
    return {model.plans: model for model in reversed(every_model(workflow))}


def scans_to_predict(workflow: Workflow) -> list[str]:
    """Names of the further scans, sorted.

    Raises:
        InputError: The folder is not there.
    """
    given = workflow.content["predict"]["input"]
    if not given:
        return []
    folder = workflow.folder / given
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; correct predict.input in study.yaml")
    return sorted(p.name for p in folder.iterdir() if p.name.endswith((".nii.gz", ".nii")))


def shard_count(workflow: Workflow) -> int:
    """Into how many jobs the prediction is cut."""
    return -(-len(scans_to_predict(workflow)) // int(workflow.content["predict"]["shard_size"]))


def _convert(workflow: Workflow, job: Step) -> list[Command]:
    convert = workflow.content["dataset"]["convert"]
    if not convert:
        return []
    converted = settings_file(workflow.folder, "converted")
    again = ["--overwrite"] if converted.is_file() else []
    threads = str(workflow.resources("convert")["threads"])
    dataset = workflow.content["dataset"]
    command = ["convert", convert["source"], "-i", convert["input"], "-d", str(dataset["id"]), "-n", dataset["name"]]
    return [[*command, "-np", threads, *again, *convert["options"]]]


def _inspect(workflow: Workflow, job: Step) -> list[Command]:
    return [["inspect", "-d", str(workflow.content["dataset"]["id"]), "-o", "inspection"]]


def _fingerprint(workflow: Workflow, job: Step) -> list[Command]:
    return [[*_plan_start(workflow, "fingerprint"), "--until", "fingerprint"]]


def _plan(workflow: Workflow, job: Step) -> list[Command]:
    model = _model_of_plans(workflow, job.target)
    return [[*_plan_command(workflow, model, "plan"), "--until", "plan"]] if model.planned else []


def _preprocess(workflow: Workflow, job: Step) -> list[Command]:
    model = _model_of_plans(workflow, job.target)
    return [_plan_command(workflow, model, "preprocess")] if model.planned else []


def _plan_start(workflow: Workflow, rule: str) -> Command:
    return ["plan", "-d", str(workflow.content["dataset"]["id"]), "-np", str(workflow.resources(rule)["threads"])]


def _plan_command(workflow: Workflow, model: PlannedModel, rule: str) -> Command:
    command = [*_plan_start(workflow, rule), "-c", model.configuration, "-p", model.plans]
    command += ["--baseline"] if model.is_baseline else []
    pairs = [f"{key}={_text(value)}" for key, value in sorted(model.overrides.items())]
    return [*command, "--set", *pairs] if pairs else command


def _model_of_plans(workflow: Workflow, plans: str) -> PlannedModel:
    known = plans_of(workflow)
    if plans not in known:
        raise InputError(f"study {workflow.folder}: no model has the plans {plans}; there are {', '.join(known)}")
    return known[plans]


def _train(workflow: Workflow, job: Step) -> list[Command]:
    return [[*_train_command(workflow, job), "--resume", "--no-val"]]


def _validate(workflow: Workflow, job: Step) -> list[Command]:
    return [[*_train_command(workflow, job), "--val"]]


def _train_command(workflow: Workflow, job: Step) -> Command:
    model = find_model(workflow, job.target)
    number = str(workflow.content["dataset"]["id"])
    return ["train", "-d", number, "-c", model.configuration, "-f", job.fold, "-tr", model.trainer, "-p", model.plans]


def _evaluate(workflow: Workflow, job: Step) -> list[Command]:
    options = workflow.content["evaluation"]
    raw = workflow.nnunet_folder("raw") / dataset_folder_name(workflow)
    models = [f"{m.name}={_shown(workflow, model_path(workflow, m))}" for m in models_of_set(workflow, job.target)]
    command = ["evaluate", "-ref", _shown(workflow, raw), "--pred", *models, "-o", f"evaluation/{job.target}"]
    command += ["-np", str(workflow.resources("evaluate")["threads"])]
    for key in ("surface", "per_slice", "volumes"):
        command += [f"--{key.replace('_', '-')}"] if options[key] else []
    return [[*command, "--post", *options["post"]] if options["post"] else command]


def _best(workflow: Workflow, job: Step) -> list[Command]:
    return []


def _statistics(workflow: Workflow, job: Step) -> list[Command]:
    options = workflow.content["evaluation"]
    command = ["statistics", f"evaluation/{job.target}", "-o", f"statistics/{job.target}"]
    command += ["--missing", "complete-case", "--average-cases", "--seed", str(options["seed"])]
    return [[*command, "--rater2", options["rater2"]] if options["rater2"] else command]


def _report(workflow: Workflow, job: Step) -> list[Command]:
    return [["report", "-e", f"evaluation/{ALL}", "-s", f"statistics/{ALL}", "-o", "report"]]


def _predict(workflow: Workflow, job: Step) -> list[Command]:
    wanted = workflow.content["predict"]["model"]
    name = best_arm(workflow) if wanted == "best" else wanted
    if name is None:
        raise InputError("study step predict: the best arm is not known yet; train and evaluate the arms first")
    model = find_model(workflow, name)
    command = [
        "predict",
        "-i",
        workflow.content["predict"]["input"],
        "-o",
        f"predictions/{name}{_weights(workflow, name)}",
    ]
    command += ["-m", _shown(workflow, model_path(workflow, model)), "-f", *workflow.folds]
    return [[*command, "--shard", f"{job.target}/{shard_count(workflow)}"]]


def _weights(workflow: Workflow, name: str) -> str:
    """A suffix that stands for a model's weights, so that masks of others are never taken for theirs."""
    files = [marker(workflow.folder, Step("train", name, fold)) for fold in workflow.folds]
    if not all(file.is_file() for file in files):
        return ""
    return f"_{digest([read_json(file).get('outputs') for file in files])[:8]}"


def _shown(workflow: Workflow, path: Path) -> str:
    """Relative to the study where it lies inside."""
    return path.relative_to(workflow.folder).as_posix() if path.is_relative_to(workflow.folder) else str(path)


def _text(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_COMMANDS: Mapping[str, Callable[[Workflow, Step], list[Command]]] = {
    "convert": _convert,
    "inspect": _inspect,
    "fingerprint": _fingerprint,
    "plan": _plan,
    "preprocess": _preprocess,
    "train": _train,
    "validate": _validate,
    "evaluate": _evaluate,
    "best": _best,
    "statistics": _statistics,
    "report": _report,
    "predict": _predict,
}
