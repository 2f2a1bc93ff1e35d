"""What `paraspinal doctor` looks at: each finding says what is wrong with this machine and how to mend it."""

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
    mend: str = ""

    def __str__(self) -> str:
        mark = {"good": "ok   ", "note": "note ", "wrong": "WRONG"}[self.state]
        return f"{mark}  {self.what}" + (f"\n       mend: {self.mend}" if self.mend else "")


def examine() -> list[Finding]:
    """All checks, in the order in which their failures should be mended."""
    findings = [Finding("good", f"paraspinal-nnunet {__version__}, Python {platform.python_version()}"), _nnunet()]
    findings += [_folder(name) for name in ("raw", "preprocessed", "results")]
    if findings[1].state == "good":
        findings += [_device(), _torchvision(), _lookup()]
    return findings


def _nnunet() -> Finding:
    try:
        check_nnunet()
    except SetupError as error:
        what, _, mend = str(error).partition("; run: ")
        return Finding("wrong", what, mend)
    versions = ", ".join(f"{name} {installed(name)}" for name in ("nnunetv2", "torch", "monai"))
    return Finding("good", versions)


def _folder(name: Literal["raw", "preprocessed", "results"]) -> Finding:
    try:
        folder = nnunet_folder(name)
    except SetupError as error:
        what, _, mend = str(error).partition("; ")
        return Finding("wrong", what, mend)
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
    return Finding("wrong", f"nnU-Net's trainer look-up fails: {failure}", 'eval "$(paraspinal env --mend)"')


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
