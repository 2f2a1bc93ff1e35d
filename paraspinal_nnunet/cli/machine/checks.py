"""What `paraspinal doctor` looks at: each finding says what is wrong with this machine and how to fix it."""

import importlib.util
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import SetupError
from paraspinal_nnunet.nnunet.compat import PLUGIN_FOLDER, check_nnunet, installed, torchvision_state
from paraspinal_nnunet.nnunet.datasets import nnunet_folder
from paraspinal_nnunet.utils.packages import install_line

State = Literal["good", "note", "wrong"]
LOOKUP_TIMEOUT_S = 300
LOOKUP = (
    "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as f; "
    "f('nnUNetTrainerParaspinal')"
)
"""What the stock commands do first; run in a process of its own, as they are."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    state: State
    what: str
    fix: str = ""

    def __str__(self) -> str:
        mark = {"good": "ok   ", "note": "note ", "wrong": "WRONG"}[self.state]
        return f"{mark}  {self.what}" + (f"\n       fix: {self.fix}" if self.fix else "")


@dataclass(frozen=True)
class Part:
    """An extra of this package.

    Attributes:
        extra: Its name.
        about: What it is for.
        packages: What it needs.
        any_of: Whether one of them is enough.
    """

    extra: str
    about: str
    packages: tuple[str, ...]
    any_of: bool = False


PARTS = (
    Part("train", "training, and prediction with nnU-Net's models", ("nnunetv2", "torch", "batchgenerators", "monai")),
    Part("export", "writing portable models", ("onnx", "onnxscript", "onnxruntime")),
    Part("fast", "prediction with portable models", ("onnxruntime", "openvino"), any_of=True),
    Part("dicom", "DICOM in and out", ("pydicom", "highdicom", "python-gdcm")),
    Part("report", "figures and reports", ("matplotlib", "scikit-image")),
    Part("statistics", "the mixed model", ("statsmodels",)),
    Part("study", "workflows on several cores, GPUs or machines", ("snakemake", "snakemake-executor-plugin-slurm")),
    Part("itk", "bias fields corrected while converting", ("SimpleITK",)),
    Part("xlsx", "measures as Excel workbooks", ("openpyxl",)),
)


def examine() -> list[Finding]:
    """All checks of what is installed, in the order in which failures should be fixed; what is missing is no fault."""
    findings = [Finding("good", f"paraspinal-nnunet {__version__}, Python {platform.python_version()}")]
    training = importlib.util.find_spec("nnunetv2") is not None
    if training:
        findings += [_nnunet(), *(_folder(name) for name in ("raw", "preprocessed", "results"))]
    if training and findings[1].state == "good":
        findings += [_device(), _torchvision(), _lookup()]
    return findings + [_part(part) for part in PARTS if not (training and part.extra == "train")]


def _part(part: Part) -> Finding:
    """What one extra is for, and whether it is there as a whole, in part or not at all."""
    versions = {name: installed(name) for name in part.packages}
    present = [f"{name} {found}" for name, found in versions.items() if found]
    missing = [name for name, found in versions.items() if not found]
    if not missing or (part.any_of and present):
        return Finding("good", f"{part.about}: {', '.join(present)}")
    install = install_line(part.extra)
    lacking = f" ({', '.join(missing)})" if present else ""
    return Finding("note", f"not installed{lacking}: {part.about}", install)


def _nnunet() -> Finding:
    try:
        check_nnunet()
    except SetupError as error:
        what, _, fix = str(error).partition("; run: ")
        return Finding("wrong", what, fix)
    versions = ", ".join(f"{name} {installed(name)}" for name in ("nnunetv2", "torch", "monai"))
    return Finding("good", versions)


def _folder(name: Literal["raw", "preprocessed", "results"]) -> Finding:
    try:
        folder = nnunet_folder(name)
    except SetupError as error:
        what, _, fix = str(error).partition("; ")
        return Finding("wrong", what, fix)
    if not os.access(folder, os.W_OK):
        return Finding("note", f"nnUNet_{name}={folder} cannot be written to")
    return Finding("good", f"nnUNet_{name}={folder}")


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("good", f"GPU: {torch.cuda.get_device_name()}")
    return Finding("note", f"no GPU: training and prediction run on {os.cpu_count()} CPU cores")


def _torchvision() -> Finding:
    """Importing says more than the versions: the import is what the look-up dies of."""
    state = torchvision_state()
    if importlib.util.find_spec("torchvision") is None:
        reason = "torchvision is missing"
    else:
        result = _python("import torchvision")
        if result is None:
            return Finding("good", f"torchvision {state.torchvision} fits torch {state.torch}")
        reason = f"torchvision {state.torchvision} does not load beside torch {state.torch} ({result})"
    return Finding(
        "note",
        f"{reason}; our own commands do not need it, nnU-Net's stock commands do",
        'eval "$(paraspinal env)" before stock commands, or install the torchvision built for your torch',
    )


def _lookup() -> Finding:
    if str(PLUGIN_FOLDER) not in os.environ.get("nnUNet_extTrainer", "").split(os.pathsep):
        return Finding("note", "stock commands do not find our trainers in this shell", 'eval "$(paraspinal env)"')
    failure = _python(LOOKUP)
    if failure is None:
        return Finding("good", "stock commands find our trainers")
    return Finding("wrong", f"nnU-Net's trainer look-up fails: {failure}", 'eval "$(paraspinal env --fix)"')


def _python(code: str) -> str | None:
    """Run code in a fresh interpreter; the last line of its error, or None when it ran."""
    try:
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LOOKUP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"no answer within {LOOKUP_TIMEOUT_S} s"
    if result.returncode == 0:
        return None
    lines = result.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {result.returncode}"
