"""What many cases and large scans cost: `inspect` of thousands, `predict` of one huge scan with and without all else.

    python benchmarks/load.py inspect [--cases 3000] [--shape 64 64 16] [-np 2]
    python benchmarks/load.py predict [--shape 1024 1024 300] [--scan SCAN]

Processor seconds and memory count all processes; memory is looked at ten times a second and counts what processes share
once. The network of `predict` is one convolution of a voxel, so that what is measured is the program's own need; with
`--scan` that scan is enlarged to the shape and segmented with the model that comes with the program.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

SEEDS = 8
"""Phantoms that cases are made of, each with noise of its own."""


def main() -> None:
    """Measure one command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("inspect", "predict"))
    parser.add_argument("-o", dest="folder", type=Path, help="work here and keep everything")
    parser.add_argument("--cases", type=int, default=3000, help="of inspect (default: %(default)s)")
    parser.add_argument("--scan", type=Path, help="of predict: enlarge this one (default: a drawn trunk)")
    parser.add_argument("--shape", type=int, nargs=3, metavar=("X", "Y", "Z"), help="voxels of each scan")
    parser.add_argument("-np", dest="workers", type=int, default=2, help="of inspect (default: %(default)s)")
    args = parser.parse_args()
    root = args.folder or Path(tempfile.mkdtemp(prefix="load_"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        (_inspect if args.what == "inspect" else _predict)(root.resolve(), args)
    finally:
        if args.folder is None:
            shutil.rmtree(root, ignore_errors=True)


def _inspect(root: Path, args: argparse.Namespace) -> None:
    shape = tuple(args.shape or (64, 64, 16))
    dataset = root / "raw" / "Dataset951_Load"
    if not (dataset / "dataset.json").exists():
        _write_dataset(dataset, args.cases, shape)
    words = ("inspect", "-d", "951", "--raw", root / "raw", "-o", root / "inspected", "-np", args.workers)
    _measure(root, f"inspect, {args.cases} cases of {shape}", *words)


def _write_dataset(dataset: Path, cases: int, shape: tuple[int, int, int]) -> None:
    from paraspinal_nnunet.anatomy import PARASPINAL
    from paraspinal_nnunet.image_io.nifti import write_image, write_labels
    from paraspinal_nnunet.phantom import generate_case
    from paraspinal_nnunet.utils.progress import progress

    phantoms = [generate_case(0, index, shape) for index in range(min(SEEDS, cases))]
    for name in ("imagesTr", "labelsTr"):
        (dataset / name).mkdir(parents=True, exist_ok=True)
    for number in progress(range(cases), what="making cases"):
        phantom, rng = phantoms[number % len(phantoms)], np.random.default_rng(number)
        noise = rng.integers(-60, 60, phantom.image.shape, dtype=np.int16)
        write_image(dataset / "imagesTr" / f"case-{number:05d}_0000.nii.gz", phantom.image + noise, phantom.affine)
        write_labels(dataset / "labelsTr" / f"case-{number:05d}.nii.gz", phantom.labels, phantom.affine)
    content = {
        "channel_names": {"0": "T2"},
        "labels": {"background": 0, **{s.key: s.label for s in PARASPINAL}},
        "numTraining": cases,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
    }
    (dataset / "dataset.json").write_text(json.dumps(content))


def _predict(root: Path, args: argparse.Namespace) -> None:
    from helpers.tiny_portable import write_tiny_model

    shape = tuple(args.shape or (1024, 1024, 300))
    scan = root / "scans" / "a.nii.gz"
    if not scan.exists():
        (_draw_scan if args.scan is None else _enlarge_scan)(scan, shape, args.scan)
        write_tiny_model(root / "model", patch_size=[256, 256])
    scan_mb = 4 * np.prod(shape) / 2**20
    print(f"the scan in single precision: {scan_mb:.0f} MB", flush=True)
    model = ("-m", root / "model") if args.scan is None else ()
    base = ("predict", "-i", scan, *model, "--runtime", "onnxruntime", "--threads", "1", "--overwrite")
    least = _measure(root, "mask alone", *base, "-o", root / "alone", "--no-measures", "--no-pages")
    further = {"and measures": ("--no-pages",), "and pages": ("--no-measures",), "and measures and pages": ()}
    for name, flags in further.items():
        peak = _measure(root, name, *base, "-o", root / "out", *flags)
        print(f"  {(peak - least) / scan_mb:.2f} times the scan more than the mask alone", flush=True)


def _draw_scan(path: Path, shape: tuple[int, int, int], _: None) -> None:
    """A trunk of the model's grey values: each class is painted with its own."""
    from paraspinal_nnunet.phantom import generate_case

    phantom = generate_case(0, 0, (128, 128, 16))
    grey = (_zoomed(phantom.labels, shape, order=0).astype(np.int16) * 100).astype(np.int16)
    grey += np.random.default_rng(0).integers(0, 20, grey.shape, dtype=np.int16)
    _save(path, grey, phantom.affine, phantom.labels.shape)


def _enlarge_scan(path: Path, shape: tuple[int, int, int], source: Path) -> None:
    """The same body with more voxels."""
    from paraspinal_nnunet.image_io.images import read_image

    scan = read_image(source)
    grey = _zoomed(scan.array.astype(np.float32), shape, order=1)
    _save(path, grey.round().astype(np.int16), scan.affine, scan.array.shape)


def _zoomed(array: np.ndarray, shape: tuple[int, int, int], order: int) -> np.ndarray:
    from scipy.ndimage import zoom

    return zoom(array, [n / m for n, m in zip(shape, array.shape, strict=True)], order=order)


def _save(path: Path, grey: np.ndarray, affine: np.ndarray, before: tuple[int, ...]) -> None:
    import nibabel as nib

    path.parent.mkdir(parents=True)
    finer = np.diag([*(m / n for n, m in zip(grey.shape, before, strict=True)), 1.0])
    nib.save(nib.Nifti1Image(grey, affine @ finer), path)


def _measure(root: Path, name: str, *words: object) -> float:
    """Run a command; its largest memory in MB."""
    before, begun = _children_s(), time.monotonic()
    command = [sys.executable, "-m", "paraspinal_nnunet", *map(str, words)]
    with (
        (root / "log").open("ab") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process,
    ):
        memory = _Memory(process.pid)
        memory.start()
        code = process.wait()
    memory.ended.set()
    memory.join()
    wall, cpu = time.monotonic() - begun, _children_s() - before
    print(f"{name}: {cpu:.1f} CPU s, {wall:.1f} s, {memory.peak_mb:.0f} MB, exit code {code}", flush=True)
    return memory.peak_mb


class _Memory(threading.Thread):
    """The largest memory of a process and all its descendants together."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak_mb, self.ended = pid, 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.1):
            total = sum(_proportional_kb(pid) for pid in _tree(self.pid))
            self.peak_mb = max(self.peak_mb, total / 1024)


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in _tree(int(child)))]


def _proportional_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
