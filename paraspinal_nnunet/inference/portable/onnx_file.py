"""ONNX files from strangers, judged by their protobuf before any runtime reads them; the onnx package is not needed.

Source: onnx.proto of ONNX 1.19 for the numbers of fields; protobuf's documentation, 'Encoding', for the wire format.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from paraspinal_nnunet.errors import InputError

STANDARD_DOMAINS = ("", "ai.onnx")
"""Operators of any other domain come from libraries or from the file itself; exported networks need neither."""

LOOPS = ("Loop", "Scan")
"""Operators that run as long as the file says; exported networks have none."""

_DEEPEST = 32
_LONGEST_VARINT, _HIGHEST_FIELD = 10, 2**29 - 1
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5

_MESSAGES: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
        "training": {1: "graph", 2: "graph"},
        "graph": {1: "node", 5: "tensor", 15: "sparse"},
        "function": {7: "node", 9: "opset", 11: "attribute"},
        "node": {5: "attribute"},
        "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
        "sparse": {1: "tensor", 2: "tensor"},
    }
)
"""Message -> number of a field that is a message in turn -> that one's kind."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_OPERATOR, _DOMAIN, _OPSET_DOMAIN = 4, 7, 1


def check_network_file(content: bytes, where: str) -> None:
    """Refuse a network that reads other files, calls operators of nobody knows whose, or loops at will.

    Args:
        content: The ONNX file.
        where: The model, for messages.

    Raises:
        InputError: Any of these, or no sound protobuf.
    """
    try:
        _check_message(memoryview(content), "model", where, 0)
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        reason = f"it is no sound ONNX file: {error}"
        raise InputError(f"{where}: the network cannot be run ({reason}); get the model again") from error


def _check_message(content: memoryview, kind: str, where: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"messages within messages, {depth} deep")
    children = _MESSAGES.get(kind, {})
    for field, wire, value in _fields(content):
        if kind == "tensor" and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)):
            raise InputError(f"{where}: a network refers to files outside the model; refused")
        if kind == "model" and field == 25:
            raise InputError(f"{where}: a network defines operators of its own; refused")
        if kind == "node":
            _check_node(field, value, where)
        if kind == "opset" and field == _OPSET_DOMAIN and _text(value) not in STANDARD_DOMAINS:
            raise InputError(f"{where}: a network needs operators of '{_text(value)[:80]}'; refused")
        if field in children:
            if wire != _LEN or not isinstance(value, memoryview):
                raise ValueError(f"field {field} of a {kind} is no message")
            _check_message(value, children[field], where, depth + 1)


def _check_node(field: int, value: "int | memoryview", where: str) -> None:
    if field == _DOMAIN and _text(value) not in STANDARD_DOMAINS:
        raise InputError(f"{where}: a network calls an operator of '{_text(value)[:80]}'; refused")
    if field == _OPERATOR and _text(value) in LOOPS:
        raise InputError(f"{where}: a network has the operator {_text(value)}, which may run without end; refused")


def _text(value: "int | memoryview") -> str:
    if isinstance(value, int):
        raise ValueError("a name is a number")
    return bytes(value).decode("utf-8")


def _fields(content: memoryview) -> Iterator[tuple[int, int, "int | memoryview"]]:
    """Number, wire type and value of each field."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        field, wire = key >> 3, key & 7
        if not 0 < field <= _HIGHEST_FIELD:
            raise ValueError(f"a field of number {field}")
        if wire == _VARINT:
            value, at = _varint(content, at)
            yield field, wire, value
            continue
        if wire == _LEN:
            size, at = _varint(content, at)
        elif wire in (_I64, _I32):
            size = 8 if wire == _I64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if size > len(content) - at:
            raise ValueError("a field that is longer than the file")
        yield field, wire, content[at : at + size]
        at += size


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """A number, which may be written with more bytes than it needs, and the place behind it."""
    value = 0
    for place in range(_LONGEST_VARINT):
        byte = content[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + place + 1
    raise ValueError("a number of more than ten bytes")
