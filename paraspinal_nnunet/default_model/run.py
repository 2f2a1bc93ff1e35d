"""From an empty folder to the default model's archive."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from paraspinal_nnunet.default_model.generator import generator_hash
from paraspinal_nnunet.default_model.looks import scan_ranges
from paraspinal_nnunet.default_model.packing import pack
from paraspinal_nnunet.default_model.recipe import VERSION, Recipe
from paraspinal_nnunet.default_model.training import CHECKPOINT, train
from paraspinal_nnunet.errors import InputError, ProtocolError
from paraspinal_nnunet.models.manifest import SCAN_RANGES

ARCHIVE = f"paraspinal-drawn-{VERSION}.zip"


def train_default(folder: Path, members: Sequence[Recipe], *, workers: int = 1, threads: int = 1) -> Path:
    """Draw, train and pack, each where it is not done yet.

    Args:
        folder: Holds everything, each network in a folder of its own.
        members: All settings of the networks that are averaged, which are trained one after the other.
        workers: Processes that draw the pool and make batches.
        threads: Of the network; on few cores one is fastest.

    Returns:
        The archive.

    Raises:
        ProtocolError: A number that cannot be used.
        InputError: A folder holds a training by another recipe.
    """
    for recipe in members:
        if min(recipe.cases, recipe.iterations) < 1 or recipe.seed < 0 or workers < 0 or threads < 1:
            raise ProtocolError("cases, iterations and threads are 1 or more, seed and workers 0 or more")
    torch.set_num_threads(threads)
    folders = [folder / f"network-{number}" for number in range(1, len(members) + 1)]
    for place, recipe in zip(folders, members, strict=True):
        train(place, recipe, workers=workers)
    return pack_trained(list(zip(folders, members, strict=True)), folder / ARCHIVE)


def pack_trained(members: Sequence[tuple[Path, Recipe]], output: Path) -> Path:
    """Write the archive of finished trainings.

    Args:
        members: Folder and recipe of each.
        output: The archive.

    Raises:
        InputError: A training is not finished.
    """
    trained = []
    for folder, recipe in members:
        content = torch.load(folder / CHECKPOINT, weights_only=True)
        if content["iteration"] < recipe.iterations:
            raise InputError(f"{folder}: {content['iteration']} of {recipe.iterations} steps are made; go on first")
        trained.append((content["mean"], recipe))
    first, *others = (recipe for _, recipe in members)
    training: dict[str, Any] = {
        "version": VERSION,
        "generator": generator_hash(first.seed, first.ovals),
        "others": [{"recipe": r.to_json(), "generator": generator_hash(r.seed, r.ovals)} for r in others],
        SCAN_RANGES: scan_ranges(first.seed),
    }
    return pack(trained, output, training)
