"""Print the shell lines that let nnU-Net's stock commands find our trainers: eval "$(paraspinal env)"."""

import argparse
import os
import shlex
import sys

HELP = 'shell variables for the stock commands: eval "$(paraspinal env)"'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    fix = parser.add_mutually_exclusive_group()
    fix.add_argument(
        "--fix", "--mend", dest="fix", action="store_true", default=None,
        help="make the trainer look-up independent of torchvision (default: where torchvision does not fit torch)",
    )  # fmt: skip
    fix.add_argument("--no-fix", "--no-mend", dest="fix", action="store_false", help="leave PYTHONPATH alone")


def run(args: argparse.Namespace) -> int:
    """Print the exports."""
    from paraspinal_nnunet.nnunet.compat import fixed_python_path, torchvision_state, trainer_path

    problem = torchvision_state().problem
    print(f"export nnUNet_extTrainer={shlex.quote(trainer_path(os.environ))}")
    if args.fix or (args.fix is None and problem):
        print(f"export PYTHONPATH={shlex.quote(fixed_python_path(os.environ))}")
        if problem:
            print(f"{problem}: PYTHONPATH keeps it out of nnU-Net's trainer look-up", file=sys.stderr)
    return 0
