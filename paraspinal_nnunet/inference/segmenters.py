"""Models of either kind behind one interface: a scan in, labels on its own grid out."""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from paraspinal_nnunet.anatomy import ALL_STRUCTURES, BY_KEY, PARASPINAL, Structure
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import read_labels
from paraspinal_nnunet.image_io.nifti import write_image
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.portable import MODES, PortableModel, Segmentation, is_portable, open_model
from paraspinal_nnunet.inference.portable.model import LARGEST_MANIFEST_BYTES
from paraspinal_nnunet.models.manifest import FILE_NAME, Manifest, label_entries, parse_manifest
from paraspinal_nnunet.models.training_statistics import training_spacing_mm
from paraspinal_nnunet.utils.files import read_json


@dataclass(frozen=True)
class SegmenterOptions:
    """How a model is applied.

    Attributes:
        folds: Folds to average; all trained ones when None.
        device: ``'cuda'``, ``'cpu'``, ``'mps'`` or None for the best there is.
        step_size: Step between tiles as a share of the patch.
        mirroring: Average over mirrored images where the model was trained so.
        mode: Portable models: ``'tiles'`` or ``'fast'``.
        runtime: Portable models: ``'auto'``, ``'onnxruntime'`` or ``'openvino'``.
        threads: Portable models: processor threads; all when None.
        uncertainty: Portable models of several folds: tell how far the folds disagree.
    """

    folds: Sequence[str] | None = None
    device: str | None = None
    step_size: float = 0.5
    mirroring: bool = True
    mode: str = "tiles"
    runtime: str = "auto"
    threads: int | None = None
    uncertainty: bool = False


@dataclass(frozen=True)
class ModelFacts:
    """What a model says about itself, before it is checked and opened.

    Attributes:
        name: Data set, trainer, plans and configuration, as far as they are known.
        structures: What its labels stand for; None where the anatomy does not know one of them.
        training: What it was trained on, as a manifest holds it; empty where unknown.
    """

    name: str
    structures: tuple[Structure, ...] | None = PARASPINAL
    training: Mapping[str, Any] = field(default_factory=dict)


class Segmenter(Protocol):
    """A model that is ready."""

    def segment(self, volume: Volume) -> Segmentation:
        """Segment one scan; labels in the values of `anatomy.STRUCTURES`."""

    @property
    def settings(self) -> dict[str, Any]:
        """How it does that, fit for JSON."""


@contextmanager
def opened_segmenter(model: Path, options: SegmenterOptions, *, scratch: Path | None = None) -> Iterator[Segmenter]:
    """Check a model and make it ready.

    Args:
        model: A portable model, nnU-Net's model folder, or an exported model: folder or archive.
        options: How it is applied.
        scratch: Folder for the files that nnU-Net's predictor needs; the system's for temporary files when None.

    Raises:
        InputError: No model, one that is not as its manifest says, or flags that it has no use for.
        SetupError: nnU-Net, or the runtime of portable models, is missing.
    """
    if options.mode not in MODES:
        raise InputError(f"mode '{options.mode}' is unknown; take one of {', '.join(MODES)}")
    if is_portable(model):
        opened = open_model(
            model, folds=options.folds, runtime=options.runtime, threads=options.threads, device=options.device
        )
        yield PortableSegmenter(opened, options)
        return
    if (options.mode, options.runtime, options.threads) != ("tiles", "auto", None):
        raise InputError(f"{model}: mode, runtime and threads are for models of 'paraspinal export --format onnx'")
    from paraspinal_nnunet.models.nnunet_predictor import open_predictor

    predictor = open_predictor(
        model,
        folds=options.folds,
        device=options.device,
        step_size=options.step_size,
        mirroring=options.mirroring,
    )
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    # nnU-Net writes plans.json, dataset.json and its arguments beside the masks, over what may stand there.
    with TemporaryDirectory(prefix=".predicting-", dir=scratch) as workplace:
        yield NnunetSegmenter(predictor, Path(workplace), options)


class PortableSegmenter:
    """A portable model with its options."""

    def __init__(self, model: PortableModel, options: SegmenterOptions) -> None:
        self._model, self._options = model, options

    def segment(self, volume: Volume) -> Segmentation:
        """Segment one scan."""
        options = self._options
        return self._model.segment(
            volume,
            mode="fast" if options.mode == "fast" else "tiles",
            step_size=options.step_size,
            mirroring=options.mirroring,
            uncertainty=options.uncertainty,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Folds, mode, step, mirroring and runtime."""
        return {
            "folds": list(self._model.folds),
            "mode": self._options.mode,
            "step_size": self._options.step_size,
            "mirroring": bool(self._options.mirroring and self._model.manifest.mirroring_axes),
            "runtime": self._model.runtime,
        }


class NnunetSegmenter:
    """nnU-Net's predictor, which reads and writes files.

    It sees a copy of each scan as `image_io.nifti` understands it: in mm, whatever the input's unit, name or format.
    """

    def __init__(self, predictor: Any, workplace: Path, options: SegmenterOptions) -> None:
        self._predictor, self._workplace, self._options = predictor, workplace, options

    def segment(self, volume: Volume) -> Segmentation:
        """Segment one scan."""
        from time import perf_counter

        start = perf_counter()
        copy, made = self._workplace / "scan.nii", self._workplace / "mask.nii.gz"
        try:
            write_image(copy, volume.array, volume.affine)
            with redirect_stdout(StringIO()):
                self._predictor.predict_from_files_sequential([[str(copy)]], [str(made).removesuffix(".nii.gz")])
            labels = read_labels(made).array.astype(np.uint8)
        finally:
            copy.unlink(missing_ok=True)
            made.unlink(missing_ok=True)
        table = canonical_values(self._predictor.dataset_json["labels"])
        return Segmentation(
            labels=labels if table is None else table[labels],
            affine=volume.affine,
            disagreement=None,
            seconds=perf_counter() - start,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Folds, step, mirroring and what runs the network."""
        folds = self._options.folds
        return {
            "folds": list(folds) if folds else "all trained",
            "mode": "tiles",
            "step_size": self._options.step_size,
            "mirroring": bool(self._options.mirroring and getattr(self._predictor, "allowed_mirroring_axes", None)),
            "runtime": "nnU-Net",
        }


def canonical_values(labels: Mapping[str, Any]) -> np.ndarray | None:
    """The anatomy's value for each of a model's; None where they are the same or the anatomy does not know one.

    Args:
        labels: The labels of a dataset.json.

    Raises:
        InputError: Regions, for which there is no single value.
    """
    entries = label_entries(labels)
    if any(entry["key"] not in BY_KEY for entry in entries):
        return None
    table = np.zeros(256, np.uint8)
    for entry in entries:
        table[entry["value"]] = BY_KEY[entry["key"]].label
    return None if all(table[entry["value"]] == entry["value"] for entry in entries) else table


def model_facts(model: Path) -> ModelFacts:
    """What a model says about itself; nothing of it is checked, and what cannot be read is left out.

    Args:
        model: As `opened_segmenter` takes it.
    """
    try:
        content = _manifest_content(model)
        if content is not None:
            return portable_facts(parse_manifest(content, str(model)))
        entries = label_entries(read_json(model / "dataset.json")["labels"])
        plans = read_json(model / "plans.json")
        name = f"{plans.get('dataset_name', '')} {model.resolve().name}".strip()
        return ModelFacts(name, _structures(entries), {"spacing_mm": training_spacing_mm(model)})
    except (InputError, KeyError, TypeError, ValueError, AttributeError):
        return ModelFacts(model.name)


def portable_facts(manifest: Manifest) -> ModelFacts:
    """What a manifest says of its model."""
    name = " ".join((manifest.dataset_name, manifest.plans_name, manifest.configuration))
    return ModelFacts(name, _structures(manifest.labels), manifest.training)


def _manifest_content(model: Path) -> Any:
    try:
        if model.is_dir():
            return read_json(model / FILE_NAME) if (model / FILE_NAME).is_file() else None
        with zipfile.ZipFile(model) as archive, archive.open(FILE_NAME) as file:
            return json.loads(file.read(LARGEST_MANIFEST_BYTES))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{model}: has no readable {FILE_NAME} ({error})") from error


def _structures(entries: Sequence[Mapping[str, Any]]) -> tuple[Structure, ...] | None:
    keys = {entry["key"] for entry in entries}
    return tuple(s for s in ALL_STRUCTURES if s.key in keys) if keys <= set(BY_KEY) else None
