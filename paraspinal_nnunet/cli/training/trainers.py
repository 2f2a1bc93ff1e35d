"""List every trainer with what it changes against the paper's protocol."""

import argparse

HELP = "list the trainers and what each changes against the paper"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    from paraspinal_nnunet.nnunet.compat import register_trainers

    register_trainers()

    from paraspinal_nnunet.trainers.listing import list_trainers

    for entry in list_trainers():
        print(f"{entry.name}\n    {entry.what}\n    against the paper: {entry.difference}")
    return 0
