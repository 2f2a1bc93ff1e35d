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
    parser.add_argument("--seed", type=int, help="of everything (default: the recipe's)")
    parser.add_argument("-np", "--workers", type=int, default=1, help="processes that make batches (default: 1)")
    parser.add_argument(
        "--average-with", type=Path, nargs="*", default=(), metavar="ZIP",
        help="earlier models of the program's own, whose answers are averaged with the new one's",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="of the network (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Train and export."""
    from dataclasses import replace

    from paraspinal_nnunet.default_model.recipe import DEFAULT
    from paraspinal_nnunet.default_model.run import train_default

    given = {name: getattr(args, name) for name in ("iterations", "cases", "seed")}
    recipe = replace(DEFAULT, **{name: value for name, value in given.items() if value is not None})
    archive = train_default(
        args.output, recipe, workers=args.workers, threads=args.threads, average_with=args.average_with
    )
    print(archive)
    return 0
