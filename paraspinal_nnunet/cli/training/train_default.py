"""Train the model that comes with the program anew: draw trunks, train, export; goes on where it was stopped."""

import argparse
from pathlib import Path

HELP = "train the program's own model anew, on computed scans alone"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder of pool, checkpoint, log and model"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help="steps (default: the recipe's)")
    parser.add_argument("--cases", type=int, metavar="N", help="drawn persons (default: the recipe's)")
    parser.add_argument("--seed", type=int, help="of the first network, one more of each other (default: the recipe's)")
    parser.add_argument("-np", "--workers", type=int, default=1, help="processes that make batches (default: 1)")
    parser.add_argument("--threads", type=int, default=1, help="of the network (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Train and export."""
    from dataclasses import replace

    from paraspinal_nnunet.default_model.recipe import MEMBERS
    from paraspinal_nnunet.default_model.run import train_default

    given = {n: getattr(args, n) for n in ("iterations", "cases") if getattr(args, n) is not None}
    members = [replace(recipe, **given) for recipe in MEMBERS]
    if args.seed is not None:
        members = [replace(recipe, seed=args.seed + number) for number, recipe in enumerate(members)]
    print(train_default(args.output, members, workers=args.workers, threads=args.threads))
    return 0
