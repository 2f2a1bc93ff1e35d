"""Voxels as MetaImage and NRRD files keep them, read only after their header has been held against the file's size.

Headers are read here rather than by ITK, which believes them: a wrong number of dimensions ends its process, and a data
file may be any file of the machine.
"""

import bz2
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.image_io.volume import plain_numbers

Encoding = Literal["raw", "deflate", "bzip2", "text"]

HEADER_BYTES = 1 << 20
AT_THE_END = -1
_MOST_RATIO: dict[Encoding, float] = {"raw": 1, "deflate": 1032, "bzip2": 1 << 17, "text": 8}
"""Bytes of voxels that a byte of the file can stand for. Sources: zlib's technical notes; blocks of bzip2 hold up to
900 kB of run-length coded text and take some tens of bytes; a number of 8 bytes and its separator take two."""

MM_PER_UNIT = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres", "?", "???", ""), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometers", "micrometre"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-6),
    **dict.fromkeys(("in", "inch", "inches"), 25.4),
}
"""Units of length by name; '?' and '' are unknown and taken as mm, as all readers do."""


@dataclass(frozen=True)
class StoredVolume:
    """What a header says of one 3D volume.

    Attributes:
        shape: Voxels along i, j, k; i runs fastest.
        affine: To mm in RAS+.
        dtype: Of the stored numbers, with their byte order.
        encoding: How they are packed.
        data: The file that holds them.
        offset: Byte at which they begin, or `AT_THE_END`.
        remarks: What was odd, and how it was understood.
        value_names: Value -> name, where the header has them.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    dtype: np.dtype[Any]
    encoding: Encoding
    data: Path
    offset: int
    remarks: tuple[str, ...] = ()
    value_names: Mapping[int, str] = field(default_factory=dict)


def header_text(path: Path) -> str:
    """The first bytes of a file as text; bytes that are no text stand for themselves."""
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    if not start:
        raise InputError(f"{path}: is empty")
    return start.decode("latin-1")


def data_file(path: Path, name: str, *, own: tuple[str, ...]) -> Path:
    """The file that a header names as that of its voxels.

    Args:
        path: The header's file.
        name: As the header has it.
        own: Endings of formats that hold their own voxels.

    Raises:
        InputError: Elsewhere than in the header's folder, several files, or any other file for a format that holds
            its own.
    """
    if path.name.lower().endswith(own):
        raise InputError(f"{path}: names another file, {name!r}, as that of its voxels; save it as one whole file")
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(f"{path}: keeps its voxels in several files ({name!r}); save it as one whole file")
    if not name or name in (".", "..") or any(mark in name for mark in "/\\:\0"):
        raise InputError(f"{path}: names a data file outside its own folder, {name!r}; put it beside the header")
    data = path.with_name(name.encode("latin-1").decode("utf-8", "surrogateescape"))
    if not data.is_file():
        raise InputError(f"{path}: its data file {name!r} is missing; put it beside the header")
    return data


def mm_per_unit(name: str, path: Path) -> float:
    """Millimetres in a unit of length.

    Raises:
        GeometryError: Not known.
    """
    try:
        return MM_PER_UNIT[name.strip().lower()]
    except KeyError as error:
        raise GeometryError(f"{path}: header gives an unknown unit of length, {name!r}; set it to mm") from error


def load_voxels(stored: StoredVolume, path: Path) -> np.ndarray:
    """Read the voxels.

    Args:
        stored: Where and how they lie.
        path: The header's file, for messages.

    Returns:
        (i, j, k), a number type of `plain_numbers`.

    Raises:
        InputError: Fewer than stated, or damaged.
    """
    count = math.prod(stored.shape)
    size = count * stored.dtype.itemsize
    start = stored.data.stat().st_size - size if stored.offset == AT_THE_END else stored.offset
    present = stored.data.stat().st_size - start
    if start < 0 or present * _MOST_RATIO[stored.encoding] < size:
        raise InputError(f"{path}: truncated (its header states {size} bytes of voxels); copy or export it again")
    if stored.encoding == "raw":
        array = np.fromfile(stored.data, stored.dtype, count, offset=start)
    else:
        with stored.data.open("rb") as file:
            file.seek(start)
            packed = file.read()
        if stored.encoding == "text":
            array = np.array(packed.split(maxsplit=count)[:count], dtype=np.float64).astype(stored.dtype)
        else:
            array = np.frombuffer(_unpacked(packed, stored.encoding, size), stored.dtype)
    if len(array) != count:
        raise InputError(f"{path}: holds {len(array)} of the {count} voxels that its header states; export it again")
    return plain_numbers(array).reshape(stored.shape, order="F")


def _unpacked(packed: bytes, encoding: Encoding, size: int) -> bytearray:
    """So many bytes and none more; the end is reached, so that checksums count."""
    inflater = bz2.BZ2Decompressor() if encoding == "bzip2" else zlib.decompressobj(wbits=47)
    content = bytearray(inflater.decompress(packed, size + 1))
    rest = b"" if encoding == "bzip2" else getattr(inflater, "unconsumed_tail", b"")
    if not inflater.eof and len(content) == size:
        content += inflater.decompress(rest, 1)
    if not inflater.eof or len(content) > size:
        raise ValueError(f"the packed voxels are not the {size} bytes that the header states")
    return content
