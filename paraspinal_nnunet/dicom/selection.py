"""Selecting a study's axial T2 stack of the lumbar spine; every series gets a line that says why or why not.

Geometry and acquisition tags decide first; words of the description only where those are silent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paraspinal_nnunet.dicom.find import Study, scan_study
from paraspinal_nnunet.dicom.grid import slice_grid
from paraspinal_nnunet.dicom.records import Kind, Series
from paraspinal_nnunet.dicom.selection_rules import RULES, RULES_OF_KIND, is_fat_suppressed
from paraspinal_nnunet.errors import GeometryError, InputError
from paraspinal_nnunet.utils.text import pluralize

TYPICAL_TE_MS = 100.0
"""Of several echoes the one nearest to this is chosen: lumbar T2 is acquired at about 80 to 120 ms."""

SAME_COVERAGE = 0.5
"""Two scans show the same when the shorter one lies within the longer one by at least this share of its length."""

_HINT = "choose with --series NUMBER, UID or regular expression"


@dataclass(frozen=True)
class SeriesVerdict:
    """What was made of one series.

    Attributes:
        series: The series.
        accepted: Whether it was chosen.
        reason: Why, in a few words.
    """

    series: Series
    accepted: bool
    reason: str

    def __str__(self) -> str:
        return f"{'accepted' if self.accepted else 'rejected'}  {self.series.name}: {self.reason}"


@dataclass(frozen=True)
class SeriesSelection:
    """A study with its choice.

    Attributes:
        chosen: The series to read.
        lines: One verdict per series, in the order of their numbers.
        series: All series, among them DICOM SEG objects.
        other_files: Number of files that are no DICOM images.
    """

    chosen: Series
    lines: tuple[SeriesVerdict, ...]
    series: tuple[Series, ...]
    other_files: int = 0

    def text(self) -> str:
        """The explanation, one line per series; it holds series descriptions."""
        others = [f"{self.other_files} other files not used"] if self.other_files else []
        return "\n".join([*map(str, self.lines), *others])

    def of_kind(self, kind: Kind) -> tuple[Series, ...]:
        """The series of one kind."""
        return tuple(s for s in self.series if s.kind is kind)


def select_in_study(path: Path, *, series: str | int | None = None) -> SeriesSelection:
    """Choose the axial T2 stack of a study.

    Args:
        path: A folder; for a zip archive open it with `opened_source` first.
        series: What to take instead: a series number, a key such as ``'5.2'``, a SeriesInstanceUID, or a regular
            expression that is searched for in the descriptions; None for the rules.

    Raises:
        InputError: No DICOM, nothing that fits, or several that fit equally well, with all candidates listed.
    """
    return select_series(scan_study(Path(path)), series=series)


def select_series(study: Study, *, series: str | int | None = None, labelled: Series | None = None) -> SeriesSelection:
    """As `select_in_study`, of headers that are read already.

    Args:
        study: All series.
        series: What to take instead.
        labelled: A DICOM SEG: where it names its source, no other series is accepted.
    """
    if series is None:
        lines = _choose(study.series, labelled.header.references if labelled else ())
    else:
        asked = pick(study.series, str(series))
        lines = [SeriesVerdict(s, s is asked, "asked for" if s is asked else "not asked for") for s in study.series]
    chosen = next(line.series for line in lines if line.accepted)
    return SeriesSelection(chosen, tuple(lines), study.series, study.other_files)


def pick(series: Sequence[Series], wanted: str, *, kind: Kind = Kind.IMAGE, flag: str = "--series") -> Series:
    """The one series that a user named.

    Args:
        series: All series of a study.
        wanted: Key, number, UID or regular expression (capitals ignored); tried in this order.
        kind: What it is to be.
        flag: For messages.

    Raises:
        InputError: None or several fit, or an expression that is invalid.
    """
    images = [s for s in series if s.kind is kind]
    by_key = [s for s in images if s.key == wanted or s.uid == wanted] or [s for s in images if str(s.number) == wanted]
    if not by_key:
        try:
            regex = re.compile(wanted, re.IGNORECASE)
        except re.error as error:
            raise InputError(f"{flag} '{wanted}': is no regular expression ({error})") from error
        by_key = [s for s in images if regex.search(s.description)]
    if len(by_key) == 1:
        return by_key[0]
    found = "fits " + _listing(by_key) if by_key else f"fits none of {_listing(images)}"
    raise InputError(f"{flag} '{wanted}': {found}; give the number (as shown here) or the UID of one")


def _choose(series: Sequence[Series], sources: Sequence[str]) -> list[SeriesVerdict]:
    reasons = {id(s): next((why for rule in RULES if (why := rule(s, series))), "") for s in series}
    if any(s.uid in sources for s in series):
        unlabelled = [s for s in series if s.uid not in sources and not reasons[id(s)]]
        reasons |= {id(s): "not the series that the DICOM SEG was drawn on" for s in unlabelled}
    candidates = [s for s in series if not reasons[id(s)]]
    if not candidates:
        lines = "; ".join(f"{s.name}: {reasons[id(s)]}" for s in series if s.kind is Kind.IMAGE) or "no images"
        raise InputError(f"no axial T2 stack found ({lines}); {_HINT}")
    best, beaten = _best(candidates)
    parts = [s for s in series if s is not best and not any(rule(s, series) for rule in RULES_OF_KIND)]
    if parts := [s for s in parts if _complete_each_other(best, s)]:
        raise InputError(f"{_listing([best, *parts])} make one even stack together, and none is whole alone; {_HINT}")
    verdicts = []
    for s in series:
        if s is best:
            why = "the DICOM SEG was drawn on it" if s.uid in sources else ""
            verdicts.append(SeriesVerdict(s, True, _praise(s, len(candidates), why)))
        else:
            verdicts.append(SeriesVerdict(s, False, reasons[id(s)] or beaten[id(s)]))
    return verdicts


def _best(candidates: Sequence[Series]) -> tuple[Series, dict[int, str]]:
    """The best candidate and why each other one is not; ambiguity is an error."""
    left, beaten = _one_echo_each(candidates)
    for measure, reason in _PREFERENCES:
        top = max(measure(s) for s in left)
        for s in [s for s in left if measure(s) < top]:
            left.remove(s)
            beaten[id(s)] = reason
    if len(left) > 1:
        raise InputError(f"{len(left)} series fit equally well: {_listing(left)}; {_HINT}")
    best = left[0]
    apart = [s for s in candidates if s is not best and not _covers_same(best, s)]
    if apart:
        raise InputError(
            f"{_listing([best, *apart])} show different parts of the spine, so that none stands for the study; {_HINT}"
        )
    return best, {key: f"{reason} ({best.name} is accepted)" for key, reason in beaten.items()}


def _one_echo_each(candidates: Sequence[Series]) -> tuple[list[Series], dict[int, str]]:
    """Of several echoes of one series the one nearest to `TYPICAL_TE_MS`, and why the others are not."""
    left, beaten = list(candidates), {}
    for s in candidates:
        echoes = [c for c in candidates if c.uid == s.uid]
        nearest = min(map(_distance_of_te, echoes))
        if _distance_of_te(s) > nearest:
            left.remove(s)
            beaten[id(s)] = f"another echo, further from TE {TYPICAL_TE_MS:g} ms"
    return left, beaten


def _distance_of_te(series: Series) -> float:
    te = series.frames[0].traits.get("echo_time_ms")
    return float("inf") if te is None else abs(te - TYPICAL_TE_MS)


def _is_original(series: Series) -> float:
    return float(series.frames[0].image_type[:1] != ("DERIVED",))


def _is_plain_contrast(series: Series) -> float:
    """Not fat-suppressed: fat between and within the muscles is what the protocol's scans show."""
    return float(not is_fat_suppressed(series))


def _is_in_phase_or_plain(series: Series) -> float:
    words = {*series.frames[0].image_type}
    return float(not words & {"W", "WATER", "F", "FAT", "OP", "OPP_PHASE", "OUT_PHASE", "FF", "FAT_FRACTION"})


def _slices(series: Series) -> float:
    return float(len(series.frames))


def _resolution(series: Series) -> float:
    spacing = series.frames[0].pixel_spacing_mm
    return -round(spacing[0] * spacing[1], 3) if spacing else float("-inf")


_PREFERENCES = (
    (_is_original, "derived from another"),
    (_is_in_phase_or_plain, "a Dixon part image"),
    (_is_plain_contrast, "fat-suppressed"),
    (_slices, "scanned twice, with fewer slices"),
    (_resolution, "scanned twice, at lower resolution"),
)


def _covers_same(a: Series, b: Series) -> bool:
    """Whether the shorter of two axial stacks lies largely within the longer one, along head-foot."""
    (low_a, high_a), (low_b, high_b) = (_extent_mm(s) for s in (a, b))
    common = min(high_a, high_b) - max(low_a, low_b)
    return common >= SAME_COVERAGE * min(high_a - low_a, high_b - low_b)


def _complete_each_other(a: Series, b: Series) -> bool:
    """Whether two series are one stack that was torn apart: no place twice, and all together at equal distances."""
    if a.header.frame_of_reference_uid != b.header.frame_of_reference_uid:
        return False
    try:
        slice_grid([*a.frames, *b.frames], "")
    except GeometryError:
        return False
    return True


def _extent_mm(series: Series) -> tuple[float, float]:
    z = np.array([f.position_mm[2] for f in series.frames if f.position_mm is not None])
    return float(z.min()), float(z.max())


def _praise(series: Series, candidates: int, why: str) -> str:
    traits = series.frames[0].traits
    spacing = series.frames[0].pixel_spacing_mm
    texts = ["axial", pluralize(len(series.frames), "slice")]
    if "echo_time_ms" in traits:
        texts.append(f"TE {traits['echo_time_ms']:.4g} ms")
    if "repetition_time_ms" in traits:
        texts.append(f"TR {traits['repetition_time_ms']:.4g} ms")
    if spacing:
        texts.append(f"pixels of {spacing[0]:.4g} mm")
    why = why or (f"the best of {candidates} that fit" if candidates > 1 else "the only one that fits")
    return f"{', '.join(texts)}; {why}"


def _listing(series: Sequence[Series]) -> str:
    return ", ".join(f"{s.name} [{pluralize(len(s.frames), 'slice')}]" for s in series) or "none"
