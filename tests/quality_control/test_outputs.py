"""What an inspection prints and writes: tables, JSON, contact sheets and a page that needs no network."""

import csv
import json
import math
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
from helpers.html_pages import Page
from PIL import Image

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import DatasetError, InputError
from paraspinal_nnunet.html.viewer.colours import LABEL_COLOURS, hex_colour
from paraspinal_nnunet.quality_control import inspect_dataset, inspection_text, write_inspection, write_previews
from paraspinal_nnunet.quality_control.previews import _tile_size

SHAPE = (40, 30, 6)
NAMES = ["<b>one & 'two'", *(f"case-{n}" for n in range(1, 26))]


def make(folder, names, *, wrong=None):
    """Bright right halves, one muscle with a right and a left part; `wrong` has its sides swapped."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    affine = np.diag([-4.0, 4.0, 8.0, 1.0])  # stored LAS: index 0 is the patient's right
    for n, name in enumerate(names):
        image = np.random.default_rng(n).integers(50, 500, SHAPE).astype(np.int16)
        image[:20] += 250
        labels = np.zeros(SHAPE, np.uint8)
        right, left = (2, 1) if name == wrong else (1, 2)
        for x, value in ((5, right), (28, left)):
            labels[x + n // 7 : x + 7 + n // 7, 8 : 14 + n % 7, 1:5] = value
        nib.save(nib.Nifti1Image(image, affine), folder / "imagesTr" / f"{name}_0000.nii.gz")
        nib.save(nib.Nifti1Image(labels, affine), folder / "labelsTr" / f"{name}.nii.gz")
    content = {
        "channel_names": {"0": "T2"},
        "labels": {"background": 0, "multifidus_right": 1, "multifidus_left": 2},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Two data sets: 26 cases with one fault, and two cases without."""
    root = tmp_path_factory.mktemp("raw")
    make(root / "Dataset501_Small", NAMES, wrong="case-3")
    make(root / "Dataset502_Good", NAMES[1:3])
    return root


@pytest.fixture(autouse=True)
def no_preprocessed(monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)


@pytest.fixture(scope="module")
def written(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    inspection = inspect_dataset(raw / "Dataset501_Small")
    return inspection, folder, write_inspection(inspection, folder)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_the_files(written):
    _, folder, files = written
    assert [path.name for path in files] == [
        "inspection.json", "cases.tsv", "findings.tsv", "previews_01.png", "previews_02.png", "inspection.html"
    ]  # fmt: skip
    names = [*(path.name for path in files), "cases.json", "findings.json"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_json_holds_every_number_in_full(written):
    inspection, folder, _ = written
    content = json.loads((folder / "inspection.json").read_text(), parse_constant=pytest.fail)
    assert (content["schema"], content["schema_version"]) == ("paraspinal-nnunet/inspection", 1)
    assert len(content["cases"]) == 26
    case = content["cases"][inspection.cases.index(next(f for f in inspection.cases if f.case == "case-3"))]
    own = case["labels"]["classes"]["multifidus_right"]
    assert own["voxels"] == 7 * 9 * 4  # case-3 is 6 + 3 rows deep
    assert own["volume_ml"] == pytest.approx(7 * 9 * 4 * 0.128, abs=1e-12)
    assert case["channels"][0]["mean"] == inspection.cases[content["cases"].index(case)].channels[0].mean
    assert content["counts"]["problem"] == inspection.problems
    assert content["findings"][0]["severity"] == "problem"
    volume = content["volumes"][0]
    assert (volume["canonical"], volume["reference"]) == ("multifidus_right", {"mean_ml": 119.9, "sd_ml": 25.7})


def test_unknown_numbers_are_null_in_json(raw, tmp_path):
    (raw / "Dataset502_Good" / "imagesTr" / "case-1_0000.nii.gz").rename(tmp_path / "away")
    try:
        write_inspection(inspect_dataset(raw / "Dataset502_Good"), tmp_path / "out")
    finally:
        (tmp_path / "away").rename(raw / "Dataset502_Good" / "imagesTr" / "case-1_0000.nii.gz")
    content = json.loads((tmp_path / "out" / "inspection.json").read_text(), parse_constant=pytest.fail)
    assert content["cases"][0]["obliquity_deg"] is None
    rows = list(csv.DictReader((tmp_path / "out" / "cases.tsv").open(), delimiter="\t"))
    assert (rows[0]["obliquity_deg"], rows[1]["obliquity_deg"]) == ("n/a", "0")
    assert (rows[0]["mean"], rows[0]["multifidus_right_volume_ml"]) == ("n/a", rows[0]["multifidus_left_volume_ml"])


def test_tables(written):
    inspection, folder, _ = written
    cases = list(csv.DictReader((folder / "cases.tsv").open(), delimiter="\t"))
    assert [row["case"] for row in cases] == [facts.case for facts in inspection.cases]
    assert {row["multifidus_asymmetry_percent"] for row in cases} == {"0"}
    assert {row["case"] for row in cases if row["findings_problem"] != "0"} == {
        name for f in inspection.findings if f.severity == 0 for name in f.cases
    }
    findings = list(csv.DictReader((folder / "findings.tsv").open(), delimiter="\t"))
    assert [row["text"] for row in findings] == [f.text for f in inspection.findings]
    for name, rows in (("cases", cases), ("findings", findings)):
        meanings = json.loads((folder / f"{name}.json").read_text())
        assert list(meanings) == list(rows[0])
        assert all(entry["Description"] for entry in meanings.values())


def test_the_text_names_the_worst_first_and_says_what_it_leaves_out(written):
    text = inspection_text(written[0], most=1)
    lines = text.splitlines()
    assert lines[0] == "Dataset501_Small: 26 cases of 26 subjects"
    (row,) = [line for line in lines if line.startswith("problem")]
    assert row.split()[:3] == ["problem", "sides", "case-3"]
    assert f"{len(written[0].findings) - 1} more findings; -o FOLDER writes all" in lines
    assert re.search(r"voxel size to the right \(mm\) +4 +4 +4\n", text)
    assert re.search(r"Multifidus right +26 +\S+ \(\S+\) +21\.5–43\.0 +119\.9 \(25\.7\) +32", text)


def test_the_page_needs_no_network_and_escapes_names(written):
    page = (written[1] / "inspection.html").read_text()
    assert re.findall(r"https?://(?!www\.w3\.org)", page) == []
    assert "@import" not in page
    assert "url(" not in page
    parsed = Page(page)
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        assert not {"src", "href"} & set(attributes)
    assert parsed.policy.startswith("default-src 'none'; ")
    assert "<b>one" not in page
    assert page.count('<article class="case">') == 26
    first = page[page.index("<article") : page.index("</article>")]
    assert "sides contradict the geometry" in first
    assert '"name":"case-3"' in first
    circles = re.findall(r"<circle [^>]*>", page)
    assert len(circles) == 26 * 2
    assert "119.9 (25.7)" in page


def test_contact_sheets_show_radiological_order_and_outlines(raw, tmp_path):
    (sheet,) = write_previews(raw / "Dataset502_Good", tmp_path / "new" / "sheet.png")
    assert sheet == tmp_path / "new" / "sheet.png"
    tile = pixels(sheet)[34 : 34 + 160, 8 : 8 + 206]
    # The patient's right half is bright, and must be on the viewer's left.
    assert tile[60:100, 20:80].mean() > tile[60:100, 130:190].mean() + 30
    orange = (LABEL_COLOURS[1], LABEL_COLOURS[2])
    dark_orange, light_orange = (np.abs(tile - colour).sum(axis=2) < 24 for colour in orange)
    assert 0 < np.flatnonzero(dark_orange.any(axis=0)).max() < 103 < np.flatnonzero(light_orange.any(axis=0)).min()
    assert 100 < dark_orange.sum() < 0.5 * tile.shape[0] * tile.shape[1]


def test_contact_sheets_have_pages_and_an_order(raw, tmp_path):
    pages = write_previews(raw / "Dataset501_Small", tmp_path / "all", workers=1)
    assert [p.name for p in pages] == ["previews_01.png", "previews_02.png"]
    assert pixels(pages[0]).shape[0] > pixels(pages[1]).shape[0]
    chosen = write_previews(raw / "Dataset501_Small", tmp_path / "two.png", cases=["case-9", "case-1"])
    swapped = write_previews(raw / "Dataset501_Small", tmp_path / "owt.png", cases=["case-1", "case-9"])
    first, second = (pixels(path[0])[34 : 34 + _tile_size()[1]] for path in (chosen, swapped))
    width = _tile_size()[0]
    assert np.array_equal(first[:, 8 : 8 + width], second[:, 16 + width : 16 + 2 * width])
    with pytest.raises(DatasetError, match="has no case case-x"):
        write_previews(raw / "Dataset501_Small", tmp_path / "x.png", cases=["case-x"])


def test_a_case_that_cannot_be_read_shows_why(raw, tmp_path):
    folder = tmp_path / "Dataset503_Broken"
    shutil.copytree(raw / "Dataset502_Good", folder)
    (folder / "imagesTr" / "case-1_0000.nii.gz").write_bytes(b"no scan")
    (sheet,) = write_previews(folder, tmp_path / "sheet.png")
    red = (np.abs(pixels(sheet) - (176, 0, 0)).sum(axis=2) < 30).sum()
    assert red > 50


def test_a_label_map_of_another_shape_is_left_out(raw, tmp_path):
    folder = tmp_path / "Dataset503_Broken"
    shutil.copytree(raw / "Dataset502_Good", folder)
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)), folder / "labelsTr" / "case-1.nii.gz")
    inspection = inspect_dataset(folder)
    assert [f.case for f in inspection.findings if f.kind == "grid"] == ["case-1"]
    assert len(write_inspection(inspection, tmp_path / "out")) == 5


def command(raw, *flags):
    return main(["inspect", "--raw", str(raw), *map(str, flags)])


def test_strict_turns_problems_into_an_exit_code(raw, capsys):
    assert command(raw, "-d", 501, "-np", 1) == 0
    assert "sides contradict the geometry" in capsys.readouterr().out
    assert command(raw, "-d", 501, "-np", 1, "--strict") == 1
    assert command(raw, "-d", "Dataset502_Good", "-np", 1, "--strict") == 0


def test_output_and_preprocessed_flags(raw, tmp_path, capsys):
    splits = tmp_path / "preprocessed" / "Dataset502_Good" / "splits_final.json"
    splits.parent.mkdir(parents=True)
    splits.write_text(json.dumps([{"train": ["case-1"], "val": ["case-2"]}]))
    flags = ("-d", 502, "-np", 1, "--preprocessed", tmp_path / "preprocessed")
    assert command(raw, *flags, "-o", tmp_path / "out", "--strict") == 1
    assert "is tested in 0 folds" in capsys.readouterr().out
    assert (tmp_path / "out" / "inspection.html").exists()


@pytest.mark.slow
def test_two_processes_find_the_same(raw, written):
    again = inspect_dataset(raw / "Dataset501_Small", workers=2)
    assert again.findings == written[0].findings
    assert [f.channels for f in again.cases] == [f.channels for f in written[0].cases]


def test_an_earlier_inspection_gives_way(raw, tmp_path):
    for name in ("previews_07.png", "mine.png", "inspection.json"):
        (tmp_path / name).write_text("old")
    write_inspection(inspect_dataset(raw / "Dataset502_Good"), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "cases.json", "cases.tsv", "findings.json", "findings.tsv", "inspection.html", "inspection.json", "mine.png",
        "previews.png"
    ]  # fmt: skip
    with pytest.raises(InputError, match="cannot be written to"):
        write_inspection(inspect_dataset(raw / "Dataset502_Good"), tmp_path / "mine.png" / "out")


def test_known_errors(raw, capsys):
    assert command(raw, "-d", 777) == 1
    assert "no data set 777" in capsys.readouterr().err
    assert command(raw, "-d", 502, "-np", 0) == 1
    assert "-np 0" in capsys.readouterr().err


def test_classes_that_are_not_ours_have_names_and_colours_in_the_page(raw, tmp_path):
    folder = tmp_path / "Dataset504_Third"
    shutil.copytree(raw / "Dataset502_Good", folder)
    content = json.loads((folder / "dataset.json").read_text())
    content["labels"] |= {"rim": 3, "never": 4}
    (folder / "dataset.json").write_text(json.dumps(content))
    stored = nib.load(folder / "labelsTr" / "case-1.nii.gz")
    labels = np.asarray(stored.dataobj).copy()
    labels[18:22, 20:25, 2] = 3
    nib.save(nib.Nifti1Image(labels, stored.affine), folder / "labelsTr" / "case-1.nii.gz")
    inspection = inspect_dataset(folder)
    assert [(v.cases, math.isnan(v.mean_ml)) for v in inspection.volumes[2:]] == [(1, False), (0, True)]
    assert re.search(r"never +0 +– +– +– +–\n", inspection_text(inspection))
    write_inspection(inspection, tmp_path / "out")
    page = (tmp_path / "out" / "inspection.html").read_text()
    assert re.search(r'"name":"rim","colour":"#[0-9a-f]{6}"', page)
    assert f'"name":"Multifidus right","colour":"{hex_colour(LABEL_COLOURS[1])}"' in page


def test_a_data_set_keeps_its_own_table_of_cases(raw, capsys):
    folder = raw / "Dataset502_Good"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main(["inspect", "-d", "502", "--raw", str(raw), "-np", "1", "-o", str(folder)]) == 1
    captured = capsys.readouterr()
    assert "is a data set, whose cases.tsv would be replaced" in captured.err
    assert captured.out == ""
    with pytest.raises(InputError, match=r"whose cases\.tsv would be replaced"):
        write_inspection(inspect_dataset(folder), folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_an_output_that_is_a_file_is_refused_before_the_work(raw, tmp_path, capsys):
    (tmp_path / "note").write_text("x")
    assert main(["inspect", "-d", "502", "--raw", str(raw), "-np", "1", "-o", str(tmp_path / "note")]) == 1
    captured = capsys.readouterr()
    assert "is a file; give a folder with -o" in captured.err
    assert captured.out == ""
