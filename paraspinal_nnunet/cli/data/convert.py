"""Convert a folder of scans and label maps to an nnU-Net data set."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet.cli.flags import add_max_voxels
from paraspinal_nnunet.utils.workers import default_workers

if TYPE_CHECKING:
    from paraspinal_nnunet.dataset_conversion.case import Checks
    from paraspinal_nnunet.dataset_conversion.report import Report
    from paraspinal_nnunet.dataset_conversion.selection import CaseSelection

HELP = "convert scans and label maps to an nnU-Net data set"

DEFAULT_WORKERS = default_workers()

_NAMES = "a GLOB matches the case id, the subject or the path of a file in DIR"


_TABLES = ("participants", "ids", "labels")
"""Flags of files that are read beside the input folder."""

_FOLDERS = ("input", "lpm", "masks")
"""Flags of folders that are read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from paraspinal_nnunet.dataset_conversion.sources import SOURCES, source_module

    parser.add_argument(
        "--list", action=_List, nargs=0, help="list the sources with the layout of their files, and exit"
    )
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    for name in SOURCES:
        module = source_module(name)
        own = _source_parser(sources, name, module.HELP, name=module.DEFAULT_NAME)
        own.epilog = f"Files: {module.LAYOUT}"
        module.add_arguments(own)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from paraspinal_nnunet.dataset_conversion.describe import write_report
    from paraspinal_nnunet.dataset_conversion.engine import RefusedError, convert
    from paraspinal_nnunet.dataset_conversion.selection import with_channels
    from paraspinal_nnunet.dataset_conversion.sources import source_module
    from paraspinal_nnunet.errors import InputError
    from paraspinal_nnunet.nnunet.datasets import nnunet_folder
    from paraspinal_nnunet.utils.files import refuse_overwriting_inputs

    if args.n4:
        from paraspinal_nnunet.dataset_conversion.images.bias_field import get_simpleitk

        get_simpleitk()
    if args.report and args.report.is_dir():
        raise InputError(f"--report {args.report}: is a folder; give a file")
    raw = nnunet_folder("raw", instead=args.raw)
    tables = [Path(given) for name in _TABLES if (given := getattr(args, name, None))]
    folders = [given for name in _FOLDERS if (given := getattr(args, name, None))]
    refuse_overwriting_inputs(tables, [args.report], trees=folders)
    try:
        report = convert(
            with_channels(source_module(args.source).source_from(args), args.channel or ()),
            args.input,
            number=args.dataset,
            name=args.name,
            raw=raw,
            checks=_checks(args),
            selection=_selection(args),
            workers=args.workers,
            overwrite=args.overwrite,
            mode="dry run" if args.dry_run else "without refused" if args.skip_refused else "whole",
            draw_previews=_previews(args) if args.previews else None,
        )
    except RefusedError as error:
        print(error.report.text())
        _print_refusals(error.report, at_least=2)
        if args.report:
            write_report(args.report, error.report)
        raise
    print(report.text())
    if not args.dry_run:
        print(f"written to {raw / report.dataset}")
    _print_refusals(report, at_least=1)
    if args.report:
        write_report(args.report, report)
    return 1 if report.refusals else 0


def _previews(args: argparse.Namespace) -> "Callable[[Path, Path], object]":
    from functools import partial

    from paraspinal_nnunet.nnunet.datasets import dataset_name
    from paraspinal_nnunet.quality_control.previews import write_previews

    return partial(write_previews, workers=args.workers, title=dataset_name(args.dataset, args.name))


def _print_refusals(report: "Report", *, at_least: int) -> None:
    from paraspinal_nnunet.dataset_conversion.passed_over import as_line

    if report.passed_over:
        print(f"paraspinal convert: warning: {as_line(report.passed_over)}", file=sys.stderr)
    refusals = report.refusals
    for refusal in refusals if len(refusals) >= at_least else ():
        print(f"paraspinal convert: error: {refusal.reason}", file=sys.stderr)


def _checks(args: argparse.Namespace) -> "Checks":
    from paraspinal_nnunet.dataset_conversion.case import Checks

    return Checks(
        allow_empty=args.allow_empty_label,
        resample_labels=args.resample_labels,
        n4=args.n4,
        sides=args.sides,
        resample_channels=args.resample_channels,
        crop_margin=args.crop_to_labels,
    )


def _selection(args: argparse.Namespace) -> "CaseSelection":
    from paraspinal_nnunet.dataset_conversion.selection import CaseSelection

    return CaseSelection(
        include=tuple(args.include),
        exclude=tuple(args.exclude),
        subject_pattern=args.subject_pattern,
        participants=args.participants,
        rater2=args.rater2,
    )


def _source_parser(
    sources: "argparse._SubParsersAction[argparse.ArgumentParser]", source: str, text: str, *, name: str | None
) -> argparse.ArgumentParser:
    """A converter with the flags that all converters have."""
    parser = sources.add_parser(source, help=text, description=f"Convert {text}.")
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="DIR", help="folder to convert")
    parser.add_argument("-d", dest="dataset", type=int, required=True, metavar="ID", help="data set number, 1 to 999")
    parser.add_argument(
        "-n",
        dest="name",
        default=name,
        required=name is None,
        metavar="NAME",
        help="data set name" + (f" (default: {name})" if name else ""),
    )
    _add_running(parser)
    _add_choosing(parser)
    _add_treating(parser)
    parser.add_argument("--licence", metavar="TEXT", help="licence of the data, for dataset.json")
    parser.add_argument("--reference", metavar="TEXT", help="reference to the data, for dataset.json")
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    return parser


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-np",
        dest="workers",
        type=_positive,
        default=DEFAULT_WORKERS,
        metavar="N",
        help=f"worker processes (default: {DEFAULT_WORKERS})",
    )
    add_max_voxels(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing data set of that number")
    parser.add_argument("--raw", type=Path, metavar="DIR", help="instead of the environment variable nnUNet_raw")
    parser.add_argument("--dry-run", action="store_true", help="check every case and write nothing")
    parser.add_argument(
        "--skip-refused",
        action="store_true",
        help="write the data set without the refused cases (the exit code still tells of them)",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="also write the report here, refused or not (.json or .tsv)"
    )
    parser.add_argument(
        "--previews", action="store_true", help="draw every case's labels over its image, with L and R marked"
    )


def _add_choosing(parser: argparse.ArgumentParser) -> None:
    for flag, what in (("--include", "only these cases"), ("--exclude", "not these cases")):
        parser.add_argument(flag, nargs="+", action="extend", default=[], metavar="GLOB", help=f"{what}; {_NAMES}")
    parser.add_argument(
        "--subject-pattern",
        metavar="REGEX",
        help="its first group, found in the case id, is the subject (default: as the source has it)",
    )
    parser.add_argument(
        "--participants", type=Path, metavar="TSV", help="table with participant_id, sex, age (years), bmi (kg/m2)"
    )
    second = parser.add_mutually_exclusive_group()
    second.add_argument(
        "--rater2",
        nargs="?",
        const=True,
        metavar="FOLDER|GLOB",
        help="a second rater's labels, kept as labels_rater2/ (default: kept where the source's layout has some; alone "
        "the flag demands them): a FOLDER of label maps called like the first rater's or like the cases, or a GLOB, "
        "e.g. 'rater2/{case}.nii.gz'",
    )
    second.add_argument(
        "--no-rater2", dest="rater2", action="store_const", const=False, help="leave a second rater's labels out"
    )
    parser.add_argument(
        "--channel", action="append", metavar="NAME", help="channel name in dataset.json; once per channel"
    )


def _add_treating(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--allow-empty-label", action="store_true", help="accept cases that lack a class")
    parser.add_argument(
        "--resample-labels",
        action="store_true",
        help="resample (nearest neighbour) a label map that lies on another grid than its image",
    )
    parser.add_argument(
        "--resample-channels",
        action="store_true",
        help="resample (linear) a channel that lies on another grid onto the first one's",
    )
    sides = parser.add_mutually_exclusive_group()
    sides.add_argument(
        "--swap-sides",
        dest="sides",
        action="store_const",
        const="swap-sides",
        help="exchange right and left labels in cases whose sides all contradict the geometry: the header is right",
    )
    sides.add_argument(
        "--trust-labels",
        dest="sides",
        action="store_const",
        const="trust-labels",
        help="mirror the header's left-right axis in such cases: the labels are right",
    )
    parser.set_defaults(sides="refuse")
    parser.add_argument(
        "--crop-to-labels",
        type=_not_negative,
        nargs="?",
        const=0,
        metavar="MARGIN",
        help="keep only the labelled slices and MARGIN (default: 0) on either side; in plane nothing is cropped",
    )
    parser.add_argument(
        "--n4", action="store_true", help="correct the images' bias field (N4, extra [itk]; default: leave it)"
    )


class _List(argparse.Action):
    """Prints the sources, whatever else is missing from the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        _values: str | Sequence[Any] | None,
        _option: str | None = None,
    ) -> None:
        from paraspinal_nnunet.dataset_conversion.sources import SOURCES, source_module

        width = max(map(len, SOURCES))
        for name in SOURCES:
            module = source_module(name)
            print(f"{name.ljust(width)}  {module.HELP}\n{' ' * width}  {module.LAYOUT}")
        parser.exit()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number
