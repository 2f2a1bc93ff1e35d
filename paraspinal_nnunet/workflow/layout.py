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


def lay_down(study: Workflow) -> None:
    """Write every settings file of a workflow that differs from what is there."""
    content = study.content
    _write(study, "dataset", {"dataset": content["dataset"], "digest": _digest(study)}, _cohort(study))
    rater2 = content["evaluation"]["rater2"]
    _write(study, "evaluation", content["evaluation"], [study.folder / rater2] if rater2 else [])
    scans = scans_to_predict(study)
    folder = study.folder / str(content["predict"]["input"])
    predicted = {"scans": scans, "predict": content["predict"]}
    _write(study, "predict", predicted, [folder / name for name in scans])
    lay_down_models(study, every_model(study))


def lay_down_models(study: Workflow, models: Iterable[PlannedModel]) -> None:
    """The settings files of some models and of their plans."""
    for model in models:
        trained = {key: value for key, value in as_json(model).items() if key not in ("name", "role")}
        write_if_changed(settings_file(study.folder, f"models/{model.name}"), trained)
        _write(study, f"plans/{model.plans}", model.plan_settings(), [] if model.planned else _own_plans(study, model))


def _write(study: Workflow, name: str, content: dict[str, Any], files: Sequence[Path]) -> None:
    """Write settings with the hash of the files; a hash where there was none yet outdates nothing."""
    path = settings_file(study.folder, name)
    before = _content(path)
    known = str(before.get(SOURCE, ""))
    source = _source(study, name, files) or known
    settings = {**content, SOURCE: source} if source else content
    if before and not known and source and before == content:
        moment = path.stat()
        write_json(path, settings)
        os.utime(path, ns=(moment.st_atime_ns, moment.st_mtime_ns))
    else:
        write_if_changed(path, settings)


def _source(study: Workflow, name: str, files: Sequence[Path]) -> str:
    """A hash of the files' content and names; ``''`` where there are none, or some cannot be read now."""
    if not files or not all(path.exists() for path in files):
        return ""
    record = study.folder / "state" / "fingerprints" / f"{name}.json"
    known = Fingerprint.from_entry(_content(record))
    found = fingerprint(files, root=study.folder, known=known, progress=f"comparing what {name} is made from")
    if found != known:
        write_json(record, found.to_entry())
    return found.sha256


def _cohort(study: Workflow) -> list[Path]:
    """What is converted, and what the flags of the conversion name."""
    convert = study.content["dataset"]["convert"]
    if not convert:
        return []
    named = [study.folder / option.rpartition("=")[2] for option in convert["options"]]
    return [study.folder / convert["input"], *(path for path in named if path.exists())]


def _own_plans(study: Workflow, model: PlannedModel) -> list[Path]:
    folders = datasets_with_number(study.nnunet_folder("preprocessed"), study.content["dataset"]["id"])
    return [folder / f"{model.plans}.json" for folder in folders]


def _digest(study: Workflow) -> str | None:
    """Of a data set that the workflow does not convert itself."""
    if study.content["dataset"]["convert"]:
        return None
    return source_digest(find_dataset(study.content["dataset"]["id"], raw=study.nnunet_folder("raw")))


def _content(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except InputError:  # not there, or damaged: written anew
        return {}
