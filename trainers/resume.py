"""What must be the same when a training is resumed, and the refusal of a training whose settings or data changed."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError, TrainingRefusedError
from paraspinal_nnunet.nnunet.preprocessed import content_digest
from paraspinal_nnunet.protocol.paper import SECTION_OF_CONFIGURATION, Protocol, entries
from paraspinal_nnunet.protocol.table import value_text
from paraspinal_nnunet.training.run import ACCEPT_VARIABLE
from paraspinal_nnunet.utils.files import read_json

ITERATIONS = "iterations"
SCHEDULE = "schedule"
FIXED = ("trainer", "configuration", "network", "optimizer")
"""Keys, and the section, under whose change the weights or the optimiser's state are no longer usable."""

FINGERPRINT_FILE = "dataset_fingerprint.json"


def training_settings(protocol: Protocol, configuration: str) -> dict[str, Any]:
    """The protocol's numbers that bear on the weights, by key; those of `FIXED` sections begin with the section.

    Args:
        protocol: In force.
        configuration: Whose batches count.
    """
    sections = {"preprocessing", "network", "training", SECTION_OF_CONFIGURATION[configuration]}
    if protocol.training.augmentation == "paper":
        sections.add("augmentation")
    found = {
        f"{e.section}.{e.name}" if e.section in FIXED else e.key: e.value
        for e in entries(protocol)
        if e.section in sections
    }
    return as_json(found)


def training_data(preprocessed: Path, cases: Path, train: Iterable[str], val: Iterable[str]) -> dict[str, Any]:
    """What identifies the data of a training.

    Args:
        preprocessed: nnU-Net's folder of the data set.
        cases: The folder with the configuration's preprocessed cases.
        train: Cases that are trained on.
        val: The fold's test cases.
    """
    content = {"training cases": text_digest(sorted(train)), "test cases": text_digest(sorted(val))}
    fingerprint = preprocessed / FINGERPRINT_FILE
    if fingerprint.is_file():
        try:
            content["data set's fingerprint"] = text_digest(read_json(fingerprint))
        except InputError as error:
            raise TrainingRefusedError(str(error)) from None
    digest = content_digest(cases)
    return content if digest is None else {**content, "preprocessed voxels": digest}


def text_digest(content: Any) -> str:
    """Short hash of JSON content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def as_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """As a checkpoint holds it: lists for tuples."""
    return dict(json.loads(json.dumps(content)))


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Key -> (before, now) of all that both know and in which they differ."""
    return {key: (before[key], now[key]) for key in before if key in now and before[key] != now[key]}


def check_resume(before: Mapping[str, Any], now: Mapping[str, Any], *, steps: int, trainer: str) -> dict[str, Any]:
    """What changed against the training that is resumed, where that can be or was accepted.

    More iterations than before under a constant learning rate are no other training: the same batches and rates come as
    if it had been planned so.

    Args:
        before: Settings and data of the checkpoint, `ITERATIONS` among them.
        now: Those in force.
        steps: Optimiser steps that were taken.
        trainer: Whom the message names.

    Returns:
        Key -> [before, now], for the record.

    Raises:
        TrainingRefusedError: With the keys that differ.
    """
    different = changes(before, now)
    iterations = int(now[ITERATIONS])
    if steps > iterations:
        raise TrainingRefusedError(
            f"{trainer}: {steps} iterations were trained already, the plans ask for {iterations}; plan at least "
            f"{steps}, or train anew without --c or --resume"
        )
    longer = ITERATIONS in different and iterations > different[ITERATIONS][0] and now.get(SCHEDULE) == "constant"
    refused = [key for key in different if not (key == ITERATIONS and longer)]
    told = ", ".join(f"{key} {value_text(different[key][0])} -> {value_text(different[key][1])}" for key in refused)
    fixed = [key for key in refused if key.partition(".")[0] in FIXED]
    if fixed:
        raise TrainingRefusedError(f"{trainer}: another training cannot be resumed ({told}); train anew")
    if refused and os.environ.get(ACCEPT_VARIABLE) != "1":
        raise TrainingRefusedError(
            f"{trainer}: settings or data changed since the training was stopped ({told}); set them back, train anew, "
            f"or go on with 'paraspinal train --resume --accept-changes' ({ACCEPT_VARIABLE}=1), which records both"
        )
    return {key: list(values) for key, values in different.items()}
