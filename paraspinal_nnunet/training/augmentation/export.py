"""A fold's augmented images as files: what `paraspinal augment` writes."""

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import DatasetError, ProtocolError
from paraspinal_nnunet.image_io.nifti import write_image, write_labels
from paraspinal_nnunet.nnunet.datasets import find_dataset, nnunet_folder, read_dataset_json
from paraspinal_nnunet.nnunet.preprocessed import check_complete
from paraspinal_nnunet.nnunet.splits import FILE_NAME, read_splits
from paraspinal_nnunet.protocol.overrides import override
from paraspinal_nnunet.protocol.paper import PAPER, Protocol
from paraspinal_nnunet.protocol.plans import DEFAULT_NAME, PlansEntry, resolve
from paraspinal_nnunet.training.augmentation.crops import AugmentedCropReader, augmented_reader
from paraspinal_nnunet.training.augmentation.transform import ImageTransform
from paraspinal_nnunet.training.sampling import FOLD_ALL
from paraspinal_nnunet.utils.files import atomic_path, write_json, write_text
from paraspinal_nnunet.utils.workers import each

log = logging.getLogger(__name__)

SETTINGS_FILE = "augmented.json"
MANIFEST_FILE = "augmented.tsv"
SECTION = "augmentation."
"""What the keys of the settings that may be changed here begin with."""


@dataclass(frozen=True)
class AugmentRequest:
    """What to write.

    Attributes:
        dataset: Number or name.
        fold: A fold of splits_final.json, or ``'all'``.
        output: Folder to write to.
        plans_name: Name of the plans file.
        configuration: Whose preprocessed cases to deform.
        count: How many images, from the first one; None for the whole pool.
        processes: Worker processes.
        overrides: Protocol key -> value, of the section augmentation only.
    """

    dataset: str | int
    fold: int | str
    output: Path
    plans_name: str = DEFAULT_NAME
    configuration: str = "2d"
    count: int | None = None
    processes: int = 2
    overrides: Mapping[str, Any] = field(default_factory=dict)


def augment(request: AugmentRequest) -> Path:
    """Write augmented images, their labels, a manifest and the settings; what is there already is not made again.

    Images are float32 as preprocessed, at the plans' spacing, RAS with the first voxel at the origin.

    Returns:
        The manifest.

    Raises:
        SetupError: nnUNet_preprocessed is missing.
        DatasetError: No such data set, plans, configuration, fold or preprocessed cases.
        ProtocolError: Settings that cannot be, or a folder that holds images of other settings.
    """
    preprocessed = find_dataset(request.dataset, raw=nnunet_folder("preprocessed"))
    plans = _read_plans(preprocessed, request)
    protocol = _protocol(plans, request)
    folder = preprocessed / plans["configurations"][request.configuration]["data_identifier"]
    check_complete(folder)
    cases = _training_cases(preprocessed, folder, request.fold)
    reader = augmented_reader(
        protocol,
        request.configuration,
        folder=folder,
        cases=cases,
        fold=FOLD_ALL if request.fold == "all" else int(request.fold),
        labels=_labels(preprocessed),
    )
    ids = _wanted(reader.pool.ids, request.count)
    _write_settings(request, preprocessed.name, protocol, cases)
    write_text(request.output / MANIFEST_FILE, _manifest([reader.pool.image(i) for i in ids], reader))
    missing = [i for i in ids if not _is_written(request.output, i)]
    if len(missing) < len(ids):
        log.info("%d of %d images are there already", len(ids) - len(missing), len(ids))
    write = partial(_write_one, reader, request.output)
    for _ in each(write, missing, workers=request.processes, what="augmenting", unit="image"):
        pass
    return request.output / MANIFEST_FILE


def _write_one(reader: AugmentedCropReader, output: Path, image_id: str) -> None:
    write_augmented(reader, image_id, output)


def write_augmented(reader: AugmentedCropReader, image_id: str, output: Path) -> None:
    """Write one image of a pool: one file per channel, and the labels last."""
    image = reader.open_image(image_id)
    slices = [image.read((z, 0, 0), (1, *image.shape[1:])) for z in range(image.shape[0])]
    channels = np.concatenate([voxels for voxels, _ in slices], axis=1)
    labels = np.concatenate([values for _, values in slices])
    affine = np.diag([*reader.spacing_mm[::-1], 1.0])
    for number, channel in enumerate(channels):
        with atomic_path(_image_path(output, image_id, number)) as temporary:
            write_image(temporary, channel.transpose(2, 1, 0), affine)
    with atomic_path(_label_path(output, image_id)) as temporary:
        write_labels(temporary, labels.transpose(2, 1, 0), affine)


def _read_plans(preprocessed: Path, request: AugmentRequest) -> dict[str, Any]:
    path = preprocessed / f"{request.plans_name}.json"
    if not path.is_file():
        raise DatasetError(f"{path}: no such plans; run 'paraspinal plan' or name others with -p")
    plans: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if PlansEntry.of(plans) is None:
        raise DatasetError(f"{path}: was not written by 'paraspinal plan'; name the paper's plans, -p {DEFAULT_NAME}")
    if request.configuration not in plans["configurations"]:
        raise DatasetError(
            f"{path}: has no configuration '{request.configuration}', only {', '.join(plans['configurations'])}"
        )
    return plans


def _protocol(plans: Mapping[str, Any], request: AugmentRequest) -> Protocol:
    foreign = [key for key in request.overrides if not key.startswith(SECTION)]
    if foreign:
        raise ProtocolError(f"--set {foreign[0]}: only settings that begin with '{SECTION}' can be changed here")
    arm = replace(PAPER, training=replace(PAPER.training, augmentation="paper"))
    return override(resolve(arm, plans, request.configuration), request.overrides)


def _training_cases(preprocessed: Path, folder: Path, fold: int | str) -> list[str]:
    if fold == "all":
        return sorted(p.name.removesuffix("_seg.b2nd") for p in folder.glob("*_seg.b2nd"))
    path = preprocessed / FILE_NAME
    if not path.is_file():
        raise DatasetError(f"{path} is missing; run 'paraspinal plan' (fewer subjects than folds: only fold 'all')")
    splits = read_splits(path)
    if not isinstance(fold, int) or not 0 <= fold < len(splits):
        raise DatasetError(f"{path}: has no fold {fold}; choose 0 to {len(splits) - 1} or 'all'")
    return sorted(splits[fold]["train"])


def _labels(preprocessed: Path) -> dict[str, int]:
    labels = read_dataset_json(preprocessed)["labels"]
    if any(isinstance(value, list) for value in labels.values()):
        raise DatasetError(f"{preprocessed / 'dataset.json'}: labels are regions; the paper's augmentation has none")
    return {str(name): int(value) for name, value in labels.items()}


def _wanted(ids: Sequence[str], count: int | None) -> Sequence[str]:
    if count is None:
        return ids
    if not 1 <= count <= len(ids):
        raise ProtocolError(f"--count {count}: the pool has 1 to {len(ids)} images; --set augmentation.pool={count}")
    return ids[:count]


def _write_settings(request: AugmentRequest, dataset: str, protocol: Protocol, cases: Sequence[str]) -> None:
    """Say what the images are; refuse a folder with others, which would be mistaken for these."""
    content = {
        "dataset": dataset,
        "fold": request.fold,
        "plans": request.plans_name,
        "configuration": request.configuration,
        "seed": protocol.training.seed,
        "spacing_mm": list(protocol.preprocessing.spacing),
        "augmentation": json.loads(json.dumps(asdict(protocol.augmentation))),
        "cases": list(cases),
    }
    path = request.output / SETTINGS_FILE
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        other = [key for key, value in content.items() if before.get(key) != value]
        if other:
            raise ProtocolError(f"{request.output}: holds images of another {', '.join(other)}; choose another folder")
        return
    if request.output.is_dir() and any(request.output.iterdir()):
        raise ProtocolError(f"{request.output}: is not empty and holds no {SETTINGS_FILE}; choose another folder")
    write_json(path, {**content, "version": __version__})


def _manifest(images: Sequence[ImageTransform], reader: AugmentedCropReader) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    axes = "zyx"
    writer.writerow(
        [
            "image",
            "case",
            "flip",
            "labels_exchanged",
            *(f"rotation_{a}_deg" for a in axes),
            *(f"scaling_{a}" for a in axes),
            *(f"translation_{a}_voxels" for a in axes),
            "sigma_voxels",
            "magnitude_voxels",
            "space",
        ]
    )
    for t in images:
        numbers = (*t.rotation_deg, *t.scaling, *t.translation_voxels, t.sigma, t.magnitude)
        exchanged = t.flip and reader.table is not None
        writer.writerow([t.image, t.case, int(t.flip), int(exchanged), *(f"{n:.6g}" for n in numbers), t.space])
    return text.getvalue()


def _is_written(output: Path, image_id: str) -> bool:
    return _label_path(output, image_id).is_file() and _image_path(output, image_id, 0).is_file()


def _image_path(output: Path, image_id: str, channel: int) -> Path:
    return output / "images" / f"{image_id}_{channel:04d}.nii.gz"


def _label_path(output: Path, image_id: str) -> Path:
    return output / "labels" / f"{image_id}.nii.gz"
