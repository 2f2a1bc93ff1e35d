"""The files of an evaluation: metrics.tsv and evaluation.json, which later steps read, and the tables asked for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation.metrics.overlap import METRICS
from paraspinal_nnunet.evaluation.predictions import Predictions
from paraspinal_nnunet.evaluation.references import Label, References
from paraspinal_nnunet.evaluation.tables.dictionary import write_described
from paraspinal_nnunet.utils.files import relative_path, write_json
from paraspinal_nnunet.utils.forms import ANY, read_form
from paraspinal_nnunet.utils.guards import guarded
from paraspinal_nnunet.utils.tables import number, read_table, table_path

METRICS_FILE = "metrics.tsv"
RECORD_FILE = "evaluation.json"
SURFACE_FILE = "surface.tsv"
SLICES_FILE = "slices.tsv"
VOLUMES_FILE = "volumes.tsv"

ID_COLUMNS = ("model", "case", "subject", "fold", "muscle", "side")
VOLUME_COLUMNS = ("reference_ml", "prediction_ml")
COLUMNS = (*ID_COLUMNS, *METRICS, *VOLUME_COLUMNS)
"""Columns of metrics.tsv: one row per model, case, muscle and side; NaN is an empty cell."""

_SHARES = ("dice", "jaccard", "tpr", "tnr", "ppv")
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(_SHARES, (0.0, 1.0)),
    **dict.fromkeys(("volume_ratio", *VOLUME_COLUMNS), (0.0, math.inf)),
    "conformity": (-math.inf, 1.0),
}
"""What the formulas can give (Table 2 of the paper); percent, and -1 or 999 for what is missing, lie outside."""

_ROUNDING = 1e-6
"""People's tables have few digits, and 1 may be written a little above it."""

_ADVICE = "run paraspinal evaluate again"
_LABEL = {"value": int, "key": str, "muscle": str, "side": str}
_CASE = {"image": (str, None), "reference": str, "prediction": str, "fold": str}
_MODEL = {"folder": str, "kind": str, "folds": [str], "settings": dict, "cases": {ANY: _CASE}}
_FORM = {
    **{"version": str, "reference": str, "labels": [_LABEL], "models": {ANY: _MODEL}, "files?": [str]},
    **{"surface_tolerance_mm?": (float, None), "surface_convention?": str},
}


@dataclass(frozen=True)
class CaseFiles:
    """Where one model's case lies; `image` is None where no image is known."""

    image: Path | None
    reference: Path
    prediction: Path
    fold: str


@dataclass(frozen=True)
class ModelRecord:
    """One model of an evaluation; see `Predictions` for the attributes."""

    folder: Path
    kind: str
    folds: tuple[str, ...]
    settings: Mapping[str, Any]
    cases: Mapping[str, CaseFiles]


@dataclass(frozen=True)
class EvaluationRecord:
    """What evaluation.json holds, with absolute paths.

    Attributes:
        version: Of this package.
        reference: Folder of the references.
        labels: What was evaluated.
        models: Model -> where its cases lie.
        files: Names of the tables beside it.
        surface_tolerance_mm: Tolerance of the surface Dice in surface.tsv; None without that file.
        surface_convention: What its surfaces are made of; files of version 0.1 counted voxels.
        warnings: What makes the numbers mean less than they seem to; see `plausibility`.
    """

    version: str
    reference: Path
    labels: tuple[Label, ...]
    models: Mapping[str, ModelRecord]
    files: tuple[str, ...] = (METRICS_FILE,)
    surface_tolerance_mm: float | None = None
    surface_convention: str = "voxels"
    warnings: tuple[str, ...] = ()


def write_evaluation(
    output: Path,
    metrics: pd.DataFrame,
    references: References,
    models: Sequence[Predictions],
    *,
    extra: Mapping[str, pd.DataFrame] = MappingProxyType({}),
    surface: Mapping[str, Any] = MappingProxyType({}),
    warnings: Sequence[str] = (),
) -> None:
    """Write all files, each whole or not at all; paths are relative to `output` where the file system allows it.

    Tables of an earlier evaluation that this one does not have are removed, and its record before any table is
    written: they would tell of other predictions.

    Args:
        output: The folder.
        metrics: The table of metrics.tsv.
        references: What was compared with.
        models: What was compared.
        extra: Name -> table of what was measured besides.
        surface: How surfaces were measured, where they were.
        warnings: What was noticed; see `EvaluationRecord`.
    """
    tables = {METRICS_FILE: metrics, **extra}
    record = {
        "version": __version__,
        "reference": relative_path(references.folder, output),
        "labels": [asdict(label) for label in references.labels],
        "files": list(tables),
        "surface_tolerance_mm": None,
        **surface,
        "warnings": list(warnings),
        "models": {model.name: _model_entry(model, references, output) for model in models},
    }
    earlier = (output / RECORD_FILE).is_file()
    (output / RECORD_FILE).unlink(missing_ok=True)
    for name in (METRICS_FILE, SURFACE_FILE, SLICES_FILE, VOLUMES_FILE):
        if name not in tables:
            for ending in (".tsv", ".json"):
                (output / name).with_suffix(ending).unlink(missing_ok=True)
        if earlier:  # perhaps of an earlier release, which wrote commas
            (output / name).with_suffix(".csv").unlink(missing_ok=True)
    for name, table in tables.items():
        write_described(table, output / name)
    write_json(output / RECORD_FILE, record)


def read_metrics(output: Path) -> pd.DataFrame:
    """metrics.tsv of an evaluation; see `read_metrics_file`."""
    return read_metrics_file(table_path(output, METRICS_FILE))


def read_metrics_file(path: Path) -> pd.DataFrame:
    """A file in the form of metrics.tsv, with tabs or commas, names as text even where they look like numbers.

    Raises:
        InputError: Missing, other columns, or values that a metric cannot have.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; run paraspinal evaluate first")
    table = read_table(path)
    if tuple(table.columns) != COLUMNS:
        raise InputError(f"{path} has the columns {', '.join(table.columns)}; expected {', '.join(COLUMNS)}")
    for column in (*METRICS, *VOLUME_COLUMNS):
        table[column] = [_metric(text, column, f"{path}: line {line}") for line, text in table[column].items()]
    return table.reset_index(drop=True)


def read_record(output: Path) -> EvaluationRecord:
    """evaluation.json of an evaluation.

    Raises:
        InputError: Missing or not what `write_evaluation` writes.
    """
    output = Path(output)
    path = output / RECORD_FILE
    content = read_form(path, _FORM, advice=_ADVICE)
    with guarded(path, _ADVICE):  # places that cannot be
        return EvaluationRecord(
            version=content["version"],
            reference=_absolute(content["reference"], output),
            labels=tuple(Label(**{name: label[name] for name in _LABEL}) for label in content["labels"]),
            models={name: _model_record(entry, output) for name, entry in content["models"].items()},
            files=tuple(content.get("files", (METRICS_FILE,))),
            surface_tolerance_mm=content.get("surface_tolerance_mm"),
            surface_convention=content.get("surface_convention", "voxels"),
            warnings=tuple(content.get("warnings", ())),
        )


def _model_entry(model: Predictions, references: References, output: Path) -> dict[str, Any]:
    return {
        "folder": relative_path(model.folder, output),
        "kind": model.kind,
        "folds": list(model.folds),
        "settings": dict(model.settings),
        "cases": {
            case: {
                "image": relative_path(references.images[case], output) if case in references.images else None,
                "reference": relative_path(references.files[case], output),
                "prediction": relative_path(prediction.path, output),
                "fold": prediction.fold,
            }
            for case, prediction in model.files.items()
        },
    }


def _model_record(entry: Mapping[str, Any], output: Path) -> ModelRecord:
    cases = {
        case: CaseFiles(
            image=None if files["image"] is None else _absolute(files["image"], output),
            reference=_absolute(files["reference"], output),
            prediction=_absolute(files["prediction"], output),
            fold=files["fold"],
        )
        for case, files in entry["cases"].items()
    }
    folder = _absolute(entry["folder"], output)
    return ModelRecord(folder, entry["kind"], tuple(entry["folds"]), entry["settings"], cases)


def _absolute(path: str, output: Path) -> Path:
    return (output.resolve() / path).resolve()


def _metric(text: str, column: str, where: str) -> float:
    try:
        value = number(text) if text else math.nan
    except ValueError as error:
        raise InputError(
            f"{where}: {column} '{text}' is no number; leave the cell empty where there is none"
        ) from error
    low, high = _RANGES[column]
    if value < low - _ROUNDING or value > high + _ROUNDING:
        raise InputError(
            f"{where}: {column} is {text}, which lies outside {low:g} to {high:g}; write shares, no percent, and leave "
            "the cell empty where there is no value"
        )
    return value
