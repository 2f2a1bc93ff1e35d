"""Models of either kind behind one interface: a scan in, labels on its own grid out."""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from paraspinal_nnunet.errors import InputError, ParaspinalError, reason_of
from paraspinal_nnunet.image_io.images import read_labels
from paraspinal_nnunet.image_io.masks.postprocessing import postprocess
from paraspinal_nnunet.image_io.nifti import write_image
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.options import PredictionOptions
from paraspinal_nnunet.inference.portable import PortableModel, Segmentation, is_portable, open_model
from paraspinal_nnunet.inference.portable.stability import with_disagreement
from paraspinal_nnunet.inference.scan_checks import check_is_mr
from paraspinal_nnunet.models.description import canonical_values
from paraspinal_nnunet.models.manifest import CLEANED_BY
from paraspinal_nnunet.utils.workplace import workplace


class Segmenter(Protocol):
    """A model that is ready."""

    def segment(self, volume: Volume) -> Segmentation:
        """Segment one scan; labels in the values of `anatomy.STRUCTURES`."""

    @property
    def settings(self) -> dict[str, Any]:
        """How it does that, fit for JSON."""


@contextmanager
def opened_segmenter(model: Path, options: PredictionOptions, *, scratch: Path | None = None) -> Iterator[Segmenter]:
    """Check a model and make it ready.

    Args:
        model: A portable model, nnU-Net's model folder, or an exported model: folder or archive.
        options: How it is applied.
        scratch: Folder for the files that nnU-Net's predictor needs; the system's for temporary files when None.

    Raises:
        InputError: No model, one that is not as its manifest says, or flags that it has no use for.
        SetupError: nnU-Net, or the runtime of portable models, is missing.
    """
    options.check()
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
    with workplace(scratch) as place:
        yield NnunetSegmenter(predictor, place, options)


class PortableSegmenter:
    """A portable model with its options."""

    def __init__(self, model: PortableModel, options: PredictionOptions) -> None:
        self._model, self._options = model, options

    def segment(self, volume: Volume) -> Segmentation:
        """Segment one scan."""
        if not self._model.manifest.computed_only:
            return self._apply(volume)
        check_is_mr(volume)
        made = self._cleaned(volume)
        return with_disagreement(made, volume, self._cleaned) if self._options.uncertainty else made

    def _cleaned(self, volume: Volume) -> Segmentation:
        made = self._apply(volume)
        return replace(made, labels=postprocess(made.labels, CLEANED_BY, volume.spacing_mm))

    def _apply(self, volume: Volume) -> Segmentation:
        options = self._options
        return self._model.segment(
            volume,
            mode="fast" if options.mode == "fast" else "tiles",
            step_size=options.step_size,
            mirroring=options.mirroring,
            uncertainty=options.uncertainty,
            timeout=options.timeout,
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
            **self._model.manifest.caution,
        }


class NnunetSegmenter:
    """nnU-Net's predictor, which reads and writes files.

    It sees a copy of each scan as `image_io.nifti` understands it: in mm, whatever the input's unit, name or format.
    """

    def __init__(self, predictor: Any, workplace: Path, options: PredictionOptions) -> None:
        self._predictor, self._workplace, self._options = predictor, workplace, options
        self._values = canonical_values(predictor.dataset_json["labels"])

    def segment(self, volume: Volume) -> Segmentation:
        """Segment one scan."""
        start = perf_counter()
        copy, made = self._workplace / "scan.nii", self._workplace / "mask.nii.gz"
        try:
            write_image(copy, volume.array, volume.affine)
            with redirect_stdout(StringIO()), self._time_limit(), _failures_told():
                self._predictor.predict_from_files_sequential([[str(copy)]], [str(made).removesuffix(".nii.gz")])
            labels = read_labels(made).array.astype(np.uint8)
        finally:
            copy.unlink(missing_ok=True)
            made.unlink(missing_ok=True)
        table = self._values
        return Segmentation(
            labels=labels if table is None else table[labels],
            affine=volume.affine,
            disagreement=None,
            seconds=perf_counter() - start,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Folds, step, mirroring and what runs the network."""
        return {
            "folds": self._options.chosen_folds or "all trained",
            "mode": "tiles",
            "step_size": self._options.step_size,
            "mirroring": bool(self._options.mirroring and getattr(self._predictor, "allowed_mirroring_axes", None)),
            "runtime": "nnU-Net",
        }

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Looks at the clock before every tile, and at the logits after it."""
        import torch

        network, timeout, start = getattr(self._predictor, "network", None), self._options.timeout, perf_counter()
        if network is None:
            yield
            return

        def before(*_: Any) -> None:
            if timeout is not None and perf_counter() - start > timeout:
                raise InputError(f"took longer than {timeout:g} s; give it more by --timeout")

        def after(_module: Any, _inputs: Any, logits: Any) -> None:
            if isinstance(logits, torch.Tensor) and not torch.isfinite(logits).all():
                raise InputError("the network gives logits that are no numbers; the model is damaged or foreign here")

        hooks = [network.register_forward_pre_hook(before), network.register_forward_hook(after)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


@contextmanager
def _failures_told() -> Iterator[None]:
    """Whatever nnU-Net meets in plans and scans that it trusts is this prediction's failure, in one line."""
    try:
        yield
    except (ParaspinalError, MemoryError, OSError):
        raise
    except Exception as error:
        raise InputError(f"nnU-Net failed with this model and scan ({reason_of(error)[:200]})") from error
