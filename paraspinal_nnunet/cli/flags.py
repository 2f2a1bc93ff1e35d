"""Flags that several verbs have."""

import argparse

from paraspinal_nnunet.image_io.limits import BYTES_PER_VOXEL, MOST


def add_max_voxels(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """The flag of verbs that read scans; `cli.main` sets the limit."""
    parser.add_argument(
        "--max-voxels", type=int, metavar="N",
        help="refuse scans and label maps of more voxels (default: what fits into memory at "
        f"{BYTES_PER_VOXEL} bytes each, at most {MOST})",
    )  # fmt: skip
