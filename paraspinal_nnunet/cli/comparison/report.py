"""Gather an evaluation in one page that opens offline: the answer, tables, figures, plots and every case."""

import argparse
from pathlib import Path

HELP = "draw the figures and gather an evaluation in one page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "-e", "--evaluation", required=True, type=Path, metavar="DIR", help="folder of paraspinal evaluate"
    )
    parser.add_argument(
        "-s", "--statistics", type=Path, metavar="DIR",
        help="folder of paraspinal statistics on the same evaluation (default: compute them here)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="OUT", help="new folder, or one with an earlier report"
    )
    parser.add_argument("--model", metavar="NAME", help="the model to show in detail (default: the best)")
    parser.add_argument(
        "--case", metavar="NAME", help="the case of Figures 3 and 4 (default: the one nearest to the median Dice)"
    )
    parser.add_argument(
        "--levels", type=Path, metavar="CSV",
        help="vertebral levels for Figure 3: columns case, level (L1 to L5) and slice, counted from 1 at the feet "
        "(default: five slices evenly spaced through the labelled range)",
    )  # fmt: skip
    parser.add_argument(
        "--correction", choices=("none", "holm"), default="none",
        help="the p values that the stars of Figure 1 go by (default: uncorrected, as in the paper)",
    )  # fmt: skip
    parser.add_argument(
        "--embed", type=_count, default=4, metavar="K",
        help="how many of the worst cases are part of the page itself; the others are files beside it (default: 4)",
    )  # fmt: skip
    parser.add_argument("-np", "--workers", type=_count, metavar="N", help="cases at a time (default: one per core)")


def run(args: argparse.Namespace) -> int:
    """Write the report and print where it is."""
    from paraspinal_nnunet.evaluation.figures.run import FigureOptions
    from paraspinal_nnunet.evaluation.report.run import ReportOptions, write_report
    from paraspinal_nnunet.image_io.level_table import read_levels
    from paraspinal_nnunet.utils.files import refuse_overwriting_inputs

    refuse_overwriting_inputs([args.evaluation, args.statistics, args.levels], [], replaced=[args.output])
    levels = None if args.levels is None else read_levels(args.levels)
    options = ReportOptions(
        model=args.model,
        case=args.case,
        embed=args.embed,
        figures=FigureOptions(correction=args.correction, levels=levels),
        workers=args.workers,
    )
    page = write_report(args.evaluation, args.output, statistics=args.statistics, options=options)
    print(f"written: {page} ({page.stat().st_size / 1e6:.1f} MB)")
    return 0


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: give 1 or more")
    return number
