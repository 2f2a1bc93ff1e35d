"""Time and memory of one arm's training, in a process of its own."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.workers import in_own_process

DATASET, FOLD = 501, "all"

ARMS = {
    "2d": ("nnUNetTrainerParaspinal", "2d"),
    "2d_da": ("nnUNetTrainerParaspinalDA", "2d"),
    "3d": ("nnUNetTrainerParaspinal", "3d_fullres"),
    "3d_da": ("nnUNetTrainerParaspinalDA", "3d_fullres"),
}
"""The paper's arms: trainer and nnU-Net's configuration."""

WARM_UP, LEAST = 2, 3
"""Steps before the clock starts, and that are timed at least where there is time for them."""

USABLE = 0.8
"""Share of the time that an arm may take after which the clock is stopped; starting up and ending need the rest."""


@dataclass(frozen=True)
class ArmTiming:
    """What an arm's training takes, per step of the batch that was measured.

    Attributes:
        arm: A key of `ARMS`.
        crops: Of a batch that was measured.
        batch_size: Of the protocol.
        data_seconds: To get a batch, with nothing else going on.
        step_seconds: To train on a batch that is there.
        loop_seconds: Both, as a training does them.
        cache: Where the cases stayed.
        memory_mb: The most memory that the process held.
        gpu_memory_mb: The most memory of the GPU; None without one.
    """

    arm: str
    crops: int
    batch_size: int
    data_seconds: float
    step_seconds: float
    loop_seconds: float
    cache: str
    memory_mb: int | None
    gpu_memory_mb: int | None

    @property
    def seconds_per_iteration(self) -> float:
        """Of the protocol's batch; where fewer crops were measured, time is taken to grow with their number."""
        return self.loop_seconds * self.batch_size / self.crops


def measure_arm(
    arm: str, plans: str, *, device: str | None, batch_size: int, seconds: float, limit_s: float
) -> ArmTiming:
    """Train an arm of the benchmark's data set for a while.

    Args:
        arm: A key of `ARMS`.
        plans: Name of the plans.
        device: Torch's; the GPU where there is one when None.
        batch_size: The protocol's, to which the plans' may be a part.
        seconds: About how long it is timed, or as long as the limit leaves.
        limit_s: How long it may take with all that comes before.

    Raises:
        TimeoutError: Not even single steps could be timed within the limit.
    """
    found: ArmTiming = in_own_process(_measure, arm, plans, device, batch_size, seconds, limit_s, limit_s=limit_s)
    return found


def _measure(arm: str, plans: str, device: str | None, batch_size: int, seconds: float, limit_s: float) -> ArmTiming:
    end = time.perf_counter() + USABLE * limit_s
    import torch

    try:
        return _timing(arm, plans, device, batch_size, seconds, end)
    except torch.OutOfMemoryError:
        raise InputError(
            f"{arm}: a batch of {batch_size} crops does not fit into the GPU's memory; give --arms {arm} --set "
            f"micro_batch_size={max(batch_size // 4, 1)} or less"
        ) from None


def _timing(arm: str, plans: str, device: str | None, batch_size: int, seconds: float, end: float) -> ArmTiming:
    from paraspinal_nnunet.training.record import machine

    trainer = _trainer(arm, plans, device)
    batches = trainer.dataloader_train
    wait = _waiter(trainer.device)
    batch = _warm(trainer, batches, wait)
    left = max(end - time.perf_counter(), 0)
    share, least = min(seconds, left) / 3, LEAST if left > seconds else 1
    loop = timed(lambda: trainer.train_step(next(batches)), wait, share, least)
    step = timed(lambda: trainer.train_step(batch), wait, share, least)
    data = timed(lambda: next(batches), wait, share, least)
    used = machine(trainer.device)
    return ArmTiming(
        arm=arm,
        crops=len(batch["data"]),
        batch_size=batch_size,
        data_seconds=data,
        step_seconds=step,
        loop_seconds=loop,
        cache=trainer.cache_taken,
        memory_mb=used["peak_memory_mb"],
        gpu_memory_mb=used["peak_gpu_memory_mb"],
    )


def _trainer(arm: str, plans: str, device: str | None) -> Any:
    from nnunetv2.run.run_training import get_trainer_from_args

    from paraspinal_nnunet.nnunet.compat import find_trainer, register_trainers, torch_device

    name, configuration = ARMS[arm]
    register_trainers()
    find_trainer(name)
    with redirect_stdout(StringIO()):  # nnU-Net tells how it looked the trainer up
        made = get_trainer_from_args(str(DATASET), configuration, FOLD, name, plans, device=torch_device(device))
    made.disable_checkpointing = True
    made.print_to_log_file = lambda *_, **__: None
    os.environ["TQDM_DISABLE"] = "1"  # the training's own bar
    made.on_train_start()
    made.on_train_epoch_start()
    return made


def _warm(trainer: Any, batches: Iterator[dict[str, Any]], wait: Callable[[], None]) -> dict[str, Any]:
    for _ in range(WARM_UP):
        batch = next(batches)
        trainer.train_step(batch)
    wait()
    return batch


def timed(do: Callable[[], object], wait: Callable[[], None], seconds: float, least: int = LEAST) -> float:
    """Mean seconds of doing something again and again for a while.

    Args:
        do: The work; a GPU may still be at it when this returns.
        wait: Returns when the work is done.
        seconds: About how long.
        least: How often at least.
    """
    start = time.perf_counter()
    done = 0
    while done < least or time.perf_counter() - start < seconds:
        do()
        done += 1
    wait()
    return (time.perf_counter() - start) / done


def _waiter(device: Any) -> Callable[[], None]:
    import torch

    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
