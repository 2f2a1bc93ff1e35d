"""Convert a folder of scans and label maps to an nnU-Net data set."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from paraspinal_nnunet.anatomy import LABEL_SCHEMES

if TYPE_CHECKING:
    from paraspinal_nnunet.dataset_conversion.cases import Source

HELP = "convert scans and label maps to an nnU-Net data set"

DEFAULT_WORKERS = min(8, os.cpu_count() or 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    sources = parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    pairs = _source_parser(sources, "pairs", "any folder of image/label pairs", name=None)
    pairs.add_argument(
        "--image-pattern",
        required=True,
        metavar="GLOB",
        help="e.g. '{case}_img.nii.gz' or 'sub-*/anat/{case}_T2w.nii.gz'",
    )
    pairs.add_argument("--label-pattern", required=True, metavar="GLOB", help="e.g. '{case}_GT.nii.gz'")
    pairs.add_argument(
        "--labels",
        required=True,
        metavar="JSON|SCHEME",
        help=f"JSON file of label value -> class (or 'ignore'), or a scheme: {', '.join(LABEL_SCHEMES)}",
    )
    pairs.add_argument(
        "--subject-pattern",
        metavar="REGEX",
        help="its first group, found in the case id, is the subject (default: the case id)",
    )
    pairs.add_argument(
        "--participants", type=Path, metavar="TSV", help="table with participant_id, sex, age (years), bmi (kg/m2)"
    )
    pairs.add_argument("--quadratus", action="store_true", help="keep quadratus lumborum as a class")
    pairs.add_argument("--channel", default="T2", metavar="NAME", help="channel name in dataset.json (default: T2)")
    _source_parser(sources, "author", "*_img.nii.gz beside *_GT.nii.gz with labels 1-6", name="Paraspinal")
    _source_parser(sources, "lpm", "the LPM_Segmentator release (multifidus and erector spinae)", name="LPM")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from paraspinal_nnunet.dataset_conversion.cases import Checks
    from paraspinal_nnunet.dataset_conversion.engine import RefusedError, convert
    from paraspinal_nnunet.datasets import nnunet_folder

    raw = nnunet_folder("raw", instead=args.raw)
    try:
        report = convert(
            _declared(args),
            args.input,
            number=args.dataset,
            name=args.name,
            raw=raw,
            checks=Checks(allow_empty=args.allow_empty_label, resample_labels=args.resample_labels, n4=args.n4),
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
    parser.add_argument("--licence", metavar="TEXT", help="licence of the data, for dataset.json")
    parser.add_argument("--reference", metavar="TEXT", help="reference to the data, for dataset.json")
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    return parser


def _declared(args: argparse.Namespace) -> "Source":
    texts = {key: value for key in ("licence", "reference") if (value := getattr(args, key)) is not None}
    if args.source == "author":
        from paraspinal_nnunet.dataset_conversion.author import author_source

        return author_source(**texts)
    if args.source == "lpm":
        from paraspinal_nnunet.dataset_conversion.lpm import lpm_source

        return lpm_source(**texts)
    from paraspinal_nnunet.dataset_conversion.labels import label_map
    from paraspinal_nnunet.dataset_conversion.pairs import pairs_source

    return pairs_source(
        image_pattern=args.image_pattern,
        label_pattern=args.label_pattern,
        labels=label_map(args.labels, quadratus=args.quadratus),
        subject_pattern=args.subject_pattern,
        participants=args.participants,
        channel=args.channel,
        **texts,
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number
