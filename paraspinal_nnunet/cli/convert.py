"""Convert a folder of scans and label maps to an nnU-Net data set."""

import argparse
import os
import sys
from pathlib import Path

HELP = "convert scans and label maps to an nnU-Net data set"

DEFAULT_WORKERS = min(8, os.cpu_count() or 1)

_NAMES = "a GLOB matches the case id, the subject or the path of a file in DIR"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    from paraspinal_nnunet.dataset_conversion.sources import SOURCES, source_module

    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    for name in SOURCES:
        module = source_module(name)
        module.add_arguments(_source_parser(sources, name, module.HELP, name=module.DEFAULT_NAME))


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from paraspinal_nnunet.dataset_conversion.cases import Checks
    from paraspinal_nnunet.dataset_conversion.engine import RefusedError, convert
    from paraspinal_nnunet.dataset_conversion.selection import Selection, with_channels
    from paraspinal_nnunet.dataset_conversion.sources import source_module
    from paraspinal_nnunet.datasets import nnunet_folder

    raw = nnunet_folder("raw", instead=args.raw)
    try:
        report = convert(
            with_channels(source_module(args.source).source_from(args), args.channel or ()),
            args.input,
            number=args.dataset,
            name=args.name,
            raw=raw,
            checks=Checks(allow_empty=args.allow_empty_label, resample_labels=args.resample_labels, n4=args.n4),
            selection=Selection(
                include=tuple(args.include),
                exclude=tuple(args.exclude),
                subject_pattern=args.subject_pattern,
                participants=args.participants,
                rater2=args.rater2,
            ),
            workers=args.workers,
            overwrite=args.overwrite,
        )
    except RefusedError as error:
        print(error.report.text())
        refusals = error.report.refusals
        for refusal in refusals if len(refusals) > 1 else ():
            print(f"paraspinal convert: error: {refusal.reason}", file=sys.stderr)
        raise
    print(report.text())
    print(f"written to {raw / report.dataset}")
    return 0


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
    parser.add_argument(
        "-np",
        dest="workers",
        type=_positive,
        default=DEFAULT_WORKERS,
        metavar="N",
        help=f"worker processes (default: {DEFAULT_WORKERS})",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing data set of that number")
    parser.add_argument("--raw", type=Path, metavar="DIR", help="instead of the environment variable nnUNet_raw")
    parser.add_argument("--allow-empty-label", action="store_true", help="accept cases that lack a class")
    parser.add_argument(
        "--resample-labels",
        action="store_true",
        help="resample (nearest neighbour) a label map that lies on another grid than its image",
    )
    parser.add_argument("--n4", action="store_true", help="correct the images' bias field (N4; default: leave them)")
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
    parser.add_argument(
        "--rater2",
        nargs="?",
        const=True,
        default=False,
        metavar="GLOB",
        help="keep a second rater's labels as labels_rater2/; GLOB, e.g. 'rater2/{case}.nii.gz', says where they are "
        "if the source's layout does not",
    )
    parser.add_argument(
        "--channel", action="append", metavar="NAME", help="channel name in dataset.json; once per channel"
    )
    parser.add_argument("--licence", metavar="TEXT", help="licence of the data, for dataset.json")
    parser.add_argument("--reference", metavar="TEXT", help="reference to the data, for dataset.json")
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number
