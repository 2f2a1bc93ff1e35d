"""Masks for new scans: by nnU-Net's own predictor in this process, or by a portable model without nnU-Net."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from paraspinal_nnunet.batch import Job, Outcome, failed, run_batch
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.exported_model import CHECKPOINT, initialize_predictor, is_exported, opened_model
from paraspinal_nnunet.fast import MODES, Mode, is_portable, open_model
from paraspinal_nnunet.files import atomic_path
from paraspinal_nnunet.nifti import Volume, read_image, write_labels
from paraspinal_nnunet.seam import register_trainers

log = logging.getLogger(__name__)

ENDINGS = (".nii.gz", ".nii")

MakeJob = Callable[[Path, Path, bool], Job[Any, Any]]
"""From a scan, its mask's path, and whether that is to be kept."""


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
        mode: For portable models: ``'tiles'`` or ``'fast'``.
        runtime: For portable models: ``'auto'``, ``'onnxruntime'`` or ``'openvino'``.
        threads: For portable models: processor threads; all when None.
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
    mode: Mode = "tiles"
    runtime: str = "auto"
    threads: int | None = None


def predict(request: PredictionRequest) -> list[Path]:
    """Predict all scans; the masks lie on the scans' own grids.

    Returns:
        One mask file per scan, those that were there already included.

    Raises:
        InputError: No scans, no model, or, after all others were predicted, scans that failed.
        SetupError: nnU-Net, or the runtime of portable models, is missing.
    """
    outcomes = predict_scans(request)
    if failed(outcomes):
        raise InputError(failure_summary(outcomes))
    return [request.output / outcome.name for outcome in outcomes]


def predict_scans(request: PredictionRequest) -> list[Outcome]:
    """Predict all scans; one that fails is told of at once and stops none.

    Returns:
        One outcome per scan, named as its mask's file.

    Raises:
        InputError: No scans, no model, or flags that the model has no use for.
        SetupError: nnU-Net, or the runtime of portable models, is missing.
    """
    number, count = request.shard
    targets = {mask: scan for scan, mask in _targets(request)[number - 1 :: count]}
    todo = {mask: scan for mask, scan in targets.items() if request.overwrite or not mask.exists()}
    if not todo:
        return [Outcome(mask.name, "kept") for mask in targets]
    with _portable(request) if is_portable(request.model) else _nnunet(request) as (make_job, process):
        request.output.mkdir(parents=True, exist_ok=True)
        jobs = (make_job(scan, mask, mask not in todo) for mask, scan in targets.items())
        return run_batch(jobs, process, total=len(targets))


def failure_summary(outcomes: Sequence[Outcome]) -> str:
    """One line on what failed."""
    bad = failed(outcomes)
    return f"{len(bad)} of {len(outcomes)} scans failed: " + "; ".join(f"{o.name} ({o.message})" for o in bad)


@contextmanager
def _portable(request: PredictionRequest) -> "Iterator[tuple[MakeJob, Callable[[Any], Any]]]":
    if request.mode not in MODES:
        raise InputError(f"mode '{request.mode}' is unknown; take one of {', '.join(MODES)}")
    model = open_model(
        request.model, folds=request.folds, runtime=request.runtime, threads=request.threads, device=request.device
    )

    def job(scan: Path, mask: Path, done: bool) -> Job[Any, Any]:
        def write(result: Any) -> None:
            with atomic_path(mask) as temporary:
                write_labels(temporary, result.labels, result.affine)

        return Job(mask.name, lambda: read_image(scan), write, done)

    def process(volume: Volume) -> Any:
        return model.segment(volume, mode=request.mode, step_size=request.step_size, mirroring=request.mirroring)

    yield job, process


@contextmanager
def _nnunet(request: PredictionRequest) -> "Iterator[tuple[MakeJob, Callable[[Any], Any]]]":
    if (request.mode, request.runtime, request.threads) != ("tiles", "auto", None):
        raise InputError(
            f"{request.model}: mode, runtime and threads are for models of 'paraspinal export --format onnx'"
        )
    predictor = _predictor(request)
    request.output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        # nnU-Net writes plans.json, dataset.json and its arguments beside the masks, over what may stand there.
        workplace = Path(stack.enter_context(TemporaryDirectory(prefix=".predicting-", dir=request.output)))

        def job(scan: Path, mask: Path, done: bool) -> Job[Any, Any]:
            def load() -> tuple[Path, Path]:
                read_image(scan)
                return scan, workplace / mask.name

            return Job(mask.name, load, lambda made: os.replace(made, mask), done)

        def process(paths: tuple[Path, Path]) -> Path:
            scan, made = paths
            with redirect_stdout(StringIO()):
                predictor.predict_from_files_sequential([[str(scan)]], [str(made).removesuffix(ENDINGS[0])])
            return made

        yield job, process


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
