"""One case of a batch: what is there of it already, and what is read, computed and written for the rest."""

import logging
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from paraspinal_nnunet.errors import GeometryError, InputError, ParaspinalError
from paraspinal_nnunet.image_io.geometry import axis_codes, check_axial, grid_difference
from paraspinal_nnunet.image_io.images import read_labels
from paraspinal_nnunet.image_io.nifti import write_labels
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.options import PredictionOptions
from paraspinal_nnunet.inference.outputs import CaseOutputs, Products, missing_outputs
from paraspinal_nnunet.inference.portable import Segmentation
from paraspinal_nnunet.inference.records import PAGE, OutputPaths, PredictionRecord, read_record, write_record
from paraspinal_nnunet.inference.scan_checks import check_is_scan
from paraspinal_nnunet.inference.scans import Scan
from paraspinal_nnunet.inference.segmenters import Segmenter
from paraspinal_nnunet.models.description import ModelDescription
from paraspinal_nnunet.utils.files import atomic_path
from paraspinal_nnunet.utils.fingerprint import Fingerprint, file_sha256, fingerprint

log = logging.getLogger(__name__)

OLD_MASK_SETTLED_S = 600.0
"""A mask of an earlier release that is newer than its record by more was changed by hand since."""


@dataclass(frozen=True)
class BatchPlan:
    """What is done with every case of a batch.

    Attributes:
        output: Folder for all files.
        model: What makes the masks, in words.
        model_mark: Which model that is.
        products: What is made beside them; None for masks alone.
        options: How the model is applied.
        overwrite: Make again what is there already.
    """

    output: Path
    model: ModelDescription
    model_mark: Fingerprint
    products: Products | None
    options: PredictionOptions
    overwrite: bool


@dataclass(frozen=True)
class Standing:
    """What is there of a case.

    Attributes:
        record: Of the mask that stands and stays.
        reason: Why a mask that stands is made again.
        problem: Why it can be neither kept nor made again.
    """

    record: PredictionRecord | None = None
    reason: str = ""
    problem: str = ""


@dataclass(frozen=True)
class LoadedScan:
    """A scan with its fingerprint, and its mask where that is kept."""

    image: Volume
    mark: Fingerprint
    labels: np.ndarray | None


@dataclass(frozen=True)
class SegmentedScan:
    """A scan with its labels, and what made them; None where they were there already."""

    loaded: LoadedScan
    labels: np.ndarray
    made: Segmentation | None


class PredictedCase:
    """A scan of a batch."""

    def __init__(self, scan: Scan, plan: BatchPlan) -> None:
        self.scan, self._plan = scan, plan
        self.paths = OutputPaths(plan.output, scan.name, scan.mask_name)
        self.has_page = False

    @cached_property
    def standing(self) -> Standing:
        """What is there; reads as little as it can."""
        if self._plan.overwrite or not self.paths.mask.exists():
            return Standing()
        record = read_record(self.paths.record)
        try:
            if record is None:
                return Standing(problem="stands there without a record of what it was made from; move it away")
            return self._compared(record) if record.fingerprints else self._of_earlier_release()
        except (ParaspinalError, OSError):
            return Standing()  # told when the scan is loaded

    @property
    def to_predict(self) -> bool:
        """Whether a mask is to be made."""
        return self.standing.record is None and not self.standing.problem

    @cached_property
    def wanted(self) -> dict[str, dict[str, Any]]:
        """What is to stand beside the mask, and what it is made with."""
        return self._plan.products.wanted(self.scan) if self._plan.products else {}

    @cached_property
    def missing(self) -> frozenset[str]:
        """What is to be made beside the mask."""
        if self.to_predict:
            return frozenset(self.wanted)
        return missing_outputs(self.paths, self.standing.record, self.wanted)

    @cached_property
    def is_complete(self) -> bool:
        """Whether nothing is to be done."""
        try:
            complete = not self.to_predict and not self.standing.problem and not self.missing
        except (ParaspinalError, OSError):
            return False  # told when the case is loaded
        self.has_page = complete and PAGE in self.wanted
        return complete

    def load(self) -> LoadedScan:
        """Read the scan, and its mask where that is kept.

        Raises:
            InputError: It cannot be read, has no levels, or a mask that stands may not be touched.
            GeometryError: The mask that stands lies on another grid.
        """
        standing = self.standing
        if standing.problem:
            raise InputError(f"{self.paths.mask}: {standing.problem}, write elsewhere, or --overwrite")
        if self._plan.products:
            self._plan.products.levels_of(self.scan)
        if standing.reason:
            log.info("%s: made again: %s", self.scan.name, standing.reason)
        mark = self._mark(standing.record)
        image = self.scan.read()
        check_axial(image.affine, image.shape, self.scan.name)
        for remark in image.remarks:
            log.info("%s: %s", self.scan.name, remark)
        if standing.record is None:
            check_is_scan(image, self.scan.name)
            return LoadedScan(image, mark, None)
        mask = read_labels(self.paths.mask)
        difference = grid_difference(mask.shape, mask.affine, image.shape, image.affine)
        if difference:
            raise GeometryError(
                f"{self.paths.mask}: is the mask of another scan ({difference}); write elsewhere, or --overwrite"
            )
        return LoadedScan(image, mark, mask.array)

    def write(self, segmenter: Segmenter | None, result: SegmentedScan) -> None:
        """Write the mask, what goes beside it, and the record.

        Raises:
            InputError: Something beside the mask cannot be made; the mask and the rest are there.
        """
        image, labels, record = result.loaded.image, result.labels, self.standing.record
        if result.made is not None and segmenter is not None:
            labels = self._cleaned(labels, image)
            record = self._write_mask(segmenter, result, labels)
        if record is None or self._plan.products is None or not self.missing:
            return
        mask = Volume(labels, image.affine)
        outputs = CaseOutputs(self.scan, self.paths, image, mask, record, self._plan.products, self._plan.model)
        outputs.make(self.wanted, self.missing)
        self.has_page = PAGE in outputs.record.products and PAGE in self.wanted
        write_record(self.paths.record, outputs.record)
        if outputs.failures:
            said = "; ".join(f"{name}: {reason}" for name, reason in outputs.failures.items())
            raise InputError(f"the mask is written, but not all that goes beside it ({said})")

    def _compared(self, record: PredictionRecord) -> Standing:
        """Whether the mask that stands is what would be made now."""
        known, options = record.fingerprints, self._plan.options.of_masks
        said = known.get("options")
        differing = [name for name, value in options.items() if not isinstance(said, dict) or said.get(name) != value]
        changes = {
            "the scan has changed": self._mark(record).sha256 != known.get("input"),
            "the model is another": self._plan.model_mark.sha256 != known.get("model"),
            f"other options are given ({', '.join(differing)})": bool(differing),
        }
        reason = " and ".join(text for text, changed in changes.items() if changed)
        mask, corrected = file_sha256(self.paths.mask), bool(record.prediction.get("corrected"))
        if mask == known.get("mask") and not (corrected and reason):
            return Standing(None if reason else record, reason=reason)
        if reason:
            return Standing(problem=f"was changed by hand, and {reason} since it was made; move it away")
        log.info("%s: its mask was changed by hand; it is kept, and what goes beside it is made again", self.scan.name)
        prediction = {**record.prediction, "corrected": True}
        return Standing(replace(record, products={}, prediction=prediction, fingerprints={**known, "mask": mask}))

    def _of_earlier_release(self) -> Standing:
        newer_s = self.paths.mask.stat().st_mtime - self.paths.record.stat().st_mtime
        reason = "the record of its mask does not say from which scan that was made"
        if newer_s > OLD_MASK_SETTLED_S:
            return Standing(problem=f"was changed by hand, and {reason}; move it away")
        return Standing(reason=reason)

    def _mark(self, record: PredictionRecord | None) -> Fingerprint:
        known = None
        if record is not None:
            known = Fingerprint(str(record.fingerprints.get("input", "")), str(record.times.get("input_look", "")))
        return fingerprint(self.scan.sources, known=known)

    def _cleaned(self, labels: np.ndarray, image: Volume) -> np.ndarray:
        if not self._plan.options.post:
            return labels
        from paraspinal_nnunet.image_io.masks.postprocessing import postprocess

        return postprocess(labels, self._plan.options.post, image.spacing_mm)

    def _write_mask(self, segmenter: Segmenter, result: SegmentedScan, labels: np.ndarray) -> PredictionRecord:
        """Between old and new there is no mask, so that none ever stands beside another's record."""
        with atomic_path(self.paths.mask) as temporary:
            write_labels(temporary, labels, result.loaded.image.affine)
            record = self._new_record(segmenter, result, file_sha256(temporary))
            old = read_record(self.paths.record)
            self._remove_mask_of_earlier_layout(old)
            self.paths.mask.unlink(missing_ok=True)
            for name in old.products if old else ():
                _remove(self.paths.of_outputs.get(name))
            write_record(self.paths.record, record)
        return record

    def _remove_mask_of_earlier_layout(self, old: PredictionRecord | None) -> None:
        """One that stands under another name gives way, unless a hand changed it."""
        if old is None or old.mask == self.scan.mask_name:
            return
        former = self._plan.output / old.mask
        if former.is_file() and file_sha256(former) == old.fingerprints.get("mask"):
            former.unlink()

    def _new_record(self, segmenter: Segmenter, result: SegmentedScan, mask: str) -> PredictionRecord:
        image, plan, mark, now = result.loaded.image, self._plan, result.loaded.mark, datetime.now()
        return PredictionRecord(
            case=self.scan.name,
            mask=self.scan.mask_name,
            input={
                "source": self.scan.source,
                "shape": list(image.shape),
                "spacing_mm": [round(mm, 6) for mm in image.spacing_mm],
                "orientation": axis_codes(image.affine),
                "remarks": list(image.remarks),
            },
            prediction={"model": plan.model.name, **segmenter.settings, "post": list(plan.options.post)},
            disagreement=result.made.disagreement if result.made else None,
            fingerprints={
                "input": mark.sha256,
                "model": plan.model_mark.sha256,
                "mask": mask,
                "options": plan.options.of_masks,
            },
            times={
                "date": now.date().isoformat(),
                "made": now.isoformat(timespec="seconds"),
                "input_look": mark.look,
                "model_look": plan.model_mark.look,
            },
        )


def segment_scan(segmenter: Segmenter | None, loaded: LoadedScan) -> SegmentedScan:
    """Labels of a loaded scan: those that are there, or new ones.

    Raises:
        InputError: The model cannot segment it.
    """
    if loaded.labels is not None:
        return SegmentedScan(loaded, loaded.labels, None)
    if segmenter is None:
        raise InputError("no model was opened; start again")
    made = segmenter.segment(loaded.image)
    return SegmentedScan(loaded, made.labels, made)


def _remove(path: Path | None) -> None:
    if path is not None and path.is_dir():
        shutil.rmtree(path)
    elif path is not None:
        path.unlink(missing_ok=True)
