"""Measure how alike thumbnails of different scans and of altered copies are, and what inspecting costs.

The threshold of `paraspinal inspect` for suspected copies comes from this table.
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.ndimage import rotate, zoom

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.image_io.images import read_image
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.phantom import write_cohort
from paraspinal_nnunet.quality_control.classes import LabelClass
from paraspinal_nnunet.quality_control.dataset import CaseFiles
from paraspinal_nnunet.quality_control.duplicates import NEAR_CORRELATION, mirrored_correlations
from paraspinal_nnunet.quality_control.fingerprint import THUMBNAIL_SHAPE, fingerprint
from paraspinal_nnunet.quality_control.measure_case import measure_case

ALTERED_CASES = 12


def main() -> None:
    """Print the correlations of different scans, of altered copies, and the times."""
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(args.images.rglob("*.nii.gz")) if args.images else _phantoms(Path(folder), args)
        volumes = [read_image(path) for path in files]
        compare_scans(volumes)
        alter_scans(volumes[:ALTERED_CASES])
    time_comparison(args.cases_compared)
    with tempfile.TemporaryDirectory() as folder:
        time_case(Path(folder))
    print(f"threshold: {NEAR_CORRELATION}; {os.cpu_count()} cores")


def compare_scans(volumes: list[Volume]) -> None:
    """Print the distribution of the correlations of all pairs, in the best of eight mirrorings."""
    thumbnails = [t for v in volumes if (t := fingerprint(v).thumbnail) is not None]
    blocks = [
        block[np.add.outer(range(-row, -row - len(block), -1), range(column, column + block.shape[1])) > 0]
        for row, column, block in mirrored_correlations(thumbnails)
    ]
    pairs = np.concatenate(blocks)
    print(f"{len(volumes)} scans, {len(pairs)} pairs of different scans, best of 8 mirrorings")
    print("  " + "  ".join(f"{name} {np.quantile(pairs, q):.3f}" for name, q in _QUANTILES))


_QUANTILES = (("median", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("largest", 1.0))


def alter_scans(volumes: list[Volume]) -> None:
    """Print how well altered copies correlate with their originals."""
    found = defaultdict(list)
    for volume in volumes:
        original = fingerprint(volume).thumbnail
        for name, copy in alterations(volume):
            found[name].append(float(np.corrcoef(fingerprint(copy).thumbnail.ravel(), original.ravel())[0, 1]))
    print(f"altered copies of {len(volumes)} scans: smallest and median correlation")
    for name, values in found.items():
        print(f"  {name:34s} {min(values):.3f}  {np.median(values):.3f}")


def alterations(volume: Volume) -> Iterator[tuple[str, Volume]]:
    """A scan as it comes back from other hands."""
    array, affine = volume.array.astype(np.float32), volume.affine
    high = float(np.percentile(array, 99))
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in array.shape], indexing="ij", sparse=True)
    coarse = affine @ np.diag([2.0, 2.0, 1.0, 1.0])
    noise = np.random.default_rng(0).normal(0, 0.05 * high, array.shape)
    for name, changed in (
        ("halved, 100 added", array * 0.5 + 100),
        ("shaded by 40 % along one axis", array * (1 + 0.4 * x)),
        ("shaded by a surface coil", array * np.exp(-0.6 * y**2 - 0.4 * x)),
        ("gamma 1.5", (np.clip(array, 0, None) / high) ** 1.5),
        ("cut to 8 bit", np.clip(array / high * 255, 0, 255).round()),
        ("5 % noise", array + noise),
        ("turned by 2 degrees", rotate(array, 2, axes=(0, 1), reshape=False, order=1)),
        ("without the first slice", array[:, :, 1:]),
        ("without two slices", array[:, :, 2:]),
        ("cropped by 5 % on all four sides", _cropped(array, 0.05)),
    ):
        yield name, Volume(changed.astype(np.float32), affine)
    yield "half the matrix", Volume(zoom(array, (0.5, 0.5, 1), order=1), coarse)


def time_comparison(cases: int) -> None:
    """Print the CPU time of comparing so many thumbnails."""
    thumbnails = list(np.random.default_rng(0).integers(-99, 100, size=(cases, *THUMBNAIL_SHAPE), dtype=np.int8))
    start = time.process_time()
    found = sum(int((block > NEAR_CORRELATION).sum()) for _, _, block in mirrored_correlations(thumbnails))
    seconds = time.process_time() - start
    print(f"comparing {cases} thumbnails with each other in 8 mirrorings: {seconds:.1f} CPU s ({found} alike)")


def time_case(folder: Path) -> None:
    """Print the CPU time of measuring one case of the paper's matrix."""
    write_cohort(folder / "cohort", cases=1, second_rater=0, workers=1)
    (image,), (labels,) = (list((folder / "cohort").glob(f"*_{part}.nii.gz")) for part in ("img", "GT"))
    classes = tuple(LabelClass(s.label, s.key) for s in PARASPINAL)
    start = time.process_time()
    facts = measure_case(CaseFiles("one", "one", (image,), labels), classes=classes)
    print(f"measuring one case of {facts.shape}: {time.process_time() - start:.1f} CPU s")


def _cropped(array: np.ndarray, share: float) -> np.ndarray:
    i, j = (round(share * n) for n in array.shape[:2])
    return array[i : array.shape[0] - i, j : array.shape[1] - j]


def _phantoms(folder: Path, args: argparse.Namespace) -> list[Path]:
    write_cohort(folder / "cohort", cases=args.cases, shape=tuple(args.shape), second_rater=0, workers=args.workers)
    return sorted((folder / "cohort").glob("*_img.nii.gz"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder of NIfTI scans instead of phantoms")
    parser.add_argument("--cases", type=int, default=60, help="number of phantoms (default: 60)")
    parser.add_argument("--shape", type=int, nargs=3, default=(192, 192, 24), help="default: 192 192 24")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cases-compared", type=int, default=1000, help="for the time (default: 1000)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
