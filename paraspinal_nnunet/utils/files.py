"""Files: written so that nothing half-written ever stands under a final name, read so that reading has an end."""

import errno
import json
import math
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from paraspinal_nnunet.errors import CANNOT_WRITE, InputError, ParaspinalError
from paraspinal_nnunet.utils.workplace import set_aside, workplace

MOST_BYTES = 2**30
"""Of a file that is read whole before it is known what it is; measures of 10,000 cases, slice by slice, take half."""

_WRITERS_WORDS = ("inline_container", "creating the NDArray")
"""What torch says that cannot write a checkpoint ('enforce fail at inline_container.cc:672'), and blosc2 an array."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a name near `path` to write to; it takes the final name only when the block ends without an error.

    The temporary name keeps all suffixes of the final one, so that writers that go by the suffix do the same.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), workplace(path.parent) as place:
        temporary = place / f".{path.name}"
        yield temporary
        os.replace(temporary, path)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a folder near `path` to fill; it takes the final name only when the block ends without an error.

    Args:
        path: The final name.
        overwrite: Whether a folder of that name gives way to the new one at the last moment; it comes back if that
            fails.

    Raises:
        FileExistsError: When the final name is taken and need not give way.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), workplace(path.parent) as place:
        if path.exists() and not overwrite:
            raise FileExistsError(path)
        temporary = place / path.name
        temporary.mkdir()
        yield temporary
        replace_folders(temporary, path, replaces=[path] if path.exists() else [])


def replace_folders(finished: Path, path: Path, *, replaces: Sequence[Path] = ()) -> None:
    """Give a finished folder its final name.

    Args:
        finished: On the same file system.
        path: The final name.
        replaces: Folders beside it, often `path` itself, that are removed once the new one stands, and come back if it
            cannot, even when this process is killed in between.
    """
    with workplace(path.parent) as place:
        set_aside(place, replaces, path)
        os.replace(finished, path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let the system's refusal to write name what was written: a full disk names nothing, or a hidden file.

    Some libraries hide it in an error of their own: pydicom with a traceback in its words, torch and blosc2 without a
    word of it.
    """
    try:
        yield
    except ParaspinalError:
        raise
    except Exception as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        raise OSError(refusal.errno, refusal.strerror, os.fspath(path)) from error


def _refusal(error: BaseException) -> OSError | None:
    """The system's refusal to write that an error is, or came of."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in CANNOT_WRITE:
            return cause
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _WRITERS_WORDS):
        return OSError(errno.ENOSPC, "cannot be written whole, as on a full disk")
    return None


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # paths may be no UTF-8


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def without_nan(content: Any) -> Any:
    """The same with null for NaN and infinity, which JSON does not have."""
    if isinstance(content, Mapping):
        return {str(key): without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read its bytes; a pipe or a device, which may never end or never begin, is refused.

    Raises:
        InputError: No regular file.
        OSError: It cannot be opened.
    """
    at_once = getattr(os, "O_NONBLOCK", 0)  # else opening a pipe waits for a writer
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | at_once))  # noqa: SIM115 - handed on
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InputError(f"{path}: is a pipe or a device; give a file")
    return file


def read_bytes(path: Path) -> bytes:
    """What a file holds, at most `MOST_BYTES`.

    Raises:
        InputError: A larger one, or as `open_regular`.
        OSError: It cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: has {size} bytes; at most {MOST_BYTES} are read")
        return file.read()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InputError: Unreadable, too large, not JSON, or no object.
    """
    try:
        content = json.loads(read_bytes(path).decode("utf-8", "surrogateescape"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not an object")
    return content


def relative_path(path: Path, folder: Path) -> str:
    """Where a file lies as seen from a folder, for records that move together with it; in full on another drive."""
    absolute = Path(path).resolve()
    try:
        return Path(os.path.relpath(absolute, Path(folder).resolve())).as_posix()
    except ValueError:  # another drive
        return absolute.as_posix()


def refuse_overwriting_inputs(
    inputs: Iterable[Path | None],
    outputs: Iterable[Path | None],
    *,
    folders: Iterable[Path | None] = (),
    trees: Iterable[Path | None] = (),
    replaced: Iterable[Path | None] = (),
) -> None:
    """Refuse to write over anything that is read; call it before anything is read.

    Two paths are one file if they lead to one place, through symbolic links, hard links, or in other case of letters.

    Args:
        inputs: Files that are read, and folders whose own files are read; None is no input.
        outputs: Files that are written.
        folders: Folders in which files are written.
        trees: Folders of which all is read, sub-folders included.
        replaced: Outputs that give way as a whole, with all that lies in them.

    Raises:
        InputError: An output is an input or lies in an input folder, or what is replaced holds an input.
    """
    read, deep, giving_way = _present([*inputs, *trees]), _present(trees), _present(replaced)
    files, around, nested = _keyed(read), _keyed(path for path in read if path.is_dir()), _keyed(deep)
    written, parents = _present(outputs), {path.absolute().parent for path in _present(outputs)}
    inside = {parent: _first(around, _keys(parent)) or _holder(nested, parent) for parent in parents}
    linked = _keyed(_files_of(read, deep)) if any(path.is_file() for path in written) else {}
    for path in written:
        if clash := _first(files, _keys(path)) or inside[path.absolute().parent] or _first(linked, _keys(path)):
            raise InputError(f"{path}: would be written over {_what(path, clash)}; give another output")
    for path in [*_present(folders), *giving_way]:
        if clash := _first(files, _keys(path)) or _holder(nested, path):
            raise InputError(f"{path}: would be written into {_what(path, clash)}; give another output folder")
    gone = _keyed(giving_way)
    for path in read:
        if holder := _holder(gone, path):
            raise InputError(f"{holder}: would be replaced, but holds the input {path}; give another output")


def _what(output: Path, clash: Path) -> str:
    return "what is read" if str(output) == str(clash) else f"what is read from {clash}"


def _present(paths: Iterable[Path | None]) -> list[Path]:
    return [Path(path) for path in paths if path is not None]


def _keys(path: Path) -> tuple[object, ...]:
    """What identifies a path: its place, letters' case and their composition aside, and what lies there."""
    place = unicodedata.normalize("NFC", os.path.realpath(path)).casefold()
    try:
        state = os.stat(path)
    except OSError:
        return (place,)
    return (place, (state.st_dev, state.st_ino))


def _keyed(paths: Iterable[Path]) -> dict[object, Path]:
    return {key: path for path in paths for key in _keys(path)}


def _first(known: Mapping[object, Path], keys: Sequence[object]) -> Path | None:
    return next((known[key] for key in keys if key in known), None)


def _holder(known: Mapping[object, Path], path: Path) -> Path | None:
    """The known folder that is a path or holds it, by its name or by where it leads."""
    place = Path(os.path.realpath(path))
    above = [place, *place.parents, *path.absolute().parents]
    return next((found for p in above if (found := _first(known, _keys(p)))), None) if known else None


def _files_of(folders: Iterable[Path], trees: Iterable[Path]) -> Iterator[Path]:
    """The files in folders, for outputs that stand already and may be links to one of them."""
    for folder in folders:
        yield from (p for p in (folder.iterdir() if folder.is_dir() else ()) if p.is_file())
    for tree in trees:
        yield from (p for p in (tree.rglob("*") if tree.is_dir() else ()) if p.is_file())
