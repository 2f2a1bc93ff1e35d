"""Where the preprocessed cases stay during a training: on the device, in memory or on disk."""

import logging
from collections.abc import Sequence
from math import prod
from pathlib import Path

import blosc2
import torch

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.protocol.paper import Protocol

log = logging.getLogger(__name__)

BYTES_PER_BATCH_VOXEL = 2000
"""Of activations and gradients with the paper's 16 filters. Measured: 1,786 in 2D (200 patches take 21.8 GiB), 1,290 in
3D (10 patches take 25.2 GiB)."""

FILTERS = 16
ROOM = 0.85
"""Share of the free memory that cases and batch may take together."""

GIB = 2**30


def choose_cache(
    protocol: Protocol, configuration: str, *, folder: Path, cases: Sequence[str], device: torch.device
) -> str:
    """Where the cases of a training stay.

    Args:
        protocol: In force; its cache is ``'auto'``, ``'device'``, ``'ram'`` or ``'disk'``.
        configuration: Whose batches.
        folder: The preprocessed cases.
        cases: Their names, of both sides of the fold.
        device: Where is trained.

    Returns:
        ``'device'``, ``'ram'`` or ``'disk'``; auto takes the device where it is a GPU that holds cases and batch with
        room to spare, and crops are not augmented.

    Raises:
        ProtocolError: The device was asked for and has not the memory, or the crops cannot be cut there.
    """
    wanted, augmented = protocol.bookkeeping.cache, protocol.training.augmentation != "none"
    if wanted == "device" and augmented:
        raise ProtocolError("cache=device: augmented crops are made by loading processes; give cache=auto, ram or disk")
    if wanted in ("ram", "disk") or (wanted == "auto" and (augmented or device.type != "cuda")):
        return "disk" if wanted == "auto" else wanted
    stored, step, free = cached_bytes(folder, cases), batch_bytes(protocol, configuration), free_bytes(device)
    fits = free is None or stored + step <= ROOM * free
    told = f"the cases take {stored / GIB:.1f} GiB and a step about {step / GIB:.1f} GiB of the device's memory"
    if wanted == "device" and not fits:
        raise ProtocolError(f"cache=device: {told}, {(free or 0) / GIB:.1f} GiB are free; give cache=auto, ram or disk")
    log.info("%s: they are read from %s", told, "the device" if fits else "disk")
    return "device" if fits else "disk"


def cached_bytes(folder: Path, cases: Sequence[str]) -> int:
    """Memory that cases take as float32 images and int16 labels; only the files' headers are read."""
    total = 0
    for case in cases:
        channels, *shape = blosc2.open(urlpath=str(folder / f"{case}.b2nd"), mode="r").shape
        total += prod(shape) * (4 * channels + 2)
    return total


def batch_bytes(protocol: Protocol, configuration: str) -> int:
    """Memory that a step takes at most, estimated from what was measured."""
    sampling = protocol.sampling(configuration)
    samples = min(protocol.bookkeeping.micro_batch_size or sampling.batch_size, sampling.batch_size)
    return round(samples * prod(sampling.patch_size) * BYTES_PER_BATCH_VOXEL * protocol.network.channels[0] / FILTERS)


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a GPU; None of other devices."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None
