"""Write a phantom cohort: computed scans of lumbar trunks with labels by two raters, as an author-style folder."""

import argparse
from pathlib import Path

HELP = "write a computed cohort to try everything on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="new or empty folder")
    parser.add_argument("-n", "--cases", type=int, default=12, metavar="N", help="number of cases (default: 12)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same data (default: 0)")
    parser.add_argument(
        "--shape", type=int, nargs=3, metavar=("X", "Y", "Z"),
        help="voxels along the patient's x, y, z; fewer voxels are larger ones, the field of view and the volumes stay "
        "(default: 512 512 50, which has the paper's voxel size; 128 128 16 suits a CPU; at least 13 slices, whose "
        "distance of 20 mm is the largest that is converted)",
    )  # fmt: skip
    parser.add_argument(
        "--second-rater", type=int, metavar="K",
        help="how many cases, from the first on, a second rater outlines too (default: the paper's 25 of 76)",
    )  # fmt: skip
    parser.add_argument(
        "--domain-randomised", action="store_true",
        help="draw habitus, field of view, contrast and artefacts at random, as the model that comes with the program "
        "was trained on; image and labels only",
    )  # fmt: skip
    parser.add_argument("-np", "--workers", type=int, default=2, metavar="N", help="processes (default: 2)")


def run(args: argparse.Namespace) -> int:
    """Write the cohort and print what it holds."""
    if args.domain_randomised:
        return _write_randomised(args)
    from paraspinal_nnunet.phantom.anatomy import FULL_SHAPE
    from paraspinal_nnunet.phantom.cohort import write_cohort
    from paraspinal_nnunet.phantom.summary import format_cohort

    cohort = write_cohort(
        args.output,
        cases=args.cases,
        seed=args.seed,
        shape=FULL_SHAPE if args.shape is None else tuple(args.shape),
        second_rater=args.second_rater,
        workers=args.workers,
    )
    print(format_cohort(cohort))
    return 0


def _write_randomised(args: argparse.Namespace) -> int:
    from paraspinal_nnunet.errors import ProtocolError
    from paraspinal_nnunet.phantom.randomised.cohort import write_cohort

    if args.shape is not None or args.second_rater is not None:
        raise ProtocolError("--domain-randomised draws its own grids and has one rater; leave --shape, --second-rater")
    write_cohort(args.output, cases=args.cases, seed=args.seed)
    print(f"{args.output}: {args.cases} cases drawn at random, seed {args.seed}")
    return 0
