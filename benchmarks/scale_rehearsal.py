"""The study at the paper's full size, stage by stage, as far as it goes without a GPU: time, memory and disk of each.

    python benchmarks/scale_rehearsal.py -o FOLDER [--cases 76] [--shape 512 512 50] [--stages convert plan ...]
    python benchmarks/scale_rehearsal.py -o FOLDER --table

Stages that are done are not run again; each can be run by itself once those before it are done. Trainings are a few
batches of the paper's size, cut into micro-batches; predictions are made with their weights; evaluation and statistics
take label maps made by perturbing the reference. The table says what is measured and what is extrapolated.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.utils.files import read_json, write_json

NUMBER, NAME = 976, "Dataset976_Rehearsal"
ARMS = {
    "2d": ("nnUNetTrainerParaspinal", "2d"),
    "2d_da": ("nnUNetTrainerParaspinalDA", "2d"),
    "3d": ("nnUNetTrainerParaspinal", "3d_fullres"),
    "3d_da": ("nnUNetTrainerParaspinalDA", "3d_fullres"),
}
PLANS = {"2d": "Rehearsal2d", "3d_fullres": "Rehearsal3d"}
MICRO_BATCH = {"2d": 4, "3d_fullres": 1}
BATCHES = 3
PREDICTIONS = 3
EVALUATED = {"near": 1, "far": 2, "farther": 3, "farthest": 4}
"""Pretended model -> how many voxels its masks are shifted in plane, besides noise at the borders."""

LARGE_COHORT = 10_000


def main() -> None:
    """Run the stages that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", dest="folder", type=Path, required=True, help="work here; some 40 GB for 76 cases")
    parser.add_argument("--cases", type=int, default=PAPER.cohort.subjects, help="phantoms (default: %(default)s)")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 50), help="voxels (default: 512 512 50)")
    parser.add_argument("--stages", nargs="+", choices=[*STAGES], default=[*STAGES], help="default: all")
    parser.add_argument("--arms", nargs="+", choices=[*ARMS], default=[*ARMS], help="default: all")
    parser.add_argument("--batches", type=int, default=BATCHES, help="per arm (default: %(default)s)")
    parser.add_argument("--set", dest="settings", nargs="+", default=[], help="smaller numbers, to try the script")
    parser.add_argument("-np", dest="processes", type=int, default=os.cpu_count() or 1, help="default: %(default)s")
    parser.add_argument("--table", action="store_true", help="only print the table of what is done")
    args = parser.parse_args()
    root = args.folder.resolve()
    root.mkdir(parents=True, exist_ok=True)
    if not args.table:
        os.environ.update({f"nnUNet_{n}": str(root / n) for n in ("raw", "preprocessed", "results")})
        os.environ.update(nnUNet_n_proc_DA="0", nnUNet_def_n_proc="1")
        for name in ("raw", "preprocessed", "results", "stages", "logs"):
            (root / name).mkdir(exist_ok=True)
        for stage in args.stages:
            STAGES[stage](root, args)
    print(table(root))


def measured(root: Path, name: str, work: Callable[[], int], *, grows: Path | None = None) -> None:
    """Do a piece of work once and record its time, the memory of its processes, and how much a folder grew.

    Args:
        root: The rehearsal's folder.
        name: Of the record.
        work: Returns how many cases or batches it worked on.
        grows: The folder.
    """
    record = root / "stages" / f"{name}.json"
    if record.is_file():
        print(f"{name}: done already", flush=True)
        return
    before, cpu, began = _size(grows), _cpu_s(), time.monotonic()
    with _PeakMemory() as memory:
        count = work()
    content = {
        "count": count,
        "wall_s": round(time.monotonic() - began, 1),
        "cpu_s": round(_cpu_s() - cpu, 1),
        "peak_mb": memory.peak_mb,
        "disk_mb": round((_size(grows) - before) / 2**20, 1),
        "cores": os.cpu_count(),
    }
    write_json(record, content)
    print(f"{name}: {json.dumps(content)}", flush=True)


def run(root: Path, name: str, *command: str) -> None:
    """A command of ours, with its output in a log.

    Raises:
        SystemExit: It failed.
    """
    log = root / "logs" / f"{name}.log"
    with log.open("ab") as sink:
        done = subprocess.run([sys.executable, "-m", "paraspinal_nnunet", *command], stdout=sink, stderr=sink, cwd=root)
    if done.returncode:
        raise SystemExit(f"{name} failed; see {log}")


def _phantoms(root: Path, args: argparse.Namespace) -> None:
    shape = [str(n) for n in args.shape]
    command = ("phantom", "-n", str(args.cases), "-o", "cohort", "-np", str(args.processes), "--shape", *shape)
    measured(root, "phantoms", lambda: run(root, "phantoms", *command) or args.cases, grows=root / "cohort")


def _convert(root: Path, args: argparse.Namespace) -> None:
    command = ("convert", "author", "-i", "cohort", "-d", str(NUMBER), "-n", "Rehearsal", "-np", str(args.processes))
    flags = ("--allow-empty-label", "--overwrite")
    measured(root, "convert", lambda: run(root, "convert", *command, *flags) or args.cases, grows=root / "raw")


def _plan(root: Path, args: argparse.Namespace) -> None:
    start = ("plan", "-d", str(NUMBER), "-np", str(args.processes))
    measured(
        root, "fingerprint", lambda: run(root, "plan", *start, "--until", "fingerprint") or args.cases,
        grows=root / "preprocessed",
    )  # fmt: skip
    for configuration, plans in PLANS.items():
        settings = [f"iterations={args.batches}", f"iterations_per_epoch={args.batches}", "val_iterations=1"]
        settings += [f"micro_batch_size={MICRO_BATCH[configuration]}", *args.settings]
        command = (*start, "-c", configuration, "-p", plans, "--set", *settings)
        measured(
            root, f"preprocess_{configuration}", lambda c=command: run(root, "plan", *c) or args.cases,
            grows=root / "preprocessed",
        )  # fmt: skip


def _train(root: Path, args: argparse.Namespace) -> None:
    for arm in args.arms:
        trainer, configuration = ARMS[arm]
        fold = "0" if args.cases >= PAPER.validation.folds else "all"
        command = ("train", "-d", str(NUMBER), "-c", configuration, "-f", fold, "-tr", trainer, "-p")
        full = (*command, PLANS[configuration], "--resume", "--no-val")
        measured(
            root, f"train_{arm}", lambda c=full, a=arm: run(root, f"train_{a}", *c) or args.batches,
            grows=root / "results",
        )  # fmt: skip


def _predict(root: Path, args: argparse.Namespace) -> None:
    scans = root / "scans"
    scans.mkdir(exist_ok=True)
    for image in sorted((root / "raw" / NAME / "imagesTr").iterdir())[:PREDICTIONS]:
        link = scans / image.name
        if not link.exists():
            link.symlink_to(image)
    count = len(list(scans.iterdir()))
    for arm in args.arms:
        model = model_folder(root, arm)
        command = ("predict", "-i", "scans", "-o", f"predictions/{arm}", "-m", str(model), "--overwrite")
        command += ("--no-measures", "--no-pages")
        measured(
            root, f"predict_{arm}", lambda c=command, a=arm: run(root, f"predict_{a}", *c) or count,
            grows=root / "predictions",
        )  # fmt: skip


def _perturb(root: Path, args: argparse.Namespace) -> None:
    def work() -> int:
        for label in sorted((root / "raw" / NAME / "labelsTr").iterdir()):
            reference = nibabel.load(label)
            array = np.asarray(reference.dataobj).astype(np.uint8)
            for place, (model, shift) in enumerate(EVALUATED.items()):
                rng = np.random.default_rng([place, int.from_bytes(label.name.encode()[:8], "big")])
                moved = np.roll(array, int(rng.integers(0, shift + 1)), axis=0)
                moved = np.where(rng.random(array.shape, dtype=np.float32) < 0.02, np.roll(moved, 1, axis=1), moved)
                target = root / "pretended" / model / label.name
                target.parent.mkdir(parents=True, exist_ok=True)
                nibabel.save(nibabel.Nifti1Image(moved, reference.affine), target)
        return args.cases * len(EVALUATED)

    measured(root, "perturb", work, grows=root / "pretended")


def _evaluate(root: Path, args: argparse.Namespace) -> None:
    models = [f"{model}=pretended/{model}" for model in EVALUATED]
    command = ("evaluate", "-ref", f"raw/{NAME}", "--pred", *models, "-o", "evaluation", "-np", str(args.processes))
    count = args.cases * len(EVALUATED)
    measured(root, "evaluate", lambda: run(root, "evaluate", *command) or count, grows=root / "evaluation")


def _statistics(root: Path, args: argparse.Namespace) -> None:
    command = ("statistics", "evaluation", "-o", "statistics", "--missing", "complete-case")
    measured(root, "statistics", lambda: run(root, "statistics", *command) or args.cases, grows=root / "statistics")


STAGES: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "phantoms": _phantoms,
    "convert": _convert,
    "plan": _plan,
    "train": _train,
    "predict": _predict,
    "perturb": _perturb,
    "evaluate": _evaluate,
    "statistics": _statistics,
}


def model_folder(root: Path, arm: str) -> Path:
    """nnU-Net's folder of an arm's model."""
    trainer, configuration = ARMS[arm]
    return root / "results" / NAME / f"{trainer}__{PLANS[configuration]}__{configuration}"


def table(root: Path) -> str:
    """What was measured, and what follows for the whole study and for a large cohort, as Markdown."""
    records = {p.stem: read_json(p) for p in sorted((root / "stages").glob("*.json"), key=lambda p: p.stat().st_mtime)}
    lines = ["| measured | of | wall s | CPU s | s per one | peak MB | disk MB |", "|---|---|---|---|---|---|---|"]
    for name, r in records.items():
        each = r["wall_s"] / max(1, r["count"])
        lines.append(
            f"| {name} | {r['count']} | {r['wall_s']} | {r['cpu_s']} | {each:.2f} | {r['peak_mb']} | {r['disk_mb']} |"
        )
    return "\n".join([*lines, "", *_extrapolated(root, records)])


def _extrapolated(root: Path, records: dict[str, dict]) -> list[str]:
    lines = ["| extrapolated on this machine | estimate |", "|---|---|"]
    iterations, folds = PAPER.training.iterations, PAPER.validation.folds
    for arm in ARMS:
        path = next(model_folder(root, arm).glob("fold_*/training.json"), None)
        if path is not None and f"train_{arm}" in records:
            seconds = read_json(path)["training_seconds"] / records[f"train_{arm}"]["count"]
            hours = seconds * iterations * folds / 3600
            text = f"{seconds:.1f} s a batch (its share of a validation batch included): {hours:,.0f} h"
            lines.append(f"| {arm}: {folds} folds x {iterations:,} iterations | {text} |")
    for stage in ("convert", "fingerprint", "preprocess_2d", *(f"predict_{arm}" for arm in ARMS), "evaluate"):
        if stage in records:
            r = records[stage]
            hours, disk_gb = (r[k] / r["count"] * LARGE_COHORT / d for k, d in (("wall_s", 3600), ("disk_mb", 1024)))
            lines.append(f"| {stage} of {LARGE_COHORT:,} | {hours:,.1f} h, {disk_gb:,.0f} GB |")
    return lines


class _PeakMemory:
    """The largest memory of all descendants of this process together, looked at twice a second."""

    peak_mb = 0

    def __enter__(self) -> "_PeakMemory":
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        own = psutil.Process()
        while not self._ended.wait(0.5):
            total = 0
            for child in own.children(recursive=True):
                try:
                    memory = child.memory_full_info()
                    total += memory.pss if hasattr(memory, "pss") else memory.rss
                except psutil.Error:
                    continue
            self.peak_mb = max(self.peak_mb, round(total / 2**20))


def _cpu_s() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _size(folder: Path | None) -> int:
    if folder is None or not folder.exists():
        return 0
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


if __name__ == "__main__":
    main()
