"""Placeholder of `paraspinal doctor` until its module lands."""

import argparse

HELP = "doctor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    raise NotImplementedError
