"""DICOM SEG on the image's grid: segments by code, word or map; foreign grids, overlaps and other objects refused."""

import copy

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from helpers.dicom_files import (
    AXIAL,
    RTSTRUCT,
    SEGMENTS,
    enhanced,
    phantom_labels,
    rotated,
    save,
    save_seg,
    save_series,
    segmentation,
    slices,
    voxels,
    with_meta,
)
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from paraspinal_nnunet.dicom import Kind, find_series, read_segmentation, read_stack
from paraspinal_nnunet.dicom.segmentation.segments import segment_key
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError

NOTHING = ("SCT", "123", "Something")


def read(folder, **options):
    found = find_series(folder)
    image = next(s for s in found if s.kind is Kind.IMAGE)
    (seg,) = (s for s in found if s.kind is not Kind.IMAGE)
    return read_segmentation(seg, read_stack(image), **options)


def write(folder, *, orientation=AXIAL, labels=None, sources=slice(None), **options):
    made = slices(orientation=orientation)
    save_series(made, folder / "image")
    labels = phantom_labels() if labels is None else labels
    seg = segmentation(made[sources], labels[:, :, sources], **options)
    save_seg(seg, folder / "seg")
    return seg


OBLIQUE = rotated(AXIAL, 17, (1, 0.6, 0.3))


@pytest.mark.parametrize(
    ("orientation", "kind"),
    [(AXIAL, "BINARY"), (OBLIQUE, "BINARY"), ((-1, 0, 0, 0, 1, 0), "BINARY"), (AXIAL, "LABELMAP")],
)
def test_labels_land_on_the_image(tmp_path, orientation, kind):
    seg = write(tmp_path, orientation=orientation, segmentation_type=kind)
    labels = read(tmp_path)
    assert seg.NumberOfFrames < 60
    assert labels.array.dtype == np.uint8
    assert (labels.array == phantom_labels()).all()
    np.testing.assert_allclose(labels.affine, read_stack(find_series(tmp_path)[0]).volume.affine)


@pytest.mark.parametrize("sources", [slice(3, 7), slice(2, 8, 2), slice(5, 6)])
def test_frames_that_are_absent_are_background(tmp_path, sources):
    write(tmp_path, sources=sources)
    expected = np.zeros_like(phantom_labels())
    expected[:, :, sources] = phantom_labels()[:, :, sources]
    assert (read(tmp_path).array == expected).all()


def test_on_a_multi_frame_image(tmp_path):
    image = enhanced(order=[5, 0, 9, 1, 8, 2, 7, 3, 6, 4])
    save(image, tmp_path / "image")
    save_seg(segmentation(slices(), phantom_labels()), tmp_path / "seg")
    assert (read(tmp_path).array == phantom_labels()).all()


def described(name, code, side):
    """An item of SegmentSequence."""
    item, kind = Dataset(), Dataset()
    item.SegmentNumber, item.SegmentLabel = 7, name
    kind.CodingSchemeDesignator, kind.CodeValue, kind.CodeMeaning = code
    if side:
        modifier = Dataset()
        modifier.CodingSchemeDesignator, modifier.CodeValue, modifier.CodeMeaning = side
        kind.SegmentedPropertyTypeModifierCodeSequence = Sequence([modifier])
    item.SegmentedPropertyTypeCodeSequence = Sequence([kind])
    return item


RIGHT, LEFT = ("SCT", "24028007", "Right"), ("SRT", "G-A101", "Left")
MULTIFIDUS, ERECTOR, PSOAS = (SEGMENTS[n][1] for n in (1, 3, 5))


@pytest.mark.parametrize(
    ("name", "code", "side", "key"),
    [
        ("Segment 1", MULTIFIDUS, RIGHT, "multifidus_right"),
        ("Segment 1", ERECTOR, LEFT, "erector_spinae_left"),
        ("Segment 1", ("SRT", "T-14020", "x"), RIGHT, "erector_spinae_right"),
        ("Segment 1", ("FMA", "FMA18060", "x"), RIGHT, "psoas_major_right"),
        ("Segment 1", ("FMA", "1", "Left psoas major"), None, "psoas_major_left"),
        ("Psoas major left", PSOAS, None, "psoas_major_left"),
        ("MULTIFIDUS_R", NOTHING, None, "multifidus_right"),
        ("multifidus_lt", NOTHING, None, "multifidus_left"),
        ("Erector-spinae rechts", NOTHING, None, "erector_spinae_right"),
        ("erector_spinae gauche", NOTHING, None, "erector_spinae_left"),
        ("M. psoas dexter", NOTHING, None, "psoas_major_right"),
        ("quadratus lumborum L", NOTHING, None, "quadratus_lumborum_left"),
    ],
)
def test_segments_by_code_and_by_words(name, code, side, key):
    assert segment_key(described(name, code, side), "x", None) == key


@pytest.mark.parametrize(
    ("name", "code", "side", "message"),
    [
        ("Segment 7", NOTHING, RIGHT, "segment 7 'Segment 7': neither code nor name says which muscle"),
        ("Multifidus", NOTHING, None, "segment 7 'Multifidus': neither code nor name says which side"),
        ("Multifidus left", MULTIFIDUS, RIGHT, "its codes and name say left and right"),
        ("Psoas right", ERECTOR, RIGHT, "its codes and name say erector_spinae and psoas_major"),
        ("autochthon_right", ERECTOR, RIGHT, "'autochthon' spans more than one muscle"),
        ("iliopsoas_right", ("SCT", "68455001", "Iliopsoas muscle"), RIGHT, "'iliopsoas' spans"),
        ("Deep", ("SCT", "244849004", "Deep muscle of back"), RIGHT, "spans more than one muscle"),
        ("Erector spinae and multifidus R", NOTHING, None, "spans more than one muscle"),
        ("Psoas minor right", NOTHING, None, "neither code nor name says which muscle"),
    ],
)
def test_segments_are_never_guessed(name, code, side, message):
    with pytest.raises(LabelError, match=message):
        segment_key(described(name, code, side), "x", None)


def test_a_map_by_number_counts_alone(tmp_path):
    write(tmp_path, segments={n: (f"x{n}", NOTHING, None) for n in SEGMENTS})
    mapping = {1: "multifidus_left", 2: "multifidus_right", 3: "ignore", 4: "background", 5: "quadratus_lumborum_left"}
    with pytest.raises(LabelError, match=r"segment 6 'x6': is not in the map"):
        read(tmp_path, mapping=mapping)
    with pytest.raises(LabelError, match=r"is mapped to 'psoas', which is no class"):
        read(tmp_path, mapping={**mapping, 6: "psoas"})
    values = np.array([0, 2, 1, 0, 0, 8, 6], np.uint8)
    found = read(tmp_path, mapping={**mapping, 6: "psoas_major_left"}).array
    assert (found == values[phantom_labels()]).all()


def test_overlaps_are_counted(tmp_path):
    """Segment 1 is spread over two columns of segment 2: 2 x 4 rows x 6 slices = 48 voxels."""
    masks = np.stack([phantom_labels() == n for n in SEGMENTS], axis=-1)
    masks[13:15, :, :, 0] |= masks[13:15, :, :, 1]
    write(tmp_path, labels=masks)
    with pytest.raises(LabelError, match=r"overlap \(multifidus_left and multifidus_right share 48 voxels\)"):
        read(tmp_path)


def image_and_seg(folder, made, image):
    save_seg(segmentation(made, phantom_labels()), folder / "seg")
    save_series(image, folder / "image")


def test_another_frame_of_reference(tmp_path):
    image_and_seg(tmp_path, slices(), slices(FrameOfReferenceUID=generate_uid()))
    with pytest.raises(GeometryError, match="has another frame of reference"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"spacing": (2.5, 2.5, 8.0)}, "another orientation or voxel size"),
        ({"spacing": (5.0, 6.0, 8.0)}, "another orientation or voxel size"),
        ({"orientation": rotated(AXIAL, 5, (1, 0, 0))}, "another orientation or voxel size"),
        ({"origin": (-30.0, -25.0, -110.0)}, "lie 0.25 voxels beside"),
        ({"origin": (-29.0, -25.0, -112.0)}, "lie 0.40 voxels beside"),
        ({"origin": (-30.0, -25.0, -80.0)}, "labelled voxels lie outside the image"),
    ],
)
def test_another_grid(tmp_path, image, message):
    image_and_seg(tmp_path, slices(), slices(**image))
    with pytest.raises(GeometryError, match=message):
        read(tmp_path)


def test_a_seg_of_wider_slices_is_no_seg_of_every_second_one(tmp_path):
    """All its frames lie on slices of the image, but it never saw those between."""
    wide = slices(voxels((24, 20, 5)), spacing=(2.5, 3.0, 16.0))
    save_seg(segmentation(wide, phantom_labels()[:, :, ::2]), tmp_path / "seg")
    save_series(slices(), tmp_path / "image")
    with pytest.raises(GeometryError, match=r"was drawn on slices 16 mm apart, those of the image are 8 mm"):
        read(tmp_path)


def test_a_seg_may_repeat_a_wrong_distance_of_the_image(tmp_path):
    made = slices(SpacingBetweenSlices=12.0)
    save_series(made, tmp_path / "image")
    save_seg(segmentation(made, phantom_labels()), tmp_path / "seg")
    assert (read(tmp_path).array == phantom_labels()).all()


def test_a_grid_shifted_by_whole_voxels_is_the_same_grid(tmp_path):
    """The image begins two columns earlier and one slice later: labels keep their place in the patient."""
    image_and_seg(tmp_path, slices(), slices(origin=(-35.0, -25.0, -104.0)))
    expected = np.zeros_like(phantom_labels())
    expected[2:, :, :-1] = phantom_labels()[:-2, :, 1:]
    assert (read(tmp_path).array == expected).all()


def test_fractional(tmp_path):
    made = slices()
    save_series(made, tmp_path / "image")
    masks = np.stack([phantom_labels() == n for n in SEGMENTS], axis=-1).astype(np.float32)
    seg = _fractional(made, masks)
    save_seg(seg, tmp_path / "seg")
    assert (read(tmp_path).array == phantom_labels()).all()
    save_seg(_fractional(made, masks * 0.4), tmp_path / "seg")
    with pytest.raises(InputError, match="holds fractional values"):
        read(tmp_path)


def _fractional(made, masks):
    import highdicom

    whole = segmentation(made, masks > 0)
    return highdicom.seg.Segmentation(
        source_images=[with_meta(d) for d in made],
        pixel_array=np.ascontiguousarray(masks.transpose(2, 1, 0, 3)),
        segmentation_type="FRACTIONAL",
        segment_descriptions=[whole.get_segment_description(n) for n in SEGMENTS],
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Maker",
        manufacturer_model_name="Model",
        software_versions="1",
        device_serial_number="1",
    )


def test_rtstruct_and_other_objects_are_refused_by_name(tmp_path):
    made = slices()
    save_series(made, tmp_path / "image")
    contours = copy.deepcopy(made[0])
    contours.SOPClassUID, contours.SeriesInstanceUID, contours.SeriesNumber = RTSTRUCT, generate_uid(), 200
    save(contours, tmp_path / "rt")
    with pytest.raises(InputError, match=r"is an RTSTRUCT \(contours\); export it as DICOM SEG"):
        read(tmp_path)
    found = find_series(tmp_path)
    with pytest.raises(InputError, match="is no DICOM SEG"):
        read_segmentation(found[0], read_stack(found[0]))


def test_two_objects_in_one_series(tmp_path):
    seg = write(tmp_path)
    seg.SOPInstanceUID = generate_uid()
    save_seg(seg, tmp_path / "seg2")
    with pytest.raises(InputError, match="holds 2 SEG objects"):
        read(tmp_path)


def test_damaged(tmp_path):
    write(tmp_path)
    whole = (tmp_path / "seg").read_bytes()
    (tmp_path / "seg").write_bytes(whole[:-1000])
    with pytest.raises(InputError, match=r"damaged"):
        read(tmp_path)
