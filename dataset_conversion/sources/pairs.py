"""Any folder of image/label pairs: the converter that takes file name patterns and a label map."""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.dataset_conversion.case import Found, Source
from paraspinal_nnunet.dataset_conversion.labels.masks import mask_labels, read_case_masks
from paraspinal_nnunet.dataset_conversion.labels.translation import LabelTranslation, label_map
from paraspinal_nnunet.dataset_conversion.patterns.pairing import find_pairs
from paraspinal_nnunet.dataset_conversion.patterns.placeholders import Pattern, pattern
from paraspinal_nnunet.dataset_conversion.second_rater import second_folder
from paraspinal_nnunet.dataset_conversion.sources import given_texts
from paraspinal_nnunet.dataset_conversion.sources.structure_pairs import structure_classes, with_masks
from paraspinal_nnunet.errors import InputError

HELP = "any folder of image/label pairs"
LAYOUT = "as --image-pattern, --label-pattern and --labels say; .nii[.gz], .mha, .mhd, .nrrd"
DEFAULT_NAME = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--image-pattern",
        required=True,
        action="append",
        metavar="PATTERN",
        help="glob such as '{case}_img.nii.gz' or '{subject}/anat/{case}_T2w.nii.gz', or 're:' and a regular "
        "expression of the path with a group (?P<case>...); one per channel, each with its --channel",
    )
    parser.add_argument(
        "--label-pattern",
        required=True,
        metavar="PATTERN",
        help="likewise, e.g. '{case}_GT.nii.gz', or '{case}/{structure}.nii.gz' for one mask per structure",
    )
    parser.add_argument(
        "--labels",
        required=True,
        metavar="FILE|SCHEME",
        help="which value is which class: JSON or YAML of value -> class (or 'ignore') or class -> values; a label "
        f"table (.tsv, .csv, .ctbl, .label); or a scheme: {', '.join(LABEL_SCHEMES)}. With {{structure}}: 'names', or "
        "JSON or YAML of structure -> class",
    )
    parser.add_argument("--quadratus", action="store_true", help="keep quadratus lumborum as a class")


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    image, label = pattern(args.image_pattern[0]), pattern(args.label_pattern)
    given = args.rater2 if isinstance(args.rater2, str) else None
    place = second_folder(args.input, given) if given else None
    structures: dict[str, str] = {}
    if label.has_structure:
        if given is not None:
            raise InputError(
                f"--rater2 {given}: not where the labels are one mask per structure; merge the masks first"
            )
        structures = structure_classes(args.input, image, label, args.labels)
        labels = mask_labels(Path(args.labels).name, filter(None, structures.values()), quadratus=args.quadratus)
    else:
        labels = label_map(args.labels, quadratus=args.quadratus)
    return pairs_source(
        image_patterns=args.image_pattern,
        label_pattern=args.label_pattern,
        labels=labels,
        structures=structures,
        second_label_pattern=given if place is None else None,
        second_labels=place,
        channels=args.channel or ("T2",),
        **given_texts(args),
    )


def pairs_source(
    *,
    image_patterns: Sequence[str],
    label_pattern: str,
    labels: LabelTranslation,
    structures: Mapping[str, str] | None = None,
    second_label_pattern: str | None = None,
    second_labels: Path | None = None,
    channels: Sequence[str] = ("T2",),
    licence: str = "",
    reference: str = "",
) -> Source:
    """Declare a folder of pairs.

    Args:
        image_patterns: One per channel, e.g. ``'{case}_img.nii.gz'``; see `file_patterns.Pattern`.
        label_pattern: E.g. ``'{case}_GT.nii.gz'``.
        labels: Which value is which muscle.
        structures: With `{structure}` in the label pattern, structure -> canonical key, or '' for other structures.
        second_label_pattern: Where a second rater's labels are; not every case needs one.
        second_labels: A folder of a second rater's labels, where nothing else is looked for.
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
        _find,
        image=first,
        label=pattern(label_pattern, {"structure": tuple(structures)} if structures else None),
        second_label=pattern(second_label_pattern) if second_label_pattern else None,
        more_images=tuple(more),
        apart=second_labels,
        structures=structures or {},
        kept=frozenset(labels.values.values()),
    )
    return Source(
        "pairs",
        labels,
        finder,
        channels=tuple(channels),
        read_labels=read_case_masks,
        licence=licence,
        reference=reference,
        settings={"image_pattern": " ".join(image_patterns), "label_pattern": label_pattern},
    )


def _find(
    folder: Path,
    *,
    image: Pattern,
    label: Pattern,
    second_label: Pattern | None,
    more_images: tuple[Pattern, ...],
    apart: Path | None,
    structures: Mapping[str, str],
    kept: frozenset[str],
) -> Found:
    found = find_pairs(folder, image, label, second_label=second_label, more_images=more_images, apart=apart)
    return with_masks(found, label, structures, kept, folder) if structures else found
