"""Masks written as DICOM SEG: unpacked bit by bit without the writer's library, every voxel lies where it was."""

import numpy as np
import pytest

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

import pydicom
import SimpleITK as sitk  # noqa: N813 - its usual name
from helpers.dicom_files import (
    AXIAL,
    CORONAL,
    ORIGIN,
    PATIENT,
    SAGITTAL,
    SHAPE,
    SPACING,
    affine_ras,
    enhanced,
    phantom_labels,
    rotated,
    save,
    save_series,
    slices,
)  # fmt: skip

from paraspinal_nnunet.anatomy import BY_KEY, PARASPINAL, STRUCTURES
from paraspinal_nnunet.dicom import find_series, read_segmentation, read_stack
from paraspinal_nnunet.dicom.segmentation.write import write_segmentation
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.image_io.volume import Volume

OBLIQUE = rotated(AXIAL, 17, (1, 0.3, 0.2))
ORIENTATIONS = {
    "axial": AXIAL,
    "oblique": OBLIQUE,
    "axial, rows to the left": (-1, 0, 0, 0, 1, 0),
    "axial, columns to the front": (1, 0, 0, 0, -1, 0),
    "sagittal": SAGITTAL,
    "oblique coronal": rotated(CORONAL, -11, (0.2, 1, 0.5)),
}


def write(folder, labels, affine, files, structures=PARASPINAL, **options):
    options = {"model_name": "Model 1", "version": "9.8", **options}
    return pydicom.dcmread(write_segmentation(folder / "seg.dcm", Volume(labels, affine), files, structures, **options))


def decoded(seg):
    """Places in the patient (RAS, in tenths of mm) -> segment label, by the standard's words alone (PS3.5 8.1.1)."""
    names = {int(item.SegmentNumber): item.SegmentLabel for item in seg.SegmentSequence}
    pixels = seg.Rows * seg.Columns
    bits = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")[: pixels * seg.NumberOfFrames]
    shared = seg.SharedFunctionalGroupsSequence[0]
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    row, column = np.reshape(np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float), (2, 3))
    found = {}
    for frame, plane in zip(seg.PerFrameFunctionalGroupsSequence, bits.reshape(-1, seg.Rows, seg.Columns), strict=True):
        name = names[int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
        origin = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        for r, c in np.argwhere(plane):
            place = (origin + row * spacing[1] * c + column * spacing[0] * r) * [-1, -1, 1]
            key = tuple(np.round(place * 10).astype(int).tolist())
            assert key not in found, "one voxel in two segments"
            found[key] = name
    return found


def expected(labels, affine):
    """The same of a label map, by its affine."""
    index = np.argwhere(labels)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    by_label = {s.label: s.display_name for s in STRUCTURES}
    return {
        tuple(np.round(place * 10).astype(int).tolist()): by_label[labels[tuple(at)]]
        for at, place in zip(index, places, strict=True)
    }


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=list(ORIENTATIONS))
@pytest.mark.parametrize("stored", ["as the series", "RAS", "reversed"])
def test_every_voxel_lies_where_it_was(tmp_path, orientation, stored):
    origin = (-31.2, -26.7, -113.4)
    affine, labels = affine_ras(orientation, origin=origin), phantom_labels()
    files = save_series(slices(orientation=orientation, origin=origin), tmp_path / "scan")
    given, given_affine = labels, affine
    if stored == "RAS":
        given, given_affine = to_ras(labels, affine)
    elif stored == "reversed":
        given, given_affine = labels[:, :, ::-1], affine.copy()
        given_affine[:3, 3] += affine[:3, 2] * (SHAPE[2] - 1)
        given_affine[:3, 2] *= -1
    seg = write(tmp_path, given, given_affine, files[::-1])
    found = decoded(seg)
    assert len(found) == np.count_nonzero(labels)
    assert found == expected(labels, affine)


def test_another_reader_sees_the_same_pixels_of_each_segment(tmp_path):
    """SimpleITK, which reads DICOM with GDCM: one frame per segment and slice, 255 inside."""
    labels = phantom_labels()
    files = save_series(slices(orientation=OBLIQUE), tmp_path / "scan")
    seg = write(tmp_path, labels, affine_ras(OBLIQUE), files)
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "seg.dcm")))
    assert set(np.unique(pixels)) == {0, 255}
    names = {int(item.SegmentNumber): item.SegmentLabel for item in seg.SegmentSequence}
    found = dict.fromkeys(names.values(), 0)
    for frame, plane in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        found[names[int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]] += np.count_nonzero(plane)
    assert found == {s.display_name: np.count_nonzero(labels == s.label) for s in PARASPINAL}


@pytest.mark.parametrize("order", [None, list(range(SHAPE[2]))[::-1], [3, 1, 9, 0, 2, 8, 7, 5, 6, 4]])
@pytest.mark.parametrize("echoes", [(102.0,), (20.0, 102.0)])
def test_enhanced_sources_in_any_order_of_frames(tmp_path, order, echoes):
    made = enhanced(orientation=OBLIQUE, order=order, echoes=echoes)
    path = save(made, tmp_path / "enhanced.dcm")
    affine = affine_ras(OBLIQUE)
    seg = write(tmp_path, phantom_labels(), affine, [path])
    assert decoded(seg) == expected(phantom_labels(), affine)
    assert seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == made.SOPInstanceUID
    for frame in seg.PerFrameFunctionalGroupsSequence:
        number = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        source = made.PerFrameFunctionalGroupsSequence[int(number) - 1]
        assert position_of(source) == position_of(frame)


def position_of(frame):
    return [float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient]


def test_our_reader_takes_it(tmp_path):
    made = slices(orientation=OBLIQUE)
    files = save_series(made, tmp_path)
    write(tmp_path, phantom_labels(), affine_ras(OBLIQUE), files)
    image, seg = sorted(find_series(tmp_path), key=lambda s: s.kind.value)
    stack = read_stack(image)
    labels = read_segmentation(seg, stack)
    assert expected(labels.array, labels.affine) == expected(phantom_labels(), affine_ras(OBLIQUE))


def test_what_a_viewer_reads(tmp_path):
    made = slices()
    seg = write(tmp_path, phantom_labels(), affine_ras(), save_series(made, tmp_path / "scan"))
    assert (seg.Modality, seg.SegmentationType, seg.SOPClassUID.name) == ("SEG", "BINARY", "Segmentation Storage")
    assert (seg.BitsAllocated, seg.SamplesPerPixel) == (1, 1)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate"):
        assert seg[keyword].value == made[0][keyword].value
    assert seg.PatientID == PATIENT["PatientID"]
    assert seg.SeriesInstanceUID != made[0].SeriesInstanceUID
    assert (seg.SeriesNumber, seg.SeriesDescription) == (1005, "Paraspinal muscles")
    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == made[0].SeriesInstanceUID
    used = {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence}
    assert used <= {dataset.SOPInstanceUID for dataset in made}
    # Every frame names the source slice at its own place.
    places = {d.SOPInstanceUID: np.array(d.ImagePositionPatient, float) for d in made}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert np.allclose(places[source], np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float))
    assert len(seg.PerFrameFunctionalGroupsSequence) == 6 * 6  # six muscles in six slices


def test_codes_and_colours(tmp_path):
    files = save_series(slices(), tmp_path / "scan")
    seg = write(tmp_path, phantom_labels(), affine_ras(), files)
    psoas = seg.SegmentSequence[5]
    assert (psoas.SegmentNumber, psoas.SegmentLabel, psoas.TrackingID) == (6, "Psoas major left", "psoas_major_left")
    category, kind = psoas.SegmentedPropertyCategoryCodeSequence[0], psoas.SegmentedPropertyTypeCodeSequence[0]
    side = kind.SegmentedPropertyTypeModifierCodeSequence[0]
    codes = [(c.CodingSchemeDesignator, c.CodeValue, c.CodeMeaning) for c in (category, kind, side)]
    assert codes == [
        ("SCT", "123037004", "Anatomical Structure"), ("FMA", "18060", "Psoas major"), ("SCT", "7771000", "Left"),
    ]  # fmt: skip
    algorithm = psoas.SegmentationAlgorithmIdentificationSequence[0]
    assert (psoas.SegmentAlgorithmType, algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (
        "AUTOMATIC",
        "Model 1",
        "9.8",
    )
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    # L* a* b* of a colour by scikit-image or any calculator, D65 or D50: green has a* far below 0.
    lightness, a, _ = np.array(psoas.RecommendedDisplayCIELabValue) / 65535 * [100, 255, 255] - [0, 128, 128]
    assert 75 < lightness < 85
    assert a < -40


def test_another_set_of_structures_and_absent_muscles(tmp_path):
    labels = np.where(phantom_labels() == 5, 8, 0).astype(np.uint8)
    structures = (BY_KEY["quadratus_lumborum_left"], BY_KEY["multifidus_left"])
    seg = write(tmp_path, labels, affine_ras(), save_series(slices(), tmp_path / "scan"), structures, series_number=7)
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["Quadratus lumborum left", "Multifidus left"]
    assert decoded(seg) == expected(labels, affine_ras())
    assert seg.SeriesNumber == 7


def without(keyword):
    return lambda d: delattr(d, keyword)


def set_to(**values):
    def change(dataset):
        with pydicom.config.disable_value_validation():
            for keyword, value in values.items():
                setattr(dataset, keyword, value)

    return change


TYPE_2 = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip

COMMON_HEADERS = {
    **{f"no {keyword}": without(keyword) for keyword in TYPE_2},
    **{f"empty {keyword}": set_to(**{keyword: ""}) for keyword in TYPE_2},
    "no thickness": without("SliceThickness"),
    "no distance": without("SpacingBetweenSlices"),
    "empty thickness": set_to(SliceThickness=None),
    "sex in words": set_to(PatientSex="female"),
    "date with points": set_to(StudyDate="14/06/2020"),
    "time in words": set_to(StudyTime="noon"),
    "long accession number": set_to(AccessionNumber="A" * 40),
    "private class": set_to(SOPClassUID="1.3.12.2.1107.5.9.1"),
    "long id": set_to(PatientID="7" * 90),
    "no series number": set_to(SeriesNumber=None),
    "no manufacturer": without("Manufacturer"),
}


@pytest.mark.parametrize("header", COMMON_HEADERS)
def test_headers_as_they_come_carry_a_seg(tmp_path, header):
    made = slices()
    for dataset in made:
        COMMON_HEADERS[header](dataset)
    seg = write(tmp_path, phantom_labels(), affine_ras(), save_series(made, tmp_path / "scan"))
    assert decoded(seg) == expected(phantom_labels(), affine_ras())
    assert all(keyword in seg for keyword in TYPE_2)
    named = {e.value for e in seg.iterall() if e.keyword == "ReferencedSOPClassUID"}
    assert named == {made[0].SOPClassUID}
    if "thickness" in header:
        measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert "SliceThickness" not in measures
        assert float(measures.SpacingBetweenSlices) == pytest.approx(SPACING[2])


@pytest.mark.parametrize(
    ("sets", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 144", "Люкceмбypг"),
        (None, "Miller^Ann"),
    ],
)
def test_names_in_any_script(tmp_path, sets, name):
    made = slices()
    for dataset in made:
        if sets is not None:
            dataset.SpecificCharacterSet = sets
        dataset.PatientName = name
    seg = write(tmp_path, phantom_labels(), affine_ras(), save_series(made, tmp_path / "scan"))
    assert str(seg.PatientName) == name
    seg.decode()
    assert str(seg.PatientName) == name


def test_chinese_names_by_escape_sequences(tmp_path):
    """As PS3.5, annex K.1, writes them; pydicom reads the characters and leaves the sequences."""
    made = slices()
    for dataset in made:
        dataset.SpecificCharacterSet = ["", "ISO 2022 IR 58"]
        dataset.PatientName = "X" * 40
    files = save_series(made, tmp_path / "scan")
    name = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"
    for file in files:
        file.write_bytes(file.read_bytes().replace(b"X" * 40, name.ljust(40)))
    seg = write(tmp_path, phantom_labels(), affine_ras(), files)
    assert str(seg.PatientName) == "Zhang^XiaoDong=张^小东"
    assert find_series(tmp_path / "scan")[0].header.patient.name == "Zhang^XiaoDong=张^小东"


def test_absent_muscles_are_said_in_the_description(tmp_path):
    files = save_series(slices(), tmp_path / "scan")
    whole, part, none = phantom_labels(), phantom_labels(), phantom_labels()
    part[part == 6] = 0
    none[:] = 0
    texts = [write(tmp_path, labels, affine_ras(), files).ContentDescription for labels in (whole, part, none)]
    assert texts == [
        "lumbar paraspinal muscles",
        "INCOMPLETE, without psoas major left",
        "EMPTY: no voxel of any muscle was found",
    ]


def test_a_long_model_name_stands_whole_in_the_parameters(tmp_path):
    name = "Dataset501_Lumbar__nnUNetTrainerParaspinal__nnUNetPlans__3d_fullres__folds_0_1_2_3_4"
    files = save_series(slices(), tmp_path / "scan")
    seg = write(tmp_path, phantom_labels(), affine_ras(), files, model_name=name)
    (algorithm,) = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmParameters == f"model={name}"
    assert len(algorithm.AlgorithmName) == 64
    assert algorithm.AlgorithmName[:55] == f"{name[:26]}...{name[-26:]}"
    other = name.replace("Paraspinal__nnUNet", "Paraspinal__nnUnet")
    seg = write(tmp_path, phantom_labels(), affine_ras(), files, model_name=other)
    (second,) = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert second.AlgorithmName[:55] == algorithm.AlgorithmName[:55]  # their difference lies in the middle
    assert second.AlgorithmName != algorithm.AlgorithmName


def test_slices_whose_geometry_differs_by_rounding_carry_a_seg(tmp_path):
    made = slices()
    for dataset in made[::2]:
        dataset.PixelSpacing = [3.004, 2.5]
        dataset.ImageOrientationPatient = [0.999999, 0.001, 0, -0.001, 0.999999, 0]
    files = save_series(made, tmp_path / "scan")
    image = read_stack(find_series(tmp_path / "scan")[0]).volume
    seg = write(tmp_path, phantom_labels(), image.affine, files)
    assert len(seg.PerFrameFunctionalGroupsSequence) == 6 * 6


class TestRefusals:
    @pytest.fixture
    def files(self, tmp_path):
        return save_series(slices(), tmp_path / "scan")

    def refused(self, tmp_path, kind, message, labels=None, affine=None, files=(), **options):
        labels = phantom_labels() if labels is None else labels
        with pytest.raises(kind, match=message):
            write(tmp_path, labels, affine_ras() if affine is None else affine, files, **options)
        assert not list(tmp_path.glob("*seg*"))

    def test_geometry(self, tmp_path, files):
        moved = affine_ras(origin=(ORIGIN[0] + 1, *ORIGIN[1:]))
        self.refused(tmp_path, GeometryError, "another grid", affine=moved, files=files)
        coarse = affine_ras(spacing=(SPACING[0] / 2, *SPACING[1:]))
        self.refused(tmp_path, GeometryError, "another grid", affine=coarse, files=files)
        self.refused(
            tmp_path, GeometryError, "72 labelled voxels lie outside the 9 slices", files=files_without(files, 4)
        )

    def test_labels(self, tmp_path, files):
        message = r"labels \[1, 2, 3, 4, 5, 6\], the segments are for \[1\]"
        self.refused(tmp_path, LabelError, message, files=files, structures=PARASPINAL[:1])

    def test_sources(self, tmp_path, files):
        self.refused(tmp_path, InputError, "none were given")
        other = save_series(slices(), tmp_path / "other")
        self.refused(tmp_path, InputError, "2 series were given together", files=[*files, *other])
        unplaced = slices()
        for dataset in unplaced:
            del dataset.FrameOfReferenceUID
        self.refused(tmp_path, InputError, "no FrameOfReferenceUID", files=save_series(unplaced, tmp_path / "unplaced"))
        files = save_series(slices(StudyInstanceUID=""), tmp_path / "no study")
        self.refused(tmp_path, InputError, "has no StudyInstanceUID", files=files)
        (tmp_path / "text").write_text("no scan")
        self.refused(tmp_path, InputError, "is no DICOM image", files=[tmp_path / "text"])


def files_without(files, place):
    """The series without the slice at a place."""
    ordered = sorted(files, key=lambda f: float(pydicom.dcmread(f).ImagePositionPatient[2]))
    return [*ordered[:place], *ordered[place + 1 :]]
