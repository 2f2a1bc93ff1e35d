"""The paper's loss, built by name."""

from collections.abc import Callable

import torch
from monai.losses import DiceCELoss

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build_loss(name: str) -> LossFunction:
    """The loss that the protocol names.

    Both parts are means over the samples of a batch (the cross-entropy because all crops have one size), so the loss of
    a batch is the mean of its parts' losses weighted by their sizes: gradients may be accumulated over parts.

    Args:
        name: ``'dice_ce'``: MONAI's DiceCELoss over softmax probabilities, background included, Dice per sample and
            class. Source: Methods, Training.

    Returns:
        A function of logits (batch, classes, *spatial) and integer labels (batch, 1, *spatial).
    """
    losses: dict[str, LossFunction] = {
        "dice_ce": DiceCELoss(softmax=True, to_onehot_y=True, include_background=True),
    }
    return losses[name]
