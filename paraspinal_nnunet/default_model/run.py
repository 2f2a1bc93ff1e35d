"""From an empty folder to the default model's archive."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from paraspinal_nnunet.default_model.generator import generator_hash
from paraspinal_nnunet.default_model.looks import scan_ranges
from paraspinal_nnunet.default_model.packing import pack
from paraspinal_nnunet.default_model.recipe import VERSION, Recipe
from paraspinal_nnunet.default_model.training import train
from paraspinal_nnunet.errors import InputError, ProtocolError
from paraspinal_nnunet.models.description import manifest_content
from paraspinal_nnunet.models.manifest import SCAN_RANGES
from paraspinal_nnunet.trainers.pretrained import exported_weights
from paraspinal_nnunet.utils.fingerprint import file_sha256

ARCHIVE = f"paraspinal-drawn-{VERSION}.zip"


def train_default(
    folder: Path, recipe: Recipe, *, workers: int = 1, threads: int = 1, average_with: Sequence[Path] = ()
) -> Path:
    """Draw, train and pack, each where it is not done yet.

    Args:
        folder: Holds everything.
        recipe: All settings.
        workers: Processes that make batches.
        threads: Of the network; on few cores one is fastest.
        average_with: As `pack_checkpoint`.

    Returns:
        The archive.

    Raises:
        ProtocolError: A number that cannot be used.
        InputError: The folder holds a training by another recipe.
    """
    if min(recipe.cases, recipe.iterations) < 1 or recipe.seed < 0 or workers < 0 or threads < 1:
        raise ProtocolError("cases, iterations and threads are 1 or more, seed and workers 0 or more")
    torch.set_num_threads(threads)
    checkpoint = train(folder, recipe, workers=workers)
    return pack_checkpoint(checkpoint, recipe, folder / ARCHIVE, average_with)


def pack_checkpoint(checkpoint: Path, recipe: Recipe, output: Path, average_with: Sequence[Path] = ()) -> Path:
    """Write the archive of a training.

    Args:
        checkpoint: The training's.
        recipe: The training's.
        output: The archive.
        average_with: Archives of earlier models, whose first networks' answers are averaged with the new one's.

    Raises:
        InputError: The training is not finished, or an archive is none of ours.
    """
    earlier = [exported_weights(path) for path in average_with]
    content = torch.load(checkpoint, weights_only=True)
    if content["iteration"] < recipe.iterations:
        raise InputError(f"{checkpoint}: {content['iteration']} of {recipe.iterations} steps are made; go on first")
    training: dict[str, Any] = {
        "version": VERSION,
        "generator": generator_hash(recipe.seed),
        SCAN_RANGES: scan_ranges(recipe.seed),
    }
    if earlier:
        training["averaged_with"] = [
            {"sha256": file_sha256(path), "training": manifest_content(path)["training"]} for path in average_with
        ]
    return pack([content["mean"], *earlier], recipe, output, training)
