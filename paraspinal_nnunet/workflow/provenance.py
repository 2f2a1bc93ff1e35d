"""Where a result comes from: commands, versions, commit, machine, duration and hashes, in a file beside it."""

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.nnunet.compat import installed
from paraspinal_nnunet.utils.files import read_json
from paraspinal_nnunet.utils.fingerprint import file_sha256
from paraspinal_nnunet.utils.machine import host_entry

FILE_NAME = "provenance.json"
PACKAGES = ("nnunetv2", "torch", "monai", "numpy", "scipy", "pandas", "SimpleITK", "nibabel", "snakemake")


def hashes(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Path relative to `folder` -> hash."""
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in sorted(files)}


def is_complete(path: Path, inputs: str) -> bool:
    """Whether a provenance file stands for these inputs, and its results are there unchanged."""
    if not path.is_file():
        return False
    try:
        content = read_json(path)
        outputs = dict(content["outputs"])
    except (InputError, KeyError, TypeError, ValueError):
        return False
    if content.get("inputs") != inputs or not outputs:
        return False
    return all(
        (path.parent / name).is_file() and file_sha256(path.parent / name) == found for name, found in outputs.items()
    )


def surroundings(started: datetime) -> dict[str, Any]:
    """Versions, machine and time."""
    ended = datetime.now(timezone.utc)
    return {
        "started": started.isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
        "seconds": round((ended - started).total_seconds(), 1),
        "version": __version__,
        "commit": commit(),
        "versions": {package: installed(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        **host_entry(),
        "cores": os.cpu_count(),
        "cluster_job": os.environ.get("SLURM_JOB_ID") or os.environ.get("LSB_JOBID"),
        "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


@cache
def commit() -> str | None:
    """The commit of this package where it runs from a checkout, with '+' where files differ from it."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
