"""Which cases have a second rater's labels: those of the source's layout, of a folder, or of a pattern."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from paraspinal_nnunet.dataset_conversion.case import Case, Found, Refusal
from paraspinal_nnunet.dataset_conversion.patterns.pairing import pattern, walk
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import ending_of, without_ending


def with_second_labels(found: Found, folder: Path, rater2: bool | str | None) -> Found:
    """Keep, find or leave out the second rater's labels.

    Args:
        found: What the source's finder found.
        folder: The input folder.
        rater2: None keeps those that the source's layout has; True demands that there are some; False leaves them out;
            a folder or a pattern with ``{case}``, relative to the input folder, says where they are.

    Raises:
        InputError: Labels that were asked for are not there.
    """
    if rater2 is False:
        return _without(found)
    if isinstance(rater2, str):
        found = _without(found, note=False)
        place = second_folder(folder, rater2)
        files = _by_pattern(folder, rater2) if place is None else _by_folder(found, folder, place)
        found = _assigned(found, files)
    kept = sum(c.second_label is not None for c in found.cases)
    faulty = {r.case for r in found.refusals if r.second_rater}
    if rater2 and found.cases and not kept and not faulty:
        raise InputError(f"{folder}: holds no second rater's labels; --rater2 FOLDER or '{{case}}...' says where")
    if kept:
        note = f"a second rater's labels of {kept} of {len(found.cases)} cases are kept; --no-rater2 leaves them out"
        found = replace(found, notes=(*found.notes, note))
    return replace(found, cases=tuple(c for c in found.cases if c.case not in faulty))


def second_folder(folder: Path, text: str) -> Path | None:
    """The folder that `text` names, relative to the input folder or as it stands; None where it is a pattern.

    Raises:
        InputError: There are two such folders.
    """
    places = [place for place in (folder / text, Path(text)) if place.is_dir()]
    if len({place.resolve() for place in places}) > 1:
        raise InputError(f"--rater2 {text}: may be {places[0]} or {places[1].resolve()}; give the whole path")
    return places[0] if places else None


def _without(found: Found, *, note: bool = True) -> Found:
    left = sum(c.second_label is not None for c in found.cases) + sum(r.second_rater for r in found.refusals)
    notes = (f"a second rater's labels are there ({left}) and are not used, as --no-rater2 says",) if left else ()
    return replace(
        found,
        cases=tuple(replace(c, second_label=None) for c in found.cases),
        refusals=tuple(r for r in found.refusals if not r.second_rater),
        notes=(*found.notes, *(notes if note else ())),
    )


def _by_pattern(folder: Path, text: str) -> dict[str, list[Path]]:
    """Case id -> the files that the pattern matches."""
    collected: dict[str, list[Path]] = defaultdict(list)
    second = pattern(text)
    for relative in walk(folder):
        if case := second.case_of(relative):
            collected[case].append(folder / relative)
    if not collected:
        raise InputError(f"--rater2 '{text}': no file of {folder} matches, and no such folder")
    return collected


def _by_folder(found: Found, folder: Path, place: Path) -> dict[str, list[Path]]:
    """Case id -> the files of `place` that are called like the case's label, or like the case."""
    files = [name for name in walk(place) if ending_of(name)]
    names = _names(found.cases, folder)
    collected: dict[str, list[Path]] = defaultdict(list)
    for relative in files:
        name = Path(relative).name
        known = next(
            (names[key] for key in (relative, name, without_ending(name)) if key in names), {without_ending(name)}
        )
        if len(known) > 1:
            raise InputError(
                f"{place / relative}: is called like the labels of {', '.join(sorted(known))}; name the files "
                "after the cases, or say with --rater2 'PATTERN' where the case id stands"
            )
        collected[next(iter(known))].append(place / relative)
    if not collected:
        raise InputError(f"--rater2 {place}: holds no label map")
    return collected


def _names(cases: tuple[Case, ...], folder: Path) -> Mapping[str, set[str]]:
    """What a second label map may be called -> the cases that it may belong to."""
    names: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        inside = case.label.is_relative_to(folder)
        relative = case.label.relative_to(folder).as_posix() if inside else case.label.name
        for name in (relative, case.label.name, case.case):
            names[name].add(case.case)
    return names


def _assigned(found: Found, files: Mapping[str, list[Path]]) -> Found:
    """Give each case its one file; files of no case, or several of one, are refused."""
    one = {case: paths[0] for case, paths in files.items() if len(paths) == 1}
    cases = tuple(replace(c, second_label=one.get(c.case)) for c in found.cases)
    passed = {*(one.keys() & {c.case for c in cases}), *(r.case for r in found.refusals)}
    refusals = [_refusal(case, paths) for case, paths in sorted(files.items()) if case not in passed]
    return replace(found, cases=cases, refusals=(*found.refusals, *refusals))


def _refusal(case: str, paths: list[Path]) -> Refusal:
    if len(paths) > 1:
        reason = f"{', '.join(map(str, paths))}: share the case id {case}; one of each is needed"
    else:
        reason = f"{paths[0]}: is a label without image (case {case})"
    return Refusal(case, reason, tuple(paths), second_rater=True)
