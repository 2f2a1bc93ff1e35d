"""What a finished training took, beside its checkpoint: time, machine, peak memory, size of the network."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from paraspinal_nnunet import __version__
from paraspinal_nnunet.nnunet.compat import installed
from paraspinal_nnunet.utils.files import write_json
from paraspinal_nnunet.utils.machine import host_entry

FILE_NAME = "training.json"
PACKAGES = ("nnunetv2", "torch", "monai", "numpy", "batchgenerators", "blosc2")


def record_training(trainer: Any) -> None:
    """Write training.json into the fold's folder.

    The seconds are those of the epochs that made the weights, also over interruptions; an epoch that was cut off and
    run again counts once.

    Args:
        trainer: An nnU-Net trainer after its training.
    """
    if trainer.local_rank != 0:
        return
    starts, ends = (trainer.logger.get_value(f"epoch_{which}_timestamps", step=None) for which in ("start", "end"))
    epochs = [end - start for start, end in zip(starts, ends, strict=False)]
    write_json(
        Path(trainer.output_folder) / FILE_NAME,
        {
            "trainer": type(trainer).__name__,
            "epochs": len(epochs),
            "iterations": trainer.steps_taken,
            "training_seconds": round(sum(epochs), 3),
            "parameters": sum(p.numel() for p in trainer.network.parameters()),
            "seed": getattr(getattr(getattr(trainer, "protocol", None), "training", None), "seed", None),
            **machine(trainer.device),
        },
    )


def machine(device: torch.device) -> dict[str, Any]:
    """The machine that runs this process, and the most memory that the process has held."""
    cuda = device.type == "cuda"
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine(),
        **host_entry(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "peak_gpu_memory_mb": round(torch.cuda.max_memory_allocated(device) / 2**20) if cuda else None,
        "peak_memory_mb": peak_memory_mb(),
        "python": platform.python_version(),
        "versions": {"paraspinal-nnunet": __version__, **{package: installed(package) for package in PACKAGES}},
    }


def peak_memory_mb() -> int | None:
    """The most memory that this process has held; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)
