"""Measurements as a DICOM Structured Report by TID 1500, each bound to its segment of a DICOM SEG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paraspinal_nnunet import __version__
from paraspinal_nnunet.anatomy import Structure
from paraspinal_nnunet.dicom.packages import get_highdicom, get_pydicom
from paraspinal_nnunet.dicom.results.identity import (
    ANATOMICAL_STRUCTURE,
    ARTIFICIAL_INTELLIGENCE,
    MANUFACTURER,
    Identity,
    coded,
    fill,
    fitted,
    muscle_code,
    restore_class,
    result_series_number,
    save,
    side_code,
)
from paraspinal_nnunet.dicom.results.source_headers import MR_IMAGE_STORAGE
from paraspinal_nnunet.dicom.results.source_series import SourceSeries
from paraspinal_nnunet.errors import InputError, reason_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

OWN_SCHEME = "99PARASPINAL"
"""Designator of the codes that no public scheme has. Source: DICOM PS3.16, chapter 8: private ones begin with 99."""

ML, MM, MM2 = ("ml", "UCUM", "milliliter"), ("mm", "UCUM", "millimeter"), ("mm2", "UCUM", "square millimeter")
PERCENT = ("%", "UCUM", "percent")
_MEAN, _MAXIMUM = ("373098007", "SCT", "Mean"), ("56851009", "SCT", "Maximum")
VOLUME = ("118565006", "SCT", "Volume")
LENGTH = ("410668003", "SCT", "Length")
AREA = ("42798000", "SCT", "Area")
FAT_FRACTION = ("129100", "DCM", "Fat fraction")
LEAN_VOLUME = ("lean-volume", OWN_SCHEME, "Volume without fat")
_STATUS = ("status", OWN_SCHEME, "Status of the segmentation")
_MISSING = ("missing", OWN_SCHEME, "No voxel was found")
_MR_IMAGING = ("113091000", "SCT", "Magnetic resonance imaging")
_SIGNIFICANT = ".6g"

Triple = tuple[str, str, str]


@dataclass(frozen=True)
class Quantity:
    """One number of a structure.

    Attributes:
        name: Code, scheme and meaning of what was measured.
        value: In the unit.
        unit: Code, scheme and meaning of the unit, of UCUM.
        derivation: Code of how one number came of many, e.g. the mean; None where it is one.
        method: How it was measured, in a word of the tables and in words; None where there is only one way.
    """

    name: Triple
    value: float
    unit: Triple
    derivation: Triple | None = None
    method: tuple[str, str] | None = None

    @classmethod
    def mean(cls, name: Triple, value: float, unit: Triple) -> "Quantity":
        """A mean over slices."""
        return cls(name, value, unit, _MEAN)

    @classmethod
    def maximum(cls, name: Triple, value: float, unit: Triple) -> "Quantity":
        """The largest of the slices."""
        return cls(name, value, unit, _MAXIMUM)


@dataclass(frozen=True)
class ReportedStructure:
    """A muscle on one side with its numbers; without any where the mask has no voxel of it."""

    structure: Structure
    quantities: tuple[Quantity, ...]


def write_report(
    path: Path,
    segmentation: Path,
    source: SourceSeries | Sequence[Path],
    reported: Sequence[ReportedStructure],
    *,
    model_name: str,
    version: str = __version__,
    identity: Identity | None = None,
) -> Path:
    """Write a Comprehensive 3D SR (TID 1500) of the measures of a mask that stands as DICOM SEG.

    Args:
        path: The file to write.
        segmentation: The DICOM SEG that the numbers are of.
        source: The series that was segmented, as `write_segmentation` takes it.
        reported: The structures, each a segment of the SEG.
        model_name: What made the mask; whole, whatever its length.
        version: Of the program.
        identity: Gives the UIDs and dates; None for new ones.

    Returns:
        `path`.

    Raises:
        InputError: A SEG without such segments, or headers that nothing can refer to.
        SetupError: The extra ``[dicom]`` is not installed.
    """
    highdicom, pydicom = get_highdicom(), get_pydicom()
    identity = identity or Identity.new()
    source = SourceSeries.of(source)
    with pydicom.config.disable_value_validation():
        seg = pydicom.dcmread(segmentation, stop_before_pixels=True)
        algorithm = highdicom.sr.AlgorithmIdentification(
            name=model_name, version=version, family=coded(*ARTIFICIAL_INTELLIGENCE), manufacturer=MANUFACTURER
        )
        groups = [_group(each, seg, algorithm, segmentation.name) for each in reported]
        try:
            report = highdicom.sr.Comprehensive3DSR(
                evidence=[seg, *source.datasets],
                content=_content(groups, identity, version),
                series_instance_uid=identity.uid("report series"),
                series_number=result_series_number(source.header, 1),
                sop_instance_uid=identity.uid("report"),
                instance_number=1,
                manufacturer=MANUFACTURER,
                is_complete=True,
                series_description=fitted("Paraspinal muscles, measurements"),
            )
        except Exception as error:  # highdicom's checks end in many kinds
            raise InputError(f"{path.name}: the source series cannot carry a report ({reason_of(error)})") from error
    fill(
        report,
        ManufacturerModelName=fitted(model_name),
        SoftwareVersions=fitted(version),
        DeviceSerialNumber="none",
        CodingSchemeIdentificationSequence=[
            fill(pydicom.Dataset(), CodingSchemeDesignator=OWN_SCHEME, CodingSchemeName=MANUFACTURER)
        ],
    )
    restore_class(report, source.header.sop_class_uid, MR_IMAGE_STORAGE)
    identity.stamp(report)
    return save(report, path)


def _content(groups: Sequence[Any], identity: Identity, version: str) -> Any:
    sr = get_highdicom().sr
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=identity.uid("observer"), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=version
    )
    observer = sr.ObserverContext(coded("121007", "DCM", "Device"), device)
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=coded(*_MR_IMAGING),
        imaging_measurements=groups,
        title=coded("126000", "DCM", "Imaging Measurement Report"),
    )


def _group(reported: ReportedStructure, seg: "Dataset", algorithm: Any, name: str) -> Any:
    sr, structure = get_highdicom().sr, reported.structure
    item = next((i for i in seg.SegmentSequence if i.get("TrackingID") == structure.key), None)
    if item is None:
        raise InputError(f"{name}: has no segment {structure.key} that a report could refer to; make it again")
    muscle = muscle_code(structure)
    site = sr.FindingSite(muscle, laterality=side_code(structure))
    shared = {
        "tracking_identifier": sr.TrackingIdentifier(uid=item.TrackingUID, identifier=structure.display_name),
        "finding_category": coded(*ANATOMICAL_STRUCTURE),
        "finding_type": muscle,
        "finding_sites": [site],
        "algorithm_id": algorithm,
    }
    if not reported.quantities:
        status = sr.QualitativeEvaluation(coded(*_STATUS), coded(*_MISSING))
        return sr.MeasurementsAndQualitativeEvaluations(**shared, qualitative_evaluations=[status])
    segment = sr.ReferencedSegment(
        seg.SOPClassUID,
        seg.SOPInstanceUID,
        int(item.SegmentNumber),
        source_series=sr.SourceSeriesForSegmentation(seg.ReferencedSeriesSequence[0].SeriesInstanceUID),
    )
    numbers = [_measurement(quantity) for quantity in reported.quantities]
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        **shared, referenced_segment=segment, measurements=numbers
    )


def _measurement(quantity: Quantity) -> Any:
    method = None if quantity.method is None else coded(quantity.method[0], OWN_SCHEME, quantity.method[1])
    return get_highdicom().sr.Measurement(
        name=coded(*quantity.name),
        value=float(format(quantity.value, _SIGNIFICANT)),
        unit=coded(*quantity.unit),
        derivation=None if quantity.derivation is None else coded(*quantity.derivation),
        method=method,
    )
