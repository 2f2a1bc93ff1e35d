"""What the header of an NRRD file (.nrrd, .nhdr) says: where its voxels lie in the patient and in the file."""

import re
from pathlib import Path

import numpy as np

from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.image_io.raw_voxels import (
    AT_THE_END,
    Encoding,
    StoredVolume,
    data_file,
    header_text,
    mm_per_unit,
)
from paraspinal_nnunet.image_io.volume import volume_shape

_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw",
    **dict.fromkeys(("gz", "gzip"), "deflate"),
    **dict.fromkeys(("bz2", "bzip2"), "bzip2"),
    **dict.fromkeys(("txt", "text", "ascii"), "text"),
}
_END = re.compile(r"\r?\n\r?\n")
_FIELD = re.compile(r"([^:=]+):(?!=)\s*(.*?)\s*")
_VECTOR = re.compile(r"none|\([^()]*\)", re.IGNORECASE)
_SPACE = re.compile(r"(left|right)-(anterior|posterior)-(superior|inferior)|([lr])([ap])([si])")
_RAS = "ras"
_SEGMENT = re.compile(r"^Segment(\d+)_(LabelValue|Name):=(.*)$", re.MULTILINE)


def parse_nrrd(path: Path) -> StoredVolume:
    """Read and check a header.

    Raises:
        InputError: No NRRD, not one 3D volume of one channel, voxels outside the header's folder.
        GeometryError: No orientation, origin or voxel size, or an unknown unit of length.
    """
    text = header_text(path)
    fields, end = _fields(text, path)
    sizes = tuple(int(n) for n in fields.get("sizes", "").split())
    if int(fields.get("dimension", "0")) != len(sizes) or not 1 <= len(sizes) <= 16:
        raise InputError(f"{path}: header states {fields.get('dimension')} dimensions and the sizes {sizes}")
    matrix, in_space = _directions(fields, len(sizes), path)
    axes = sorted(zip(in_space, sizes, strict=True), key=lambda axis: not axis[0])  # stable: those in space come first
    shape = volume_shape(tuple(size for _, size in axes), path)
    if (kind := _TYPES.get(fields.get("type", "").lower())) is None:
        raise InputError(f"{path}: holds numbers of the type {fields.get('type', 'unknown')!r}; export it again")
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None or int(fields.get("lineskip", "0")) != 0:
        raise InputError(f"{path}: is encoded as {fields.get('encoding')!r}, with skipped lines or as no other program")
    own = "datafile" not in fields
    skip = int(fields.get("byteskip", "0"))
    if skip < AT_THE_END or (skip and encoding != "raw"):
        raise InputError(f"{path}: header skips {skip} bytes of {encoding} voxels; export it again")
    return StoredVolume(
        shape=shape,
        affine=_affine(fields, matrix, path),
        dtype=np.dtype(f"{_byte_order(fields, kind, encoding, path)}{kind}"),
        encoding=encoding,
        data=path if own else data_file(path, fields["datafile"], own=(".nrrd",)),
        offset=skip if skip == AT_THE_END or not own else end + skip,
        remarks=_remarks(fields),
        value_names=_segment_names(text[:end]),
    )


def _fields(text: str, path: Path) -> tuple[dict[str, str], int]:
    """Names in lower case and without spaces -> values, and where the header ends."""
    if not text.startswith("NRRD"):
        raise InputError(f"{path}: is no NRRD file; export it again")
    end = _END.search(text)
    head = text if end is None else text[: end.start()]
    fields: dict[str, str] = {}
    for line in head.splitlines()[1:]:
        field = None if line.startswith("#") else _FIELD.fullmatch(line)
        if field is None:
            continue
        name = field[1].strip().lower().replace(" ", "")
        if fields.get(name, field[2]) != field[2]:
            raise InputError(f"{path}: header states {field[1].strip()} twice; export it again")
        fields[name] = field[2]
    return fields, len(text) if end is None else end.end()


def _segment_names(head: str) -> dict[int, str]:
    """Value -> name, of a segmentation by 3D Slicer: ``Segment0_LabelValue:=1`` and ``Segment0_Name:=left psoas``."""
    segments: dict[str, dict[str, str]] = {}
    for number, what, value in _SEGMENT.findall(head):
        segments.setdefault(number, {})[what] = value.strip()
    return {
        int(each["LabelValue"]): each["Name"]
        for each in segments.values()
        if "Name" in each and each.get("LabelValue", "").isdecimal()
    }


def _directions(fields: dict[str, str], axes: int, path: Path) -> tuple[np.ndarray, list[bool]]:
    """(3, 3), one column for each axis that lies in space, and which axes do."""
    if "spacedirections" not in fields:
        raise GeometryError(f"{path}: header gives no orientation, so left and right are unknown; export it again")
    vectors = _VECTOR.findall(fields["spacedirections"])
    in_space = [vector.lower() != "none" for vector in vectors]
    if len(vectors) != axes:
        raise GeometryError(f"{path}: header gives {len(vectors)} space directions for {axes} axes; correct the header")
    if sum(in_space) != 3:
        raise InputError(f"{path}: has {sum(in_space)} dimensions in space, not one 3D volume; export it again")
    columns = [_vector(v, "direction", path) for v, axis in zip(vectors, in_space, strict=True) if axis]
    return np.array(columns).T, in_space


def _affine(fields: dict[str, str], matrix: np.ndarray, path: Path) -> np.ndarray:
    space = _SPACE.fullmatch(fields.get("space", "").strip().lower())
    if space is None:
        raise GeometryError(f"{path}: header gives no orientation, so left and right are unknown; export it again")
    if "spaceorigin" not in fields:
        raise GeometryError(f"{path}: header gives no origin; export it again")
    towards = [name[0] for name in space.groups() if name]
    units = re.findall(r'"([^"]*)"', fields.get("spaceunits", '"mm" "mm" "mm"'))
    if len(units) != 3:
        raise GeometryError(f"{path}: header gives the space units {fields['spaceunits']!r}, not three; set them to mm")
    to_mm = [mm_per_unit(unit, path) for unit in units]
    signs = [1.0 if letter == ras else -1.0 for letter, ras in zip(towards, _RAS, strict=True)]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, _vector(fields["spaceorigin"], "origin", path)
    return np.diag([*np.multiply(signs, to_mm), 1.0]) @ affine


def _vector(text: str, what: str, path: Path) -> np.ndarray:
    numbers = np.array([float(n) for n in text.strip().strip("()").split(",")])
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise GeometryError(f"{path}: header gives the {what} {text[:60]!r}, not 3 numbers; correct the header")
    return numbers


def _byte_order(fields: dict[str, str], kind: str, encoding: Encoding, path: Path) -> str:
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is None and encoding != "text" and not kind.endswith("1"):
        raise InputError(f"{path}: header does not give the byte order (endian); export it again")
    return order or "<"


def _remarks(fields: dict[str, str]) -> tuple[str, ...]:
    units = sorted(set(re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))) - {"mm", ""})
    return (f"header counts in {', '.join(units)}",) if units else ()
