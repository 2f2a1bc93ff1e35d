"""What a model says about itself, before it is checked and opened: its name, labels, training, and which one it is."""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet.anatomy import ALL_STRUCTURES, BY_KEY, PARASPINAL, Structure
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.masks.boxes import MuscleBox
from paraspinal_nnunet.models.manifest import FILE_NAME, LARGEST_BYTES, Manifest, label_entries, parse_manifest
from paraspinal_nnunet.utils.files import open_regular, read_json
from paraspinal_nnunet.utils.fingerprint import Fingerprint, fingerprint

FINGERPRINT = "dataset_fingerprint.json"
"""nnU-Net copies it into every model folder."""

NO_MODEL = Fingerprint("")


@dataclass(frozen=True)
class ModelDescription:
    """A model in words.

    Attributes:
        name: Data set, trainer, plans and configuration, as far as they are known.
        structures: What its labels stand for; None where the anatomy does not know one of them.
        training: What it was trained on, as a manifest holds it; empty where unknown.
        box: The boxes that it was trained in; None for whole scans.
    """

    name: str = ""
    structures: tuple[Structure, ...] | None = PARASPINAL
    training: Mapping[str, Any] = field(default_factory=dict)
    box: MuscleBox | None = None


def describe_model(model: Path) -> ModelDescription:
    """What a model says about itself; nothing of it is checked, and what cannot be read is left out.

    Args:
        model: A portable model, nnU-Net's model folder, or an exported model: folder or archive.
    """
    try:
        content = manifest_content(model)
        if content is not None:
            return describe_manifest(parse_manifest(content, str(model)))
        content = read_json(model / "dataset.json")
        entries = label_entries(content["labels"])
        plans = read_json(model / "plans.json")
        name = f"{plans.get('dataset_name', '')} {model.resolve().name}".strip()
        training = {"spacing_mm": training_spacing_mm(model)}
        return ModelDescription(name, _structures(entries), training, MuscleBox.of(content, str(model)))
    except Exception:  # whatever a stranger wrote there
        return ModelDescription(model.name)


def describe_manifest(manifest: Manifest) -> ModelDescription:
    """What a manifest says of its model."""
    name = " ".join((manifest.dataset_name, manifest.plans_name, manifest.configuration))
    box = MuscleBox.of(manifest.preprocessing, name)
    return ModelDescription(name, _structures(manifest.labels), manifest.training, box)


def identify_model(model: Path, folds: Sequence[str] | None = None, *, known: Fingerprint | None = None) -> Fingerprint:
    """Which model it is: for an exported one by its manifest, which holds the hashes of all files.

    Args:
        model: As for `describe_model`.
        folds: Of nnU-Net's model folder, the folds that are used; all when None.
        known: What an earlier call gave, so that unchanged weights are not read again.

    Returns:
        Without a hash where there is no model.
    """
    try:
        if model.is_file() or (model / FILE_NAME).is_file():
            content = json.dumps(manifest_content(model), sort_keys=True)
            return Fingerprint(hashlib.sha256(content.encode()).hexdigest())
        weights = [model / f"fold_{fold}" for fold in folds] if folds else sorted(model.glob("fold_*"))
        files = [model / "plans.json", model / "dataset.json", *(path / "checkpoint_final.pth" for path in weights)]
        files = [path for path in files if path.is_file()]
        return fingerprint(files, root=model, known=known, progress="identifying the model") if files else NO_MODEL
    except InputError:
        return NO_MODEL


def manifest_content(model: Path) -> Any:
    """The parsed manifest of an exported model, folder or archive; None for a folder without one.

    Raises:
        InputError: No readable manifest.
    """
    try:
        if model.is_dir():
            return read_json(model / FILE_NAME) if (model / FILE_NAME).is_file() else None
        with open_regular(model) as opened, zipfile.ZipFile(opened) as archive, archive.open(FILE_NAME) as file:
            return json.loads(file.read(LARGEST_BYTES))
    except InputError:
        raise
    except Exception as error:  # an archive from a stranger
        raise InputError(f"{model}: has no readable {FILE_NAME} ({error})") from error


def canonical_values(labels: Mapping[str, Any]) -> np.ndarray | None:
    """The anatomy's value for each of a model's; None where they are the same or the anatomy does not know one.

    Args:
        labels: The labels of a dataset.json.

    Raises:
        InputError: Regions, for which there is no single value, or a value that masks do not hold.
    """
    entries = label_entries(labels)
    for entry in entries:
        if not 0 <= entry["value"] < 256:
            raise InputError(f"dataset.json: label '{entry['key']}' is {entry['value']}; masks hold 0 to 255")
    if any(entry["key"] not in BY_KEY for entry in entries):
        return None
    table = np.zeros(256, np.uint8)
    for entry in entries:
        table[entry["value"]] = BY_KEY[entry["key"]].label
    return None if all(table[entry["value"]] == entry["value"] for entry in entries) else table


def _structures(entries: Sequence[Mapping[str, Any]]) -> tuple[Structure, ...] | None:
    keys = {entry["key"] for entry in entries}
    return tuple(s for s in ALL_STRUCTURES if s.key in keys) if keys <= set(BY_KEY) else None


def training_spacing_mm(model_folder: Path) -> list[float] | None:
    """Median voxel size of the training cases along z, y, x; None where nnU-Net's fingerprint is not at hand."""
    path = model_folder / FINGERPRINT
    if not path.is_file():
        return None
    return [round(float(mm), 6) for mm in np.median(read_json(path)["spacings"], axis=0)]
