"""Folders as the authors' public code has them: `*_img.nii.gz` beside `*_GT.nii.gz`, labels 1 to 6."""

import argparse
from pathlib import Path

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.dataset_conversion.case import Found, Source
from paraspinal_nnunet.dataset_conversion.labels.translation import from_scheme
from paraspinal_nnunet.dataset_conversion.participants import FILE_NAME
from paraspinal_nnunet.dataset_conversion.patterns.pairing import find_pairs, pattern
from paraspinal_nnunet.dataset_conversion.sources import given_texts

HELP = "*_img.nii.gz beside *_GT.nii.gz with labels 1-6"
LAYOUT = "*_img.nii.gz + *_GT.nii.gz [+ rater2/*_GT.nii.gz] [+ participants.tsv]"
DEFAULT_NAME = "Paraspinal"

IMAGES = "{case}_img.nii.gz"
LABELS = "{case}_GT.nii.gz"
SECOND_RATER = "rater2/{case}_GT.nii.gz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing of its own."""


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    return author_source(**given_texts(args))


def author_source(*, licence: str = "", reference: str = "") -> Source:
    """Declare an author-style folder; a participants.tsv is read where it is there."""
    labels = from_scheme(LABEL_SCHEMES["author"])
    return Source("author", labels, _find, licence=licence, reference=reference, participants=FILE_NAME)


def _find(folder: Path) -> Found:
    return find_pairs(folder, pattern(IMAGES), pattern(LABELS), second_label=pattern(SECOND_RATER))
