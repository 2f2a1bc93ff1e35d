"""A pool of drawn slices, kept as two arrays that training reads."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from paraspinal_nnunet.phantom.randomised.body import draw_body
from paraspinal_nnunet.phantom.randomised.canvas import SHAPE
from paraspinal_nnunet.phantom.randomised.negatives import draw_negative
from paraspinal_nnunet.phantom.randomised.slices import draw_slice
from paraspinal_nnunet.utils.files import naming
from paraspinal_nnunet.utils.workers import each

SLICES_PER_CASE = 6
NEGATIVE_SHARE = 0.08
Case = tuple[np.ndarray, np.ndarray, np.ndarray]

LEVELS = (-2.2, 7.3)
"""Reach of the levels that are drawn."""


@dataclass(frozen=True)
class Pool:
    """Slices on the canvas' grid.

    Attributes:
        tissue: Uint8 (slices, rows, columns).
        fat: Uint8 (slices, rows, columns).
        level: Float32 (slices,); NaN for slices of something else.
    """

    tissue: np.ndarray
    fat: np.ndarray
    level: np.ndarray


def draw_case(seed: int, case: int, ovals: float = 0.0) -> Case:
    """The slices of one person: tissue and fat (SLICES_PER_CASE, rows, columns) and their levels."""
    rng = np.random.default_rng([seed, case])
    body = draw_body(rng, ovals)
    slices, levels = [], []
    low, high = LEVELS
    for number in range(SLICES_PER_CASE):
        if rng.random() < NEGATIVE_SHARE:
            slices.append(draw_negative(rng))
            levels.append(np.nan)
            continue
        level = low + (high - low) * (number + rng.random()) / SLICES_PER_CASE
        if rng.random() < 0.35:
            level = rng.uniform(-0.5, 5.4)
        slices.append(draw_slice(body, float(level), rng))
        levels.append(level)
    return np.stack([s.tissue for s in slices]), np.stack([s.fat for s in slices]), np.array(levels, np.float32)


def draw_pool(folder: Path, *, cases: int, seed: int, ovals: float = 0.0, workers: int = 2) -> Pool:
    """Draw a pool, or go on where an earlier call was stopped.

    Args:
        folder: Where it stands.
        cases: How many persons, SLICES_PER_CASE slices each.
        seed: 0 or greater; a case depends on the seed and its number alone.
        ovals: Share of persons with an oval multifidus.
        workers: Processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (cases * SLICES_PER_CASE, *SHAPE)
    mode: Literal["r+", "w+"] = "r+" if (folder / "done.npy").exists() else "w+"
    tissue = _array(folder / "tissue.npy", mode, np.uint8, shape)
    fat = _array(folder / "fat.npy", mode, np.uint8, shape)
    level = _array(folder / "level.npy", mode, np.float32, shape[:1])
    done = _array(folder / "done.npy", mode, bool, (cases,))  # the last one: with it all are there
    todo = np.flatnonzero(~done).tolist()
    drawn = each(partial(draw_case, seed, ovals=ovals), todo, workers=workers, what="drawing")
    for case, (a, b, c) in zip(todo, drawn, strict=True):
        place = slice(case * SLICES_PER_CASE, (case + 1) * SLICES_PER_CASE)
        tissue[place], fat[place], level[place] = a, b, c
        done[case] = True
    return Pool(tissue, fat, level)


def _array(path: Path, mode: Literal["r+", "w+"], dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """An array in a file; its place on the disk is taken at once, since a full one would end the process (SIGBUS)."""
    with naming(path):
        array = np.lib.format.open_memmap(path, mode, dtype, shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
