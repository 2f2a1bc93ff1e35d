"""The scans of a BIDS data set: images by their entities, whether they have labels or not."""

from pathlib import Path

from paraspinal_nnunet.dataset_conversion.patterns.pairing import walk
from paraspinal_nnunet.dataset_conversion.sources.bids_layout import Choice, chosen_images
from paraspinal_nnunet.dataset_conversion.sources.bids_names import BidsName, not_ignored, parse
from paraspinal_nnunet.image_io.images import read_image
from paraspinal_nnunet.inference.inputs import MASK_ENDING, FoundScans, InputChoice, Scan, unique
from paraspinal_nnunet.utils.files import write_json, write_text
from paraspinal_nnunet.utils.text import pluralize

BIDS_VERSION = "1.10.0"
DESCRIPTION = "dataset_description.json"
TABLE = "dseg.tsv"


def find_bids(folder: Path, choice: InputChoice) -> FoundScans:
    """The images of a BIDS data set.

    Args:
        folder: The data set.
        choice: Which of its images.

    Returns:
        One scan per image; its name is the image's entities, its mask's that with ``_dseg``.

    Raises:
        InputError: No such image.
    """
    names = [n for file in not_ignored(walk(folder), folder) if (n := parse(file)) is not None]
    images, _ = chosen_images(folder, names, Choice(choice.suffix, choice.entities))
    scans = unique([_scan(folder, image) for image in images], folder)
    subjects = len({image.entities["sub"] for image in images})
    line = f"a BIDS data set with {pluralize(len(scans), f'{choice.suffix} image')} of {pluralize(subjects, 'subject')}"
    return FoundScans("BIDS", line, scans)


def describe_derivative(output: Path, version: str) -> None:
    """Write what makes a folder of masks a BIDS derivative: its description, and the look-up table of all masks."""
    from paraspinal_nnunet.anatomy import PARASPINAL

    write_json(
        output / DESCRIPTION,
        {
            "Name": "Lumbar paraspinal muscles",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "paraspinal-nnunet", "Version": version}],
        },
    )
    rows = [f"{s.label}\t{s.key}\t{s.hex_colour}" for s in PARASPINAL]
    write_text(output / TABLE, "\n".join(["index\tname\tcolor", "0\tbackground\t#000000", *rows]) + "\n")


def _scan(folder: Path, image: BidsName) -> Scan:
    path = folder / image.path
    return Scan(image.case, f"{image.case}_dseg{MASK_ENDING}", image.path, lambda: read_image(path))
