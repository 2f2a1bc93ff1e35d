"""The stock command against portable models on the same scans, file to file: processor, wall, memory, labels, Dice.

Each way runs as a command of its own, held to the same processors; its memory is the most that its whole process tree
held at once, pages that processes share counted once. Labels are compared with the stock command's; Dice is the mean
over muscles and scans against the reference.

    python benchmarks/prediction.py -m s1=MODEL_FOLDER s2=MODEL_FOLDER -i SCANS [-r LABELS] [--threads 2]
    python benchmarks/prediction.py --train FOLDER [--iterations 4000]

The second form first makes full-size phantoms in FOLDER and trains both networks on six of them; what is there already
is taken as it is.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paraspinal_nnunet.image_io.images import read_labels
from paraspinal_nnunet.inference.portable import is_portable
from paraspinal_nnunet.nnunet.compat import fixed_python_path, trainer_path

TRAINERS = {"s1": "nnUNetTrainerParaspinal", "s2": "nnUNetTrainerParaspinalStride2"}
PLANS, NUMBER, NEW_NUMBER = "ParaspinalPlansBench", 511, 512
POLL_S = 0.5


@dataclass(frozen=True)
class Cost:
    """What one command took."""

    cpu_s: float
    wall_s: float
    memory_gib: float


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", dest="models", nargs="+", default=[], metavar="NAME=FOLDER", help="nnU-Net model folders")
    parser.add_argument("-i", dest="scans", type=Path, help="folder of scans")
    parser.add_argument("-r", dest="references", type=Path, help="folder of reference labels of the scans' names")
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="make phantoms and models there first")
    parser.add_argument("--iterations", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime", "openvino"])
    parser.add_argument("--masks", type=Path, help="keep portable models and masks there")
    args = parser.parse_args()
    if args.train:
        models, scans, references = train(args.train, args.iterations)
    else:
        models = {name: Path(path) for name, _, path in (m.partition("=") for m in args.models)}
        scans, references = args.scans, args.references
    print(f"{args.threads} threads, {len(list(scans.glob('*.nii*')))} scan(s) in {scans}")
    print(f"{'model':8} {'way':20} {'CPU s':>7} {'wall s':>7} {'GB':>5}   {'of stock':^17} {'differing':>10} "
          f"{'least Dice':>10} {'Dice':>7}")  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        masks = args.masks or Path(place)
        for name, folder in models.items():
            measure(name, folder, scans, references, masks / name, args)


def measure(
    name: str, model: Path, scans: Path, references: Path | None, masks: Path, args: argparse.Namespace
) -> None:
    """One network: the stock command and all of ours."""
    masks.mkdir(parents=True, exist_ok=True)
    portable = masks / "portable"
    if not is_portable(portable):
        run(["-m", "paraspinal_nnunet", "export", "-m", model, "-o", portable, "--format", "onnx"], args.threads)
    folds = [p.name.removeprefix("fold_") for p in sorted(model.glob("fold_*"))]
    stock = ["-c", "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as p; p()",
             "-i", scans, "-o", masks / "stock", "-m", model, "-f", *folds, "--disable_tta", "-device", "cpu",
             "-npp", "1", "-nps", "1"]  # fmt: skip
    ours = ["-m", "paraspinal_nnunet", "predict", "-i", scans, "-m", portable, "--threads", args.threads, "-device",
            "cpu", "--disable_tta", "--overwrite", "--no-measures", "--no-pages"]  # fmt: skip
    ways = {"stock": stock}
    for runtime in args.runtimes:
        for mode in ("tiles", "fast"):
            way = f"{mode} {runtime}"
            ways[way] = [*ours, "--runtime", runtime, "--mode", mode, "-o", masks / way.replace(" ", "_")]
    first = None
    for way, command in ways.items():
        cost = run(command, args.threads)
        first = first or cost
        report(name, way, cost, first, compare(masks / way.replace(" ", "_"), masks / "stock", references))


def report(name: str, way: str, cost: Cost, stock: Cost, labels: tuple[float, float, float]) -> None:
    """One line of the table."""
    differing, least, dice = labels
    shares = (
        f"{cost.cpu_s / stock.cpu_s:5.2f} {cost.wall_s / stock.wall_s:5.2f} {cost.memory_gib / stock.memory_gib:5.2f}"
    )
    print(f"{name:8} {way:20} {cost.cpu_s:7.1f} {cost.wall_s:7.1f} {cost.memory_gib:5.2f}   {shares} {differing:10.1e} "
          f"{least:10.5f} {dice:7.4f}", flush=True)  # fmt: skip


def run(command: Sequence[object], threads: int) -> Cost:
    """Run Python with these arguments on the first processors and watch it."""
    environment = os.environ | {
        "nnUNet_extTrainer": trainer_path(os.environ),
        "PYTHONPATH": fixed_python_path(os.environ),
        "OMP_NUM_THREADS": str(threads),
    }
    allowed = sorted(os.sched_getaffinity(0))[:threads]
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *map(str, command)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed), text=True,
    )  # fmt: skip
    peak, done = [0.0], threading.Event()
    watcher = threading.Thread(target=watch, args=(child.pid, peak, done))
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(child.stderr or []))
    watcher.start()
    reader.start()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    done.set()
    watcher.join()
    reader.join()
    if status:
        sys.exit("".join(errors[-20:]))
    return Cost(usage.ru_utime + usage.ru_stime, wall, peak[0])


def watch(root: int, peak: list[float], done: threading.Event) -> None:
    """Follow the memory of a process and all that descend from it."""
    while not done.wait(POLL_S):
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                parents[int(entry.name)] = parent(int(entry.name))
        tree = {root}
        while grown := {pid for pid, above in parents.items() if above in tree} - tree:
            tree |= grown
        peak[0] = max(peak[0], sum(proportional_kib(pid) for pid in tree) / 2**20)


def parent(pid: int) -> int | None:
    """The parent of a process, None when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def proportional_kib(pid: int) -> int:
    """Resident memory of a process, each page divided by the number of processes that share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def compare(masks: Path, stock: Path, references: Path | None) -> tuple[float, float, float]:
    """Share of voxels with another label than stock, least Dice of a muscle between the two, mean Dice of reference."""
    differing, least, found = [], [], []
    for path in sorted(masks.glob("*.nii.gz")):
        ours = read_labels(path).array
        # the stock command takes nnU-Net's channel suffix off, as ours does
        theirs = read_labels(stock / path.name).array
        differing.append(float((ours != theirs).mean()))
        least.append(min(dices(ours, theirs), default=1.0))
        if references:
            found += dices(ours, read_labels(references / path.name).array)
    return max(differing), min(least), float(np.mean(found)) if found else float("nan")


def dices(a: np.ndarray, b: np.ndarray) -> list[float]:
    """Dice of each label that either map holds."""
    values = [v for v in np.union1d(np.unique(a), np.unique(b)) if v]
    return [2 * float(((a == v) & (b == v)).sum()) / float((a == v).sum() + (b == v).sum()) for v in values]


def train(folder: Path, iterations: int) -> tuple[dict[str, Path], Path, Path]:
    """Phantoms of the paper's size, and both networks trained on six of them."""
    folder = folder.absolute()
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    os.environ |= {"nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "0"}
    steps = []
    for number, name, cases, seed in ((NUMBER, "Bench", 6, 0), (NEW_NUMBER, "BenchNew", 1, 1)):
        if not (folder / "raw" / f"Dataset{number}_{name}").exists():
            made = folder / name
            steps.append(["phantom", "-o", made, "-n", cases, "--seed", seed, "--second-rater", 0])
            steps.append(["convert", "author", "-i", made, "-d", number, "-n", name])
    length = [f"iterations={iterations}", "batch_size=2", "patch_size=256,256", "iterations_per_epoch=50"]
    steps.append(["plan", "-d", NUMBER, "-c", "2d", "-p", PLANS, "--set", *length])
    results = folder / "results" / f"Dataset{NUMBER}_Bench"
    models = {name: results / f"{trainer}__{PLANS}__2d" for name, trainer in TRAINERS.items()}
    for name, trainer in TRAINERS.items():
        if not (models[name] / "fold_all" / "checkpoint_final.pth").exists():
            steps.append(["train", "-d", NUMBER, "-c", "2d", "-f", "all", "-tr", trainer, "-p", PLANS, "--resume"])
    for step in steps:
        print("paraspinal", *step, flush=True)
        run(["-m", "paraspinal_nnunet", *step], len(os.sched_getaffinity(0)))
    new = folder / "raw" / f"Dataset{NEW_NUMBER}_BenchNew"
    return models, new / "imagesTr", new / "labelsTr"


if __name__ == "__main__":
    main()
