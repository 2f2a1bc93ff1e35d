"""Where the preprocessed cases stay during a training: on the device, in memory or on disk."""

import logging
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.protocol.paper import Protocol
from paraspinal_nnunet.training.augmentation.elastic import node_counts
from paraspinal_nnunet.training.device_cache import PRECISIONS, stored_shape

log = logging.getLogger(__name__)

BYTES_PER_BATCH_VOXEL = 2000
"""Of activations and gradients with the paper's 16 filters. Measured: 1,786 in 2D (200 patches take 21.8 GiB), 1,290 in
3D (10 patches take 25.2 GiB)."""

AUGMENTATION_BYTES = 3 * 2**29
"""Of points, indices and noise while crops are augmented on the device, see `augmentation.on_device.CROP_VOXELS`."""

FILTERS = 16
ROOM = 0.85
"""Share of the free memory that cases and batch may take together."""

GIB = 2**30


def choose_cache(
    protocol: Protocol, configuration: str, *, folder: Path, cases: Sequence[str], device: torch.device, processes: int
) -> str:
    """Where the cases of a training stay.

    Args:
        protocol: In force; its cache is ``'auto'``, ``'device'``, ``'ram'`` or ``'disk'``.
        configuration: Whose batches.
        folder: The preprocessed cases.
        cases: Their names, of both sides of the fold.
        device: Where is trained.
        processes: That share each batch; the device of each holds all cases.

    Returns:
        ``'device'``, ``'ram'`` or ``'disk'``; auto takes a GPU that holds cases, random fields and batch with room to
        spare, where crops are not put through nnU-Net's own augmentation.

    Raises:
        ProtocolError: The device was asked for and has not the memory, or the crops cannot be cut there.
    """
    wanted, on_processor = protocol.bookkeeping.cache, protocol.training.augmentation == "nnunet"
    if wanted in ("ram", "disk"):
        return wanted
    if wanted == "device" and on_processor:
        raise ProtocolError("cache=device: nnU-Net's augmentation runs in loading processes; give auto, ram or disk")
    if wanted == "device" and device.type == "mps" and protocol.training.augmentation == "paper":
        raise ProtocolError(
            "cache=device: Apple's GPUs lack the augmentation's double precision; give auto, ram or disk"
        )
    if wanted == "auto" and (on_processor or device.type != "cuda"):
        return "disk"  # on a processor batches read from disk take a five-hundredth of a step
    stored = cached_bytes(protocol, folder, cases)
    step, free = batch_bytes(protocol, configuration, processes), free_bytes(device)
    fits = free is None or stored + step <= ROOM * free
    told = f"the cases take {stored / GIB:.1f} GiB and a step about {step / GIB:.1f} GiB of the device's memory"
    if wanted == "device" and not fits:
        raise ProtocolError(f"cache=device: {told}, {(free or 0) / GIB:.1f} GiB are free; give cache=auto, ram or disk")
    log.info("%s: they are read from %s", told, "the device" if fits else "disk")
    return "device" if fits else "disk"


def cached_bytes(protocol: Protocol, folder: Path, cases: Sequence[str]) -> int:
    """Memory that cases take as images and int16 labels, and the random fields of augmented images.

    Only the files' headers are read. Fields are those of a pool that is made from all cases evenly.
    """
    shapes = [stored_shape(folder, case) for case in cases]
    of_value = PRECISIONS[protocol.bookkeeping.cache_precision].itemsize
    total = sum(prod(shape[1:]) * (of_value * shape[0] + 2) for shape in shapes)
    if protocol.training.augmentation != "paper" or not shapes:
        return total
    noise = [3 * prod(node_counts(shape[1:])) * torch.float32.itemsize for shape in shapes]
    return total + protocol.augmentation.pool * sum(noise) // len(noise)


def batch_bytes(protocol: Protocol, configuration: str, processes: int = 1) -> int:
    """Memory that a step takes at most in one of several processes, estimated from what was measured."""
    sampling = protocol.sampling(configuration)
    share = -(-sampling.batch_size // processes)
    samples = min(protocol.bookkeeping.micro_batch_size or share, share)
    step = samples * prod(sampling.patch_size) * BYTES_PER_BATCH_VOXEL * protocol.network.channels[0] / FILTERS
    return round(step) + (AUGMENTATION_BYTES if protocol.training.augmentation == "paper" else 0)


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a GPU; None of other devices."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None
