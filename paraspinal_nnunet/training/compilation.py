"""torch.compile of the network and its loss in one graph, and whether that computes what the plain code computes."""

import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch

from paraspinal_nnunet.training.losses import LossFunction

log = logging.getLogger(__name__)

Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Images and labels -> loss."""

STEPS = 3
"""Optimiser steps after each of which compiled and plain gradients are compared."""

SAMPLES = 4
"""Crops of a batch that are compared."""

FACTOR = 2.0
"""How many times the plain code's own distance from double precision the compiled code's may be."""

BACKEND = "inductor"


def compiled(network: torch.nn.Module, loss: LossFunction) -> Forward:
    """Network and loss as one compiled function; it is compiled at its first call, for each size of a batch."""

    def forward(data: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return loss(network(data), target)

    found: Forward = torch.compile(forward, backend=BACKEND, dynamic=False)
    return found


def compare(
    network: torch.nn.Module,
    loss: LossFunction,
    batches: Sequence[tuple[torch.Tensor, torch.Tensor]],
    autocast: Callable[[], torch.autocast],
    learning_rate: float,
) -> dict[str, Any]:
    """Whether compiled gradients lie as near to those in double precision as the plain ones do, over a few steps.

    Args:
        network: Is left as it is.
        loss: Of the training.
        batches: Images and labels on the device, one batch per step.
        autocast: Under which the training's network is called.
        learning_rate: Of the steps between the comparisons.

    Returns:
        For the record: whether to compile, and the largest relative distances from double precision or what failed.
    """
    plain, other = deepcopy(network), deepcopy(network)
    forward = compiled(other, loss)
    distances: dict[str, list[float]] = {"plain": [], "compiled": []}
    for data, target in batches:
        other.load_state_dict(plain.state_dict())
        exact = _exact_gradients(plain, loss, data, target)
        try:
            gradients = {
                "plain": _gradients(plain, lambda d, t: loss(plain(d), t), data, target, autocast),
                "compiled": _gradients(other, forward, data, target, autocast),
            }
        except Exception as error:  # torch raises whatever its compilers and drivers meet
            return _failure(error)
        for name, found in gradients.items():
            distances[name].append(float((found.double() - exact).norm() / exact.norm()))
        _step(plain, gradients["plain"], learning_rate)
    largest = {name: max(values) for name, values in distances.items()}
    taken = largest["compiled"] <= FACTOR * largest["plain"]  # false where one is not a number
    return {"compiled": taken, "steps_compared": len(batches), "gradients_from_double_precision": largest}


def _failure(error: Exception) -> dict[str, Any]:
    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    log.warning("torch.compile failed, the network stays as it is: %s", reason)
    return {"compiled": False, "reason": reason}


def _exact_gradients(
    network: torch.nn.Module, loss: LossFunction, data: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    double = deepcopy(network).double()
    segment: Any = getattr(double, "_segment", double)  # the paper's network calls itself in single precision
    loss(segment(data.double()), target).backward()
    return _flat(double)


def _gradients(
    network: torch.nn.Module,
    forward: Forward,
    data: torch.Tensor,
    target: torch.Tensor,
    autocast: Callable[[], torch.autocast],
) -> torch.Tensor:
    network.zero_grad(set_to_none=True)
    with autocast():
        value = forward(data, target)
    value.backward()
    return _flat(network)


def _flat(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.reshape(-1) for p in network.parameters() if p.grad is not None])


@torch.no_grad()
def _step(network: torch.nn.Module, gradients: torch.Tensor, learning_rate: float) -> None:
    """Move each weight by the learning rate against its gradient's sign, as AdamW's first step does."""
    weights = [p for p in network.parameters() if p.grad is not None]
    for weight, part in zip(weights, gradients.split([p.numel() for p in weights]), strict=True):
        weight.sub_(part.reshape(weight.shape).sign(), alpha=learning_rate)
