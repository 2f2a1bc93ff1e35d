"""The MyoSegmenTUM spine database: Dixon images as multi-frame DICOM, one MetaImage mask per muscle group.

Its erector spinae includes multifidus. With the labels of the LPM_Segmentator release, which redraws both in the same
subjects, it yields all six classes of the paper. Source: Burian et al., BMC Musculoskeletal Disorders 2019, doi
10.1186/s12891-019-2528-x.
"""

import argparse
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import get_args

from paraspinal_nnunet.anatomy import PARASPINAL, Muscle, Side
from paraspinal_nnunet.dataset_conversion.case import Case, Found, Refusal, Source
from paraspinal_nnunet.dataset_conversion.labels.masks import Masks, mask_labels
from paraspinal_nnunet.dataset_conversion.sources import given_texts
from paraspinal_nnunet.dataset_conversion.sources.lpm import LICENCE as LPM_LICENCE
from paraspinal_nnunet.dataset_conversion.sources.lpm import Dixon, lpm_source
from paraspinal_nnunet.dataset_conversion.sources.myosegmentum_volumes import (
    MyoCase,
    read_dixon,
    read_drawn,
    read_merged,
)
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import with_small_ending

HELP = "the MyoSegmenTUM spine database, alone (four classes) or with LPM's labels (six)"
LAYOUT = "NN/[NN/]muscle/{WATER,FAT}.dcm + {erector_spinae,psoas}_{left,right}_NN.mha [+ --lpm FOLDER]"
DEFAULT_NAME = "MyoSegmenTUM"

LICENCE = "terms of the MyoSegmenTUM spine database, https://osf.io/3j54b"
REFERENCE = "doi 10.1186/s12891-019-2528-x"
LPM_REFERENCE = "doi 10.1186/s12891-019-2528-x (images, psoas); doi 10.1148/ryai.240833 (multifidus, erector spinae)"

CONTRASTS = ("fat", "water")
FOLDER = "muscle"

_NAMES = {"erector_spinae": Muscle.ERECTOR_SPINAE_AND_MULTIFIDUS, "psoas": Muscle.PSOAS_MAJOR}
KEYS = {f"{name}_{side.value}": f"{muscle.value}_{side.value}" for name, muscle in _NAMES.items() for side in Side}
"""Stem of a mask file -> canonical key."""

_NUMBER = re.compile(r"\d+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--dixon",
        choices=get_args(Dixon),
        default="cases",
        help="take fat and water images as two cases of a subject, or as the two channels of one (default: cases)",
    )
    parser.add_argument(
        "--lpm",
        type=Path,
        metavar="DIR",
        help="the LPM_Segmentator release: its multifidus and erector spinae, with psoas major from here, make six "
        "classes; images are cut to its slices",
    )


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    return myosegmentum_source(dixon=args.dixon, lpm=args.lpm, resample=args.resample_labels, **given_texts(args))


def myosegmentum_source(
    *, dixon: Dixon = "cases", lpm: Path | None = None, resample: bool = False, licence: str = "", reference: str = ""
) -> Source:
    """Declare the database.

    Args:
        dixon: Fat and water images as two cases of one subject, or as the channels of one case.
        lpm: The LPM_Segmentator release, whose labels of multifidus and erector spinae are used; None for the
            database alone.
        resample: Where LPM's image is no cut-out of the database's, resample its labels by the headers.
        licence: Of the data; '' for the database's own.
        reference: To the data; '' for the papers'.
    """
    keys = [s.key for s in PARASPINAL] if lpm else KEYS.values()
    settings = {"dixon": dixon, "erector_spinae": "without multifidus (LPM)" if lpm else "with multifidus"}
    if lpm:
        settings["psoas_major"] = "MyoSegmenTUM"
    return Source(
        "myosegmentum",
        mask_labels("myosegmentum with lpm" if lpm else "myosegmentum", keys),
        partial(_find, dixon=dixon, lpm=lpm),
        channels=("Dixon",) if dixon == "cases" else tuple(f"Dixon {contrast}" for contrast in CONTRASTS),
        read_images=partial(read_dixon, resample=resample),
        read_labels=partial(read_merged, resample=resample) if lpm else read_drawn,
        licence=licence or (LPM_LICENCE if lpm else LICENCE),
        reference=reference or (LPM_REFERENCE if lpm else REFERENCE),
        settings=settings,
    )


def _find(folder: Path, *, dixon: Dixon, lpm: Path | None) -> Found:
    cases: list[Case] = []
    refusals: list[Refusal] = []
    groups: list[tuple[str, ...]] = [CONTRASTS] if dixon == "channels" else [(c,) for c in CONTRASTS]
    labelled = _lpm_cases(lpm) if lpm else {}
    for muscle in _muscle_folders(folder):
        number = _subject_number(muscle)
        subject = f"TUM{number}"
        for group in groups:
            case = subject if dixon == "channels" else f"{subject}_{group[0]}"
            try:
                cases.append(_case(case, subject, muscle, number, group, labelled if lpm else None))
            except InputError as error:
                refusals.append(Refusal(case, str(error), (muscle,)))
    ids = [c.case for c in cases]
    twice = sorted({case for case in ids if ids.count(case) > 1})
    if twice:
        raise InputError(f"{folder}: holds subject {twice[0]} twice; keep one copy")
    left = sorted(set(labelled) - {f"{c.subject}_{contrast}" for c in cases for contrast in CONTRASTS})
    notes = [_merge_note() if lpm else "erector spinae includes multifidus; --lpm tells them apart"]
    if left:
        notes.append(f"LPM labels {', '.join(left)}, which are not here")
    return Found(tuple(sorted(cases, key=lambda c: c.case)), tuple(refusals), notes=tuple(notes))


def _merge_note() -> str:
    return "multifidus and erector spinae are LPM's, psoas major MyoSegmenTUM's; images are cut to LPM's slices"


def _lpm_cases(folder: Path) -> dict[str, Case]:
    """LPM's complete cases by id, e.g. ``'TUM01_water'``."""
    return {case.case: case for case in lpm_source().find_cases(folder).cases}


def _muscle_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = sorted(p for p in folder.rglob(FOLDER) if p.is_dir() and "__MACOSX" not in p.parts)
    if not found:
        zips = "; unpack its zip archives first" if any(folder.glob("*.zip")) else ""
        raise InputError(f"{folder}: holds no folder NN/{FOLDER}{zips}")
    return found


def _subject_number(muscle: Path) -> str:
    number = muscle.parent.name
    if not _NUMBER.fullmatch(number):
        raise InputError(f"{muscle}: lies in no folder whose name is a subject's number")
    return f"{int(number):02d}"


def _case(
    case: str, subject: str, muscle: Path, number: str, contrasts: tuple[str, ...], lpm: Mapping[str, Case] | None
) -> MyoCase:
    images = tuple(_image(muscle, contrast) for contrast in contrasts)
    masks = _masks(muscle, number)
    if lpm is None:
        return MyoCase(case, subject, images, muscle, masks={muscle: masks})
    name = f"{subject}_{contrasts[0]}"
    if name not in lpm:
        raise InputError(f"{muscle}: LPM has no image and label of {name}; --exclude {case} leaves it out")
    label = lpm[name].label
    return MyoCase(case, subject, images, label, masks={muscle: masks}, cut=lpm[name].image)


def _image(muscle: Path, contrast: str) -> Path:
    """A multi-frame file, or a folder of slices."""
    for name in (f"{contrast.upper()}.dcm", contrast.upper()):
        if found := next((p for p in sorted(muscle.iterdir()) if with_small_ending(p.name, (".dcm",)) == name), None):
            return found
    raise InputError(f"{muscle}: holds no {contrast.upper()}.dcm")


def _masks(muscle: Path, number: str) -> Masks:
    found = []
    for stem, key in KEYS.items():
        files = [
            f for f in sorted(muscle.glob(f"{stem}_*")) if re.fullmatch(rf"{stem}_0*{int(number)}(?i:\.mha)", f.name)
        ]
        if len(files) != 1:
            raise InputError(f"{muscle}: holds {len(files)} files {stem}_{number}.mha; one is needed")
        found.append((key, files[0]))
    return found
