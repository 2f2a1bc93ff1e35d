"""The models that come with the program: where they are, and which one is taken where none is named."""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from paraspinal_nnunet.errors import InputError, SetupError
from paraspinal_nnunet.models.manifest import FILE_NAME
from paraspinal_nnunet.utils.fingerprint import file_sha256

DEFAULT_NAME = "default"
"""What ``-m default`` stands for; the newest version."""

FOLDER = "data"


@dataclass(frozen=True)
class ShippedModel:
    """A model inside the package.

    Attributes:
        name: What ``-m`` takes.
        version: Of the weights.
        path: Its archive.
        sha256: Of the archive.
        manifest: Its manifest.
    """

    name: str
    version: str
    path: Path
    sha256: str
    manifest: dict[str, Any]


def shipped_models() -> tuple[ShippedModel, ...]:
    """All models that come with the program, by name."""
    return tuple(sorted(_found(), key=lambda model: model.name))


def resolve_model(model: Path | str | None) -> Path:
    """The path of a model: a path as it is, a shipped model by its name, the default one for None.

    A file or folder of a shipped model's name goes before the shipped model.

    Raises:
        SetupError: The installation lacks the default model.
    """
    if model is not None and (Path(model).exists() or str(model) not in {DEFAULT_NAME, *_names()}):
        return Path(model)
    wanted = DEFAULT_NAME if model is None else str(model)
    found = [m for m in shipped_models() if wanted in (DEFAULT_NAME, m.name)]
    if not found:
        raise SetupError("the model that comes with the program is missing; install paraspinal-nnunet again")
    return found[-1].path


def _names() -> set[str]:
    return {path.stem for path in _archives()}


def _archives() -> list[Path]:
    folder = Path(str(files("paraspinal_nnunet.default_model"))) / FOLDER
    return sorted(folder.glob("*.zip"))


def _found() -> Iterator[ShippedModel]:
    for path in _archives():
        try:
            with zipfile.ZipFile(path) as archive:
                manifest = json.loads(archive.read(FILE_NAME))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: is damaged ({error}); install paraspinal-nnunet again") from error
        version = str(manifest["training"].get("version", "unknown"))
        yield ShippedModel(path.stem, version, path, file_sha256(path), manifest)
