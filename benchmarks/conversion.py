"""Memory and speed of a conversion of many cases, and what taking over finished ones costs.

The cases are copies of a few phantoms, each with one voxel of its own, so that none counts as repeated. Memory is the
peak resident set (VmHWM) of the main process and of its workers, each with its interpreter and libraries. For the last
column a label map is damaged: the first try converts all other cases and is refused, the second finds them finished.

    python benchmarks/conversion.py [--cases 50 500] [--shape 160 160 20] [--workers 2]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from paraspinal_nnunet.phantom.cohort import write_cohort

PHANTOMS = 4
POLL_S = 0.05


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--shape", type=int, nargs=3, default=[160, 160, 20])
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    print(f"{'x'.join(map(str, args.shape))} voxels, {args.workers} workers, {os.cpu_count()} cores")
    print(
        f"{'cases':>6s} {'main MB':>8s} {'worker MB':>10s} {'sum MB':>7s} {'cases/s':>8s} {'taken over, ms/case':>20s}"
    )
    for count in args.cases:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_scans(root, count, tuple(args.shape))
            seconds, peaks = run(root, args.workers, number=501)
            (root / "scans" / "s0000_GT.nii.gz").write_bytes(b"damaged")
            run(root, args.workers, number=502, code=1)
            again, _ = run(root, args.workers, number=502, code=1)
            empty = run(root, args.workers, "--include", "s0001", number=503)[0]
        first, *rest = peaks
        over = 1000 * (again - empty) / count
        print(
            f"{count:6d} {first:8.0f} {max(rest, default=0):10.0f} {first + sum(rest):7.0f} {count / seconds:8.1f} "
            f"{over:20.1f}",
            flush=True,
        )


def write_scans(root: Path, count: int, shape: tuple[int, int, int]) -> None:
    """An author-style folder of `count` cases."""
    write_cohort(root / "cohort", cases=PHANTOMS, shape=shape, second_rater=0, workers=1)
    (root / "raw").mkdir()
    (root / "scans").mkdir()
    loaded = []
    for path in sorted((root / "cohort").glob("*_img.nii.gz")):
        image = nib.load(path)
        labels = path.with_name(path.name.replace("_img", "_GT")).read_bytes()
        loaded.append((np.asanyarray(image.dataobj), image.affine, labels))
    for number in range(count):
        array, affine, labels = loaded[number % PHANTOMS]
        array = array.copy()
        array[0, 0, 0], array[0, 0, 1] = number % 256, number // 256
        nib.save(nib.Nifti1Image(array, affine), root / "scans" / f"s{number:04d}_img.nii.gz")
        (root / "scans" / f"s{number:04d}_GT.nii.gz").write_bytes(labels)


def run(root: Path, workers: int, *flags: str, number: int, code: int = 0) -> tuple[float, list[float]]:
    """Seconds of a conversion, and peak MB of the main process and of each worker."""
    command = [sys.executable, "-m", "paraspinal_nnunet", "convert", "author", "-i", str(root / "scans")]
    command += ["-d", str(number), "-np", str(workers), "--raw", str(root / "raw"), *flags]
    start = time.perf_counter()
    peaks: dict[int, float] = {}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        peaks |= memory_mb(process.pid)
        time.sleep(POLL_S)
    if process.returncode != code:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    seconds = time.perf_counter() - start
    return seconds, [peaks.pop(process.pid), *sorted(peaks.values())]


def memory_mb(session: int) -> dict[int, float]:
    """Process -> peak resident set, of all processes of a session."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                (line,) = [x for x in (folder / "status").read_text().splitlines() if x.startswith("VmHWM")]
                found[int(folder.name)] = int(line.split()[1]) / 1024
        except (OSError, ValueError):
            continue
    return found


if __name__ == "__main__":
    main()
