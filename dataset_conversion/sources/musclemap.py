"""Masks of the MuscleMap toolbox: `image_dseg.nii.gz` beside `image.nii.gz`, in the codes of either of its models.

Source: McKay et al., Journal of Imaging 2024, doi 10.3390/jimaging10110262.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.dataset_conversion.case import Found, Source
from paraspinal_nnunet.dataset_conversion.labels.translation import LabelTranslation, from_entries
from paraspinal_nnunet.dataset_conversion.patterns.pairing import pair_up, walk
from paraspinal_nnunet.dataset_conversion.sources import given_texts
from paraspinal_nnunet.dataset_conversion.sources.musclemap_codes import OTHER_CODES
from paraspinal_nnunet.errors import InputError, LabelError, ParaspinalError
from paraspinal_nnunet.image_io.images import NIFTI_ENDINGS, ending_of, read_labels, with_small_ending
from paraspinal_nnunet.utils.progress import progress

HELP = "scans with MuscleMap's masks beside them"
LAYOUT = "NAME.nii.gz (or NAME_image.nii.gz) + NAME_dseg.nii.gz [+ participants.tsv]"
DEFAULT_NAME = "MuscleMap"

REFERENCE = "masks made with MuscleMap, doi 10.3390/jimaging10110262"

Codes = Literal["auto", "wholebody", "abdomen"]
CODES: tuple[Codes, ...] = ("auto", "wholebody", "abdomen")

_LABEL = re.compile(r"(?P<stem>.+)_dseg(?P<ending>(?i:\.nii(?:\.gz)?))")
_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")
_LOOKED_AT = 20
"""Maps that are read to tell the codes; each case is checked against them anyway."""


@dataclass(frozen=True)
class CodesFound:
    """Which codes the maps of a folder hold.

    Attributes:
        scheme: A name in `anatomy.LABEL_SCHEMES`.
        text: What was seen, for the report.
    """

    scheme: str
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--codes",
        choices=CODES,
        default="auto",
        help="wholebody: four-digit codes; abdomen: 1 to 8 of the earlier model; auto: as the values say (default)",
    )
    parser.add_argument("--quadratus", action="store_true", help="keep quadratus lumborum as a class")


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    return musclemap_source(args.input, codes=args.codes, quadratus=args.quadratus, **given_texts(args))


def musclemap_source(
    folder: Path, *, codes: Codes = "auto", quadratus: bool = False, licence: str = "", reference: str = REFERENCE
) -> Source:
    """Declare a folder of scans and MuscleMap's masks.

    Args:
        folder: Read to tell the codes.
        codes: Of which model.
        quadratus: Keep quadratus lumborum.
        licence: Of the data.
        reference: To the data.

    Raises:
        InputError: No such folder or no mask in it.
        LabelError: Values of neither model, or of both.
    """
    if codes == "auto":
        maps = [folder / name for name in walk(folder) if _LABEL.fullmatch(name)]
        if not maps:
            raise InputError(f"{folder}: no file ends in _dseg.nii.gz, as MuscleMap names its masks")
        evidence = tell_codes(maps)
    else:
        scheme = "musclemap" if codes == "wholebody" else "musclemap-abdomen"
        evidence = CodesFound(scheme, f"label values are read as --codes {codes} says")
    finder = partial(_find, note=evidence.text)
    return Source(
        "musclemap",
        _labels(evidence.scheme, quadratus),
        finder,
        licence=licence,
        reference=reference,
        settings={"codes": codes},
        participants="participants.tsv",
    )


def tell_codes(paths: Sequence[Path]) -> CodesFound:
    """Tell from their values which model made the maps.

    Args:
        paths: Label maps, at least one; of many some are read, spread over all.

    Raises:
        LabelError: Values of neither model, of both, or none at all.
    """
    chosen = [paths[n] for n in sorted({round(p) for p in np.linspace(0, len(paths) - 1, _LOOKED_AT)})]
    seen: dict[str, dict[Path, np.ndarray]] = defaultdict(dict)
    for path in progress(chosen, what="looking at the codes", unit="map"):
        values = _values(path)
        if len(values):
            seen[_scheme_of(values)][path] = values
    if len(seen) > 1:
        texts = (f"{next(iter(maps))} has values of '{scheme}'" for scheme, maps in sorted(seen.items()))
        raise LabelError(f"{', '.join(texts)}; convert the models' masks one by one (--include, --codes)")
    if not seen:
        raise LabelError(f"{chosen[0]}: nothing is labelled here nor in the other maps; give --codes if that is right")
    if "" in seen:
        path, values = next(iter(seen[""].items()))
        raise LabelError(f"{path}: values {_some(values)} are of neither MuscleMap model; give --codes to see which")
    ((scheme, maps),) = seen.items()
    values = np.unique(np.concatenate(list(maps.values())))
    return CodesFound(
        scheme, f"codes of '{scheme}': {len(maps)} of {len(paths)} maps looked at hold the values {_some(values)}"
    )


def _values(path: Path) -> np.ndarray:
    try:
        array = read_labels(path).array
    except ParaspinalError:
        return np.zeros(0, int)  # the case's own check names the fault
    return np.unique(array[array != 0])


def _scheme_of(values: np.ndarray) -> str:
    """A scheme's name, or '' where the values are of none."""
    abdomen, wholebody = LABEL_SCHEMES["musclemap-abdomen"], LABEL_SCHEMES["musclemap"]
    if set(values.tolist()) <= set(abdomen.values):
        return abdomen.name
    return wholebody.name if set(values.tolist()) & {*wholebody.values, *OTHER_CODES} else ""


def _some(values: np.ndarray, most: int = 12) -> str:
    return ", ".join(str(v) for v in values[:most]) + (" ..." if len(values) > most else "")


def _labels(scheme: str, quadratus: bool) -> LabelTranslation:
    known = LABEL_SCHEMES[scheme]
    others = OTHER_CODES if scheme == "musclemap" else {}
    return from_entries(known.name, {**others, **known.values}, quadratus=quadratus)


def _find(folder: Path, *, note: str) -> Found:
    files = set(walk(folder))
    labels = {name: match for name in sorted(files) if (match := _LABEL.fullmatch(name))}
    spelt, plain = defaultdict(list), defaultdict(list)
    for name in sorted(files):
        spelt[with_small_ending(name)].append(name)
    for match in labels.values():
        plain[Path(match["stem"]).name].append(match["stem"])
    by_image: dict[str, list[Path]] = {}
    by_label: dict[str, list[Path]] = {}
    for name, match in labels.items():
        stem = match["stem"]
        alone = len(plain[Path(stem).name]) == 1
        case = Path(stem).name if alone else stem.replace("/", "_")
        by_label.setdefault(case, []).append(folder / name)
        candidates = [f"{stem}{middle}{end}" for middle in ("", "_image") for end in (".nii.gz", ".nii")]
        by_image[case] = [folder / image for name in candidates for image in spelt.get(name, ())]
    found = pair_up(by_image, by_label, {})
    cases = tuple(replace(c, subject=_subject(c.label.relative_to(folder).as_posix()) or c.case) for c in found.cases)
    used = {path for files in (by_image, by_label) for paths in files.values() for path in paths}
    scans = sum(bool(ending_of(name, NIFTI_ENDINGS)) and folder / name not in used for name in files)
    notes = (note, f"scans without a mask beside them, left out: {scans}") if scans else (note,)
    return replace(found, cases=cases, other_files=len(files) - len(used), notes=notes)


def _subject(path: str) -> str:
    match = _SUBJECT.search(path)
    return match[0] if match else ""
