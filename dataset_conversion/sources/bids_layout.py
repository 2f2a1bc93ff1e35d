"""What a BIDS data set holds: its images, the derivatives with labels, and which label is which image's."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from paraspinal_nnunet.dataset_conversion.case import Refusal
from paraspinal_nnunet.dataset_conversion.patterns.pairing import walk
from paraspinal_nnunet.dataset_conversion.sources.bids_names import BidsName, by_subject, images_of, not_ignored, parse
from paraspinal_nnunet.errors import InputError, LabelError
from paraspinal_nnunet.image_io.masks.label_names import parse_label_name

DERIVATIVES = "derivatives"


@dataclass(frozen=True)
class Choice:
    """Which images and labels of a data set are meant.

    Attributes:
        suffix: Of the images.
        image_entities: Values that images must have.
        label_entities: Values that labels must have.
        derivative: Folder below derivatives; None where only one holds labels.
        second_derivative: The second rater's.
    """

    suffix: str = "T2w"
    image_entities: Mapping[str, str] = field(default_factory=dict)
    label_entities: Mapping[str, str] = field(default_factory=dict)
    derivative: str | None = None
    second_derivative: str | None = None


@dataclass(frozen=True)
class BidsLayout:
    """What a data set holds of what was chosen.

    Attributes:
        folder: The data set.
        images: All raw images.
        chosen: Those that were asked for.
        labels: Derivative -> its label files.
        masks: Labels are one mask per structure.
        tables: Look-up tables in the derivatives.
        derivatives: The first rater's, and the second's where there is one.
        others: Number of further files.
    """

    folder: Path
    images: tuple[BidsName, ...]
    chosen: tuple[BidsName, ...]
    labels: Mapping[str, tuple[BidsName, ...]]
    masks: bool
    tables: tuple[BidsName, ...]
    derivatives: tuple[str, ...]
    others: int

    @property
    def used(self) -> list[BidsName]:
        """The label files of the chosen derivatives."""
        return [label for root in self.derivatives for label in self.labels[root]]


def read_layout(folder: Path, choice: Choice) -> BidsLayout:
    """Look through a data set.

    Raises:
        InputError: No such folder, no images or labels in it, or several derivatives to choose from.
        LabelError: A mask whose name is unclear.
    """
    files = not_ignored(walk(folder), folder)
    names = [name for file in files if (name := parse(file)) is not None]
    chosen, raw = chosen_images(folder, names, choice)
    raw_of, chosen_of = by_subject(raw), by_subject(chosen)
    labels: dict[str, list[BidsName]] = defaultdict(list)
    for name in names:
        root = _derivative(name)
        if root is None or not _is_label(name) or not name.has(choice.label_entities):
            continue
        if images_of(name, chosen_of) or not images_of(name, raw_of):
            labels[root].append(name)
    derivatives = _derivatives(folder, choice, labels)
    masks = not any(name.suffix == "dseg" for root in derivatives for name in labels[root])
    kept = {root: tuple(n for n in labels[root] if (n.suffix == "mask") is masks) for root in derivatives}
    tables = tuple(n for n in names if n.suffix == "dseg" and n.ending == ".tsv")
    others = len(files) - len(chosen) - sum(map(len, kept.values()))
    return BidsLayout(folder, raw, chosen, kept, masks, tables, derivatives, others)


def chosen_images(
    folder: Path, names: Sequence[BidsName], choice: Choice
) -> tuple[tuple[BidsName, ...], tuple[BidsName, ...]]:
    """The anatomical images that were asked for, and all raw images.

    Args:
        folder: The data set, for messages.
        names: Its files.
        choice: Suffix and entities of the images.

    Raises:
        InputError: No such image.
    """
    raw = tuple(n for n in names if n.path.startswith("sub-") and "sub" in n.entities and _nifti(n))
    anatomical = (i for i in raw if PurePosixPath(i.path).parent.name == "anat")
    chosen = tuple(i for i in anatomical if i.suffix == choice.suffix and i.has(choice.image_entities))
    if not chosen:
        wanted = "_".join(("sub-*", *(f"{k}-{v}" for k, v in choice.image_entities.items()), choice.suffix))
        raise InputError(f"{folder}: no image sub-*/[ses-*/]anat/{wanted}.nii.gz; see --suffix and the like")
    return chosen, raw


def mask_class(mask: BidsName) -> str | None:
    """The class of a mask by its label and hemi entities; None where it is another structure's.

    Raises:
        LabelError: A name that could mean several classes or says no side.
    """
    if "label" not in mask.entities:
        return None
    try:
        return parse_label_name(" ".join((mask.entities["label"], mask.entities.get("hemi", ""))))
    except LabelError as error:
        raise LabelError(f"{mask.path}: {error}") from error


def labels_by_image(layout: BidsLayout, root: str, refusals: list[Refusal]) -> dict[str, list[BidsName]]:
    """Image path -> its labels, of one derivative.

    Args:
        layout: The data set.
        root: The derivative.
        refusals: Takes what fits no image or several alike.
    """
    second_rater = root != layout.derivatives[0]
    by_image: dict[str, list[BidsName]] = defaultdict(list)
    raw_of, chosen_of = by_subject(layout.images), by_subject(layout.chosen)
    for label in layout.labels[root]:
        meant = images_of(label, raw_of)
        chosen = [image for image in images_of(label, chosen_of) if image in meant]
        if len(chosen) == 1:
            by_image[chosen[0].path].append(label)
        elif not meant:
            reason = f"{layout.folder / label.path}: is a label without image (case {label.case})"
            refusals.append(Refusal(label.case, reason, (layout.folder / label.path,), second_rater))
        elif chosen:
            images = ", ".join(PurePosixPath(image.path).name for image in chosen)
            reason = f"{layout.folder / label.path}: could belong to {images}; name it as its image"
            refusals.append(Refusal(label.case, reason, (layout.folder / label.path,), second_rater))
    return by_image


def _nifti(name: BidsName) -> bool:
    return name.ending != ".tsv"


def _is_label(name: BidsName) -> bool:
    if name.suffix != "mask" or not _nifti(name):
        return name.suffix == "dseg" and _nifti(name)
    try:
        return mask_class(name) is not None
    except LabelError:
        return True  # named when the derivative is the chosen one


def _derivative(name: BidsName) -> str | None:
    """The folder below derivatives, '' for derivatives itself; None for raw files."""
    *parents, _ = PurePosixPath(name.path).parts
    if parents[:1] != [DERIVATIVES]:
        return None
    parts = parents[1:]
    subject = next((n for n, part in enumerate(parts) if part.startswith("sub-")), len(parts))
    return "/".join(parts[:subject])


def _derivatives(folder: Path, choice: Choice, labels: Mapping[str, Sequence[BidsName]]) -> tuple[str, ...]:
    there = ", ".join(f"{root or '.'} ({len(labels[root])} files)" for root in sorted(labels))
    if not labels:
        raise InputError(f"{folder}: {DERIVATIVES} holds no *_dseg.nii.gz or *_label-*_mask.nii.gz of these images")
    first = choice.derivative
    if first is None:
        rest = sorted(root for root in labels if root != choice.second_derivative)
        if len(rest) != 1:
            raise InputError(f"{folder}: labels are in {there}; choose with --derivative NAME")
        first = rest[0]
    chosen = [first.strip("/").removeprefix(".")]
    if choice.second_derivative is not None:
        chosen.append(choice.second_derivative.strip("/").removeprefix("."))
    for root in chosen:
        if root not in labels:
            raise InputError(f"{folder}: {DERIVATIVES}/{root} holds no labels of these images; they are in {there}")
    return tuple(chosen)
