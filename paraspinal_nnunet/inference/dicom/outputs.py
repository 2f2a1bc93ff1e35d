"""What is written of a case as DICOM: the SEG, the report of its measures, contours and a page of pictures."""

import hashlib
import json
import logging
import math
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.inference.records import CAPTURE, CONTOURS, SEGMENTATION

if TYPE_CHECKING:
    from paraspinal_nnunet.dicom.results.identity import Identity
    from paraspinal_nnunet.dicom.results.report import ReportedStructure
    from paraspinal_nnunet.inference.outputs import CaseOutputs
    from paraspinal_nnunet.measures.result import CaseMeasures, StructureMeasures

log = logging.getLogger(__name__)

CAUTION = "For research, not a medical device: check every outline by eye."


def write_object(name: str, case: "CaseOutputs", measures: "CaseMeasures | None") -> None:
    """Write one DICOM object of a case.

    Args:
        name: Of `records.DICOM_FILES`.
        case: Whose it is; one without DICOM study has none.
        measures: Where the object holds measures.

    Raises:
        InputError: A mask without any voxel, unless that is allowed, or headers that no object can refer to.
    """
    source = case.source_series
    if case.scan.study is None or source is None:
        return
    structures = case.model.structures or ()
    _check_complete(name, case)
    path, model = case.paths.dicom(name), case.model.name
    with case.scan.study.errors_without_patient():
        series = case.scan.study.series
        more: dict[str, Any] = {"model_name": model, "identity": _identity(case, series.uid, series.part, measures)}
        if name == SEGMENTATION:
            from paraspinal_nnunet.dicom.segmentation.write import write_segmentation

            write_segmentation(path, case.labels, source, structures, **more)
        elif name == CONTOURS:
            from paraspinal_nnunet.dicom.results.contours import write_contours

            write_contours(path, case.labels, source, structures, **more)
        elif name == CAPTURE:
            from paraspinal_nnunet.dicom.results.capture import write_capture
            from paraspinal_nnunet.html.sheet import result_sheet

            table = None if measures is None else measures.table("measures")
            by = f"{model}, paraspinal-nnunet {__version__}, {case.record.made:%Y-%m-%d}"
            sheet = result_sheet(case.image, case.labels, table, title="Paraspinal muscles", lines=(by, CAUTION))
            write_capture(path, sheet, source, **more)
        elif measures is not None:
            from paraspinal_nnunet.dicom.results.report import write_report

            reported = [_reported(each) for each in measures.structures if each.structure in structures]
            write_report(path, case.paths.dicom(SEGMENTATION), source, reported, **more)


def _check_complete(name: str, case: "CaseOutputs") -> None:
    from paraspinal_nnunet.dicom.segmentation.write import missing_structures

    structures = case.model.structures or ()
    absent = missing_structures(case.labels, structures)
    if absent and len(absent) == len(structures) and not case.products.allow_empty:
        raise InputError("the mask has no voxel of any muscle; look at the scan, or give --allow-empty")
    if absent and name == SEGMENTATION:
        names = ", ".join(structure.display_name.lower() for structure in absent)
        log.warning("%s: no voxel of %s; its DICOM objects say so", case.paths.case, names)


def _identity(case: "CaseOutputs", series: str, part: str, measures: "CaseMeasures | None") -> "Identity":
    """Equal scans, masks and measures give equal objects."""
    from paraspinal_nnunet.dicom.results.identity import Identity

    parts = [series, part, str(case.record.fingerprints.get("mask", "")), case.model.name, __version__]
    if measures is not None:
        parts.append(hashlib.sha256(json.dumps(measures.to_json(), sort_keys=True).encode()).hexdigest())
    return Identity("\n".join(parts), case.record.made)


def _reported(measured: "StructureMeasures") -> "ReportedStructure":
    """The numbers of a structure that a report holds; those that are not known are left out."""
    from paraspinal_nnunet.dicom.results import report
    from paraspinal_nnunet.html.measure_tables import METHODS

    if not measured.voxels:
        return report.ReportedStructure(measured.structure, ())
    found = [
        report.Quantity(report.VOLUME, measured.volume_ml, report.ML),
        report.Quantity(report.LENGTH, measured.length_mm, report.MM),
        report.Quantity.mean(report.AREA, measured.csa_mean_mm2, report.MM2),
        report.Quantity.maximum(report.AREA, measured.csa_max_mm2, report.MM2),
    ]
    for fat in measured.fat:
        method = (fat.method, METHODS.get(fat.method, fat.method))
        found.append(report.Quantity(report.FAT_FRACTION, 100 * fat.fat_fraction, report.PERCENT, method=method))
        found.append(report.Quantity(report.LEAN_VOLUME, fat.lean_volume_ml, report.ML, method=method))
    return report.ReportedStructure(measured.structure, tuple(q for q in found if math.isfinite(q.value)))
