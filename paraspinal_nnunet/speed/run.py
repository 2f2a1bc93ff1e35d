"""From computed scans to hours per fold and per study, and what a study's trainings may ask of this machine."""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.protocol.paper import PAPER, Protocol
from paraspinal_nnunet.speed.arms import ARMS, DATASET, ArmTiming, measure_arm
from paraspinal_nnunet.utils.files import read_json, write_json
from paraspinal_nnunet.utils.machine import environment
from paraspinal_nnunet.utils.progress import progress
from paraspinal_nnunet.utils.text import aligned
from paraspinal_nnunet.utils.workers import in_own_process
from paraspinal_nnunet.utils.workplace import workplace

PLANS = "Benchmark"
FULL_SHAPE = (512, 512, 50)
CASES = 4
CROPS_ON_A_PROCESSOR = {"2d": 8, "3d_fullres": 1}
"""Crops of a batch that is measured without a GPU: the paper's take minutes a step there."""

TIME_MARGIN, MEMORY_MARGIN = 1.5, 1.5
"""By how much what is asked of a machine exceeds what was measured."""

ENOUGH_S = 60.0
"""An arm may take this long even where others are then left out: in less a busy machine measures none of them."""

FORMAT = "paraspinal benchmark 1"


@dataclass(frozen=True)
class BenchmarkRequest:
    """What to measure.

    Attributes:
        arms: Keys of `ARMS`.
        device: Torch's; the GPU where there is one when None.
        seconds: About how long each arm is timed, or as long as the minutes leave.
        minutes: How long all may take; what they leave no time for is not measured.
        shape: Voxels of the computed scans along x, y, z.
        settings: Protocol numbers that differ, by key.
    """

    arms: Sequence[str] = tuple(ARMS)
    device: str | None = None
    seconds: float = 30.0
    minutes: float = 5.0
    shape: tuple[int, int, int] = FULL_SHAPE
    settings: Mapping[str, Any] | None = None


def benchmark(request: BenchmarkRequest) -> dict[str, Any]:
    """Measure the arms.

    Returns:
        Content for the JSON that `paraspinal study init --benchmark` reads.

    Raises:
        SetupError: nnU-Net is missing, or the device.
        InputError: There was no time to measure any arm.
    """
    end = time.perf_counter() + 60 * request.minutes
    from paraspinal_nnunet.nnunet.compat import torch_device
    from paraspinal_nnunet.protocol.overrides import override
    from paraspinal_nnunet.training.record import machine

    device = torch_device(request.device)
    protocol = override(PAPER, request.settings or {})
    with workplace() as folder, _nnunet_folders(folder):
        _prepare_in_time(folder, request, device.type == "cuda", end)
        timings = list(_in_time(request, protocol, end))
    if not timings:
        raise InputError(
            f"no arm could be measured within {request.minutes:g} minutes on this machine as busy as it is; give more "
            "--minutes, or a smaller --shape"
        )
    arms = {t.arm: {**asdict(t), "hours_per_fold": hours(t, protocol.training.iterations)} for t in timings}
    return {
        "format": FORMAT,
        "version": __version__,
        "iterations": protocol.training.iterations,
        "folds": protocol.validation.folds,
        "settings": dict(request.settings or {}),
        "shape": list(request.shape),
        "machine": machine(device),
        "arms": arms,
        "not_measured": [arm for arm in request.arms if arm not in arms],
        "study_hours": protocol.validation.folds * sum(arm["hours_per_fold"] for arm in arms.values()),
        "resources": {"train": _resources(timings, arms)},
    }


def _in_time(request: BenchmarkRequest, protocol: Protocol, end: float) -> Iterator[ArmTiming]:
    """The arms that can be measured; each may take its share of the time that is left, or what is enough for one."""
    for number, arm in enumerate(progress(request.arms, what="measuring", unit="arm")):
        left = max(end - time.perf_counter(), 0)
        try:
            yield measure_arm(
                arm,
                PLANS,
                device=request.device,
                batch_size=protocol.sampling(ARMS[arm][1]).batch_size,
                seconds=request.seconds,
                limit_s=min(left, max(left / (len(request.arms) - number), ENOUGH_S)),
            )
        except TimeoutError:
            continue


def hours(timing: ArmTiming, iterations: int) -> float:
    """Of a training of the protocol's length, without its final validation."""
    return timing.seconds_per_iteration * iterations / 3600


def table(content: Mapping[str, Any]) -> str:
    """The result as plain text."""
    rows = [["arm", "crops", "data s", "step s", "loop s", "it/s", "memory GB", "GPU GB", "hours per fold"]]
    for name, arm in content["arms"].items():
        crops = f"{arm['crops']}" + ("" if arm["crops"] == arm["batch_size"] else f" of {arm['batch_size']}")
        times = [f"{arm[key]:.3f}" for key in ("data_seconds", "step_seconds", "loop_seconds")]
        memory = ["-" if arm[k] is None else f"{arm[k] / 1024:.1f}" for k in ("memory_mb", "gpu_memory_mb")]
        rows.append([name, crops, *times, f"{1 / arm['loop_seconds']:.2f}", *memory, f"{arm['hours_per_fold']:.1f}"])
    lines = [aligned(rows, numbers_from=1)]
    lines.append(
        f"{content['folds']} folds of {', '.join(content['arms'])}, {content['iterations']} iterations each, one after "
        f"the other: {content['study_hours']:.0f} hours; validation comes on top"
    )
    if content["not_measured"]:
        lines.append(f"not measured for want of time: {', '.join(content['not_measured'])}; give more --minutes")
    if any(arm["crops"] != arm["batch_size"] for arm in content["arms"].values()):
        lines.append("hours are those of the whole batch, whose time is taken to grow with its crops")
    return "\n".join(lines)


def training_resources(path: Path) -> dict[str, int]:
    """What a study's trainings may ask for: threads, memory_gb, minutes and gpu.

    Raises:
        InputError: The file is none that `paraspinal benchmark` wrote, or lacks arms.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: was not written by 'paraspinal benchmark -o'; measure anew")
    if left_out := content.get("not_measured"):
        raise InputError(
            f"{path}: {', '.join(map(str, left_out))} not measured for want of time; measure with --minutes"
        )
    asked = content.get("resources", {}).get("train", {})
    missing = [key for key in ("gpu", "threads", "memory_gb", "minutes") if not isinstance(asked.get(key), int)]
    if missing:
        raise InputError(f"{path}: resources of train have no whole number for {', '.join(missing)}; measure anew")
    return {key: asked[key] for key in ("gpu", "threads", "memory_gb", "minutes")}


def write_benchmark(path: Path, content: Mapping[str, Any]) -> None:
    """Write the JSON."""
    write_json(path, content)


def _resources(timings: Sequence[ArmTiming], arms: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    memory = max((t.memory_mb or 8 * 1024 for t in timings), default=8 * 1024)
    longest = max(arm["hours_per_fold"] for arm in arms.values())
    return {
        "gpu": int(any(t.gpu_memory_mb is not None for t in timings)),
        "threads": os.cpu_count() or 1,
        "memory_gb": max(4, math.ceil(MEMORY_MARGIN * memory / 1024)),
        "minutes": max(60, math.ceil(TIME_MARGIN * longest * 60)),
    }


def _prepare_in_time(folder: Path, request: BenchmarkRequest, on_gpu: bool, end: float) -> None:
    try:
        in_own_process(_prepare, folder, request, on_gpu, limit_s=max(end - time.perf_counter(), 0))
    except TimeoutError:
        raise InputError(
            f"making the scans alone took longer than {request.minutes:g} minutes on this machine as busy as it is; "
            "give more --minutes, or a smaller --shape"
        ) from None


def _prepare(folder: Path, request: BenchmarkRequest, on_gpu: bool) -> None:
    """Computed scans, converted, planned and preprocessed."""
    from paraspinal_nnunet.dataset_conversion.engine import convert
    from paraspinal_nnunet.dataset_conversion.sources.author import author_source
    from paraspinal_nnunet.phantom.cohort import write_cohort
    from paraspinal_nnunet.planning.run import PlanRequest, plan

    settings = {"spacing": _spacing(request.shape), **(request.settings or {})}
    if not on_gpu:
        for configuration, crops in CROPS_ON_A_PROCESSOR.items():
            whole = int(settings.get(f"{configuration}.batch_size", PAPER.sampling(configuration).batch_size))
            settings[f"{configuration}.batch_size"] = min(whole, crops)
    write_cohort(folder / "cohort", cases=CASES, shape=request.shape, second_rater=0)
    convert(author_source(), folder / "cohort", number=DATASET, name="Benchmark", raw=folder / "raw")
    configurations = sorted({ARMS[arm][1] for arm in request.arms})
    plan(PlanRequest(DATASET, configurations, plans_name=PLANS, overrides=settings))


def _spacing(shape: tuple[int, int, int]) -> list[float]:
    """(z, y, x) in mm of the computed scans, so that nothing is resampled."""
    full = PAPER.preprocessing.spacing
    return [mm * n / m for mm, n, m in zip(full, FULL_SHAPE[::-1], shape[::-1], strict=True)]


@contextmanager
def _nnunet_folders(folder: Path) -> Iterator[None]:
    """nnU-Net's variables point into a folder for a while."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    paths = {name: folder / name.removeprefix("nnUNet_") for name in names}
    for path in paths.values():
        path.mkdir()
    with environment(**{name: str(path) for name, path in paths.items()}):
        yield
