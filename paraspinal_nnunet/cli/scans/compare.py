"""Compare two scans of the same people: changes of volume, area and fat, beside the smallest detectable change."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paraspinal_nnunet.follow_up.changes import Change

HELP = "compare two time points of the same people: what changed in their muscles"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "earlier", type=Path, metavar="EARLIER",
        help="results of paraspinal predict or paraspinal measure at the first time point",
    )  # fmt: skip
    parser.add_argument(
        "later", type=Path, nargs="?", metavar="LATER",
        help="results at the second; without them EARLIER holds two BIDS sessions of each subject",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument(
        "--pairs", type=Path, metavar="TABLE",
        help="which cases belong together: a table with the columns earlier and later, and person where wanted "
        "(default: BIDS subjects, else cases of one name)",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", type=Path, nargs=2, metavar=("FIRST", "SECOND"),
        help="measures of the same people by two raters, or of two scans within days: they tell the smallest "
        "detectable change of every measure (default: the paper's raters, for whole volumes)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Compare, and say what was found."""
    from paraspinal_nnunet.follow_up.changes import WHOLE
    from paraspinal_nnunet.follow_up.run import FollowUpRequest, follow_up

    repeats = tuple(args.repeats) if args.repeats else None
    found = follow_up(FollowUpRequest(args.earlier, args.later, args.output, args.pairs, repeats))
    for result in found.results:
        volumes = [c for c in result.changes if c.scope == WHOLE and c.measure == "volume_ml"]
        print(f"{result.pair.person}: volumes {', '.join(map(_change, volumes))}")
        for flag in result.flags:
            print(f"  {flag.severity}: {flag.text}")
    print(f"written: {found.page} and {', '.join(path.name for path in found.files)}")
    return 0


def _change(change: "Change") -> str:
    name = f"{change.muscle} {change.side}".replace("_", " ")
    if change.change != change.change:  # NaN
        return f"{name} {change.note or 'not known'}"
    return f"{name} {change.change_percent:+.1f} %" + (" (beyond the detectable)" if change.beyond == "yes" else "")
