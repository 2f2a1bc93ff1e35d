"""The unfinished data set: what each case came to, so that an interrupted conversion goes on where it stopped."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.dataset_conversion.case import Case, CaseOutcome, Checks, Source, paths_of
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.files import write_json
from paraspinal_nnunet.utils.forms import ANY, read_form


@dataclass(frozen=True)
class Task:
    """A case and the state of everything that its outcome depends on.

    Attributes:
        case: The case.
        fingerprint: SHA-256 of the settings and of path, size and modification time of the case's files.
    """

    case: Case
    fingerprint: str


@dataclass(frozen=True)
class StagingFolder:
    """The folder in which a data set grows; hidden, one per data set number, removed when the data set is whole.

    Attributes:
        folder: E.g. ``nnUNet_raw/.Dataset501.unfinished``.
    """

    folder: Path

    @property
    def dataset(self) -> Path:
        """What becomes the data set."""
        return self.folder / "dataset"

    @property
    def finished(self) -> int:
        """Number of cases that a later conversion can take over."""
        return sum(1 for _ in self._cases.glob("*.json"))

    def prepare(self, tasks: Sequence[Task], parts: Sequence[str]) -> dict[str, CaseOutcome]:
        """Make the folders, take over what still holds and remove everything else.

        Args:
            tasks: The cases of this conversion.
            parts: Sub-folders of the data set.

        Returns:
            Case id -> outcome, of the cases that need not be done again.
        """
        for path in (self._cases, *(self.dataset / part for part in parts)):
            path.mkdir(parents=True, exist_ok=True)
        outcomes, wanted = {}, set()
        for task in tasks:
            record = self._record(task)
            if record is not None:
                outcomes[task.case.case] = CaseOutcome(task.case, image_hash=record["hash"], facts=record["facts"])
                wanted |= {self._state(task.case), *(self.dataset / name for name in record["files"])}
        for path in [*_files(self._cases), *_files(self.dataset)]:
            if path not in wanted:
                path.unlink()
        for path in self.dataset.iterdir():
            if path.name not in parts:
                shutil.rmtree(path)
        return outcomes

    def keep(self, task: Task, outcome: CaseOutcome, files: Sequence[Path]) -> None:
        """Note a case's outcome, after its files are written.

        Args:
            task: The case.
            outcome: What became of it.
            files: Below `dataset`.
        """
        sizes = {path.relative_to(self.dataset).as_posix(): path.stat().st_size for path in files}
        record = {"fingerprint": task.fingerprint, "hash": outcome.image_hash, "facts": outcome.facts, "files": sizes}
        write_json(self._state(task.case), record)

    def discard(self, case: Case) -> None:
        """Remove a case's files from the data set, if there are any."""
        if self._state(case).exists():
            for name in read_form(self._state(case), _RECORD)["files"]:
                (self.dataset / name).unlink()

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _cases(self) -> Path:
        return self.folder / "cases"

    def _state(self, case: Case) -> Path:
        return self._cases / f"{case.case}.json"

    def _record(self, task: Task) -> dict[str, Any] | None:
        """What was noted of a case, if its settings and sources are still the same and its files are whole."""
        try:
            record = read_form(self._state(task.case), _RECORD)
        except InputError:
            return None
        if record.get("fingerprint") != task.fingerprint:
            return None
        paths = {self.dataset / name: size for name, size in record["files"].items()}
        whole = all(path.is_file() and path.stat().st_size == size for path, size in paths.items())
        return record if whole else None


def staging_folder(raw: Path, number: int) -> StagingFolder:
    """The unfinished data set of a number."""
    return StagingFolder(raw / f".Dataset{number:03d}.unfinished")


def tasks_of(cases: Sequence[Case], source: Source, checks: Checks) -> list[Task]:
    """Each case with its fingerprint."""
    settings = _described([asdict(checks), __version__, *(getattr(source, name) for name in _DECISIVE)])
    return [Task(case, _fingerprint(case, settings)) for case in cases]


_DECISIVE = ("name", "labels", "channels", "read_images", "read_labels", "settings")
"""What a source's files on disk depend on; the other attributes concern dataset.json alone, which is written last."""

_FACTS = {
    **{"shape": [int], "spacing_mm": [float], "stored_axes": str, "volumes_ml": {ANY: float}, "sides?": str},
    **{f"{name}?": [str] for name in ("image_header", "label_header", "missing_classes")},
    **{"resampled?": {"labelled_ml": [float], "from": str}, "channels_resampled?": {ANY: str}},
    **{"cropped_slices?": {"first": int, "last": int, "of": int}, "dropped_voxels?": dict},
}
_RECORD = {"fingerprint": str, "hash": str, "facts": _FACTS, "files": {ANY: int}}

_DETACHED_HEADERS = (".mhd", ".nhdr")
"""Formats that keep the voxels in a file beside this one, of the same name but for its ending."""

_INDECISIVE = ("subject", "person")
"""Of a case: these concern cases.tsv alone."""


def _fingerprint(case: Case, settings: Any) -> str:
    paths = paths_of(case)
    described = {f.name: _described(getattr(case, f.name)) for f in fields(case) if f.name not in _INDECISIVE}
    content = [settings, described, [_stamp(file) for path in paths for file in _files(path)]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _described(value: Any) -> Any:
    """A value as JSON that is the same in every process: functions by name, data classes by their fields."""
    if isinstance(value, partial):
        return [_described(value.func), _described(value.args), _described(value.keywords)]
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, {f.name: _described(getattr(value, f.name)) for f in fields(value)}]
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): _described(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_described(entry) for entry in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return str(value)


def _files(path: Path) -> list[Path]:
    """The file itself, with the voxels that a header of its own describes, or all files below a folder."""
    if path.suffix.lower() in _DETACHED_HEADERS and path.parent.is_dir():
        return sorted({path, *(p for p in path.parent.iterdir() if p.name.startswith(f"{path.stem}."))})
    if not path.is_dir():
        return [path]
    return sorted(Path(parent) / name for parent, _, names in os.walk(path) for name in names)


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), found.st_size, found.st_mtime_ns
