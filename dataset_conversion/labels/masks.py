"""Labels kept as one mask per structure: merged into one label map, or refused where two structures claim a voxel."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY, BY_LABEL
from paraspinal_nnunet.dataset_conversion.case import Case
from paraspinal_nnunet.dataset_conversion.labels.translation import LabelTranslation, from_entries
from paraspinal_nnunet.errors import GeometryError, LabelError
from paraspinal_nnunet.image_io.geometry import grid_difference
from paraspinal_nnunet.image_io.images import read_labels
from paraspinal_nnunet.image_io.volume import Volume

Masks = Sequence[tuple[str, Path]]
"""Canonical key and file of each structure."""


@dataclass(frozen=True)
class MaskCase(Case):
    """A case whose labels are masks.

    Attributes:
        masks: By `label` and, where there is one, by `second_label`, which name the folders, the masks to merge.
    """

    masks: Mapping[Path, Masks] = field(default_factory=dict)


def mask_labels(name: str, keys: Iterable[str], *, quadratus: bool = False) -> LabelTranslation:
    """The label map of merged masks: their values are the canonical ones.

    Args:
        name: For the provenance and for messages.
        keys: Canonical keys of the structures that have masks.
        quadratus: Keep quadratus lumborum.

    Raises:
        LabelError: No structure is a class.
    """
    return from_entries(name, {BY_KEY[key].label: key for key in keys}, quadratus=quadratus)


def read_case_masks(case: Case) -> Volume:
    """The merged label map of a case in canonical values; a label kept as one file is read as such.

    Raises:
        LabelError: Overlapping masks, or a file that is no mask.
        GeometryError: Masks on different grids.
    """
    masks = case.masks.get(case.label) if isinstance(case, MaskCase) else None
    if masks is None:
        return read_labels(case.label)
    if not masks:
        raise LabelError(f"{case.label}: no mask of a class")
    return merge_masks(masks)


def merge_masks(masks: Masks) -> Volume:
    """One label map of several masks.

    Args:
        masks: At least one; zero is outside, any one other value inside.

    Returns:
        uint8 map in canonical values.

    Raises:
        LabelError: Two masks claim a voxel, or a file holds more than one value besides zero.
        GeometryError: Masks on different grids.
    """
    first = masks[0][1]
    grid = read_labels(first)
    merged = Volume(np.zeros(grid.shape, np.uint8), grid.affine)
    for key, path in masks:
        mask = read_labels(path)
        difference = grid_difference(mask.shape, mask.affine, merged.shape, merged.affine)
        if difference is not None:
            raise GeometryError(f"{path}: lies on another grid than {first} ({difference}); masks must share one")
        _add(merged, mask, key, path)
    return merged


def _add(merged: Volume, mask: Volume, key: str, path: Path) -> None:
    values = np.unique(mask.array[mask.array != 0])
    if len(values) > 1:
        found = ", ".join(str(v) for v in values[:5])
        raise LabelError(f"{path}: is no mask of one structure, since it holds the values {found}")
    inside = mask.array != 0
    claimed = merged.array[inside]
    if claimed.any():
        counts = np.bincount(claimed)
        other = int(counts[1:].argmax()) + 1
        raise LabelError(
            f"{path}: {counts[other]} voxels ({counts[other] * mask.voxel_volume_ml:.3g} ml) of {key} are also "
            f"{BY_LABEL[other].key}; correct the masks"
        )
    merged.array[inside] = BY_KEY[key].label
