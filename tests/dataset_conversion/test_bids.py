"""BIDS data sets, on made-up scans: which label is whose, what its values mean, and what is refused."""

import json

import nibabel as nib
import numpy as np
import pytest
from helpers.scans import RAS, SAGITTAL, SHAPE, grey, labels, save

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.dataset_conversion.sources.bids_names import by_subject, images_of, not_ignored, parse
from paraspinal_nnunet.nnunet.datasets import read_cases

VALUES = (11, 12, 21, 22, 31, 32)
"""Of multifidus right and left, erector spinae right and left, psoas major right and left."""

TABLE = "index\tname\tabbreviation\n0\tbackground\tBG\n" + "".join(
    f"{value}\t{name}\tx\n"
    for value, name in zip(
        VALUES,
        ("Right multifidus", "Left multifidus", "ES R", "ES L", "Psoas major right", "psoas_left"),
        strict=True,
    )
)


def coded(values=VALUES):
    return np.array((0, *values), np.uint8)[labels()]


class Set:
    def __init__(self, folder):
        self.folder = folder
        self.seed = 0
        folder.mkdir()
        (folder / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')

    def image(self, name, affine=RAS):
        self.seed += 1
        save(self._place(self.folder, name) / f"{name}.nii.gz", grey(self.seed), affine)

    def label(self, name, array=None, derivative="manual"):
        save(
            self._place(self.folder / "derivatives" / derivative, name) / f"{name}.nii.gz",
            coded() if array is None else array,
        )

    def table(self, text=TABLE, path="derivatives/manual/dseg.tsv"):
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    @staticmethod
    def _place(root, name):
        sub, *rest = name.split("_")
        return root / sub / next((part for part in rest if part.startswith("ses-")), "") / "anat"


@pytest.fixture
def data(tmp_path):
    """Two subjects, one with two sessions; the table lies at the derivative's root."""
    made = Set(tmp_path / "ds")
    for name in ("sub-01_ses-1", "sub-01_ses-2", "sub-02"):
        made.image(f"{name}_T2w")
        made.label(f"{name}_dseg")
    made.table()
    (made.folder / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t51\tF\nsub-02\tn/a\tM\n")
    return made


def convert(data, *flags):
    return main(["convert", "bids", "-i", str(data.folder), "-d", "506", "-np", "1", *flags])


def taken(raw):
    return list(read_cases(raw / "Dataset506_BIDS")["case"])


def converted(raw, case, part="labelsTr"):
    return np.asanyarray(nib.load(raw / f"Dataset506_BIDS/{part}/{case}.nii.gz").dataobj)


def refused(capsys, result, *texts):
    err = capsys.readouterr().err
    assert result == 1
    for text in texts:
        assert text in err


def test_labels_by_table_subjects_and_people(data, raw, capsys):
    assert convert(data) == 0
    cases = read_cases(raw / "Dataset506_BIDS")
    assert list(cases["case"]) == ["sub-01_ses-1", "sub-01_ses-2", "sub-02"]
    assert list(cases["subject"]) == ["sub-01", "sub-01", "sub-02"]
    assert list(cases["sex"]) == ["F", "F", "M"]
    for case in cases["case"]:
        np.testing.assert_array_equal(converted(raw, case), labels())
    description = json.loads((raw / "Dataset506_BIDS/dataset.json").read_text())
    assert description["channel_names"] == {"0": "T2"}
    assert description["provenance"]["label_scheme"] == "derivatives/manual/dseg.tsv"
    assert description["provenance"]["settings"]["derivative"] == "manual"
    assert "dataset_description" not in capsys.readouterr().out


def test_a_folder_without_description_is_taken_with_a_note(data, raw, capsys):
    (data.folder / "dataset_description.json").unlink()
    assert convert(data) == 0
    assert "dataset_description.json is missing" in capsys.readouterr().out


def test_the_nearest_table_wins_and_others_must_agree(data, raw, capsys):
    swapped = TABLE.replace("11\tRight", "12\tRight", 1).replace("12\tLeft", "11\tLeft", 1)
    data.table(swapped, "derivatives/manual/sub-02/anat/sub-02_dseg.tsv")
    refused(capsys, convert(data), "value 12 is multifidus_right, in derivatives/manual/dseg.tsv it is multifidus_left")
    data.label("sub-02_dseg", coded((12, 11, *VALUES[2:])))
    assert convert(data, "--include", "sub-02") == 1  # the other subject's table still contradicts
    data.table(swapped, "derivatives/manual/dseg.tsv")
    for name in ("sub-01_ses-1_dseg", "sub-01_ses-2_dseg"):
        data.label(name, coded((12, 11, *VALUES[2:])))
    assert convert(data) == 0
    np.testing.assert_array_equal(converted(raw, "sub-02"), labels())


def test_without_table_the_values_are_given(data, raw, capsys, tmp_path):
    (data.folder / "derivatives/manual/dseg.tsv").unlink()
    refused(capsys, convert(data), "no *_dseg.tsv says what its values mean; add one or give --labels")
    names = ("MF_R", "MF_L", "ES_R", "ES_L", "PM_R", "PM_L")
    (tmp_path / "map.yaml").write_text("".join(f"{v}: {name}\n" for v, name in zip(VALUES, names, strict=True)))
    assert convert(data, "--labels", str(tmp_path / "map.yaml")) == 0
    np.testing.assert_array_equal(converted(raw, "sub-02"), labels())


def test_derivatives_are_a_choice_and_the_second_rater_is_one_of_them(data, raw, capsys):
    second = coded()
    second[12, 2, 1] = 0
    data.label("sub-02_desc-x_dseg", second, derivative="rater2")
    data.table(path="derivatives/rater2/dseg.tsv")
    data.label("sub-02_desc-brain_mask", derivative="fmriprep")
    refused(capsys, convert(data), "labels are in manual (3 files), rater2 (1 files); choose with --derivative NAME")
    refused(capsys, convert(data, "--derivative", "auto"), "derivatives/auto holds no labels of these images")
    assert convert(data, "--derivative", "manual", "--rater2-derivative", "rater2", "--rater2") == 0
    np.testing.assert_array_equal(converted(raw, "sub-02", "labels_rater2") != labels(), second != coded())
    np.testing.assert_array_equal(converted(raw, "sub-02"), labels())
    assert convert(data, "--derivative", "rater2", "--overwrite", "--exclude", "sub-01*") == 0
    assert taken(raw) == ["sub-02"]


def test_an_image_of_another_plane_is_passed_over_where_the_label_is_the_axial_ones(data, raw, capsys):
    for plane, affine in (("ax", RAS), ("sag", SAGITTAL)):
        data.image(f"sub-03_acq-{plane}_T2w", affine)
    data.label("sub-03_acq-ax_space-orig_label-muscles_dseg")
    assert convert(data) == 0
    assert "sub-03_acq-ax" in taken(raw)
    assert "left out, since another image of the subject has the label: sub-03_acq-sag" in capsys.readouterr().out


def test_a_label_that_fits_several_images_needs_a_choice(data, raw, capsys):
    for plane, affine in (("ax", RAS), ("sag", SAGITTAL)):
        data.image(f"sub-03_acq-{plane}_T2w", affine)
    data.label("sub-03_dseg")
    refused(capsys, convert(data), "sub-03_dseg.nii.gz: could belong to sub-03_acq-ax_T2w.nii.gz, sub-03_acq-sag_T2w")
    assert convert(data, "--acq", "ax") == 0
    assert taken(raw) == ["sub-03_acq-ax"]


def test_two_labels_of_one_image_need_a_choice(data, raw, capsys):
    data.label("sub-02_desc-auto_dseg", coded() * 0)
    refused(capsys, convert(data), "sub-02_dseg.nii.gz: are labels of one image; choose with --desc or --space")
    for name in ("sub-01_ses-1_desc-a_dseg", "sub-01_ses-2_desc-a_dseg", "sub-02_desc-a_dseg"):
        data.label(name)
    assert convert(data, "--desc", "a") == 0
    assert len(taken(raw)) == 3


def test_images_and_labels_without_partner_are_refused(data, raw, capsys):
    data.image("sub-03_T2w")
    data.label("sub-04_dseg")
    refused(
        capsys,
        convert(data),
        "sub-03_T2w.nii.gz: is an image without label (case sub-03)",
        "sub-04_dseg.nii.gz: is a label without image (case sub-04)",
    )


def test_other_suffixes_and_ignored_files_are_left_alone(data, raw, capsys):
    data.image("sub-01_ses-1_T1w")
    data.label("sub-01_ses-1_T1w_dseg", coded() * 0)
    data.image("sub-99_T2w")
    save(data.folder / "sub-01/anat/T2w.nii.gz", labels())
    (data.folder / ".bidsignore").write_text("# pilots\nsub-99/\n*.tmp.nii.gz\n")
    assert convert(data) == 0
    assert len(taken(raw)) == 3
    assert convert(data, "--suffix", "PDw") == 1
    assert "no image sub-*/[ses-*/]anat/sub-*_PDw.nii.gz" in capsys.readouterr().err


@pytest.fixture
def masked(tmp_path):
    """One subject with a mask per structure, sides told in three ways."""
    made = Set(tmp_path / "ds")
    made.image("sub-01_T2w")
    names = ("label-MFR", "label-multifidusLeft", "hemi-R_label-ES", "hemi-L_label-ES", "label-psoasRight", "label-PML")
    for value, name in enumerate(names, start=1):
        made.label(f"sub-01_{name}_mask", (labels() == value).astype(np.uint8))
    made.label("sub-01_label-sacrum_mask", np.ones(SHAPE, np.uint8))
    return made


def test_masks_by_their_names(masked, raw):
    assert convert(masked) == 0
    np.testing.assert_array_equal(converted(raw, "sub-01"), labels())


def test_masks_need_no_label_map(masked, raw, capsys):
    refused(capsys, convert(masked, "--labels", "author"), "--labels author: the labels are masks")


def test_faulty_masks_are_refused(masked, raw, capsys):
    masked.label("sub-01_label-MFR_mask", (labels() % 2).astype(np.uint8))
    # the boxes of erector spinae right: 3 x 3 x 4 = 36 voxels of 80 mm3
    refused(capsys, convert(masked), "36 voxels (2.88 ml) of", "are also", "correct the masks")
    masked.label("sub-01_desc-b_label-MFR_mask")
    refused(capsys, convert(masked), "are labels of one image; choose with --desc or --space")
    masked.label("sub-01_label-psoas_mask")
    refused(capsys, convert(masked), "sub-01_label-psoas_mask.nii.gz: 'psoas ': says no side")


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("sub-01/anat/sub-01_T2w.nii.gz", "sub-01"),
        ("sub-01/ses-a/anat/sub-01_ses-a_acq-ax_run-1_T2w.nii", "sub-01_ses-a_acq-ax_run-1"),
        ("derivatives/x/sub-01/anat/sub-01_T2w_dseg.nii.gz", "sub-01"),
        ("sub-01/anat/sub-01_T2w.json", None),
        ("sub-01/anat/sub-01_some_thing_T2w.nii.gz", None),
        ("sub-01/anat/sub-01_sub-02_T2w.nii.gz", None),
    ],
)
def test_names(name, case):
    parsed = parse(name)
    assert (parsed.case if parsed else None) == case


def test_a_label_prefers_the_image_with_just_its_entities():
    images = [parse(f"sub-1/anat/sub-1{acq}_T2w.nii.gz") for acq in ("", "_acq-ax")]
    of = by_subject(images)
    assert images_of(parse("d/sub-1_desc-x_dseg.nii.gz"), of) == images[:1]
    assert images_of(parse("d/sub-1_acq-ax_dseg.nii.gz"), of) == images[1:]
    assert images_of(parse("d/sub-1_acq-ax_T1w_dseg.nii.gz"), of) == []
    assert images_of(parse("d/sub-2_dseg.nii.gz"), of) == []


@pytest.mark.parametrize(
    ("glob", "left"),
    [
        ("*.txt", ["a/b/c.nii", "sub-9/x.nii"]),
        ("sub-9/", ["a/b/c.nii", "x.txt", "y/z.txt"]),
        ("a/b", ["sub-9/x.nii", "x.txt", "y/z.txt"]),
        ("b", ["sub-9/x.nii", "x.txt", "y/z.txt"]),
        ("y/*.txt", ["a/b/c.nii", "sub-9/x.nii", "x.txt"]),
        ("**/z.txt", ["a/b/c.nii", "sub-9/x.nii", "x.txt"]),
    ],
)
def test_bidsignore(tmp_path, glob, left):
    (tmp_path / ".bidsignore").write_text(f"# comment\n\n{glob}\n")
    assert not_ignored(["a/b/c.nii", "sub-9/x.nii", "x.txt", "y/z.txt"], tmp_path) == left
