"""The LPM_Segmentator release: Dixon water and fat images of the MyoSegmenTUM subjects, four labels.

Source: Zhang et al., Radiology: Artificial Intelligence 2025, doi 10.1148/ryai.240833; images from Burian et al., BMC
Musculoskeletal Disorders 2019, doi 10.1186/s12891-019-2528-x.
"""

import argparse
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.dataset_conversion.case import Case, Found, Source, read_case_images
from paraspinal_nnunet.dataset_conversion.labels.translation import from_scheme
from paraspinal_nnunet.dataset_conversion.patterns.pairing import pair_up, walk, with_channel
from paraspinal_nnunet.dataset_conversion.sources import given_texts
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.geometry import grid_difference
from paraspinal_nnunet.image_io.volume import Volume

HELP = "the LPM_Segmentator release (multifidus and erector spinae)"
LAYOUT = "TUM01_fat_img_img_L2-L5.nii.gz + TUM01_fat_manual_label_segmentation_L2-L5.nii.gz"
DEFAULT_NAME = "LPM"

LICENCE = "labels Apache-2.0 (LPM_Segmentator); images: terms of the MyoSegmenTUM spine database"
REFERENCE = "doi 10.1148/ryai.240833 (labels); doi 10.1186/s12891-019-2528-x (images)"

Dixon = Literal["cases", "channels"]

CHANNELS = ("fat", "water")
"""The order of the channels; the fat images have kept their place in the scanner."""

_STEM = r"(?P<subject>[^/_]+)_(?P<contrast>water|fat)"
_LEVELS = r"(?:_L\d-L\d)?"
IMAGE = re.compile(rf"(?:.*/)?{_STEM}_img_img{_LEVELS}(?i:\.nii\.gz)")
LABEL = re.compile(
    rf"(?:.*/)?{_STEM}_(?:manual_label_segmentation{_LEVELS}|img_img{_LEVELS}_nnunet_to_seg-segmentation-label)(?i:\.nii\.gz)"
)
"""The release names its manual labels in two ways."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flag."""
    parser.add_argument(
        "--dixon",
        choices=get_args(Dixon),
        default="cases",
        help="take fat and water images as two cases of a subject, or as the two channels of one, with the fat image's "
        "labels (default: cases)",
    )


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    return lpm_source(dixon=args.dixon, **given_texts(args))


def lpm_source(*, dixon: Dixon = "cases", licence: str = LICENCE, reference: str = REFERENCE) -> Source:
    """Declare the release.

    Args:
        dixon: ``'cases'``: fat and water images become cases of one subject, each with its own label. ``'channels'``:
            they become two channels of one case on the fat image's grid, with its label; see `read_dixon`.
        licence: Of the data.
        reference: To the data.
    """
    labels = from_scheme(LABEL_SCHEMES["lpm"])
    source = Source("lpm", labels, _find_cases, channels=("Dixon",), licence=licence, reference=reference)
    if dixon == "cases":
        return source
    return replace(
        source,
        find_cases=_find_channels,
        channels=tuple(f"Dixon {contrast}" for contrast in CHANNELS),
        read_images=read_dixon,
        settings={"dixon": dixon},
    )


def read_dixon(case: Case) -> tuple[Volume, ...]:
    """Fat and water image, of which the release leaves the second one's origin at zero.

    Both come from one acquisition: where shape, voxel size and direction agree and only the water image's origin is
    lost, it takes the fat image's grid. In subject TUM01 the two label maps are then the same in every voxel.
    """
    fat, water = read_case_images(case)
    lost = water.shape == fat.shape and not water.affine[:3, 3].any()
    moved = np.column_stack([water.affine[:, :3], fat.affine[:, 3]])
    if lost and grid_difference(water.shape, moved, fat.shape, fat.affine) is None:
        return fat, Volume(water.array, fat.affine)
    return fat, water


def _find_channels(folder: Path) -> Found:
    """Water images join the fat image of their subject, with whose label the case goes."""
    images, labels, others = _files(folder)
    fat, water = ({k[: -len(c) - 1]: v for k, v in images.items() if k.endswith(c)} for c in CHANNELS)
    fat_labels = {k.removesuffix("_fat"): v for k, v in labels.items() if k.endswith("_fat")}
    unused = sum(len(v) for k, v in labels.items() if k.endswith("_water"))
    found = with_channel(pair_up(fat, fat_labels, {}), water, "water image")
    notes = (f"the fat images' labels are used, not those of the water images ({unused})",) if unused else ()
    return replace(found, other_files=others, notes=notes)


def _find_cases(folder: Path) -> Found:
    images, labels, others = _files(folder)
    found = pair_up(images, labels, {})
    cases = tuple(replace(c, subject=c.case.rpartition("_")[0]) for c in found.cases)
    return replace(found, cases=cases, other_files=others)


def _files(folder: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]], int]:
    """Images and labels by subject and contrast, and the number of other files."""
    images: dict[str, list[Path]] = defaultdict(list)
    labels: dict[str, list[Path]] = defaultdict(list)
    others = 0
    for relative in walk(folder):
        for regex, files in ((IMAGE, images), (LABEL, labels)):
            if match := regex.fullmatch(relative):
                files[f"{match['subject']}_{match['contrast']}"].append(folder / relative)
                break
        else:
            others += 1
    if not images:
        raise InputError(f"{folder}: no file is named like TUM01_water_img_img_L2-L5.nii.gz")
    return images, labels, others
