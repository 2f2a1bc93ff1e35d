"""What dataset.json says of a raw data set: read, and refused where nnU-Net or the paper's loss could not follow it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.nnunet.datasets import read_dataset_json

READER = "NibabelIOWithReorient"
FILE_ENDING = ".nii.gz"
CONVERT = "write the data set anew with 'paraspinal convert pairs'"
IGNORE = "ignore"


@dataclass(frozen=True)
class Description:
    """The content of dataset.json.

    Attributes:
        labels: Name -> value, background and an ignored label included.
        channels: How many images each case has.
    """

    labels: Mapping[str, int]
    channels: int

    @property
    def classes(self) -> dict[str, int]:
        """Name -> value of what is learned: neither background nor the ignored label."""
        return {name: value for name, value in self.labels.items() if value != 0 and name != IGNORE}


def read_description(raw: Path) -> Description:
    """dataset.json of a raw data set.

    Raises:
        DatasetError: Another file format or reader than ours, regions, or labels and channels that are not numbered one
            by one.
    """
    path, content = raw / "dataset.json", read_dataset_json(raw)
    ending = content.get("file_ending")
    if ending != FILE_ENDING:
        raise DatasetError(f"{path}: file_ending is '{ending}'; all commands take {FILE_ENDING} only: {CONVERT}")
    if "dataset" in content:
        raise DatasetError(f"{path}: lists its own files under 'dataset'; put them into imagesTr and labelsTr instead")
    reader = content.get("overwrite_image_reader_writer")
    if reader != READER:
        raise DatasetError(
            f"{path}: reads images with {reader or 'the default reader'}, which feeds scans in their "
            f'stored orientation and so confuses left and right; set "overwrite_image_reader_writer": "{READER}"'
        )
    if "regions_class_order" in content:
        raise _region(path, "regions_class_order")
    return Description(_labels(content.get("labels"), path), _channels(content.get("channel_names"), path))


def _labels(labels: Any, path: Path) -> dict[str, int]:
    if not isinstance(labels, dict) or not labels:
        raise DatasetError(f"{path}: has no labels (name: value)")
    regions = [name for name, value in labels.items() if isinstance(value, list)]
    if regions:
        raise _region(path, f"label '{regions[0]}'")
    wrong = [name for name, value in labels.items() if isinstance(value, bool) or not isinstance(value, int)]
    if wrong:
        raise DatasetError(f"{path}: label '{wrong[0]}' has the value {labels[wrong[0]]!r}, which is no whole number")
    values = sorted(labels.values())
    if labels.get("background") != 0 or values != list(range(len(values))):
        raise DatasetError(f"{path}: label values are {values}; background is 0, the others go on from 1 without gaps")
    if len(values) - (IGNORE in labels) < 2:
        raise DatasetError(f"{path}: names no label but the background")
    if labels.get(IGNORE, values[-1]) != values[-1]:
        raise DatasetError(f"{path}: label '{IGNORE}' must have the highest value, {values[-1]}")
    return {str(name): int(value) for name, value in labels.items()}


def _region(path: Path, what: str) -> DatasetError:
    return DatasetError(
        f"{path}: {what} defines regions of several values; the paper's loss takes one label a voxel: give every value "
        "a name of its own"
    )


def _channels(names: Any, path: Path) -> int:
    if not isinstance(names, dict) or sorted(map(str, names)) != sorted(map(str, range(len(names)))) or not names:
        raise DatasetError(f'{path}: channel_names must number the channels from 0, e.g. {{"0": "T2"}}; has {names!r}')
    return len(names)
