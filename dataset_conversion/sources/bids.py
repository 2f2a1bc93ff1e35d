"""BIDS data sets: images in `sub-*/[ses-*/]anat`, labels in `derivatives`, the meaning of values in look-up tables."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from paraspinal_nnunet.anatomy import LABEL_SCHEMES
from paraspinal_nnunet.dataset_conversion.case import Case, Found, Refusal, Source
from paraspinal_nnunet.dataset_conversion.labels.files import read_label_file
from paraspinal_nnunet.dataset_conversion.labels.masks import MaskCase, Masks, mask_labels, read_case_masks
from paraspinal_nnunet.dataset_conversion.labels.translation import LabelTranslation, from_entries, label_map
from paraspinal_nnunet.dataset_conversion.sources import given_texts
from paraspinal_nnunet.dataset_conversion.sources.bids_layout import (
    DERIVATIVES,
    BidsLayout,
    Choice,
    labels_by_image,
    mask_class,
    read_layout,
)
from paraspinal_nnunet.dataset_conversion.sources.bids_names import BidsName, by_folder, inherited
from paraspinal_nnunet.errors import LabelError

HELP = "a BIDS data set with labels in its derivatives"
LAYOUT = "sub-*/[ses-*/]anat/*_T2w.nii.gz + derivatives/NAME/**/*_dseg.nii.gz (+ *_dseg.tsv) or *_label-*_mask.nii.gz"
DEFAULT_NAME = "BIDS"

IMAGE_ENTITIES = ("ses", "acq", "ce", "rec", "run", "echo", "part")
CHOSEN_LABEL_ENTITIES = ("space", "desc")
_CHANNELS = {"T2w": "T2", "T1w": "T1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--suffix", default="T2w", help="of the images (default: T2w)")
    for key in IMAGE_ENTITIES:
        parser.add_argument(f"--{key}", metavar="LABEL", help=f"only images with the entity {key}-LABEL")
    for key in CHOSEN_LABEL_ENTITIES:
        parser.add_argument(f"--{key}", metavar="LABEL", help=f"only labels with the entity {key}-LABEL")
    parser.add_argument("--derivative", metavar="NAME", help="folder below derivatives that holds the labels")
    parser.add_argument(
        "--rater2-derivative", metavar="NAME", help="folder below derivatives with a second rater's, for --rater2"
    )
    parser.add_argument(
        "--labels",
        metavar="FILE|SCHEME",
        help=f"instead of the look-up tables: a label map, or a scheme: {', '.join(LABEL_SCHEMES)}",
    )
    parser.add_argument("--quadratus", action="store_true", help="keep quadratus lumborum as a class")


def source_from(args: argparse.Namespace) -> Source:
    """The source that the command line describes."""
    given = vars(args)
    choice = Choice(
        suffix=args.suffix,
        image_entities={key: given[key] for key in IMAGE_ENTITIES if given[key] is not None},
        label_entities={key: given[key] for key in CHOSEN_LABEL_ENTITIES if given[key] is not None},
        derivative=args.derivative,
        second_derivative=args.rater2_derivative,
    )
    return bids_source(args.input, choice, labels=args.labels, quadratus=args.quadratus, **given_texts(args))


def bids_source(
    folder: Path,
    choice: Choice | None = None,
    *,
    labels: str | None = None,
    quadratus: bool = False,
    licence: str = "",
    reference: str = "",
) -> Source:
    """Declare a BIDS data set.

    Args:
        folder: Looked through for look-up tables.
        choice: Of images and labels.
        labels: A label map or scheme instead of the look-up tables; see `labels.label_map`.
        quadratus: Keep quadratus lumborum.
        licence: Of the data.
        reference: To the data.

    Raises:
        InputError: No such folder, no images or labels in it, or several derivatives to choose from.
        LabelError: No look-up table, tables that contradict each other, or masks beside `labels`.
    """
    choice = choice or Choice()
    layout = read_layout(folder, choice)
    if layout.masks:
        if labels:
            raise LabelError(f"--labels {labels}: the labels are masks, whose names say what they are")
        keys = {key for label in layout.used if (key := mask_class(label)) is not None}
        meaning = mask_labels("names of the masks", sorted(keys), quadratus=quadratus)
    else:
        meaning = label_map(labels, quadratus=quadratus) if labels else _from_tables(layout, quadratus)
    settings = {"suffix": choice.suffix, **choice.image_entities, **choice.label_entities}
    return Source(
        "bids",
        meaning,
        partial(_find, choice=choice, kept=frozenset(meaning.values.values())),
        channels=(_CHANNELS.get(choice.suffix, choice.suffix),),
        read_labels=read_case_masks,
        licence=licence,
        reference=reference,
        settings={**settings, "derivative": ", ".join(layout.derivatives)},
        participants="participants.tsv",
    )


def _from_tables(layout: BidsLayout, quadratus: bool) -> LabelTranslation:
    """The label map of all look-up tables together."""
    entries: dict[int, str] = {}
    origin: dict[int, str] = {}
    used: list[str] = []
    tables = by_folder(layout.tables)
    for root in layout.derivatives:
        for label in layout.labels[root]:
            table = inherited(label, tables, str(PurePosixPath(DERIVATIVES, root)))
            if table is None:
                raise LabelError(f"{label.path}: no *_dseg.tsv says what its values mean; add one or give --labels")
            if table.path in used:
                continue
            used.append(table.path)
            for value, name in read_label_file(layout.folder / table.path).items():
                if entries.setdefault(value, name) != name:
                    raise LabelError(
                        f"{table.path}: value {value} is {name}, in {origin[value]} it is {entries[value]}; convert "
                        "these labels apart or give --labels"
                    )
                origin.setdefault(value, table.path)
    return from_entries(", ".join(used), entries, quadratus=quadratus)


def _find(folder: Path, *, choice: Choice, kept: frozenset[str]) -> Found:
    layout = read_layout(folder, choice)
    refusals: list[Refusal] = []
    first, *second = (labels_by_image(layout, root, refusals) for root in layout.derivatives)
    labelled = {image.entities["sub"] for image in layout.chosen if image.path in first}
    cases, without = [], []
    ids: dict[str, BidsName] = {}
    for image in layout.chosen:
        if ids.setdefault(image.case, image) is not image:
            reason = f"{folder / ids[image.case].path}, {folder / image.path}: share the case id {image.case}"
            refusals.append(Refusal(image.case, f"{reason}; one of each is needed", (folder / image.path,)))
        elif image.path in first:
            more = second[0].get(image.path, []) if second else []
            cases.append(_case(layout, image, first[image.path], more, kept, refusals))
        elif image.entities["sub"] in labelled:
            without.append(image.case)
        else:
            reason = f"{folder / image.path}: is an image without label (case {image.case})"
            refusals.append(Refusal(image.case, reason, (folder / image.path,)))
    notes = []
    if not (folder / "dataset_description.json").is_file():
        notes.append("dataset_description.json is missing: no valid BIDS data set, read as one all the same")
    if without:
        notes.append(f"left out, since another image of the subject has the label: {', '.join(without)}")
    refused = {r.case for r in refusals if not r.second_rater}
    accepted = tuple(case for case in cases if case is not None and case.case not in refused)
    return Found(accepted, tuple(refusals), layout.others, tuple(notes), _tables(folder, layout))


def _tables(folder: Path, layout: BidsLayout) -> tuple[Path, ...]:
    return (folder / "dataset_description.json", *(folder / table.path for table in layout.tables))


def _case(
    layout: BidsLayout,
    image: BidsName,
    labels: Sequence[BidsName],
    second: Sequence[BidsName],
    kept: frozenset[str],
    refusals: list[Refusal],
) -> Case | None:
    """The case of an image; None, with a refusal, where its labels are not one label map or one set of masks."""
    masks: dict[Path, Masks] = {}
    chosen: list[Path] = []
    for place, names in enumerate((labels, second)):
        paths = tuple(layout.folder / name.path for name in names)
        keys = [mask_class(name) for name in names] if layout.masks else [""] * len(names)
        if len(set(keys)) < len(keys):
            reason = f"{', '.join(map(str, paths))}: are labels of one image; choose with --desc or --space"
            refusals.append(Refusal(image.case, reason, paths, second_rater=place == 1))
            if place == 0:
                return None
        elif names and layout.masks:
            together = paths[0].with_name(f"{image.case}_label-STRUCTURE_mask{names[0].ending}")
            masks[together] = tuple((key, path) for key, path in zip(keys, paths, strict=True) if key in kept)
            chosen.append(together)
        elif names:
            chosen.append(paths[0])
    return MaskCase(
        image.case,
        f"sub-{image.entities['sub']}",
        (layout.folder / image.path,),
        chosen[0],
        chosen[1] if len(chosen) > 1 else None,
        masks=masks,
    )
