"""Time crops of augmented images, drawn on the fly, against MONAI's Rand3DElastic of whole volumes, on one core."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one worker's share of the machine; read when NumPy is imported

import numpy as np
import torch

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.training.augmentation.crops import AugmentedCropReader, augmented_reader
from paraspinal_nnunet.training.loading import CropReader
from paraspinal_nnunet.training.sampling import BatchSchedule

CONFIGURATIONS = ("2d", "3d_fullres")
LABELS = {"background": 0, **{s.key: s.label for s in PARASPINAL}}


def main() -> None:
    """Make the cases, time both ways in turn, print crops per second and their ratio."""
    args = _arguments()
    torch.set_num_threads(1)
    shape = tuple(args.shape)
    protocol = replace(PAPER, training=replace(PAPER.training, augmentation="paper"))
    print(f"{args.cases} cases of {'x'.join(map(str, shape))} (z, y, x), one thread, {os.cpu_count()} cores")
    print(f"{'':54}{'wall s':>9}{'user s':>9}{'per s':>9}")
    ours = {}
    with tempfile.TemporaryDirectory() as folder:
        arrays = [make_case(shape, seed) for seed in range(args.cases)]
        for configuration in CONFIGURATIONS:
            sampling = protocol.sampling(configuration)
            cases = save_cases(Path(folder), configuration, arrays, sampling.patch_size)
            options = {"folder": Path(folder) / configuration, "cases": cases, "fold": 0, "labels": LABELS}
            reader = augmented_reader(protocol, configuration, **options)
            plain = CropReader(options["folder"], sampling.patch_size, protocol.training.foreground_ratio)
            ours[configuration] = report(configuration, reader, plain, sampling.crops_per_case, args.images)
    report_monai(*arrays[0], args.repeats, ours)


def report(
    configuration: str, reader: AugmentedCropReader, plain: CropReader, crops_per_case: int, images: int
) -> tuple[float, float]:
    """Print the time of an augmented crop and of a plain one.

    Returns:
        Wall and user seconds of an augmented crop.
    """
    times = {}
    count = images * crops_per_case
    for name, some, cases in (("augmented", reader, reader.pool.ids), ("plain", plain, reader.pool.cases)):
        crops = BatchSchedule(cases, count, crops_per_case, seed=0, fold=0).batch(0)
        some.read(crops[0])
        some.read(crops[-1])
        wall, user = _timed(lambda some=some, crops=crops: [some.read(crop) for crop in crops])
        times[name] = wall / count, user / count
        what = f"{configuration} {name} crop, {'x'.join(map(str, reader.size))}, {crops_per_case} per image"
        print(f"{what:54}{wall / count:9.4f}{user / count:9.4f}{count / wall:9.1f}")
    return times["augmented"]


def report_monai(image: np.ndarray, labels: np.ndarray, repeats: int, ours: dict[str, tuple[float, float]]) -> None:
    """Print the time of Rand3DElastic for one volume with its labels, and how many times ours that is per crop."""
    from monai.transforms import Rand3DElasticd

    settings = PAPER.augmentation
    transform = Rand3DElasticd(
        keys=("image", "label"),
        sigma_range=settings.elastic_sigma,
        magnitude_range=settings.elastic_magnitude,
        prob=1.0,
        rotate_range=tuple(np.deg2rad(settings.rotation_deg[::-1])),
        translate_range=settings.translation_voxels[::-1],
        scale_range=tuple(s / 100 for s in settings.scaling_percent[::-1]),
        mode=("bilinear", "nearest"),
        padding_mode=settings.padding,
    )
    data = {"image": torch.as_tensor(image.transpose(0, 3, 2, 1).copy())}
    data["label"] = torch.as_tensor(labels.transpose(0, 3, 2, 1).astype(np.float32))
    wall, user = min(_timed(lambda: transform(dict(data))) for _ in range(repeats))
    print(f"{'MONAI Rand3DElastic, whole volume with labels':54}{wall:9.4f}{user:9.4f}{1 / wall:9.1f}")
    for configuration, (own_wall, own_user) in ours.items():
        count = PAPER.sampling(configuration).crops_per_case
        what = f"{configuration}: MONAI's per crop over ours, {count} of a volume"
        print(f"{what:54}{wall / count / own_wall:9.1f}{user / count / own_user:9.1f}")


def make_case(shape: tuple[int, int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and six elliptic columns that fill about as much as the paper's mean muscle volumes (11.6 %).

    Returns:
        (1, z, y, x) float32 and int16, nnU-Net's types.
    """
    generator = np.random.default_rng(seed)
    image = generator.standard_normal((1, *shape), dtype=np.float32)
    rows, columns = np.linspace(0, 1, shape[1])[:, None], np.linspace(0, 1, shape[2])
    plane = np.zeros(shape[1:], np.int16)
    for label, x, y, radius in (
        (1, 0.57, 0.32, 0.06), (2, 0.43, 0.32, 0.06), (3, 0.70, 0.30, 0.095),
        (4, 0.30, 0.30, 0.095), (5, 0.66, 0.60, 0.07), (6, 0.34, 0.60, 0.07),
    ):  # fmt: skip
        plane[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = label
    return image, np.broadcast_to(plane, (1, *shape)).copy()


def save_cases(root: Path, name: str, arrays: list, patch_size: tuple[int, ...]) -> tuple[str, ...]:
    """Write the cases as nnU-Net writes preprocessed ones, in its chunks for this patch."""
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2

    folder = root / name
    folder.mkdir()
    names = tuple(f"case_{number}" for number in range(len(arrays)))
    for case, (image, labels) in zip(names, arrays, strict=True):
        blocks, chunks = comp_blosc2_params(image.shape, patch_size, image.itemsize)
        seg_blocks, seg_chunks = comp_blosc2_params(labels.shape, patch_size, labels.itemsize)
        nnUNetDatasetBlosc2.save_case(
            image, labels, {}, str(folder / case),
            chunks=chunks, blocks=blocks, chunks_seg=seg_chunks, blocks_seg=seg_blocks,
        )  # fmt: skip
    return names


def _timed(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and user seconds; the system's share is page faults, which depend on the machine more than on the work."""
    wall, user = time.perf_counter(), os.times().user
    run()
    return time.perf_counter() - wall, os.times().user - user


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(50, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--images", type=int, default=10, help="augmented images per configuration")
    parser.add_argument("--repeats", type=int, default=3, help="of MONAI's transform; the fastest counts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
