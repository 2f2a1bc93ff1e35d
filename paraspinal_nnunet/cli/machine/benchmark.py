"""Measure on computed scans how long the paper's trainings take on this machine; nothing of yours is read."""

import argparse
from pathlib import Path

HELP = "measure how long trainings take on this machine"
LONGEST = 100_000
"""Seconds and minutes that may be asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="write it for 'paraspinal study init'")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="of 2d, 2d_da, 3d, 3d_da (default: all)")
    parser.add_argument("-device", choices=("cuda", "cpu", "mps"), help="default: the GPU where there is one")
    parser.add_argument("--seconds", type=float, default=30.0, help="that each arm is timed (default: %(default)g)")
    parser.add_argument("--minutes", type=float, default=5.0, help="that all may take (default: %(default)g)")
    parser.add_argument(
        "--shape", type=int, nargs=3, default=(512, 512, 50), metavar=("X", "Y", "Z"), help="voxels of the scans"
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="as in 'paraspinal plan'")


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON."""
    from paraspinal_nnunet.errors import InputError
    from paraspinal_nnunet.protocol.overrides import parse_settings
    from paraspinal_nnunet.speed.arms import ARMS
    from paraspinal_nnunet.speed.run import BenchmarkRequest, benchmark, table, write_benchmark

    arms = tuple(args.arms or ARMS)
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown:
        raise InputError(f"--arms {unknown[0]}: choose from {', '.join(ARMS)}")
    for flag in ("seconds", "minutes"):
        if not 0 < getattr(args, flag) <= LONGEST:
            raise InputError(f"--{flag} {getattr(args, flag):g}: must be greater than 0, at most {LONGEST}")
    settings = parse_settings(args.set)
    request = BenchmarkRequest(arms, args.device, args.seconds, args.minutes, tuple(args.shape), settings)
    content = benchmark(request)
    print(table(content))
    if args.output is not None:
        write_benchmark(args.output, content)
        print(f"written: {args.output}; paraspinal study init --benchmark {args.output} takes its resources")
    return 0
