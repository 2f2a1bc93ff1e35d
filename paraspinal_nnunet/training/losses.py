"""The paper's loss, built by name."""

from collections.abc import Callable

import torch
from monai.losses import DiceCELoss, DiceLoss

NOT_A_LABEL = -100
"""torch's own default for the label that the cross-entropy ignores."""

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def build_loss(name: str, *, ignore_label: int | None = None) -> LossFunction:
    """The loss that the protocol names.

    Both parts are means over the samples of a batch (the cross-entropy because all crops have one size), so the loss of
    a batch is the mean of its parts' losses weighted by their sizes: gradients may be accumulated over parts. With an
    ignored label that no longer holds.

    Args:
        name: ``'dice_ce'``: MONAI's DiceCELoss over softmax probabilities, background included, Dice per sample and
            class. Source: Methods, Training. ``'dice'`` and ``'ce'`` are its two halves.
        ignore_label: Voxels of this label count in neither half.

    Returns:
        A function of logits (batch, classes, *spatial) and integer labels (batch, 1, *spatial).
    """
    if name == "dice_ce" and ignore_label is None:
        return DiceCELoss(softmax=True, to_onehot_y=True, include_background=True)
    dice = DiceLoss(softmax=True, to_onehot_y=True, include_background=True, ignore_index=ignore_label)

    def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        ignored = NOT_A_LABEL if ignore_label is None else ignore_label
        return torch.nn.functional.cross_entropy(logits, labels[:, 0].long(), ignore_index=ignored)

    def both(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return dice(logits, labels) + cross_entropy(logits, labels)

    return {"dice_ce": both, "dice": dice, "ce": cross_entropy}[name]
