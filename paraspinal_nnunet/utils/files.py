"""Writing files so that nothing half-written ever stands under a final name."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError

_ASIDE = ".replaced."


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; it takes the final name only when the block ends without an error.

    The temporary name keeps all suffixes of the final one, so that writers that go by the suffix do the same.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, replaces: Sequence[Path] = ()) -> Iterator[Path]:
    """Yield a folder beside `path` to fill; it takes the final name only when the block ends without an error.

    Args:
        path: The final name.
        replaces: Folders beside it, often `path` itself, that give way to the new one at the last moment and come back
            if that fails.

    Raises:
        FileExistsError: When the final name is taken by a folder that need not give way.
    """
    path = Path(path)
    if path.exists() and path not in replaces:
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.partial.{path.name}")
    temporary.mkdir()
    try:
        yield temporary
        replace_folders(temporary, path, replaces=replaces)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folders(finished: Path, path: Path, *, replaces: Sequence[Path] = ()) -> None:
    """Give a finished folder its final name.

    Args:
        finished: On the same file system.
        path: The final name.
        replaces: Folders beside it, often `path` itself, that are removed once the new one stands, and come back if it
            cannot.
    """
    with _set_aside(replaces):
        os.replace(finished, path)


def restore_set_aside(parent: Path, pattern: str) -> None:
    """Put right an exchange of folders that was cut off by the end of its process.

    Args:
        parent: Where the folders lie.
        pattern: Glob of the names concerned: a folder that was set aside comes back if nothing matches, else it goes.
    """
    stands = any(parent.glob(pattern))
    for aside in sorted(parent.glob(f".*{_ASIDE}{pattern}")):
        if stands:
            shutil.rmtree(aside)
        else:
            os.replace(aside, parent / aside.name.partition(_ASIDE)[2])


@contextmanager
def _set_aside(folders: Sequence[Path]) -> Iterator[None]:
    moved: list[tuple[Path, Path]] = []
    try:
        for folder in folders:
            aside = folder.with_name(f".{os.getpid()}{_ASIDE}{folder.name}")
            os.replace(folder, aside)
            moved.append((folder, aside))
        yield
    except OSError:
        for folder, aside in moved:
            os.replace(aside, folder)
        raise
    for _, aside in moved:
        shutil.rmtree(aside)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InputError: Unreadable, not JSON, or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not an object")
    return content
