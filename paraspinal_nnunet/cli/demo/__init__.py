"""The whole path on phantoms, in minutes on two CPU cores: a small study with two arms, deeper network and baseline."""

import argparse
from pathlib import Path

from paraspinal_nnunet.workflow.study_file.template import DEMO_ITERATIONS

HELP = "the whole path on phantoms, in minutes, without a GPU"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("-o", dest="folder", type=Path, default=Path("demo"), help="folder (default: %(default)s)")
    parser.add_argument("-n", dest="cases", type=int, default=12, help="phantoms (default: %(default)s)")
    parser.add_argument(
        "--iterations",
        type=int,
        default=DEMO_ITERATIONS["arms"],
        help="of the 2D arm and the deeper network (default: %(default)s)",
    )
    parser.add_argument(
        "--iterations-3d", type=int, default=DEMO_ITERATIONS["3d"], help="of the 3D arm (default: %(default)s)"
    )
    parser.add_argument(
        "--baseline-iterations",
        type=int,
        default=DEMO_ITERATIONS["baseline"],
        help="of the baseline (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run it, and say where to look."""
    from paraspinal_nnunet.cli.demo.page import mean_dice
    from paraspinal_nnunet.cli.demo.study import DemoSettings, run_demo
    from paraspinal_nnunet.evaluation import read_metrics
    from paraspinal_nnunet.nnunet.compat import check_nnunet

    check_nnunet()
    page = run_demo(
        DemoSettings(
            folder=args.folder,
            cases=args.cases,
            iterations=args.iterations,
            iterations_3d=args.iterations_3d,
            baseline_iterations=args.baseline_iterations,
        )
    )
    metrics = read_metrics(page.parent / "evaluation" / "all")
    for model in metrics["model"].unique():
        print(f"mean Dice of the six muscles on unseen phantoms, {model}: {mean_dice(metrics, model):.3f}")
    print(f"open in a browser: {page}")
    return 0
