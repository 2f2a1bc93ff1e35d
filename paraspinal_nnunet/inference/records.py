"""What stands where in an output folder, and the record of each case: from what and how it was made."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.viewers.segmentation_nrrd import ENDING as SLICER_ENDING
from paraspinal_nnunet.utils.files import write_json
from paraspinal_nnunet.utils.forms import ANY, read_form

SCHEMA = "paraspinal-nnunet case"
SCHEMA_VERSION = 1

INDEX_FILE = "index.html"
MEASURES_FOLDER, PAGES_FOLDER, RECORDS_FOLDER = "measures", "pages", "records"
WIDE_TABLE = "measures_wide.tsv"
SLICER_FOLDER = "slicer"
MEASURES, PAGE, PREVIEW, SLICER = "measures", "page", "preview", "slicer"
SEGMENTATION, REPORT, CONTOURS, CAPTURE = "segmentation", "report", "contours", "capture"
DICOM_FILES = {SEGMENTATION: "seg", REPORT: "report", CONTOURS: "rtstruct", CAPTURE: "page"}
"""DICOM object -> how its file's name ends."""

_SUMMARY = {
    **{"thumbnail?": str, "volumes_ml?": {ANY: [(float, None)]}, "flags?": ([[str]], None), "review_order?": float},
}
_FORM = {
    **{"case": str, "mask": str, "input?": (dict, None), "prediction?": (dict, None), "products?": ({ANY: dict}, None)},
    **{"disagreement?": ({ANY: float}, None), "summary?": (_SUMMARY, None), "fingerprints?": (dict, None)},
    "times?": (dict, None),
}


@dataclass(frozen=True)
class OutputPaths:
    """The files of one case.

    Attributes:
        output: The folder of all cases.
        case: Its name.
        mask_name: File of its mask, relative to the folder.
    """

    output: Path
    case: str
    mask_name: str

    @property
    def mask(self) -> Path:
        """The mask."""
        return self.output / self.mask_name

    @property
    def preview(self) -> Path:
        """The picture beside it."""
        return self.output / f"{self.case}.png"

    @property
    def slicer(self) -> Path:
        """The mask for 3D Slicer; not among the masks, where it would be read as another one."""
        return self.output / SLICER_FOLDER / f"{self.case}{SLICER_ENDING}"

    def dicom(self, name: str) -> Path:
        """A DICOM object beside it, by a name in `DICOM_FILES`."""
        return self.output / f"{self.case}_{DICOM_FILES[name]}.dcm"

    @property
    def measures(self) -> Path:
        """The folder of its tables."""
        return self.output / MEASURES_FOLDER / self.case

    @property
    def page(self) -> Path:
        """Its page."""
        return self.output / PAGES_FOLDER / f"{self.case}.html"

    @property
    def record(self) -> Path:
        """Its record."""
        return self.output / RECORDS_FOLDER / f"{self.case}.json"

    @property
    def of_outputs(self) -> dict[str, Path]:
        """What goes beside the mask, and where."""
        return {
            MEASURES: self.measures,
            PAGE: self.page,
            PREVIEW: self.preview,
            SLICER: self.slicer,
            **{name: self.dicom(name) for name in DICOM_FILES},
        }


@dataclass(frozen=True)
class PredictionRecord:
    """What is known of a case; equal runs give equal records but for `times`.

    Attributes:
        case: Its name.
        mask: File of its mask, relative to the folder of all cases.
        input: What was segmented: source, shape, spacing_mm, stored orientation, remarks.
        prediction: Model and settings; ``corrected`` where the mask was changed afterwards.
        disagreement: Structure's key -> mean of 1 - Dice between the folds; None where it is not known.
        products: What was made beside the mask -> the settings with which.
        summary: What the page of all cases shows of it; empty until that was made.
        fingerprints: Of ``input``, ``model`` and ``mask`` the SHA-256, and the ``options`` of the mask.
        times: The date, when the mask was made to the second, and the first looks of `utils.fingerprint` at input and
            model.
    """

    case: str
    mask: str
    input: Mapping[str, Any] = field(default_factory=dict)
    prediction: Mapping[str, Any] = field(default_factory=dict)
    disagreement: Mapping[str, float] | None = None
    products: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    fingerprints: Mapping[str, Any] = field(default_factory=dict)
    times: Mapping[str, Any] = field(default_factory=dict)

    @property
    def date(self) -> str:
        """When the mask was made; earlier releases kept that among the settings."""
        return str(self.times.get("date") or self.prediction.get("date", ""))

    @property
    def made(self) -> datetime:
        """When the mask was made; of earlier releases only the day is known, of the first not even that."""
        try:
            return datetime.fromisoformat(str(self.times.get("made") or self.date))
        except ValueError:
            return datetime(1970, 1, 1)


def write_record(path: Path, record: PredictionRecord) -> None:
    """Write a record whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **vars(record)})


def read_record(path: Path) -> PredictionRecord | None:
    """A case's record; None where there is none, or none that this release understands."""
    if not path.is_file():
        return None
    try:
        content = read_form(path, _FORM)
    except InputError:
        return None
    if content.pop("schema", None) != SCHEMA or content.pop("schema_version", None) != SCHEMA_VERSION:
        return None
    if not set(content) <= {f.name for f in fields(PredictionRecord)} or not _pairs_are_pairs(content.get("summary")):
        return None
    if content.get("case") != path.stem or not _stays_inside(content.get("mask")):
        return None
    return PredictionRecord(**{name: value for name, value in content.items() if value is not None})


def _pairs_are_pairs(summary: Mapping[str, Any] | None) -> bool:
    """Whether a summary names muscles with two sides each, and flags with a word and a text."""
    volumes, flags = (summary or {}).get("volumes_ml", {}), (summary or {}).get("flags") or []
    return set(volumes) <= {m.value for m in Muscle} and all(len(each) == 2 for each in (*volumes.values(), *flags))


def encoded_picture(content: bytes) -> str:
    """A picture as JSON holds it."""
    return base64.b64encode(content).decode("ascii")


def decoded_picture(text: str) -> bytes:
    """Undo `encoded_picture`; nothing where it is damaged."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _stays_inside(name: Any) -> bool:
    """Whether it is a file's name, or leads to one below the same folder."""
    if not isinstance(name, str) or "\\" in name or ":" in name:
        return False
    path = PurePosixPath(name)
    return path.as_posix() == name and bool(path.name) and not path.is_absolute() and ".." not in path.parts
