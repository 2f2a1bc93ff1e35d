"""The paper's loss, built by name: Dice and cross-entropy from one softmax, without one-hot copies of the labels."""

from collections.abc import Callable
from typing import Any

import torch

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SMOOTHING = 1e-5
"""Added to numerator and denominator of the Dice term. Source: MONAI 1.6.1, `DiceLoss`."""

WEIGHTS = {"dice_ce": (1.0, 1.0), "dice": (1.0, 0.0), "ce": (0.0, 1.0)}
"""Name -> weight of the Dice term and of the cross-entropy."""


def build_loss(name: str, *, ignore_label: int | None = None) -> LossFunction:
    """The loss that the protocol names.

    Both parts are means over the samples of a batch (the cross-entropy because all crops have one size), so the loss of
    a batch is the mean of its parts' losses weighted by their sizes: gradients may be accumulated over parts. With an
    ignored label that no longer holds.

    Args:
        name: ``'dice_ce'``: that of MONAI's DiceCELoss over softmax probabilities, background included, Dice per sample
            and class. Source: Methods, Training. ``'dice'`` and ``'ce'`` are its two halves.
        ignore_label: Voxels of this label count in neither half.

    Returns:
        A function of logits (batch, classes, *spatial) and integer labels (batch, 1, *spatial).
    """
    dice, entropy = WEIGHTS[name]

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = _DiceAndCrossEntropy.apply(logits, labels, dice, entropy, ignore_label)
        return value

    return loss


class _DiceAndCrossEntropy(torch.autograd.Function):
    """Value and gradient in closed form: probabilities and labels are all that is kept for the way back.

    With probabilities p, labels y, and per sample and class the overlap I = sum of p where y is the class, and
    D = sum of p + count of y: Dice = mean of 1 - (2 I + e) / (D + e), whose derivative by p is
    -2 [y is the class] / (D + e) + (2 I + e) / (D + e)^2, over the number of samples and classes.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, labels: torch.Tensor, dice: float, entropy: float, ignore: int | None
    ) -> torch.Tensor:
        """The loss; see `build_loss`."""
        samples, classes = logits.shape[:2]
        logits = logits.flatten(2)
        log_p = torch.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=1)
        y = labels.flatten(1).long()
        valid = None if ignore is None else y != ignore
        if valid is not None:
            y = torch.where(valid, y, 0)
        voxels = log_p.new_full((), y.numel()) if valid is None else valid.sum().to(log_p.dtype)
        log_y = log_p.gather(1, y[:, None])[:, 0]
        cross_entropy = -(log_y if valid is None else log_y * valid).sum() / voxels
        p = log_p.exp_()
        overlap, total = _sums(p, y, valid)
        ratio = (2 * overlap + SMOOTHING) / (total + SMOOTHING)
        ctx.save_for_backward(p, y, valid, ratio, total, voxels)
        ctx.factors = dice / (samples * classes), entropy
        ctx.shape, ctx.dtype = (samples, classes, *labels.shape[2:]), logits.dtype
        return dice * (1 - ratio).mean() + entropy * cross_entropy

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:  # type: ignore[override]
        """The gradient of the logits: through the softmax, p * (g - sum of p g)."""
        p, y, valid, ratio, total, voxels = ctx.saved_tensors
        dice, entropy = ctx.factors
        at_label = -2 * dice / (total + SMOOTHING)
        everywhere = dice * ratio / (total + SMOOTHING)
        p_y, at_y = p.gather(1, y[:, None]), at_label.gather(1, y)[:, None]
        inner = torch.einsum("bc,bcs->bs", everywhere, p)[:, None] + at_y * p_y
        found = p * (everywhere[:, :, None] + entropy / voxels - inner)
        found.scatter_add_(1, y[:, None], p_y * at_y - entropy / voxels)
        if valid is not None:
            found *= valid[:, None]
        return (found * gradient).reshape(ctx.shape).to(ctx.dtype), None, None, None, None


def _sums(p: torch.Tensor, y: torch.Tensor, valid: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Per sample and class: the probabilities where the label is the class, and all of them plus the class's count.

    A class at a time, in a fixed order of additions, so that two runs round alike on every device.
    """
    overlap, total = torch.empty_like(p[:, :, 0]), torch.empty_like(p[:, :, 0])
    for number in range(p.shape[1]):
        here = y == number if valid is None else (y == number) & valid
        probability = p[:, number]
        overlap[:, number] = (probability * here).sum(1)
        seen = probability if valid is None else probability * valid
        total[:, number] = seen.sum(1) + here.sum(1)
    return overlap, total
