"""A whole study at the paper's full size, rehearsed on phantoms: time, memory and disk of every stage.

Trainings are too long for any rehearsal: of each arm three batches of the paper's size run (accumulated from
micro-batches, to the same gradient), and the extrapolation counts in such batches. The masks that are evaluated are the
reference's, perturbed: statistics need as many pairs as the study has, not good ones.

    python benchmarks/scale_rehearsal.py -o FOLDER [--cases 76] [--stages convert plan ...]

Finished stages are kept (FOLDER/stages/*.json) and not run again; the table is printed at the end.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paraspinal_nnunet.files import atomic_folder, write_json
from paraspinal_nnunet.nifti import read_labels, write_labels

NUMBER, PLANS = 901, "ParaspinalPlansRehearsal"
BATCHES = 3
MICRO_BATCH = {"2d": 8, "3d_fullres": 1}
ARMS = {
    "2d": ("nnUNetTrainerParaspinal", "2d"),
    "2d-da": ("nnUNetTrainerParaspinalDA", "2d"),
    "3d": ("nnUNetTrainerParaspinal", "3d_fullres"),
    "3d-da": ("nnUNetTrainerParaspinalDA", "3d_fullres"),
}
SCANS = 3
POLL_S = 0.2


@dataclass(frozen=True)
class Stage:
    """One step of the study: how it is run, and what of it lies on disk afterwards."""

    run: Callable[[], None]
    output: Callable[[], list[Path]]
    unit: str
    count: int


def main() -> None:
    """Run the stages that are not finished and print the table."""
    args = _arguments()
    root = args.folder.resolve()
    for name in ("raw", "preprocessed", "results"):
        (root / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(root / name)
    if args.batches_of:
        train_batches(args.batches_of)
        return
    stages = all_stages(root, args.cases)
    for name in args.stages or stages:
        record = root / "stages" / f"{name}.json"
        if not record.is_file():
            print(f"{name} ...", file=sys.stderr, flush=True)
            write_json(record, measured(stages[name]))
    print_table(root, stages)


def all_stages(root: Path, cases: int) -> dict[str, Stage]:
    """The stages in their order."""
    name = f"Dataset{NUMBER}_Rehearsal"
    raw, preprocessed, results = (root / part / name for part in ("raw", "preprocessed", "results"))
    stages = {
        "cohort": Stage(
            _paraspinal("phantom", "-n", cases, "-o", root / "cohort"), lambda: [root / "cohort"], "case", cases
        ),
        "convert": Stage(
            _paraspinal("convert", "author", "-i", root / "cohort", "-d", NUMBER, "-n", "Rehearsal"),
            lambda: [raw],
            "case",
            cases,
        ),
        "inspect": Stage(
            _paraspinal("inspect", "-d", NUMBER, "-o", root / "inspection"),
            lambda: [root / "inspection"],
            "case",
            cases,
        ),
        "plan": Stage(
            _paraspinal(
                *(
                    "plan",
                    "-d",
                    NUMBER,
                    "-p",
                    PLANS,
                    "--set",
                    f"iterations={BATCHES}",
                    f"iterations_per_epoch={BATCHES}",
                ),
                *("val_iterations=1", *(f"{c}.micro_batch_size={n}" for c, n in MICRO_BATCH.items())),
            ),
            lambda: [preprocessed],
            "case",
            cases,
        ),
    }
    for arm, (trainer, configuration) in ARMS.items():
        model = results / f"{trainer}__{PLANS}__{configuration}"
        stages[f"train {arm}"] = Stage(_self(root, arm), lambda model=model: [model], "batch", BATCHES)
    for arm, (trainer, configuration) in ARMS.items():
        model = results / f"{trainer}__{PLANS}__{configuration}"
        masks = root / "new_masks" / arm
        stages[f"predict {arm}"] = Stage(
            _predicting(root, raw, model, masks), lambda masks=masks: [masks], "scan", SCANS
        )
    stages["perturb"] = Stage(lambda: perturb(raw, root / "masks"), lambda: [root / "masks"], "mask", cases * len(ARMS))
    predictions = [word for arm in ARMS for word in ("--pred", f"{arm}={root / 'masks' / arm}")]
    stages["evaluate"] = Stage(
        _paraspinal("evaluate", "-ref", raw, "-o", root / "evaluation", *predictions),
        lambda: [root / "evaluation"],
        "mask",
        cases * len(ARMS),
    )
    stages["statistics"] = Stage(
        _paraspinal("statistics", root / "evaluation", "-o", root / "statistics"),
        lambda: [root / "statistics"],
        "study",
        1,
    )
    stages["report"] = Stage(
        _paraspinal("report", "-e", root / "evaluation", "-s", root / "statistics", "-o", root / "report"),
        lambda: [root / "report"],
        "study",
        1,
    )
    return stages


def train_batches(arm: str) -> None:
    """Train one arm for the rehearsal's few batches, without nnU-Net's validation afterwards."""
    from paraspinal_nnunet import trainers
    from paraspinal_nnunet.training import torch_device

    name, configuration = ARMS[arm]
    preprocessed = Path(os.environ["nnUNet_preprocessed"]) / f"Dataset{NUMBER}_Rehearsal"
    plans, dataset_json = (json.loads((preprocessed / f).read_text()) for f in (f"{PLANS}.json", "dataset.json"))
    trainer = getattr(trainers, name)(plans, configuration, 0, dataset_json, torch_device(None))
    step, seconds = trainer.train_step, []

    def timed(batch: dict) -> dict:
        began = time.perf_counter()
        result = step(batch)
        seconds.append(time.perf_counter() - began)
        return result

    trainer.train_step = timed
    trainer.run_training()
    write_json(Path(trainer.output_folder_base) / "steps.json", {"seconds": seconds})


def perturb(raw: Path, masks: Path) -> None:
    """For every arm, each reference moved by a few voxels in plane: by how many depends on the arm and the case."""
    generator = np.random.default_rng(0)
    for place, arm in enumerate(ARMS):
        with atomic_folder(masks / arm, replaces=[masks / arm] if (masks / arm).exists() else []) as folder:
            for path in sorted((raw / "labelsTr").glob("*.nii.gz")):
                labels = read_labels(path)
                shift = generator.integers(1, 3 + place, 2)
                write_labels(folder / path.name, np.roll(labels.array, shift, (0, 1)), labels.affine)


def measured(stage: Stage) -> dict:
    """Run a stage in a process of its own and watch its whole tree."""
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            stage.run()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    began, peak = time.monotonic(), 0.0
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        peak = max(peak, session_mb(child))
        time.sleep(POLL_S)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    outputs = stage.output()
    if ended[1] or not all(path.exists() for path in outputs):
        raise SystemExit("the stage failed; see above")
    return {
        "wall_s": wall,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mb": peak,
        "disk_mb": sum(f.stat().st_size for path in outputs for f in path.rglob("*") if f.is_file()) / 1e6,
    }


def session_mb(session: int) -> float:
    """Proportional memory of all processes of a session: pages that several share count once."""
    total = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if os.getsid(int(folder.name)) == session:
                    lines = (folder / "smaps_rollup").read_text().splitlines()
                    total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            except (OSError, StopIteration):
                continue
    return total / 1000


def print_table(root: Path, stages: dict[str, Stage]) -> None:
    """What was measured, per stage and per unit."""
    print("| stage | count | wall s | CPU s | CPU s per unit | peak MB | disk MB |\n|---|---|---|---|---|---|---|")
    for name, stage in stages.items():
        record = root / "stages" / f"{name}.json"
        if record.is_file():
            facts = json.loads(record.read_text())
            print(
                f"| {name} | {stage.count} {stage.unit} | {facts['wall_s']:.0f} | {facts['cpu_s']:.0f} | "
                f"{facts['cpu_s'] / stage.count:.2f} | {facts['peak_mb']:.0f} | {facts['disk_mb']:.0f} |"
            )


def _paraspinal(*words: object) -> Callable[[], None]:
    command = [sys.executable, "-m", "paraspinal_nnunet", *map(str, words)]
    return lambda: _checked(command)


def _self(root: Path, arm: str) -> Callable[[], None]:
    return lambda: _checked([sys.executable, str(Path(__file__).resolve()), "-o", str(root), "--batches-of", arm])


def _predicting(root: Path, raw: Path, model: Path, masks: Path) -> Callable[[], None]:
    def run() -> None:
        scans = root / "new_scans"
        scans.mkdir(exist_ok=True)
        for path in sorted((raw / "imagesTr").glob("*.nii.gz"))[:SCANS]:
            shutil.copy(path, scans)
        _paraspinal("predict", "-i", scans, "-o", masks, "-m", model, "-f", 0)()

    return run


def _checked(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"failed: {' '.join(command)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=76)
    parser.add_argument("--stages", nargs="+", help="only these (default: all)")
    parser.add_argument("--batches-of", choices=ARMS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
