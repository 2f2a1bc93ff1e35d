"""Every number of the default model's training."""

from dataclasses import asdict, dataclass
from typing import Any

VERSION = "2"
"""Of the weights; grows with every model that is shipped."""


@dataclass(frozen=True)
class Recipe:
    """How the default model is made; the same recipe on the same versions gives the same model.

    Attributes:
        cases: Persons drawn, each with some slices.
        iterations: Steps of the optimiser.
        batch: Slices per step.
        seed: Of pool, batches and weights.
        patch_size: (y, x) of training images.
        tile_size: (y, x) of prediction's tiles.
        spacing_mm: (y, x) of the network's pixels; slices stay where they are.
        across_mm: Standard deviation of prediction's smoothing of logits across slices.
        channels: Filters per level of the network.
        strides: Between the levels.
        learning_rate: The highest; it rises linearly over `warm_up` steps, then falls as a cosine to 0.
        warm_up: Steps.
        weight_decay: Of AdamW.
        averaging: Share of the old in each step of the running mean of weights, which is what is exported.
        clip: Largest norm of the gradient.
        emphasis: Weight of multifidus in the cross-entropy at the start, the muscle that is learnt last; it falls to 1
            over the first `emphasis_share` of the steps.
        emphasis_share: See there.
    """

    cases: int = 700
    iterations: int = 6500
    batch: int = 8
    seed: int = 2026
    patch_size: tuple[int, int] = (160, 192)
    tile_size: tuple[int, int] = (192, 224)
    spacing_mm: float = 1.5
    across_mm: float = 5.0
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    learning_rate: float = 2e-3
    warm_up: int = 100
    weight_decay: float = 1e-4
    averaging: float = 0.998
    clip: float = 5.0
    emphasis: float = 4.0
    emphasis_share: float = 0.3

    def to_json(self) -> dict[str, Any]:
        """As the log and the manifest hold it."""
        return asdict(self)


DEFAULT = Recipe()
