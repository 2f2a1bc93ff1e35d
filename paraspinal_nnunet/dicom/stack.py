"""One DICOM stack as a volume on a grid, its slices sorted by place and checked, never by file name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet.dicom.grid import slice_grid
from paraspinal_nnunet.dicom.records import Frame, Kind, Series
from paraspinal_nnunet.dicom.selection_rules import is_fat_suppressed
from paraspinal_nnunet.dicom.voxels import check_grey, read_voxels
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.volume import Volume


@dataclass(frozen=True)
class StackedImage:
    """A series as an image.

    Attributes:
        volume: (column, row, slice) voxels and their affine to RAS+; rescaled, else as stored.
        acquisition: The acquisition, fit for JSON, without anything of the patient, the place, the time or any UID.
        source_datasets: The files, in the order of the slices.
        frame_order: Of one multi-frame file, which of its frames each slice is, from 0; () for several files.
        frame_of_reference_uid: What the coordinates refer to; '' where the header does not say.
    """

    volume: Volume
    acquisition: Mapping[str, Any]
    source_datasets: tuple[Path, ...]
    frame_of_reference_uid: str = ""
    frame_order: tuple[int, ...] = ()


def read_stack(series: Series, *, name: str | None = None) -> StackedImage:
    """Read a series.

    Args:
        series: As `find_series` or `select_in_study` has it.
        name: What messages call it; None for its number and description.

    Raises:
        InputError: No images, colour, a mosaic, voxels that are damaged or cannot be decoded.
        GeometryError: Slices that make no regular grid; see `grid.slice_grid`.
    """
    called = name or series.name
    return _stacked(series, called, partial(read_voxels, name=called))


def read_grid(series: Series, *, name: str | None = None) -> StackedImage:
    """As `read_stack`, without its voxels: all are 0. Enough for labels that are to be laid on the image."""
    return _stacked(series, name or series.name, _no_voxels)


def _stacked(series: Series, called: str, voxels: Callable[[Sequence[Frame]], np.ndarray]) -> StackedImage:
    if series.kind is not Kind.IMAGE:
        raise InputError(f"{called}: holds no image ({series.header.sop_class}); choose another series")
    check_grey(series.frames, called)
    grid = slice_grid(series.frames, called)
    array = voxels(grid.frames)
    acquisition = dict(series.acquisition)
    remarks: tuple[str, ...] = ()
    if any(f.header.photometric == "MONOCHROME1" for f in grid.frames):
        acquisition["photometric"] = "MONOCHROME1, turned into MONOCHROME2"
        remarks = ("MONOCHROME1, where low values are bright: the values are turned, so that high ones are",)
    if is_fat_suppressed(series):
        remarks += ("fat is suppressed, so that thresholds do not find it: fat fractions of this scan say nothing",)
    return StackedImage(
        volume=Volume(array, grid.affine, remarks),
        acquisition=acquisition,
        source_datasets=tuple(dict.fromkeys(f.header.path for f in grid.frames)),
        frame_of_reference_uid=series.header.frame_of_reference_uid,
        frame_order=tuple(f.index for f in grid.frames) if len(series.files) == 1 else (),
    )


def _no_voxels(frames: Sequence[Frame]) -> np.ndarray:
    return np.broadcast_to(np.uint8(0), (frames[0].columns, frames[0].rows, len(frames)))
