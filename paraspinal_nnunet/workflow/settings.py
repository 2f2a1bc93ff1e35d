"""A study as its steps see it: models with the plans they need, named after their settings."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.nnunet.datasets import datasets_with_number
from paraspinal_nnunet.nnunet.splits import FILE_NAME, read_splits
from paraspinal_nnunet.protocol.overrides import override
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.protocol.plans import BASELINE_NAME, DEFAULT_NAME
from paraspinal_nnunet.workflow.study_file.reading import read_study_file
from paraspinal_nnunet.workflow.study_file.schema import SECTIONS_OF_MODELS

STUDY_FILE = "study.yaml"
DEEP, RETRAINED = "deep", "retrained"


@dataclass(frozen=True)
class PlannedModel:
    """One model of a study: what is trained on every fold.

    Attributes:
        name: In tables and on the command line.
        role: arm, baseline, ablation, deep or retrained.
        trainer: nnU-Net's name of the trainer.
        configuration: nnU-Net's configuration.
        plans: Name of its plans file.
        overrides: Protocol numbers in those plans.
        planned: Whether the study writes these plans, or takes them as they are.
    """

    name: str
    role: str
    trainer: str
    configuration: str
    plans: str
    overrides: Mapping[str, Any]
    planned: bool = True

    @property
    def is_baseline(self) -> bool:
        """Whether nnU-Net plans it by itself."""
        return self.role == "baseline"

    @property
    def folder_name(self) -> str:
        """nnU-Net's folder of the trained model."""
        return f"{self.trainer}__{self.plans}__{self.configuration}"

    def plan_settings(self) -> dict[str, Any]:
        """What its plans depend on."""
        return {
            "plans": self.plans,
            "configuration": self.configuration,
            "overrides": dict(self.overrides),
            "baseline": self.is_baseline,
            "planned": self.planned,
        }


@dataclass(frozen=True)
class Workflow:
    """study.yaml of a folder, read.

    Attributes:
        folder: Where the study lives.
        content: The checked content, defaults filled in.
        models: Arms, baselines and ablations, in this order.
    """

    folder: Path
    content: dict[str, Any]
    models: tuple[PlannedModel, ...]

    @property
    def folds(self) -> tuple[str, ...]:
        """Folds as text."""
        return tuple(str(fold) for fold in self.content["folds"])

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms."""
        return tuple(m.name for m in self.models if m.role == "arm")

    def model(self, name: str) -> PlannedModel:
        """A model by name.

        Raises:
            InputError: No such model.
        """
        for model in self.models:
            if model.name == name:
                return model
        raise InputError(f"study {self.folder}: has no model {name}; it has {', '.join(m.name for m in self.models)}")

    def nnunet_folder(self, name: str) -> Path:
        """raw, preprocessed or results."""
        return self.folder / str(self.content["folders"][name])

    def resources(self, rule: str) -> dict[str, int]:
        """threads, memory_gb, minutes and gpu of a rule."""
        return dict(self.content["resources"][rule])


def read_study(folder: Path) -> Workflow:
    """Read the study of a folder.

    Raises:
        StudyFileError: No study.yaml, or a mistake in it.
        InputError: Models that cannot be.
    """
    folder = Path(folder).resolve()
    path = folder / STUDY_FILE
    content = read_study_file(path)
    models: dict[str, PlannedModel] = {}
    for section, role in SECTIONS_OF_MODELS.items():
        for name, given in content[section].items():
            if name in models:
                raise InputError(f"{path}: {section}.{name}: the name {name} is taken by another model; rename one")
            models[name] = _model(path, content, name, role, given)
    predicted = content["predict"]["model"]
    if content["predict"]["input"] and predicted != "best" and predicted not in models:
        raise InputError(f"{path}: predict.model is {predicted}; choose best, {', '.join(models)}")
    workflow = Workflow(folder, content, tuple(models.values()))
    _check_folds(path, workflow)
    return workflow


def deeper(best: PlannedModel, seed: int | None) -> PlannedModel:
    """The best arm with one level more, of twice the filters of the last one.

    Source: Methods, Training; Results, Depth.
    """
    network = override(PAPER, best.overrides).network
    channels, strides = network.channels, network.strides
    levels = {"channels": [*channels, 2 * channels[-1]], "strides": [*strides, strides[-1]]}
    return _varied(best, DEEP, {**levels, **_seeded(seed)})


def retrained(best: PlannedModel, seed: int) -> PlannedModel:
    """The best arm under another seed."""
    return _varied(best, RETRAINED, _seeded(seed))


def further_models(workflow: Workflow, best: str) -> tuple[PlannedModel, ...]:
    """The models that the depth comparison adds once the best arm is known."""
    depth = workflow.content["depth"]
    if not depth["run"]:
        return ()
    seed = depth["retrain"]["seed"] if depth["retrain"] else None
    arm = workflow.model(best)
    again = () if seed is None else (retrained(arm, seed),)
    return (*again, deeper(arm, seed))


def digest(content: Any) -> str:
    """A hash of settings, the same for the same settings."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=list).encode()).hexdigest()


def as_json(model: PlannedModel) -> dict[str, Any]:
    """A model as its settings file holds it."""
    return {**asdict(model), "overrides": dict(model.overrides)}


def _model(path: Path, content: Mapping[str, Any], name: str, role: str, given: Mapping[str, Any]) -> PlannedModel:
    if given["plans"]:
        if given["set"]:
            raise InputError(f"{path}: {name}: plans that exist already cannot be changed; leave out plans or set")
        return PlannedModel(name, role, given["trainer"], given["configuration"], given["plans"], {}, planned=False)
    common = {} if role == "baseline" else content["set"]
    overrides = {**common, **given["set"]}
    model = PlannedModel(name, role, given["trainer"], given["configuration"], "", overrides)
    return replace(model, plans=_plans_name(model))


def _check_folds(path: Path, workflow: Workflow) -> None:
    """Refuse folds that the splits do not have, or will not have where there are none yet."""
    found = [
        f / FILE_NAME
        for f in datasets_with_number(workflow.nnunet_folder("preprocessed"), workflow.content["dataset"]["id"])
    ]
    counts = [len(read_splits(file)) for file in found if file.is_file()]
    if not counts:
        own = [m for m in workflow.models if m.planned and not m.is_baseline]
        counts = [override(PAPER, model.overrides).validation.folds for model in own]
    beyond = [fold for fold in workflow.folds if counts and fold != "all" and int(fold) >= max(counts)]
    if beyond:
        raise InputError(f"{path}: folds: there is no fold {beyond[0]}, only 0 to {max(counts) - 1}")


def _varied(best: PlannedModel, role: str, changes: Mapping[str, Any]) -> PlannedModel:
    if not best.planned:
        raise InputError(f"arm {best.name}: plans that exist already ({best.plans}) cannot be varied for the depth "
                         "comparison; set depth: {run: false}")  # fmt: skip
    varied = replace(best, name=f"{best.name}_{role}", role=role, overrides={**best.overrides, **changes})
    return replace(varied, plans=_plans_name(varied))


def _seeded(seed: int | None) -> dict[str, Any]:
    return {} if seed is None else {"seed": seed}


def _plans_name(model: PlannedModel) -> str:
    """Named after the settings, so that other settings never meet the weights of these."""
    base = BASELINE_NAME if model.is_baseline else DEFAULT_NAME
    name = f"{base}_{model.configuration.replace('.', '')}"
    return f"{name}_{digest(dict(model.overrides))[:8]}" if model.overrides else name
