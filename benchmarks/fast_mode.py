"""What mode fast costs in Dice: portable models on scans with reference labels, all tiles against those needed.

    python benchmarks/fast_mode.py -m NAME=PORTABLE [NAME=PORTABLE ...] -i SCANS -r LABELS [--runtimes openvino]

Scans and labels as in an nnU-Net data set (``case_0000.nii.gz``, ``case.nii.gz``), in this package's label values. Per
scan and model: mean Dice over the muscles against the reference in both modes, the difference, and that of the muscle
which moves most. OpenVINO computes mode fast in bfloat16 where the processor has instructions for it.
"""

import argparse
from pathlib import Path

import numpy as np
from prediction import dices

from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.inference.portable import open_model


def main() -> None:
    """Print one line per model, runtime and scan, and their means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", dest="models", nargs="+", required=True, metavar="NAME=PORTABLE")
    parser.add_argument("-i", dest="scans", type=Path, required=True)
    parser.add_argument("-r", dest="references", type=Path, required=True)
    parser.add_argument("--runtimes", nargs="+", default=["openvino", "onnxruntime"])
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print(f"{'model':8} {'runtime':12} {'scan':12} {'tiles':>7} {'fast':>7} {'change':>8} {'most':>8} {'seconds':>13}")
    for named in args.models:
        name, _, path = named.partition("=")
        for runtime in args.runtimes:
            compare(name, Path(path), runtime, args)


def compare(name: str, path: Path, runtime: str, args: argparse.Namespace) -> None:
    """One model with one runtime on all scans."""
    model = open_model(path, runtime=runtime, threads=args.threads)
    changes, every = [], []
    for scan in sorted(args.scans.glob("*_0000.nii.gz")):
        case = scan.name.removesuffix("_0000.nii.gz")
        volume, reference = read_image(scan), read_labels(args.references / f"{case}.nii.gz").array
        tiles, fast = (model.segment(volume, mode=mode) for mode in ("tiles", "fast"))
        before, after = (np.array(dices(found.labels, reference)) for found in (tiles, fast))
        every.append((before.mean(), after.mean()))
        changes.append(after - before)
        most = changes[-1][np.abs(changes[-1]).argmax()]
        print(
            f"{name:8} {runtime:12} {case:12} {before.mean():7.4f} {after.mean():7.4f} {changes[-1].mean():+8.4f} "
            f"{most:+8.4f} {tiles.seconds:6.1f} {fast.seconds:6.1f}", flush=True,
        )  # fmt: skip
    tiles_mean, fast_mean = np.mean(every, axis=0)
    per_scan = np.array([change.mean() for change in changes])
    print(
        f"{name:8} {runtime:12} {'all':12} {tiles_mean:7.4f} {fast_mean:7.4f} {fast_mean - tiles_mean:+8.4f}  "
        f"largest of a scan {np.abs(per_scan).max():.4f}, of a muscle {np.abs(changes).max():.4f}"
    )


if __name__ == "__main__":
    main()
