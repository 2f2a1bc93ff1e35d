"""Which generator a model was trained with: a hash of what it draws, whatever its code looks like."""

import hashlib

import numpy as np

from paraspinal_nnunet.phantom.randomised.examples import Examples
from paraspinal_nnunet.phantom.randomised.pool import Pool, draw_case
from paraspinal_nnunet.phantom.randomised.sampling import Frame

CASES, EXAMPLES = 3, 6
FRAME = Frame((160, 192), 1.5)


def generator_hash(seed: int, ovals: float = 0.0) -> str:
    """SHA-256 of the first cases' tissue and fat and of the first examples' labels; images are left out, since their
    last bits differ between processors.

    Args:
        seed: Of the recipe.
        ovals: Of the recipe.
    """
    digest = hashlib.sha256()
    pool = Pool(
        *(np.concatenate(arrays) for arrays in zip(*(draw_case(seed, c, ovals) for c in range(CASES)), strict=True))
    )
    for array in (pool.tissue, pool.fat):
        digest.update(array.tobytes())
    examples = Examples(pool, FRAME, seed=seed, count=EXAMPLES)
    for number in range(EXAMPLES):
        digest.update(examples[number][1].numpy().astype(np.uint8).tobytes())
    return digest.hexdigest()
