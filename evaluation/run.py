"""Evaluating models: every case of every model against its reference, several cases at a time."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.evaluation.extras import Extras, check_voxel_size, extra_tables, label_rows
from paraspinal_nnunet.evaluation.metrics.confusion import binary_counts, confusion_counts
from paraspinal_nnunet.evaluation.metrics.overlap import overlap_metrics
from paraspinal_nnunet.evaluation.metrics.surface_elements import Convention
from paraspinal_nnunet.evaluation.plausibility import (
    exchanged_labels,
    model_warnings,
    place_fault,
    reference_warnings,
)
from paraspinal_nnunet.evaluation.predictions import Predictions, gather_predictions
from paraspinal_nnunet.evaluation.record import COLUMNS, METRICS_FILE, write_evaluation
from paraspinal_nnunet.evaluation.references import Label, References, find_references
from paraspinal_nnunet.image_io.checks import on_reference_grid
from paraspinal_nnunet.image_io.geometry import check_spacing
from paraspinal_nnunet.image_io.images import read_uint8_labels
from paraspinal_nnunet.image_io.masks.label_names import check_names
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.utils.workers import default_workers

log = logging.getLogger(__name__)

Cleaning = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A label map and its affine -> the label map cleaned up."""
Rows = dict[str, list[dict[str, Any]]]  # file -> its rows


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
    surface_tolerance_mm: float | None = None,
    surface_convention: Convention = "area",
    per_slice: bool = False,
    volumes: bool = False,
) -> pd.DataFrame:
    """Compare the predictions of one or more models with the references.

    Args:
        reference: Folder of ``CASE.nii.gz``, or an nnU-Net data set.
        predictions: Model name -> folder of predictions or trained model.
        output: Folder for metrics.tsv and evaluation.json; None writes nothing.
        images: Folder of the images; None looks beside the references.
        cases: Table of cases and subjects; None looks beside the references.
        subset: Folders of predictions may hold only some of the cases.
        post: Post-processing of every prediction before it is compared, by name; see `postprocessing.STEPS`.
        workers: Cases at a time; each holds one reference and one prediction in memory.
        surface_tolerance_mm: Write surface.tsv with HD95, average surface distance and surface Dice at this tolerance.
        surface_convention: Surfaces by their area, or by counting voxels; see `metrics.surface_elements`.
        per_slice: Write slices.tsv with Dice and areas of every axial slice.
        volumes: Write volumes.tsv with the errors of the volumes.

    Returns:
        One row per model, case and label with the columns `record.COLUMNS`, volumes in ml.

    Raises:
        InputError: Missing, extra or unreadable files; a negative tolerance; more files asked for without a folder.
        GeometryError: Reference and prediction on different grids.
        LabelError: Values that are not labels of the data set.
        DatasetError: A table of cases that does not fit.
    """
    workers = default_workers() if workers is None else workers
    if workers < 1:
        raise InputError(f"{workers} workers cannot evaluate; give 1 or more")
    if output is not None and output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; give a folder")
    extras = Extras(surface_tolerance_mm, surface_convention, per_slice, volumes)
    _check_extras(extras, output)
    references = find_references(reference, images=images, cases=cases)
    models = [gather_predictions(name, folder, references, subset=subset) for name, folder in predictions.items()]
    models = [replace(m, settings={**m.settings, "post": list(post)}) for m in models] if post else models
    measures = _Measures(_cleaning(post), extras)
    rows = _measure(references, models, workers, measures)
    warnings = [*reference_warnings(measures.misplaced), *model_warnings(measures.exchanged)]
    for text in warnings:
        log.warning("%s", text)
    metrics = pd.DataFrame(rows[METRICS_FILE], columns=list(COLUMNS))
    if output is not None:
        tables = extra_tables(extras, rows, metrics)
        write_evaluation(
            output, metrics, references, models, extra=tables, surface=extras.surface_settings, warnings=warnings
        )
    return metrics


@dataclass(frozen=True)
class _Measures:
    """What is done with every pair of label maps, and what was noticed on the way.

    Attributes:
        clean: Post-processing.
        extras: What is measured besides.
        misplaced: Case -> what is out of place in its reference.
        exchanged: Model -> case -> labels that lie where others belong.
    """

    clean: Cleaning
    extras: Extras
    misplaced: dict[str, str] = field(default_factory=dict)
    exchanged: dict[str, dict[str, list[tuple[Label, Label, float, float]]]] = field(default_factory=dict)


def _check_extras(extras: Extras, output: Path | None) -> None:
    if output is None and extras.files:
        raise InputError(f"{', '.join(extras.files)} asked for without an output folder; give one")
    if extras.surface_tolerance_mm is not None:
        from paraspinal_nnunet.evaluation.metrics.surface import check_tolerance

        check_tolerance(extras.surface_tolerance_mm)


def _cleaning(post: Sequence[str]) -> Cleaning:
    """The named post-processing; its library is imported only where any is asked for."""
    if not post:
        return lambda labels, affine: labels

    from paraspinal_nnunet.image_io.geometry import spacing_mm
    from paraspinal_nnunet.image_io.masks.postprocessing import check_steps, postprocess

    check_steps(post)
    return lambda labels, affine: postprocess(labels, post, spacing_mm(affine))


def _measure(references: References, models: Sequence[Predictions], workers: int, measures: _Measures) -> Rows:
    cases = sorted({case for model in models for case in model.files})
    rows: Rows = {name: [] for name in (METRICS_FILE, *measures.extras.files)}
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=sum(len(model.files) for model in models), desc="evaluate", unit="case") as bar,
    ):
        try:
            for found in pool.map(lambda case: _measure_case(case, references, models, measures), cases):
                for name, of_case in found.items():
                    rows[name].extend(of_case)
                bar.update(len(found[METRICS_FILE]) // len(references.labels))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    order = {model.name: position for position, model in enumerate(models)}
    for found_rows in rows.values():  # stable: labels and slices stay in order
        found_rows.sort(key=lambda row: (order[row["model"]], row["case"]))
    return rows


def _measure_case(case: str, references: References, models: Sequence[Predictions], measures: _Measures) -> Rows:
    """All models' rows of one case; the reference is read once."""
    meaning = {label.value: label.key for label in references.labels}
    reference = read_uint8_labels(references.files[case], f"case {case}")
    check_spacing(reference.affine, f"case {case}: {references.files[case]}")
    check_names(reference.value_names, meaning, f"case {case}: {references.files[case]}")
    if fault := place_fault(reference, references.labels):
        measures.misplaced[case] = fault
    rows: Rows = {METRICS_FILE: []}
    for model in models:
        if case not in model.files:
            continue
        name = f"model {model.name}, case {case}"
        prediction = read_uint8_labels(model.files[case].path, name)
        check_names(prediction.value_names, meaning, f"{name}: {model.files[case].path}")
        expected, found = on_reference_grid(reference, prediction, name)
        found = replace(found, array=measures.clean(found.array, found.affine))
        counts = confusion_counts(expected.array, found.array)
        _check_values(counts, references, case, model)
        if references.ignored is not None:
            counts[references.ignored : references.ignored + 1] = 0
            found = replace(found, array=np.where(expected.array == references.ignored, 0, found.array))
        if exchanged := exchanged_labels(counts, references.labels):
            measures.exchanged.setdefault(model.name, {})[case] = exchanged
        first = {
            "model": model.name,
            "case": case,
            "subject": references.subjects[case],
            "fold": model.files[case].fold,
        }
        for label in references.labels:
            rows[METRICS_FILE].append(first | _label_row(counts, label, reference.voxel_volume_ml))
        for file, of_file in _extra_rows(measures.extras, expected, found, references.labels, name).items():
            rows.setdefault(file, []).extend(first | row for row in of_file)
    return rows


def _extra_rows(extras: Extras, reference: Volume, prediction: Volume, labels: Sequence[Label], name: str) -> Rows:
    rows: Rows = {}
    if not extras.need_masks:
        return rows
    check_voxel_size(reference.affine, name)
    for label in labels:
        masks = (reference.array == label.value, prediction.array == label.value)
        for file, of_file in label_rows(extras, *masks, reference.affine).items():
            rows.setdefault(file, []).extend({"muscle": label.muscle, "side": label.side} | row for row in of_file)
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
    known: set[int | None] = {0, *(label.value for label in references.labels)}
    files = (
        (f"case {case}: reference {references.files[case]}", counts.any(axis=1), known | {references.ignored}),
        (f"model {model.name}, case {case}: prediction {model.files[case].path}", counts.any(axis=0), known),
    )
    for name, present, expected in files:
        unknown = [int(value) for value in np.flatnonzero(present) if value not in expected]
        if unknown:
            raise LabelError(
                f"{name} holds the unknown label value {', '.join(map(str, unknown))}; known are "
                f"{', '.join(f'{label.value} {label.key}' for label in references.labels)}"
            )
