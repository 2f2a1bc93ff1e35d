"""The TotalSegmentator MRI data set: one folder per scan, one mask per class; a coarser data set of its own.

Its autochthon is all deep muscles of the back and its iliopsoas includes iliacus: neither is a class of the paper.
Source: Akinci D'Antonoli et al., Radiology 2025, doi 10.1148/radiol.241613.
"""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from paraspinal_nnunet.anatomy import COARSE, Muscle
from paraspinal_nnunet.dataset_conversion.case import Demographics, Found, Refusal, Source
from paraspinal_nnunet.dataset_conversion.labels.masks import MaskCase, mask_labels, read_case_masks
from paraspinal_nnunet.dataset_conversion.participants import person_of
from paraspinal_nnunet.dataset_conversion.sources import given_texts
from paraspinal_nnunet.errors import InputError, ParaspinalError
from paraspinal_nnunet.image_io.images import read_labels, with_small_ending
from paraspinal_nnunet.utils.progress import progress
from paraspinal_nnunet.utils.tables import read_table

HELP = "the TotalSegmentator MRI data set (deep back muscles and iliopsoas: four coarse classes)"
LAYOUT = "sXXXX/mri.nii.gz + sXXXX/segmentations/{autochthon,iliopsoas}_{left,right}.nii.gz [+ meta.csv]"
DEFAULT_NAME = "TotalSegmentatorMR"

LICENCE = "terms of the TotalSegmentator MRI data set, doi 10.5281/zenodo.11367004"
REFERENCE = "doi 10.1148/radiol.241613; data doi 10.5281/zenodo.11367004"

IMAGE = "mri.nii.gz"
MASKS = "segmentations"
META = "meta.csv"
KEYS = tuple(s.key for s in COARSE if s.muscle in (Muscle.AUTOCHTHON, Muscle.ILIOPSOAS))
"""Canonical keys, which are also the names of the mask files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing of its own."""


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    return totalsegmentator_source(**given_texts(args))


def totalsegmentator_source(*, licence: str = LICENCE, reference: str = REFERENCE) -> Source:
    """Declare the data set; scans that show none of the four classes are left out."""
    return Source(
        "totalsegmentator",
        mask_labels("totalsegmentator", KEYS),
        _find,
        channels=("MRI",),
        read_labels=read_case_masks,
        licence=licence,
        reference=reference,
    )


def _find(folder: Path) -> Found:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    images = sorted(p for p in folder.glob("*/mri.*") if with_small_ending(p.name) == IMAGE)
    if not images:
        other = "; it is the CT data set" if any(folder.glob("*/ct.nii.gz")) else ""
        raise InputError(f"{folder}: no folder in it holds {IMAGE}{other}")
    people = _people(folder / META)
    cases, refusals, without = [], [], 0
    for image in progress(images, what="looking for the muscles", unit="scan"):
        name, masks = image.parent.name, image.parent / MASKS
        there = {with_small_ending(p.name): p for p in masks.glob("*") if p.is_file()}
        found = [(key, there[f"{key}.nii.gz"]) for key in KEYS if f"{key}.nii.gz" in there]
        if not masks.is_dir():
            refusals.append(Refusal(name, f"{image}: is an image without a folder {MASKS} (case {name})", (image,)))
            continue
        try:
            shown = any(map(_has_voxels, found))
        except ParaspinalError as error:
            refusals.append(Refusal(name, str(error), (image,)))
            continue
        if shown:
            person = people.get(name, Demographics())
            cases.append(MaskCase(name, name, (image,), masks, person=person, masks={masks: found}))
        without += not shown
    notes = _notes(without, people, [c.case for c in cases])
    return Found(tuple(cases), tuple(refusals), notes=notes, tables=(folder / META,))


def _has_voxels(mask: tuple[str, Path]) -> bool:
    return bool(read_labels(mask[1]).array.any())


def _notes(without: int, people: Mapping[str, Demographics], cases: list[str]) -> tuple[str, ...]:
    notes = []
    if without:
        notes.append(f"left out, since they show none of the four classes: {without}")
    absent = [case for case in cases if case not in people]
    if people and absent:
        notes.append(f"{META} has no row for {', '.join(absent)}")
    return tuple(notes)


def _people(path: Path) -> dict[str, Demographics]:
    """Sex and age of each scan; the releases separate by semicolons."""
    if not path.is_file():
        return {}
    table = read_table(path, ("image_id",))
    person = partial(person_of, path=path)
    return {
        row["image_id"]: person(row["image_id"], sex=row.get("gender", ""), age=row.get("age", ""))
        for row in table.to_dict("records")
    }
