"""MyoSegmenTUM as DICOM and masks, alone and with LPM's labels cut from it; made-up files in the release's layout."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name

pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from helpers.dicom_files import affine_ras, enhanced, save, save_series, slices
from pydicom.uid import generate_uid

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.dataset_conversion.images.slice_match import find_slices
from paraspinal_nnunet.errors import GeometryError
from paraspinal_nnunet.image_io.geometry import to_ras
from paraspinal_nnunet.image_io.images import read_image
from paraspinal_nnunet.image_io.volume import Volume

SHAPE, SPACING, ORIGIN = (40, 32, 14), (3.0, 3.0, 4.0), (-60.0, -48.0, -40.0)
AFFINE = affine_ras(spacing=SPACING, origin=ORIGIN)
LPM_CODES = np.array([0, 2, 3, 1, 4, 0, 0], np.uint8)
"""Code of the canonical value: 1 ES R, 2 MF R, 3 MF L, 4 ES L."""

LPM_NAMES = {
    "water": "img_img_L2-L5_nnunet_to_seg-segmentation-label",
    "fat": "manual_label_segmentation_L2-L5",
}

CUT = slice(3, 11)


def labels():
    """Six boxes (column, row, slice): right at small columns; psoas in front, at small rows."""
    drawn = np.zeros(SHAPE, np.uint8)
    for label, column in {1: 15, 2: 21, 3: 9, 4: 27, 5: 10, 6: 26}.items():
        row = 5 if label > 4 else 20
        drawn[column : column + 4, row : row + 6, 1:13] = label
    return drawn


def image(seed):
    return np.random.default_rng(seed).integers(0, 300, SHAPE).astype(np.uint16) + 200 * (labels() > 0).astype(
        np.uint16
    )


def write_mask(path, mask, *, origin=ORIGIN):
    written = sitk.GetImageFromArray(mask.astype(np.uint8).T)
    written.SetSpacing(SPACING)
    written.SetOrigin(origin)
    sitk.WriteImage(written, str(path), useCompression=True)


def write_subject(root, number="01", *, seed=0, nested=True, single_files=False, order=None, mask_origin=ORIGIN):
    muscle = root / number / (number if nested else "") / "muscle"
    for n, contrast in enumerate(("WATER", "FAT")):
        options = {"spacing": SPACING, "origin": ORIGIN, "SeriesInstanceUID": generate_uid()}
        if single_files:
            save_series(slices(image(seed + n), **options), muscle / contrast)
        else:
            save(enhanced(image(seed + n), order=order, **options), muscle / f"{contrast}.dcm")
    (muscle / "B0.dcm").write_bytes(b"")
    drawn = labels()
    stored = drawn if order is None else drawn[:, :, order]
    for name, values in {
        "erector_spinae_right": (1, 3),
        "erector_spinae_left": (2, 4),
        "psoas_right": (5,),
        "psoas_left": (6,),
    }.items():
        write_mask(muscle / f"{name}_{number}.mha", np.isin(stored, values), origin=mask_origin)
    return muscle


def write_lpm(root, number="01", *, seed=0, cut=CUT, scale=1.0, lost_origin=True, shift=0):
    """As the release has them: cut to some slices, the header's origin still the whole scan's, or lost."""
    root.mkdir(parents=True, exist_ok=True)
    affine = AFFINE.copy()
    if lost_origin:
        affine[:3, 3] = 0
    for n, (contrast, label) in enumerate(LPM_NAMES.items()):
        grey = image(seed + n)[:, :, cut] * scale
        coded = np.roll(LPM_CODES[labels()], shift, axis=1)[:, :, cut]
        nib.save(
            nib.Nifti1Image(grey.astype(np.float64), affine), root / f"TUM{number}_{contrast}_img_img_L2-L5.nii.gz"
        )
        nib.save(nib.Nifti1Image(coded.astype(np.int16), affine), root / f"TUM{number}_{contrast}_{label}.nii.gz")


def convert(folder, *flags):
    return main(["convert", "myosegmentum", "-i", str(folder), "-d", "603", "-np", "1", *map(str, flags)])


def read(raw, part, name):
    """In the stored order of the DICOM files: columns to the left, rows to the back."""
    volume = read_image(raw / "Dataset603_MyoSegmenTUM" / part / f"{name}.nii.gz")
    array, affine = to_ras(volume.array, volume.affine)
    flip = np.diag([-1.0, -1, 1, 1])
    flip[:2, 3] = np.array(array.shape[:2]) - 1
    return array[::-1, ::-1], affine @ flip


def cut_affine(cut=CUT):
    moved = AFFINE.copy()
    moved[2, 3] += SPACING[2] * cut.start
    return moved


@pytest.mark.parametrize(
    "layout", [{}, pytest.param({"nested": False}, marks=pytest.mark.slow), {"single_files": True}]
)
def test_alone_as_four_classes(raw, tmp_path, layout):
    for n, number in enumerate(("01", "02")):
        write_subject(tmp_path / "in", number, seed=10 * n, **layout)
    (tmp_path / "in" / "__MACOSX" / "01" / "muscle").mkdir(parents=True)
    assert convert(tmp_path / "in") == 0
    found, affine = read(raw, "imagesTr", "TUM02_water_0000")
    assert (found == image(10)).all()
    np.testing.assert_allclose(affine, AFFINE, atol=1e-4)
    content = json.loads((raw / "Dataset603_MyoSegmenTUM" / "dataset.json").read_text())
    assert content["labels"] == {
        "background": 0,
        "psoas_major_right": 1,
        "psoas_major_left": 2,
        "erector_spinae_and_multifidus_right": 3,
        "erector_spinae_and_multifidus_left": 4,
    }
    assert (read(raw, "labelsTr", "TUM01_fat")[0] == np.array([0, 3, 4, 3, 4, 1, 2])[labels()]).all()
    assert content["provenance"]["settings"]["erector_spinae"] == "with multifidus"
    rows = (raw / "Dataset603_MyoSegmenTUM" / "cases.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[:2] for row in rows] == [
        ["TUM01_fat", "TUM01"],
        ["TUM01_water", "TUM01"],
        ["TUM02_fat", "TUM02"],
        ["TUM02_water", "TUM02"],
    ]


def test_fat_and_water_as_channels(raw, tmp_path):
    write_subject(tmp_path / "in")
    assert convert(tmp_path / "in", "--dixon", "channels") == 0
    assert (read(raw, "imagesTr", "TUM01_0000")[0] == image(1)).all()
    assert (read(raw, "imagesTr", "TUM01_0001")[0] == image(0)).all()
    content = json.loads((raw / "Dataset603_MyoSegmenTUM" / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "Dixon fat", "1": "Dixon water"}


def test_masks_without_position_lie_on_the_frames_of_the_file(raw, tmp_path):
    """Frames run from head to feet in the file, and so do the slices of masks whose tool did not know better."""
    write_subject(tmp_path / "in", order=list(range(SHAPE[2]))[::-1], mask_origin=(0.0, 0.0, 0.0))
    muscle = tmp_path / "in" / "01" / "01" / "muscle"
    notched = labels()[:, :, ::-1] == 5
    notched[:, :, :4] = False
    write_mask(muscle / "psoas_right_01.mha", notched, origin=(0.0, 0.0, 0.0))
    assert convert(tmp_path / "in") == 0
    expected = np.array([0, 3, 4, 3, 4, 1, 2])[labels()]
    expected[:, :, 10:][expected[:, :, 10:] == 1] = 0
    assert (read(raw, "labelsTr", "TUM01_fat")[0] == expected).all()


@pytest.mark.parametrize("lost_origin", [True, False])
def test_with_lpm_as_six_classes_on_the_slices_they_were_cut_from(raw, tmp_path, lost_origin):
    """Whichever origin LPM's header gives, it is not the cut-out's own: the place is found by the voxels."""
    write_subject(tmp_path / "in")
    write_lpm(tmp_path / "lpm", scale=0.25, lost_origin=lost_origin)
    assert convert(tmp_path / "in", "--lpm", tmp_path / "lpm") == 0
    for contrast, seed in (("water", 0), ("fat", 1)):
        found, affine = read(raw, "imagesTr", f"TUM01_{contrast}_0000")
        assert (found == image(seed)[:, :, CUT]).all()
        np.testing.assert_allclose(affine, cut_affine(), atol=1e-4)
        drawn, affine = read(raw, "labelsTr", f"TUM01_{contrast}")
        assert (drawn == labels()[:, :, CUT]).all()
        np.testing.assert_allclose(affine, cut_affine(), atol=1e-4)


def test_channels_with_lpm(raw, tmp_path):
    write_subject(tmp_path / "in")
    write_lpm(tmp_path / "lpm")
    assert convert(tmp_path / "in", "--lpm", tmp_path / "lpm", "--dixon", "channels") == 0
    assert (read(raw, "imagesTr", "TUM01_0001")[0] == image(0)[:, :, CUT]).all()
    assert (read(raw, "labelsTr", "TUM01")[0] == labels()[:, :, CUT]).all()


def test_lpm_on_a_grid_of_its_own_is_resampled_only_when_asked_for(raw, tmp_path, capsys):
    """Every second column and row left out: by its (here right) header it still lies on the scan."""
    write_subject(tmp_path / "in")
    write_lpm(tmp_path / "lpm")
    coarse = cut_affine() @ np.diag([2.0, 2.0, 1, 1])
    for contrast, label in (
        ("water", "img_img_L2-L5_nnunet_to_seg-segmentation-label"),
        ("fat", "manual_label_segmentation_L2-L5"),
    ):
        for name, array in (("img_img_L2-L5", image(0)), (label, LPM_CODES[labels()].astype(np.int16))):
            path = tmp_path / "lpm" / f"TUM01_{contrast}_{name}.nii.gz"
            nib.save(nib.Nifti1Image(array[::2, ::2, CUT], coarse), path)
    assert convert(tmp_path / "in", "--lpm", tmp_path / "lpm") == 1
    assert "are no cut-out of (40, 32, 14); --resample-labels goes by the headers" in capsys.readouterr().out
    assert convert(tmp_path / "in", "--lpm", tmp_path / "lpm", "--resample-labels") == 0
    drawn, affine = read(raw, "labelsTr", "TUM01_fat")
    np.testing.assert_allclose(affine, cut_affine(), atol=1e-4)
    assert (drawn > 4).sum() == (labels()[:, :, CUT] > 4).sum()
    assert np.mean(drawn == labels()[:, :, CUT]) > 0.97


def _other_subject(root):
    write_lpm(root / "lpm", seed=50)


def _moved_labels(root):
    write_lpm(root / "lpm", shift=-12)


def _no_water(root):
    write_lpm(root / "lpm")
    (root / "in" / "01" / "01" / "muscle" / "WATER.dcm").unlink()


def _no_psoas(root):
    write_lpm(root / "lpm")
    (root / "in" / "01" / "01" / "muscle" / "psoas_left_01.mha").unlink()


def _other_number(root):
    write_lpm(root / "lpm", number="07")


def _mask_elsewhere(root):
    write_lpm(root / "lpm")
    write_mask(root / "in" / "01" / "01" / "muscle" / "psoas_left_01.mha", labels() == 6, origin=(-60.0, -48.0, -36.0))


FAULTS = {
    "other subject": (_other_subject, "voxels are found nowhere in the scan (best correlation 0."),
    "moved labels": (_moved_labels, "overlaps MyoSegmenTUM's erector spinae by a Dice of 0.00 only"),
    "no water": (_no_water, "holds no WATER.dcm"),
    "no psoas": (_no_psoas, "holds 0 files psoas_left_01.mha; one is needed"),
    "not in lpm": (_other_number, "LPM has no image and label of TUM01_water; --exclude TUM01_water leaves it out"),
    "mask elsewhere": (_mask_elsewhere, "lies on another grid than"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_faults(raw, tmp_path, fault, capsys):
    spoil, message = FAULTS[fault]
    write_subject(tmp_path / "in")
    spoil(tmp_path)
    assert convert(tmp_path / "in", "--lpm", tmp_path / "lpm") == 1
    assert message in capsys.readouterr().out
    assert not (raw / "Dataset603_MyoSegmenTUM").exists()


def test_zips_must_be_unpacked_first(raw, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "01.zip").write_bytes(b"")
    assert convert(tmp_path / "in") == 1
    assert "unpack its zip archives first" in capsys.readouterr().err


def test_a_cut_out_that_fits_twice_has_no_place():
    whole = np.tile(np.random.default_rng(0).integers(0, 9, (12, 12, 3)), (1, 1, 3))
    with pytest.raises(GeometryError, match="fit several places"):
        find_slices(Volume(whole[:, :, 3:6], AFFINE), Volume(whole, AFFINE), "x")
    flipped = AFFINE @ np.diag([-1.0, 1, -1, 1])
    part = np.random.default_rng(1).integers(0, 9, (12, 12, 9))
    assert find_slices(Volume(part[::-1, :, 5:1:-1], flipped), Volume(part, AFFINE), "x") == 2
