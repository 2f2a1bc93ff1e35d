"""Every number of the default model's training."""

from dataclasses import asdict, dataclass, replace
from typing import Any

VERSION = "4"
"""Of the weights; grows with every model that is shipped."""


@dataclass(frozen=True)
class Recipe:
    """How the default model is made; the same recipe on the same versions gives the same model.

    Attributes:
        cases: Persons drawn, each with some slices.
        ovals: Share of them whose multifidus is drawn as an oval within erector spinae.
        iterations: Steps of the optimiser.
        batch: Slices per step.
        seed: Of pool, batches and weights.
        patch_size: (y, x) of training images.
        tile_size: (y, x) of prediction's tiles.
        spacing_mm: (y, x) of the network's pixels; slices stay where they are.
        across_mm: Standard deviation of prediction's smoothing of logits across slices.
        added: To prediction's logits of (multifidus, psoas major).
        channels: Filters per level of the network.
        strides: Between the levels.
        learning_rate: The highest; it rises linearly over `warm_up` steps, stays, and falls as a cosine to 0 over the
            last `decay` steps.
        warm_up: Steps.
        decay: Steps.
        weight_decay: Of AdamW.
        averaging: Share of the old in each step of the running mean of weights, which is what is exported.
        clip: Largest norm of the gradient.
        emphasis: Weight of multifidus in the cross-entropy at the start, the muscle that is learnt last; it falls to 1
            over the first `emphasis_steps`.
        emphasis_steps: See there.
    """

    cases: int = 900
    ovals: float = 0.0
    iterations: int = 11000
    batch: int = 8
    seed: int = 2026
    patch_size: tuple[int, int] = (160, 192)
    tile_size: tuple[int, int] = (192, 224)
    spacing_mm: float = 1.5
    across_mm: float = 5.0
    added: tuple[float, float] = (1.0, -1.0)
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    learning_rate: float = 2e-3
    warm_up: int = 100
    decay: int = 4000
    weight_decay: float = 1e-4
    averaging: float = 0.999
    clip: float = 5.0
    emphasis: float = 4.0
    emphasis_steps: int = 3300

    def to_json(self) -> dict[str, Any]:
        """As the log and the manifest hold it."""
        return asdict(self)


DEFAULT = Recipe()
"""Of the first network."""

MEMBERS = (DEFAULT, replace(DEFAULT, seed=2027, ovals=0.6, iterations=13000, emphasis_steps=3000))
"""Of the networks whose answers are averaged, alike in all but pool, seed and steps: each has learnt another idea of
where multifidus ends."""
