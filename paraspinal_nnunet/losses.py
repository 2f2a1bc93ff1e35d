"""The paper's loss, built by name."""

from collections.abc import Callable

import torch
from monai.losses import DiceCELoss, DiceLoss

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build_loss(name: str) -> LossFunction:
    """The loss that the protocol names.

    Both parts are means over the samples of a batch (the cross-entropy because all crops have one size), so the loss of
    a batch is the mean of its parts' losses weighted by their sizes: gradients may be accumulated over parts.

    Args:
        name: ``'dice_ce'``: MONAI's DiceCELoss over softmax probabilities, background included, Dice per sample and
            class. Source: Methods, Training. ``'dice'`` and ``'ce'`` are its two halves.

    Returns:
        A function of logits (batch, classes, *spatial) and integer labels (batch, 1, *spatial).
    """
    losses: dict[str, Callable[[], LossFunction]] = {
        "dice_ce": lambda: DiceCELoss(softmax=True, to_onehot_y=True, include_background=True),
        "dice": lambda: DiceLoss(softmax=True, to_onehot_y=True, include_background=True),
        "ce": lambda: _cross_entropy,
    }
    return losses[name]()


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, labels[:, 0].long())
