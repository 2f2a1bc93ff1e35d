"""A data set of boxes around some muscles of another one's cases, found by a first model that never saw the case.

Each case of an nnU-Net raw data set is cut out around these muscles in the mask that a trained model's validation wrote
of it, so that a second model is trained on boxes as wrong as those of new scans. Folds stay as they were.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from paraspinal_nnunet.anatomy import BY_KEY, Muscle
from paraspinal_nnunet.dataset_conversion.case import Case, Demographics, Found, Refusal, Source
from paraspinal_nnunet.dataset_conversion.labels.translation import LabelTranslation
from paraspinal_nnunet.dataset_conversion.sources import given_texts
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError
from paraspinal_nnunet.image_io.geometry import grid_difference
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.image_io.masks.boxes import MARGIN_MM, MOST_MARGIN_MM, MuscleBox, Slices, cut_out
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.nnunet.datasets import SECOND_LABELS, read_cases, read_dataset_json

HELP = "boxes around some muscles of an nnU-Net raw data set's cases, for a second model that looks there alone"
LAYOUT = "imagesTr/*.nii.gz + labelsTr/*.nii.gz [+ labels_rater2/*.nii.gz], and --masks with fold_*/validation/*.nii.gz"
DEFAULT_NAME = None
ENDING = ".nii.gz"


@dataclass(frozen=True)
class BoxedCase(Case):
    """A case with the first model's mask of it.

    Attributes:
        mask: In the data set's values, by a fold that did not train on the case.
    """

    mask: Path = Path()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--masks", type=Path, required=True, metavar="MODEL",
        help="nnU-Net's model folder, trained on this data set: the masks of its folds' own validation say where the "
        "boxes lie",
    )  # fmt: skip
    parser.add_argument(
        "--muscles", nargs="+", choices=[muscle.value for muscle in Muscle], default=[Muscle.MULTIFIDUS.value],
        metavar="MUSCLE", help="what the boxes lie around and the second model is trained on (default: multifidus)",
    )  # fmt: skip
    parser.add_argument(
        "--margin", type=_margin, default=MARGIN_MM, metavar="MM", help=f"on every side (default: {MARGIN_MM:g})"
    )


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    box = MuscleBox(tuple(Muscle(name) for name in dict.fromkeys(args.muscles)), args.margin)
    return boxes_source(args.input, args.masks, box, **given_texts(args))


def boxes_source(folder: Path, model: Path, box: MuscleBox, *, licence: str = "", reference: str = "") -> Source:
    """Declare boxes of a data set.

    Args:
        folder: The raw data set.
        model: nnU-Net's model folder.
        box: Around which muscles.
        licence: Of the data; the data set's own where none is given.
        reference: Likewise.

    Raises:
        DatasetError: No raw data set.
        InputError: No masks of a fold's validation.
        LabelError: Labels that the anatomy does not know, or without the box's muscles.
    """
    content = read_dataset_json(folder)
    labels = _labels(content.get("labels"), folder / "dataset.json", box)
    masks = _masks_by_fold(model)
    return Source(
        "boxes",
        labels,
        partial(_find, masks={case: path for case, (_, path) in masks.items()}, model=model),
        channels=tuple(content["channel_names"].values()),
        read_images=partial(_read_images, labels=labels, box=box),
        read_labels=partial(_read_labels, labels=labels, box=box),
        licence=licence or str(content.get("licence", "")),
        reference=reference or str(content.get("reference", "")),
        settings={"muscles": box.names, "margin_mm": f"{box.margin_mm:g}", "masks": model.resolve().name},
        box=box,
        folds={case: fold for case, (fold, _) in masks.items()},
    )


def _labels(labels: Any, path: Path, box: MuscleBox) -> LabelTranslation:
    values = {value: key for key, value in labels.items() if value != 0} if isinstance(labels, dict) else {}
    unknown = [key for key in values.values() if key not in BY_KEY]
    if unknown or not values or not all(type(value) is int for value in values):
        raise LabelError(f"{path}: has the label {unknown[0] if unknown else labels!r}, of which no boxes are made")
    own = {s.key for s in box.structures}
    kept = {value: key for value, key in values.items() if key in own}
    if not own <= set(values.values()):
        raise LabelError(f"{path}: has no {', '.join(sorted(own - set(values.values())))}; choose other --muscles")
    return LabelTranslation(path.parent.name, kept, {v: key for v, key in values.items() if v not in kept})


def _masks_by_fold(model: Path) -> dict[str, tuple[int, Path]]:
    """Case -> the fold that tests it, and its mask."""
    found: dict[str, tuple[int, Path]] = {}
    for path in sorted(model.glob(f"fold_[0-9]*/validation/*{ENDING}")):
        case, fold = path.name.removesuffix(ENDING), int(path.parts[-3].removeprefix("fold_"))
        if case in found:
            raise InputError(f"{path}: {found[case][1]} is a mask of {case}, too; a case is tested by one fold")
        found[case] = fold, path
    if not found:
        raise InputError(
            f"--masks {model}: holds no fold_*/validation/*{ENDING}; give the folder of a model that nnU-Net trained "
            "and validated, fold by fold"
        )
    return found


def _find(folder: Path, *, masks: dict[str, Path], model: Path) -> Found:
    table = read_cases(folder)
    cases: list[Case] = []
    refusals: list[Refusal] = []
    for row in table.itertuples():
        images = tuple(sorted((folder / "imagesTr").glob(f"{row.case}_[0-9][0-9][0-9][0-9]{ENDING}")))
        label, second = (folder / name / f"{row.case}{ENDING}" for name in ("labelsTr", SECOND_LABELS))
        mask = masks.get(str(row.case))
        if mask is None:
            reason = f"{label}: {model} has no validation mask of it; validate all folds, or leave it out by --exclude"
            refusals.append(Refusal(str(row.case), reason, (*images, label)))
            continue
        person = Demographics(str(row.sex), *(None if v != v else float(v) for v in (row.age, row.bmi)))  # NaN: unknown
        cases.append(
            BoxedCase(
                str(row.case), str(row.subject), images, label, second if second.is_file() else None, person, mask=mask
            )
        )
    return Found(tuple(cases), tuple(refusals), tables=tuple(p for p in folder.iterdir() if p.is_file()))


def _read_images(case: Case, *, labels: LabelTranslation, box: MuscleBox) -> tuple[Volume, ...]:
    volumes = tuple(read_image(path) for path in case.images)
    place = _place(case, volumes[0], labels, box)
    return tuple(cut_out(volume, place) for volume in volumes)


def _read_labels(case: Case, *, labels: LabelTranslation, box: MuscleBox) -> Volume:
    volume = read_labels(case.label)
    return cut_out(volume, _place(case, volume, labels, box))


def _place(case: Case, whole: Volume, labels: LabelTranslation, box: MuscleBox) -> Slices:
    if not isinstance(case, BoxedCase):
        raise TypeError(f"{case.case} was not found by this source")
    mask = read_labels(case.mask)
    difference = grid_difference(mask.shape, mask.affine, whole.shape, whole.affine)
    if difference:
        raise GeometryError(f"{case.mask}: is no mask of {case.image.name} ({difference}); validate the model again")
    place = box.around(labels.canonical(mask.array, str(case.mask)), whole.spacing_mm)
    if place is None:
        raise LabelError(f"{case.mask}: holds no {box.names}, so that no box lies around it; leave it out by --exclude")
    if min(part.stop - part.start for part in place) < 2:
        raise LabelError(f"{case.mask}: holds {box.names} in one layer of voxels only; give a larger --margin")
    return place


def _margin(text: str) -> float:
    number = float(text)
    if not 0 <= number <= MOST_MARGIN_MM:
        raise argparse.ArgumentTypeError(f"{text}: a margin lies between 0 and {MOST_MARGIN_MM:g} mm")
    return number
