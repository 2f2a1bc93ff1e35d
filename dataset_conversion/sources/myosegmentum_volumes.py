"""Voxels of MyoSegmenTUM: DICOM images, the masks on their grid, and LPM's labels at the place they were cut from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paraspinal_nnunet.anatomy import BY_KEY, LABEL_SCHEMES, Muscle, Side
from paraspinal_nnunet.dataset_conversion.case import Case
from paraspinal_nnunet.dataset_conversion.images.slice_match import find_slices, slices_of
from paraspinal_nnunet.dataset_conversion.labels.masks import MaskCase, merge_masks
from paraspinal_nnunet.dataset_conversion.labels.translation import from_scheme
from paraspinal_nnunet.dicom import Kind, Series, StackedImage, find_series, read_grid, read_stack
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError
from paraspinal_nnunet.image_io.checks import match_grid
from paraspinal_nnunet.image_io.geometry import grid_difference, to_ras
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.image_io.volume import Volume

SAME_MUSCLES_DICE = 0.5
"""LPM's multifidus and erector spinae together are MyoSegmenTUM's erector spinae drawn anew; below this they lie on
different places."""

PSOAS_OVERLAP = 0.01
"""Share of psoas major that LPM's muscles may claim; such voxels are theirs."""

_BACK = tuple(BY_KEY[f"{Muscle.ERECTOR_SPINAE_AND_MULTIFIDUS.value}_{side.value}"].label for side in Side)
_PSOAS = tuple(BY_KEY[f"{Muscle.PSOAS_MAJOR.value}_{side.value}"].label for side in Side)


@dataclass(frozen=True)
class MyoCase(MaskCase):
    """A subject of the database.

    Attributes:
        cut: LPM's image, on whose grid `label` is drawn; None for the database alone.
    """

    cut: Path | None = None


def read_dixon(case: Case, *, resample: bool) -> tuple[Volume, ...]:
    """The case's channels; with LPM's labels, cut to the slices of these.

    Raises:
        InputError: A file that is no stack of slices.
        GeometryError: LPM's image is no cut-out of the first channel and `resample` is off.
    """
    images = tuple(_stack(path).volume for path in case.images)
    if not isinstance(case, MyoCase) or case.cut is None:
        return images
    first, count = _place(case, images[0], resample=resample)[1:]
    return tuple(slices_of(image, first, count) for image in images)


def read_drawn(case: Case) -> Volume:
    """The database's own labels, in canonical values."""
    return _drawn(case, read_grid_of(case.image))


def read_merged(case: Case, *, resample: bool) -> Volume:
    """LPM's multifidus and erector spinae with the database's psoas major, on LPM's slices.

    Raises:
        GeometryError: LPM's image is no cut-out and `resample` is off, or masks on another grid.
        LabelError: The two do not show the same muscles in one place.
    """
    if not isinstance(case, MyoCase):
        raise InputError(f"{case.image}: was not found as a case of MyoSegmenTUM")
    image = _stack(case.image)
    lpm, first, count = _place(case, image.volume, resample=resample)
    drawn = slices_of(_drawn(case, image), first, count)
    back, merged = np.isin(drawn.array, _BACK), lpm.array.copy()
    both = np.count_nonzero(back & (merged != 0))
    dice = 2 * both / max(1, np.count_nonzero(back) + np.count_nonzero(merged))
    if dice < SAME_MUSCLES_DICE:
        raise LabelError(
            f"{case.label}: overlaps MyoSegmenTUM's erector spinae by a Dice of {dice:.2f} only (at least "
            f"{SAME_MUSCLES_DICE:g} is expected); are both of one subject?"
        )
    psoas = np.isin(drawn.array, _PSOAS)
    claimed = np.count_nonzero(psoas & (merged != 0))
    if claimed > PSOAS_OVERLAP * np.count_nonzero(psoas):
        raise LabelError(f"{case.label}: claims {claimed} voxels of psoas major; correct the masks")
    np.copyto(merged, drawn.array, where=psoas & (merged == 0))
    return Volume(merged, drawn.affine)


def read_grid_of(path: Path) -> StackedImage:
    """The grid of a DICOM image, without its voxels."""
    return read_grid(_series(path), name=str(path))


def _stack(path: Path) -> StackedImage:
    return read_stack(_series(path), name=str(path))


def _series(path: Path) -> Series:
    found = [s for s in find_series(path) if s.kind is Kind.IMAGE]
    if len(found) != 1:
        raise InputError(f"{path}: holds {len(found)} image series; one is needed")
    return found[0]


def _place(case: MyoCase, whole: Volume, *, resample: bool) -> tuple[Volume, int, int]:
    """LPM's labels in canonical values on some slices of the scan (in RAS), the first of these and their number."""
    if case.cut is None:
        raise InputError(f"{case.image}: has no labels of LPM")
    part, labels = read_image(case.cut), read_labels(case.label)
    difference = grid_difference(labels.shape, labels.affine, part.shape, part.affine)
    if difference is not None:
        raise GeometryError(f"{case.label}: lies on another grid than {case.cut} ({difference})")
    canonical = from_scheme(LABEL_SCHEMES["lpm"]).canonical(labels.array, str(case.label))
    try:
        first = find_slices(part, whole, str(case.cut))
    except GeometryError as error:
        if not resample:
            raise GeometryError(f"{error}; --resample-labels goes by the headers instead") from error
        return _resampled(Volume(canonical, labels.affine), whole, str(case.label))
    array, _ = to_ras(canonical, labels.affine)
    there = slices_of(whole, first, array.shape[2])
    return Volume(np.ascontiguousarray(array), there.affine), first, array.shape[2]


def _resampled(labels: Volume, whole: Volume, name: str) -> tuple[Volume, int, int]:
    array, affine = to_ras(whole.array, whole.affine)
    there, _ = match_grid(labels, Volume(array, affine), name, resample=True)
    labelled = np.flatnonzero(there.array.any(axis=(0, 1)))
    if not len(labelled):
        raise GeometryError(f"{name}: lies outside the scan by its header")
    first, count = int(labelled[0]), int(labelled[-1] - labelled[0]) + 1
    return slices_of(there, first, count), first, count


def _drawn(case: Case, image: StackedImage) -> Volume:
    """The database's masks, merged, on the image's grid.

    Some tools drop the position when they read multi-frame DICOM: masks whose origin is zero and whose axes are the
    scanner's are laid voxel by voxel on the frames in the order of the file.
    """
    if not isinstance(case, MaskCase):
        raise InputError(f"{case.image}: was not found as a case of MyoSegmenTUM")
    ((_, masks),) = case.masks.items()
    drawn = merge_masks(masks)
    volume = image.volume
    if not image.frame_order or drawn.affine[:3, 3].any() or drawn.shape != volume.shape:
        return drawn
    plain = np.diag([-drawn.spacing_mm[0], -drawn.spacing_mm[1], drawn.spacing_mm[2], 1.0])
    spacing = np.array(drawn.spacing_mm) / volume.spacing_mm
    if not np.allclose(drawn.affine, plain) or np.abs(spacing - 1).max() > 1e-3:
        return drawn
    return Volume(drawn.array[:, :, list(image.frame_order)], volume.affine)
