"""Finding image/label pairs by file name patterns."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from paraspinal_nnunet.dataset_conversion.case import Case, Found, Refusal
from paraspinal_nnunet.dataset_conversion.patterns.placeholders import Pattern as Pattern
from paraspinal_nnunet.dataset_conversion.patterns.placeholders import pattern as pattern
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.nnunet.people import subject_of as bids_subject

CASE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Ids become file names on every system."""


def find_pairs(
    folder: Path,
    image: Pattern,
    label: Pattern,
    *,
    second_label: Pattern | None = None,
    more_images: Sequence[Pattern] = (),
    apart: Path | None = None,
) -> Found:
    """Pair the images and labels of a folder.

    The image pattern tells whose a case is, else its name where it is one of BIDS (``sub-07_ses-2``); others stand for
    themselves.

    Where the label pattern has `{structure}`, the label of a case is one name that stands for all its masks; see
    `structure_pairs.with_masks`.

    Args:
        folder: Searched with all its sub-folders; hidden files are left out.
        image: Where images are.
        label: Where labels are.
        second_label: Where a second rater's labels are; not every case needs one.
        more_images: Where the images of the second and further channels are; every case needs one of each.
        apart: A sub-folder, as a path that begins with `folder`, that is not looked through.

    Raises:
        InputError: No such folder, no image in it, or patterns that cannot be told apart.
    """
    kinds = [image, label, *more_images, *([second_label] if second_label else [])]
    by_kind: list[dict[str, list[Path]]] = [defaultdict(list) for _ in kinds]
    subjects: dict[str, str] = {}
    others = 0
    for relative in walk(folder):
        if apart is not None and (folder / relative).absolute().is_relative_to(apart.absolute()):
            continue
        kind = _best_kind(kinds, relative)
        if kind is None:
            others += 1
            continue
        case, path = kinds[kind].case_of(relative) or "", folder / kinds[kind].one_for_all(relative)
        if path not in by_kind[kind][case]:
            by_kind[kind][case].append(path)
        if kind == 0:
            subjects[case] = image.subject_of(relative) or bids_subject(case) or case
    if not by_kind[0]:
        raise InputError(f"{folder}: no file matches the image pattern '{image.text}'{_near_miss(folder, image)}")
    second = by_kind.pop() if second_label else {}
    found = pair_up(by_kind[0], by_kind[1], second)
    found = replace(found, cases=tuple(replace(case, subject=subjects[case.case]) for case in found.cases))
    for place, (channel, files) in enumerate(zip(more_images, by_kind[2:], strict=True), start=2):
        found = with_channel(found, files, f"channel {place} ('{channel.text}')")
    return replace(found, other_files=others)


def walk(folder: Path) -> list[str]:
    """All visible files below a folder, links followed, as sorted relative posix paths.

    Raises:
        InputError: No such folder, no file in it, or a sub-folder that cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    files = []
    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_unreadable):
        visible = {os.path.realpath(os.path.join(parent, n)): n for n in sorted(folders) if not n.startswith(".")}
        folders[:] = [name for real, name in visible.items() if real not in seen]
        seen.update(visible)
        relative = Path(parent).relative_to(folder)
        files += [(relative / name).as_posix() for name in names if not name.startswith(".")]
    if not files:
        raise InputError(f"{folder}: is empty")
    return sorted(files)


def pair_up(
    images: Mapping[str, list[Path]], labels: Mapping[str, list[Path]], second_labels: Mapping[str, list[Path]]
) -> Found:
    """Make cases of files sorted by case id; whatever has no partner or more than one is refused.

    Args:
        images: Case id -> image files.
        labels: Case id -> label files.
        second_labels: Case id -> a second rater's label files.

    Returns:
        Cases, each its own subject, sorted by id.
    """
    cases, refusals = [], []
    for case in sorted({*images, *labels, *second_labels}):
        first, second = (images.get(case, []), labels.get(case, [])), second_labels.get(case, [])
        files = (*first[0], *first[1], *second)
        if reason := _pairing_fault(case, *first, second):
            refusals.append(Refusal(case, reason, files, second_rater=not (first[0] or first[1])))
            continue
        if len(second) > 1:
            reason = f"{_list(second)}: share the case id {case}; one of each is needed"
            refusals.append(Refusal(case, reason, tuple(second), second_rater=True))
        cases.append(Case(case, case, tuple(first[0]), first[1][0], second[0] if len(second) == 1 else None))
    alike = defaultdict(list)
    for found in cases:
        alike[found.case.casefold()].append(found)
    repeated = [(kept, other) for kept, *others in alike.values() for other in others]
    refusals += [
        Refusal(o.case, f"{o.image}: case id {o.case} differs from {k.case} of {k.image} in capitals only", o.images)
        for k, o in repeated
    ]
    left_out = {other.case for _, other in repeated}
    return Found(tuple(c for c in cases if c.case not in left_out), tuple(refusals))


def with_channel(found: Found, files: Mapping[str, list[Path]], channel: str) -> Found:
    """Give each case one more channel; a case that has none or several, and a file without case, is refused.

    Args:
        found: Cases with the channels before this one.
        files: Case id -> image files.
        channel: What the channel is called in messages.
    """
    cases, refusals = [], list(found.refusals)
    for case in found.cases:
        here = files.get(case.case, [])
        if len(here) == 1:
            cases.append(replace(case, images=(*case.images, here[0])))
        else:
            reason = f"{_list(here)}: share the case id {case.case}" if here else f"{case.image}: has no {channel}"
            refusals.append(Refusal(case.case, f"{reason}; one image of each channel is needed", case.images))
    known = {*(c.case for c in found.cases), *(r.case for r in found.refusals)}
    refusals += [
        Refusal(case, f"{paths[0]}: is {channel} of no case ({case} has no first channel)", tuple(paths))
        for case, paths in files.items()
        if case not in known
    ]
    return replace(found, cases=tuple(cases), refusals=tuple(refusals))


def subject_of(case: str, regex: str | None) -> str:
    """The subject of a case.

    Args:
        case: The case id.
        regex: Its first group is the subject; None for the whole id.

    Raises:
        InputError: An expression that is invalid, has no group or does not match.
    """
    if regex is None:
        return case
    try:
        compiled = re.compile(regex)
    except re.error as error:
        raise InputError(f"--subject-pattern '{regex}': is no regular expression ({error})") from error
    if not compiled.groups:
        raise InputError(f"--subject-pattern '{regex}': has no group; put the subject id in brackets, e.g. ^(sub-\\d+)")
    match = compiled.search(case)
    if not match or not match[1]:
        raise InputError(f"--subject-pattern '{regex}': finds no subject in case id '{case}'")
    return match[1]


def _unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error


def _near_miss(folder: Path, wanted: Pattern) -> str:
    """What keeps a file that nearly matches from it."""
    any_capitals = re.compile(wanted.regex.pattern, re.IGNORECASE)
    for relative in walk(folder):
        if any_capitals.fullmatch(relative):
            return f"; {relative} differs in capitals only: rename it, or convert 'pairs' with a pattern of your own"
        if "/" in relative and any_capitals.fullmatch(relative.rpartition("/")[2]):
            return (
                f"; {relative} lies in a sub-folder: give that one with -i, or convert 'pairs' with '**/{wanted.text}'"
            )
    return ""


def _best_kind(kinds: list[Pattern], relative: str) -> int | None:
    matching = [n for n, p in enumerate(kinds) if p.case_of(relative) is not None]
    if not matching:
        return None
    best = max(kinds[n].literal_length for n in matching)
    longest = [n for n in matching if kinds[n].literal_length == best]
    if len(longest) > 1:
        first, second = (kinds[n].text for n in longest[:2])
        raise InputError(f"{relative}: matches both '{first}' and '{second}'; make the patterns more specific")
    return longest[0]


def _pairing_fault(case: str, images: list[Path], labels: list[Path], second: list[Path]) -> str | None:
    twice = next((files for files in (images, labels) if len(files) > 1), None)
    if twice:
        return f"{_list(twice)}: share the case id {case}; one of each is needed"
    if not images:
        return f"{(labels or second)[0]}: is a label without image (case {case})"
    if not labels:
        return f"{images[0]}: is an image without label (case {case})"
    if not CASE_ID.fullmatch(case):
        return f"{images[0]}: case id '{case}' must consist of letters, digits, '.', '-' and '_'; rename the file"
    return None


def _list(files: Iterable[Path]) -> str:
    return ", ".join(str(f) for f in files)
