"""Write a fold's augmented training images to disk, to look at or to use elsewhere; training makes its own."""

import argparse
from pathlib import Path

from paraspinal_nnunet.utils.workers import default_workers

HELP = "write a fold's augmented training images to disk (training needs none)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("-d", dest="dataset", required=True, help="data set number or name")
    parser.add_argument("-f", dest="fold", required=True, help="fold whose training cases to use, or 'all'")
    parser.add_argument(
        "-o", dest="output", required=True, type=Path, help="folder to write to; goes on where it ended"
    )
    parser.add_argument("-p", dest="plans", default="ParaspinalPlans", help="plans (default: %(default)s)")
    parser.add_argument(
        "-c", dest="configuration", default="2d", help="whose preprocessed cases (default: %(default)s)"
    )
    parser.add_argument(
        "--count", type=int, help="how many images, from the first one (default: all, the paper's 1000)"
    )
    parser.add_argument("-np", dest="processes", type=int, default=default_workers(), help="worker processes")
    parser.add_argument(
        "--set", dest="settings", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="change the augmentation, e.g. augmentation.space=physical augmentation.exchange_labels=false",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Augment, and say where the manifest is."""
    from paraspinal_nnunet.nnunet.compat import check_nnunet
    from paraspinal_nnunet.nnunet.datasets import nnunet_folder
    from paraspinal_nnunet.protocol.overrides import parse_settings
    from paraspinal_nnunet.training.augmentation.export import AugmentRequest, augment
    from paraspinal_nnunet.utils.files import refuse_overwriting_inputs
    from paraspinal_nnunet.utils.tables import whole_number

    check_nnunet()
    refuse_overwriting_inputs([], [], folders=[args.output], trees=[nnunet_folder("preprocessed")])
    request = AugmentRequest(
        dataset=args.dataset,
        fold=args.fold if (number := whole_number(args.fold)) is None else number,
        output=args.output,
        plans_name=args.plans,
        configuration=args.configuration,
        count=args.count,
        processes=max(1, args.processes),
        overrides=parse_settings(args.settings),
    )
    print(augment(request))
    return 0
