"""Made-up DICOM: single-frame and enhanced MR series, segmentations, and studies of them, from a small phantom."""

import copy
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"

PATIENT = {
    "PatientName": "Geheimrat^Adelheid^von",
    "PatientID": "PID-4711-Z",
    "PatientBirthDate": "19500615",
    "StudyDate": "20200614",
    "SeriesDate": "20200614",
    "AcquisitionDate": "20200614",
    "ContentDate": "20200614",
    "InstitutionName": "Klinikum Hinterwald",
    "AccessionNumber": "ACC998877",
    "ReferringPhysicianName": "Sauerbruch^Ferdinand",
    "PatientSex": "F",
    "PatientWeight": "72",
    "PatientSize": "1.6",
}
SECRETS = (
    "Geheimrat",
    "Adelheid",
    "PID-4711",
    "19500615",
    "20200614",
    "1950-06-15",
    "2020-06-14",
    "Hinterwald",
    "ACC998877",
    "Sauerbruch",
)

AXIAL = (1, 0, 0, 0, 1, 0)
SAGITTAL = (0, 1, 0, 0, 0, -1)
CORONAL = (1, 0, 0, 0, 0, -1)

SHAPE = (24, 20, 10)
"""Columns, rows, slices: all different, so that no exchange of axes goes unseen."""

SPACING = (2.5, 3.0, 8.0)
ORIGIN = (-30.0, -25.0, -112.0)

STUDY_UID, FRAME_UID = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["frame"])


def voxels(shape=SHAPE, seed=0):
    """(column, row, slice), uint16, no two slices alike."""
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


def rotated(orientation, degrees, axis):
    """Direction cosines turned about a unit axis: oblique slices."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(np.radians(degrees) * np.asarray(axis, float) / np.linalg.norm(axis))
    return tuple(np.round(turn.apply(np.reshape(orientation, (2, 3))), 9).ravel())


def affine_ras(orientation=AXIAL, spacing=SPACING, origin=ORIGIN):
    """Voxel (column, row, slice) to mm in RAS+, by the DICOM standard's equation (PS3.3 C.7.6.2.1.1)."""
    row, column = np.reshape(np.asarray(orientation, float), (2, 3))
    lps = np.eye(4)
    lps[:3] = np.stack([row * spacing[0], column * spacing[1], np.cross(row, column) * spacing[2], origin], axis=1)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def series_headers(**changes):
    """What the slices of one series share: an axial T2 turbo spin echo unless told otherwise."""
    return {
        "SOPClassUID": MR,
        "Modality": "MR",
        "Manufacturer": "Maker",
        "SeriesNumber": 5,
        "SeriesDescription": "t2_tse_tra",
        "SeriesInstanceUID": generate_uid(),
        "StudyInstanceUID": STUDY_UID,
        "FrameOfReferenceUID": FRAME_UID,
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "ScanOptions": "",
        "MRAcquisitionType": "2D",
        "EchoTime": 102.0,
        "RepetitionTime": 3500.0,
        "EchoNumbers": 1,
        "SliceThickness": 4.0,
        "SpacingBetweenSlices": SPACING[2],
        "StudyTime": "101500",
        "StudyID": "1",
        **PATIENT,
        **changes,
    }


def slices(array=None, *, orientation=AXIAL, spacing=SPACING, origin=ORIGIN, **headers):
    """One dataset per slice, in the order of the array."""
    array = voxels() if array is None else array
    shared = Dataset()
    for keyword, value in series_headers(**{"SpacingBetweenSlices": f"{spacing[2]:.6f}", **headers}).items():
        setattr(shared, keyword, value)
    normal = np.cross(orientation[:3], orientation[3:])
    made = []
    for k in range(array.shape[2]):
        position = np.asarray(origin) + normal * spacing[2] * k
        made.append(one_slice(array[:, :, k].T, shared, orientation, spacing, position, k))
    return made


def one_slice(plane, shared, orientation, spacing, position, k):
    dataset = copy.deepcopy(shared)
    dataset.SOPInstanceUID = generate_uid()
    dataset.InstanceNumber = k + 1
    dataset.ImagePositionPatient = [f"{v:.6f}" for v in position]
    dataset.ImageOrientationPatient = [f"{v:.9f}" for v in orientation]
    dataset.PixelSpacing = [spacing[1], spacing[0]]
    set_pixels(dataset, plane)
    return dataset


def set_pixels(dataset, plane):
    """Uncompressed grey values; frames first where there are several."""
    plane = np.ascontiguousarray(plane)
    dataset.Rows, dataset.Columns = plane.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = dataset.get("PhotometricInterpretation", "MONOCHROME2")
    dataset.BitsAllocated = dataset.BitsStored = 8 * plane.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(plane.dtype.kind == "i")
    dataset.PixelData = plane.tobytes()


def save(dataset, path, *, syntax=ExplicitVRLittleEndian, preamble=True):
    """Write a dataset as a DICOM file; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    file = FileDataset(path, dataset, file_meta=meta, preamble=b"\0" * 128)
    if preamble:
        with pydicom.config.disable_value_validation():  # costs a quarter of the time
            file.save_as(path, enforce_file_format=True)
    else:
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    return path


def save_series(datasets, folder, *, names=None):
    """Write slices under names whose order is not that of the slices."""
    shuffled = np.random.default_rng(3).permutation(len(datasets))
    names = names or [f"IM{place:04d}" for place in shuffled]
    return [save(d, Path(folder) / name) for d, name in zip(datasets, names, strict=True)]


def enhanced(array=None, *, orientation=AXIAL, spacing=SPACING, origin=ORIGIN, order=None, echoes=(102.0,), **headers):
    """One multi-frame dataset; frames in `order`, every echo after the other; slope and intercept differ per echo."""
    array = voxels() if array is None else array
    shared = series_headers(SOPClassUID=ENHANCED_MR, **headers)
    dataset = Dataset()
    for keyword in ("EchoTime", "EchoNumbers", "RepetitionTime", "SliceThickness", "SpacingBetweenSlices"):
        shared.pop(keyword)
    for keyword, value in shared.items():
        setattr(dataset, keyword, value)
    dataset.SOPInstanceUID = generate_uid()
    dataset.InstanceNumber = 1
    order = list(range(array.shape[2])) if order is None else order
    normal = np.cross(orientation[:3], orientation[3:])
    frames = []
    for n, te in enumerate(echoes):
        for k in order:
            frames.append(_frame_group(np.asarray(origin) + normal * spacing[2] * k, te, 1.0 + n))
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.SharedFunctionalGroupsSequence = Sequence([_shared_group(orientation, spacing)])
    planes = np.stack([array[:, :, k].T for _ in echoes for k in order])
    dataset.NumberOfFrames = len(planes)
    set_pixels(dataset, planes)
    return dataset


def _frame_group(position, te, slope):
    group, plane, echo, scaling = Dataset(), Dataset(), Dataset(), Dataset()
    plane.ImagePositionPatient = [f"{v:.6f}" for v in position]
    echo.EffectiveEchoTime = te
    scaling.RescaleSlope, scaling.RescaleIntercept, scaling.RescaleType = slope, 0, "US"
    group.PlanePositionSequence = Sequence([plane])
    group.MREchoSequence = Sequence([echo])
    group.PixelValueTransformationSequence = Sequence([scaling])
    return group


def _shared_group(orientation, spacing):
    group, plane, measures, timing = Dataset(), Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = [f"{v:.9f}" for v in orientation]
    measures.PixelSpacing = [spacing[1], spacing[0]]
    measures.SliceThickness = 4.0
    measures.SpacingBetweenSlices = spacing[2]
    timing.RepetitionTime = 3500.0
    timing.FlipAngle = 90.0
    group.PlaneOrientationSequence = Sequence([plane])
    group.PixelMeasuresSequence = Sequence([measures])
    group.MRTimingAndRelatedParametersSequence = Sequence([timing])
    return group


def phantom_labels(shape=SHAPE):
    """Six boxes, (column, row, slice) as an axial DICOM stores them: columns to the left, rows to the back."""
    labels = np.zeros(shape, np.uint8)
    columns = {1: 9, 2: 13, 3: 5, 4: 17, 5: 6, 6: 15}
    for label, column in columns.items():
        row = 4 if label > 4 else 12
        labels[column : column + 3, row : row + 4, 2:8] = label
    return labels


SEGMENTS = {
    1: ("Multifidus right", ("SCT", "5709001", "Multifidus muscles"), "right"),
    2: ("Multifidus left", ("SCT", "5709001", "Multifidus muscles"), "left"),
    3: ("Erector spinae right", ("SCT", "44947003", "Erector spinae muscle"), "right"),
    4: ("Erector spinae left", ("SCT", "44947003", "Erector spinae muscle"), "left"),
    5: ("Psoas major right", ("FMA", "18060", "Psoas major"), "right"),
    6: ("Psoas major left", ("FMA", "18060", "Psoas major"), "left"),
}


def segmentation(datasets, labels, *, segments=None, **changes):
    """A DICOM SEG by highdicom of (column, row, slice) labels on the slices given; empty frames are left out."""
    import highdicom
    from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
    from pydicom.sr.coding import Code

    segments = segments or SEGMENTS
    numbers = sorted(segments)
    sources = sorted(datasets, key=lambda d: float(d.ImagePositionPatient[2]))
    described = [
        SegmentDescription(
            segment_number=n,
            segment_label=segments[n][0],
            segmented_property_category=Code("123037004", "SCT", "Anatomical Structure"),
            segmented_property_type=Code(segments[n][1][1], segments[n][1][0], segments[n][1][2]),
            algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
        )
        for n in numbers
    ]
    if labels.ndim == 3:
        labels = np.stack([labels == n for n in numbers], axis=-1)
    pixels = np.ascontiguousarray(labels.transpose(2, 1, 0, 3)).astype(np.uint8)
    seg = Segmentation(
        source_images=[with_meta(d) for d in sources],
        pixel_array=pixels,
        segmentation_type=changes.pop("segmentation_type", "BINARY"),
        segment_descriptions=described,
        series_instance_uid=highdicom.UID(),
        series_number=100,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="Maker",
        manufacturer_model_name="Model",
        software_versions="1",
        device_serial_number="1",
        series_description="muscles",
        **changes,
    )
    for item in seg.SegmentSequence:
        side = segments.get(int(item.SegmentNumber), (None, None, None))[2]  # label maps describe a background, 0
        if side:
            code = Dataset()
            code.CodeValue = {"right": "24028007", "left": "7771000"}[side]
            code.CodingSchemeDesignator, code.CodeMeaning = "SCT", side.capitalize()
            item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = Sequence([code])
    return seg


def with_meta(dataset):
    """As highdicom needs its sources: with file meta information."""
    file = FileDataset(None, dataset, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return file


def save_seg(seg, path):
    """Write a SEG; returns the path."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)
    return Path(path)
