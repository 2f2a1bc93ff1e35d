"""Segmenting from Python: an image in, a result with labels, measures and files out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paraspinal_nnunet.anatomy import PARASPINAL, Structure
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.geometry import check_axial
from paraspinal_nnunet.image_io.images import NIFTI_ENDINGS, ending_of, read_image, stem_of
from paraspinal_nnunet.image_io.masks.postprocessing import postprocess
from paraspinal_nnunet.image_io.nifti import write_labels
from paraspinal_nnunet.image_io.viewers.segmentation_nrrd import ENDING as SLICER_ENDING
from paraspinal_nnunet.image_io.viewers.segmentation_nrrd import write_segmentation_nrrd
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.cascade import describe_models, opened_models, refuse_boxed
from paraspinal_nnunet.inference.options import PredictionOptions
from paraspinal_nnunet.inference.portable import PortableModel
from paraspinal_nnunet.inference.scan_checks import check_is_scan
from paraspinal_nnunet.inference.segmenters import PortableSegmenter
from paraspinal_nnunet.models.description import describe_manifest
from paraspinal_nnunet.models.shipped import DEFAULT_NAME, resolve_model
from paraspinal_nnunet.utils.files import atomic_path

if TYPE_CHECKING:
    from paraspinal_nnunet.measures.result import CaseMeasures

ImageLike = Any
"""A path, a `Volume`, a nibabel or SimpleITK image, or a pair of an array (i, j, k) and its affine (RAS+)."""


@dataclass(frozen=True)
class SegmentationResult:
    """A segmented scan.

    Attributes:
        case: Its name, for tables.
        image: The scan.
        labels: (i, j, k) uint8 on the scan's grid, in the values of `structures`.
        affine: (4, 4) float64, voxel to mm in RAS+.
        structures: What the values stand for.
        settings: Model, folds, mode and so on.
        disagreement: Structure's key -> mean over pairs of folds of 1 - Dice; None where it was not asked for.
        training: Of the model, for flags of scans unlike those of its training.
    """

    case: str
    image: Volume = field(repr=False)
    labels: np.ndarray = field(repr=False)
    affine: np.ndarray = field(repr=False)
    structures: tuple[Structure, ...] = PARASPINAL
    settings: dict[str, Any] = field(default_factory=dict)
    disagreement: dict[str, float] | None = None
    training: dict[str, Any] = field(default_factory=dict, repr=False)

    def save(self, path: Path | str) -> Path:
        """Write the labels as NIfTI, or as a segmentation for 3D Slicer, whole or not at all.

        Args:
            path: Ends in .nii, .nii.gz or .seg.nrrd.

        Raises:
            InputError: Another ending.
        """
        path = Path(path)
        if path.name.lower().endswith(SLICER_ENDING):
            return write_segmentation_nrrd(path, Volume(self.labels, self.affine), self.structures)
        if not ending_of(path.name, NIFTI_ENDINGS):
            endings = " or ".join((*NIFTI_ENDINGS, SLICER_ENDING))
            raise InputError(f"{path}: masks are NIfTI or segmentations; give a name that ends in {endings}")
        with atomic_path(path) as temporary:
            write_labels(temporary, self.labels, self.affine)
        return path

    def measures(self, **options: Any) -> "CaseMeasures":
        """Sizes, fat, asymmetry and flags; see `measures.case.measure` for the options and what can go wrong."""
        from paraspinal_nnunet.measures.case import measure
        from paraspinal_nnunet.measures.quality import TrainingDescription

        given = {
            "case": self.case,
            "muscles": tuple(dict.fromkeys(s.muscle for s in self.structures)),
            "training": TrainingDescription.from_entry(self.training),
            "disagreement": self.disagreement,
        }
        return measure(self.image, Volume(self.labels, self.affine), **{**given, **options})


def segment(
    image: ImageLike,
    model: "Path | str | PortableModel" = DEFAULT_NAME,
    *,
    then: Path | str | None = None,
    mode: str = "tiles",
    post: Sequence[str] = (),
    folds: Sequence[str] | None = None,
    step_size: float = 0.5,
    mirroring: bool = True,
    device: str | None = None,
    runtime: str = "auto",
    threads: int | None = None,
    uncertainty: bool = False,
    case: str | None = None,
    timeout: float | None = None,
) -> SegmentationResult:
    """Segment one scan.

    For many scans open a portable model once with `inference.portable.open_model` and give that; folds, device,
    runtime and threads are then the opened model's.

    Args:
        image: See `ImageLike`.
        model: A portable model, nnU-Net's model folder, an exported model (folder or archive), or an opened portable
            model; ``'default'`` is the model that comes with the program, trained on computed scans only.
        then: A second model, trained inside boxes around some muscles, that looks again where the first finds these;
            not with an opened model.
        mode: Portable models: ``'tiles'`` gives nnU-Net's labels, ``'fast'`` lays fewer tiles.
        post: Clean-ups by name, in this order: ``'largest-component'``, ``'fill-holes'``, ``'closing'``.
        folds: Folds to average; all when None.
        step_size: Step between tiles as a share of the patch.
        mirroring: Average over mirrored images where the model was trained so.
        device: ``'cuda'``, ``'cpu'``, ``'mps'`` or None for the best there is.
        runtime: Portable models: ``'auto'``, ``'onnxruntime'`` or ``'openvino'``.
        threads: Portable models: processor threads; all when None.
        uncertainty: Portable models of several folds: tell how far the folds disagree.
        case: The case's name; None takes the file's.
        timeout: Seconds that the network may take; no limit when None.

    Raises:
        InputError: An image or model that cannot be used; see `image_io.nifti` and `portable.open_model`.
        GeometryError: An image whose left and right, or voxel size, is unknown.
        ProtocolError: An unknown clean-up.
        SetupError: nnU-Net, or the runtime of portable models, is missing.
    """
    options = PredictionOptions(
        folds=folds,
        device=device,
        step_size=step_size,
        mirroring=mirroring,
        mode=mode,
        runtime=runtime,
        threads=threads,
        post=tuple(post),
        uncertainty=uncertainty,
        timeout=timeout,
    )
    options.check()
    volume, name = _volume(image)
    check_axial(volume.affine, volume.shape, name)
    check_is_scan(volume, name)
    if isinstance(model, PortableModel):
        if (folds, device, runtime, threads, then) != (None, None, "auto", None, None):
            raise InputError("folds, device, runtime, threads and a second model are chosen where the model is opened")
        about, ready = describe_manifest(model.manifest), PortableSegmenter(model, options)
        refuse_boxed(about, model.path)
        made, settings = ready.segment(volume), ready.settings
    else:
        path = resolve_model(model)
        second = None if then is None else Path(then)
        about = describe_models(path, second)
        with opened_models(path, second, options) as segmenter:
            made, settings = segmenter.segment(volume), segmenter.settings
    return SegmentationResult(
        case=case or name,
        image=volume,
        labels=postprocess(made.labels, post, volume.spacing_mm),
        affine=volume.affine,
        structures=about.structures or (),
        settings={"model": about.name, **settings, "post": list(post)},
        disagreement=made.disagreement,
        training=dict(about.training),
    )


def _volume(image: ImageLike) -> tuple[Volume, str]:
    if isinstance(image, str | Path):
        return read_image(Path(image)), stem_of(Path(image).name)
    from paraspinal_nnunet.measures.inputs import as_input

    return as_input(image, "image").volume, "case"
