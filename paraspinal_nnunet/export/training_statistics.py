"""What the cases look like that a model was trained on, so that scans unlike them can be told of."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from paraspinal_nnunet.anatomy import BACKGROUND, BY_KEY
from paraspinal_nnunet.errors import DatasetError, ParaspinalError
from paraspinal_nnunet.measures.case import measure
from paraspinal_nnunet.nnunet.datasets import case_ids, find_dataset, read_dataset_json

log = logging.getLogger(__name__)

LEAST_CASES = 3
"""Fewer have no spread to compare with."""


def muscle_intensity(dataset: str, cases: int | None) -> dict[str, list[float]] | None:
    """How bright each structure is in the training cases, against the whole of its scan.

    Args:
        dataset: nnU-Net's name of the data set.
        cases: How many it had in training.

    Returns:
        Structure's key -> mean and SD over cases of `measures.result.StructureMeasures.intensity_z`; None, with a note
        in the log, where the raw data set is not at hand as it was.
    """
    try:
        folder = find_dataset(dataset)
        ids = case_ids(folder)
        if len(ids) != cases or len(ids) < LEAST_CASES:
            raise DatasetError(f"{dataset} has {len(ids)} cases, {cases} in training; {LEAST_CASES} or more are needed")
        return _over_cases(folder, ids)
    except ParaspinalError as error:
        log.warning("note: the model will not know its training cases' intensities (%s)", error)
        return None


def _over_cases(folder: Path, ids: list[str]) -> dict[str, list[float]]:
    description = read_dataset_json(folder)
    ending = description["file_ending"]
    values = _canonical_values(description["labels"])
    found: dict[str, list[float]] = {}
    for case in tqdm(ids, desc="intensities of the training cases", unit="case", disable=None):
        image, labels = folder / "imagesTr" / f"{case}_0000{ending}", folder / "labelsTr" / f"{case}{ending}"
        measured = measure(image, labels, label_values=values, fat_methods=())
        for structure in measured.structures:
            if np.isfinite(structure.intensity_z):
                found.setdefault(structure.structure.key, []).append(structure.intensity_z)
    return {
        key: [round(float(np.mean(z)), 4), round(float(np.std(z, ddof=1)), 4)]
        for key, z in found.items()
        if len(z) >= LEAST_CASES
    }


def _canonical_values(labels: Mapping[str, Any]) -> dict[int, int]:
    """Value in the data set -> the anatomy's; what the anatomy does not know becomes background."""
    return {value: BY_KEY[key].label if key in BY_KEY else BACKGROUND for key, value in labels.items()}
