"""The series that results refer to: its files are read once, however many results there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paraspinal_nnunet.dicom.grid import with_one_geometry
from paraspinal_nnunet.dicom.headers import read_header
from paraspinal_nnunet.dicom.packages import get_pydicom
from paraspinal_nnunet.dicom.records import Frame, Header, Kind
from paraspinal_nnunet.dicom.results.source_headers import complete
from paraspinal_nnunet.dicom.splitting import POSITION_TOLERANCE_MM
from paraspinal_nnunet.errors import GeometryError, InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class SourceSeries:
    """A series as its results need it; its files may be gone.

    Attributes:
        frames: One per place, in the order of their places along the normal; of several at one place the first.
        datasets: Their files in this order, without voxels, with complete and legible headers; nobody changes them.
    """

    frames: tuple[Frame, ...]
    datasets: tuple["Dataset", ...]

    @property
    def header(self) -> Header:
        """Of the first file."""
        return self.frames[0].header

    @classmethod
    def of(cls, source: "SourceSeries | Sequence[Path]") -> "SourceSeries":
        """Read the files of a series, unless that was done.

        Args:
            source: The files: single-frame files in any order, or one enhanced file.

        Raises:
            InputError: No files of one series, or headers that nothing can refer to.
            GeometryError: Files that do not say where they lie.
            SetupError: The extra ``[dicom]`` is not installed.
        """
        if isinstance(source, SourceSeries):
            return source
        found = [_read(Path(path)) for path in source]
        datasets = {frames[0].header.path: dataset for dataset, frames in found}
        ordered = _ordered([frame for _, frames in found for frame in frames])
        first_of = {frame.header.path: frame for frame in reversed(ordered)}
        paths = dict.fromkeys(frame.header.path for frame in ordered)
        with get_pydicom().config.disable_value_validation():
            for path in paths:
                complete(datasets[path], first_of[path])
        return cls(tuple(ordered), tuple(datasets[path] for path in paths))


def _read(path: Path) -> "tuple[Dataset, list[Frame]]":
    found = read_header(path, path.name)
    if found is None or found[1][0].header.kind is not Kind.IMAGE:
        raise InputError(f"{path}: is no DICOM image; give the files of the series that was segmented")
    for frame in found[1]:
        if frame.position_mm is None or frame.orientation is None or frame.pixel_spacing_mm is None:
            raise GeometryError(f"{path}: {frame.shown} does not say where it lies; results need the original series")
    return found


def _ordered(found: Sequence[Frame]) -> list[Frame]:
    if not found:
        raise InputError("a DICOM result needs the files of the series that was segmented, and none were given")
    first = found[0]
    series = {frame.header.series_uid for frame in found}
    references = {frame.header.frame_of_reference_uid for frame in found}
    if len(series) > 1 or len(references) > 1:
        raise InputError(f"{first.header.path}: {len(series)} series were given together; give the files of one")
    if not first.header.frame_of_reference_uid:
        raise InputError(f"{first.header.path}: has no FrameOfReferenceUID, so that no result could say where it lies")
    if len({frame.header.path for frame in found}) > 1 and any(frame.header.frames > 1 for frame in found):
        raise InputError(f"{first.header.path}: several multi-frame files make no single source; give one of them")
    normal = np.cross(first.orientation[:3], first.orientation[3:])  # type: ignore[index]
    places = np.array([frame.position_mm for frame in found]) @ normal
    order = np.argsort(places, kind="stable")
    kept = [order[0]]
    for n in order[1:]:
        if places[n] - places[kept[-1]] > POSITION_TOLERANCE_MM:
            kept.append(n)
    return with_one_geometry([found[n] for n in kept])
