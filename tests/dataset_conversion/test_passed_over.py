"""Endings count in any case of letters, and files that belong to no case are told of by name, in every source."""

import json

import numpy as np
import pytest
import SimpleITK
from helpers.scans import grey, labels, save

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.dataset_conversion.sources.lpm import lpm_source
from paraspinal_nnunet.image_io.images import read_image

COARSE_KEYS = ("autochthon_right", "autochthon_left", "iliopsoas_right", "iliopsoas_left")
TABLE = "index\tname\n" + "".join(
    f"{n}\t{name}\n" for n, name in enumerate(("MF R", "MF L", "ES R", "ES L", "psoas_right", "psoas_left"), start=1)
)

WARNING = "paraspinal convert: warning: files that belong to no case, not used: "


def convert(source, folder, *flags):
    return main(["convert", source, "-i", str(folder), "-d", "601", "-n", "T", "-np", "1", *flags])


def images(raw):
    return sorted(path.name for path in (raw / "Dataset601_T" / "imagesTr").glob("*"))


def report(raw):
    return json.loads((raw / "Dataset601_T" / "conversion_report.json").read_text())


def rename(folder, old, new):
    for path in sorted(folder.rglob(f"*{old}")):
        path.rename(path.with_name(path.name.removesuffix(old) + new))


def pairs(folder, ending):
    """Two pairs, written as NIfTI or through ITK."""
    for n in range(2):
        for kind, array in (("img", grey(n)), ("GT", labels())):
            save(folder / f"s{n}_{kind}.nii.gz", array)
            small = ending.lower()
            if small != ".nii.gz":
                SimpleITK.WriteImage(
                    SimpleITK.ReadImage(folder / f"s{n}_{kind}.nii.gz"), folder / f"s{n}_{kind}{small}"
                )
                (folder / f"s{n}_{kind}.nii.gz").unlink()
            (folder / f"s{n}_{kind}{small}").rename(folder / f"s{n}_{kind}{ending}")


@pytest.mark.parametrize("ending", [".NII.GZ", ".NII", ".Nii", ".MHA", ".mhA", ".Nrrd", ".NRRD"])
def test_pairs(raw, tmp_path, ending):
    pairs(tmp_path / "in", ending)
    small = ending.lower()
    patterns = ("--image-pattern", f"{{case}}_img{small}", "--label-pattern", f"{{case}}_GT{small}")
    assert convert("pairs", tmp_path / "in", *patterns, "--labels", "author") == 0
    assert images(raw) == ["s0_0000.nii.gz", "s1_0000.nii.gz"]
    for n in range(2):
        written = read_image(raw / "Dataset601_T" / "imagesTr" / f"s{n}_0000.nii.gz")
        np.testing.assert_array_equal(written.array, grey(n))


def test_author(raw, tmp_path):
    pairs(tmp_path / "in", ".NII.GZ")
    assert convert("author", tmp_path / "in") == 0
    assert images(raw) == ["s0_0000.nii.gz", "s1_0000.nii.gz"]


def test_lpm(tmp_path):
    for n in (1, 2):
        save(tmp_path / "in" / f"TUM0{n}_fat_img_img_L2-L5.nii.gz", grey(n))
        save(tmp_path / "in" / f"TUM0{n}_fat_manual_label_segmentation_L2-L5.nii.gz", labels())
    rename(tmp_path / "in", ".nii.gz", ".NII.gz")
    found = lpm_source().find_cases(tmp_path / "in")
    assert [case.case for case in found.cases] == ["TUM01_fat", "TUM02_fat"]
    assert found.other_files == 0


def test_musclemap(raw, tmp_path):
    for n in range(2):
        save(tmp_path / "in" / f"s{n}.nii.gz", grey(n))
        codes = np.array((0, 5102, 5101, 5112, 5111, 5122, 5121), np.int16)
        save(tmp_path / "in" / f"s{n}_dseg.nii.gz", codes[labels()])
    rename(tmp_path / "in", "s0.nii.gz", "s0.NII.GZ")
    rename(tmp_path / "in", "s1_dseg.nii.gz", "s1_dseg.Nii.Gz")
    assert convert("musclemap", tmp_path / "in") == 0
    assert images(raw) == ["s0_0000.nii.gz", "s1_0000.nii.gz"]


def test_bids(raw, tmp_path, capsys):
    folder = tmp_path / "in"
    for n in (1, 2):
        save(folder / f"sub-0{n}" / "anat" / f"sub-0{n}_T2w.nii.gz", grey(n))
        save(folder / "derivatives" / "m" / f"sub-0{n}" / "anat" / f"sub-0{n}_dseg.nii.gz", labels())
    (folder / "derivatives" / "m" / "dseg.tsv").write_text(TABLE)
    (folder / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    rename(folder, ".nii.gz", ".NII.GZ")
    assert convert("bids", folder) == 0
    assert images(raw) == ["sub-01_0000.nii.gz", "sub-02_0000.nii.gz"]
    assert "warning" not in capsys.readouterr().err


def test_totalsegmentator(raw, tmp_path, capsys):
    for n in (1, 2):
        save(tmp_path / "in" / f"s{n}" / "mri.nii.gz", grey(n))
        for value, name in enumerate(COARSE_KEYS, start=1):
            save(tmp_path / "in" / f"s{n}" / "segmentations" / f"{name}.nii.gz", (labels() == value).astype(np.uint8))
    rename(tmp_path / "in", ".nii.gz", ".NII.gz")
    assert convert("totalsegmentator", tmp_path / "in") == 0
    assert images(raw) == ["s1_0000.nii.gz", "s2_0000.nii.gz"]
    assert "warning" not in capsys.readouterr().err


def test_what_is_passed_over_is_named_in_a_line_and_in_the_report(raw, tmp_path, capsys):
    folder = tmp_path / "in"
    pairs(folder, ".nii.gz")
    (folder / "more").mkdir()
    (folder / "more" / "S9_IMG.NII.GZ").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden").write_text("x")
    assert convert("author", folder) == 0
    assert f"{WARNING}more/S9_IMG.NII.GZ, notes.txt\n" in capsys.readouterr().err
    assert report(raw)["passed_over"] == ["more/S9_IMG.NII.GZ", "notes.txt"]


def test_of_many_the_first_are_in_the_line_and_all_in_the_report(raw, tmp_path, capsys):
    pairs(tmp_path / "in", ".nii.gz")
    for n in range(13):
        (tmp_path / "in" / f"x{n:02d}.txt").write_text("x")
    assert convert("author", tmp_path / "in") == 0
    assert "x09.txt and 3 more\n" in capsys.readouterr().err
    assert report(raw)["passed_over"] == [f"x{n:02d}.txt" for n in range(13)]


def test_cases_that_were_excluded_are_not_passed_over(raw, tmp_path, capsys):
    pairs(tmp_path / "in", ".nii.gz")
    assert convert("author", tmp_path / "in", "--exclude", "s1") == 0
    assert "warning" not in capsys.readouterr().err
