"""Voxels of slices, decoded and rescaled; integers stay integers wherever the header's scaling allows."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paraspinal_nnunet.dicom.packages import get_pydicom
from paraspinal_nnunet.dicom.records import Frame
from paraspinal_nnunet.dicom.sizes import read_dicom
from paraspinal_nnunet.errors import InputError, ParaspinalError, one_line, reason_of
from paraspinal_nnunet.image_io.limits import check_voxels
from paraspinal_nnunet.utils.processes.child import Child, CrashedError
from paraspinal_nnunet.utils.progress import progress

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DECODERS = "pip install python-gdcm pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"

DECODER = Child(__name__, "decode")
"""GDCM and its like are native code."""

_SAFE_INTEGER_TYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32")
"""In this order of preference; NIfTI has them all."""


def read_voxels(frames: Sequence[Frame], name: str) -> np.ndarray:
    """Voxels of sorted slices.

    RescaleSlope and RescaleIntercept are applied to every slice by itself; where all are 1 and a whole number the type
    is the smallest integer type that holds the values stored, else float32.

    MONOCHROME1, where low values are bright, is turned into MONOCHROME2 within the stored range of values.

    Args:
        frames: Sorted slices of one size.
        name: The series, for messages.

    Returns:
        (columns, rows, slices).

    Raises:
        InputError: An encoding that nothing installed can decode, voxels that are missing, damaged or more than
            `limits.max_voxels`, a scaling that makes all of them one value.
    """
    check_voxels((frames[0].columns, frames[0].rows, len(frames)), name)
    for frame in frames:
        if not abs(frame.slope) > 0 or frame.intercept != frame.intercept:
            raise InputError(f"{frame.shown}: RescaleSlope or RescaleIntercept is 0 or no number; export it again")
    whole = all(f.slope == 1 and f.intercept == int(f.intercept) for f in frames)
    slices: list[np.ndarray | None] = [None] * len(frames)
    for place, plane in progress(_planes(frames), what="reading slices", total=len(frames), unit="slice"):
        frame = frames[place]
        if plane.shape != (frame.rows, frame.columns):
            raise InputError(f"{frame.shown}: holds voxels of shape {plane.shape}, not {(frame.rows, frame.columns)}")
        slices[place] = _rescaled(plane, frame, whole=whole)
    volume = np.stack([s for s in slices if s is not None], axis=-1).transpose(1, 0, 2)
    return _smallest(volume) if whole and volume.dtype.kind in "iu" else volume.astype(np.float32)


def check_grey(frames: Sequence[Frame], name: str) -> None:
    """Refuse what is no stack of grey values whatever its geometry.

    Args:
        frames: Slices.
        name: The series, for messages.

    Raises:
        InputError: Colour pictures, or a Siemens mosaic.
    """
    for header in {id(f.header): f.header for f in frames}.values():
        if header.samples_per_pixel != 1 or not header.photometric.startswith("MONOCHROME"):
            raise InputError(
                f"{name}: holds colour pictures ({header.photometric or 'unknown'}, {header.samples_per_pixel} values "
                "per pixel), not grey values; choose the original series"
            )
    if any("MOSAIC" in f.image_type for f in frames):
        raise InputError(
            f"{name}: is a Siemens mosaic, all slices in one picture; export it as separate slices or convert it with "
            "dcm2niix"
        )


def _planes(frames: Sequence[Frame]) -> Iterator[tuple[int, np.ndarray]]:
    """(place among `frames`, stored voxels (rows, columns)), file by file."""
    by_file: dict[Path, list[int]] = defaultdict(list)
    for place, frame in enumerate(frames):
        by_file[frame.header.path].append(place)
    for places in by_file.values():
        yield from zip(places, _decoded([frames[n] for n in places]), strict=True)


def _decoded(frames: Sequence[Frame]) -> list[np.ndarray]:
    """Stored voxels of frames of one file."""
    header = frames[0].header
    return decoded(header.path, header.shown, header.transfer_syntax, [frame.index for frame in frames])


def decoded(path: Path, shown: str, transfer_syntax: str, indices: Sequence[int] | None) -> list[np.ndarray]:
    """Stored voxels of a file; what is compressed is decoded in a process that may die of it.

    Args:
        path: The file.
        shown: What messages call it.
        transfer_syntax: How it is encoded.
        indices: Which frames, from 0; None for all.

    Returns:
        (rows, columns) of each frame.

    Raises:
        InputError: Voxels that are missing, damaged or encoded as nothing installed can decode.
    """
    if not _is_compressed(transfer_syntax):
        return decode(path, shown, transfer_syntax, indices)
    try:
        planes: list[np.ndarray] = DECODER.call(path.absolute(), shown, transfer_syntax, indices)
    except CrashedError as error:
        raise InputError(f"{shown}: voxels are damaged ({error}); copy the file again") from error
    return planes


def decode(path: Path, shown: str, transfer_syntax: str, indices: Sequence[int] | None) -> list[np.ndarray]:
    """As `decoded`, in this process."""
    pydicom = get_pydicom()
    try:
        with pydicom.config.disable_value_validation():
            dataset = read_dicom(path, force=True)
            dataset.file_meta.TransferSyntaxUID = transfer_syntax
            if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                raise InputError(f"{shown}: holds no voxels")
            _check_bits(dataset)
            return [_bright(plane, dataset) for plane in _stored(dataset, shown, transfer_syntax, indices)]
    except ParaspinalError:
        raise
    except Exception as error:  # whatever a decoder meets in a file is that file's fault
        reason = one_line(error) if isinstance(error, ValueError | RuntimeError) else reason_of(error)
        raise InputError(f"{shown}: voxels are damaged or incomplete ({reason}); copy the file again") from error


def _stored(
    dataset: "Dataset", shown: str, transfer_syntax: str, indices: Sequence[int] | None
) -> Iterator[np.ndarray]:
    if not _is_decodable(transfer_syntax):
        encoding = get_pydicom().uid.UID(transfer_syntax).name
        raise InputError(f"{shown}: voxels are encoded as {encoding}, for which no decoder is installed; {_DECODERS}")
    from pydicom.pixels import iter_pixels

    yield from iter_pixels(dataset, indices=indices, raw=True)


def _check_bits(dataset: "Dataset") -> None:
    """Refuse values kept in the upper bits of their words: the decoders take the lower ones, whatever lies there."""
    words = ("BitsStored", "HighBit", "BitsAllocated")
    stored, highest, allocated = (int(dataset.get(keyword) or 0) for keyword in words)
    if 0 < stored <= highest < allocated:
        raise ValueError(f"HighBit is {highest} of {stored} bits, so that values are uncertain")


def _bright(plane: np.ndarray, dataset: "Dataset") -> np.ndarray:
    """Stored voxels as MONOCHROME2 has them: what MONOCHROME1 shows bright is high. Source: DICOM PS3.3 C.7.6.3.1.2."""
    if dataset.PhotometricInterpretation != "MONOCHROME1":
        return plane
    if plane.dtype.kind == "f":
        return -plane
    highest = (1 << int(dataset.BitsStored)) - 1
    if plane.dtype.kind == "u" and plane.max(initial=0) > highest:
        raise ValueError(f"values above {highest} in {dataset.BitsStored} bits, so that MONOCHROME1 cannot be turned")
    return np.invert(plane) if plane.dtype.kind == "i" else (highest - plane.astype(np.int64)).astype(plane.dtype)


def _is_compressed(transfer_syntax: str) -> bool:
    uid = get_pydicom().uid.UID(transfer_syntax)
    return bool(transfer_syntax and uid.is_transfer_syntax and uid.is_encapsulated)


def _is_decodable(transfer_syntax: str) -> bool:
    pydicom = get_pydicom()
    uid = pydicom.uid.UID(transfer_syntax)
    if not transfer_syntax or not uid.is_transfer_syntax or not uid.is_compressed:
        return True
    from pydicom.pixels import get_decoder

    try:
        return bool(get_decoder(uid).is_available)
    except NotImplementedError:
        return False


def _rescaled(plane: np.ndarray, frame: Frame, *, whole: bool) -> np.ndarray:
    if frame.slope == 1 and frame.intercept == 0:
        return plane
    if whole:
        return plane.astype(np.int64) + int(frame.intercept)
    return (plane.astype(np.float64) * frame.slope + frame.intercept).astype(np.float32)


def _smallest(volume: np.ndarray) -> np.ndarray:
    """Native byte order in the stored type, or where rescaling widened it, the first type that fits."""
    if volume.dtype.itemsize < 8:
        return volume.astype(volume.dtype.newbyteorder("="), copy=False)
    low, high = int(volume.min()), int(volume.max())
    for name in _SAFE_INTEGER_TYPES:
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max and limits.bits > 8:
            return volume.astype(name)
    return volume.astype(np.float32)
