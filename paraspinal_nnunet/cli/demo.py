"""The whole path on phantoms, in minutes on two CPU cores: data, plans, two trainings, masks, a table and a page."""

import argparse
from pathlib import Path

HELP = "the whole path on phantoms, in minutes, without a GPU"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("-o", dest="folder", type=Path, default=Path("demo"), help="folder (default: %(default)s)")
    parser.add_argument("-n", dest="cases", type=int, default=12, help="phantoms to train on (default: %(default)s)")
    parser.add_argument("--new-cases", type=int, default=4, help="unseen phantoms to predict (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=600, help="of the paper's arm (default: %(default)s)")
    parser.add_argument("--baseline-iterations", type=int, default=150, help="of the baseline (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run it, and say where to look."""
    from paraspinal_nnunet.demo import EVALUATION, MODELS, DemoSettings, run_demo
    from paraspinal_nnunet.demo_page import mean_dice
    from paraspinal_nnunet.evaluation import read_metrics
    from paraspinal_nnunet.seam import check_nnunet

    check_nnunet()
    page = run_demo(
        DemoSettings(
            folder=args.folder,
            cases=args.cases,
            new_cases=args.new_cases,
            iterations=args.iterations,
            baseline_iterations=args.baseline_iterations,
        )
    )
    metrics = read_metrics(page.parent / EVALUATION)
    for model in MODELS:
        print(f"mean Dice of the six muscles on unseen phantoms, {model}: {mean_dice(metrics, model):.3f}")
    print(f"open in a browser: {page}")
    return 0
