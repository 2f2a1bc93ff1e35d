"""Masks for new scans, by nnU-Net's own predictor in this process."""

import logging
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.exported_model import CHECKPOINT, initialize_predictor, is_exported, opened_model
from paraspinal_nnunet.nifti import read_image
from paraspinal_nnunet.seam import register_trainers

log = logging.getLogger(__name__)

ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class PredictionRequest:
    """What to predict.

    Attributes:
        scans: A NIfTI file or a folder of them, one channel each.
        output: Folder for the masks; a mask has its scan's name, without nnU-Net's channel suffix ``_0000``.
        model: nnU-Net's model folder, or an exported model: folder or archive.
        folds: Folds to average; all trained ones when None.
        device: ``'cuda'``, ``'cpu'``, ``'mps'`` or None for the best there is.
        step_size: Step between tiles as a share of the patch.
        mirroring: Average over mirrored images where the model was trained so; ours never are.
        overwrite: Predict again what is there already.
        shard: (k, n): only the k-th of n equal shares of the scans, counted from 1.
    """

    scans: Path
    output: Path
    model: Path
    folds: Sequence[str] | None = None
    device: str | None = None
    step_size: float = 0.5
    mirroring: bool = True
    overwrite: bool = False
    shard: tuple[int, int] = (1, 1)


def predict(request: PredictionRequest) -> list[Path]:
    """Predict all scans; the masks lie on the scans' own grids.

    Returns:
        One mask file per scan, those that were there already included.

    Raises:
        InputError: No scans, no model, or a scan that cannot be read; scans are checked before the first is predicted.
        SetupError: nnU-Net is missing.
    """
    targets = {mask: scan for scan, mask in _targets(request)}
    for scan in targets.values():
        read_image(scan)
    todo = {mask: scan for mask, scan in targets.items() if request.overwrite or not mask.exists()}
    if todo:
        predictor = _predictor(request)
        request.output.mkdir(parents=True, exist_ok=True)
        # nnU-Net writes plans.json, dataset.json and its arguments beside the masks, over what may stand there.
        with TemporaryDirectory(prefix=".predicting-", dir=request.output) as workplace:
            for mask, scan in tqdm(todo.items(), desc="predicting", unit="scan"):
                truncated = Path(workplace) / mask.name.removesuffix(ENDINGS[0])
                with redirect_stdout(StringIO()):
                    predictor.predict_from_files_sequential([[str(scan)]], [str(truncated)])
                os.replace(Path(workplace) / mask.name, mask)
    return list(targets)


def _targets(request: PredictionRequest) -> list[tuple[Path, Path]]:
    path = request.scans
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    scans = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.name.endswith(ENDINGS))
    if not scans:
        raise InputError(f"{path}: holds no NIfTI file ({' or '.join(ENDINGS)})")
    pairs = [(scan, request.output / f"{_stem(scan)}{ENDINGS[0]}") for scan in scans]
    names = [mask.name for _, mask in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: several scans would give one mask {twice[0]}; models here take one channel")
    return pairs


def _stem(scan: Path) -> str:
    name = scan.name
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name.removesuffix("_0000")


def chosen_folds(folder: Path, folds: Sequence[str] | None = None) -> list[str]:
    """The folds of nnU-Net's model folder to use: those asked for, or all that were trained to their end.

    Fold 'all' counts only where it is the only one, or asked for.

    Raises:
        InputError: No model, or a fold that was not trained to its end.
    """
    if not (folder / "plans.json").is_file():
        raise InputError(f"{folder}: is no trained model (plans.json is missing)")
    chosen = [str(f).removeprefix("fold_") for f in folds] if folds else _trained_folds(folder)
    missing = [f for f in chosen if not (folder / f"fold_{f}" / CHECKPOINT).is_file()]
    if missing or not chosen:
        raise InputError(f"{folder}: fold {missing[0] if missing else 'any'} has no {CHECKPOINT}; train it to its end")
    return list(dict.fromkeys(chosen))


def _predictor(request: PredictionRequest) -> Any:
    exported = is_exported(request.model)
    folds = [] if exported else chosen_folds(request.model, request.folds)
    register_trainers()

    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from paraspinal_nnunet.training import torch_device

    with redirect_stdout(StringIO()):
        predictor = nnUNetPredictor(
            tile_step_size=request.step_size,
            use_mirroring=request.mirroring,
            device=torch_device(request.device),
            allow_tqdm=False,
        )
        if exported:
            with opened_model(request.model) as (folder, manifest):
                initialize_predictor(predictor, folder, manifest, request.folds)
        else:
            _note_unsafe(request.model, folds)
            predictor.initialize_from_trained_model_folder(str(request.model), tuple(folds), CHECKPOINT)
    ending = predictor.dataset_json["file_ending"]
    if ending != ENDINGS[0]:
        raise InputError(f"{request.model}: this model writes {ending} files; only {ENDINGS[0]} is supported")
    return predictor


def _note_unsafe(folder: Path, folds: Sequence[str]) -> None:
    """nnU-Net loads its own checkpoints with weights_only=False, which runs whatever is in them."""
    from paraspinal_nnunet.checkpoints import is_safe

    unsafe = [path for path in (folder / f"fold_{fold}" / CHECKPOINT for fold in folds) if not is_safe(path)]
    if unsafe:
        log.warning("note: %s may run code of its author's as it is loaded; use models of people you trust", unsafe[0])


def _trained_folds(folder: Path) -> list[str]:
    found = sorted(p.parent.name.removeprefix("fold_") for p in folder.glob(f"fold_*/{CHECKPOINT}"))
    numbered = [f for f in found if f != "all"]
    return numbered or found
