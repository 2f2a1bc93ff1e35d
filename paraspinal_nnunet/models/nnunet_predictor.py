"""nnU-Net's own predictor in this process, for trained and for exported models."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.models.exported import CHECKPOINT, check_ending, initialize_predictor, is_exported, opened_model
from paraspinal_nnunet.models.planned import ADVICE, read_model_files, resolved_configuration
from paraspinal_nnunet.nnunet.compat import register_trainers, torch_device
from paraspinal_nnunet.utils.guards import guarded


def open_predictor(
    model: Path, *, folds: Sequence[str] | None, device: str | None, step_size: float, mirroring: bool
) -> Any:
    """nnU-Net's predictor with the weights of all chosen folds.

    Args:
        model: nnU-Net's model folder, or an exported model: folder or archive.
        folds: Folds to average; all trained ones when None.
        device: ``'cuda'``, ``'cpu'``, ``'mps'`` or None for the best there is.
        step_size: Step between tiles as a share of the patch.
        mirroring: Average over mirrored images where the model was trained so.

    Raises:
        InputError: No model, a fold that it lacks, or files of another kind than NIfTI.
        SetupError: nnU-Net is missing.
    """
    exported = is_exported(model)
    chosen = [] if exported else chosen_folds(model, folds)
    register_trainers()

    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with redirect_stdout(StringIO()):
        predictor = nnUNetPredictor(
            tile_step_size=step_size, use_mirroring=mirroring, device=torch_device(device), allow_tqdm=False
        )
        if exported:
            with opened_model(model) as (folder, manifest):
                initialize_predictor(predictor, folder, manifest, folds)
        else:
            check_model(model, chosen)
            with guarded(model, ADVICE):
                predictor.initialize_from_trained_model_folder(str(model), tuple(chosen), CHECKPOINT)
                for weights in reversed(predictor.list_of_parameters):  # nnU-Net itself looks at the first fold's alone
                    predictor.network.load_state_dict(weights)
    check_ending(model, predictor.dataset_json)
    return predictor


def chosen_folds(folder: Path, folds: Sequence[str] | None = None) -> list[str]:
    """The folds of nnU-Net's model folder to use: those asked for, or all that were trained to their end.

    Fold 'all' counts only where it is the only one, or asked for.

    Raises:
        InputError: No model, or a fold that was not trained to its end.
    """
    if not (folder / "plans.json").is_file():
        raise InputError(f"{folder}: is no trained model (plans.json is missing)")
    chosen = [str(f).removeprefix("fold_") for f in folds] if folds else trained_folds(folder)
    missing = [f for f in chosen if not (folder / f"fold_{f}" / CHECKPOINT).is_file()]
    if missing or not chosen:
        raise InputError(f"{folder}: fold {missing[0] if missing else 'any'} has no {CHECKPOINT}; train it to its end")
    return list(dict.fromkeys(chosen))


def trained_folds(folder: Path) -> list[str]:
    """Folds with final weights; 'all' only where it is the only one."""
    found = sorted(p.parent.name.removeprefix("fold_") for p in folder.glob(f"fold_*/{CHECKPOINT}"))
    numbered = [f for f in found if f != "all"]
    return numbered or found


def check_model(folder: Path, folds: Sequence[str]) -> None:
    """Refuse a trained model that would run code: nnU-Net unpickles checkpoints and imports what plans name.

    Raises:
        InputError: A checkpoint that holds more than weights and numbers, or plans of a foreign network.
    """
    from paraspinal_nnunet.models.checkpoints import check_trained, read_trained

    plans, _ = read_model_files(folder)
    for path in (folder / f"fold_{fold}" / CHECKPOINT for fold in folds):
        content = read_trained(path)
        check_trained(content, path)
        resolved_configuration(plans, content["init_args"]["configuration"], folder / "plans.json")
