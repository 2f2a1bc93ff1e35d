"""Which files of an input folder no case came of: a scan whose name nobody expected is told of, not lost."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from paraspinal_nnunet.dataset_conversion.case import Found, paths_of
from paraspinal_nnunet.dataset_conversion.patterns.pairing import walk
from paraspinal_nnunet.errors import InputError

_SHOWN = 10


def passed_over(folder: Path, found: Iterable[Found], tables: Iterable[Path]) -> tuple[str, ...]:
    """The visible files that no case or refusal names, nor a folder that one does, as sorted relative paths.

    Args:
        folder: The input folder.
        found: What its source found in it, before and after a selection.
        tables: Files that are read beside those of the cases.
    """
    items = {path for part in found for path in _named(part)} | set(tables)
    used = {path.relative_to(folder).as_posix() for path in items if path.is_relative_to(folder)}
    try:
        files = walk(folder)
    except InputError:  # folders that cannot be read are the source's to tell of
        return ()
    return tuple(n for n in files if not used & {n, *map(str, PurePosixPath(n).parents)})


def as_line(names: tuple[str, ...]) -> str:
    """The names in one line, of many the first.

    >>> as_line(("a.txt", "b.nii"))
    'files that belong to no case, not used: a.txt, b.nii'
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"files that belong to no case, not used: {', '.join(names[:_SHOWN])}{more}"


def _named(found: Found) -> Iterable[Path]:
    yield from found.tables
    for case in found.cases:
        yield from paths_of(case)
    for refusal in found.refusals:
        yield from refusal.files
