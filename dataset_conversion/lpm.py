"""The LPM_Segmentator release: Dixon water and fat images of the MyoSegmenTUM subjects, four labels.

Source: Zhang et al., Radiology: Artificial Intelligence 2025, doi 10.1148/ryai.240833; images from Burian et al., BMC
Musculoskeletal Disorders 2019, doi 10.1186/s12891-019-2528-x.
"""

import argparse
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.dataset_conversion.cases import Found, Source
from paraspinal_nnunet.dataset_conversion.labels import from_scheme
from paraspinal_nnunet.dataset_conversion.patterns import pair_up, walk
from paraspinal_nnunet.dataset_conversion.sources import given_texts
from paraspinal_nnunet.errors import InputError

HELP = "the LPM_Segmentator release (multifidus and erector spinae)"
LAYOUT = "TUM01_fat_img_img_L2-L5.nii.gz + TUM01_fat_manual_label_segmentation_L2-L5.nii.gz"
DEFAULT_NAME = "LPM"

LICENCE = "labels Apache-2.0 (LPM_Segmentator); images: terms of the MyoSegmenTUM spine database"
REFERENCE = "doi 10.1148/ryai.240833 (labels); doi 10.1186/s12891-019-2528-x (images)"

_STEM = r"(?P<subject>[^/_]+)_(?P<contrast>water|fat)"
_LEVELS = r"(?:_L\d-L\d)?"
IMAGE = re.compile(rf"(?:.*/)?{_STEM}_img_img{_LEVELS}\.nii\.gz")
LABEL = re.compile(
    rf"(?:.*/)?{_STEM}_(?:manual_label_segmentation{_LEVELS}|img_img{_LEVELS}_nnunet_to_seg-segmentation-label)\.nii\.gz"
)
"""The release names its manual labels in two ways."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing of its own."""


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    return lpm_source(**given_texts(args))


def lpm_source(*, licence: str = LICENCE, reference: str = REFERENCE) -> Source:
    """Declare the release; water and fat images become cases of one subject, each with its own label."""
    labels = from_scheme(LABEL_SCHEMES["lpm"])
    return Source("lpm", labels, _find, channels=("Dixon",), licence=licence, reference=reference)


def _find(folder: Path) -> Found:
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
    found = pair_up(images, labels, {})
    cases = tuple(replace(c, subject=c.case.rpartition("_")[0]) for c in found.cases)
    return replace(found, cases=cases, other_files=others)
