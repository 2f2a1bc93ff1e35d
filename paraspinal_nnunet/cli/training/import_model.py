"""Check an exported model and put it where nnU-Net's commands find it."""

import argparse
from pathlib import Path

HELP = "check an exported model and install it into nnUNet_results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="an exported model: .zip or folder")
    parser.add_argument("-o", dest="results", type=Path, help="where to (default: $nnUNet_results)")
    parser.add_argument("--overwrite", action="store_true", help="replace a model of the same name")


def run(args: argparse.Namespace) -> int:
    """Import, and say how to predict."""
    from paraspinal_nnunet.models.exported import import_model
    from paraspinal_nnunet.nnunet.datasets import nnunet_folder

    print(import_model(args.model, nnunet_folder("results", instead=args.results), overwrite=args.overwrite))
    return 0
