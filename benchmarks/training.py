"""Iterations per second of our trainers, nnU-Net's loop and a plain MONAI loop, in one run on the same phantoms.

All train the paper's 2D network with the same patch and batch on the CPU; nnU-Net's loop brings its own sampling,
augmentation and optimiser. The self-configured baseline, with its own network, patch and batch, stands beside them.
Every loop runs in a process of its own, which gets its batches as a training does: ours with the settings of memory
and threads that `paraspinal train` makes, the others without. The processes are asked for steps in turn, forth and
back, so that a busy machine slows all of them alike; processor seconds stand beside those of the clock.

    python benchmarks/training.py [--iterations 5] [--patch 256] [--batch 8] [--rounds 3] [--threads 2]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

CASES, SLICES, DATASET = 6, 24, 501
OURS, AUGMENTED, MONAI = "nnUNetTrainerParaspinal", "nnUNetTrainerParaspinalDA", "plain MONAI loop"
WARM_UP = 2

Step = tuple[Callable[[], dict], Callable[[dict], object]]
"""Gets the next batch; trains on it."""

Seconds = tuple[float, float, float]
"""Of getting a batch, of training on it, and of the processor for both; means over the steps of a round."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="each loop is timed this often, in turn; medians count")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads of every loop")
    parser.add_argument("--only", nargs="+", default=[], help="words that the names of the wanted loops contain")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with redirect_stdout(StringIO()):
            prepare(Path(folder), args.patch, args.batch)
        loops = loops_of(Path(folder) / "raw" / "Dataset501_Bench", args.patch, args.batch)
        wanted = {n: make for n, make in loops.items() if not args.only or any(word in n for word in args.only)}
        report(measured(wanted, args.threads, args.rounds, args.iterations), args)


def loops_of(dataset: Path, patch: int, batch: int) -> dict[str, Callable[[], Step]]:
    """What is measured, by name."""
    return {
        OURS: partial(trainer_steps, OURS, "Bench"),
        f"{OURS}, cache=device": partial(trainer_steps, OURS, "BenchDevice"),
        AUGMENTED: partial(trainer_steps, AUGMENTED, "Bench"),
        f"{AUGMENTED}, cache=device": partial(trainer_steps, AUGMENTED, "BenchDevice"),
        "nnU-Net's loop, the same network": partial(trainer_steps, "nnUNetTrainerNoDeepSupervision", "Bench"),
        MONAI: partial(monai_steps, dataset, patch, batch),
        "nnU-Net's self-configured baseline": partial(trainer_steps, "nnUNetTrainerBaseline", "nnUNetPlans"),
    }


def measured(
    loops: dict[str, Callable[[], Step]], threads: int, rounds: int, iterations: int
) -> dict[str, list[Seconds]]:
    """What every loop took, per round."""
    seconds: dict[str, list[Seconds]] = {name: [] for name in loops}
    context = get_context("spawn")
    processes = {}
    for name, make in loops.items():
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, make, threads), daemon=True)
        process.start()
        here.send(WARM_UP)
        here.recv()
        processes[name] = process, here
    for number in range(rounds):
        for name in list(processes)[:: 1 - 2 * (number % 2)]:
            _, connection = processes[name]
            connection.send(iterations)
            seconds[name].append(connection.recv())
    for process, connection in processes.values():
        connection.send(0)
        process.join()
    return seconds


def serve(connection: Connection, make: Callable[[], Step], threads: int) -> None:
    """Take as many steps as are asked for, and tell what they took."""
    with redirect_stdout(StringIO()):
        get, train = make()
    import torch  # ours sets how threads wait before

    torch.set_num_threads(threads)
    while count := connection.recv():
        data = step = 0.0
        processor = time.process_time()
        for _ in range(count):
            start = time.perf_counter()
            batch = get()
            middle = time.perf_counter()
            train(batch)
            data, step = data + middle - start, step + time.perf_counter() - middle
        connection.send((data / count, step / count, (time.process_time() - processor) / count))


def report(seconds: dict[str, list[Seconds]], args: argparse.Namespace) -> None:
    """Print medians over the rounds: times, and how many times as fast as MONAI's loop and the arm without DA."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    sizes = f"patch {args.patch} x {args.patch}, batch {args.batch}, {args.threads} threads, {os.cpu_count()} cores"
    print(f"{sizes}, load {load:.1f}; ratios: by the clock, by the processor's seconds")
    print(f"{'':44s}{'data ms':>9}{'step ms':>9}{'loop ms':>9}{'CPU ms':>9}{'x MONAI':>14}{'x no DA':>14}")
    for name, values in seconds.items():
        data, step, processor = (1000 * statistics.median(v) for v in zip(*values, strict=True))
        loop = 1000 * statistics.median(data + step for data, step, _ in values)
        times = "".join(f"{ms:9.0f}" for ms in (data, step, loop, processor))
        ratios = "".join(f"{faster(values, seconds.get(peer)):>14}" for peer in (MONAI, OURS))
        print(f"{name:44s}{times}{ratios}", flush=True)


def faster(own: list[Seconds], peer: list[Seconds] | None) -> str:
    """How many times as fast as a peer in the same round, by the clock and by the processor's seconds; medians."""
    if peer is None:
        return "-"
    pairs = list(zip(own, peer, strict=True))
    clock = statistics.median((theirs[0] + theirs[1]) / (ours[0] + ours[1]) for ours, theirs in pairs)
    processor = statistics.median(theirs[2] / ours[2] for ours, theirs in pairs)
    return f"{clock:.2f}, {processor:.2f}"


def prepare(folder: Path, patch: int, batch: int) -> None:
    """Phantoms, converted, planned for the paper and for the baseline, and preprocessed."""
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir()
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    os.environ |= {"nnUNet_def_n_proc": "2", "nnUNet_n_proc_DA": "0"}
    from paraspinal_nnunet.dataset_conversion.engine import convert
    from paraspinal_nnunet.dataset_conversion.sources.author import author_source
    from paraspinal_nnunet.phantom.cohort import write_cohort
    from paraspinal_nnunet.planning.run import PlanRequest, plan
    from paraspinal_nnunet.protocol.overrides import parse_settings

    width = 3 * patch // 2
    write_cohort(folder / "cohort", cases=CASES, shape=(width, width, SLICES), second_rater=0)
    convert(author_source(), folder / "cohort", number=DATASET, name="Bench", raw=folder / "raw")
    spacing = ",".join(f"{mm:g}" for mm in (5 * 50 / SLICES, *[0.39 * 512 / width] * 2))
    given = [f"spacing={spacing}", f"patch_size={patch},{patch}", f"batch_size={batch}"]
    for name, more in (("Bench", []), ("BenchDevice", ["cache=device"])):
        plan(PlanRequest(DATASET, ["2d"], plans_name=name, overrides=parse_settings([*given, *more])))
    plan(PlanRequest(DATASET, ["2d"], baseline=True))


def trainer_steps(trainer: str, plans: str) -> Step:
    """A trainer on its own batches; one of ours as `paraspinal train` starts it on the CPU."""
    if trainer.startswith(OURS):
        from paraspinal_nnunet.utils.machine import keep_freed_memory, wait_asleep

        wait_asleep()
        keep_freed_memory()
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    from paraspinal_nnunet.nnunet.compat import register_trainers

    register_trainers()
    made = get_trainer_from_args(str(DATASET), "2d", 0, trainer, plans, device=torch.device("cpu"))
    made.initialize()
    train, _ = made.get_dataloaders()
    made.network.train()
    return lambda: next(train), made.train_step


def monai_steps(dataset: Path, patch: int, batch: int) -> Step:
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
        CacheDataset(files, t.Compose(load), progress=False),
        batch_size=batch // 4,
        shuffle=True,
        collate_fn=list_data_collate,
    )
    network = UNet(2, 1, 7, (16, 32, 64, 128, 256), (1, 2, 2, 2), num_res_units=2, act="LeakyReLU", norm="INSTANCE")
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    stream = forever(loader)

    def train(data: dict) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(network(data["image"]), data["label"]).backward()
        optimizer.step()

    return lambda: next(stream), train


def forever(loader: "object") -> Iterator[dict]:
    """Batches without end."""
    while True:
        yield from loader  # type: ignore[misc]


if __name__ == "__main__":
    main()
