"""Any folder of image/label pairs: the converter that takes file name patterns and a label map."""

import argparse
from functools import partial
from pathlib import Path

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.dataset_conversion.cases import Found, Source
from paraspinal_nnunet.dataset_conversion.labels import LabelMap, label_map
from paraspinal_nnunet.dataset_conversion.participants import read_participants, with_people
from paraspinal_nnunet.dataset_conversion.patterns import Pattern, find_pairs, pattern
from paraspinal_nnunet.dataset_conversion.sources import given_texts

HELP = "any folder of image/label pairs"
LAYOUT = "as --image-pattern, --label-pattern and --labels say"
DEFAULT_NAME = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--image-pattern",
        required=True,
        metavar="GLOB",
        help="e.g. '{case}_img.nii.gz' or 'sub-*/anat/{case}_T2w.nii.gz'",
    )
    parser.add_argument("--label-pattern", required=True, metavar="GLOB", help="e.g. '{case}_GT.nii.gz'")
    parser.add_argument(
        "--labels",
        required=True,
        metavar="JSON|SCHEME",
        help=f"JSON file of label value -> class (or 'ignore'), or a scheme: {', '.join(LABEL_SCHEMES)}",
    )
    parser.add_argument(
        "--subject-pattern",
        metavar="REGEX",
        help="its first group, found in the case id, is the subject (default: the case id)",
    )
    parser.add_argument(
        "--participants", type=Path, metavar="TSV", help="table with participant_id, sex, age (years), bmi (kg/m2)"
    )
    parser.add_argument("--quadratus", action="store_true", help="keep quadratus lumborum as a class")
    parser.add_argument("--channel", default="T2", metavar="NAME", help="channel name in dataset.json (default: T2)")


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    return pairs_source(
        image_pattern=args.image_pattern,
        label_pattern=args.label_pattern,
        labels=label_map(args.labels, quadratus=args.quadratus),
        subject_pattern=args.subject_pattern,
        participants=args.participants,
        channel=args.channel,
        **given_texts(args),
    )


def pairs_source(
    *,
    image_pattern: str,
    label_pattern: str,
    labels: LabelMap,
    subject_pattern: str | None = None,
    participants: Path | None = None,
    channel: str = "T2",
    licence: str = "",
    reference: str = "",
) -> Source:
    """Declare a folder of pairs.

    Args:
        image_pattern: E.g. ``'{case}_img.nii.gz'``; see `patterns.Pattern`.
        label_pattern: E.g. ``'{case}_GT.nii.gz'``.
        labels: Which value is which muscle.
        subject_pattern: Regular expression whose first group, found in the case id, is the subject.
        participants: A participants.tsv.
        channel: Name of the image channel.
        licence: Of the data.
        reference: To the data.

    Raises:
        InputError: A pattern without `{case}`.
    """
    finder = partial(
        _find,
        image=pattern(image_pattern),
        label=pattern(label_pattern),
        subject=subject_pattern,
        participants=participants,
    )
    settings = {"image_pattern": image_pattern, "label_pattern": label_pattern}
    if subject_pattern is not None:
        settings["subject_pattern"] = subject_pattern
    return Source("pairs", labels, finder, channels=(channel,), licence=licence, reference=reference, settings=settings)


def _find(folder: Path, *, image: Pattern, label: Pattern, subject: str | None, participants: Path | None) -> Found:
    found = find_pairs(folder, image, label, subject=subject)
    return with_people(found, read_participants(participants), participants.name) if participants else found
