"""Measuring one label map: volumes, lengths, gaps, islands, borders and sides of its classes."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import find_objects, label

from paraspinal_nnunet.dataset_conversion.images.checks import voxel_hash
from paraspinal_nnunet.image_io.geometry import grid_difference, spacing_mm, to_ras
from paraspinal_nnunet.image_io.nifti import Volume
from paraspinal_nnunet.image_io.postprocessing import NEIGHBOURS
from paraspinal_nnunet.quality_control.classes import LabelClass, side_pairs_of
from paraspinal_nnunet.quality_control.measurements import ClassFacts, LabelFacts

_NONE = ClassFacts(0, 0, 0.0, 0, 0, 0.0, float("nan"), float("nan"), (), 0, 0, 0.0, 0)


def label_facts(
    labels: Volume,
    image_grid: tuple[tuple[int, int, int], np.ndarray] | None,
    classes: Sequence[LabelClass],
    ignored: int | None = None,
) -> LabelFacts:
    """Measure a label map.

    Args:
        labels: In the values of the data set.
        image_grid: Shape and affine of the image, or None where it is unknown.
        classes: Of the data set.
        ignored: Value of nnU-Net's 'ignore' label; neither a class nor unknown.
    """
    array, ras = to_ras(labels.array, labels.affine)
    known = {c.value for c in classes} | {0, ignored}
    values, voxels = np.unique(array, return_counts=True)
    unknown = {int(v): int(n) for v, n in zip(values, voxels, strict=True) if int(v) not in known}
    boxes = _boxes(array, [c.value for c in classes])
    is_class: np.ndarray = np.isin(array, [c.value for c in classes])
    labelled = np.count_nonzero(is_class, axis=(0, 1)) > 0
    inside = np.flatnonzero(labelled) + 1
    first, last = (int(inside[0]), int(inside[-1])) if len(inside) else (0, 0)
    step = spacing_mm(ras)[2]
    return LabelFacts(
        classes={c.value: _class_facts(array, ras, c.value, boxes[c.value]) for c in classes},
        unknown=unknown,
        labelled_slices=(first, last),
        labelled_mm=(last - first + 1) * step if last else 0.0,
        empty_inside=tuple(k for k in range(first, last) if k and not labelled[k - 1]),
        empty_outside=(first - 1, array.shape[2] - last) if last else (0, array.shape[2]),
        swapped_slices=_swapped_slices(array, classes),
        number_type=str(labels.array.dtype),
        sha256=voxel_hash(labels),
        grid_difference=_difference(labels, image_grid),
    )


def _difference(labels: Volume, grid: tuple[tuple[int, int, int], np.ndarray] | None) -> str | None:
    return None if grid is None else grid_difference(labels.shape, labels.affine, *grid)


def _boxes(array: np.ndarray, values: Sequence[int]) -> dict[int, tuple[slice, ...] | None]:
    """The bounding box of each value, None where it is absent."""
    small = array.min(initial=0) >= 0 and array.max(initial=0) <= 255
    if small:
        found = find_objects(array.astype(np.uint8, copy=False), max_label=max(values, default=0))
        return {v: found[v - 1] if v > 0 else None for v in values}
    boxes = {}
    for value in values:
        found = find_objects((array == value).astype(np.uint8))
        boxes[value] = found[0] if found else None
    return boxes


def _class_facts(array: np.ndarray, ras: np.ndarray, value: int, box: tuple[slice, ...] | None) -> ClassFacts:
    if box is None:
        return ClassFacts(**{**vars(_NONE), "value": value})
    mask = array[box] == value
    count = int(np.count_nonzero(mask))
    voxel_ml = float(abs(np.linalg.det(ras[:3, :3]))) / 1000
    per_slice = np.count_nonzero(mask, axis=(0, 1))
    length = mask.shape[2] * spacing_mm(ras)[2]
    centre = [box[axis].start + _mean_place(mask, axis, count) for axis in range(3)]
    components, islands = label(mask[:, :, per_slice > 0], NEIGHBOURS)
    strays = count - int(np.bincount(components.ravel())[1:].max())
    low = box[2].start + 1
    return ClassFacts(
        value=value,
        voxels=count,
        volume_ml=count * voxel_ml,
        first_slice=low,
        last_slice=box[2].stop,
        length_mm=length,
        area_cm2=count * voxel_ml / (length / 10),
        x_mm=float(ras[0, :3] @ centre + ras[0, 3]),
        gaps=tuple(int(k) + low for k in np.flatnonzero(per_slice == 0)),
        islands=int(islands) - 1,
        island_voxels=strays,
        island_ml=strays * voxel_ml,
        border_voxels=_border_voxels(mask, box, array.shape),
    )


def _mean_place(mask: np.ndarray, axis: int, count: int) -> float:
    others = tuple(a for a in range(3) if a != axis)
    return float(np.count_nonzero(mask, axis=others) @ np.arange(mask.shape[axis])) / count


def _border_voxels(mask: np.ndarray, box: tuple[slice, ...], shape: Sequence[int]) -> int:
    edge = np.zeros(mask.shape[:2], bool)
    edge[0] |= box[0].start == 0
    edge[-1] |= box[0].stop == shape[0]
    edge[:, 0] |= box[1].start == 0
    edge[:, -1] |= box[1].stop == shape[1]
    return int(np.count_nonzero(mask[edge])) if edge.any() else 0


def _swapped_slices(array: np.ndarray, classes: Sequence[LabelClass]) -> dict[str, tuple[int, ...]]:
    """Muscle -> slices whose right centroid lies at smaller RAS x than the left one, counted from 1 at the feet."""
    swapped = {}
    for pair in side_pairs_of(classes):
        right, left = (_slice_places(array == c.value) for c in (pair.right, pair.left))
        wrong = np.flatnonzero(right < left)  # NaN where a side is absent compares as False
        if len(wrong):
            swapped[pair.muscle] = tuple(int(k) + 1 for k in wrong)
    return swapped


def _slice_places(mask: np.ndarray) -> np.ndarray:
    columns = np.count_nonzero(mask, axis=1)
    totals = columns.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.arange(mask.shape[0]) @ columns) / totals
