"""Settings files that the rules depend on, one per model, written only where they change: so only that is run again."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.nnunet.datasets import datasets_with_number, find_dataset
from paraspinal_nnunet.nnunet.preprocessed import source_digest
from paraspinal_nnunet.utils.files import read_json, write_json
from paraspinal_nnunet.utils.fingerprint import Fingerprint, fingerprint
from paraspinal_nnunet.workflow.commands import every_model, scans_to_predict
from paraspinal_nnunet.workflow.settings import PlannedModel, Workflow, as_json
from paraspinal_nnunet.workflow.state import settings_file, write_if_changed

SOURCE = "made_from"
"""Key of the hash of the files that a step reads besides what other steps made."""


def lay_down(workflow: Workflow) -> None:
    """Write every settings file of a workflow that differs from what is there."""
    content = workflow.content
    _write(workflow, "dataset", {"dataset": content["dataset"], "digest": _digest(workflow)}, _cohort(workflow))
    rater2 = content["evaluation"]["rater2"]
    _write(workflow, "evaluation", content["evaluation"], [workflow.folder / rater2] if rater2 else [])
    scans = scans_to_predict(workflow)
    folder = workflow.folder / str(content["predict"]["input"])
    predicted = {"scans": scans, "predict": content["predict"]}
    _write(workflow, "predict", predicted, [folder / name for name in scans])
    lay_down_models(workflow, every_model(workflow))


def lay_down_models(workflow: Workflow, models: Iterable[PlannedModel]) -> None:
    """The settings files of some models and of their plans."""
    for model in models:
        trained = {key: value for key, value in as_json(model).items() if key not in ("name", "role")}
        write_if_changed(settings_file(workflow.folder, f"models/{model.name}"), trained)
        _write(
            workflow,
            f"plans/{model.plans}",
            model.plan_settings(),
            [] if model.planned else _own_plans(workflow, model),
        )


def _write(workflow: Workflow, name: str, content: dict[str, Any], files: Sequence[Path]) -> None:
    """Write settings with the hash of the files; a hash where there was none yet outdates nothing."""
    path = settings_file(workflow.folder, name)
    before = _content(path)
    known = str(before.get(SOURCE, ""))
    source = _source(workflow, name, files) or known
    settings = {**content, SOURCE: source} if source else content
    if before and not known and source and before == content:
        moment = path.stat()
        write_json(path, settings)
        os.utime(path, ns=(moment.st_atime_ns, moment.st_mtime_ns))
    else:
        write_if_changed(path, settings)


def _source(workflow: Workflow, name: str, files: Sequence[Path]) -> str:
    """A hash of the files' content and names; ``''`` where there are none, or some cannot be read now."""
    if not files or not all(path.exists() for path in files):
        return ""
    record = workflow.folder / "state" / "fingerprints" / f"{name}.json"
    known = Fingerprint.from_entry(_content(record))
    found = fingerprint(files, root=workflow.folder, known=known, progress=f"comparing what {name} is made from")
    if found != known:
        write_json(record, found.to_entry())
    return found.sha256


def _cohort(workflow: Workflow) -> list[Path]:
    """What is converted, and what the flags of the conversion name."""
    convert = workflow.content["dataset"]["convert"]
    if not convert:
        return []
    named = [workflow.folder / option.rpartition("=")[2] for option in convert["options"]]
    return [workflow.folder / convert["input"], *(path for path in named if path.exists())]


def _own_plans(workflow: Workflow, model: PlannedModel) -> list[Path]:
    folders = datasets_with_number(workflow.nnunet_folder("preprocessed"), workflow.content["dataset"]["id"])
    return [folder / f"{model.plans}.json" for folder in folders]


def _digest(workflow: Workflow) -> str | None:
    """Of a data set that the workflow does not convert itself."""
    if workflow.content["dataset"]["convert"]:
        return None
    return source_digest(find_dataset(workflow.content["dataset"]["id"], raw=workflow.nnunet_folder("raw")))


def _content(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except InputError:  # not there, or damaged: written anew
        return {}
