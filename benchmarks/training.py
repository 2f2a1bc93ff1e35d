"""Iterations per second of our trainer, nnU-Net's loop and a plain MONAI loop, in one run on the same phantoms.

All train the paper's 2D network with the same patch and batch on the CPU; nnU-Net's loop brings its own sampling,
augmentation and optimiser. The self-configured baseline, with its own network, patch and batch, stands beside them.

    python benchmarks/training.py [--iterations 20] [--patch 128] [--batch 8] [--rounds 3]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

CASES, SHAPE, DATASET = 6, (192, 192, 24), 501


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="each loop is timed this often, in turn; medians count")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        prepare(Path(folder), args.patch, args.batch)
        steps = {
            "nnUNetTrainerParaspinal": trainer_steps("nnUNetTrainerParaspinal", "Bench"),
            "nnU-Net's loop, the same network": trainer_steps("nnUNetTrainerNoDeepSupervision", "Bench"),
            "plain MONAI loop": monai_steps(Path(folder) / "raw" / "Dataset501_Bench", args.patch, args.batch),
            "nnU-Net's self-configured baseline": trainer_steps("nnUNetTrainerBaseline", "nnUNetPlans"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(args.rounds):
            for name, step in steps.items():
                seconds[name].append(time_per_step(step, args.iterations))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    slowest_peer = median["plain MONAI loop"]
    print(f"patch {args.patch} x {args.patch}, batch {args.batch}, {os.cpu_count()} cores")
    for name, value in median.items():
        print(f"{name:40s} {1 / value:6.2f} it/s   {value / slowest_peer:5.2f} x the MONAI loop's time")


def prepare(folder: Path, patch: int, batch: int) -> None:
    """Phantoms, converted, planned for the paper and for the baseline, and preprocessed."""
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir()
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    os.environ |= {"nnUNet_def_n_proc": "2", "nnUNet_n_proc_DA": "0"}
    from paraspinal_nnunet.dataset_conversion.engine import convert
    from paraspinal_nnunet.dataset_conversion.sources.author import author_source
    from paraspinal_nnunet.nnunet.compat import register_trainers
    from paraspinal_nnunet.phantom.cohort import write_cohort
    from paraspinal_nnunet.planning.run import PlanRequest, plan
    from paraspinal_nnunet.protocol.overrides import parse_settings
    from paraspinal_nnunet.utils.machine import keep_freed_memory

    keep_freed_memory()
    register_trainers()
    write_cohort(folder / "cohort", cases=CASES, shape=SHAPE, second_rater=0)
    convert(author_source(), folder / "cohort", number=DATASET, name="Bench", raw=folder / "raw")
    spacing = ",".join(f"{mm:g}" for mm in (5 * 50 / SHAPE[2], 0.39 * 512 / SHAPE[1], 0.39 * 512 / SHAPE[0]))
    settings = parse_settings([f"spacing={spacing}", f"patch_size={patch},{patch}", f"batch_size={batch}"])
    plan(PlanRequest(DATASET, ["2d"], plans_name="Bench", overrides=settings))
    plan(PlanRequest(DATASET, ["2d"], baseline=True))


def trainer_steps(trainer: str, plans: str) -> Callable[[], None]:
    """One training step of a trainer on its own batches."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    made = get_trainer_from_args(str(DATASET), "2d", 0, trainer, plans, device=torch.device("cpu"))
    made.initialize()
    train, _ = made.get_dataloaders()
    made.network.train()

    def step() -> None:
        made.train_step(next(train))

    return step


def monai_steps(dataset: Path, patch: int, batch: int) -> Callable[[], None]:
    """The authors' way: cached images, random crops, UNet, DiceCELoss, AdamW."""
    import torch
    from monai import transforms as t
    from monai.data import CacheDataset, DataLoader, list_data_collate
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNet

    both = ["image", "label"]
    files = [
        {"image": str(dataset / "imagesTr" / f"{p.name[:-7]}_0000.nii.gz"), "label": str(p)}
        for p in sorted((dataset / "labelsTr").iterdir())
    ]
    load = [
        t.LoadImaged(both), t.EnsureChannelFirstd(both), t.Orientationd(both, axcodes="RAS"),
        t.NormalizeIntensityd("image", nonzero=True),
        t.RandCropByPosNegLabeld(both, "label", (patch, patch, 1), pos=1, neg=1, num_samples=4, allow_smaller=True),
        t.SpatialPadd(both, (patch, patch, 1)), t.SqueezeDimd(both, dim=-1),
    ]  # fmt: skip
    loader = DataLoader(
        CacheDataset(files, t.Compose(load), progress=False), batch // 4, shuffle=True, collate_fn=list_data_collate
    )
    network = UNet(2, 1, 7, (16, 32, 64, 128, 256), (1, 2, 2, 2), num_res_units=2, act="LeakyReLU", norm="INSTANCE")
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    stream = forever(loader)

    def step() -> None:
        data = next(stream)
        optimizer.zero_grad(set_to_none=True)
        loss(network(data["image"]), data["label"]).backward()
        optimizer.step()

    return step


def forever(loader: "object") -> Iterator[dict]:
    """Batches without end."""
    while True:
        yield from loader  # type: ignore[misc]


def time_per_step(step: Callable[[], None], count: int) -> float:
    """Mean seconds of a step after two to warm up."""
    for _ in range(2):
        step()
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


if __name__ == "__main__":
    main()
