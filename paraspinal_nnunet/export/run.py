"""Trained models made ready to travel: slim, safe to load, described by a manifest, without names of cases."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import DatasetError, InputError, SetupError
from paraspinal_nnunet.export.training_statistics import muscle_intensity
from paraspinal_nnunet.image_io.masks.boxes import ENTRY as BOX
from paraspinal_nnunet.models.description import manifest_content, training_spacing_mm
from paraspinal_nnunet.models.manifest import FILE_NAME, Manifest, file_entries, label_entries, write_manifest
from paraspinal_nnunet.models.trained import TrainedModel, read_trained_model
from paraspinal_nnunet.nnunet.compat import check_nnunet, installed
from paraspinal_nnunet.nnunet.datasets import find_dataset, read_cases
from paraspinal_nnunet.protocol.paper import DOI, PAPER
from paraspinal_nnunet.utils.files import atomic_folder, refuse_overwriting_inputs
from paraspinal_nnunet.utils.workplace import sweep, workplace
from paraspinal_nnunet.utils.zip import write_zip

EXPORTERS = {"nnunet": "paraspinal_nnunet.export.to_nnunet", "onnx": "paraspinal_nnunet.export.to_onnx"}
"""Format -> module with `export_files(model, plans_name, folder)`, which writes all files but the manifest."""

ORIENTATION_OF_READER = {"NibabelIOWithReorient": "RAS"}
RECORDED_PACKAGES = ("nnunetv2", "torch", "monai", "numpy", "onnx")
INTENSITY_KEYS = ("mean", "std", "percentile_00_5", "percentile_99_5")
"""What nnU-Net's normalisation schemes read of the training set's intensities."""

CITE_PAPER = f"Wesselink et al., Sci Rep 2022;12:13485, doi:{DOI}"
CITE_NNUNET = "Isensee et al., Nat Methods 2021;18:203-211, doi:10.1038/s41592-020-01008-z"
NO_LICENCE = "not stated"


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    Attributes:
        model: nnU-Net's model folder.
        output: A folder, or a name that ends in .zip.
        folds: Folds to export; all trained ones when None.
        format: A key of `EXPORTERS`.
        licence: Under which the model may be used.
        citation: What to cite beside the method.
        overwrite: Replace what is there.
    """

    model: Path
    output: Path
    folds: Sequence[str] | None = None
    format: str = "nnunet"
    licence: str = NO_LICENCE
    citation: Sequence[str] = ()
    overwrite: bool = False

    @property
    def zipped(self) -> bool:
        """Whether to write a zip archive."""
        return self.output.suffix == ".zip"


def export(request: ExportRequest) -> Path:
    """Export a trained model.

    Returns:
        The folder or archive.

    Raises:
        InputError: No such model, folds that do not belong together, a network that only its trainer can build, or an
            output that is there already.
        SetupError: nnU-Net is missing.
    """
    check_nnunet()
    refuse_overwriting_inputs([], [request.output], trees=[request.model], replaced=[request.output])
    sweep(request.output.parent)
    if request.output.exists() and not (request.overwrite and _is_model(request.output, zipped=request.zipped)):
        raise InputError(f"{request.output}: is there already; choose another name, or --overwrite an exported model")
    model = read_trained_model(request.model, request.folds)
    if not request.zipped:
        with atomic_folder(request.output, overwrite=request.overwrite) as folder:
            _fill(folder, model, request)
        return request.output
    request.output.parent.mkdir(parents=True, exist_ok=True)
    with workplace(request.output.parent) as place:
        folder = place / "model"
        folder.mkdir()
        _fill(folder, model, request)
        write_zip(folder, request.output)
    return request.output


def _is_model(output: Path, *, zipped: bool) -> bool:
    """Whether what stands there may give way: an exported model of the same kind, or an empty folder."""
    if output.is_dir():
        return not zipped and ((output / FILE_NAME).is_file() or not any(output.iterdir()))
    try:
        return zipped and manifest_content(output) is not None
    except InputError:
        return False


def exported_plans_name(model: TrainedModel) -> str:
    """Plans and trainer in one name: exported models of two trainers must not meet in one folder of nnU-Net's."""
    return f"{model.plans['plans_name']}-{model.trainer}"


def _fill(folder: Path, model: TrainedModel, request: ExportRequest) -> None:
    name = exported_plans_name(model)
    importlib.import_module(EXPORTERS[request.format]).export_files(model, name, folder)
    own = [CITE_PAPER, CITE_NNUNET] if model.settings else [CITE_NNUNET]
    manifest = Manifest(
        format=request.format,
        dataset_name=model.plans["dataset_name"],
        trainer=model.trainer,
        plans_name=name,
        configuration=model.configuration,
        folds=tuple(model.weights),
        mirroring_axes=model.mirroring_axes,
        labels=label_entries(model.dataset_json["labels"]),
        protocol=tuple(model.settings) if model.settings else None,
        preprocessing=preprocessing_entry(model),
        training=_training_entry(model),
        versions={"training": model.versions, "export": _versions()},
        created=date.today().isoformat(),
        licence=request.licence,
        citation=(*request.citation, *own),
        files=file_entries(folder),
    )
    write_manifest(folder, manifest)


def preprocessing_entry(model: TrainedModel) -> dict[str, Any]:
    """From scan to network and back, in words and numbers; arrays are (z, y, x)."""
    from paraspinal_nnunet.export.to_nnunet import size_multiple

    configuration = model.resolved_configuration()
    resampling = configuration["resampling_fn_data_kwargs"]
    reader = model.plans["image_reader_writer"]
    intensities = model.plans["foreground_intensity_properties_per_channel"]
    return {
        "orientation": ORIENTATION_OF_READER.get(reader, "as stored"),
        "image_reader_writer": reader,
        "spacing_mm": configuration["spacing"],
        "normalization": configuration["normalization_schemes"],
        "normalization_nonzero_voxels_only": configuration["use_mask_for_norm"],
        "interpolation_order": resampling["order"],
        "interpolation_order_z": resampling["order_z"],
        "patch_size": configuration["patch_size"],
        "step_size": PAPER.inference.step_size,
        "size_multiple": size_multiple(model),
        "channels": len(model.dataset_json["channel_names"]),
        "intensities": [{k: intensities[c][k] for k in INTENSITY_KEYS if k in intensities[c]} for c in intensities],
        "transpose_forward": list(model.plans["transpose_forward"]),
        "transpose_backward": list(model.plans["transpose_backward"]),
        "preprocessor": configuration["preprocessor_name"],
        "resampling_data": {"name": configuration["resampling_fn_data"], **resampling},
        "resampling_probabilities": {
            "name": configuration["resampling_fn_probabilities"],
            **configuration["resampling_fn_probabilities_kwargs"],
        },
        **({BOX: model.dataset_json[BOX]} if BOX in model.dataset_json else {}),
    }


def _training_entry(model: TrainedModel) -> dict[str, Any]:
    """What the model was trained on, without a word of single cases."""
    cases = model.dataset_json.get("numTraining")
    return {
        "cases": cases,
        "subjects": _subject_count(model),
        "spacing_mm": training_spacing_mm(model.folder),
        "muscle_intensity": muscle_intensity(model.plans["dataset_name"], cases),
    }


def _subject_count(model: TrainedModel) -> int | None:
    """Subjects in the raw data set, where it is at hand and still has as many cases as were trained on."""
    try:
        cases = read_cases(find_dataset(model.plans["dataset_name"]))
    except (SetupError, DatasetError):
        return None
    return int(cases["subject"].nunique()) if len(cases) == model.dataset_json.get("numTraining") else None


def _versions() -> dict[str, str | None]:
    return {"paraspinal-nnunet": __version__, **{name: installed(name) for name in RECORDED_PACKAGES}}
