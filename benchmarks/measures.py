"""CPU time of measuring one case, file to tables; and how near thresholds come to the fat painted in phantoms.

Run: python benchmarks/measures.py [--shape 512 512 50] [--accuracy]
"""

import argparse
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np

from paraspinal_nnunet.measures.case import MeasureOptions, measure, measure_with_maps
from paraspinal_nnunet.measures.thresholds import METHODS
from paraspinal_nnunet.measures.writing import write_case
from paraspinal_nnunet.phantom import generate_case

WAYS = {"sizes alone": (), **{method: (method,) for method in METHODS}, "all": tuple(METHODS)}


def main():
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 50), metavar=("X", "Y", "Z"))
    parser.add_argument("--accuracy", action="store_true", help="compare fat with what was painted, in three phantoms")
    args = parser.parse_args()
    (accuracy if args.accuracy else timing)(tuple(args.shape))


def accuracy(shape):
    """Print found minus painted share of fat, by method: mean, least and most over three phantoms' muscles."""
    errors = {method: [] for method in METHODS}
    for index in range(3):
        case = generate_case(0, index, shape)
        found = measure((case.image, case.affine), (case.labels, case.affine), fat_methods=tuple(METHODS))
        for each in found.structures:
            for fat in each.fat:
                errors[fat.method].append(fat.fat_fraction - case.fat_fraction[each.structure.key])
    for method, values in errors.items():
        print(f"{method:8} found - painted: mean {np.mean(values):+.3f}, from {min(values):+.3f} to {max(values):+.3f}")


def timing(shape):
    """Print the table of CPU seconds."""
    case = generate_case(0, 0, shape)
    noise = np.random.default_rng(0).normal(0, 0.01, case.image.shape)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        kinds = {"whole numbers": case.image, "other numbers": (case.image + noise).astype(np.float32)}
        for kind, array in kinds.items():
            nibabel.save(nibabel.Nifti1Image(array, case.affine), folder / f"{kind}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(case.labels, case.affine), folder / "labels.nii.gz")
        print(f"shape {shape}, {int((case.labels > 0).sum())} labelled voxels; CPU seconds, best of 3")
        print(f"{'':16}{'whole numbers':>16}{'other numbers':>16}")
        for way, methods in WAYS.items():
            times = [best(folder, kind, methods) for kind in kinds]
            print(f"{way:16}{times[0]:16.2f}{times[1]:16.2f}")


def best(folder, kind, methods):
    """CPU seconds of the fastest of three runs."""
    times = []
    for _ in range(3):
        start = time.process_time()
        images = {"image": folder / f"{kind}.nii.gz"}
        found = measure_with_maps(images, folder / "labels.nii.gz", options=MeasureOptions(fat_methods=methods))
        write_case(folder / "case", found)
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    main()
