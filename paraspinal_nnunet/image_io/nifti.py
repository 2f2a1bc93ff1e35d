"""NIfTI files in and out: whole, three-dimensional, in mm, with a known left and right, or refused in one line.

Arrays are in the file's own order (i, j, k); see `geometry` beside this module for the affines that go with them.
"""

import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.image_io.nibabel_alone import nib, volumeutils
from paraspinal_nnunet.image_io.nifti_header import NiftiHeader, affine_mm, parse_header
from paraspinal_nnunet.image_io.volume import Volume, check_finite, plain_numbers, with_integers
from paraspinal_nnunet.utils.guards import guarded

try:
    from isal import isal_zlib as inflate  # several times as fast
except ImportError:  # an environment made before it was needed
    inflate = zlib  # type: ignore[misc]

_HEADER_BYTES = 540
"""Of the longer header, NIfTI-2's."""

_GZIP_MAGIC = b"\x1f\x8b"
_PACKED_PIECE, _PIECE = 1 << 16, 1 << 18
_MOST_RATIO = 1032
"""Deflate packs no byte into less. Source: zlib's technical notes, 'Maximum Compression Factor'."""

_SLACK = 1 << 20
"""Bytes behind the voxels that a file may have; programs pad."""


def read_image(path: Path) -> Volume:
    """Read a scan.

    scl_slope and scl_inter are applied; trailing axes of length one are dropped; integers keep their type, other
    numbers become float32.

    Args:
        path: A .nii or .nii.gz file, NIfTI-1 or -2.

    Raises:
        InputError: Missing, damaged, truncated, no NIfTI, not 3D, more than one channel, NaN or infinite voxels.
        GeometryError: No orientation, contradicting orientations or voxel sizes, sheared or degenerate axes, negative
            voxel sizes, unknown unit.
    """
    volume = read_volume(Path(path))
    check_finite(volume.array, path)
    return volume


def read_volume(path: Path, *, allow_shear: bool = False) -> Volume:
    """As `read_image`, whatever the voxels' values are.

    Args:
        path: A .nii or .nii.gz file, NIfTI-1 or -2.
        allow_shear: See `check_axes`.
    """
    with guarded(path):
        header, content = _read(path)
        affine, remarks = affine_mm(header, path, allow_shear=allow_shear)
        return Volume(_voxels(header, content), affine, remarks)


def read_header(path: Path) -> NiftiHeader:
    """The header alone, for checks of many files: the voxels are not read.

    Raises:
        InputError: Missing, damaged, no NIfTI, or not one 3D volume of one channel.
    """
    with guarded(path), path.open("rb") as file:
        start = file.read(_PACKED_PIECE)
        if start.startswith(_GZIP_MAGIC):
            start = inflate.decompressobj(wbits=31).decompress(start, _HEADER_BYTES)
        return parse_header(start, path)


def read_labels(path: Path) -> Volume:
    """Read a label map of whatever scheme; see `with_integers`.

    Raises:
        InputError: As `read_image`.
        GeometryError: As `read_image`.
        LabelError: Values that are not integers.
    """
    return with_integers(read_volume(Path(path)), path)


def write_image(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write a scan with its type and grid, in mm, sform and qform both set to `affine`.

    Args:
        path: Ends in .nii or .nii.gz.
        array: (i, j, k), an integer type that NIfTI has or float32.
        affine: Voxel to mm in RAS+.
    """
    image = nib.Nifti1Image(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    nib.save(image, path)


def write_labels(path: Path, labels: np.ndarray, affine: np.ndarray) -> None:
    """Write a label map as uint8.

    Args:
        path: Ends in .nii or .nii.gz.
        labels: (i, j, k) integers in 0..255.
        affine: Voxel to mm in RAS+.

    Raises:
        LabelError: A value that uint8 cannot hold.
    """
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high > np.iinfo(np.uint8).max:
        raise LabelError(f"{path}: label values {low}..{high} do not fit 0..255")
    write_image(path, labels.astype(np.uint8), affine)


def _voxels(header: NiftiHeader, content: np.ndarray) -> np.ndarray:
    """(i, j, k), a view of the content where nothing has to be changed."""
    stored = content[header.offset : header.size].view(header.dtype)
    slope, intercept = header.checked.get_slope_inter()
    if slope is not None:
        stored = volumeutils.apply_read_scaling(stored, np.asanyarray(slope), np.asanyarray(intercept))
    return plain_numbers(stored).reshape(header.shape, order="F")


def _read(path: Path) -> tuple[NiftiHeader, np.ndarray]:
    """The header, and the unpacked file up to the last voxel as bytes; no more memory is taken than it states."""
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
        if not start:
            raise InputError(f"{path}: is empty")
        if start.startswith(_GZIP_MAGIC):
            return _unpacked(start + file.read(), path)
        header = parse_header(start, path)
        _check_size(path.stat().st_size, header.size, path)
        file.seek(0)
        content = np.fromfile(file, np.uint8, header.size)
    _check_size(len(content), header.size, path)
    return header, content


def _unpacked(packed: bytes, path: Path) -> tuple[NiftiHeader, np.ndarray]:
    pieces, start = _gunzip(packed), b""
    while len(start) < _HEADER_BYTES and (piece := next(pieces, b"")):
        start += piece
    header = parse_header(start, path)
    _check_size(len(packed) * _MOST_RATIO, header.size, path)
    content, end = np.empty(header.size, np.uint8), 0
    for piece in chain([start], pieces):  # to the end: this alone notices a wrong checksum
        kept = piece[: max(0, header.size - end)]
        content[end : end + len(kept)] = np.frombuffer(kept, np.uint8)
        end += len(piece)
        if end > header.size + _SLACK:
            raise InputError(f"{path}: unpacks to more than its header states; copy or export it again")
    _check_size(end, header.size, path)
    return header, content


def _gunzip(packed: bytes) -> Iterator[bytes]:
    """What gzip members hold, in pieces of bounded size."""
    view, place, feed = memoryview(packed), 0, b""
    inflater = inflate.decompressobj(wbits=31)
    while True:
        if not feed:
            feed = view[place : place + _PACKED_PIECE].tobytes()
            place += len(feed)
        if not feed:
            raise EOFError("the compressed data ends too early")
        if piece := inflater.decompress(feed, _PIECE):
            yield piece
        feed = inflater.unconsumed_tail
        if inflater.eof:
            place -= len(inflater.unused_data)
            if not view[place:].tobytes().strip(b"\0"):
                return
            inflater, feed = inflate.decompressobj(wbits=31), b""


def _check_size(found: int, stated: int, path: Path) -> None:
    if found < stated:
        raise InputError(
            f"{path}: truncated or damaged (its header states {stated} bytes and the file holds at most {found}); copy "
            "or export it again"
        )
