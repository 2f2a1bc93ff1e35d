"""The general converter: patterns, one mask per structure, label maps of every kind, formats beside NIfTI."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name
from helpers.scans import RAS, SHAPE, grey, labels
from helpers.scans import save as save_nifti

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.cli import main
from paraspinal_nnunet.dataset_conversion.patterns.placeholders import pattern
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.image_io.viewers.segmentation_nrrd import write_segmentation_nrrd
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.nnunet.datasets import read_cases


def save(path, array, affine=RAS):
    if path.name.endswith((".nii", ".nii.gz")):
        save_nifti(path, array, affine)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    lps = np.diag([-1, -1, 1, 1]) @ affine
    spacing = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path), path.suffix == ".mha")


@pytest.fixture
def scans(tmp_path):
    return tmp_path / "scans"


def convert(folder, image, label, *flags, labels="author"):
    given = ["-i", str(folder), "-d", "507", "-n", "A", "-np", "1", "--labels", str(labels)]
    return main(["convert", "pairs", *given, "--image-pattern", image, "--label-pattern", label, *map(str, flags)])


def converted(raw, case):
    return np.asanyarray(nib.load(raw / f"Dataset507_A/labelsTr/{case}.nii.gz").dataobj)


def taken(raw):
    cases = read_cases(raw / "Dataset507_A")
    return list(zip(cases["case"], cases["subject"], strict=True))


# Patterns


@pytest.mark.parametrize(
    ("text", "file", "case", "subject"),
    [
        ("{subject}/{case}_img.nii", "p1/a_img.nii", "p1_a", "p1"),
        ("sub-{subject}/{case}_T2w.nii", "sub-7/sub-7_run-1_T2w.nii", "sub-7_run-1", "7"),
        ("{subject}/mri.nii", "p1/mri.nii", "p1", "p1"),
        ("{subject}_{case}/{subject}.nii", "p1_x/p1.nii", "p1_x", "p1"),
        ("{subject}_{case}/{subject}.nii", "p1_x/p2.nii", None, None),
        (r"re:(?P<subject>s\d+)/t2/(?P<case>s\d+_v\d)\.nii(\.gz)?", "s01/t2/s01_v2.nii.gz", "s01_v2", "s01"),
        (r"re:.*/(?P<case>\d+)_IMG\.nii", "x/y/12_IMG.nii", "12", None),
        (r"re:(?P<case>\d+)\.nii", "x/12.nii", None, None),
    ],
)
def test_patterns(text, file, case, subject):
    assert pattern(text).case_of(file) == case
    assert pattern(text).subject_of(file) == subject


@pytest.mark.parametrize("text", ["*.nii", "re:(?P<name>.*)", "{structure}.nii"])
def test_patterns_without_case_are_refused(text):
    with pytest.raises(InputError, match="says not where the case id stands"):
        pattern(text)


def test_a_faulty_expression_is_refused():
    with pytest.raises(InputError, match="is no regular expression"):
        pattern("re:(?P<case>")


def test_subjects_from_folders_keep_scans_of_one_name_apart(scans, raw):
    for seed, name in enumerate(("p1/first", "p1/second", "p2/first")):
        save(scans / f"{name}.nii.gz", grey(seed))
        save(scans / f"{name}_seg.nii.gz", labels())
    assert convert(scans, "{subject}/{case}.nii.gz", "{subject}/{case}_seg.nii.gz") == 0
    assert taken(raw) == [("p1_first", "p1"), ("p1_second", "p1"), ("p2_first", "p2")]


def test_regular_expressions(scans, raw):
    for seed, case in enumerate(("001_20", "002_21")):
        save(scans / f"images/{case}.nii.gz", grey(seed))
        save(scans / f"masks/label{case}.nii.gz", labels())
    image = r"re:images/(?P<case>(?P<subject>\d{3})_\d\d)\.nii\.gz"
    assert convert(scans, image, r"re:masks/label(?P<case>\d{3}_\d\d)\.nii\.gz") == 0
    assert taken(raw) == [("001_20", "001"), ("002_21", "002")]


# Label maps


def test_a_label_map_in_yaml_with_lists_and_short_names(scans, raw, tmp_path):
    save(scans / "a.nii.gz", grey(0))
    split = labels()
    split[13, 2:5, 1:5] = 9  # a part of multifidus right of its own
    save(scans / "a_seg.nii.gz", split)
    (tmp_path / "map.yaml").write_text("MF R: [1, 9]\nMF L: 2\nright ES: 3\nleft ES: 4\nPM_R: 5\nPsoas left: 6\n")
    assert convert(scans, "{case}.nii.gz", "{case}_seg.nii.gz", labels=tmp_path / "map.yaml") == 0
    np.testing.assert_array_equal(converted(raw, "a"), labels())


# One mask per structure


NAMES = ("mf_right", "MF-L", "erector_spinae_R", "ES left", "psoas right", "psoas_major_left")


@pytest.mark.parametrize(
    ("mask", "pattern_text", "image"),
    [
        ("a/{}.nii.gz", "{case}/{structure}.nii.gz", "a.nii.gz"),
        ("a_{}.nii.gz", "{case}_{structure}.nii.gz", "a.nii.gz"),
        ("{}/a.mha", "{structure}/{case}.mha", "a.nii.gz"),
        ("a/m_{}.nrrd", r"re:(?P<case>[a-z])/m_(?P<structure>.+)\.nrrd", "a.nii.gz"),
    ],
)
def test_masks_become_one_label_map(scans, raw, mask, pattern_text, image):
    save(scans / image, grey(0))
    for value, name in enumerate(NAMES, start=1):
        save(scans / mask.format(name), (255 * (labels() == value)).astype(np.uint8))
    save(scans / mask.format("sacrum"), np.ones(SHAPE, np.uint8))
    assert convert(scans, "{case}.nii.gz", pattern_text, labels="names") == 0
    assert taken(raw) == [("a", "a")]
    np.testing.assert_array_equal(converted(raw, "a"), labels())


@pytest.fixture
def masked(scans):
    """Two cases with masks by canonical name."""
    for seed, case in enumerate("ab"):
        save(scans / f"{case}.nii.gz", grey(seed))
        for structure in PARASPINAL:
            save(scans / f"{case}/{structure.key}.nii.gz", (labels() == structure.label).astype(np.uint8))
    return scans


def masks(folder, *flags, labels="names"):
    return convert(folder, "{case}.nii.gz", "{case}/{structure}.nii.gz", *flags, labels=labels)


@pytest.mark.parametrize(
    ("path", "array", "message"),
    [
        # 3 x 3 x 4 voxels of 80 mm3 of erector spinae right lie in multifidus right
        ("b/multifidus_right.nii.gz", np.isin(labels(), (1, 3)), "36 voxels (2.88 ml) of"),
        ("b/MF_R.nii.gz", labels() == 1, "are all multifidus_right of case b; one mask of each is needed"),
        ("b/multifidus_right.nii.gz", labels() * (labels() < 3), "is no mask of one structure"),
        ("b/multifidus_right.nii.gz", (labels() == 1)[:, :, :5], "lies on another grid than"),
        ("b/paraspinal_right.nii.gz", labels() == 1, "'paraspinal_right': could be multifidus or erector spinae"),
        ("c/multifidus_right.nii.gz", labels() == 1, "is a label without image (case c)"),
    ],
)
def test_faulty_masks_are_refused(masked, raw, capsys, path, array, message):
    save(masked / path, array.astype(np.uint8))
    assert masks(masked) == 1
    assert message in capsys.readouterr().err
    assert not list(raw.glob("Dataset*"))


def test_a_missing_mask_is_an_empty_class(masked, raw, capsys):
    (masked / "b/psoas_major_left.nii.gz").unlink()
    assert masks(masked) == 1
    assert "no voxel is psoas_major_left" in capsys.readouterr().err
    assert masks(masked, "--allow-empty-label") == 0


def test_structures_may_be_named_in_a_file(masked, raw, capsys, tmp_path):
    for case in "ab":
        (masked / f"{case}/multifidus_right.nii.gz").rename(masked / f"{case}/deep.nii.gz")
    (tmp_path / "names.yaml").write_text("deep: MF_R\n" + "".join(f"{s.key}: {s.key}\n" for s in PARASPINAL[1:5]))
    assert masks(masked, labels=tmp_path / "names.yaml") == 1
    assert "structure 'psoas_major_left' is not in" in capsys.readouterr().err
    with (tmp_path / "names.yaml").open("a") as file:
        file.write("psoas_major_left: ignore\n")
    assert masks(masked, labels=tmp_path / "names.yaml") == 0
    np.testing.assert_array_equal(converted(raw, "b"), np.where(labels() < 6, labels(), 0))


def test_quadratus_masks_are_kept_on_request(masked, raw):
    for case in "ab":
        for n, side in enumerate("RL"):
            array = np.zeros(SHAPE, np.uint8)
            array[17 - 16 * n, 2:5, 2:4] = 1
            save(masked / f"{case}/QL_{side}.nii.gz", array)
    assert masks(masked) == 0
    np.testing.assert_array_equal(converted(raw, "a"), labels())
    assert masks(masked, "--quadratus", "--overwrite") == 0
    assert set(np.unique(converted(raw, "a"))) == set(range(9))


def test_masks_need_names_and_one_rater(masked, raw, capsys):
    assert masks(masked, labels="author") == 1
    assert "--labels author: with {structure}, give 'names' or a file" in capsys.readouterr().err
    assert masks(masked, "--rater2", "r2/{case}.nii.gz") == 1
    assert "--rater2 r2/{case}.nii.gz: not where the labels are one mask per structure" in capsys.readouterr().err


# Formats


@pytest.mark.parametrize("ending", [".nii", ".mha", ".mhd", ".nrrd", ".nhdr"])
def test_the_same_scan_in_every_format(tmp_path, scans, raw, ending):
    oblique = RAS.copy()
    angle = np.deg2rad(12)
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    oblique[:3, :3] = np.array(turn) @ RAS[:3, :3]
    save(scans / f"a_img{ending}", grey(0), oblique)
    save(scans / f"a_seg{ending}", labels(), oblique)
    image = read_image(scans / f"a_img{ending}")
    assert image.array.dtype == np.int16
    np.testing.assert_array_equal(image.array, grey(0))
    np.testing.assert_allclose(image.affine, oblique, atol=1e-5)
    assert convert(scans, f"{{case}}_img{ending}", f"{{case}}_seg{ending}") == 0
    np.testing.assert_array_equal(converted(raw, "a"), labels())
    written = nib.load(raw / "Dataset507_A/imagesTr/a_0000.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), grey(0))
    np.testing.assert_allclose(written.affine, oblique, atol=1e-5)


def test_a_space_of_ras_is_read_as_such(tmp_path):
    """The NRRD header's own words, with x to the right: the affine is what it says."""
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: right-anterior-superior\nsizes: 2 2 2\n"
        "space directions: (2,0,0) (0,3,0) (0,0,4)\nspace origin: (1,2,3)\nencoding: raw\nendian: little\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(16))
    expected = [[2, 0, 0, 1], [0, 3, 0, 2], [0, 0, 4, 3], [0, 0, 0, 1]]
    np.testing.assert_allclose(read_image(tmp_path / "a.nrrd").affine, expected)


def test_a_segmentation_whose_names_contradict_the_label_map_is_refused(scans, raw, capsys):
    save(scans / "a.nii.gz", grey())
    path = write_segmentation_nrrd(scans / "a.seg.nrrd", Volume(labels(), RAS))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"_Name:=Multifidus right\n", b"_Name:=Quadratus lumborum right\n"))
    assert convert(scans, "{case}.nii.gz", "{case}.seg.nrrd") == 1
    said = capsys.readouterr().err
    assert "a.seg.nrrd: calls the value 1 'Quadratus lumborum right', and it is taken for multifidus_right" in said
    path.write_bytes(content)
    assert convert(scans, "{case}.nii.gz", "{case}.seg.nrrd") == 0
    assert (converted(raw, "a") == labels()).all()


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_faulty_files_are_refused(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    with pytest.raises(InputError, match="cannot be read"):
        read_image(path)
    save(path, grey(0))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="truncated"):
        read_image(path)
    unknown = np.where(grey(0) == grey(0).max(), np.nan, 0.5).astype(np.float32)
    save(path, unknown)
    with pytest.raises(InputError, match="are NaN or infinite"):
        read_image(path)
    save(path, np.full(SHAPE, 0.5, np.float32))
    with pytest.raises(LabelError, match="have no integer label"):
        read_labels(path)


def test_files_without_orientation_are_refused(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(
        b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n\n" + bytes(8)
    )
    header = b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(header + bytes(8))
    for name in ("a.nrrd", "a.mha"):
        with pytest.raises(GeometryError, match="gives no orientation, so left and right are unknown"):
            read_image(tmp_path / name)


def test_colour_images_are_refused(tmp_path):
    colours = sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True)
    sitk.WriteImage(colours, str(tmp_path / "a.mha"))
    with pytest.raises(InputError, match="more than one channel"):
        read_image(tmp_path / "a.mha")


# Real data


@pytest.mark.real_data
def test_the_real_scan_is_the_same_by_every_route(scans, raw):
    real = os.environ.get("PARASPINAL_REAL_DATA")
    if not real:
        pytest.skip("PARASPINAL_REAL_DATA is not set")
    image, label = (nib.load(Path(real) / f"abdomen01_{kind}.nii.gz") for kind in ("image", "dseg"))
    grey_values, values = np.asanyarray(image.dataobj), np.asanyarray(label.dataobj)
    names = ("MFR", "MFL", "ESR", "ESL", "PMR", "PML", "QLR", "QLL")
    for kind in ("mha", "nrrd"):
        save(scans / f"{kind}/a_img.{kind}", grey_values, image.affine)
        save(scans / f"{kind}/a_seg.{kind}", values, image.affine)
    save(scans / "masks/a.nii.gz", grey_values, image.affine)
    for value, name in enumerate(names, start=1):
        save(scans / f"masks/a_{name}.nii.gz", (values == value).astype(np.uint8), image.affine)
    save(scans / "bids/sub-a/anat/sub-a_T2w.nii.gz", grey_values, image.affine)
    save(scans / "bids/derivatives/m/sub-a/anat/sub-a_dseg.nii.gz", values, image.affine)
    table = "".join(f"{value}\t{name}\n" for value, name in enumerate(names, start=1))
    (scans / "bids/derivatives/m/dseg.tsv").write_text(f"index\tname\n{table}")

    by_name = ["--image-pattern", "{case}.nii.gz", "--label-pattern", "{case}_{structure}.nii.gz", "--labels=names"]
    routes = [["bids", "-i", str(scans / "bids")], ["pairs", "-i", str(scans / "masks"), *by_name]]
    for kind in ("mha", "nrrd"):
        by_kind = ["--image-pattern", f"{{case}}_img.{kind}", "--label-pattern", f"{{case}}_seg.{kind}"]
        routes.append(["pairs", "-i", str(scans / kind), *by_kind, "--labels", "musclemap-abdomen"])
    for number, route in enumerate(routes, start=601):
        assert main(["convert", *route, "-d", str(number), "-n", "A", "-np", "1", "--quadratus"]) == 0
        dataset = raw / f"Dataset{number}_A"
        for part, expected in (("imagesTr", grey_values), ("labelsTr", values)):
            (written,) = map(nib.load, (dataset / part).iterdir())
            np.testing.assert_array_equal(np.asanyarray(written.dataobj), expected)
            np.testing.assert_allclose(written.affine, image.affine, atol=1e-4)


def test_sessions_of_one_bids_subject_stay_together(scans, raw):
    for place, case in enumerate(("sub-07_ses-1", "sub-07_ses-2", "anna_1")):
        save(scans / f"{case}_img.nii.gz", grey(place))
        save(scans / f"{case}_GT.nii.gz", labels())
    assert convert(scans, "{case}_img.nii.gz", "{case}_GT.nii.gz") == 0
    cases = read_cases(raw / "Dataset507_A").set_index("case")["subject"]
    assert dict(cases) == {"sub-07_ses-1": "sub-07", "sub-07_ses-2": "sub-07", "anna_1": "anna_1"}
