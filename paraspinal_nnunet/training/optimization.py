"""The optimiser and the learning-rate schedule that the protocol names."""

from collections.abc import Iterable

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from paraspinal_nnunet.protocol.paper import Training

POLYNOMIAL_EXPONENT = 0.9
"""Source: nnU-Net's own schedule."""

MOMENTUM = 0.99
"""Of stochastic gradient descent, with Nesterov's. Source: nnU-Net's own optimiser."""


def build_optimizer(parameters: Iterable[torch.nn.Parameter], training: Training) -> torch.optim.Optimizer:
    """AdamW (the paper's) or stochastic gradient descent as nnU-Net sets it."""
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            momentum=MOMENTUM,
            nesterov=True,
        )
    weights = list(parameters)
    fused = bool(weights) and all(weight.is_cuda for weight in weights)  # one kernel for all weights
    return torch.optim.AdamW(
        weights, lr=training.learning_rate, weight_decay=training.weight_decay, fused=True if fused else None
    )


def build_schedule(optimizer: torch.optim.Optimizer, training: Training, epochs: int) -> PolyLRScheduler:
    """nnU-Net's schedule over epochs; an exponent of 0 makes it the paper's constant rate."""
    exponent = POLYNOMIAL_EXPONENT if training.schedule == "polynomial" else 0
    return PolyLRScheduler(optimizer, training.learning_rate, epochs, exponent=exponent)
