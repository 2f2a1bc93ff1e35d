"""Pairs whose labels are one file per structure: which structures there are, and whose masks belong together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.dataset_conversion.case import Case, Found, Refusal
from paraspinal_nnunet.dataset_conversion.labels.files import read_structure_file
from paraspinal_nnunet.dataset_conversion.labels.masks import MaskCase, Masks
from paraspinal_nnunet.dataset_conversion.patterns.pairing import walk
from paraspinal_nnunet.dataset_conversion.patterns.placeholders import Pattern, pattern
from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.image_io.masks.label_names import parse_label_name

BY_NAME = "names"
"""What ``--labels`` says where the files' own names are the classes'."""


def structure_classes(folder: Path, image: Pattern, label: Pattern, labels: str) -> dict[str, str]:
    """The structures whose masks a folder holds.

    Args:
        folder: The input folder.
        image: Where images are; their case ids tell where in a name the structure begins.
        label: Where masks are.
        labels: `BY_NAME`, or a file; see `label_files.read_structure_file`.

    Returns:
        Structure as the file names have it -> canonical key, or '' for structures of no class.

    Raises:
        InputError: No mask of a class in the folder.
        LabelError: A name that is unclear or, with a file, not in it.
    """
    files = walk(folder)
    masks = _with_known_ids(label, image, files)
    given = None if labels == BY_NAME else read_structure_file(_existing(labels))
    found: dict[str, str] = {}
    for name in files:
        match = masks.match(name)
        if match is None or (image.match(name) and image.literal_length > label.literal_length):
            continue
        if match["structure"] not in found:
            key = _class(match["structure"], name, given, labels)
            found[match["structure"]] = key if key in BY_KEY else ""
    if not any(found.values()):
        raise InputError(f"{folder}: no file that matches '{label.text}' is named as a class; see --labels")
    return found


def with_masks(found: Found, label: Pattern, classes: Mapping[str, str], kept: frozenset[str], folder: Path) -> Found:
    """Give each case its masks instead of the one label that stands for them.

    Args:
        found: Cases whose label is a name that stands for all masks; see `Pattern.one_for_all`.
        label: Where masks are.
        classes: Structure -> canonical key, or ''.
        kept: Canonical keys that are classes of the data set.
        folder: The input folder.
    """
    masks: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for name in walk(folder):
        match, owner = label.match(name), label.case_of(name)
        if match is not None and owner and classes[match["structure"]]:
            masks[owner].append((classes[match["structure"]], folder / name))
    cases, refusals = [], list(found.refusals)
    for case in found.cases:
        here = masks[case.case]
        keys = [key for key, _ in here]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice:
            paths = tuple(path for key, path in here if key == twice)
            reason = f"{', '.join(map(str, paths))}: are all {twice} of case {case.case}; one mask of each is needed"
            refusals.append(Refusal(case.case, reason, paths))
        else:
            cases.append(_mask_case(case, [(key, path) for key, path in here if key in kept]))
    return replace(found, cases=tuple(cases), refusals=tuple(refusals))


def _with_known_ids(label: Pattern, image: Pattern, files: Sequence[str]) -> Pattern:
    """The masks of existing images: only these tell where in ``a_b_c.nii.gz`` the case id ends."""
    known: dict[str, set[str]] = defaultdict(set)
    for match in filter(None, map(image.match, files)):
        for name, value in match.groupdict().items():
            known[name].add(value)
    return pattern(label.text, known)


def _class(structure: str, name: str, given: Mapping[str, str] | None, labels: str) -> str:
    if given is not None:
        if structure not in given:
            raise LabelError(f"{name}: structure '{structure}' is not in {labels}; map it or mark it 'ignore'")
        return given[structure]
    try:
        return parse_label_name(structure) or ""
    except LabelError as error:
        raise LabelError(f"{name}: {error}") from error


def _existing(labels: str) -> Path:
    path = Path(labels)
    if not path.is_file():
        raise LabelError(f"--labels {labels}: with {{structure}}, give '{BY_NAME}' or a file of structure -> class")
    return path


def _mask_case(case: Case, masks: Masks) -> MaskCase:
    return MaskCase(**{f.name: getattr(case, f.name) for f in fields(Case)}, masks={case.label: tuple(masks)})
