"""A case's image, reference and predictions on the reference's grid, with labels in canonical values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.evaluation.record import CaseFiles, EvaluationRecord
from paraspinal_nnunet.evaluation.references import Label
from paraspinal_nnunet.image_io.checks import on_reference_grid
from paraspinal_nnunet.image_io.geometry import grid_difference, to_ras
from paraspinal_nnunet.image_io.images import read_image, read_uint8_labels
from paraspinal_nnunet.image_io.volume import Volume

_FIRST_OTHER_VALUE = 100
"""Labels that are no known muscle are shown with values from here on."""


@dataclass(frozen=True)
class CaseMaps:
    """One case in RAS order.

    Attributes:
        case: Its name.
        image: (x, y, z); None where the evaluation knows no image.
        affine: 4 x 4, to mm in RAS+.
        reference: Label map with the values of `shown_values`.
        predictions: Model -> label map.
    """

    case: str
    image: np.ndarray | None
    affine: np.ndarray
    reference: np.ndarray
    predictions: Mapping[str, np.ndarray]


def shown_values(labels: Sequence[Label]) -> dict[str, int]:
    """Key of each label -> the value it is shown with: the canonical one, so that colours and names are right."""
    return {
        label.key: BY_KEY[label.key].label if label.key in BY_KEY else _FIRST_OTHER_VALUE + place
        for place, label in enumerate(labels)
    }


def read_case(record: EvaluationRecord, case: str, models: Sequence[str]) -> CaseMaps:
    """Read a case of an evaluation.

    Args:
        record: The evaluation.
        case: One that every model of `models` has.
        models: Whose predictions to read.

    Raises:
        InputError: A file has gone or cannot be read.
        GeometryError: Grids that do not match.
    """
    files = {name: record.models[name].cases[case] for name in models}
    first: CaseFiles = next(iter(files.values()))
    reference = read_uint8_labels(first.reference, f"case {case}")
    array, affine = to_ras(reference.array, reference.affine)
    translate = _translation(record.labels)
    predictions = {
        name: _prediction(reference, each.prediction, translate, f"model {name}, case {case}")
        for name, each in files.items()
    }
    image = None if first.image is None else _image(first.image, array.shape, affine, case)
    return CaseMaps(case, image, affine, translate[array], predictions)


def _prediction(reference: Volume, path: Path, translate: np.ndarray, name: str) -> np.ndarray:
    prediction = read_uint8_labels(path, name)
    on_reference_grid(reference, prediction, name)
    return translate[to_ras(prediction.array, prediction.affine)[0]]


def _image(path: Path, shape: tuple[int, ...], affine: np.ndarray, case: str) -> np.ndarray:
    volume = read_image(path)
    image, image_affine = to_ras(volume.array, volume.affine)
    difference = grid_difference(shape, affine, image.shape, image_affine)
    if difference is not None:
        raise GeometryError(f"case {case}: reference and image {path} are not on one grid: {difference}")
    return image


def _translation(labels: Sequence[Label]) -> np.ndarray:
    table = np.zeros(256, np.uint8)
    values = shown_values(labels)
    for label in labels:
        table[label.value] = values[label.key]
    return table
