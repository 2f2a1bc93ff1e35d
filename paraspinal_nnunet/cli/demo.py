"""Placeholder of `paraspinal demo` until its module lands."""

import argparse

HELP = "demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    raise NotImplementedError
