"""What slices say of each other: logits of a network that sees one slice at a time, smoothed along the stack."""

from collections import deque
from collections.abc import Iterator

import numpy as np

REACH = 2.5
"""Standard deviations at which the weights end."""


def smoothed_across(logits: Iterator[np.ndarray], sigma: float) -> Iterator[np.ndarray]:
    """The weighted mean of each slice and its neighbours; at the ends of the stack over those that there are.

    Args:
        logits: (classes, y, x) of each slice, in their order.
        sigma: Standard deviation of the weights, in slices.

    Yields:
        As many arrays, of the same type.
    """
    reach = int(REACH * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2).astype(np.float32)
    window: deque[np.ndarray] = deque()
    centre, ended = 0, False
    while True:
        while not ended and len(window) <= centre + reach:
            following = next(logits, None)
            ended = following is None
            if following is not None:
                window.append(following)
        if centre >= len(window):
            return
        yield _mean(window, weights[reach - centre : reach + len(window) - centre])
        if centre == reach:
            window.popleft()
        else:
            centre += 1


def _mean(slices: deque[np.ndarray], weights: np.ndarray) -> np.ndarray:
    if len(slices) == 1:
        return slices[0]
    total = np.zeros(slices[0].shape, np.float32)
    for each, weight in zip(slices, weights / weights.sum(), strict=True):
        total += each.astype(np.float32) * weight
    return total.astype(slices[0].dtype)
