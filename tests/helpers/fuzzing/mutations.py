"""Ways of breaking a file: as bytes, lines of text, parsed JSON, protobuf, and inside of archives and gzip."""

import contextlib
import copy
import gzip
import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

WORDS = (
    b"", b"-13", b"0", b"1e9", b"-1e-9", b"99999999999999999999", b"1e400", b"nan", b"inf", b"none", b"null", b"true",
    b"../x", b"/etc/passwd", b"%03d", b"%s%n", b"(", b"*", b"[", b"{", b"'", b'"', b"\x00", b"\xff\xfe", b"LIST",
    b"\xed\xa0\x80", "\u202e\u0130".encode(), b"a" * 5000, b"[" * 3000, b"=1+1", b"__import__('os')",
)  # fmt: skip
"""What stands in for a number or word."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 1e-9, -0.5, 1e308, float("nan"), float("inf"), "", " ", "nan",
    "1", "-1", "../x", "/etc/passwd", "\x00", "\ud800", "<b>&'\"", "a" * 5000, [], {}, [[]], [{}], {"": None}, [None],
    {"0": 0}, [0, 0, 0], [1e9, 1e9, 1e9], [-1, -1], ["a"], [[[[1]]]], {"a": {"a": {"a": []}}},
)  # fmt: skip
"""What stands in for a value of JSON or YAML."""

_TOKEN = re.compile(rb"[A-Za-z0-9_.+-]+")
_DEEPEST = 3000


def of_bytes(content: bytes, chance: random.Random) -> bytes:
    """Bits and bytes changed, cut off, doubled, removed, or numbers of the extremes written over them."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        reach = len(data) if chance.random() < 0.3 else min(len(data), 700)  # headers lie at the beginning
        place = chance.randrange(reach) if data else 0
        kind = chance.randrange(7)
        if kind == 0 and data:
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[place : place + chance.randint(1, 8)] = chance.randbytes(chance.randint(0, 8))
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            data[place:place] = data[place : place + chance.randint(1, 200)]
        elif kind == 4:
            del data[place : place + chance.randint(1, 40)]
        elif kind == 5:
            number = chance.choice((0, 1, -1, 2**15, 2**31 - 1, 2**31, 2**63 - 1, -(2**63)))
            size = chance.choice((1, 2, 4, 8))
            wrapped = number % (1 << (8 * size))
            data[place : place + size] = wrapped.to_bytes(size, chance.choice(("little", "big")))
        else:
            data[place : place + 4] = chance.choice((b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\x7f\x7f"))
    return bytes(data)


def of_text(content: bytes, chance: random.Random) -> bytes:
    """Words and lines replaced, doubled, swapped or removed, other encodings; now and then bytes."""
    kind = chance.randrange(9)
    if kind == 0:
        return of_bytes(content, chance)
    if kind == 1:
        text = content.decode("utf-8", "replace")
        return text.encode(chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp500")), "replace")
    if kind in (2, 3):
        lines = content.splitlines(keepends=True) or [b""]
        place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        if kind == 2:
            lines[place], lines[other] = lines[other], lines[place]
        else:
            lines[place : place + 1] = [lines[place]] * chance.choice((0, 2, 3, 200))
        return b"".join(lines)
    data = content
    for _ in range(chance.randint(1, 3)):
        tokens = list(_TOKEN.finditer(data))
        if tokens:
            token = chance.choice(tokens)
            data = data[: token.start()] + chance.choice(WORDS) + data[token.end() :]
    return data


def of_json(content: bytes, chance: random.Random) -> bytes:
    """Values of other types and sizes, keys missing, renamed or moved, nesting; now and then the text itself."""
    if chance.random() < 0.15:
        return of_text(content, chance)
    tree = json.loads(content)
    for _ in range(chance.randint(1, 3)):
        tree = _changed(tree, chance)
    text = json.dumps(tree)
    if chance.random() < 0.03:
        text = text.replace("null", "[" * _DEEPEST + "]" * _DEEPEST, 1)
    return text.encode("utf-8", "surrogatepass")


def of_protobuf(content: bytes, chance: random.Random) -> bytes:
    """Varints overlong, huge or negative, fields renumbered and moved; now and then bytes."""
    if chance.random() < 0.4:
        return of_bytes(content, chance)
    data = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(data))
        kind = chance.randrange(4)
        if kind == 0:
            data[place : place + 1] = _varint(chance.choice((0, 1, 127, 2**31, 2**62, 2**64 - 1)), chance.randint(0, 9))
        elif kind == 1:
            data[place] = data[place] & 7 | (chance.randrange(32) << 3)
        elif kind == 2:
            data[place] = data[place] & 0xF8 | chance.randrange(8)
        else:
            length = chance.randint(2, 60)
            data[place:place] = (
                bytes([chance.randrange(1, 16) << 3 | 2]) + _varint(length, 0) + chance.randbytes(length)
            )
    return bytes(data)


def inside_gzip(inner: Mutation) -> Mutation:
    """What was packed is broken; now and then the packing is."""

    def mutate(content: bytes, chance: random.Random) -> bytes:
        if chance.random() < 0.25:
            return of_bytes(content, chance)
        return gzip.compress(inner(gzip.decompress(content), chance), 1)

    return mutate


def inside_zip(members: dict[str, Mutation], repair: Callable[[dict[str, bytes]], None] | None = None) -> Mutation:
    """One member of an archive is broken, renamed, doubled or missing; now and then the archive is.

    Args:
        members: Ending of a member's name -> how that is broken.
        repair: Makes the broken members agree again, where a hash would end the reading.
    """

    def mutate(content: bytes, chance: random.Random) -> bytes:
        if chance.random() < 0.15:
            return of_bytes(content, chance)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {info.filename: archive.read(info) for info in archive.infolist()}
        name = chance.choice(sorted(files))
        if chance.random() < 0.1:
            files[chance.choice(("../" + name, "/" + name, name + "\\", "con", "a" * 300, name.upper()))] = files.pop(
                name
            )
        else:
            inner = next((m for ending, m in members.items() if name.endswith(ending)), of_bytes)
            files[name] = inner(files[name], chance)
            if repair is not None and chance.random() < 0.9:
                repair(files)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name[:60000]), data)
        return buffer.getvalue()

    return mutate


def of_stored_zip(content: bytes, chance: random.Random) -> bytes:
    """As torch's checkpoints: members are stored, and their checksums agree with what was broken."""
    if chance.random() < 0.2:
        return of_bytes(content, chance)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    pickles = [name for name in files if name.endswith(".pkl")]
    name = chance.choice(pickles if pickles and chance.random() < 0.8 else sorted(files))
    if chance.random() < 0.05:
        del files[name]
    else:
        files[name] = of_bytes(files[name], chance)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def of_dicom(content: bytes, chance: random.Random) -> bytes:
    """Elements removed, emptied or with a value that cannot be; now and then bytes."""
    import pydicom

    if chance.random() < 0.3:
        start = 132 if chance.random() < 0.8 else 0
        return content[:start] + of_bytes(content[start:], chance)
    dataset = pydicom.dcmread(io.BytesIO(content))
    for _ in range(chance.randint(1, 3)):
        _change_element(dataset, chance)
    buffer = io.BytesIO()
    try:
        with pydicom.config.disable_value_validation():
            pydicom.dcmwrite(buffer, dataset, implicit_vr=None, enforce_file_format=False)
    except Exception:  # what cannot even be written
        return of_bytes(content, chance)
    return buffer.getvalue()


_DICOM_VALUES: Mapping[str, tuple[Any, ...]] = {
    "DS": ("1e400", "-1", "0", "nan", "x", "1e-30", "", "1\\2\\3\\4\\5\\6\\7"),
    "IS": ("99999999999", "-1", "0", "1.5", "x", ""),
    "US": (0, 1, 65535, 7), "SS": (0, -1, 32767), "UL": (0, 2**32 - 1), "FD": (float("nan"), -1.0, 1e308, 0.0),
    "FL": (float("inf"), 0.0), "UI": ("", "1.2", "x" * 70, "1.2.840.10008.1.2.4.50", "1.2.840.10008.5.1.4.1.1.66.4"),
}  # fmt: skip


def _change_element(dataset: Any, chance: random.Random) -> None:
    """One element, at whatever depth, as no scanner writes it."""
    elements = list(dataset.file_meta) if chance.random() < 0.1 else list(dataset)
    while elements:
        element = chance.choice(elements)
        if element.VR == "SQ" and element.value and chance.random() < 0.9:
            items = element.value
            if chance.random() < 0.1:
                place = chance.randrange(len(items))
                element.value = (
                    [*items[:place], *items[place + 1 :]] if chance.random() < 0.5 else [*items, items[place]]
                )
                return
            dataset = items[chance.randrange(len(items))]
            elements = list(dataset)
            continue
        if chance.random() < 0.3:
            element_holder = dataset if element.tag in dataset else dataset.file_meta
            del element_holder[element.tag]
        elif element.VR in ("OW", "OB"):
            element.value = chance.choice((b"", element.value[:7], element.value * 2, chance.randbytes(40)))
        elif element.VR != "SQ":
            values = _DICOM_VALUES.get(element.VR, ("", "\xff\xfe", "a" * 300, "MONOCHROME1", "PALETTE COLOR", "\\"))
            value = chance.choice(values)
            with contextlib.suppress(Exception):  # pydicom's own checks
                element.value = value.split("\\") if isinstance(value, str) and len(value) > 1 else value
        return


def _varint(number: int, overlong: int) -> bytes:
    """A number in protobuf's way, with bytes that add nothing."""
    found = bytearray()
    while True:
        number, part = number >> 7, number & 127
        if not number:
            break
        found.append(part | 128)
    return bytes(found) + bytes([part | 128] + [128] * (overlong - 1) + [0] if overlong else [part])


def _changed(tree: Any, chance: random.Random) -> Any:
    """A tree with one change somewhere in it."""
    if isinstance(tree, dict | list) and tree and chance.random() < 0.85:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        key = chance.choice(keys)
        kind = chance.randrange(10)
        if kind == 0:
            del tree[key]
        elif kind == 1 and isinstance(tree, dict):
            tree[chance.choice(("", "x", "0", "__class__", key.upper(), *keys))] = tree.pop(key)
        elif kind == 2 and isinstance(tree, list):
            tree.extend([tree[key]] * chance.choice((1, 2, 300)))
        else:
            tree[key] = _changed(tree[key], chance)
        return tree
    kind = chance.randrange(6)
    if kind == 0:
        return [tree]
    if kind == 1:
        return {"x": tree}
    if kind == 2 and isinstance(tree, int | float):
        return chance.choice((-tree, tree * 10**9, str(tree), [tree, 0.5]))
    return copy.deepcopy(chance.choice(VALUES))
