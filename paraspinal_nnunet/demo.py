"""The whole path on the phantom cohort: scans in, two trained models, masks, a table and a page out.

Every step is a command that a user could type; its output goes to a log. A step that was finished is not run again, and
a training that was interrupted goes on from its last checkpoint.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from paraspinal_nnunet.errors import InputError, ParaspinalError
from paraspinal_nnunet.files import read_json, write_json
from paraspinal_nnunet.protocol import PAPER

TRAINING_ID, NEW_ID = 901, 902
SHAPE = (128, 128, 16)
FULL_SHAPE = (512, 512, 50)
PATCH = (96, 96)
BATCH = 8
PAPER_PLANS, BASELINE_PLANS = "ParaspinalPlansDemo", "nnUNetPlansDemo"
MODELS = {"paper": ("nnUNetTrainerParaspinal", PAPER_PLANS), "baseline": ("nnUNetTrainerBaseline", BASELINE_PLANS)}
EPOCH = 25
NNUNET_FOLDERS = ("raw", "preprocessed", "results")
LOGS, EVALUATION = "logs", "evaluation"
_EPOCH_LINE = re.compile(r": Epoch (\d+)\s*$")


@dataclass(frozen=True)
class DemoSettings:
    """How large the demonstration is.

    Attributes:
        folder: Everything is written here.
        cases: Phantoms to train and cross-validate on; fold 0 is trained.
        new_cases: Phantoms that neither model has seen, to predict.
        iterations: Optimiser steps of the paper's arm, instead of 30,000.
        baseline_iterations: Optimiser steps of nnU-Net's self-configured baseline, instead of 250,000.
    """

    folder: Path
    cases: int = 12
    new_cases: int = 4
    iterations: int = 600
    baseline_iterations: int = 150


@dataclass(frozen=True)
class Step:
    """One command of the path.

    Attributes:
        name: For the log's file name.
        title: What the user reads.
        arguments: After `paraspinal`.
        epochs: How many epochs its log will tell of; 0 when it is no training.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    epochs: int = 0


def run_demo(settings: DemoSettings) -> Path:
    """Run every step that is not yet done, then write the page.

    Returns:
        The page, index.html.

    Raises:
        InputError: The folder holds something else.
        ParaspinalError: A step failed; the message names its log.
    """
    from paraspinal_nnunet.demo_page import write_page

    folder = _claim(settings)
    steps = list(demo_steps(settings))
    print(f"In {folder}, with nnUNet_raw=raw nnUNet_preprocessed=preprocessed nnUNet_results=results:", flush=True)
    for number, step in enumerate(steps, start=1):
        print(f"[{number}/{len(steps)}] {step.title}\n      paraspinal {' '.join(step.arguments)}", flush=True)
        _run_once(folder, step)
    seconds = {step.name: read_json(_marker(folder, step))["seconds"] for step in steps}
    return write_page(folder / "index.html", folder / EVALUATION, steps, seconds)


def demo_steps(settings: DemoSettings) -> Iterator[Step]:
    """The path, in order; paths are relative to the demonstration's folder."""
    shape = tuple(map(str, SHAPE))
    for title, name, count, seed, number in (
        ("phantoms to train on", "cohort", settings.cases, "0", TRAINING_ID),
        ("new phantoms that no model has seen", "new_scans", settings.new_cases, "1", NEW_ID),
    ):
        yield Step(
            f"phantom_{name}", title, ("phantom", "-n", str(count), "-o", name, "--seed", seed, "--shape", *shape)
        )
        dataset = "Phantom" if number == TRAINING_ID else "PhantomNew"
        yield Step(
            f"convert_{name}", f"convert {name}", ("convert", "author", "-i", name, "-d", str(number), "-n", dataset)
        )
    yield from _training_steps(settings)
    for model, (trainer, plans) in MODELS.items():
        trained = f"results/Dataset{TRAINING_ID}_Phantom/{trainer}__{plans}__2d"
        yield Step(
            f"predict_{model}",
            f"predict the new phantoms with the {model} model",
            ("predict", "-i", f"raw/Dataset{NEW_ID}_PhantomNew/imagesTr", "-o", f"predictions/{model}", "-m", trained),
        )
    predictions = [f"{model}=predictions/{model}" for model in MODELS]
    yield Step(
        "evaluate",
        "compare the predictions with the reference labels",
        ("evaluate", "-ref", f"raw/Dataset{NEW_ID}_PhantomNew", "--pred", *predictions, "-o", EVALUATION),
    )


def _training_steps(settings: DemoSettings) -> Iterator[Step]:
    number = str(TRAINING_ID)
    spacing = ",".join(
        f"{mm * full / here:g}"
        for mm, full, here in zip(PAPER.preprocessing.spacing, FULL_SHAPE[::-1], SHAPE[::-1], strict=True)
    )
    plans = ("plan", "-d", number, "-c", "2d", "-p")
    length = f"iterations_per_epoch={EPOCH}"
    yield Step(
        "plan_paper",
        "plan the paper's protocol, shortened",
        (*plans, PAPER_PLANS, "--set", f"iterations={settings.iterations}", f"batch_size={BATCH}",
         f"patch_size={PATCH[0]},{PATCH[1]}", f"spacing={spacing}", length),
    )  # fmt: skip
    yield Step(
        "plan_baseline",
        "plan nnU-Net's self-configured baseline, shortened, on the same folds",
        (*plans, BASELINE_PLANS, "--baseline", "--set", f"iterations={settings.baseline_iterations}", length,
         "val_iterations=1"),
    )  # fmt: skip
    for model, iterations in (("paper", settings.iterations), ("baseline", settings.baseline_iterations)):
        trainer, name = MODELS[model]
        yield Step(
            f"train_{model}",
            f"train the {model} model on fold 0",
            ("train", "-d", number, "-c", "2d", "-f", "0", "-tr", trainer, "-p", name, "--resume"),
            epochs=-(-iterations // EPOCH),
        )


def _run_once(folder: Path, step: Step) -> None:
    marker = _marker(folder, step)
    if marker.is_file():
        print("      done already", flush=True)
        return
    started = time.monotonic()
    _run(folder, step)
    write_json(marker, {"arguments": step.arguments, "seconds": round(time.monotonic() - started, 1)})


def _run(folder: Path, step: Step) -> None:
    log = folder / LOGS / f"{step.name}.log"
    command = [sys.executable, "-m", "paraspinal_nnunet", *step.arguments]
    with (
        log.open("a", encoding="utf-8") as sink,
        tqdm(total=step.epochs, unit="epoch", desc="      training", disable=not step.epochs, leave=False) as bar,
        subprocess.Popen(
            command, cwd=folder, env=_environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        for line in process.stdout or ():
            sink.write(line)
            epoch = _EPOCH_LINE.search(line)
            if epoch:
                bar.update(int(epoch[1]) - bar.n)
    if process.returncode:
        raise ParaspinalError(f"'{step.title}' failed: {_last_line(log)}; the whole output is in {log}")


def _environment(folder: Path) -> dict[str, str]:
    """nnU-Net's folders inside the demonstration; few processes, whose start costs more than they save here."""
    folders = {f"nnUNet_{name}": str(folder / name) for name in NNUNET_FOLDERS}
    return {**os.environ, **folders, "nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "0", "PYTHONUNBUFFERED": "1"}


def _claim(settings: DemoSettings) -> Path:
    """Make the folder, or make sure that it holds a demonstration of the same settings."""
    folder = settings.folder.resolve()
    wanted = {key: value for key, value in asdict(settings).items() if key != "folder"}
    record = folder / "demo.json"
    if record.is_file():
        found = read_json(record)
        if found != wanted:
            raise InputError(f"{folder}: holds a demonstration with other settings ({found}); choose another folder")
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty and holds no demonstration; choose another folder")
    for name in (*NNUNET_FOLDERS, LOGS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(record, wanted)
    return folder


def _marker(folder: Path, step: Step) -> Path:
    return folder / LOGS / f"{step.name}.done.json"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").strip().splitlines()
    return lines[-1] if lines else "no output"
