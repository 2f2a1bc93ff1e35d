"""Whether label maps mean what their values say: muscles out of place, and values that lie where others belong."""

from collections.abc import Mapping, Sequence

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.errors import LabelError, one_line
from paraspinal_nnunet.evaluation.references import Label
from paraspinal_nnunet.image_io.geometry import check_sides
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.places.positions import check_positions
from paraspinal_nnunet.utils.text import pluralize, some

COARSE = 48
"""Places are judged on a map thinned to about so many voxels along each axis. Source: ours."""

CLEAR_DICE = 0.5
"""A predicted label lies where another belongs if it agrees with that one by this, and less than half as well with its
own. Source: ours; a model that has learnt little agrees with no label by so much."""


def place_fault(reference: Volume, labels: Sequence[Label]) -> str | None:
    """What is out of place in a reference, or None; labels that are no known muscle are not judged.

    Args:
        reference: Label map, uint8, in stored order.
        labels: What its values stand for.
    """
    known = {label.value: BY_KEY[label.key] for label in labels if label.key in BY_KEY}
    translate = np.zeros(256, np.uint8)
    for value, structure in known.items():
        translate[value] = structure.label
    steps = [max(1, size // COARSE) for size in reference.array.shape]
    coarse = translate[reference.array[tuple(slice(None, None, step) for step in steps)]]
    affine = reference.affine @ np.diag([*steps, 1])
    structures = tuple(known.values())
    try:
        check_sides(coarse, affine, structures, "labels")
        check_positions(coarse, affine, structures, "labels")
    except LabelError as error:
        return one_line(error).removeprefix("labels: ")
    return None


def exchanged_labels(counts: np.ndarray, labels: Sequence[Label]) -> list[tuple[Label, Label, float, float]]:
    """Predicted labels that lie where the reference has another label.

    Args:
        counts: Of a pair of label maps, see `metrics.confusion.confusion_counts`.
        labels: What is evaluated.

    Returns:
        Predicted label, the reference's label there, Dice with that one, Dice with its own.
    """
    present = [label for label in labels if label.value < len(counts)]
    values = [label.value for label in present]
    voxels = counts.sum(axis=1)[values][:, None] + counts.sum(axis=0)[values][None, :]
    dice = 2 * counts[np.ix_(values, values)] / np.maximum(voxels, 1)
    found = []
    for place, label in enumerate(present):
        best = int(dice[:, place].argmax())
        with_that, with_own = float(dice[best, place]), float(dice[place, place])
        if with_that > CLEAR_DICE and with_own < with_that / 2:
            found.append((label, present[best], with_that, with_own))
    return found


def reference_warnings(faults: Mapping[str, str]) -> list[str]:
    """One line on references out of place.

    Args:
        faults: Case -> what `place_fault` found.
    """
    if not faults:
        return []
    first = next(iter(faults.values()))
    return [f"references of {pluralize(len(faults), 'case')} ({some(sorted(faults))}) are out of place: {first}"]


def model_warnings(exchanged: Mapping[str, Mapping[str, Sequence[tuple[Label, Label, float, float]]]]) -> list[str]:
    """One line for each model whose labels lie where others belong.

    Args:
        exchanged: Model -> case -> what `exchanged_labels` found there.
    """
    found = []
    for model, cases in exchanged.items():
        first = next(iter(cases.values()))
        pairs = ", ".join(
            f"{label.value} {label.key} lies where the reference has {other.value} {other.key} (Dice {theirs:.2f} "
            f"against {own:.2f} with its own)"
            for label, other, theirs, own in first[:2]
        )
        rest = f" and {len(first) - 2} more" if len(first) > 2 else ""
        where = f"{pluralize(len(cases), 'case')} ({some(sorted(cases))})"
        found.append(
            f"model {model}: labels of {where} are exchanged: {pairs}{rest}; "
            "the values seem to be another scheme's, or right and left are exchanged: translate the predictions first"
        )
    return found
