"""Measuring one case of a data set: the part of an inspection that runs in worker processes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from paraspinal_nnunet.anatomy import Side
from paraspinal_nnunet.errors import GeometryError, InputError, one_line
from paraspinal_nnunet.image_io.checks import check_image, voxel_hash
from paraspinal_nnunet.image_io.geometry import axis_codes, grid_difference, spacing_mm, to_ras
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.image_io.nibabel_alone import affines
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.places.midline import BeyondMidline, all_beyond_midline
from paraspinal_nnunet.measures.places.positions import (
    fitting_schemes,
    misplaced,
    scheme_text,
)
from paraspinal_nnunet.measures.shapes import LabelShape, Stack, measure_shapes
from paraspinal_nnunet.quality_control.classes import LabelClass, side_pairs_of
from paraspinal_nnunet.quality_control.dataset import CaseFiles
from paraspinal_nnunet.quality_control.fingerprint import Fingerprint, fingerprint
from paraspinal_nnunet.quality_control.measurements import (
    PERCENTILES,
    CaseMeasurements,
    ChannelMeasurements,
    ClassMeasurements,
    LabelMeasurements,
)


def measure_case(files: CaseFiles, *, classes: Sequence[LabelClass], ignored: int | None = None) -> CaseMeasurements:
    """Measure a case.

    One image is in memory at a time.

    Args:
        files: Its files.
        classes: Of the data set.
        ignored: The value of nnU-Net's 'ignore' label.

    Returns:
        The measured; a file that cannot be read becomes one of `CaseMeasurements.errors`.
    """
    measured = CaseMeasurements(files.case, files.subject)
    channels: list[ChannelMeasurements] = []
    fingerprints: list[Fingerprint] = []
    errors: list[tuple[str, str]] = []
    grid: tuple[tuple[int, int, int], np.ndarray] | None = None
    for path in files.images:
        try:
            image = read_image(path)
        except InputError as error:
            errors.append(("unreadable", one_line(error)))
            continue
        channels.append(_channel_measurements(image))
        fingerprints.append(fingerprint(image))
        if grid is None:
            grid = (image.shape, image.affine)
            measured = _with_grid(measured, image)
            errors += _faults(image, files.case)
        elif difference := grid_difference(image.shape, image.affine, *grid):
            errors.append(("grid", f"{path.name} lies on another grid than the first channel ({difference})"))
        del image
    if files.labels is not None:
        try:
            labels = read_labels(files.labels)
            measured = replace(measured, labels=_measure_labels(labels, grid, classes, ignored))
        except InputError as error:
            errors.append(("unreadable", one_line(error)))
    return replace(measured, channels=tuple(channels), fingerprints=tuple(fingerprints), errors=tuple(errors))


def _with_grid(measured: CaseMeasurements, image: Volume) -> CaseMeasurements:
    array, ras = to_ras(image.array, image.affine)
    i, j, k = array.shape
    return replace(
        measured,
        shape=(i, j, k),
        spacing_mm=spacing_mm(ras),
        stored_axes=axis_codes(image.affine),
        obliquity_deg=float(np.degrees(affines.obliquity(image.affine)).max()),
    )


def _faults(image: Volume, case: str) -> list[tuple[str, str]]:
    try:
        check_image(image, case)
    except GeometryError as error:
        return [("geometry", one_line(error).removeprefix(f"{case}: "))]
    except InputError as error:
        return [("intensity", one_line(error).removeprefix(f"{case}: "))]
    return []


def _channel_measurements(image: Volume) -> ChannelMeasurements:
    array = image.array
    percentiles = np.percentile(array, PERCENTILES)
    return ChannelMeasurements(
        minimum=float(array.min()),
        percentiles=dict(zip(PERCENTILES, map(float, percentiles), strict=True)),
        maximum=float(array.max()),
        mean=float(array.mean(dtype=np.float64)),
        sd=float(array.std(dtype=np.float64)),
        zero_share=1 - int(np.count_nonzero(array)) / array.size,
        number_type=str(array.dtype),
        sha256=voxel_hash(image),
    )


def _measure_labels(
    labels: Volume,
    image_grid: tuple[tuple[int, int, int], np.ndarray] | None,
    classes: Sequence[LabelClass],
    ignored: int | None,
) -> LabelMeasurements:
    array, ras = to_ras(labels.array, labels.affine)
    stack = Stack(Volume(array, ras).shape, ras)
    shapes = measure_shapes(array, stack, [c.value for c in classes])
    known = {c.value for c in classes} | {0, ignored}
    values, voxels = np.unique(array, return_counts=True)
    labelled = np.any([shape.counts > 0 for shape in shapes.values()] or [np.zeros(stack.slices, bool)], axis=0)
    inside = np.flatnonzero(labelled) + 1
    first, last = (int(inside[0]), int(inside[-1])) if len(inside) else (0, 0)
    return LabelMeasurements(
        classes={value: _class_measurements(value, shape) for value, shape in shapes.items()},
        unknown={int(v): int(n) for v, n in zip(values, voxels, strict=True) if int(v) not in known},
        labelled_slices=(first, last),
        labelled_mm=(last - first + 1) * stack.slice_spacing_mm if last else 0.0,
        empty_inside=tuple(k for k in range(first, last) if k and not labelled[k - 1]),
        empty_outside=(first - 1, stack.slices - last) if last else (0, stack.slices),
        swapped_slices=_swapped_slices(shapes, classes),
        beyond_midline=_beyond_midline(shapes, classes),
        out_of_place=_out_of_place(shapes, classes),
        number_type=str(labels.array.dtype),
        sha256=voxel_hash(labels),
        grid_difference=None if image_grid is None else grid_difference(labels.shape, labels.affine, *image_grid),
    )


def _class_measurements(value: int, shape: LabelShape) -> ClassMeasurements:
    if not shape.voxels:
        return ClassMeasurements(value, 0, 0.0, 0, 0, 0.0, float("nan"), float("nan"), (), 0, 0, 0.0, 0)
    pieces, outside = shape.pieces_across_gaps
    return ClassMeasurements(
        value=value,
        voxels=shape.voxels,
        volume_ml=shape.volume_ml,
        first_slice=int(shape.present[0]) + 1,
        last_slice=int(shape.present[-1]) + 1,
        length_mm=shape.extent_mm,
        area_cm2=shape.volume_ml / (shape.extent_mm / 10),
        x_mm=float(shape.centre_mm[0]),
        gaps=shape.gaps,
        islands=pieces - 1,
        island_voxels=outside,
        island_ml=outside * shape.stack.voxel_ml,
        border_voxels=shape.border_voxels,
    )


def _swapped_slices(shapes: Mapping[int, LabelShape], classes: Sequence[LabelClass]) -> dict[str, tuple[int, ...]]:
    """Muscle -> slices whose right centroid lies at smaller RAS x than the left one, counted from 1 at the feet."""
    swapped = {}
    for pair in side_pairs_of(classes):
        right, left = (shapes[c.value].centres_mm[:, 0] for c in (pair.right, pair.left))
        wrong = np.flatnonzero(right < left)  # NaN where a side is absent compares as False
        if len(wrong):
            swapped[pair.muscle] = tuple(int(k) + 1 for k in wrong)
    return swapped


def _beyond_midline(shapes: Mapping[int, LabelShape], classes: Sequence[LabelClass]) -> dict[str, BeyondMidline]:
    pairs = [(shapes[pair.right.value], shapes[pair.left.value]) for pair in side_pairs_of(classes)]
    return all_beyond_midline({c.name: (shapes[c.value], Side(c.side)) for c in classes if c.side}, pairs)


def _out_of_place(shapes: Mapping[int, LabelShape], classes: Sequence[LabelClass]) -> tuple[str, ...]:
    faults = misplaced({c.structure: shapes[c.value] for c in classes if c.structure is not None})
    return (scheme_text(faults, fitting_schemes(shapes)),) if faults else ()
