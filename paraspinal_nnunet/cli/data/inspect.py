"""Look a data set over before training: grids, intensities, volumes, labels, copies and folds, the worst first."""

import argparse
from pathlib import Path

from paraspinal_nnunet.cli.flags import add_max_voxels

HELP = "look a data set over: outliers, label faults, copies, folds"

DEFAULT_WORKERS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("-d", dest="dataset", required=True, metavar="ID", help="data set number, or its folder's name")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER",
        help="write inspection.html, inspection.json, cases.tsv, findings.tsv and contact sheets there",
    )  # fmt: skip
    parser.add_argument(
        "-np", dest="workers", type=int, default=DEFAULT_WORKERS, metavar="N",
        help=f"worker processes (default: {DEFAULT_WORKERS})",
    )  # fmt: skip
    parser.add_argument("--raw", type=Path, metavar="DIR", help="instead of the environment variable nnUNet_raw")
    parser.add_argument(
        "--preprocessed", type=Path, metavar="DIR",
        help="where splits_final.json is looked for, instead of the environment variable nnUNet_preprocessed",
    )  # fmt: skip
    add_max_voxels(parser)
    parser.add_argument("--strict", action="store_true", help="exit with 1 when there are problems")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from paraspinal_nnunet.errors import InputError
    from paraspinal_nnunet.nnunet.datasets import find_dataset, nnunet_folder
    from paraspinal_nnunet.quality_control import check_output, inspect_dataset, inspection_text, write_inspection
    from paraspinal_nnunet.utils.files import refuse_overwriting_inputs

    if args.workers < 1:
        raise InputError(f"-np {args.workers}: give at least one worker process")
    if args.output is not None:
        check_output(args.output)
    folder = find_dataset(args.dataset, raw=nnunet_folder("raw", instead=args.raw))
    read = [folder, *(path for path in folder.iterdir() if path.is_dir() and path.name.endswith(("Tr", "Ts")))]
    refuse_overwriting_inputs(read, [], folders=[args.output])
    inspection = inspect_dataset(folder, preprocessed=args.preprocessed, workers=args.workers)
    print(inspection_text(inspection))
    if args.output is not None:
        files = write_inspection(inspection, args.output, workers=args.workers)
        sheets = [path.name for path in files if path.suffix == ".png"]
        others = [path.name for path in files if path.suffix != ".png"]
        shown = sheets if len(sheets) < 3 else [f"{sheets[0]} to {sheets[-1]}"]
        print(f"written to {args.output}: {', '.join([*others, *shown])}")
    return 1 if args.strict and inspection.problems else 0
