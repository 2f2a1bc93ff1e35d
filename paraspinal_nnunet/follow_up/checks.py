"""What speaks against a pair of scans: other people, the same mask twice, other voxels, coverage or settings."""

from collections.abc import Iterator
from itertools import chain

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.follow_up.changes import absent, cut_lengths, has_levels
from paraspinal_nnunet.follow_up.pairing import Pair, session_comes_first, session_of
from paraspinal_nnunet.measures.quality import WEIGHTS
from paraspinal_nnunet.measures.result import Flag
from paraspinal_nnunet.utils.text import quantity

SPACING_SHARE = 0.1
"""Voxels that differ by more than this share of the larger are told. Source: ours."""

PAIR_FLAGS = {
    "person": "nothing says that both scans are of one person, or both are the same mask",
    "order": "the sessions' names say that the later scan was the first",
    "missing": "a muscle has no voxels in one of the scans, or was looked for in one only",
    "spacing": f"the scans' voxels differ by more than {100 * SPACING_SHARE:g} %",
    "coverage": "a muscle reaches the end of a stack, and the stacks show unequal lengths of it",
    "settings": "the scans were measured in other ways, or by other releases",
    "position": "no level is known in both scans: slices are matched by their height in the scanner, which changes "
    "with how a person lies",
}
"""Kind of a flag -> what it means."""


def pair_flags(pair: Pair) -> tuple[Flag, ...]:
    """What a person should know before the changes of a pair, the worst first."""
    found = chain(
        _person(pair), _order(pair), _missing(pair), _spacing(pair), _coverage(pair), _settings(pair), _position(pair)
    )
    return tuple(sorted(found, key=lambda flag: -WEIGHTS[flag.severity]))


def _flag(kind: str, severity: str, text: str, subject: str = "", value: float = 0.0, limit: float = 0.0) -> Flag:
    return Flag(kind, severity, subject, text, value, limit)  # type: ignore[arg-type]


def _person(pair: Pair) -> Iterator[Flag]:
    labels = [scan.content.get("labels") for scan in (pair.earlier, pair.later)]
    rows = [scan.record["measures"] for scan in (pair.earlier, pair.later)]
    if (labels[0] and labels[0] == labels[1]) or (pair.same_stack and rows[0] == rows[1]):
        yield _flag("person", "serious", "both scans have the same mask: one scan was given twice")
    if pair.assumed:
        yield _flag(
            "person", "warning",
            f"taken for one person because each folder holds one scan: {pair.earlier.case} and {pair.later.case}",
        )  # fmt: skip


def _order(pair: Pair) -> Iterator[Flag]:
    earlier, later = (session_of(scan.case) for scan in (pair.earlier, pair.later))
    if earlier and later and session_comes_first(later, earlier):
        text = f"session {later} is given as the later one, session {earlier} as the earlier: were they exchanged?"
        yield _flag("order", "serious", text)


def _missing(pair: Pair) -> Iterator[Flag]:
    scans = (("earlier", pair.earlier, pair.later), ("later", pair.later, pair.earlier))
    for when, scan, other in scans:
        for muscle, side, _ in scan.wholes:
            key = (muscle, side, "")
            name = BY_KEY[f"{muscle}_{side}"].display_name
            if absent(scan.wholes[key]):
                yield _flag("missing", "serious", f"{name} has no voxels in the {when} scan", f"{muscle}_{side}")
            elif key not in other.wholes:
                yield _flag("missing", "serious", f"{name} was measured in the {when} scan only", f"{muscle}_{side}")


def _spacing(pair: Pair) -> Iterator[Flag]:
    sizes = {
        "area of a pixel": (pair.earlier.pixel_mm2, pair.later.pixel_mm2, "mm2"),
        "distance between slices": (pair.earlier.slice_spacing_mm, pair.later.slice_spacing_mm, "mm"),
    }
    for name, (first, second, unit) in sizes.items():
        share = abs(second - first) / max(first, second)
        if share > SPACING_SHARE:
            yield _flag(
                "spacing", "warning", f"{name}: {quantity(first)} {unit}, then {quantity(second)} {unit}",
                value=share, limit=SPACING_SHARE,
            )  # fmt: skip


def _coverage(pair: Pair) -> Iterator[Flag]:
    for key in [key for key in pair.earlier.wholes if key in pair.later.wholes]:
        if absent(pair.earlier.wholes[key]) or absent(pair.later.wholes[key]):
            continue
        lengths = cut_lengths(pair, key[0], key[1])
        if lengths:
            subject = f"{key[0]}_{key[1]}"
            yield _flag(
                "coverage", "warning",
                f"{BY_KEY[subject].display_name}: the stacks show {lengths[0]:.0f} mm of it, then {lengths[1]:.0f} mm; "
                "compare it by level, not as a whole",
                subject, abs(lengths[1] - lengths[0]), max(pair.earlier.slice_spacing_mm, pair.later.slice_spacing_mm),
            )  # fmt: skip


def _settings(pair: Pair) -> Iterator[Flag]:
    first, second = (scan.record["settings"] for scan in (pair.earlier, pair.later))
    methods = [set(scan.methods) for scan in (pair.earlier, pair.later)]
    if methods[0] != methods[1]:
        alone = sorted(methods[0] ^ methods[1])
        yield _flag("settings", "info", f"fat by {', '.join(alone)} was measured in one scan only, and is not compared")
    differing = [name for name in ("fat_per", "regrid", "label_values") if first.get(name) != second.get(name)]
    if differing:
        yield _flag("settings", "warning", f"measured with another setting of {', '.join(differing)}; measure again")
    releases = [scan.record["versions"].get("paraspinal-nnunet") for scan in (pair.earlier, pair.later)]
    if releases[0] != releases[1]:
        yield _flag("settings", "info", f"measured by release {releases[0]}, then by {releases[1]}")


def _position(pair: Pair) -> Iterator[Flag]:
    if not has_levels(pair) and not pair.same_stack:
        yield _flag(
            "position", "warning",
            "slices are matched by their height in the scanner, which changes with how the person lay: their changes "
            "are worth little; give both scans' vertebral levels (--levels) when measuring",
        )  # fmt: skip
