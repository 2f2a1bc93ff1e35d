"""Any folder of image/label pairs: the converter that takes file name patterns and a label map."""

import argparse
from collections.abc import Sequence
from functools import partial

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.dataset_conversion.cases import Source
from paraspinal_nnunet.dataset_conversion.labels import LabelMap, label_map
from paraspinal_nnunet.dataset_conversion.patterns import find_pairs, pattern
from paraspinal_nnunet.dataset_conversion.sources import given_texts
from paraspinal_nnunet.errors import InputError

HELP = "any folder of image/label pairs"
LAYOUT = "as --image-pattern, --label-pattern and --labels say"
DEFAULT_NAME = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--image-pattern",
        required=True,
        action="append",
        metavar="GLOB",
        help="e.g. '{case}_img.nii.gz' or 'sub-*/anat/{case}_T2w.nii.gz'; one per channel, each with its --channel",
    )
    parser.add_argument("--label-pattern", required=True, metavar="GLOB", help="e.g. '{case}_GT.nii.gz'")
    parser.add_argument(
        "--labels",
        required=True,
        metavar="JSON|SCHEME",
        help=f"JSON file of label value -> class (or 'ignore'), or a scheme: {', '.join(LABEL_SCHEMES)}",
    )
    parser.add_argument("--quadratus", action="store_true", help="keep quadratus lumborum as a class")


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    return pairs_source(
        image_patterns=args.image_pattern,
        label_pattern=args.label_pattern,
        labels=label_map(args.labels, quadratus=args.quadratus),
        second_label_pattern=args.rater2 if isinstance(args.rater2, str) else None,
        channels=args.channel or ("T2",),
        **given_texts(args),
    )


def pairs_source(
    *,
    image_patterns: Sequence[str],
    label_pattern: str,
    labels: LabelMap,
    second_label_pattern: str | None = None,
    channels: Sequence[str] = ("T2",),
    licence: str = "",
    reference: str = "",
) -> Source:
    """Declare a folder of pairs.

    Args:
        image_patterns: One per channel, e.g. ``'{case}_img.nii.gz'``; see `patterns.Pattern`.
        label_pattern: E.g. ``'{case}_GT.nii.gz'``.
        labels: Which value is which muscle.
        second_label_pattern: Where a second rater's labels are; not every case needs one.
        channels: Names of the image channels.
        licence: Of the data.
        reference: To the data.

    Raises:
        InputError: A pattern without `{case}`, or not one name per channel.
    """
    if len(channels) != len(image_patterns):
        raise InputError(
            f"{len(image_patterns)} times --image-pattern, {len(channels)} channel names; give one --channel for each"
        )
    first, *more = map(pattern, image_patterns)
    finder = partial(
        find_pairs,
        image=first,
        label=pattern(label_pattern),
        second_label=pattern(second_label_pattern) if second_label_pattern else None,
        more_images=tuple(more),
    )
    settings = {"image_pattern": " ".join(image_patterns), "label_pattern": label_pattern}
    return Source(
        "pairs", labels, finder, channels=tuple(channels), licence=licence, reference=reference, settings=settings
    )
