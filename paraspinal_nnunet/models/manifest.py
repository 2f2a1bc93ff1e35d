"""What an exported model says about itself: labels, protocol, preprocessing, versions, and a hash of every file."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

from paraspinal_nnunet.anatomy import BACKGROUND, BY_KEY, MUSCLE_CODES, SIDE_CODES
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.utils.files import open_regular, write_json
from paraspinal_nnunet.utils.fingerprint import file_sha256

FILE_NAME = "manifest.json"
SCHEMA = "paraspinal-nnunet model"
SCHEMA_VERSION = 1

LARGEST_BYTES = 1 << 24
LARGEST_PATCH, LARGEST_PATCH_VOXELS = 4096, 1 << 26
SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.05, 100.0
"""Beyond what any network is planned with; a model that says more would ask for all memory."""

IGNORE = "ignore"
"""nnU-Net's label of voxels without reference; no mask holds it."""

COMPUTED_ONLY = "computed_only"
"""Entry of `training` that is true where no person's scan was trained on."""

SCAN_RANGES = "scan_ranges"
"""Entry of `training`: what scans were like, name -> lowest and highest."""

CAUTION = "trained on computed scans only; look at the masks"
"""What every output of such a model says."""

CLEANED_BY = ("largest-component", "fill-holes")
"""Clean-ups that belong to such a model: it leaves islands in fat and holes in even muscle."""

_NAMES = {
    "format": r"[a-z0-9]+",
    "dataset_name": r"Dataset\d{3}_[A-Za-z0-9_-]+",
    "trainer": r"[A-Za-z0-9_]+",
    "plans_name": r"[A-Za-z0-9_.-]*[A-Za-z0-9]",
    "configuration": r"[a-z0-9][a-z0-9._]*[a-z0-9]",
}
"""Names that become parts of paths; none can lead out of a folder."""

_FOLD = r"\d{1,3}|all"
_SHA256 = r"[0-9a-f]{64}"


@dataclass(frozen=True)
class FileEntry:
    """One file of the model: path from the model's folder with forward slashes, size in bytes, hash."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json.

    Attributes:
        format: How the network is stored, e.g. ``'nnunet'``.
        dataset_name: nnU-Net's name of the data set that the model was trained on.
        trainer: The trainer that made it, by name.
        plans_name: The name of the plans in the model.
        configuration: nnU-Net's configuration.
        folds: The folds that it holds, e.g. ``('0', '1', '2')``.
        mirroring_axes: Axes over which a prediction may be averaged; None for models that must not be mirrored.
        labels: Per label its value, key, muscle, side and terminology codes; null where the anatomy does not know it.
        protocol: Every number in force beside the paper's; None for models that do not follow the paper.
        preprocessing: Spacing in mm (z, y, x), orientation, normalisation, interpolation orders, patch and step size.
        training: How many cases and subjects the data set had; their median voxel size in mm (z, y, x); per
            structure mean and SD over cases of its normalised intensity. None for what is not known.
        versions: Of the packages that trained and that exported.
        created: ISO date.
        licence: Under which the model may be used.
        citation: What to cite.
        files: All other files.
    """

    format: str
    dataset_name: str
    trainer: str
    plans_name: str
    configuration: str
    folds: tuple[str, ...]
    mirroring_axes: tuple[int, ...] | None
    labels: tuple[dict[str, Any], ...]
    protocol: tuple[dict[str, Any], ...] | None
    preprocessing: dict[str, Any]
    training: dict[str, Any]
    versions: dict[str, Any]
    created: str
    licence: str
    citation: tuple[str, ...]
    files: tuple[FileEntry, ...]

    @property
    def computed_only(self) -> bool:
        """Whether no person's scan was trained on."""
        return bool(self.training.get(COMPUTED_ONLY))

    @property
    def caution(self) -> dict[str, Any]:
        """What outputs say of such a model: its weights' hashes and a word of caution; empty for others."""
        if not self.computed_only:
            return {}
        weights = [f.sha256 for f in self.files if f.path.endswith(".onnx")]
        return {"weights_sha256": weights, "cleaned_by": list(CLEANED_BY), "caution": CAUTION}

    def to_json(self) -> dict[str, Any]:
        """As manifest.json holds it."""
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(self)}


def label_entries(labels: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The labels of a dataset.json with muscle, side and terminology codes.

    Raises:
        InputError: Regions, for which there is no single value.
    """
    found = []
    for key, value in labels.items():
        if not isinstance(value, int):
            raise InputError(f"label '{key}' ({value}): only models with one value per label can be exported")
        if key == IGNORE or value == BACKGROUND:
            continue
        structure = BY_KEY.get(key)
        found.append(
            {
                "value": value,
                "key": key,
                "muscle": structure and structure.muscle.value,
                "side": structure and structure.side.value,
                "muscle_code": structure and asdict(MUSCLE_CODES[structure.muscle]),
                "side_code": structure and asdict(SIDE_CODES[structure.side]),
            }
        )
    return tuple(sorted(found, key=lambda e: e["value"]))


def file_entries(folder: Path) -> tuple[FileEntry, ...]:
    """All files in a model's folder but the manifest, sorted by path."""
    found = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / FILE_NAME)
    return tuple(FileEntry(p.relative_to(folder).as_posix(), p.stat().st_size, file_sha256(p)) for p in found)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; it is the last file of a model to be written, since it holds the others' hashes."""
    write_json(folder / FILE_NAME, manifest.to_json())


def read_manifest(folder: Path) -> Manifest:
    """Read and check manifest.json.

    Raises:
        InputError: Missing, not ours, of a later version, or with a field missing or of the wrong kind.
    """
    path = folder / FILE_NAME
    try:
        with open_regular(path) as file:
            content = json.loads(file.read(LARGEST_BYTES))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); this is no exported model") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid JSON ({error}); get the model again") from error
    return parse_manifest(content, str(path))


def parse_manifest(content: Any, where: str) -> Manifest:
    """A manifest from parsed JSON; `where` names it in messages.

    Raises:
        InputError: As `read_manifest`.
    """
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"{where}: is no manifest of 'paraspinal export' (schema is not '{SCHEMA}')")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(f"{where}: schema version {version!r}, this release reads {SCHEMA_VERSION}; update it")
    missing = [f.name for f in fields(Manifest) if f.name not in content]
    if missing:
        raise InputError(f"{where}: '{missing[0]}' is missing; get the model again")
    for name, pattern in _NAMES.items():
        _check(where, name, content[name], _matches(content[name], pattern))
    for name in ("preprocessing", "training", "versions"):
        _check(where, name, content[name], isinstance(content[name], dict))
    for name in ("created", "licence"):
        _check(where, name, content[name], isinstance(content[name], str))
    folds, axes = content["folds"], content["mirroring_axes"]
    _check(where, "folds", folds, _list_of(folds, str) and _distinct(folds) and all(_matches(f, _FOLD) for f in folds))
    of_axes = axes is None or (_list_of(axes, int) and len(set(axes)) == len(axes) and all(0 <= a <= 2 for a in axes))
    _check(where, "mirroring_axes", axes, of_axes)
    _check(where, "labels", content["labels"], _list_of(content["labels"], dict) and content["labels"])
    _check(where, "protocol", content["protocol"], content["protocol"] is None or _list_of(content["protocol"], dict))
    _check(where, "citation", content["citation"], _list_of(content["citation"], str))
    for label in content["labels"]:
        sound = type(label.get("value")) is int and 0 < label["value"] < 255 and isinstance(label.get("key"), str)
        _check(where, "labels", label, sound)
    keys = [label["key"] for label in content["labels"]]
    _check(where, "labels", "a key twice", _distinct(keys))
    values = {f.name: _frozen(content[f.name]) for f in fields(Manifest)}
    return Manifest(**{**values, "files": _files(content["files"], where)})


def check_files(folder: Path, manifest: Manifest, *, exact: bool) -> None:
    """Compare sizes and hashes of a model's files with its manifest.

    Args:
        folder: The model's.
        manifest: Its manifest.
        exact: Refuse files that the manifest does not name, too.

    Raises:
        InputError: Naming the first file that is missing, changed or not named.
    """
    for entry in manifest.files:
        path = folder / entry.path
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path}: is missing or no plain file, but the manifest names it; get the model again")
        if path.stat().st_size != entry.size_bytes or file_sha256(path) != entry.sha256:
            raise InputError(f"{path}: is not the file that the manifest describes (other hash); get the model again")
    named = {entry.path for entry in manifest.files} | {FILE_NAME}
    others = [p for p in folder.rglob("*") if not p.is_dir() and p.relative_to(folder).as_posix() not in named]
    if exact and others:
        raise InputError(f"{min(others)}: the manifest does not name this file; get the model again")


def _files(content: Any, where: str) -> tuple[FileEntry, ...]:
    _check(where, "files", content, _list_of(content, dict) and content)
    entries = []
    for item in content:
        path, size, digest = item.get("path"), item.get("size_bytes"), item.get("sha256")
        sound = isinstance(path, str) and type(size) is int and size >= 0 and _matches(digest, _SHA256)
        _check(where, "files", item, sound and _is_inside(path))
        entries.append(FileEntry(path, size, digest))
    _check(where, "files", "a path twice", len({e.path for e in entries}) == len(entries))
    return tuple(entries)


def _is_inside(path: str) -> bool:
    pure = PurePosixPath(path)
    plain = re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", path) is not None
    return plain and not {"..", "."} & set(pure.parts) and path != FILE_NAME


def _check(where: str, name: str, value: Any, sound: object) -> None:
    if not sound:
        raise InputError(f"{where}: '{name}' holds {_shortened(value)}, which cannot be; get the model again")


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _matches(value: Any, pattern: str) -> bool:
    return isinstance(value, str) and len(value) <= 200 and re.fullmatch(pattern, value) is not None


def _list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)


def _distinct(values: list[Any]) -> bool:
    return bool(values) and len(set(values)) == len(values)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
