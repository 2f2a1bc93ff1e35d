"""One case of a batch: what is there of it already, and what is read, computed and written for the rest."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet.errors import GeometryError, InputError, ParaspinalError
from paraspinal_nnunet.image_io.geometry import axis_codes, grid_difference
from paraspinal_nnunet.image_io.images import read_labels
from paraspinal_nnunet.image_io.nifti import write_labels
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.inputs import Scan
from paraspinal_nnunet.inference.outputs import (
    Model,
    Products,
    levels_of,
    make_products,
    missing_products,
    wanted_products,
)
from paraspinal_nnunet.inference.portable import Segmentation
from paraspinal_nnunet.inference.records import CaseFiles, CaseRecord, read_record, write_record
from paraspinal_nnunet.inference.segmenters import Segmenter
from paraspinal_nnunet.utils.files import atomic_path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CasePlan:
    """What is done with every case of a batch.

    Attributes:
        output: Folder for all files.
        model: What makes the masks.
        products: What is made beside them; None for masks alone.
        post: Clean-ups by name.
        overwrite: Make again what is there already.
        settings: What a mask depends on, as records hold it.
    """

    output: Path
    model: Model
    products: Products | None
    post: tuple[str, ...]
    overwrite: bool
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Loaded:
    """A scan, and its mask where that is there already."""

    image: Volume
    labels: np.ndarray | None


@dataclass(frozen=True)
class Segmented:
    """A scan with its labels, and what made them; None where they were there already."""

    image: Volume
    labels: np.ndarray
    made: Segmentation | None


class Case:
    """A scan of a batch."""

    def __init__(self, scan: Scan, plan: CasePlan) -> None:
        self.scan, self._plan = scan, plan
        self.files = CaseFiles(plan.output, scan.name, scan.mask_name)

    @cached_property
    def to_predict(self) -> bool:
        """Whether a mask is to be made."""
        return self._plan.overwrite or not self.files.mask.exists()

    @cached_property
    def record(self) -> CaseRecord | None:
        """The record that stands, of the mask that stands."""
        return None if self.to_predict else read_record(self.files.record)

    @cached_property
    def missing(self) -> frozenset[str]:
        """What is to be made beside the mask."""
        if self._plan.products is None:
            return frozenset()
        wanted = wanted_products(self.scan, self._plan.products)
        return frozenset(wanted) if self.to_predict else missing_products(self.files, self.record, wanted)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is to be done."""
        return not self.to_predict and not self.missing

    @property
    def differs(self) -> bool:
        """Whether the mask that stands was made by another model, or otherwise, than is asked for now."""
        if self.record is None or not self.record.prediction:
            return False
        wanted = {"model": self._plan.model.name, **self._plan.settings}
        return any(self.record.prediction.get(name) != value for name, value in wanted.items())

    def load(self) -> Loaded:
        """Read the scan, and its mask where that is kept.

        Raises:
            InputError: It cannot be read, or has no levels.
            GeometryError: The mask that stands lies on another grid.
        """
        if self._plan.products and self._plan.products.measures:
            levels_of(self.scan, self._plan.products.levels)
        image = self.scan.read()
        for remark in image.remarks:
            log.info("%s: %s", self.scan.name, remark)
        if self.to_predict:
            return Loaded(image, None)
        mask = read_labels(self.files.mask)
        difference = grid_difference(mask.shape, mask.affine, image.shape, image.affine)
        if difference:
            raise GeometryError(
                f"{self.files.mask}: is the mask of another scan ({difference}); write elsewhere, or --overwrite"
            )
        return Loaded(image, mask.array)

    def write(self, segmenter: Segmenter | None, result: Segmented) -> None:
        """Write the mask, what goes beside it, and the record.

        Raises:
            ParaspinalError: Something beside the mask cannot be made; the mask is there.
        """
        record, labels = self.record or CaseRecord(self.scan.name, self.scan.mask_name), result.labels
        if result.made is not None and segmenter is not None:
            labels = _cleaned(labels, self._plan.post, result.image.spacing_mm)
            record = self._new_record(segmenter, result.image, result.made)
            if self._plan.products is not None:
                self.files.mask.unlink(missing_ok=True)
                write_record(self.files.record, record)
            with atomic_path(self.files.mask) as temporary:
                write_labels(temporary, labels, result.image.affine)
        if self._plan.products is None or not self.missing:
            return
        try:
            make_products(
                self.files,
                self.scan,
                result.image,
                Volume(labels, result.image.affine),
                record,
                missing=self.missing,
                products=self._plan.products,
                model=self._plan.model,
            )
        except ParaspinalError as error:
            raise type(error)(f"the mask is written, but not all that goes beside it: {error}") from error

    def _new_record(self, segmenter: Segmenter, image: Volume, made: Segmentation) -> CaseRecord:
        return CaseRecord(
            case=self.scan.name,
            mask=self.scan.mask_name,
            input={
                "source": self.scan.source,
                "shape": list(image.shape),
                "spacing_mm": [round(mm, 6) for mm in image.spacing_mm],
                "orientation": axis_codes(image.affine),
                "remarks": list(image.remarks),
            },
            prediction={
                "model": self._plan.model.name,
                **segmenter.settings,
                "post": list(self._plan.post),
                "date": date.today().isoformat(),
            },
            disagreement=made.disagreement,
        )


def segment_case(segmenter: Segmenter | None, loaded: Loaded) -> Segmented:
    """Labels of a loaded scan: those that are there, or new ones.

    Raises:
        InputError: The model cannot segment it.
    """
    if loaded.labels is not None:
        return Segmented(loaded.image, loaded.labels, None)
    if segmenter is None:
        raise InputError("no model was opened; start again")
    made = segmenter.segment(loaded.image)
    return Segmented(loaded.image, made.labels, made)


def note_other_settings(cases: Sequence[Case]) -> None:
    """Tell of masks that are kept though they were made otherwise than is asked for."""
    other = [case.scan.name for case in cases if case.differs]
    if other:
        log.warning(
            "note: %d masks are kept that another model or other settings made, e.g. %s; --overwrite makes them again",
            len(other),
            other[0],
        )


def _cleaned(labels: np.ndarray, post: Sequence[str], spacing_mm: Sequence[float]) -> np.ndarray:
    if not post:
        return labels
    from paraspinal_nnunet.image_io.postprocessing import postprocess

    return postprocess(labels, post, spacing_mm)
