"""Trainings and validations that are there already: taken where their inputs are the same, set aside where not."""

import os
import shutil
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.nnunet.datasets import find_dataset
from paraspinal_nnunet.nnunet.preprocessed import source_digest
from paraspinal_nnunet.nnunet.splits import FILE_NAME, read_splits
from paraspinal_nnunet.utils.files import read_json, write_json
from paraspinal_nnunet.utils.fingerprint import file_sha256
from paraspinal_nnunet.workflow.commands import dataset_folder_name, find_model, model_path
from paraspinal_nnunet.workflow.provenance import FILE_NAME as PROVENANCE
from paraspinal_nnunet.workflow.provenance import hashes, is_complete
from paraspinal_nnunet.workflow.settings import Workflow, digest
from paraspinal_nnunet.workflow.state import Step

INPUTS_FILE = "study_inputs.json"
VALIDATION = "validation"
CHECKPOINT = "checkpoint_final.pth"


def fold_folder(workflow: Workflow, job: Step) -> Path:
    """nnU-Net's folder of a training."""
    return model_path(workflow, find_model(workflow, job.target)) / f"fold_{job.fold}"


def provenance_file(workflow: Workflow, job: Step) -> Path:
    """Beside the results of a training or a validation; nnU-Net and the evaluation leave both alone."""
    name = PROVENANCE if job.rule == "train" else f"{VALIDATION}_{PROVENANCE}"
    return fold_folder(workflow, job) / name


def inputs(workflow: Workflow, job: Step) -> str:
    """A hash of all that decides a training's weights, and for a validation of the weights too."""
    trained = _training_inputs(workflow, job)
    checkpoint = fold_folder(workflow, job) / CHECKPOINT
    if job.rule == "train" or not checkpoint.is_file():
        return trained
    return digest([trained, file_sha256(checkpoint)])


def _training_inputs(workflow: Workflow, job: Step) -> str:
    """Plans, trainer, cases of the fold, and the data."""
    model = find_model(workflow, job.target)
    preprocessed = workflow.nnunet_folder("preprocessed") / dataset_folder_name(workflow)
    plans = read_json(preprocessed / f"{model.plans}.json")
    if model.configuration not in plans.get("configurations", {}):
        raise InputError(f"{preprocessed / model.plans}.json: has no configuration {model.configuration}; plan it")
    splits = read_splits(preprocessed / FILE_NAME) if job.fold != "all" else None
    raw = find_dataset(dataset_folder_name(workflow), raw=workflow.nnunet_folder("raw"))
    return digest(
        {
            "trainer": model.trainer,
            "configuration": plans["configurations"][model.configuration],
            "settings": {key: value for key, value in plans.items() if key.startswith("paraspinal")},
            "normalization": plans["foreground_intensity_properties_per_channel"],
            "fold": splits[int(job.fold)] if splits is not None and int(job.fold) < len(splits) else job.fold,
            "data": source_digest(raw),
        }
    )


def finished(workflow: Workflow, job: Step) -> dict[str, Any] | None:
    """The provenance of a training or validation that is complete and stands for these inputs, or None."""
    path = provenance_file(workflow, job)
    return read_json(path) if is_complete(path, inputs(workflow, job)) else None


def set_aside(workflow: Workflow, job: Step) -> Path | None:
    """Before a training: move one of other inputs out of the way; before a validation: remove an unfinished one.

    Returns:
        Where the old training went.
    """
    folder = fold_folder(workflow, job)
    if job.rule == "validate":
        provenance_file(workflow, job).unlink(missing_ok=True)
        shutil.rmtree(folder / VALIDATION, ignore_errors=True)
        return None
    own, record = inputs(workflow, job), folder / INPUTS_FILE
    moved = None
    if folder.is_dir() and any(folder.iterdir()) and not _made_from(record, own):
        number = sum(1 for _ in folder.parent.glob(f"replaced_*_{folder.name}"))
        moved = folder.with_name(f"replaced_{number}_{folder.name}")
        os.replace(folder, moved)
    write_json(record, {"inputs": own})
    return moved


def results(workflow: Workflow, job: Step) -> dict[str, str]:
    """Hashes of what a training or a validation made, relative to the fold's folder.

    Raises:
        InputError: It made nothing.
    """
    folder = fold_folder(workflow, job)
    files = [folder / CHECKPOINT] if job.rule == "train" else sorted((folder / VALIDATION).glob("*.nii.gz"))
    missing = [path for path in files if not path.is_file()]
    if missing or not files:
        raise InputError(f"{folder}: the {job.rule} step left no {'checkpoint' if job.rule == 'train' else 'masks'}")
    return hashes(folder, files)


def _made_from(record: Path, own: str) -> bool:
    try:
        return record.is_file() and read_json(record).get("inputs") == own
    except InputError:
        return False
