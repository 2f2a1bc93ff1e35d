"""Segmentations for 3D Slicer: SimpleITK, which reads NRRD by Teem, finds voxels, grid, names, colours and codes."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.errors import LabelError
from paraspinal_nnunet.image_io.images import read_labels
from paraspinal_nnunet.image_io.masks.label_names import canonical_by_names, check_names
from paraspinal_nnunet.image_io.viewers.segmentation_nrrd import write_segmentation_nrrd
from paraspinal_nnunet.image_io.volume import Volume

TURN = np.radians(12)
AFFINE = np.array(
    [[-0.7 * np.cos(TURN), 0.9 * np.sin(TURN), 0, 31], [0.7 * np.sin(TURN), 0.9 * np.cos(TURN), 0, -22.25],
     [0, 0, 4, 7.5], [0, 0, 0, 1]]
)  # fmt: skip


@pytest.fixture
def labels():
    array = np.zeros((7, 6, 5), np.uint8)
    for n in range(1, 6):  # none of the left psoas
        array[n, n - 1, 1:4] = n
    return Volume(array, AFFINE)


def test_another_reader_finds_voxels_and_grid(labels, tmp_path):
    image = sitk.ReadImage(str(write_segmentation_nrrd(tmp_path / "a.seg.nrrd", labels)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), labels.array)
    for index in ((0, 0, 0), (6, 5, 4), (1, 2, 3)):
        place = np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]  # LPS to RAS
        np.testing.assert_allclose(place, (AFFINE @ [*index, 1])[:3], atol=1e-9)


def test_names_colours_and_codes(labels, tmp_path):
    image = sitk.ReadImage(str(write_segmentation_nrrd(tmp_path / "a.seg.nrrd", labels)))
    said = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys() if key.startswith("Segment")}
    for n, structure in enumerate(PARASPINAL):
        assert said[f"Segment{n}_Name"] == structure.display_name
        assert said[f"Segment{n}_LabelValue"] == str(structure.label)
        colour = np.array(said[f"Segment{n}_Color"].split(), float) * 255
        np.testing.assert_allclose(colour, structure.colour, atol=1e-3)
    assert said["Segment0_Extent"] == "1 1 0 0 1 3"
    assert said["Segment5_Extent"] == "0 -1 0 -1 0 -1"
    entry = said["Segment5_Tags"].removeprefix("TerminologyEntry:").removesuffix("|").split("~")
    assert entry[1:4] == ["SCT^123037004^Anatomical Structure", "FMA^18060^Psoas major", "SCT^7771000^Left"]
    assert len(entry) == 7
    assert said["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"


def test_our_reader_takes_it_and_equal_masks_give_equal_files(labels, tmp_path):
    first = write_segmentation_nrrd(tmp_path / "a.seg.nrrd", labels)
    back = read_labels(first)
    np.testing.assert_array_equal(back.array, labels.array)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-12)
    flipped = Volume(np.asfortranarray(labels.array), AFFINE)
    assert write_segmentation_nrrd(tmp_path / "b.seg.nrrd", flipped).read_bytes() == first.read_bytes()


def test_labels_without_a_name_are_refused(labels, tmp_path):
    labels.array[0, 0, 0] = 9
    with pytest.raises(LabelError, match=r"holds the labels \[9\], which no segment has"):
        write_segmentation_nrrd(tmp_path / "a.seg.nrrd", labels)
    assert not list(tmp_path.iterdir())


def test_names_are_read_again(labels, tmp_path):
    found = read_labels(write_segmentation_nrrd(tmp_path / "a.seg.nrrd", labels)).value_names
    assert found == {s.label: s.display_name for s in PARASPINAL}
    assert canonical_by_names(found, "a") == {s.label: s.label for s in PARASPINAL}
    assert canonical_by_names({1: "Segment_1", 2: "Segment_2"}, "a") is None
    with pytest.raises(LabelError, match="a: segment 'psoas': says no side"):
        canonical_by_names({1: "psoas", 2: "MF_R"}, "a")


def test_names_that_contradict_what_values_are_taken_for_are_refused():
    meaning = {1: "multifidus_right", 2: "multifidus_left"}
    check_names({1: "MF_R", 2: "Segment_2", 3: "psoas right", 4: "psoas"}, meaning, "a")
    with pytest.raises(LabelError, match="a: calls the value 2 'Psoas R', and it is taken for multifidus_left"):
        check_names({1: "MF_R", 2: "Psoas R"}, meaning, "a")
