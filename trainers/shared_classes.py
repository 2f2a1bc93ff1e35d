"""What a last layer takes over from one of other labels: what was learnt of the classes that both name alike."""

from collections.abc import Mapping
from typing import Any

import torch

IGNORED = "ignore"
"""nnU-Net's name of a label that is no class."""


def shared_classes(own: Mapping[str, Any], other: Mapping[str, Any] | None) -> dict[str, tuple[int, int]]:
    """Classes that two data sets name alike, background among them.

    Args:
        own: Name to value, as dataset.json has them.
        other: The other data set's; None where they are not known.

    Returns:
        Name to (own value, other value); empty where there is none but the background, or where values are regions.
    """
    if other is None or any(not isinstance(value, int) for value in (*own.values(), *other.values())):
        return {}
    found = {name: (value, other[name]) for name, value in own.items() if name in other and name != IGNORED}
    return found if len(found) > 1 else {}


def class_count(labels: Mapping[str, Any]) -> int:
    """Outputs of a network with these labels, background included."""
    return len([name for name in labels if name != IGNORED])


def merged(own: torch.Tensor, other: torch.Tensor, values: list[tuple[int, int]], counts: tuple[int, int]) -> int:
    """Copy what belongs to shared classes from one last layer's tensor into another's.

    Args:
        own: Weights or biases, changed in place; of its first two axes those count classes that are as long as `counts`
            says.
        other: The same of the other network.
        values: (own value, other value) of each shared class.
        counts: Classes of (own, other), background included.

    Returns:
        How many numbers were copied; 0 where the tensors differ in more than their classes.
    """
    pairs = list(zip(own.shape, other.shape, strict=True)) if own.dim() == other.dim() else [(0, 1)]
    axes = [axis for axis, lengths in enumerate(pairs[:2]) if lengths == counts]
    if not axes or any(a != b for axis, (a, b) in enumerate(pairs) if axis not in axes):
        return 0
    theirs = other
    here, there = (torch.tensor(column, device=own.device) for column in zip(*values, strict=True))
    places = [torch.arange(n, device=own.device) for n in own.shape]
    for axis in axes:
        places[axis] = here
        theirs = theirs.index_select(axis, there)
    own[torch.meshgrid(*places, indexing="ij")] = theirs.to(own.dtype)
    return theirs.numel()
