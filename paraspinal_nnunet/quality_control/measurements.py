"""What is measured of one case of a data set, in plain numbers fit for tables; worker processes do it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from nibabel.affines import obliquity

from paraspinal_nnunet.errors import GeometryError, InputError, one_line
from paraspinal_nnunet.image_io.checks import check_image, voxel_hash
from paraspinal_nnunet.image_io.geometry import axis_codes, grid_difference, spacing_mm, to_ras
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.shapes import LabelShape, Stack, measure_shapes
from paraspinal_nnunet.quality_control.classes import LabelClass, side_pairs_of
from paraspinal_nnunet.quality_control.dataset import CaseFiles
from paraspinal_nnunet.quality_control.fingerprint import Fingerprint, fingerprint

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class ChannelMeasurements:
    """The intensities of one image file, over all voxels.

    Attributes:
        minimum: Smallest value.
        percentiles: Percentile of `PERCENTILES` -> value.
        maximum: Largest value.
        mean: Arithmetic mean.
        sd: Standard deviation (of all voxels, ddof 0).
        zero_share: Share of voxels that are exactly 0.
        number_type: As stored.
        sha256: Of the voxels, whatever their stored orientation and number type.
    """

    minimum: float
    percentiles: Mapping[int, float]
    maximum: float
    mean: float
    sd: float
    zero_share: float
    number_type: str
    sha256: str


@dataclass(frozen=True)
class ClassMeasurements:
    """One class in one label map. Slices are axial, counted from 1 at the feet.

    Attributes:
        value: In the label map.
        voxels: How many it has; all else is 0, NaN or empty where it has none.
        volume_ml: Their volume.
        first_slice: The lowest slice that holds it, 0 where there is none.
        last_slice: The highest.
        length_mm: From the lowest to the highest slice, both included.
        area_cm2: Mean cross-section: volume by length.
        x_mm: Centroid along the patient's axis to the right (RAS x).
        gaps: Slices between the lowest and the highest that lack it.
        islands: Connected components beyond the largest (voxels that share a face, edge or corner are connected, and
            so are slices on both sides of a gap).
        island_voxels: Voxels of all of those.
        island_ml: Their volume.
        border_voxels: Voxels in the outermost rows and columns of the image; those of the lowest and highest slice do
            not count, since muscles go on beyond them.
    """

    value: int
    voxels: int
    volume_ml: float
    first_slice: int
    last_slice: int
    length_mm: float
    area_cm2: float
    x_mm: float
    gaps: tuple[int, ...]
    islands: int
    island_voxels: int
    island_ml: float
    border_voxels: int


@dataclass(frozen=True)
class LabelMeasurements:
    """One label map.

    Attributes:
        classes: Of the data set, by value.
        unknown: Values that dataset.json does not know -> voxels.
        labelled_slices: The lowest and the highest slice with any label, from 1 at the feet; (0, 0) where empty.
        labelled_mm: From the one to the other.
        empty_inside: Slices between them without any label.
        empty_outside: Number of slices below and above them.
        swapped_slices: Muscle -> slices in which its right class lies to the left of its left one.
        number_type: As stored.
        sha256: Of the voxels, whatever their stored orientation and number type.
        grid_difference: How its grid differs from the image's, or None.
    """

    classes: Mapping[int, ClassMeasurements]
    unknown: Mapping[int, int]
    labelled_slices: tuple[int, int]
    labelled_mm: float
    empty_inside: tuple[int, ...]
    empty_outside: tuple[int, int]
    swapped_slices: Mapping[str, tuple[int, ...]]
    number_type: str
    sha256: str
    grid_difference: str | None


@dataclass(frozen=True)
class CaseMeasurements:
    """One case.

    Attributes:
        case: Its id.
        subject: Whom it shows.
        shape: Voxels along the axes nearest to right, front and head.
        spacing_mm: Along the same axes.
        stored_axes: Orientation of the stored axes, e.g. ``'LPS'``.
        obliquity_deg: The largest angle between a stored axis and the patient's axis nearest to it.
        channels: Intensities, one entry per readable channel.
        labels: Or None where the label map is missing or unreadable.
        errors: Why files could not be read, or are no plausible axial scan; one line each.
        fingerprints: Fingerprints, as many as channels.
    """

    case: str
    subject: str
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    stored_axes: str = ""
    obliquity_deg: float = float("nan")
    channels: tuple[ChannelMeasurements, ...] = ()
    labels: LabelMeasurements | None = None
    errors: tuple[tuple[str, str], ...] = ()
    fingerprints: tuple[Fingerprint, ...] = field(default=(), repr=False)


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
        obliquity_deg=float(np.degrees(obliquity(image.affine)).max()),
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
