"""File names of the Brain Imaging Data Structure: entities, which label belongs to which image, and inherited tables.

Source: BIDS specification 1.10, sections 'Filenames', 'Inheritance principle' and 'Imaging derivatives'.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import ending_of

LABEL_ENTITIES = ("space", "res", "den", "label", "hemi", "seg", "atlas", "desc")
"""Entities that a derivative may add to those of the image that it comes from."""

_ENTITY = re.compile(r"(?P<key>[A-Za-z]+)-(?P<value>[A-Za-z0-9+.]+)")
_ENDINGS = (".nii.gz", ".nii", ".tsv")
IGNORE_FILE = ".bidsignore"


@dataclass(frozen=True)
class BidsName:
    """One file.

    Attributes:
        path: Relative to the data set, posix.
        entities: E.g. ``{'sub': '01', 'acq': 'axial'}``, in the order of the name.
        suffix: What the file is, e.g. ``'T2w'`` or ``'dseg'``.
        source_suffix: The suffix of the image that a derivative comes from, where its name keeps it as in
            ``sub-01_T2w_dseg``; else ''.
        ending: E.g. ``'.nii.gz'``.
    """

    path: str
    entities: Mapping[str, str]
    suffix: str
    source_suffix: str
    ending: str

    @property
    def case(self) -> str:
        """The entities alone, e.g. ``'sub-01_acq-axial'``."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items())

    @property
    def source_entities(self) -> dict[str, str]:
        """Those of the image that a derivative comes from."""
        return {key: value for key, value in self.entities.items() if key not in LABEL_ENTITIES}

    def has(self, wanted: Mapping[str, str]) -> bool:
        """Whether the entities have these values."""
        return all(self.entities.get(key) == value for key, value in wanted.items())


def parse(path: str) -> BidsName | None:
    """Read a name; None when it is no BIDS name of a NIfTI file or table.

    >>> parse("sub-01/anat/sub-01_acq-ax_T2w.nii.gz").case
    'sub-01_acq-ax'
    """
    name = PurePosixPath(path).name
    ending = ending_of(name, _ENDINGS)
    if not ending:
        return None
    *parts, suffix = name[: -len(ending)].split("_")
    matches = [_ENTITY.fullmatch(part) for part in parts]
    words = [part for part, match in zip(parts, matches, strict=True) if match is None]
    entities = {match["key"]: match["value"] for match in matches if match}
    if len(words) > 1 or not re.fullmatch(r"[A-Za-z0-9]+", suffix) or len(entities) + len(words) < len(parts):
        return None
    return BidsName(path, entities, suffix, words[0] if words else "", ending)


def by_subject(images: Iterable[BidsName]) -> dict[str, list[BidsName]]:
    """Images by the label of their sub entity."""
    found: dict[str, list[BidsName]] = defaultdict(list)
    for image in images:
        found[image.entities["sub"]].append(image)
    return found


def images_of(label: BidsName, images: Mapping[str, Sequence[BidsName]]) -> list[BidsName]:
    """The images that a label can belong to: one with just its entities, else all that contradict none of them.

    Args:
        label: The label.
        images: By subject.
    """
    subjects = images.get(label.entities.get("sub", ""), ())
    fitting = [i for i in subjects if i.has(label.source_entities) and label.source_suffix in ("", i.suffix)]
    exact = [i for i in fitting if i.source_entities == label.source_entities]
    return exact or fitting


def by_folder(names: Iterable[BidsName]) -> dict[str, list[BidsName]]:
    """Files by the folder that they lie in."""
    found: dict[str, list[BidsName]] = defaultdict(list)
    for name in names:
        found[str(PurePosixPath(name.path).parent)].append(name)
    return found


def inherited(label: BidsName, tables: Mapping[str, Sequence[BidsName]], root: str) -> BidsName | None:
    """The table that describes a label: the nearest folder's, and there the one that shares most entities.

    Args:
        label: E.g. ``derivatives/manual/sub-01/anat/sub-01_dseg.nii.gz``.
        tables: All tables of the same suffix, by folder.
        root: The derivative's folder, e.g. ``derivatives/manual``.
    """
    parents = [str(p) for p in PurePosixPath(label.path).parents if p == PurePosixPath(root) or _below(p, root)]
    for parent in parents:
        here = [table for table in tables.get(parent, ()) if label.has(table.entities)]
        if here:
            return max(here, key=lambda table: (len(table.entities), table.path))
    return None


def not_ignored(files: Iterable[str], folder: Path) -> list[str]:
    """The files that .bidsignore, where there is one, leaves in the data set.

    Raises:
        InputError: Unreadable.
    """
    path = folder / IGNORE_FILE
    if not path.is_file():
        return list(files)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    globs = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return [file for file in files if not any(_ignores(glob, file) for glob in globs)]


def _ignores(glob: str, file: str) -> bool:
    """A pattern with a slash inside is one of whole paths, else of single names; with one at its end, of folders."""
    parents = [str(parent) for parent in PurePosixPath(file).parents][:-1]
    names = parents if glob.endswith("/") else [file, *parents]
    bare = glob.strip("/").removeprefix("**/")
    return any(fnmatchcase(name if "/" in bare else PurePosixPath(name).name, bare) for name in names)


def _below(path: PurePosixPath, root: str) -> bool:
    return PurePosixPath(root) in path.parents
