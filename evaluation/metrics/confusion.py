"""One pass over a pair of label maps counts how often each reference label meets each predicted label."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from paraspinal_nnunet.errors import GeometryError, LabelError

LABEL_LIMIT = 256
"""Label maps are held as uint8."""

_WORD = 8  # voxels that are looked at together
_CHUNK = 1 << 16  # words at a time: half a megabyte of each map stays in the processor's cache
_LOW_BYTE = np.uint64(0xFF)
_EVERY_BYTE = np.uint64(0x0101010101010101)


@dataclass(frozen=True)
class BinaryCounts:
    """Voxels of one label against the rest.

    Attributes:
        tp: Labelled in both.
        fp: Labelled in the prediction only.
        fn: Labelled in the reference only.
        tn: Labelled in neither.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def reference(self) -> int:
        """Voxels of the label in the reference."""
        return self.tp + self.fn

    @property
    def prediction(self) -> int:
        """Voxels of the label in the prediction."""
        return self.tp + self.fp


def confusion_counts(reference: np.ndarray, prediction: np.ndarray, *, classes: int | None = None) -> np.ndarray:
    """Count every combination of reference and predicted label.

    Args:
        reference: Label map of any shape, dtype uint8.
        prediction: The same shape, dtype uint8.
        classes: Number of labels, background included; None takes the largest value present plus one.

    Returns:
        int64 of shape (classes, classes): element [r, p] is the number of voxels with r in the reference and p in the
        prediction. It sums to the number of voxels.

    Raises:
        GeometryError: The shapes differ.
        LabelError: Another dtype, or a value that is not below `classes`.
    """
    if reference.shape != prediction.shape:
        raise GeometryError(f"reference of shape {reference.shape} against prediction of shape {prediction.shape}")
    for name, labels in (("reference", reference), ("prediction", prediction)):
        if labels.dtype != np.uint8:
            raise LabelError(f"the {name} is {labels.dtype}; label maps are compared as uint8")
    counts = _count(*_flat(reference, prediction))
    present = int(np.flatnonzero(counts.any(axis=0) | counts.any(axis=1)).max(initial=0)) + 1
    if classes is None:
        classes = present
    if present > classes:
        raise LabelError(f"label value {present - 1} found where values below {classes} are known")
    return counts[:classes, :classes].copy()


def binary_counts(counts: np.ndarray, label: int) -> BinaryCounts:
    """One label against all others.

    Args:
        counts: What `confusion_counts` gave.
        label: The label's value.
    """
    tp = int(counts[label, label])
    fn = int(counts[label].sum()) - tp
    fp = int(counts[:, label].sum()) - tp
    return BinaryCounts(tp=tp, fp=fp, fn=fn, tn=int(counts.sum()) - tp - fp - fn)


def _flat(reference: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both maps as one row of voxels in a common order, without a copy where the memory allows it."""
    order: Literal["C", "F"] = "F" if reference.flags.f_contiguous and prediction.flags.f_contiguous else "C"
    return reference.ravel(order=order), prediction.ravel(order=order)


def _count(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Counts of all combinations of values of two rows of voxels, (LABEL_LIMIT, LABEL_LIMIT).

    Eight voxels are looked at as one word. Words that are background in both maps, and words in which both maps hold
    one and the same label throughout, are counted whole; only the rest is taken apart.
    """
    whole = reference.size // _WORD * _WORD
    words_r, words_p = reference[:whole].view(np.uint64), prediction[:whole].view(np.uint64)
    agreeing = np.zeros(LABEL_LIMIT, np.int64)
    mixed = [(reference[whole:], prediction[whole:])]
    for start in range(0, words_r.size, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        used = np.flatnonzero((words_r[chunk] | words_p[chunk]) != 0)
        if not used.size:
            continue
        r, p = words_r[chunk][used], words_p[chunk][used]
        first = r & _LOW_BYTE
        uniform = (r == p) & (r == first * _EVERY_BYTE)
        agreeing += np.bincount(first[uniform].astype(np.intp), minlength=LABEL_LIMIT)
        mixed.append((r[~uniform].view(np.uint8), p[~uniform].view(np.uint8)))
    met = np.concatenate([r.astype(np.uint16) * LABEL_LIMIT + p for r, p in mixed])
    counts = np.bincount(met, minlength=LABEL_LIMIT**2).astype(np.int64).reshape(LABEL_LIMIT, LABEL_LIMIT)
    counts[np.diag_indices(LABEL_LIMIT)] += _WORD * agreeing
    counts[0, 0] += reference.size - counts.sum()
    return counts
