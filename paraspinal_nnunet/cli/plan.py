"""Placeholder of `paraspinal plan` until its module lands."""

import argparse

HELP = "plan"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    raise NotImplementedError
