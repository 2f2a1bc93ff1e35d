"""What is made of a mask beside it: measures with flags, a picture, a page, and for DICOM a SEG object."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import InputError, reason_of
from paraspinal_nnunet.image_io.images import images_in, stem_of
from paraspinal_nnunet.image_io.pairing import partners
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.records import (
    CAPTURE,
    CONTOURS,
    MEASURES,
    PAGE,
    PREVIEW,
    REPORT,
    SEGMENTATION,
    SLICER,
    OutputPaths,
    PredictionRecord,
    encoded_picture,
)
from paraspinal_nnunet.inference.scans import Scan
from paraspinal_nnunet.models.description import ModelDescription
from paraspinal_nnunet.utils.files import atomic_path, write_text
from paraspinal_nnunet.utils.fingerprint import fingerprint

if TYPE_CHECKING:
    from paraspinal_nnunet.dicom.results.source_series import SourceSeries
    from paraspinal_nnunet.html import PageCase
    from paraspinal_nnunet.measures.case import Measured

DICOM_OBJECTS = {"seg": SEGMENTATION, "report": REPORT, "contours": CONTOURS, "page": CAPTURE}
"""What is asked for -> its name in records."""

MEASURED = (REPORT, CAPTURE)
"""DICOM objects that hold measures."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Products:
    """What is wanted beside each mask.

    Attributes:
        measures: Tables and flags.
        pages: A page and a picture per case, and a page of all.
        slicer: A segmentation for 3D Slicer.
        dicom: DICOM objects per DICOM study, of `DICOM_OBJECTS`.
        allow_empty: Write DICOM objects also of a mask without any voxel.
        fat: Thresholds that part fat from muscle; see `measures.case.MeasureOptions`.
        levels: A table of levels, a levels label map, or a folder of these maps; None without levels.
        patient_facts: Show on the page what the DICOM header says of the patient.
    """

    measures: bool = True
    pages: bool = True
    slicer: bool = False
    dicom: tuple[str, ...] = ("seg", "report", "page")
    allow_empty: bool = False
    fat: tuple[str, ...] = ("gmm3",)
    levels: Path | None = None
    patient_facts: bool = False

    def check(self) -> None:
        """Refuse what cannot be made, before anything is predicted.

        Raises:
            InputError: An unknown threshold, levels that do not exist, or a report without what it refers to.
        """
        from paraspinal_nnunet.measures.outputs.columns import THRESHOLD_METHODS

        unknown = [method for method in self.fat if method not in THRESHOLD_METHODS]
        if unknown:
            raise InputError(f"fat by '{unknown[0]}' is unknown; choose from {', '.join(THRESHOLD_METHODS)}")
        if "report" in self.dicom and "seg" not in self.dicom:
            raise InputError("a DICOM report refers to the DICOM SEG; ask for seg, too")
        if self.levels is not None and not (self.levels.is_file() or self.levels.is_dir()):
            raise InputError(f"{self.levels}: no such file or folder")

    def levels_of(self, scan: Scan) -> Path | None:
        """The levels of a case: a table as it is, else the map of its name, or the only one that begins with it.

        Raises:
            InputError: None, or several.
        """
        if not self.measures or self.levels is None or self.levels.is_file():
            return self.levels if self.measures else None
        files = images_in(self.levels)
        goes_with = partners(scan.name, {stem_of(p.name) for p in files})
        found = [p for p in files if stem_of(p.name) in goes_with]
        if len(found) != 1:
            names = ", ".join(p.name for p in found[:3]) or "none"
            raise InputError(
                f"{scan.name}: needs one levels map in {self.levels} whose name begins with it; found {names}"
            )
        return found[0]

    def wanted(self, scan: Scan) -> dict[str, dict[str, Any]]:
        """What is to stand beside a case's mask, and what it is made with.

        Raises:
            InputError: As `levels_of`.
        """
        measured: dict[str, Any] = {"fat": list(self.fat), "levels": self.levels.name if self.levels else None}
        levels = self.levels_of(scan)
        if levels is not None:
            measured["levels_sha256"] = fingerprint(levels).sha256
        wanted: dict[str, dict[str, Any]] = {}
        for word in self.dicom if scan.study is not None else ():
            if (name := DICOM_OBJECTS[word]) != REPORT or self.measures:
                wanted[name] = {"measures": measured if self.measures and name in MEASURED else None}
        if self.measures:
            wanted[MEASURES] = measured
        if self.slicer:
            wanted[SLICER] = {}
        if self.pages:
            wanted[PREVIEW] = {}
            named = self.patient_facts and bool(scan.patient)
            wanted[PAGE] = {"measures": measured if self.measures else None, "patient_facts": named}
        return wanted


@dataclass
class CaseOutputs:
    """What goes beside the mask of one case, a method each; none depends on another's success.

    Attributes:
        scan: The input.
        paths: Where to.
        image: Its voxels.
        labels: Canonical labels on its grid.
        record: What is known of the case; grows with what is made.
        products: How.
        model: What made the mask.
        failures: Output -> why it could not be made.
    """

    scan: Scan
    paths: OutputPaths
    image: Volume
    labels: Volume
    record: PredictionRecord
    products: Products
    model: ModelDescription
    failures: dict[str, str] = field(default_factory=dict)

    def make(self, wanted: Mapping[str, dict[str, Any]], missing: Collection[str]) -> None:
        """Make what is missing of what is wanted; what fails is told in `failures`."""
        made: dict[str, Callable[[], None]] = {
            **{name: partial(self.dicom, name) for name in DICOM_OBJECTS.values()},
            MEASURES: self.measures,
            SLICER: self.slicer,
            PREVIEW: self.preview,
            PAGE: self.page,
        }
        done = {name: settings for name, settings in self.record.products.items() if name not in missing}
        for name in [name for name in wanted if name in missing]:
            try:
                made[name]()
                done[name] = wanted[name]
            except Exception as error:
                self.failures[name] = reason_of(error)
                log.debug("%s: %s", self.paths.case, name, exc_info=True)
        if PAGE in done and MEASURES in self.failures:
            done[PAGE] = {**done[PAGE], "measures": None}
        ordered = [*(name for name in wanted if name in done), *(name for name in done if name not in wanted)]
        self.record = replace(self.record, products={name: done[name] for name in ordered})  # whenever each was made

    def dicom(self, name: str) -> None:
        """A DICOM object.

        Raises:
            ParaspinalError: Headers that no object can refer to, an empty mask, or the package for it is missing.
        """
        from paraspinal_nnunet.inference.dicom.outputs import write_object

        if name == REPORT and SEGMENTATION in self.failures:
            raise InputError("the DICOM SEG that it refers to could not be made")
        measured = self._measured.measures if self.products.measures and name in MEASURED else None
        write_object(name, self, measured)

    def measures(self) -> None:
        """The folder of tables.

        Raises:
            ParaspinalError: No levels for this case, or slices that are not axial.
        """
        from paraspinal_nnunet.measures.outputs.writing import write_case

        write_case(self.paths.measures, self._measured)

    def slicer(self) -> None:
        """The mask as 3D Slicer keeps segmentations."""
        from paraspinal_nnunet.image_io.viewers.segmentation_nrrd import write_segmentation_nrrd

        write_segmentation_nrrd(self.paths.slicer, self.labels, self.model.structures or ())

    def preview(self) -> None:
        """The picture."""
        from paraspinal_nnunet.html import preview_png

        with atomic_path(self.paths.preview) as temporary:
            temporary.write_bytes(preview_png(self.image, self.labels, title=self.paths.case))

    def page(self) -> None:
        """The page, without measures where these could not be made, and its summary in the record."""
        from paraspinal_nnunet.html import case_page, summarise_case

        page = self._page_case()
        write_text(self.paths.page, case_page(page))
        summary = summarise_case(page)
        self.record = replace(
            self.record,
            summary={
                "thumbnail": encoded_picture(summary.thumbnail),
                "volumes_ml": {muscle.value: list(sides) for muscle, sides in summary.volumes_ml.items()},
                "flags": None if summary.flags is None else [list(flag) for flag in summary.flags],
                "review_order": summary.review_order,
            },
        )

    @cached_property
    def source_series(self) -> "SourceSeries | None":
        """The DICOM series that all objects refer to, where there is one; read once."""
        from paraspinal_nnunet.dicom.results.source_series import SourceSeries

        if self.scan.study is None:
            return None
        with self.scan.study.opened() as series:
            return SourceSeries.of(series.files)

    @cached_property
    def _measured(self) -> "Measured":
        from paraspinal_nnunet.measures.case import MeasureOptions, measure_with_maps
        from paraspinal_nnunet.measures.inputs import Input
        from paraspinal_nnunet.measures.quality import TrainingDescription

        training = TrainingDescription.from_entry(self.model.training)
        muscles = tuple(dict.fromkeys(s.muscle for s in self.model.structures or ()))
        return measure_with_maps(
            {"image": Input(self.image, self.scan.source)},
            Input(self.labels, self.record.mask),
            levels=self.products.levels_of(self.scan),
            case=self.scan.name,
            disagreement=self.record.disagreement,
            options=MeasureOptions(fat_methods=self.products.fat, muscles=muscles, training=training),
        )

    def _page_case(self) -> "PageCase":
        from paraspinal_nnunet.html import PageCase, PageMeta
        from paraspinal_nnunet.measures.outputs.plots import measure_plots

        measured = self.products.measures and MEASURES not in self.failures
        result = self._measured.measures if measured else None
        prediction, remarks = self.record.prediction, self.record.input.get("remarks")
        settings = {name: _text(value) for name, value in prediction.items() if name not in ("model", "date")}
        meta = PageMeta(
            model=str(prediction.get("model", "not recorded")),
            version=__version__,
            date=self.record.date or date.today().isoformat(),
            settings={**settings, **({"Remarks on the header": "; ".join(remarks)} if remarks else {})},
        )
        return PageCase(
            case=self.scan.name,
            image=self.image,
            labels=self.labels,
            measures={name: result.table(name) for name in ("measures", "asymmetry", "levels")} if result else None,
            flags=result.flags if result else None,
            plots=measure_plots(result) if result else None,
            meta=meta,
            patient=self.scan.patient if self.products.patient_facts else None,
            severity=result.severity if result else None,
            levels=result.levels.by_slice if result else {},
        )


def missing_outputs(
    paths: OutputPaths, record: PredictionRecord | None, wanted: Mapping[str, dict[str, Any]]
) -> frozenset[str]:
    """What of it is not there, or was made with other settings."""
    made: Mapping[str, Any] = record.products if record else {}
    places = paths.of_outputs | {MEASURES: paths.measures / "measures.json"}
    return frozenset(
        name for name, settings in wanted.items() if made.get(name) != settings or not places[name].is_file()
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
