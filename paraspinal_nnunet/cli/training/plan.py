"""Fingerprint, plans, folds by subject and preprocessing of a data set, for the paper's trainers or for a baseline."""

import argparse

from paraspinal_nnunet.utils.workers import default_workers

HELP = "plan and preprocess a data set"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("-d", dest="dataset", required=True, help="data set number or name")
    parser.add_argument(
        "-c", dest="configurations", nargs="+", default=["2d", "3d_fullres"],
        choices=["2d", "3d_fullres", "2.5d", "2.5d_orthogonal"],
        help="configurations (default: 2d 3d_fullres)",
    )  # fmt: skip
    parser.add_argument("-np", dest="processes", type=int, default=default_workers(), help="worker processes")
    parser.add_argument("-p", dest="plans", help="name of the plans (default: ParaspinalPlans, nnUNetPlans)")
    parser.add_argument(
        "--set", dest="settings", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="change a protocol number, e.g. iterations=400 batch_size=8 spacing=5,1,1; needs -p",
    )  # fmt: skip
    parser.add_argument("--baseline", action="store_true", help="nnU-Net's self-configured plans, on the same folds")
    parser.add_argument("--stratify", action="store_true", help="deal the folds out evenly by sex (cases.tsv)")
    parser.add_argument("--overwrite", action="store_true", help="replace plans of this name that hold other settings")
    parser.add_argument(
        "--until", choices=["fingerprint", "plan", "preprocess"], default="preprocess",
        help="the last stage to run (default: %(default)s)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Plan, and say how to train."""
    from paraspinal_nnunet.nnunet.compat import check_nnunet
    from paraspinal_nnunet.planning.run import PlanRequest, plan
    from paraspinal_nnunet.protocol.overrides import parse_settings
    from paraspinal_nnunet.utils import workers

    overrides = parse_settings(args.settings)
    check_nnunet()
    request = PlanRequest(
        dataset=args.dataset,
        configurations=args.configurations,
        plans_name=args.plans,
        overrides=overrides,
        processes=args.processes,
        baseline=args.baseline,
        stratify=args.stratify,
        overwrite=args.overwrite,
        until=args.until,
    )
    alone = args.processes == 1  # nnU-Net's pools of processes hang when they are interrupted
    print(plan(request) if alone else workers.in_own_process(plan, request))
    return 0
