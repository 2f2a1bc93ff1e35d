"""Compatibility with nnU-Net: how its commands find our trainers, and what keeps its trainer look-up alive.

nnU-Net's look-up of any trainer but its default imports its Primus trainers, and these import timm and torchvision.
Where torchvision is missing or was built for another torch, every look-up dies, also of nnU-Net's own trainers. An
empty module in the place of the Primus trainers avoids that; nothing else needs them.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from multiprocessing import cpu_count
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from paraspinal_nnunet.errors import SetupError
from paraspinal_nnunet.utils.machine import keep_freed_memory
from paraspinal_nnunet.utils.packages import install_line

if TYPE_CHECKING:
    import torch

PLUGIN_FOLDER = Path(__file__).resolve().parents[1] / "trainers" / "plugin"
"""What nnUNet_extTrainer names: a folder with one module that re-exports the trainers."""

FIX_FOLDER = Path(__file__).parent / "torchvision_fix"
"""On PYTHONPATH its sitecustomize.py fixes the trainer look-up of stock commands."""

PRIMUS_MODULE = "nnunetv2.training.nnUNetTrainer.primus.primus_trainers"
NNUNET_SUPPORTED = ("2.8", "2.9")
"""nnunetv2 from the first (nnUNet_extTrainer is not read before 2.8.0) up to, not including, the second."""


def installed(package: str) -> str | None:
    """The installed version of a distribution, or None; nothing is imported."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_nnunet() -> None:
    """Refuse a missing or unsupported nnU-Net.

    Raises:
        SetupError: Naming the extra that installs it, or the supported range.
    """
    found = installed("nnunetv2")
    if found is None or importlib.util.find_spec("torch") is None or importlib.util.find_spec("monai") is None:
        raise SetupError(f"this needs nnunetv2, torch and monai; run: {install_line('train')}")
    first, end = (_numbers(v) for v in NNUNET_SUPPORTED)
    if not first <= _numbers(found) < end:
        raise SetupError(
            f"nnunetv2 {found} is installed, supported is >={NNUNET_SUPPORTED[0]},<{NNUNET_SUPPORTED[1]}: "
            f"pip install 'nnunetv2>={NNUNET_SUPPORTED[0]},<{NNUNET_SUPPORTED[1]}'"
        )


def fix_trainer_lookup() -> None:
    """Make nnU-Net's trainer look-up in this process independent of torchvision and of modules that load lazily.

    After a look-up nnU-Net forgets the modules that it found, and reads attributes of all others for that, while it
    walks `sys.modules`: a module that imports another one when it is asked changes the dictionary under its feet.
    """
    from nnunetv2.utilities import find_class_by_name

    sys.modules.setdefault(PRIMUS_MODULE, ModuleType(PRIMUS_MODULE))
    find_class_by_name.temporarily_cleanup_imports_from_path = forgetting_imports_from


@contextmanager
def forgetting_imports_from(folder: str) -> Iterator[None]:
    """Forget, at the end, the modules from a folder that were imported meanwhile; no module is asked anything.

    Args:
        folder: Of nnUNet_extTrainer.
    """
    before = set(sys.modules)
    try:
        yield
    finally:
        root = Path(folder).resolve()
        for name in set(sys.modules) - before:
            file = vars(sys.modules[name]).get("__file__") if isinstance(sys.modules[name], ModuleType) else None
            if isinstance(file, str) and Path(file).resolve().is_relative_to(root):
                del sys.modules[name]


def register_trainers() -> None:
    """Let nnU-Net's look-up in this process, and in processes that it starts, find our trainers.

    Raises:
        SetupError: nnU-Net is missing or of an unsupported version.
    """
    check_nnunet()
    os.environ["nnUNet_extTrainer"] = trainer_path(os.environ)
    os.environ["PYTHONPATH"] = fixed_python_path(os.environ)  # one process per GPU: each starts afresh and looks up
    fix_trainer_lookup()


def find_trainer(name: str) -> type:
    """The class of a trainer, ours or nnU-Net's, by nnU-Net's own look-up; see `register_trainers`.

    Raises:
        SetupError: There is none of that name.
    """
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        with redirect_stdout(StringIO()):
            found: type = recursive_find_trainer_class_by_name(name)
    except (RuntimeError, AssertionError, ValueError):
        raise SetupError(f"-tr {name}: no such trainer; 'paraspinal trainers' lists ours") from None
    return found


def trainer_path(environment: Mapping[str, str]) -> str:
    """The value of nnUNet_extTrainer: whatever it holds already, and our folder."""
    return _joined(PLUGIN_FOLDER, environment.get("nnUNet_extTrainer", ""))


def fixed_python_path(environment: Mapping[str, str]) -> str:
    """The value of PYTHONPATH that fixes stock commands: our folder before whatever it holds already."""
    return _joined(FIX_FOLDER, environment.get("PYTHONPATH", ""))


@dataclass(frozen=True)
class Torchvision:
    """Whether nnU-Net's trainer look-up can live with the installed torchvision, judged from versions alone."""

    torch: str | None
    torchvision: str | None

    @property
    def problem(self) -> str | None:
        """What is wrong, in a few words, or None."""
        if self.torch is None:
            return None
        if self.torchvision is None:
            return "torchvision is missing"
        build, vision_build = (v.partition("+")[2] for v in (self.torch, self.torchvision))
        if build != vision_build:
            return f"torchvision {self.torchvision} was not built for torch {self.torch}"
        return None


def torchvision_state() -> Torchvision:
    """The installed pair of torch and torchvision."""
    return Torchvision(installed("torch"), installed("torchvision"))


def _joined(folder: Path, existing: str) -> str:
    others = [entry for entry in existing.split(os.pathsep) if entry and entry != str(folder)]
    return os.pathsep.join([str(folder), *others])


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())


def torch_device(name: str | None) -> "torch.device":
    """A device by name; the GPU where there is one when None.

    The process is set up for it: threads as nnU-Net's commands set them, and memory that stays for the next step.
    """
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        keep_freed_memory()
    torch.set_num_threads(cpu_count() if name == "cpu" else 1)
    return torch.device(name)
