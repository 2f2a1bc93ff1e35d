"""From a source's label values to a data set's: which value is which muscle, and what is dropped."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paraspinal_nnunet.anatomy import (
    ALL_STRUCTURES,
    BACKGROUND,
    BY_KEY,
    LABEL_SCHEMES,
    QUADRATUS,
    LabelScheme,
    Structure,
)
from paraspinal_nnunet.dataset_conversion.labels.files import DATASET_FILE, LARGEST_VALUE, read_label_file
from paraspinal_nnunet.errors import LabelError


@dataclass(frozen=True)
class LabelTranslation:
    """Source values and what they stand for.

    Attributes:
        name: Scheme or file name, for the provenance.
        values: Source value -> canonical key.
        dropped: Source value -> name, of values that become background.
    """

    name: str
    values: Mapping[int, str]
    dropped: Mapping[int, str]

    @property
    def structures(self) -> tuple[Structure, ...]:
        """The classes of the data set, in canonical order."""
        keys = set(self.values.values())
        return tuple(s for s in ALL_STRUCTURES if s.key in keys)

    @property
    def dataset_labels(self) -> dict[str, int]:
        """Canonical key -> value in the data set: consecutive, as nnU-Net demands, in canonical order."""
        return {s.key: value for value, s in enumerate(self.structures, start=1)}

    def canonical(self, array: np.ndarray, name: str) -> np.ndarray:
        """Translate source values to the values of `anatomy.ALL_STRUCTURES`.

        Args:
            array: Integers of any shape.
            name: File, for the message.

        Returns:
            uint8 of the same shape.

        Raises:
            LabelError: A value that the map does not know.
        """
        known = {BACKGROUND, *self.values, *self.dropped}
        low, high = int(array.min(initial=0)), int(array.max(initial=0))
        if low < 0 or high > LARGEST_VALUE:
            raise LabelError(self._unknown([low if low < 0 else high], name))
        table = np.zeros(high + 1, dtype=np.uint8)
        for value, key in self.values.items():
            if value <= high:
                table[value] = BY_KEY[key].label
        present = np.flatnonzero(np.bincount(array[array != 0], minlength=high + 1))
        unknown = [int(value) for value in present if int(value) not in known]
        if unknown:
            raise LabelError(self._unknown(unknown, name))
        return table[array]

    def renumber(self, canonical: np.ndarray) -> np.ndarray:
        """Translate canonical values to the data set's consecutive ones (uint8)."""
        table = np.zeros(max(s.label for s in ALL_STRUCTURES) + 1, dtype=np.uint8)
        for structure in self.structures:
            table[structure.label] = self.dataset_labels[structure.key]
        return table[canonical]

    def _unknown(self, values: list[int], name: str) -> str:
        known = ", ".join(str(v) for v in sorted({*self.values, *self.dropped}))
        found = ", ".join(str(v) for v in values[:5]) + (" ..." if len(values) > 5 else "")
        return f"{name}: unknown label value {found}; '{self.name}' knows {known}; map it or mark it 'ignore'"


def label_map(name: str, *, quadratus: bool = False) -> LabelTranslation:
    """A label map by scheme name or from a file.

    Args:
        name: A name in `anatomy.LABEL_SCHEMES`, or a file; see `label_files.read_label_file`.
        quadratus: Keep quadratus lumborum, which is not among the paper's classes and else becomes background.

    Raises:
        LabelError: No such scheme or file, or a file that cannot be understood.
    """
    if name in LABEL_SCHEMES:
        return from_scheme(LABEL_SCHEMES[name], quadratus=quadratus)
    path = Path(name)
    if not path.is_file():
        raise LabelError(f"--labels {name}: neither a scheme ({', '.join(LABEL_SCHEMES)}) nor a file")
    return from_entries(path.name, read_label_file(path), quadratus=quadratus)


def beside_masks(folder: Path) -> Path | None:
    """The dataset.json by whose names nnU-Net means the values of the masks in a folder; None where there is none.

    It lies among predictions, above labelsTr and the like, and above the folds of a trained model.
    """
    places = [folder, folder.parent, *([folder.parent.parent] if folder.name == "validation" else [])]
    return next((place / DATASET_FILE for place in places if (place / DATASET_FILE).is_file()), None)


def from_scheme(scheme: LabelScheme, *, quadratus: bool = False) -> LabelTranslation:
    """The label map of a known scheme."""
    return from_entries(scheme.name, scheme.values, quadratus=quadratus)


def from_entries(name: str, entries: Mapping[int, str], *, quadratus: bool = False) -> LabelTranslation:
    """The label map of source values and what they stand for.

    Args:
        name: Scheme or file, for the provenance and for messages.
        entries: Source value -> canonical key, or any other name for what becomes background.
        quadratus: Keep quadratus lumborum.

    Raises:
        LabelError: No value stands for a class.
    """
    optional = set() if quadratus else {s.key for s in QUADRATUS}
    values = {v: key for v, key in sorted(entries.items()) if key in BY_KEY and key not in optional}
    dropped = {v: key for v, key in sorted(entries.items()) if v not in values and v != BACKGROUND}
    if not values:
        raise LabelError(f"{name}: maps no value to a class; classes are {', '.join(BY_KEY)}")
    return LabelTranslation(name, values, dropped)
