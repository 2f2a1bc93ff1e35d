"""Placeholder of `paraspinal evaluate` until its module lands."""

import argparse

HELP = "evaluate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    raise NotImplementedError
