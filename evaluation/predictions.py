"""Gathering a model's predictions: a plain folder, or the out-of-fold predictions of a trained nnU-Net model."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from paraspinal_nnunet.anatomy import BY_KEY
from paraspinal_nnunet.dataset_conversion.labels.files import read_label_file
from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.evaluation.references import References, label_files
from paraspinal_nnunet.image_io.masks.label_names import class_called
from paraspinal_nnunet.image_io.pairing import paired
from paraspinal_nnunet.image_io.viewers.lookup_tables import ITKSNAP_FILE
from paraspinal_nnunet.nnunet.splits import FILE_NAME as SPLITS_FILE
from paraspinal_nnunet.nnunet.splits import Split, read_splits
from paraspinal_nnunet.utils.files import read_json
from paraspinal_nnunet.utils.names import name_fault
from paraspinal_nnunet.utils.text import some

log = logging.getLogger(__name__)

Kind = Literal["folder", "out-of-fold", "training"]
ALL = "all"

_FOLD = re.compile(r"fold_(\d+|all)")


@dataclass(frozen=True)
class Prediction:
    """One predicted label map; `fold` is ``''`` where it comes from a plain folder."""

    path: Path
    fold: str


@dataclass(frozen=True)
class Predictions:
    """What one model predicted.

    Attributes:
        name: The model's name in tables.
        folder: Where it was gathered.
        kind: ``'folder'`` of predictions; ``'out-of-fold'`` validation cases of a trained model; ``'training'`` cases
            of a model trained on all cases.
        folds: Which folds were found.
        files: Case -> prediction.
        settings: What the folder says about how it was made.
    """

    name: str
    folder: Path
    kind: Kind
    folds: tuple[str, ...]
    files: Mapping[str, Prediction]
    settings: Mapping[str, Any]


def describe(kind: str, folds: Sequence[str]) -> str:
    """What a model's numbers stand for, in a few words."""
    if kind == "training":
        return "training Dice: fold_all has seen these cases"
    if kind == "out-of-fold":
        return f"out-of-fold predictions of fold {', '.join(folds)}"
    return "predictions in one folder"


def parse_models(pairs: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=DIR`` pairs.

    Raises:
        InputError: Not in this form, a name given twice, or one that tables and pages cannot hold.
    """
    models: dict[str, Path] = {}
    for pair in pairs:
        name, equals, folder = (part.strip() for part in pair.partition("="))
        if not (name and equals and folder):
            raise InputError(f"--pred {pair}: write NAME=DIR, e.g. --pred paper2d=predictions")
        if fault := name_fault(name, written=False):
            raise InputError(f"--pred {pair}: {fault}; give the model another name")
        if name in models:
            raise InputError(f"--pred {pair}: the name {name} is taken by {models[name]}; give each model its own")
        models[name] = Path(folder)
    return models


def gather_predictions(name: str, folder: Path, references: References, *, subset: bool = False) -> Predictions:
    """Find a model's prediction of each case, exactly once.

    Args:
        name: The model's name.
        folder: A folder of ``CASE.nii.gz``, or a trained model's folder with ``fold_*/validation``.
        references: The cases that can be evaluated.
        subset: A plain folder may hold only some of the cases.

    Raises:
        InputError: Nothing found, or a case missing, predicted twice or without reference.
        LabelError: The folder's own dataset.json, which nnU-Net writes, gives the values another meaning.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"model {name}: folder {folder} does not exist")
    folds = sorted((p for p in folder.iterdir() if p.is_dir() and _FOLD.fullmatch(p.name)), key=_fold_order)
    found = _from_folds(name, folder, folds) if folds else _from_folder(name, folder)
    found = _by_reference(found, references)
    extra = set(found.files) - set(references.files)
    if extra:
        raise InputError(f"model {name}: no reference for {some(extra)} in {references.folder}; remove the extra files")
    missing = _expected(found, references, subset) - set(found.files)
    if missing:
        advice = "finish that fold's validation" if folds else "predict them, or give --subset if that is meant"
        raise InputError(f"model {name}: no prediction of {some(missing)} in {folder}; {advice}")
    _check_names(name, folder, references)
    return found


def _check_names(name: str, folder: Path, references: References) -> None:
    """Refuse values that stand for other muscles than those of the references, as far as the folder names them."""
    path = folder / "dataset.json"
    labels = read_json(path).get("labels") if path.is_file() else None
    if labels is None and (folder / ITKSNAP_FILE).is_file():  # beside the masks of 'paraspinal predict'
        path = folder / ITKSNAP_FILE
        labels = {key: value for value, key in read_label_file(path).items()}
    own = {class_called(key) or key: value for key, value in labels.items()} if isinstance(labels, dict) else {}
    wanted = {class_called(label.key) or label.key: label.value for label in references.labels}
    meaning = {value: key for key, value in wanted.items()}
    for key, value in own.items():
        other = meaning.get(value, key) if isinstance(value, int) and key in BY_KEY else key
        if wanted.get(key, value) != value or (other != key and other in BY_KEY):
            raise LabelError(
                f"model {name}: {path} gives {key} the value {value}, where the references have "
                f"{f'{wanted[key]} for it' if key in wanted else other}; translate the predictions first"
            )


def _by_reference(found: Predictions, references: References) -> Predictions:
    """The predictions by the references' names, where one of the two has the longer name."""
    lacking = sorted(set(references.files) - set(found.files))
    names = paired(sorted(set(found.files) - set(references.files)), lacking)
    if not names:
        return found
    told = ", ".join(f"{name} with {case}" for name, case in names.items())
    log.warning("model %s: predictions paired with references by the beginnings of their names: %s", found.name, told)
    files = {names.get(name, name): file for name, file in found.files.items()}
    return replace(found, files=dict(sorted(files.items())))


def _fold_order(path: Path) -> tuple[int, str]:
    number = _fold_name(path)
    return (int(number), "") if number.isdecimal() else (-1, number)


def _fold_name(path: Path) -> str:
    return path.name.removeprefix("fold_")


def _from_folder(name: str, folder: Path) -> Predictions:
    files = label_files(folder)
    if not files:
        raise InputError(f"model {name}: {folder} holds neither *.nii.gz nor fold_*/validation")
    settings = {path.stem: read_json(path) for path in sorted(folder.glob("*args.json"))}
    return Predictions(name, folder, "folder", (), {c: Prediction(p, "") for c, p in files.items()}, settings)


def _from_folds(name: str, folder: Path, folds: list[Path]) -> Predictions:
    validated = {_fold_name(p): label_files(p / "validation") for p in folds if (p / "validation").is_dir()}
    validated = {fold: files for fold, files in validated.items() if files}
    kind: Kind = "training" if set(validated) == {ALL} else "out-of-fold"
    if kind == "out-of-fold":
        validated.pop(ALL, None)
    if not validated:
        raise InputError(f"model {name}: no *.nii.gz in {folder}/fold_*/validation; run the training's validation")
    files: dict[str, Prediction] = {}
    for fold, paths in validated.items():
        for case, path in paths.items():
            if case in files:
                raise InputError(
                    f"model {name}: case {case} is a validation case of fold_{files[case].fold} and of fold_{fold}; "
                    "these folds were trained on different splits"
                )
            files[case] = Prediction(path, fold)
    settings = _model_settings(folder)
    return Predictions(name, folder, kind, tuple(validated), dict(sorted(files.items())), settings)


def _model_settings(folder: Path) -> dict[str, Any]:
    """Trainer, plans and configuration by nnU-Net's naming of the folder, and this package's entry in the plans."""
    settings: dict[str, Any] = dict(zip(("trainer", "plans", "configuration"), folder.name.split("__"), strict=False))
    if (folder / "plans.json").is_file():
        plans = read_json(folder / "plans.json")
        settings |= {key: plans[key] for key in ("dataset_name", "plans_name", "paraspinal") if key in plans}
    return settings


def _expected(found: Predictions, references: References, subset: bool) -> set[str]:
    if found.kind == "folder":
        return set() if subset else set(references.files)
    splits = _splits(found.folder, references.folder)
    if found.kind == "training" or splits is None:
        return set()
    known = [int(fold) for fold in found.folds if int(fold) < len(splits)]
    return {case for fold in known for case in splits[fold]["val"]}


def _splits(model: Path, reference: Path) -> list[Split] | None:
    """The splits of the model's data set, from nnUNet_preprocessed or from beside gt_segmentations."""
    folders = [reference.parent]
    if os.environ.get("nnUNet_preprocessed"):
        folders.insert(0, Path(os.environ["nnUNet_preprocessed"]) / model.resolve().parent.name)
    path = next((f / SPLITS_FILE for f in folders if (f / SPLITS_FILE).is_file()), None)
    return None if path is None else read_splits(path)
