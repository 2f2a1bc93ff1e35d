"""Boxes around some muscles of a first mask: cut out of a scan, and a second model's labels in them put back."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import scipy

from paraspinal_nnunet.anatomy import ALL_STRUCTURES, Muscle, Structure
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.masks.postprocessing import largest_component
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.utils.forms import check_form

ENTRY = "box"
"""Key in dataset.json, and in a manifest's preprocessing, of models that were trained inside boxes."""

MARGIN_MM, MOST_MARGIN_MM = 15.0, 200.0
"""What a box holds on every side of its muscles, and the most that is taken. Source: ours."""

Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class MuscleBox:
    """Which boxes a model was trained in.

    Attributes:
        muscles: What the boxes lie around, both sides together.
        margin_mm: On every side.
    """

    muscles: tuple[Muscle, ...]
    margin_mm: float = MARGIN_MM

    @property
    def structures(self) -> tuple[Structure, ...]:
        """The labels that a box lies around."""
        return tuple(s for s in ALL_STRUCTURES if s.muscle in self.muscles)

    @property
    def names(self) -> str:
        """The muscles in words."""
        return ", ".join(muscle.display_name.lower() for muscle in self.muscles)

    def around(self, labels: np.ndarray, spacing_mm: tuple[float, float, float]) -> Slices | None:
        """The box around the largest piece of each of the muscles' labels.

        Args:
            labels: (i, j, k) uint8, in the values of `anatomy.ALL_STRUCTURES`.
            spacing_mm: Voxel size along i, j, k.

        Returns:
            Within the array, the margin rounded up to whole voxels; None where no voxel is of these muscles.
        """
        own = largest_component(np.where(self.is_own(labels), labels, 0))
        if not own.any():
            return None
        ends = []
        for axis, (size, mm) in enumerate(zip(labels.shape, spacing_mm, strict=True)):
            others = tuple(a for a in range(3) if a != axis)
            found, margin = np.flatnonzero(own.any(axis=others)), ceil(self.margin_mm / mm)
            ends.append(slice(max(0, int(found[0]) - margin), min(size, int(found[-1]) + margin + 1)))
        return ends[0], ends[1], ends[2]

    def is_own(self, labels: np.ndarray) -> np.ndarray:
        """Where labels are of these muscles (bool, of the same shape)."""
        return np.isin(labels, [s.label for s in self.structures])

    def put_back(
        self, first: np.ndarray, box: Slices, second: np.ndarray, spacing_mm: tuple[float, float, float]
    ) -> np.ndarray:
        """A first mask in which a second model alone decides where these muscles are.

        What the first called one of them and the second does not takes the label of the nearest voxel that neither
        calls so: background, or the muscle beside it.

        Args:
            first: (i, j, k) uint8, in the values of `anatomy.ALL_STRUCTURES`.
            box: Where the second looked.
            second: Its labels, of the box's shape; those of other muscles do not count.
            spacing_mm: Voxel size along i, j, k.

        Returns:
            uint8 of the first's shape.
        """
        found: np.ndarray = np.zeros_like(first)
        found[box] = np.where(self.is_own(second), second, 0)
        merged = np.where(found, found, first)
        left = self.is_own(first) & (found == 0)
        if left.any():
            kept = ~(left | (found != 0))
            nearest = scipy.ndimage.distance_transform_edt(
                ~kept, sampling=spacing_mm, return_distances=False, return_indices=True
            )
            merged[left] = first[tuple(axis[left] for axis in nearest)]
        return merged

    def to_json(self) -> dict[str, Any]:
        """As dataset.json holds it."""
        return {"muscles": [muscle.value for muscle in self.muscles], "margin_mm": self.margin_mm}

    @classmethod
    def of(cls, content: Mapping[str, Any], where: str) -> "MuscleBox | None":
        """The entry of a dataset.json or of a manifest's preprocessing; None where there is none.

        Args:
            content: The parsed JSON.
            where: The file, for messages.

        Raises:
            InputError: An entry that cannot be.
        """
        entry = content.get(ENTRY)
        if entry is None:
            return None
        check_form({ENTRY: entry}, {ENTRY: {"muscles": [str], "margin_mm": float}}, where, advice="get the model again")
        known = {muscle.value: muscle for muscle in Muscle}
        names, margin_mm = entry["muscles"], float(entry["margin_mm"])
        if not names or not set(names) <= set(known) or not 0 <= margin_mm <= MOST_MARGIN_MM:
            raise InputError(f"{where}: '{ENTRY}' holds {str(entry)[:80]}, which cannot be; get the model again")
        return cls(tuple(known[name] for name in names), margin_mm)


def cut_out(volume: Volume, box: Slices) -> Volume:
    """The voxels of a box; every one stays where it is in the patient."""
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [part.start or 0 for part in box]
    return Volume(volume.array[box], affine, volume.remarks)
