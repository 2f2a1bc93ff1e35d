"""The whole path on phantoms as a small study: two arms, the deeper network, a baseline, statistics, report and a page.

Every step is a command that a user could type. What is done is not done again, and a training that was interrupted goes
on from its last checkpoint: the demonstration can be stopped and started.
"""

import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from paraspinal_nnunet.errors import InputError, ParaspinalError
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.utils.files import read_json, write_json, write_text
from paraspinal_nnunet.workflow.settings import STUDY_FILE, read_study
from paraspinal_nnunet.workflow.study_file.template import DEMO_ITERATIONS, demo_text

SHAPE = (64, 32, 16)
FULL_SHAPE = (512, 512, 50)
COHORT, RECORD, PHANTOM_LOG = "cohort", "demo.json", "logs/phantom.log"


@dataclass(frozen=True)
class DemoSettings:
    """How large the demonstration is.

    Attributes:
        folder: Everything is written here.
        cases: Phantoms to train and test on; fold 0 is trained, and a third of them are its test cases.
        iterations: Optimiser steps of the 2D arm and the deeper network, instead of 30,000.
        iterations_3d: Of the 3D arm.
        baseline_iterations: Of nnU-Net's self-configured baseline, instead of 250,000.
    """

    folder: Path
    cases: int = 12
    iterations: int = DEMO_ITERATIONS["arms"]
    iterations_3d: int = DEMO_ITERATIONS["3d"]
    baseline_iterations: int = DEMO_ITERATIONS["baseline"]


def run_demo(settings: DemoSettings) -> Path:
    """Run every step that is not yet done, then write the page.

    Returns:
        The page, index.html.

    Raises:
        InputError: The folder holds something else.
        ParaspinalError: A step failed; the message names its log.
    """
    from paraspinal_nnunet.cli.demo.page import write_page
    from paraspinal_nnunet.workflow.engine import run_sequentially

    folder = _open_folder(settings)
    print(f"In {folder}: paraspinal {shlex.join(phantom_command(settings))}", flush=True)
    _make_cohort(settings, folder)
    write_text(folder / STUDY_FILE, study_text(settings))
    study = read_study(folder)
    place = shlex.quote(str(folder))
    print(f"In {folder}: paraspinal study step; progress: paraspinal study status -s {place}", flush=True)
    run_sequentially(study)
    return write_page(folder / "index.html", study, phantom_command(settings))


def phantom_command(settings: DemoSettings) -> list[str]:
    """Arguments after `paraspinal` that make the cohort, in the demonstration's folder."""
    return ["phantom", "-n", str(settings.cases), "-o", COHORT, "--shape", *map(str, SHAPE)]


def study_text(settings: DemoSettings) -> str:
    """The demonstration's study.yaml."""
    return demo_text(
        {"arms": settings.iterations, "3d": settings.iterations_3d, "baseline": settings.baseline_iterations}
    )


def own_spacing_mm() -> tuple[float, ...]:
    """The phantoms' voxel size (z, y, x): with fewer voxels than the full shape, each is larger."""
    return tuple(
        mm * full / here
        for mm, full, here in zip(PAPER.preprocessing.spacing, FULL_SHAPE[::-1], SHAPE[::-1], strict=True)
    )


def _make_cohort(settings: DemoSettings, folder: Path) -> None:
    if (folder / COHORT / "phantom.json").is_file():
        return
    partial = folder / f"{COHORT}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    command = phantom_command(settings)
    command[command.index(COHORT)] = partial.name
    log = folder / PHANTOM_LOG
    with log.open("w", encoding="utf-8") as sink:
        errors = None if sys.stderr.isatty() else subprocess.STDOUT  # a terminal shows how far it is
        result = subprocess.run(
            [sys.executable, "-m", "paraspinal_nnunet", *command], cwd=folder, stdout=sink, stderr=errors
        )
    if result.returncode:
        lines = log.read_text(encoding="utf-8").strip().splitlines() or ["no output"]
        raise ParaspinalError(f"the phantoms could not be made: {lines[-1]}; the whole output is in {log}")
    shutil.rmtree(folder / COHORT, ignore_errors=True)
    partial.rename(folder / COHORT)


def _open_folder(settings: DemoSettings) -> Path:
    """Make the folder, or make sure that it holds a demonstration of the same settings."""
    folder = settings.folder.resolve()
    wanted = {key: value for key, value in asdict(settings).items() if key != "folder"}
    record = folder / RECORD
    if record.is_file():
        found = read_json(record)
        if found != wanted:
            raise InputError(f"{folder}: holds a demonstration with other settings ({found}); choose another folder")
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty and holds no demonstration; choose another folder")
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    write_json(record, wanted)
    return folder
