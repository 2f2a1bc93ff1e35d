"""Any folder of image/label pairs: the converter that takes file name patterns and a label map."""

from functools import partial
from pathlib import Path

from paraspinal_nnunet.dataset_conversion.cases import Found, Source
from paraspinal_nnunet.dataset_conversion.labels import LabelMap
from paraspinal_nnunet.dataset_conversion.participants import read_participants, with_people
from paraspinal_nnunet.dataset_conversion.patterns import Pattern, find_pairs, pattern


def pairs_source(
    *,
    image_pattern: str,
    label_pattern: str,
    labels: LabelMap,
    subject_pattern: str | None = None,
    participants: Path | None = None,
    channel: str = "T2",
    licence: str = "",
    reference: str = "",
) -> Source:
    """Declare a folder of pairs.

    Args:
        image_pattern: E.g. ``'{case}_img.nii.gz'``; see `patterns.Pattern`.
        label_pattern: E.g. ``'{case}_GT.nii.gz'``.
        labels: Which value is which muscle.
        subject_pattern: Regular expression whose first group, found in the case id, is the subject.
        participants: A participants.tsv.
        channel: Name of the image channel.
        licence: Of the data.
        reference: To the data.

    Raises:
        InputError: A pattern without `{case}`.
    """
    finder = partial(
        _find,
        image=pattern(image_pattern),
        label=pattern(label_pattern),
        subject=subject_pattern,
        participants=participants,
    )
    settings = {"image_pattern": image_pattern, "label_pattern": label_pattern}
    if subject_pattern is not None:
        settings["subject_pattern"] = subject_pattern
    return Source("pairs", labels, finder, channel=channel, licence=licence, reference=reference, settings=settings)


def _find(folder: Path, *, image: Pattern, label: Pattern, subject: str | None, participants: Path | None) -> Found:
    found = find_pairs(folder, image, label, subject=subject)
    return with_people(found, read_participants(participants), participants.name) if participants else found
