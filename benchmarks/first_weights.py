"""How many iterations a training saves that starts from the program's own model, on TUM01.

    PARASPINAL_REAL_DATA=... python benchmarks/first_weights.py [--iterations 300] [--every 25] [-tr TRAINER ...]

The water and the fat image are cut into six slabs of slices each; two thirds of the slabs train, one third tests. It is
one person, so that the figures say how fast the muscles are learnt, not how well others are segmented. Prints the mean
Dice of multifidus and erector spinae over the validation crops after every so many iterations, with first weights and
without; data, batches and their order are the same.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

DATASET, PLANS, FOLD, SLABS = 507, "ParaspinalPlansFirst", 0, 6
SCANS = {
    "water": ("TUM01_water_img_img_L2-L5", "TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label"),
    "fat": ("TUM01_fat_img_img_L2-L5", "TUM01_fat_manual_label_segmentation_L2-L5"),
}
TRAINERS = ("nnUNetTrainerParaspinalStride2", "nnUNetTrainerParaspinal")
SPACING = "4,1.5,1.5"
"""Of the shipped network, in plane."""


def main() -> None:
    """Train and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--every", type=int, default=25, help="iterations between two looks at the validation slabs")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("-tr", dest="trainers", nargs="+", default=TRAINERS)
    parser.add_argument("-o", dest="output", type=Path, help="folder to work in (default: one that is removed)")
    args = parser.parse_args()
    source = os.environ.get("PARASPINAL_REAL_DATA")
    if not source:
        sys.exit("set PARASPINAL_REAL_DATA to the folder of the real scans")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.output or Path(temporary)
        prepare(Path(source), folder, args)
        report({(t, w): curve(folder, t, w) for t in args.trainers for w in (None, "default")}, args.every)


def prepare(source: Path, folder: Path, args: argparse.Namespace) -> None:
    """Cut the scans into slabs, and make data set and plans of them."""
    slabs = folder / "slabs"
    slabs.mkdir(parents=True, exist_ok=True)
    for contrast, (image, labels) in SCANS.items():
        pair = [nib.load(source / f"{name}.nii.gz") for name in (image, labels)]
        cuts = np.linspace(0, pair[0].shape[2], SLABS + 1).astype(int)
        for number in range(SLABS):
            for volume, ending in zip(pair, ("img", "GT"), strict=True):
                cut = volume.slicer[:, :, cuts[number] : cuts[number + 1]]
                nib.save(cut, slabs / f"slab{number + 1}_{contrast}_{ending}.nii.gz")
    patterns = ["--image-pattern", "{case}_img.nii.gz", "--label-pattern", "{case}_GT.nii.gz", "--labels", "lpm"]
    run(folder, "convert", "pairs", "-i", slabs, "-d", DATASET, *patterns, "--subject-pattern", "(slab.)_",
        "-n", "FirstWeights", "--overwrite")  # fmt: skip
    settings = {
        "iterations": args.iterations,
        "iterations_per_epoch": args.every,
        "val_iterations": 8,
        "batch_size": args.batch,
        "patch_size": "128,160",
        "spacing": SPACING,
        "threads": 1,
    }
    pairs = [f"{name}={value}" for name, value in settings.items()]
    run(folder, "plan", "-d", DATASET, "-p", PLANS, "-np", 1, "--overwrite", "--set", *pairs)


def curve(folder: Path, trainer: str, first: str | None) -> list[float]:
    """Mean Dice over the validation crops after each epoch."""
    results = folder / ("results" if first is None else "results_first")
    weights = [] if first is None else ["-pretrained_weights", first]
    run(folder, "train", "-d", DATASET, "-c", "2d", "-f", FOLD, "-tr", trainer, "-p", PLANS, "-device", "cpu",
        "--no-val", *weights, results=results)  # fmt: skip
    (checkpoint,) = results.glob(f"*/{trainer}__{PLANS}__2d/fold_{FOLD}/checkpoint_final.pth")
    return [float(v) for v in torch.load(checkpoint, weights_only=False)["logging"]["mean_fg_dice"]]


def report(curves: dict[tuple[str, str | None], list[float]], every: int) -> None:
    """Print a table of Markdown, one line per look."""
    names = [f"`{trainer}`, {'first weights' if first else 'from nothing'}" for trainer, first in curves]
    print("| iterations | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for number in range(max(map(len, curves.values()))):
        cells = [f"{values[number]:.3f}" if number < len(values) else "" for values in curves.values()]
        print(f"| {every * (number + 1)} | " + " | ".join(cells) + " |")
    print(json.dumps({name: reached(values, every) for name, values in zip(names, curves.values(), strict=True)}))


def reached(values: list[float], every: int, wanted: float = 0.9) -> int | None:
    """Iterations after which a Dice is reached first."""
    return next((every * (k + 1) for k, value in enumerate(values) if value >= wanted), None)


def run(folder: Path, *arguments: object, results: Path | None = None) -> None:
    """A command of the program, in folders of its own."""
    places = {"nnUNet_raw": folder / "raw", "nnUNet_preprocessed": folder / "preprocessed"}
    places["nnUNet_results"] = results or folder / "results"
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}}
    command = [sys.executable, "-m", "paraspinal_nnunet", *map(str, arguments)]
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)


if __name__ == "__main__":
    main()
