"""Time `paraspinal evaluate` against `nnUNetv2_evaluate_folder` on the same generated pairs of label maps."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from paraspinal_nnunet.anatomy import PARASPINAL

SPACING_MM = (0.39, 0.39, 5.0)


def main() -> None:
    """Make the pairs, run both commands in turn, print both times and their ratio."""
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_pairs(root, args.pairs, tuple(args.shape), args.seed)
        nnunet = min(_timed(_nnunet_command(root, args.workers), root) for _ in range(args.repeats))
        ours = min(_timed(_our_command(root, args.workers), root) for _ in range(args.repeats))
        _compare(root)
    size, workers = "x".join(map(str, args.shape)), args.workers or "each command's own number of"
    print(f"{args.pairs} pairs of {size}, 6 labels, {workers} workers, {os.cpu_count()} cores; wall and CPU seconds")
    print(f"nnUNetv2_evaluate_folder  {nnunet[0]:7.2f} {nnunet[1]:7.2f}")
    print(f"paraspinal evaluate       {ours[0]:7.2f} {ours[1]:7.2f}")
    print(f"ratio                     {nnunet[0] / ours[0]:7.1f} {nnunet[1] / ours[1]:7.1f}")


def make_pairs(root: Path, pairs: int, shape: tuple[int, int, int], seed: int) -> None:
    """Write `ref`, `pred`, dataset.json and plans.json; the predictions are the references shifted by two voxels.

    Args:
        root: Where to write.
        pairs: Number of cases.
        shape: (x, y, z).
        seed: Of the muscles' places and sizes.
    """
    generator = np.random.default_rng(seed)
    for name in ("ref", "pred"):
        (root / name).mkdir()
    for number in range(pairs):
        labels = blobs(shape, generator)
        for name, array in (("ref", labels), ("pred", np.roll(labels, 2, axis=2))):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(SPACING_MM)
            sitk.WriteImage(image, str(root / name / f"case_{number:03d}.nii.gz"))
    names = {"background": 0, **{s.key: s.label for s in PARASPINAL}}
    dataset = {"labels": names, "file_ending": ".nii.gz", "channel_names": {"0": "T2"}, "numTraining": pairs}
    (root / "dataset.json").write_text(json.dumps(dataset))
    (root / "plans.json").write_text(json.dumps({"configurations": {}}))


def blobs(shape: tuple[int, int, int], generator: np.random.Generator) -> np.ndarray:
    """Six elliptic columns that fill about as much of the image as the paper's mean muscle volumes.

    Returns:
        uint8, (z, y, x).
    """
    x, y, z = shape
    rows, columns = np.mgrid[0:y, 0:x].astype(np.float32)
    labels = np.zeros((z, y, x), np.uint8)
    places = {  # label: centre along x and y, radius; as shares of the image
        1: (0.43, 0.68, 0.062),
        2: (0.57, 0.68, 0.062),
        3: (0.27, 0.66, 0.098),
        4: (0.73, 0.66, 0.098),
        5: (0.36, 0.44, 0.072),
        6: (0.64, 0.44, 0.072),
    }
    for label, (centre_x, centre_y, radius) in places.items():
        for plane in labels:
            radius_x, radius_y = radius * generator.uniform(0.9, 1.1, 2) * (x, y)
            inside = ((columns - centre_x * x) / radius_x) ** 2 + ((rows - centre_y * y) / radius_y) ** 2 < 1
            plane[inside] = label
    return labels


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 50), metavar=("X", "Y", "Z"))
    parser.add_argument("--workers", type=int, help="of both; without it each command uses its own default")
    parser.add_argument("--repeats", type=int, default=1, help="the fastest of so many runs counts, for both")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _nnunet_command(root: Path, workers: int | None) -> list[str]:
    files = [
        "-djfile",
        str(root / "dataset.json"),
        "-pfile",
        str(root / "plans.json"),
        "-o",
        str(root / "summary.json"),
    ]
    command = str(Path(sys.executable).with_name("nnUNetv2_evaluate_folder"))
    return [command, str(root / "ref"), str(root / "pred"), *files, *_workers(workers)]


def _our_command(root: Path, workers: int | None) -> list[str]:
    folders = ["-ref", str(root / "ref"), "--pred", f"model={root / 'pred'}", "-o", str(root / "out")]
    return [sys.executable, "-m", "paraspinal_nnunet", "evaluate", *folders, *_workers(workers)]


def _workers(workers: int | None) -> list[str]:
    return [] if workers is None else ["-np", str(workers)]


def _timed(command: list[str], root: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command and its children."""
    before, start = os.times(), time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    wall_s, after = time.perf_counter() - start, os.times()
    if result.returncode:
        sys.exit(f"{command[0]} failed:\n{result.stderr[-2000:]}")
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return wall_s, cpu_s


def _compare(root: Path) -> None:
    """Refuse to report a speed when the two do not agree on every Dice."""
    from paraspinal_nnunet.evaluation import read_metrics

    ours = read_metrics(root / "out").set_index(["case", "muscle", "side"])["dice"]
    for entry in json.loads((root / "summary.json").read_text())["metric_per_case"]:
        case = Path(entry["prediction_file"]).name.removesuffix(".nii.gz")
        for s in PARASPINAL:
            theirs = entry["metrics"][str(s.label)]["Dice"]
            if abs(ours[case, s.muscle.value, s.side.value] - theirs) > 1e-12:
                sys.exit(f"{case} {s.key}: Dice {ours[case, s.muscle.value, s.side.value]} against {theirs}")


if __name__ == "__main__":
    main()
