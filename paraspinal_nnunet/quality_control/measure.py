"""Measuring one case: the part of an inspection that runs in worker processes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from nibabel.affines import obliquity

from paraspinal_nnunet.dataset_conversion.images.checks import check_image, voxel_hash
from paraspinal_nnunet.errors import GeometryError, InputError, one_line
from paraspinal_nnunet.image_io.geometry import axis_codes, grid_difference, spacing_mm, to_ras
from paraspinal_nnunet.image_io.nifti import Volume
from paraspinal_nnunet.quality_control.classes import LabelClass
from paraspinal_nnunet.quality_control.dataset import CaseFiles
from paraspinal_nnunet.quality_control.fingerprint import Fingerprint, fingerprint
from paraspinal_nnunet.quality_control.measure_labels import label_facts
from paraspinal_nnunet.quality_control.measurements import PERCENTILES, CaseFacts, ChannelFacts
from paraspinal_nnunet.quality_control.volumes_io import read_any_image, read_any_labels


def measure_case(files: CaseFiles, *, classes: Sequence[LabelClass], ignored: int | None = None) -> CaseFacts:
    """Measure a case.

    One image is in memory at a time.

    Args:
        files: Its files.
        classes: Of the data set.
        ignored: The value of nnU-Net's 'ignore' label.

    Returns:
        The facts; a file that cannot be read becomes one of `CaseFacts.errors`.
    """
    facts = CaseFacts(files.case, files.subject)
    channels: list[ChannelFacts] = []
    prints: list[Fingerprint] = []
    errors: list[tuple[str, str]] = []
    grid: tuple[tuple[int, int, int], np.ndarray] | None = None
    for path in files.images:
        try:
            image = read_any_image(path)
        except InputError as error:
            errors.append(("unreadable", one_line(error)))
            continue
        channels.append(_channel_facts(image))
        prints.append(fingerprint(image))
        if grid is None:
            grid = (image.shape, image.affine)
            facts = _with_grid(facts, image)
            errors += _faults(image, files.case)
        elif difference := grid_difference(image.shape, image.affine, *grid):
            errors.append(("grid", f"{path.name} lies on another grid than the first channel ({difference})"))
        del image
    if files.labels is not None:
        try:
            labels = read_any_labels(files.labels)
            facts = replace(facts, labels=label_facts(labels, grid, classes, ignored))
        except InputError as error:
            errors.append(("unreadable", one_line(error)))
    return replace(facts, channels=tuple(channels), prints=tuple(prints), errors=tuple(errors))


def _with_grid(facts: CaseFacts, image: Volume) -> CaseFacts:
    array, ras = to_ras(image.array, image.affine)
    i, j, k = array.shape
    return replace(
        facts,
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


def _channel_facts(image: Volume) -> ChannelFacts:
    array = image.array
    percentiles = np.percentile(array, PERCENTILES)
    return ChannelFacts(
        minimum=float(array.min()),
        percentiles=dict(zip(PERCENTILES, map(float, percentiles), strict=True)),
        maximum=float(array.max()),
        mean=float(array.mean(dtype=np.float64)),
        sd=float(array.std(dtype=np.float64)),
        zero_share=1 - int(np.count_nonzero(array)) / array.size,
        number_type=str(array.dtype),
        sha256=voxel_hash(image),
    )
