"""A page of pictures as DICOM Secondary Capture, which any viewer shows beside the scan."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from paraspinal_nnunet import __version__
from paraspinal_nnunet.dicom.packages import get_highdicom, get_pydicom
from paraspinal_nnunet.dicom.results.identity import MANUFACTURER, Identity, fill, fitted, result_series_number, save
from paraspinal_nnunet.dicom.results.source_series import SourceSeries
from paraspinal_nnunet.errors import InputError, reason_of


def write_capture(
    path: Path,
    picture: np.ndarray,
    source: SourceSeries | Sequence[Path],
    *,
    model_name: str,
    version: str = __version__,
    identity: Identity | None = None,
) -> Path:
    """Write a picture as a Secondary Capture Image of the source's study.

    Args:
        path: The file to write.
        picture: (rows, columns, 3) uint8, red, green, blue; nothing on it may tell who the patient is.
        source: The series that it was made from, as `write_segmentation` takes it.
        model_name: What made the mask on it.
        version: Of the program.
        identity: Gives the UIDs and dates; None for new ones.

    Returns:
        `path`.

    Raises:
        InputError: Headers that nothing can refer to.
        SetupError: The extra ``[dicom]`` is not installed.
    """
    highdicom, pydicom = get_highdicom(), get_pydicom()
    identity = identity or Identity.new()
    source = SourceSeries.of(source)
    with pydicom.config.disable_value_validation():
        try:
            capture = highdicom.sc.SCImage.from_ref_dataset(
                source.datasets[0],
                np.ascontiguousarray(picture, dtype=np.uint8),
                photometric_interpretation="RGB",
                bits_allocated=8,
                coordinate_system="PATIENT",
                series_instance_uid=identity.uid("capture series"),
                series_number=result_series_number(source.header, 3),
                sop_instance_uid=identity.uid("capture"),
                instance_number=1,
                manufacturer=MANUFACTURER,
                patient_orientation=("L", "P"),
                transfer_syntax_uid=pydicom.uid.ExplicitVRLittleEndian,
                series_description=fitted("Paraspinal muscles, page"),
            )
        except Exception as error:  # highdicom's checks end in many kinds
            raise InputError(f"{path.name}: the source series cannot carry a page ({reason_of(error)})") from error
    fill(
        capture,
        PatientOrientation=None,  # a page of pictures and a table has none
        BodyPartExamined="LSPINE",  # unpaired, so that no laterality is due
        ImageType=["DERIVED", "SECONDARY"],
        BurnedInAnnotation="NO",
        DerivationDescription=f"Outlines and measures by {fitted(model_name)}; for research, to be checked by eye",
        SecondaryCaptureDeviceManufacturer=MANUFACTURER,
        SecondaryCaptureDeviceManufacturerModelName=fitted(model_name),
        SecondaryCaptureDeviceSoftwareVersions=fitted(version),
    )
    identity.stamp(capture)
    return save(capture, path)
