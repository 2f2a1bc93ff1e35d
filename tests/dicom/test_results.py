"""DICOM results besides SEG: read back by others' rules and programs, bound to their scan, the same when made again."""

import json
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
path = pytest.importorskip("matplotlib.path")

import pydicom
import SimpleITK as sitk  # noqa: N813 - its usual name
from helpers.dicom_files import (
    AXIAL,
    CORONAL,
    MR,
    PATIENT,
    RTSTRUCT,
    SECONDARY_CAPTURE,
    affine_ras,
    enhanced,
    phantom_labels,
    rotated,
    save,
    save_series,
    slices,
)
from helpers.tools import tool

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.dicom.results.capture import write_capture
from paraspinal_nnunet.dicom.results.contours import write_contours
from paraspinal_nnunet.dicom.results.identity import Identity
from paraspinal_nnunet.dicom.results.report import (
    AREA,
    FAT_FRACTION,
    ML,
    MM2,
    PERCENT,
    VOLUME,
    Quantity,
    ReportedStructure,
    write_report,
)
from paraspinal_nnunet.dicom.results.source_series import SourceSeries
from paraspinal_nnunet.dicom.segmentation.write import write_segmentation
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.volume import Volume

OBLIQUE = rotated(AXIAL, 17, (1, 0.3, 0.2))
LONG_NAME = "Dataset501_Lumbar__nnUNetTrainerParaspinal__nnUNetPlans__3d_fullres__folds_0_1_2_3_4"
KINDS = ("seg", "report", "contours", "capture")


MADE = datetime(2026, 1, 2, 3, 4, 5)


def holed_labels():
    """The phantom with a hole, an island in it, and no left psoas."""
    labels = phantom_labels()
    labels[labels == 6] = 0
    labels[5:10, 4:10, 4] = 5
    labels[6:9, 5:9, 4] = 0
    labels[7, 7, 4] = 5
    return labels


def picture():
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)


def reported():
    numbers = (
        Quantity(VOLUME, 12.3456789, ML),
        Quantity.mean(AREA, 512.5, MM2),
        Quantity(FAT_FRACTION, 8.25, PERCENT, method=("gmm3", "three-component Gaussian mixture")),
    )
    return [ReportedStructure(s, () if s.label == 6 else numbers) for s in PARASPINAL]


def write_all(folder, files, orientation=OBLIQUE, **more):
    mask = Volume(holed_labels(), affine_ras(orientation))
    more = {"model_name": LONG_NAME, "version": "9.8", "identity": Identity("a scan", MADE), **more}
    write_segmentation(folder / "seg.dcm", mask, files, **more)
    write_report(folder / "report.dcm", folder / "seg.dcm", files, reported(), **more)
    write_contours(folder / "contours.dcm", mask, files, **more)
    write_capture(folder / "capture.dcm", picture(), files, **more)
    return {kind: pydicom.dcmread(folder / f"{kind}.dcm") for kind in KINDS}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """(slices, their files)."""
    made = slices(orientation=OBLIQUE)
    return made, save_series(made, tmp_path_factory.mktemp("scan"))


@pytest.fixture(scope="module")
def results(scan, tmp_path_factory):
    """(folder, kind -> dataset); tests leave them as they are."""
    folder = tmp_path_factory.mktemp("results")
    return folder, write_all(folder, scan[1])


def test_patient_study_and_frame_of_reference_are_the_scans(scan, results):
    source = scan[0][0]
    for kind, found in results[1].items():
        for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate"):
            assert found[keyword].value == source[keyword].value, (kind, keyword)
        assert found.PatientID == PATIENT["PatientID"]
        assert found.SeriesInstanceUID not in {other.SeriesInstanceUID for k, other in results[1].items() if k != kind}
        if kind in ("seg", "contours"):
            assert found.FrameOfReferenceUID == source.FrameOfReferenceUID
    numbers = {kind: int(found.SeriesNumber) for kind, found in results[1].items()}
    assert numbers == {"seg": 1005, "report": 1006, "contours": 1007, "capture": 1008}


def test_a_series_that_was_read_once_carries_the_same_objects(scan, results, tmp_path):
    """Without the files too: all four come from one reading, and none changes what the next one finds."""
    away = [shutil.copy(file, tmp_path) for file in scan[1]]
    source = SourceSeries.of([Path(file) for file in away])
    for file in away:
        Path(file).unlink()
    write_all(tmp_path, source)
    for kind in KINDS:
        assert (tmp_path / f"{kind}.dcm").read_bytes() == (results[0] / f"{kind}.dcm").read_bytes(), kind


def test_made_again_they_are_the_same_files(scan, results, tmp_path):
    write_all(tmp_path, scan[1])
    for kind in KINDS:
        assert (tmp_path / f"{kind}.dcm").read_bytes() == (results[0] / f"{kind}.dcm").read_bytes(), kind
    made = {
        Identity(seed, when).uid(what) for seed in "ab" for when in (MADE, MADE.replace(year=2027)) for what in KINDS
    }
    assert len(made) == 2 * 2 * len(KINDS)
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in made)


def contour_planes(dataset, source, frames=None):
    """ROI name -> (slices, rows, columns) of the contours by the standard's equation and matplotlib's point test.

    A pixel's place is found from ImagePositionPatient, ImageOrientationPatient and PixelSpacing of the slice that a
    contour names (PS3.3 C.7.6.2.1.1); pixels within several contours of one ROI in a slice would count twice.
    """
    row, column = np.reshape(np.array(source[0].ImageOrientationPatient, float), (2, 3))
    down, across = (float(v) for v in source[0].PixelSpacing)
    by_uid = {d.SOPInstanceUID: n for n, d in enumerate(source)}
    names = {int(roi.ROINumber): roi.ROIName for roi in dataset.StructureSetROISequence}
    shape = (source[0].Rows, source[0].Columns)
    centres = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), axis=-1).reshape(-1, 2)
    found = {}
    for roi in dataset.ROIContourSequence:
        planes = np.zeros((len(source), *shape), int)
        for contour in roi.get("ContourSequence", []):
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            (image,) = contour.ContourImageSequence
            n = by_uid[image.ReferencedSOPInstanceUID]
            points = np.reshape(np.array(contour.ContourData, float), (-1, 3))
            assert len(points) == contour.NumberOfContourPoints
            beyond = points - np.array(source[n].ImagePositionPatient, float)
            assert np.abs(beyond @ np.cross(row, column)).max() < 1e-3  # in the slice's plane
            corners = np.stack([beyond @ row / across, beyond @ column / down], axis=1)
            closed = path.Path(np.vstack([corners, corners[:1]]), closed=True)
            planes[n] += closed.contains_points(centres).reshape(shape)
        found[names[int(roi.ReferencedROINumber)]] = planes
    return found


@pytest.mark.parametrize(
    "orientation", [AXIAL, OBLIQUE, (-1, 0, 0, 0, 1, 0), (1, 0, 0, 0, -1, 0), rotated(CORONAL, -11, (0.2, 1, 0.5))]
)
def test_contours_hold_the_masks_pixels_and_no_others(tmp_path, orientation):
    """Pixels of 2.5 x 3 mm; what is right in the mask is right in the patient."""
    source = slices(orientation=orientation)
    labels, affine = holed_labels(), affine_ras(orientation)
    files = save_series(source, tmp_path / "scan")
    write_contours(tmp_path / "rt.dcm", Volume(labels, affine), files[::-1], model_name="m")
    found = contour_planes(pydicom.dcmread(tmp_path / "rt.dcm"), source)
    assert list(found) == [s.display_name for s in PARASPINAL]
    for structure in PARASPINAL:
        expected = (labels == structure.label).transpose(2, 1, 0)
        np.testing.assert_array_equal(found[structure.display_name], expected)


def test_sides_of_contours_in_the_patient(results):
    """LPS: the patient's right has the smaller x."""
    dataset = results[1]["contours"]
    names = {int(roi.ROINumber): roi.ROIName for roi in dataset.StructureSetROISequence}
    x = {
        names[int(roi.ReferencedROINumber)]: np.mean(
            [np.mean(np.array(c.ContourData, float)[::3]) for c in roi.ContourSequence]
        )
        for roi in dataset.ROIContourSequence
        if "ContourSequence" in roi
    }
    assert x["Multifidus right"] < x["Multifidus left"]
    assert x["Erector spinae right"] < x["Erector spinae left"]


def test_contours_of_an_enhanced_source_name_its_frames(tmp_path):
    made = enhanced(order=[3, 1, 9, 0, 2, 8, 7, 5, 6, 4])
    file = save(made, tmp_path / "enhanced.dcm")
    write_contours(tmp_path / "rt.dcm", Volume(phantom_labels(), affine_ras()), [file], model_name="m")
    dataset = pydicom.dcmread(tmp_path / "rt.dcm")
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        (image,) = contour.ContourImageSequence
        frame = made.PerFrameFunctionalGroupsSequence[int(image.ReferencedFrameNumber) - 1]
        place = [float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient]
        assert place[2] == pytest.approx(float(contour.ContourData[2]))


def test_the_structure_set_names_its_series(scan, results):
    dataset = results[1]["contours"]
    assert (dataset.Modality, dataset.SOPClassUID) == ("RTSTRUCT", RTSTRUCT)
    (reference,) = dataset.ReferencedFrameOfReferenceSequence
    (study,) = reference.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == scan[0][0].SeriesInstanceUID
    images = {i.ReferencedSOPInstanceUID for i in series.ContourImageSequence}
    assert images == {d.SOPInstanceUID for d in scan[0]}
    assert {i.ReferencedSOPClassUID for i in series.ContourImageSequence} == {MR}


def numbers_of(dataset):
    """Segment -> (concept, value, unit) of the report, by walking its content as PS3.16 TID 1500 and 1411 nest it."""
    (measurements,) = (i for i in dataset.ContentSequence if code_of(i) == "126010")
    found = {}
    for group in measurements.ContentSequence:
        items = {code_of(i): i for i in group.ContentSequence}
        name = items["112039"].TextValue
        values = [
            (code_of(i), float(i.MeasuredValueSequence[0].NumericValue),
             i.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue)
            for i in group.ContentSequence if i.ValueType == "NUM"
        ]  # fmt: skip
        segment = items.get("121191")
        found[name] = (segment.ReferencedSOPSequence[0] if segment is not None else None, values)
    return found


def code_of(item):
    return item.ConceptNameCodeSequence[0].CodeValue


def test_the_report_holds_the_numbers_and_refers_to_the_segments(results):
    found = numbers_of(results[1]["report"])
    seg = results[1]["seg"]
    assert list(found) == [s.display_name for s in PARASPINAL]
    for number, (name, (segment, values)) in enumerate(found.items(), start=1):
        if name == "Psoas major left":
            assert (segment, values) == (None, [])
            continue
        assert segment.ReferencedSOPInstanceUID == seg.SOPInstanceUID
        assert seg.SegmentSequence[int(segment.ReferencedSegmentNumber) - 1].SegmentLabel == name
        assert int(segment.ReferencedSegmentNumber) == number
        assert values == [("118565006", 12.3457, "ml"), ("42798000", 512.5, "mm2"), ("129100", 8.25, "%")]
    evidence = results[1]["report"].CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert seg.SeriesInstanceUID in {item.SeriesInstanceUID for item in evidence}
    assert LONG_NAME.encode() in (results[0] / "report.dcm").read_bytes()  # whole, though an LO element would cut it


def test_dcmqi_reads_the_report(results, tmp_path):
    """tid1500reader of dcmqi 1.5.7, which 3D Slicer uses."""
    reader = tool("tid1500reader")
    done = subprocess.run(
        [reader, "--inputDICOM", str(results[0] / "report.dcm"), "--outputMetadata", str(tmp_path / "report.json")],
        capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0
    groups = json.loads((tmp_path / "report.json").read_text())["Measurements"]
    first = groups[0]
    assert (first["TrackingIdentifier"], first["ReferencedSegment"]) == ("Multifidus right", 1)
    assert first["Laterality"]["CodeMeaning"] == "Right"
    assert [item["value"] for item in first["measurementItems"]] == ["12.3457", "512.5", "8.25"]


def test_the_page_is_a_picture_without_orientation(results):
    dataset = results[1]["capture"]
    assert (dataset.SOPClassUID, dataset.PhotometricInterpretation) == (SECONDARY_CAPTURE, "RGB")
    assert (dataset.BurnedInAnnotation, dataset.PatientOrientation or "") == ("NO", "")
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(results[0] / "capture.dcm")))
    np.testing.assert_array_equal(np.squeeze(pixels), picture())


def test_a_report_needs_its_segments(scan, tmp_path):
    mask = Volume(np.where(phantom_labels() == 1, 1, 0).astype(np.uint8), affine_ras(OBLIQUE))
    write_segmentation(tmp_path / "seg.dcm", mask, scan[1], PARASPINAL[:1], model_name="m")
    with pytest.raises(InputError, match=r"seg\.dcm: has no segment multifidus_left"):
        write_report(tmp_path / "report.dcm", tmp_path / "seg.dcm", scan[1], reported(), model_name="m")
    assert not (tmp_path / "report.dcm").exists()


@pytest.mark.slow
@pytest.mark.parametrize("source", ["series", "enhanced"])
def test_dciodvfy_finds_no_error(results, source, tmp_path):
    """Of dicom3tools, David Clunie's verification of objects against their definitions; codes of our own are known."""
    verifier, folder = tool("dciodvfy"), results[0]
    if source == "enhanced":
        folder = tmp_path
        write_all(folder, [save(enhanced(orientation=OBLIQUE), tmp_path / "enhanced.dcm")])
    for kind in KINDS:
        done = subprocess.run([verifier, str(folder / f"{kind}.dcm")], capture_output=True, text=True, timeout=120)
        said = [line for line in done.stderr.splitlines() if line.startswith(("Error", "Warning"))]
        assert [line for line in said if "99PARASPINAL" not in line] == [], kind
        assert done.returncode == 0, kind


@pytest.mark.slow
def test_dciodvfy_would_find_one(results, tmp_path):
    broken = pydicom.dcmread(results[0] / "contours.dcm")
    del broken.StructureSetLabel
    broken.save_as(tmp_path / "broken.dcm")
    done = subprocess.run([tool("dciodvfy"), str(tmp_path / "broken.dcm")], capture_output=True, timeout=120)
    assert done.returncode != 0
