from pathlib import Path

import pytest

from paraspinal_nnunet.dataset_conversion.patterns.pairing import find_pairs, pattern, subject_of, walk
from paraspinal_nnunet.dataset_conversion.sources.lpm import lpm_source
from paraspinal_nnunet.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Make empty files of these names; return their folder."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("text", "file", "case"),
    [
        ("{case}_img.nii.gz", "a_1_img.nii.gz", "a_1"),
        ("{case}_img.nii.gz", "a_1_imgXnii.gz", None),
        ("{case}_img.nii.gz", "x/a_img.nii.gz", None),
        ("{case}_img.nii.gz", "_img.nii.gz", None),
        ("sub-*/anat/{case}_T2w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz", "sub-01"),
        ("sub-*/anat/{case}_T2w.nii.gz", "sub-01/ses-1/anat/sub-01_T2w.nii.gz", None),
        ("**/{case}.nii", "a.nii", "a"),
        ("**/{case}.nii", "x/y/a.nii", "a"),
        ("{case}/{case}_?.nii", "a/a_1.nii", "a"),
        ("{case}/{case}_?.nii", "a/b_1.nii", None),
        ("{case}/mri.nii.gz", "s0001/mri.nii.gz", "s0001"),
        ("({case}).nii", "(a).nii", "a"),
    ],
)
def test_patterns(text, file, case):
    assert pattern(text).case_of(file) == case


def test_a_pattern_without_case_is_refused():
    with pytest.raises(InputError, match=r"\{case\}"):
        pattern("*_img.nii.gz")


def test_the_more_specific_pattern_takes_the_file(folder):
    found = find_pairs(folder("a.nii.gz", "a_seg.nii.gz"), pattern("{case}.nii.gz"), pattern("{case}_seg.nii.gz"))
    assert [(c.case, c.image.name, c.label.name) for c in found.cases] == [("a", "a.nii.gz", "a_seg.nii.gz")]
    assert not found.refusals


def test_patterns_that_cannot_be_told_apart_are_refused(folder):
    with pytest.raises(InputError, match=r"a\.nii: matches both"):
        find_pairs(folder("a.nii"), pattern("{case}.nii"), pattern("{case}.nii"))


def test_hidden_files_are_passed_over_and_others_counted(folder):
    files = folder("a_img.nii", "._a_img.nii", ".git/b_img.nii", "a_GT.nii", "notes.txt", "x/list.csv")
    assert walk(files) == ["a_GT.nii", "a_img.nii", "notes.txt", "x/list.csv"]
    found = find_pairs(files, pattern("{case}_img.nii"), pattern("{case}_GT.nii"))
    assert len(found.cases) == 1
    assert found.other_files == 2


def test_links_are_followed_once(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "b_img.nii").touch()
    files = folder("a_img.nii", "x/c_img.nii")
    (files / "x/up").symlink_to(files)
    (files / "y").symlink_to(elsewhere)
    assert walk(files) == ["a_img.nii", "x/c_img.nii", "y/b_img.nii"]


def test_an_unreadable_sub_folder_is_not_passed_over(folder, monkeypatch):
    import os

    scan = os.scandir

    def deny(path):
        if str(path).endswith("x"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    files = folder("a_img.nii", "x/c_img.nii")
    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(InputError, match=r"x: cannot be read \(Permission denied\)"):
        walk(files)


def test_subjects():
    assert subject_of("TUM01_water", None) == "TUM01_water"
    assert subject_of("TUM01_water", r"^([^_]+)") == "TUM01"


def test_lpm_keeps_subject_and_contrast_apart(folder):
    found = lpm_source().find_cases(
        folder(
            "TUM01_fat_img_img_L2-L5.nii.gz",
            "TUM01_fat_manual_label_segmentation_L2-L5.nii.gz",
            "deep/TUM02_water_img_img_L2-L5.nii.gz",
            "deep/TUM02_water_img_img_L2-L5_nnunet_to_seg-segmentation-label.nii.gz",
            "abdomen01_image.nii.gz",
        )
    )
    assert [(c.case, c.subject) for c in found.cases] == [("TUM01_fat", "TUM01"), ("TUM02_water", "TUM02")]
    assert found.other_files == 1


def test_lpm_refuses_two_labels_for_one_image(folder):
    names = ("manual_label_segmentation_L2-L5", "img_img_L2-L5_nnunet_to_seg-segmentation-label", "img_img_L2-L5")
    found = lpm_source().find_cases(folder(*(f"TUM01_fat_{name}.nii.gz" for name in names)))
    assert not found.cases
    assert "share the case id TUM01_fat" in found.refusals[0].reason
    assert Path(found.refusals[0].reason.split(",")[0]).name.startswith("TUM01_fat")


def test_a_misspelt_placeholder_is_named():
    with pytest.raises(InputError, match=r"\{ext\} is no placeholder; there are \{case\}, \{subject\}, \{structure\}"):
        pattern("{case}_img.{ext}")
