"""Where a data set is to stand: which names its number is taken by, and what must not be touched."""

import errno
from collections.abc import Iterable, Sequence
from pathlib import Path

from paraspinal_nnunet.dataset_conversion.case import Case, paths_of
from paraspinal_nnunet.errors import DatasetError, InputError, SetupError, advice_on
from paraspinal_nnunet.nnunet.datasets import FolderName, datasets_with_number, nnunet_folder

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def check_place(raw: Path, folder: Path) -> None:
    """Refuse to write into the folder that is converted.

    Raises:
        InputError: `raw` lies in it.
    """
    if raw.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{raw}: lies in the folder to convert, which is never written to; choose another")


def free_number(target: Path, number: int, folder: Path, *, overwrite: bool) -> list[Path]:
    """The data sets that give way to a new one.

    Args:
        target: The new data set.
        number: Its number.
        folder: What is converted.
        overwrite: Whether data sets of that number may go.

    Raises:
        DatasetError: The number is taken.
        InputError: The data set would replace the folder that is converted.
    """
    taken = datasets_with_number(target.parent, number)
    if taken and not overwrite:
        names = ", ".join(p.name for p in taken)
        raise DatasetError(f"data set number {number} is taken by {names}; choose another -d or give --overwrite")
    inside = [p for p in taken if folder.resolve().is_relative_to(p.resolve())]
    if inside:
        raise InputError(f"{folder}: lies in {inside[0].name}, which --overwrite would remove; choose another -d")
    for other in elsewhere(number):
        if other.name != target.name:
            raise DatasetError(f"data set number {number} is taken by {other}; remove that folder or choose another -d")
    return taken


def check_sources_stay(cases: Iterable[Case], replaced: Sequence[Path]) -> None:
    """Refuse to replace a data set that a case's files link into.

    Raises:
        InputError: Such a file.
    """
    gone = [path.resolve() for path in replaced]
    for case in cases if gone else ():
        for file in paths_of(case):
            for path in gone:
                if file.resolve().is_relative_to(path):
                    raise InputError(f"{file}: is a link into {path.name}, which --overwrite would remove")


def elsewhere(number: int) -> list[Path]:
    """Folders of that number in nnU-Net's other two folders, where these are set: nnU-Net demands one name in all."""
    others: tuple[FolderName, ...] = ("preprocessed", "results")
    found: list[Path] = []
    for name in others:
        try:
            found += datasets_with_number(nnunet_folder(name), number)
        except SetupError:
            continue
    return found


def cannot_write(target: Path, error: OSError, *, kept: int) -> DatasetError:
    """The one line for a data set that the system does not let us write.

    Args:
        target: The data set.
        error: What the system said.
        kept: Number of finished cases that the next try takes over.
    """
    full = error.errno in _FULL
    advice = f"; free some space in {target.parent} and run the same command again" if full else advice_on(error)
    goes_on = f", which takes over {kept} finished cases" if kept and full else ""
    return DatasetError(f"{target}: cannot be written ({error.strerror or error}){advice}{goes_on}")
