"""Training of the default model: resumable, seeded, its log beside it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.losses import DiceCELoss
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from paraspinal_nnunet.default_model.recipe import Recipe
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.network import ResidualUNet, build_network
from paraspinal_nnunet.phantom.randomised.examples import Examples
from paraspinal_nnunet.phantom.randomised.pool import draw_pool
from paraspinal_nnunet.phantom.randomised.sampling import Frame
from paraspinal_nnunet.phantom.randomised.tissues import LABELLED
from paraspinal_nnunet.utils.files import atomic_path, write_json, write_text

CHECKPOINT, RECIPE_FILE, LOG_FILE = "checkpoint.pt", "recipe.json", "log.csv"
SAVE_EVERY, LOG_EVERY = 250, 50


@dataclass
class State:
    """What a training is made of."""

    network: ResidualUNet
    mean: dict[str, torch.Tensor]
    optimizer: torch.optim.Optimizer
    iteration: int = 0
    loss: float | None = None
    """Its running mean."""


def train(folder: Path, recipe: Recipe, *, workers: int = 1) -> Path:
    """Draw the pool, train, and go on where an earlier call in the folder was stopped.

    Args:
        folder: Pool, checkpoint and log go here.
        recipe: All settings.
        workers: Processes that draw the pool and make batches.

    Returns:
        The checkpoint: ``mean`` holds the weights to export.

    Raises:
        InputError: The folder holds a training by another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_recipe(folder, recipe)
    pool = draw_pool(folder / "pool", cases=recipe.cases, seed=recipe.seed, ovals=recipe.ovals, workers=max(workers, 1))
    state = _start(folder, recipe)
    _cut_log(folder / LOG_FILE, state.iteration)
    frame = Frame(recipe.patch_size, recipe.spacing_mm)
    examples = Examples(pool, frame, seed=recipe.seed, count=recipe.iterations * recipe.batch)
    remaining = Subset(examples, range(state.iteration * recipe.batch, len(examples)))
    loader = DataLoader(remaining, recipe.batch, num_workers=workers, prefetch_factor=6 if workers else None)
    bar = tqdm(loader, "training", initial=state.iteration, total=recipe.iterations, unit="step", mininterval=5)
    for image, labels in bar:
        value = _step(state, recipe, image, labels)
        state.loss = value if state.loss is None else 0.98 * state.loss + 0.02 * value
        if state.iteration % LOG_EVERY == 0:
            bar.set_postfix(loss=f"{state.loss:.3f}")
            with (folder / LOG_FILE).open("a", encoding="utf-8") as log:
                log.write(f"{state.iteration},{learning_rate(recipe, state.iteration):.6g},{state.loss:.5f}\n")
        if state.iteration % SAVE_EVERY == 0 or state.iteration == recipe.iterations:
            _save(folder, state)
    return folder / CHECKPOINT


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """Of a step, from 0."""
    if iteration < recipe.warm_up:
        return recipe.learning_rate * (iteration + 1) / recipe.warm_up
    decay = max(min(recipe.decay, recipe.iterations - recipe.warm_up), 1)
    part = 1 - (recipe.iterations - iteration) / decay
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(max(part, 0.0), 1.0)))


def loss_of(recipe: Recipe, iteration: int) -> DiceCELoss:
    """Dice and cross-entropy of a step."""
    part = min(iteration / max(recipe.emphasis_steps, 1), 1.0)
    weight = torch.ones(LABELLED + 1)
    weight[1:3] = recipe.emphasis + part * (1 - recipe.emphasis)
    loss = DiceCELoss(softmax=True, to_onehot_y=True, batch=True)
    loss.cross_entropy.weight = weight
    return loss


def build(recipe: Recipe) -> ResidualUNet:
    """The recipe's network, its weights drawn from its seed."""
    torch.manual_seed(recipe.seed)
    return build_network(
        spatial_dims=2,
        in_channels=1,
        out_channels=LABELLED + 1,
        channels=recipe.channels,
        strides=recipe.strides,
        precision="amp",
    )


def _start(folder: Path, recipe: Recipe) -> State:
    network = build(recipe).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    state = State(network, {k: v.clone() for k, v in network.state_dict().items()}, optimizer)
    if (folder / CHECKPOINT).exists():
        saved: dict[str, Any] = torch.load(folder / CHECKPOINT, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        state.mean, state.iteration, state.loss = saved["mean"], saved["iteration"], saved.get("loss")
    return state


def _step(state: State, recipe: Recipe, image: torch.Tensor, labels: torch.Tensor) -> float:
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, state.iteration)
    state.optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = state.network(image.to(memory_format=torch.channels_last))
    value = loss_of(recipe, state.iteration)(logits.float(), labels)
    value.backward()
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), recipe.clip)
    state.optimizer.step()
    state.iteration += 1
    keep = min(recipe.averaging, (1 + state.iteration) / (10 + state.iteration))
    for name, weights in state.network.state_dict().items():
        state.mean[name].lerp_(weights, 1 - keep)
    return float(value.detach())


def _save(folder: Path, state: State) -> None:
    content = {
        "network": state.network.state_dict(),
        "mean": state.mean,
        "optimizer": state.optimizer.state_dict(),
        "iteration": state.iteration,
        "loss": state.loss,
    }
    with atomic_path(folder / CHECKPOINT) as temporary:
        torch.save(content, temporary)


def _cut_log(path: Path, iteration: int) -> None:
    """Leave out of a log what was noted after the checkpoint, and will be again."""
    if path.exists():
        rows = [row for row in path.read_text(encoding="utf-8").splitlines(keepends=True) if row.endswith("\n")]
        write_text(path, "".join(row for row in rows if int(row.partition(",")[0]) <= iteration))


def _check_recipe(folder: Path, recipe: Recipe) -> None:
    import json

    path = folder / RECIPE_FILE
    wanted = json.loads(json.dumps(recipe.to_json()))
    if not path.exists():
        write_json(path, wanted)
    elif json.loads(path.read_text(encoding="utf-8")) != wanted:
        raise InputError(f"{folder}: holds a training by another recipe; name an empty folder")
