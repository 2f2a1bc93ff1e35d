"""The methods paragraph of a report, ready to paste, and the settings of every model."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation.comparison.run import Analysis
from paraspinal_nnunet.evaluation.comparison.view import StudyView
from paraspinal_nnunet.evaluation.predictions import describe
from paraspinal_nnunet.evaluation.record import ModelRecord
from paraspinal_nnunet.evaluation.statistics.agreement import LIMITS_SD
from paraspinal_nnunet.evaluation.statistics.inference import RESAMPLES
from paraspinal_nnunet.protocol.paper import DOI
from paraspinal_nnunet.utils.files import read_json
from paraspinal_nnunet.utils.text import pluralize, without_folders

_LIBRARIES = ("numpy", "scipy", "pandas", "nibabel", "SimpleITK", "scikit-image", "matplotlib")
PROTOCOL_FILE = "protocol.json"


def methods_text(view: StudyView, analyses: Sequence[Analysis] = ()) -> str:
    """What was measured and tested, with versions.

    Args:
        view: The evaluation.
        analyses: The analyses of variance that the report shows.
    """
    metrics = view.metrics
    muscles = ", ".join(view.labels)
    volumes = (
        f"n = {pluralize(metrics['case'].nunique(), 'scan')} of {pluralize(metrics['subject'].nunique(), 'subject')}"
    )
    libraries = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    text = (
        f"Segmentations of {muscles} by {_listed(view.models)} were compared with manual reference labels ({volumes}). "
        "Per scan and structure the Sørensen-Dice, Jaccard and conformity indices, true positive rate, true negative "
        "rate, positive predictive value and volume ratio were computed from the voxel counts of both label maps, and "
        "volumes from the voxel size of the reference. Agreement of volumes was assessed by ICC(2,1) with 95 % "
        f"confidence interval, Bland-Altman limits of agreement (prediction - reference, ± {LIMITS_SD} SD) and "
        "Pearson's correlation."
    )
    if len(view.models) > 1:
        text += (
            " The model with the highest mean Dice over all structures was compared with each other model by paired "
            "t-tests, two-sided, per structure without correction as in the reference study and with Holm's "
            "correction."
        )
    if analyses:
        designs = "; ".join(f"{' x '.join(analysis.factors)} ({', '.join(analysis.models)})" for analysis in analyses)
        text += (
            f" Dice was tested by repeated-measures analysis of variance: {designs}; degrees of freedom were corrected "
            "after Greenhouse and Geisser where Mauchly's test rejected sphericity or was undefined."
        )
    text += (
        f" The interval of the mean is a bias-corrected and accelerated bootstrap over subjects ({RESAMPLES:,} "
        f"resamples, seed 0). The study follows Wesselink et al. 2022 (doi:{DOI}). Software: paraspinal-nnunet "
        f"{view.record.version} ({libraries})."
    )
    return " ".join([text, *(_model_sentence(name, model) for name, model in view.record.models.items())])


def library_versions() -> dict[str, str]:
    """Versions of the libraries that the numbers and pictures come from."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def model_settings(model: ModelRecord) -> list[tuple[str, str]]:
    """Everything that is known about how a model was made: a name and a value each, nested names joined by dots.

    Files and folders are named without the folders above them, which may tell who made the report and where.
    """
    rows = [("folder", model.folder.name), ("predictions", describe(model.kind, model.folds))]
    rows += _flat("", model.settings)
    for fold in model.folds:
        path = model.folder / f"fold_{fold}" / PROTOCOL_FILE
        if path.is_file():
            rows += _flat(f"fold {fold}", _read(path))
    return [(name, without_folders(value)) for name, value in rows]


def _model_sentence(name: str, model: ModelRecord) -> str:
    known = {key: model.settings[key] for key in ("trainer", "plans", "configuration") if key in model.settings}
    made = ", ".join(f"{key} {value}" for key, value in known.items())
    return f"{name}: {describe(model.kind, model.folds)}{f' ({made})' if made else ''}."


def _listed(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return f"the model {names[0]}"
    return f"{len(names)} models ({', '.join(names)})"


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except InputError:
        return "cannot be read"


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flat(f"{prefix}.{key}".lstrip("."), inner)]
    if isinstance(value, list) and value and all(isinstance(entry, Mapping) and "key" in entry for entry in value):
        return [(f"{prefix}.{entry['key']}", json.dumps(entry.get("value"), ensure_ascii=False)) for entry in value]
    return [(prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]
