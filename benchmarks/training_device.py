"""Step, data and loop of the paper's arms on a GPU beside a plain MONAI loop, on phantoms made on the spot.

Ours cache the cases on the device and cut and augment crops there. MONAI's loop, with the network, loss and optimiser
that the paper names, caches its cases in memory with 12 workers, or on the GPU. Last, two trainings of 40 iterations
are compared by the SHA-256 of their weights. The rows that matter most come first; a row that fails is told in a line,
and what 5 minutes leave no time for is not measured.

    python benchmarks/training_device.py
    python benchmarks/training_device.py --device cpu --small       # runs everything, in small
"""

import argparse
import gc
import hashlib
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import torch
from training import forever

DATASET, CASES, PLANS = 501, 16, "Bench"
TRAINER = "nnUNetTrainerParaspinal"
WARM_UP = 3

Loop = tuple[Callable[[], dict], Callable[[dict], object]]
"""Gets the next batch; trains on it."""


@dataclass(frozen=True)
class Row:
    """One row of the table: a trainer, its configuration and the settings that differ from the paper's."""

    name: str
    trainer: str
    configuration: str
    settings: tuple[str, ...] = ()

    @property
    def plans(self) -> str:
        """Name of the row's plans."""
        return PLANS + "".join(c for s in self.settings for c in s.title() if c.isalnum())


PLAIN = Row("2D, fp32 as torch gives it", TRAINER, "2d")
PLAIN_DA = Row("2D DA", f"{TRAINER}DA", "2d")
VOLUMES = Row("3D", TRAINER, "3d_fullres")
VOLUMES_DA = Row("3D DA", f"{TRAINER}DA", "3d_fullres")
BF16 = Row("2D, bf16 compiled", TRAINER, "2d", ("precision=bf16", "compile=on"))
LAST = (
    Row("2D, fp32, compile=auto", TRAINER, "2d", ("compile=auto",)),
    Row("2D, cache in half precision", TRAINER, "2d", ("cache_precision=fp16",)),
)
ROWS = (PLAIN, PLAIN_DA, BF16, VOLUMES, VOLUMES_DA, *LAST)
MONAIS = {where: f"MONAI, cases in {where}" for where in ("device", "ram")}


class OutOfTimeError(BaseException):
    """A row took more time than there was; no handler of errors on the way may take it for one."""


def main() -> None:
    """Make the data, then measure and print a row at a time."""
    start = time.perf_counter()
    args = _arguments()
    device = torch.device(args.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU, in small: only that it runs is shown"
    print(f"{name}, torch {torch.__version__}, {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        with redirect_stdout(StringIO()):
            prepare(Path(folder), args)
        print(f"data made in {time.perf_counter() - start:.0f} s", flush=True)
        print(f"{'':32}{'data ms':>9}{'step ms':>9}{'loop ms':>9}{'it/s':>8}{'GiB':>7}", flush=True)
        loops: dict[str, float] = {}
        for name, do in measurements(Path(folder) / "raw" / "Dataset501_Bench", device, args).items():
            with limited(name, 60 * args.minutes - (time.perf_counter() - start)):
                if (seconds := do()) is not None:
                    loops[name] = seconds
            free_memory(device)
        compare(loops)


def measurements(
    dataset: Path, device: torch.device, args: argparse.Namespace
) -> dict[str, Callable[[], float | None]]:
    """What is measured, by name, in the order in which it matters."""

    def row(wanted: Row) -> dict[str, Callable[[], float | None]]:
        return {wanted.name: partial(ours, wanted, device, args)}

    return {
        **row(PLAIN), **row(PLAIN_DA), **{n: partial(monais, dataset, w, device, args) for w, n in MONAIS.items()},
        **row(BF16), "determinism": partial(determinism, device, args), **row(VOLUMES), **row(VOLUMES_DA),
        **{name: do for last in LAST for name, do in row(last).items()},
    }  # fmt: skip


@contextmanager
def limited(name: str, seconds: float) -> Iterator[None]:
    """What fails here, or has no time left, is told in a line and ends nothing else."""

    def out_of_time(*_: object) -> None:
        raise OutOfTimeError("no time was left")

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, out_of_time)
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    except (Exception, OutOfTimeError) as error:  # a driver, a compiler or a worker process may raise anything
        print(f"{name:32}not measured: {type(error).__name__}: {str(error).partition(chr(10))[0]}", flush=True)
    finally:
        if hasattr(signal, "SIGALRM"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def determinism(device: torch.device, args: argparse.Namespace) -> None:
    """Print whether two trainings of some iterations end in the same weights."""
    digests = [digest_after(PLAIN_DA, device, args.determinism) for _ in range(2)]
    same = "the same" if len(set(digests)) == 1 else "DIFFERENT"
    print(f"{args.determinism} iterations of {PLAIN_DA.name} twice: sha256 {same}")
    print("\n".join(digests), flush=True)


def compare(loops: dict[str, float]) -> None:
    """Print the ratios of the target table."""
    pairs = [(name, PLAIN.name) for name in MONAIS.values()]
    for one, other in [*pairs, (PLAIN_DA.name, PLAIN.name), (VOLUMES_DA.name, VOLUMES.name)]:
        ratio = f"{loops[one] / loops[other]:.2f}" if {one, other} <= set(loops) else "not measured"
        print(f"{one} over {other}: {ratio}", flush=True)


def ours(row: Row, device: torch.device, args: argparse.Namespace) -> float:
    """Measure one of our trainers; seconds of its loop."""
    trainer = trainer_of(row, device)
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    train = trainer.dataloader_train
    found = measure(row.name, (lambda: next(train), trainer.train_step), device, args)
    if trainer.protocol.bookkeeping.compile != "off":
        print(f"    {trainer.compilation}", flush=True)
    if row == PLAIN and device.type == "cuda":
        print(f"    waits for the GPU in a step: {', '.join(waits(trainer)) or 'none'}", flush=True)
    return found


def waits(trainer: "object") -> list[str]:
    """Where a batch and its step make the processor wait for the GPU, as torch finds it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            trainer.train_step(next(trainer.dataloader_train))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found = [w for w in caught if "synchroniz" in str(w.message)]
    return sorted({f"{Path(w.filename).name}:{w.lineno}" for w in found})


def trainer_of(row: Row, device: torch.device) -> "object":
    """A trainer, its network and optimiser made."""
    from nnunetv2.run.run_training import get_trainer_from_args

    from paraspinal_nnunet.nnunet.compat import find_trainer, register_trainers

    register_trainers()
    find_trainer(row.trainer)
    with redirect_stdout(StringIO()):
        made = get_trainer_from_args(str(DATASET), row.configuration, "all", row.trainer, row.plans, device=device)
        made.disable_checkpointing = True
        made.print_to_log_file = lambda *_, **__: None
    return made


def digest_after(row: Row, device: torch.device, iterations: int) -> str:
    """SHA-256 of the weights after some iterations from the first."""
    trainer = trainer_of(row, device)
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    for _ in range(iterations):
        trainer.train_step(next(trainer.dataloader_train))
    weights = trainer.network.state_dict().values()
    return hashlib.sha256(b"".join(w.cpu().numpy().tobytes() for w in weights)).hexdigest()


def measure(name: str, loop: Loop, device: torch.device, args: argparse.Namespace) -> float:
    """Time a loop, its steps alone and its batches alone, print them, and give the loop's seconds."""
    get, train = loop
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()

    def seconds(do: Callable[[], object], count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            do()
        if cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / count

    for _ in range(WARM_UP):
        batch = get()
        train(batch)
    if cuda:
        torch.cuda.synchronize()
    together = seconds(lambda: train(get()), args.iterations)
    step = seconds(lambda: train(batch), max(args.iterations // 3, 1))
    data = seconds(get, max(args.iterations // 3, 1))
    memory = f"{torch.cuda.max_memory_allocated() / 2**30:7.1f}" if cuda else f"{'-':>7}"
    times = "".join(f"{1000 * s:9.1f}" for s in (data, step, together))
    print(f"{name:32}{times}{1 / together:8.2f}{memory}", flush=True)
    return together


def free_memory(device: torch.device) -> None:
    """Give back what a row took, before the next asks how much is free."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def monais(dataset: Path, where: str, device: torch.device, args: argparse.Namespace) -> float:
    """The plain loop: cached images, random crops, UNet, DiceCELoss, AdamW."""
    from monai import transforms as t
    from monai.data import CacheDataset, DataLoader, list_data_collate
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNet

    torch.backends.cudnn.deterministic = False  # torch's default; ours switch it on
    both = ["image", "label"]
    files = [
        {"image": str(dataset / "imagesTr" / f"{p.name[:-7]}_0000.nii.gz"), "label": str(p)}
        for p in sorted((dataset / "labelsTr").iterdir())
    ]
    files *= -(-args.batch // (4 * len(files)))  # at least a batch
    patch = (args.patch, args.patch, 1)
    load = t.Compose([
        t.LoadImaged(both), t.EnsureChannelFirstd(both), t.Orientationd(both, axcodes="RAS"),
        t.NormalizeIntensityd("image", nonzero=True),
        t.EnsureTyped(both, device=device if where == "device" else None, track_meta=False),
        t.RandCropByPosNegLabeld(both, "label", patch, pos=1, neg=1, num_samples=4, allow_smaller=True),
        t.SpatialPadd(both, patch), t.SqueezeDimd(both, dim=-1),
    ])  # fmt: skip
    workers = 0 if where == "device" else args.workers
    loader = DataLoader(
        CacheDataset(files, load, progress=False, num_workers=8), batch_size=args.batch // 4, num_workers=workers,
        shuffle=True, collate_fn=list_data_collate, pin_memory=workers > 0 and device.type == "cuda",
        persistent_workers=workers > 0,
    )  # fmt: skip
    network = UNet(2, 1, 7, (16, 32, 64, 128, 256), (1, 2, 2, 2), num_res_units=2, act="LeakyReLU", norm="INSTANCE")
    network.to(device)
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    stream = forever(loader)

    def train(data: dict) -> None:
        image, label = (data[key].to(device, non_blocking=True) for key in both)
        optimizer.zero_grad(set_to_none=True)
        loss(network(image), label).backward()
        optimizer.step()

    return measure(MONAIS[where], (lambda: next(stream), train), device, args)


def prepare(folder: Path, args: argparse.Namespace) -> None:
    """Phantoms, converted, planned for every row and preprocessed."""
    processes = os.cpu_count() or 1
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir()
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    os.environ["TQDM_DISABLE"] = "1"
    from paraspinal_nnunet.dataset_conversion.engine import convert
    from paraspinal_nnunet.dataset_conversion.sources.author import author_source
    from paraspinal_nnunet.phantom.cohort import write_cohort
    from paraspinal_nnunet.planning.run import PlanRequest, plan
    from paraspinal_nnunet.protocol.overrides import parse_settings
    from paraspinal_nnunet.protocol.plans import ENTRY
    from paraspinal_nnunet.utils.files import read_json, write_json

    x, y, z = args.shape
    write_cohort(folder / "cohort", cases=args.cases, shape=args.shape, second_rater=0, workers=min(16, processes))
    convert(author_source(), folder / "cohort", number=DATASET, name="Bench", raw=folder / "raw")
    given = [f"spacing={5 * 50 / z:g},{0.39 * 512 / y:g},{0.39 * 512 / x:g}", "cache=device", *args.set]
    path = plan(PlanRequest(DATASET, plans_name=PLANS, overrides=parse_settings(given), processes=min(16, processes)))
    plans = read_json(path)
    for row in ROWS:  # the cases are the same
        overrides = {**plans[ENTRY]["overrides"], **parse_settings(list(row.settings))}
        content = {**plans, "plans_name": row.plans, ENTRY: {**plans[ENTRY], "overrides": overrides}}
        write_json(path.with_name(f"{row.plans}.json"), content)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="small scans and batches, few iterations")
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=5, help="in all (default: %(default)g)")
    parser.add_argument("--workers", type=int, default=12, help="of MONAI's loader, with cases in memory")
    args = parser.parse_args()
    small = args.small
    args.shape, args.cases = ((64, 64, 16), 3) if small else ((512, 512, 50), CASES)
    args.patch, args.batch = (32, 8) if small else (256, 200)
    args.set = ["patch_size=32,32", "3d_fullres.patch_size=16,32,32", "2d.batch_size=8", "3d_fullres.batch_size=2"]
    args.set = [*args.set, "threads=1"] if small else []
    args.iterations, args.workers = (2, 1) if small else (args.iterations, args.workers)
    args.determinism = 3 if small else 40
    return args


if __name__ == "__main__":
    main()
