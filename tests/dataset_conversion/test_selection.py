"""Choosing cases, subjects and raters: the same flags for every source."""

import json
import sys

import numpy as np
import pytest
import SimpleITK
from PIL import Image

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.dataset_conversion.case import Case, Found
from paraspinal_nnunet.dataset_conversion.selection import CaseSelection, select
from paraspinal_nnunet.dataset_conversion.sources import SOURCES
from paraspinal_nnunet.dataset_conversion.sources.author import author_source
from paraspinal_nnunet.nnunet.datasets import case_ids, read_cases


@pytest.fixture
def cohort(scans):
    """Two subjects with two scans each."""
    scans.add("01_a", "01_b", "02_a", "02_b")
    return scans


def second_rater(cohort):
    return [p.name for p in (cohort.dataset / "labels_rater2").iterdir()]


@pytest.mark.parametrize(
    ("flags", "taken"),
    [
        (["--include", "01_*"], ["01_a", "01_b"]),
        (["--include", "01_a", "02_b"], ["01_a", "02_b"]),
        (["--include", "01_a", "--include", "02_b"], ["01_a", "02_b"]),
        (["--exclude", "*_b"], ["01_a", "02_a"]),
        (["--include", "01_*", "--exclude", "*_b"], ["01_a"]),
        (["--include", "02_a_img.nii.gz"], ["02_a"]),
        (["--subject-pattern", r"^(\d+)_", "--include", "02"], ["02_a", "02_b"]),
    ],
)
def test_cases_are_chosen_by_id_subject_and_path(cohort, flags, taken, capsys):
    assert cohort.convert(*flags) == 0
    assert case_ids(cohort.dataset) == taken
    assert f"{4 - len(taken)} left out" in capsys.readouterr().out


def test_paths_in_sub_folders_are_matched(scans):
    for case in ("a", "b"):
        scans.save(f"{case}x/{case}_img.nii.gz", scans.image(ord(case)))
        scans.save(f"{case}x/{case}_GT.nii.gz", scans.labels())
    patterns = ["--image-pattern", "*/{case}_img.nii.gz", "--label-pattern", "*/{case}_GT.nii.gz"]
    flags = ["-n", "Paraspinal", "--labels", "author", "--include", "ax/*"]
    assert scans.convert(*flags, *patterns, verb="pairs") == 0
    assert case_ids(scans.dataset) == ["a"]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--include", "01_*", "03*"], "--include '03*': matches no case id, subject or file"),
        (["--include", "01_a", "--exclude", "01*"], "leave none of 4 cases"),
    ],
)
def test_a_pattern_that_leaves_nothing_is_named(cohort, flags, text, capsys):
    assert cohort.convert(*flags) == 1
    assert text in capsys.readouterr().err
    assert list(cohort.raw.iterdir()) == []


def test_an_idle_exclude_is_noted(cohort, capsys):
    assert cohort.convert("--exclude", "zz") == 0
    assert "note: --exclude 'zz' matches nothing" in capsys.readouterr().out


def test_faults_of_excluded_cases_do_not_count(cohort):
    (cohort.folder / "01_a_GT.nii.gz").unlink()
    (cohort.folder / "02_b_img.nii.gz").write_bytes(b"x")
    assert cohort.convert() == 1
    assert cohort.convert("--exclude", "01_a_img.nii.gz", "02_b") == 0
    assert case_ids(cohort.dataset) == ["01_b", "02_a"]


def test_scans_of_a_subject_share_its_row_of_participants(cohort, tmp_path):
    (tmp_path / "people.tsv").write_text("participant_id\tsex\tage\n01\tF\t30\n02\tM\t40\n")
    assert cohort.convert("--subject-pattern", r"^(\d+)_", "--participants", tmp_path / "people.tsv") == 0
    cases = read_cases(cohort.dataset)
    assert list(cases["subject"]) == ["01", "01", "02", "02"]
    assert list(cases["age"]) == [30, 30, 40, 40]
    chosen = json.loads((cohort.dataset / "dataset.json").read_text())["provenance"]["selection"]
    assert (chosen["subject_pattern"], chosen["participants"]) == (r"^(\d+)_", "people.tsv")


def test_the_folders_own_participants_follow_the_subject_pattern(cohort):
    (cohort.folder / "participants.tsv").write_text("participant_id\tage\n01\t30\n02\t40\n")
    assert cohort.convert("--subject-pattern", r"^(\d+)_") == 0
    assert list(read_cases(cohort.dataset)["age"]) == [30, 30, 40, 40]


# The second rater


def test_second_labels_of_the_layout_are_kept_unless_they_are_refused(cohort, capsys):
    cohort.save("rater2/01_a_GT.nii.gz", cohort.labels())
    assert cohort.convert() == 0
    assert "a second rater's labels of 1 of 4 cases are kept; --no-rater2 leaves them out" in capsys.readouterr().out
    assert second_rater(cohort) == ["01_a.nii.gz"]
    assert cohort.convert("--no-rater2", "--overwrite") == 0
    assert "a second rater's labels are there (1) and are not used" in capsys.readouterr().out
    assert not (cohort.dataset / "labels_rater2").exists()
    assert cohort.convert("--rater2", "--overwrite") == 0
    assert second_rater(cohort) == ["01_a.nii.gz"]


@pytest.mark.parametrize(
    ("verb", "name", "place"),
    [
        ("author", "02_a_GT.nii.gz", "reader_b"),
        ("author", "02_a.nrrd", "here"),
        ("pairs", "02_a_GT.nii.gz", "reader_b"),
        ("pairs", "02_a_GT.nii.gz", "here"),
        ("pairs", "02_a.nii.gz", "elsewhere"),
    ],
)
def test_a_folder_says_where_the_second_labels_are(cohort, verb, name, place, monkeypatch):
    """Beside a first rater's map that the layout would take; `pairs` looks through all sub-folders."""
    wider = cohort.labels()
    wider[0, 0, 1] = 1
    file = cohort.folder / "reader_b" / name
    cohort.save("reader_b/02_a_GT.nii.gz", wider)
    if name.endswith(".nrrd"):
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(file.with_name("02_a_GT.nii.gz"))), str(file))
        file.with_name("02_a_GT.nii.gz").unlink()
    else:
        file.with_name("02_a_GT.nii.gz").rename(file)
    (cohort.folder / "reader_b" / "notes.txt").write_text("drawn in March")
    if place == "elsewhere":
        (cohort.folder / "reader_b").rename(cohort.folder.parent / "reader_b")
    monkeypatch.chdir(cohort.folder.parent if place == "here" else cohort.folder)
    given = {"here": f"{cohort.folder.name}/reader_b", "elsewhere": str(cohort.folder.parent / "reader_b")}
    flags = ["--rater2", given.get(place, place)]
    if verb == "pairs":
        flags += ["-n", "Paraspinal", "--labels", "author"]
        flags += ["--image-pattern", "**/{case}_img.nii.gz", "--label-pattern", "**/{case}_GT.nii.gz"]
    assert cohort.convert(*flags, verb=verb) == 0
    assert second_rater(cohort) == ["02_a.nii.gz"]
    np.testing.assert_array_equal(cohort.load("labels_rater2/02_a.nii.gz")[0], wider)


def test_labels_in_a_folder_per_case_have_their_second_ones_in_such_folders(scans, capsys):
    for case in ("a", "b"):
        scans.save(f"{case}/T2.nii.gz", scans.image(ord(case)))
        scans.save(f"{case}/dseg.nii.gz", scans.labels())
    scans.save("second/b/dseg.nii.gz", scans.labels())
    flags = ["-n", "Paraspinal", "--labels", "author", "--rater2", "second"]
    flags += ["--image-pattern", "{case}/T2.nii.gz", "--label-pattern", "{case}/dseg.nii.gz"]
    assert scans.convert(*flags, verb="pairs") == 0
    assert second_rater(scans) == ["b.nii.gz"]
    (scans.folder / "second" / "b" / "dseg.nii.gz").rename(scans.folder / "second" / "dseg.nii.gz")
    assert scans.convert(*flags, "--overwrite", verb="pairs") == 1
    assert "second/dseg.nii.gz: is called like the labels of a, b; name the files after" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["author", "pairs"])
def test_a_pattern_says_where_the_second_labels_are(cohort, verb):
    cohort.save("second/x_02_a.nii.gz", cohort.labels())
    flags = ["--rater2", "second/x_{case}.nii.gz"]
    if verb == "pairs":
        flags += ["-n", "Paraspinal", "--labels", "author"]
        flags += ["--image-pattern", "{case}_img.nii.gz", "--label-pattern", "{case}_GT.nii.gz"]
    assert cohort.convert(*flags, verb=verb) == 0
    assert second_rater(cohort) == ["02_a.nii.gz"]


@pytest.mark.parametrize(
    ("file", "flags", "text"),
    [
        (None, ["--rater2"], "holds no second rater's labels"),
        (None, ["--rater2", "r2/{case}.nii.gz"], "--rater2 'r2/{case}.nii.gz': no file"),
        ("r2/03.nii.gz", ["--rater2", "r2"], "r2/03.nii.gz: is a label without image (case 03)"),
        ("rater2/03_GT.nii.gz", [], "rater2/03_GT.nii.gz: is a label without image (case 03)"),
        (None, ["--rater2", "r2/x.nii.gz"], "says not where the case id stands"),
        ("r2/03.nii.gz", ["--rater2", "r2/{case}.nii.gz"], "r2/03.nii.gz: is a label without image (case 03)"),
        ("rater2/03_GT.nii.gz", ["--rater2"], "rater2/03_GT.nii.gz: is a label without image (case 03)"),
    ],
)
def test_second_labels_that_are_not_there_or_belong_to_no_case(cohort, file, flags, text, capsys):
    if file:
        cohort.save(file, cohort.labels())
    assert cohort.convert(*flags) == 1
    assert text in capsys.readouterr().err


def test_an_orphan_of_the_second_rater_is_no_fault_where_others_are_wanted(cohort):
    cohort.save("rater2/03_GT.nii.gz", cohort.labels())
    cohort.save("r2/01_a.nii.gz", cohort.labels())
    assert cohort.convert("--no-rater2") == 0
    assert cohort.convert("--rater2", "r2", "--overwrite") == 0


def test_two_folders_that_may_be_meant_are_not_chosen_between(cohort, monkeypatch, capsys):
    cohort.save("r2/01_a.nii.gz", cohort.labels())
    (cohort.folder.parent / "r2").mkdir()
    monkeypatch.chdir(cohort.folder.parent)
    assert cohort.convert("--rater2", "r2") == 1
    assert "--rater2 r2: may be " in capsys.readouterr().err


# Names, lists and dry runs


def test_the_channel_is_named(cohort):
    assert cohort.convert("--channel", "T1") == 0
    assert json.loads((cohort.dataset / "dataset.json").read_text())["channel_names"] == {"0": "T1"}
    assert cohort.convert("--channel", "T1", "--channel", "T2", "--overwrite") == 1


def test_list_names_every_source_with_its_layout(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["convert", "--list"])
    assert caught.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(SOURCES)
    assert any("*_GT.nii.gz" in line for line in lines[1::2])


def test_a_dry_run_checks_all_and_writes_nothing(cohort, capsys):
    before = {p: p.stat().st_mtime_ns for p in cohort.raw.parent.rglob("*")}
    assert cohort.convert("--dry-run", "--n4") == 0
    assert "dry run: 4 cases of 4 subjects fit, 0 refused; nothing was written" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in cohort.raw.parent.rglob("*")} == before
    (cohort.folder / "01_a_GT.nii.gz").write_bytes((cohort.folder / "01_a_GT.nii.gz").read_bytes()[:-9])
    assert cohort.convert("--dry-run") == 1
    captured = capsys.readouterr()
    assert "dry run: 3 cases of 3 subjects fit, 1 refused; nothing was written" in captured.out
    assert "01_a_GT.nii.gz: truncated" in captured.err
    assert list(cohort.raw.iterdir()) == []


def test_a_dry_run_sees_a_taken_number(cohort, capsys):
    (cohort.raw / "Dataset501_Other").mkdir()
    assert cohort.convert("--dry-run") == 1
    assert "taken by Dataset501_Other" in capsys.readouterr().err


# Reports


def test_refused_cases_can_be_left_out_and_are_told_of(cohort, capsys, tmp_path):
    (cohort.folder / "01_a_GT.nii.gz").write_bytes(b"x")
    (cohort.folder / "02_b_GT.nii.gz").unlink()
    cohort.save("02_a_img.nii.gz", cohort.image(list(b"01_b")))
    assert cohort.convert("--skip-refused", "--report", tmp_path / "r.tsv") == 1
    assert case_ids(cohort.dataset) == ["01_b"]
    report = cohort.report()
    assert [r["case"] for r in report["refused"]] == ["01_a", "02_a", "02_b"]
    assert "is no NIfTI file" in report["refused"][0]["reason"]
    assert "same voxels" in report["refused"][1]["reason"]
    assert (report["cases_taken"], report["cases_refused"]) == (1, 3)
    table = (cohort.dataset / "conversion_report.tsv").read_text()
    assert (tmp_path / "r.tsv").read_text() == table
    lines = [line.split("\t") for line in table.splitlines()]
    assert [line[:3] for line in lines[1:]] == [
        ["01_a", "01_a", "refused"],
        ["01_b", "01_b", "accepted"],
        ["02_a", "02_a", "refused"],
        ["02_b", "", "refused"],
    ]
    assert lines[0][6] == "multifidus_right_ml"
    assert lines[2][6:12] == ["2.88"] * 6
    captured = capsys.readouterr()
    assert "1 case of 1 subject accepted, 3 refused and left out" in captured.out
    assert captured.err.count("error:") == 3


def test_a_refused_conversion_reports_where_it_is_asked_to(cohort, tmp_path):
    (cohort.folder / "01_a_GT.nii.gz").write_bytes(b"x")
    assert cohort.convert("--report", tmp_path / "report.json") == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["cases_taken"], report["refused"][0]["case"]) == (3, "01_a")
    assert not cohort.dataset.exists()


def test_previews_show_every_case_when_asked_for(cohort):
    assert cohort.convert() == 0
    assert not list(cohort.dataset.rglob("*.png"))
    assert cohort.convert("--previews", "--overwrite") == 0
    (sheet,) = (cohort.dataset / "previews").iterdir()
    with Image.open(sheet) as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    assert case_ids(cohort.dataset) == ["01_a", "01_b", "02_a", "02_b"]


def test_nothing_is_written_when_all_are_refused(scans):
    scans.add("a")
    (scans.folder / "a_GT.nii.gz").write_bytes(b"x")
    assert scans.convert("--skip-refused") == 1
    assert list(scans.raw.iterdir()) == []


def test_reports_of_a_private_source_name_no_file(scans, tmp_path):
    from dataclasses import replace

    from paraspinal_nnunet.dataset_conversion.engine import convert
    from paraspinal_nnunet.dataset_conversion.sources.author import author_source

    scans.folder = scans.folder / "Doe_Jane"
    scans.add("a", "b")
    (scans.folder / "a_GT.nii.gz").write_bytes(b"x")
    source = replace(author_source(), private=True)
    convert(source, scans.folder, number=501, name="Paraspinal", raw=scans.raw, mode="without refused")
    assert scans.report()["refused"][0]["reason"].startswith("a source file: is no NIfTI file")
    written = "".join(p.read_text() for p in scans.dataset.iterdir() if p.is_file())
    assert "Doe" not in written
    assert "_GT" not in written


def _sessions(folder):
    """Two sessions of each of two subjects, as a source with subjects of its own finds them."""
    cases = [
        Case(f"{subject}_{session}", subject, (folder / "img",), folder / "GT") for subject in "pq" for session in "12"
    ]
    return Found(tuple(cases), notes=tuple(f"{case.case}: series 5 taken" for case in cases))


def test_a_pattern_that_parts_a_subject_is_told(tmp_path):
    parted = select(_sessions(tmp_path), tmp_path, author_source(), CaseSelection(subject_pattern="(.*)"))
    told = [note for note in parted.notes if note.startswith("--subject-pattern")]
    assert [note.partition(":")[0] for note in told] == [
        "--subject-pattern makes p_1, p_2 of what the source has as one subject, p",
        "--subject-pattern makes q_1, q_2 of what the source has as one subject, q",
    ]
    whole = select(_sessions(tmp_path), tmp_path, author_source(), CaseSelection(subject_pattern="(.)_"))
    assert not any(note.startswith("--subject-pattern") for note in whole.notes)


def test_notes_on_cases_go_with_them(tmp_path):
    found = select(_sessions(tmp_path), tmp_path, author_source(), CaseSelection(exclude=("q*",)))
    assert found.notes == ("p_1: series 5 taken", "p_2: series 5 taken", "2 left out by --include and --exclude")


def test_n4_without_its_library_names_the_extra_before_anything_is_read(cohort, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    assert cohort.convert("--n4") == 1
    assert "N4 needs SimpleITK" in (said := capsys.readouterr().err)
    assert "pip install 'paraspinal-nnunet[itk]'" in said
    assert len(said.strip().splitlines()) == 1
