"""Folders of preprocessed cases: which raw files they were made from, and whether they are complete."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.nnunet.datasets import read_dataset_json
from paraspinal_nnunet.nnunet.splits import planned_subjects
from paraspinal_nnunet.utils.files import read_json, write_json
from paraspinal_nnunet.utils.progress import progress

UNFINISHED = "unfinished"
CASE_FILES = (".b2nd", "_seg.b2nd", ".pkl")
"""What nnU-Net writes for a case."""

MARKER_SUFFIX = ".complete.json"
"""Beside a folder of preprocessed cases lies a file of its name and this suffix, written last: after an interruption it
says that the folder is not complete. It cannot lie inside, where nnU-Net wants files of one kind."""


def source_digest(raw: Path) -> str:
    """A hash that changes whenever a raw image, label or dataset.json is replaced (names, sizes, times)."""
    files = sorted([raw / "dataset.json", *(raw / "imagesTr").iterdir(), *(raw / "labelsTr").iterdir()])
    stamps = [(f.relative_to(raw).as_posix(), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()


def is_made_from(folder: Path, digest: str) -> bool:
    """Whether `paraspinal plan` finished a folder of preprocessed cases, from these raw files."""
    return folder.is_dir() and _marked(folder).get("source") == digest


def check_complete(folder: Path) -> None:
    """Refuse a folder of preprocessed cases that is not complete, whoever made it.

    What `nnUNetv2_preprocess` made carries no marker of ours: then the list of the data set's cases decides.

    Raises:
        DatasetError: No such folder, one that `paraspinal plan` did not finish, or a case that it lacks.
    """
    advice = "run 'paraspinal plan' (again), or nnUNetv2_preprocess for plans that were moved here"
    if not folder.is_dir() or UNFINISHED in _marked(folder):
        raise DatasetError(f"{folder}: is missing or incomplete; {advice}")
    cases = planned_cases(folder.parent)
    lacking = [case for case in cases if any(not (folder / f"{case}{end}").is_file() for end in CASE_FILES)]
    if lacking or not cases:
        raise DatasetError(
            f"{folder}: is missing or incomplete ({lacking[0] if lacking else 'every case'} lacks files); {advice}"
        )


def planned_cases(preprocessed: Path) -> list[str]:
    """The cases of a planned data set: those of `paraspinal plan`, or those whose labels nnU-Net has kept.

    Args:
        preprocessed: nnU-Net's folder of the data set.
    """
    subjects = planned_subjects(preprocessed)
    if subjects is not None:
        return sorted(subjects)
    ending = str(read_dataset_json(preprocessed).get("file_ending", ".nii.gz"))
    return sorted(p.name[: -len(ending)] for p in (preprocessed / "gt_segmentations").glob(f"*{ending}"))


def mark_preprocessed(folder: Path, digest: str) -> None:
    """Note that a folder is complete, from which raw files it was made, and a hash of its voxels."""
    write_json(_marker(folder), {"source": digest, "version": __version__, "voxels": _voxel_digest(folder)})


def content_digest(folder: Path) -> str | None:
    """Hash of the voxels of a folder's cases, as it was noted when they were made; None where it was not."""
    digest = _marked(folder).get("voxels")
    return digest if isinstance(digest, str) else None


def mark_unfinished(folder: Path) -> None:
    """Note that a folder is about to be made anew."""
    write_json(_marker(folder), {UNFINISHED: True, "version": __version__})


def _voxel_digest(folder: Path) -> str:
    import blosc2

    digest = hashlib.sha256()
    files = sorted(folder.glob("*.b2nd"))
    for file in progress(files, what="hashing", unit="file", disable=None):
        digest.update(file.name.encode())
        digest.update(np.ascontiguousarray(blosc2.open(urlpath=str(file), mode="r")[:]).data)
    return digest.hexdigest()[:16]


def _marked(folder: Path) -> dict[str, Any]:
    marker = _marker(folder)
    return read_json(marker) if marker.is_file() else {}


def _marker(folder: Path) -> Path:
    return folder.with_name(folder.name + MARKER_SUFFIX)
