"""How well the program's own model does on the development scans, by the whole path of `paraspinal predict`.

    PARASPINAL_REAL_DATA=... python benchmarks/default_model.py [-m MODEL] [--threads 2]

Prints a table of Markdown: per scan, muscle and side Dice, error of the volume, HD95 (surfaces weighed by area) and
the share of the reference's voxels that carry the other side's label.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from paraspinal_nnunet.anatomy import PARASPINAL, side_pairs
from paraspinal_nnunet.evaluation.metrics.surface import surface_metrics
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.image_io.masks.postprocessing import postprocess
from paraspinal_nnunet.inference.portable import open_model
from paraspinal_nnunet.models.manifest import CLEANED_BY
from paraspinal_nnunet.models.shipped import resolve_model

LPM = {1: 3, 2: 1, 3: 2, 4: 4}
SAME = {k: k for k in range(1, 7)}
SCANS = (
    ("TUM01 water", "TUM01_water_img_img_L2-L5", "TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label", LPM),
    ("TUM01 fat", "TUM01_fat_img_img_L2-L5", "TUM01_fat_manual_label_segmentation_L2-L5", LPM),
    ("abdomen01", "abdomen01_image", "abdomen01_dseg", SAME),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", dest="model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--post", nargs="*", default=CLEANED_BY, help="clean-ups (default: the model's own)")
    args = parser.parse_args()
    folder = os.environ.get("PARASPINAL_REAL_DATA")
    if not folder:
        sys.exit("set PARASPINAL_REAL_DATA to the folder of the real scans")
    model = open_model(resolve_model(args.model), threads=args.threads)
    print("| scan | muscle | Dice | reference, ml | volume error, % | HD95, mm | other side, % | mean Dice of both |")
    print("|---|---|---|---|---|---|---|---|")
    for name, image, labels, codes in SCANS:
        scan = read_image(Path(folder) / f"{image}.nii.gz")
        made = model.segment(scan)
        found = postprocess(made.labels, args.post, scan.spacing_mm)
        stored = read_labels(Path(folder) / f"{labels}.nii.gz").array
        true = np.zeros(stored.shape, np.uint8)
        for code, label in codes.items():
            true[stored == code] = label
        for row in rows(name, found, true, scan.spacing_mm):
            print(row, flush=True)
        print(f"{name}: {made.seconds:.1f} s", file=sys.stderr)


def rows(name: str, found: np.ndarray, true: np.ndarray, spacing_mm: tuple[float, float, float]) -> list[str]:
    """The lines of one scan."""
    voxel_ml, lines = float(np.prod(spacing_mm)) / 1000, []
    for pair in side_pairs(PARASPINAL):
        dice = [overlap(found == s.label, true == s.label) for s in pair]
        for structure, other, own in zip(pair, pair[::-1], dice, strict=True):
            a, b = found == structure.label, true == structure.label
            if not b.any():
                continue
            error = 100 * (a.sum() - b.sum()) / b.sum()
            hd95 = surface_metrics(b, a, spacing_mm, 2.0).hd95_mm
            swapped = 100 * (b & (found == other.label)).sum() / b.sum()
            lines.append(
                f"| {name} | {structure.display_name} | {own:.3f} | {b.sum() * voxel_ml:.0f} | {error:+.0f} "
                f"| {hd95:.1f} | {swapped:.2f} | {np.mean(dice):.3f} |"
            )
    return lines


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Dice."""
    return 2 * float((a & b).sum()) / max(float(a.sum() + b.sum()), 1.0)


if __name__ == "__main__":
    main()
