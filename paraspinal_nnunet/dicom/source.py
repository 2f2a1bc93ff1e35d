"""Where DICOM files come from: a folder, or a zip archive that is unpacked elsewhere for as long as it is needed."""

import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.workplace import workplace
from paraspinal_nnunet.utils.zip import Limits, extract_zip

ZIP_LIMITS = Limits(members=100_000, total_bytes=16 * 1024**3, ratio=1100)
"""A study has thousands of small files, and empty images shrink as far as deflate goes (1032 to 1); the total bounds
what is written."""

_SHADOW_FOLDERS = ("__MACOSX",)


@contextmanager
def opened_source(path: Path) -> Iterator[Path]:
    """Yield a folder with the files of a folder or zip archive; the source itself is never written to.

    Args:
        path: A folder, or a zip archive whatever its name; the latter is unpacked to a temporary folder that goes when
            the block ends.

    Raises:
        InputError: Neither of the two, or an archive that `safe_zip.extract_zip` refuses.
    """
    path = Path(path)
    if path.is_dir():
        yield path
    elif path.is_file() and zipfile.is_zipfile(path):
        with workplace() as place:
            folder = place / "unpacked"
            folder.mkdir()
            extract_zip(path, folder, ZIP_LIMITS)
            yield folder
    else:
        fault = "is neither a folder nor a zip archive" if path.exists() else "does not exist"
        raise InputError(f"{path}: {fault}; give a folder or a zip archive of DICOM files")


def files_below(folder: Path, *, onerror: Callable[[OSError], object] | None = None) -> list[Path]:
    """All visible files below a folder, sorted; links are followed once, hidden files and macOS's shadows left out.

    Args:
        folder: The folder.
        onerror: Is told of sub-folders that cannot be read; None makes the first an error.

    Raises:
        InputError: A sub-folder that cannot be read.
    """
    found: list[Path] = []
    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=onerror or _unreadable):
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(parent, name))
            if not name.startswith(".") and name not in _SHADOW_FOLDERS and real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        found += [Path(parent) / name for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.is_file())


def _unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error
