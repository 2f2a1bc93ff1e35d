"""A follow-up from folders to files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.follow_up.changes import changes_of
from paraspinal_nnunet.follow_up.checks import pair_flags
from paraspinal_nnunet.follow_up.detectable import FEWEST_PEOPLE, Detectable, from_repeats, with_detectable
from paraspinal_nnunet.follow_up.outputs import PairResult, write_follow_up
from paraspinal_nnunet.follow_up.page import write_page
from paraspinal_nnunet.follow_up.pairing import Pair, pair_scans, pair_sessions
from paraspinal_nnunet.follow_up.scans import find_scans
from paraspinal_nnunet.utils.files import refuse_overwriting_inputs

PAGE_FILE = "index.html"


@dataclass(frozen=True)
class FollowUpRequest:
    """What to compare.

    Attributes:
        earlier: Measures of the first time point; of both, where `later` is None.
        later: Measures of the second.
        output: Folder for the results.
        pairs: Table of pairs; None pairs by name.
        repeats: Measures of the same people twice, which tell the smallest detectable change; None takes the paper's.
    """

    earlier: Path
    later: Path | None
    output: Path
    pairs: Path | None = None
    repeats: tuple[Path, Path] | None = None


@dataclass(frozen=True)
class FollowUp:
    """What was found.

    Attributes:
        results: Of every pair.
        page: The page.
        files: Tables and record.
    """

    results: tuple[PairResult, ...]
    page: Path
    files: tuple[Path, ...]


def follow_up(request: FollowUpRequest) -> FollowUp:
    """Compare two time points and write tables, record and page.

    Raises:
        InputError: Nothing measured, nobody with two scans, two people in one pair, or too few read twice.
    """
    repeats = request.repeats or ()
    inputs = [request.earlier, request.later, *repeats]
    refuse_overwriting_inputs([request.pairs], [], folders=[request.output], trees=inputs)
    pairs = _pairs(request)
    known = None if request.repeats is None else _detectable(*request.repeats)
    results = tuple(
        PairResult(pair, with_detectable(changes_of(pair), pair, known), pair_flags(pair)) for pair in pairs
    )
    request.output.mkdir(parents=True, exist_ok=True)
    files = write_follow_up(request.output, results, _settings(request, known))
    page = write_page(request.output / PAGE_FILE, results, about=_about(known))
    return FollowUp(results, page, tuple(files))


def _pairs(request: FollowUpRequest) -> tuple[Pair, ...]:
    earlier = find_scans(request.earlier)
    if request.later is None:
        return (
            pair_scans(earlier, earlier, request.pairs)
            if request.pairs is not None
            else pair_sessions(earlier, request.earlier)
        )
    if request.later.exists() and request.later.resolve() == request.earlier.resolve():
        raise InputError(f"{request.later}: is given as both time points; give it once to compare its BIDS sessions")
    return pair_scans(earlier, find_scans(request.later), request.pairs)


def _detectable(first: Path, second: Path) -> dict[Any, Detectable]:
    if first.exists() and second.exists() and first.resolve() == second.resolve():
        raise InputError(f"{first}: is given as both readings; give two")
    pairs = pair_scans(find_scans(first), find_scans(second))
    if len(pairs) < FEWEST_PEOPLE:
        raise InputError(
            f"{first} and {second}: {len(pairs)} were read twice; the smallest detectable change needs at least "
            f"{FEWEST_PEOPLE}"
        )
    return from_repeats(pairs)


def _settings(request: FollowUpRequest, known: Mapping[Any, Detectable] | None) -> dict[str, Any]:
    named: dict[str, Any] = {
        "earlier": request.earlier.name,
        "later": request.later.name if request.later else request.earlier.name,
        "pairs": request.pairs.name if request.pairs else None,
        "repeats": [path.name for path in request.repeats] if request.repeats else None,
    }
    if known:
        named["people_read_twice"] = max(each.people for each in known.values())
    return named


def _about(known: Mapping[Any, Detectable] | None) -> str:
    if known is None:
        return (
            "Smallest detectable changes stand beside whole volumes only, where the scans are about as long as the "
            "paper's: what they were at most between the paper's two raters. Give people who were read twice "
            "(--repeats) for those of your own readings."
        )
    people = max((each.people for each in known.values()), default=0)
    return (
        f"The smallest detectable change is 1.96 x √2 x the standard error of measurement, from {people} people who "
        "were read twice: a second reading of an unchanged muscle differs by less in 19 of 20 cases, and so by more in "
        "one of 20."
    )
