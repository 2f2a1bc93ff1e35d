"""The converters by name: each is one small module that declares its source and the flags it has of its own."""

import argparse
import importlib
from typing import Protocol, cast

from paraspinal_nnunet.dataset_conversion.case import Source

SOURCES = ("pairs", "author", "lpm", "bids", "musclemap", "totalsegmentator", "dicom", "myosegmentum", "boxes")
"""Module names in this package, the general one first."""


class SourceModule(Protocol):
    """What a converter's module holds.

    Attributes:
        HELP: What it takes, in a few words.
        LAYOUT: How its files lie, in one line of patterns, for ``paraspinal convert --list``.
        DEFAULT_NAME: The data set's name where none is given; None demands one.
    """

    HELP: str
    LAYOUT: str
    DEFAULT_NAME: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the flags that this converter alone has."""

    def source_from(self, args: argparse.Namespace) -> Source:
        """The source that the command line describes."""


def source_module(name: str) -> SourceModule:
    """The module of a converter."""
    return cast(SourceModule, importlib.import_module(f"{__name__}.{name}"))


def given_texts(args: argparse.Namespace) -> dict[str, str]:
    """Licence and reference where the command line gives them; else the converter's own stand."""
    return {key: value for key in ("licence", "reference") if (value := getattr(args, key)) is not None}
