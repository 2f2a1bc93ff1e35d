"""What the header of a MetaImage file (.mha, .mhd) says: where its voxels lie in the patient and in the file."""

import re
from pathlib import Path

import numpy as np

from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.image_io.geometry import affine_from_lps
from paraspinal_nnunet.image_io.raw_voxels import StoredVolume, data_file, header_text, mm_per_unit
from paraspinal_nnunet.image_io.volume import volume_shape

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LINE = re.compile(r"[ \t]*([^=:\n]+?)[ \t]*[=:][ \t]*([^\n]*?)[ \t\r]*\n")
_LAST = "elementdatafile"
_MOST_AXES = 8
UNIT_LENGTH_TOLERANCE = 0.01


def parse_metaimage(path: Path) -> StoredVolume:
    """Read and check a header.

    Raises:
        InputError: No MetaImage, not one 3D volume of one channel, voxels outside the header's folder.
        GeometryError: No orientation, origin or voxel size, or an unknown unit of length.
    """
    fields, end = _fields(header_text(path), path)
    sizes = tuple(int(n) for n in fields.get("dimsize", "").split())
    axes = int(fields.get("ndims", "0"))
    if not 1 <= axes <= _MOST_AXES or len(sizes) != axes:
        raise InputError(f"{path}: header states {axes} dimensions and the sizes {sizes}; export it again")
    shape = volume_shape(sizes, path)
    if fields.get("elementnumberofchannels", "1") != "1":
        raise InputError(f"{path}: has more than one channel; this needs one grey value")
    if (kind := _TYPES.get(fields.get("elementtype", "").upper())) is None:
        raise InputError(f"{path}: holds numbers of the type {fields.get('elementtype', 'unknown')!r}; export it again")
    big = _true(_first(fields, "binarydatabyteordermsb", "elementbyteordermsb") or "False")
    text = not _true(fields.get("binarydata", "True"))
    encoding = "text" if text else "deflate" if _true(fields.get("compresseddata", "False")) else "raw"
    own = fields[_LAST].upper() == "LOCAL"
    return StoredVolume(
        shape=shape,
        affine=_affine(fields, axes, path),
        dtype=np.dtype(f"{'>' if big else '<'}{kind}"),
        encoding=encoding,  # type: ignore[arg-type]
        data=path if own else data_file(path, fields[_LAST], own=(".mha",)),
        offset=end if own else _header_size(fields, path),
        remarks=() if _unit(fields) in ("mm", "?") else (f"header counts in {_unit(fields)}",),
    )


def _fields(text: str, path: Path) -> tuple[dict[str, str], int]:
    """Names in lower case -> values, and where the last line ends."""
    fields: dict[str, str] = {}
    place = 0
    while line := _LINE.match(text if text.endswith("\n") else f"{text}\n", place):
        name, place = line[1].lower(), line.end()
        if fields.get(name, line[2]) != line[2]:
            raise InputError(f"{path}: header states {line[1]} twice; export it again")
        fields[name] = line[2]
        if name == _LAST:
            return fields, place
    raise InputError(f"{path}: is no MetaImage file (no {'ElementDataFile' if fields else 'header'}); export it again")


def _affine(fields: dict[str, str], axes: int, path: Path) -> np.ndarray:
    matrix = _numbers(fields, ("transformmatrix", "rotation", "orientation"), axes * axes, "orientation", path)
    spacing = _numbers(fields, ("elementspacing", "elementsize"), axes, "voxel size", path)[:3]
    origin = _numbers(fields, ("offset", "position", "origin"), axes, "origin", path)[:3]
    direction = matrix.reshape(axes, axes)[:3, :3].T
    if np.abs(np.linalg.norm(direction, axis=0) - 1).max() > UNIT_LENGTH_TOLERANCE:
        raise GeometryError(f"{path}: header gives axes that are no unit vectors; correct the header")
    if not spacing.min() > 0:
        raise GeometryError(f"{path}: header gives the voxel sizes {spacing.tolist()}; correct the header")
    to_mm = mm_per_unit(_unit(fields), path)
    return affine_from_lps(direction, spacing * to_mm, origin * to_mm)


def _numbers(fields: dict[str, str], names: tuple[str, ...], count: int, what: str, path: Path) -> np.ndarray:
    text = _first(fields, *names)
    if text is None:
        hint = ", so left and right are unknown" if what == "orientation" else ""
        raise GeometryError(f"{path}: header gives no {what}{hint}; export it again")
    numbers = np.array([float(n) for n in text.split()])
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise GeometryError(f"{path}: header gives the {what} {text[:60]!r}, not {count} numbers; correct the header")
    return numbers


def _unit(fields: dict[str, str]) -> str:
    return fields.get("distanceunits", "mm").strip().lower() or "?"


def _header_size(fields: dict[str, str], path: Path) -> int:
    size = int(fields.get("headersize", "0"))
    if size < -1:
        raise InputError(f"{path}: header states a header of {size} bytes; export it again")
    return size


def _first(fields: dict[str, str], *names: str) -> str | None:
    return next((fields[name] for name in names if name in fields), None)


def _true(text: str) -> bool:
    return text[:1].upper() in ("T", "1")
