"""Which scan a mask belongs to, by their names; and which files of a folder nobody asked for."""

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from paraspinal_nnunet.image_io.images import ending_of

BESIDE_IMAGES = (
    *(".json", ".tsv", ".csv", ".txt", ".md", ".yaml", ".yml", ".log", ".html", ".png", ".svg", ".pdf"),
    *(".ctbl", ".pkl", ".npz", ".raw", ".zraw", ".bval", ".bvec", ".dcm"),
)
"""Endings of files that programs keep beside images, of which nobody expects that they are read as such."""

_NAMED = 5


def partners(name: str, candidates: Collection[str]) -> list[str]:
    """The candidates that a name goes with.

    Its like; else those that it begins, up to an underscore; else the longest one that begins it: a mask may have the
    longer name, and so may a scan.

    >>> partners("a", ["a", "a_T2w"]), partners("a", ["a_T2w", "ab"]), partners("a_T2w_seg", ["a", "a_T2w"])
    (['a'], ['a_T2w'], ['a_T2w'])
    """
    if name in candidates:
        return [name]
    longer = [candidate for candidate in candidates if candidate.startswith(f"{name}_")]
    if longer:
        return longer
    shorter = [candidate for candidate in candidates if name.startswith(f"{candidate}_")]
    return [max(shorter, key=len)] if shorter else []


def paired(names: Iterable[str], candidates: Collection[str]) -> dict[str, str]:
    """Each name with its candidate, where just one goes with it and it with no other name.

    >>> paired(["a_seg", "b_1", "b_2"], ["a", "b"])
    {'a_seg': 'a'}
    """
    found = {name: partners(name, candidates) for name in names}
    single = [of_name[0] for of_name in found.values() if len(of_name) == 1]
    return {name: of[0] for name, of in found.items() if len(of) == 1 and single.count(of[0]) == 1}


def warn_left_out(log: logging.Logger, folder: Path, left_out: Sequence[Path], why: str) -> None:
    """Name the files of a folder that are not read, in one line."""
    if left_out:
        names = ", ".join(path.name for path in left_out[:_NAMED])
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        log.warning("%s: left out, %s: %s%s", folder, why, names, more)


def no_images(folder: Path) -> list[Path]:
    """The visible files of a folder that are neither images that can be read nor what usually lies beside them."""
    files = sorted(path for path in folder.iterdir() if path.name[0] != "." and path.is_file())
    return [path for path in files if not ending_of(path.name) and path.suffix.lower() not in BESIDE_IMAGES]
