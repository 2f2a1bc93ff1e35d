"""Evaluating models: every case of every model against its reference, several cases at a time."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.evaluation.confusion import binary_counts, confusion_counts
from paraspinal_nnunet.evaluation.labelmaps import on_reference_grid, read_label_map
from paraspinal_nnunet.evaluation.overlap import overlap_metrics
from paraspinal_nnunet.evaluation.predictions import Predictions, gather_predictions
from paraspinal_nnunet.evaluation.record import COLUMNS, write_evaluation
from paraspinal_nnunet.evaluation.references import Label, References, find_references

MOST_WORKERS = 8

Cleaning = Callable[[np.ndarray], np.ndarray]


def default_workers() -> int:
    """As many cases at a time as the machine has cores, at most `MOST_WORKERS`."""
    return min(MOST_WORKERS, os.cpu_count() or 1)


def evaluate(
    reference: Path,
    predictions: Mapping[str, Path],
    output: Path | None = None,
    *,
    images: Path | None = None,
    cases: Path | None = None,
    subset: bool = False,
    post: Sequence[str] = (),
    workers: int | None = None,
) -> pd.DataFrame:
    """Compare the predictions of one or more models with the references.

    Args:
        reference: Folder of ``CASE.nii.gz``, or an nnU-Net data set.
        predictions: Model name -> folder of predictions or trained model.
        output: Folder for metrics.csv and evaluation.json; None writes nothing.
        images: Folder of the images; None looks beside the references.
        cases: Table of cases and subjects; None looks beside the references.
        subset: Folders of predictions may hold only some of the cases.
        post: Post-processing of every prediction before it is compared, by name; see `postprocessing.STEPS`.
        workers: Cases at a time; each holds one reference and one prediction in memory.

    Returns:
        One row per model, case and label with the columns `record.COLUMNS`, volumes in ml.

    Raises:
        InputError: Missing, extra or unreadable files.
        GeometryError: Reference and prediction on different grids.
        LabelError: Values that are not labels of the data set.
        DatasetError: A table of cases that does not fit.
    """
    workers = default_workers() if workers is None else workers
    if workers < 1:
        raise InputError(f"{workers} workers cannot evaluate; give 1 or more")
    if output is not None and output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; give a folder")
    references = find_references(reference, images=images, cases=cases)
    models = [gather_predictions(name, folder, references, subset=subset) for name, folder in predictions.items()]
    models = [replace(m, settings={**m.settings, "post": list(post)}) for m in models] if post else models
    metrics = _measure(references, models, workers, _cleaning(post))
    if output is not None:
        write_evaluation(output, metrics, references, models)
    return metrics


def _cleaning(post: Sequence[str]) -> Cleaning:
    """The named post-processing; its library is imported only where any is asked for."""
    if not post:
        return lambda labels: labels

    from paraspinal_nnunet.postprocessing import check_steps, postprocess

    check_steps(post)
    return lambda labels: postprocess(labels, post)


def _measure(references: References, models: Sequence[Predictions], workers: int, clean: Cleaning) -> pd.DataFrame:
    cases = sorted({case for model in models for case in model.files})
    rows: list[dict[str, Any]] = []
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=sum(len(model.files) for model in models), desc="evaluate", unit="case") as bar,
    ):
        try:
            for found in pool.map(lambda case: _measure_case(case, references, models, clean), cases):
                rows.extend(found)
                bar.update(len(found) // len(references.labels))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    order = {model.name: position for position, model in enumerate(models)}
    rows.sort(key=lambda row: (order[row["model"]], row["case"]))  # stable: labels stay in order
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _measure_case(
    case: str, references: References, models: Sequence[Predictions], clean: Cleaning
) -> list[dict[str, Any]]:
    """All models' rows of one case; the reference is read once."""
    reference = read_label_map(references.files[case], f"case {case}")
    rows: list[dict[str, Any]] = []
    for model in models:
        if case not in model.files:
            continue
        name = f"model {model.name}, case {case}"
        prediction = read_label_map(model.files[case].path, name)
        expected, found = on_reference_grid(reference, prediction, name)
        counts = confusion_counts(expected, clean(found))
        _check_values(counts, references, case, model)
        first = {
            "model": model.name,
            "case": case,
            "subject": references.subjects[case],
            "fold": model.files[case].fold,
        }
        rows.extend(first | _label_row(counts, label, reference.voxel_ml) for label in references.labels)
    return rows


def _label_row(counts: np.ndarray, label: Label, voxel_ml: float) -> dict[str, Any]:
    if label.value >= len(counts):  # absent from both maps
        counts = np.pad(counts, (0, label.value + 1 - len(counts)))
    binary = binary_counts(counts, label.value)
    return {
        "muscle": label.muscle,
        "side": label.side,
        **asdict(overlap_metrics(binary)),
        "reference_ml": binary.reference * voxel_ml,
        "prediction_ml": binary.prediction * voxel_ml,
    }


def _check_values(counts: np.ndarray, references: References, case: str, model: Predictions) -> None:
    known = {0, *(label.value for label in references.labels)}
    files = {
        f"case {case}: reference {references.files[case]}": counts.any(axis=1),
        f"model {model.name}, case {case}: prediction {model.files[case].path}": counts.any(axis=0),
    }
    for name, present in files.items():
        unknown = [int(value) for value in np.flatnonzero(present) if value not in known]
        if unknown:
            raise LabelError(
                f"{name} holds the unknown label value {', '.join(map(str, unknown))}; known are "
                f"{', '.join(f'{label.value} {label.key}' for label in references.labels)}"
            )
