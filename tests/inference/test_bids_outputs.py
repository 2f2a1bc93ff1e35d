"""Masks of a BIDS data set are a BIDS derivative: by the specification's rules, by its validator, by our reader."""

import json
import re
import shutil
import subprocess
from email.message import Message
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.tiny_portable import AFFINE, BOX_ML, boxes, painted, write_tiny_model
from helpers.tools import tool

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.dataset_conversion.sources.bids_layout import Choice, labels_by_image, read_layout
from paraspinal_nnunet.image_io.images import read_labels
from paraspinal_nnunet.image_io.nifti import write_image, write_labels
from paraspinal_nnunet.inference import bids
from paraspinal_nnunet.inference.records import INDEX_FILE, OutputPaths

SCANS = ("sub-01_ses-a", "sub-01_ses-b", "sub-02_acq-axial_run-1")
NAME = re.compile(
    r"sub-[0-9a-zA-Z]+(_ses-[0-9a-zA-Z]+)?(_acq-[0-9a-zA-Z]+)?(_run-[0-9]+)?_space-orig_desc-paraspinal_dseg"
)
"""Entities in the order of the specification's entity table (version 1.10, appendix 'Entity table')."""


def folder_of(scan):
    entities = scan.split("_")
    return "/".join([*entities[: 2 if entities[1:2] and entities[1].startswith("ses") else 1], "anat"])


def make_data_set(root):
    for scan in SCANS:
        (root / folder_of(scan)).mkdir(parents=True, exist_ok=True)
        write_image(root / folder_of(scan) / f"{scan}_T2w.nii.gz", painted(boxes()), AFFINE)
        (root / folder_of(scan) / f"{scan}_T2w.json").write_text('{"MagneticFieldStrength": 3}')
    about = {"Name": "Boxes", "BIDSVersion": "1.10.0", "DatasetDOI": "doi:10.1234/abcd", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(about))
    (root / "README").write_text("Six boxes on each of five scans, made to try programs that read BIDS.\n" * 3)
    return root


def predict(root, output, model, *flags):
    base = ["predict", "-i", str(root), "-o", str(output), "-m", str(model), "--runtime", "onnxruntime"]
    return main([*base, "--threads", "1", *flags])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def predicted(tmp_path_factory, model):
    """(data set, derivative within it); tests leave both as they are."""
    root = make_data_set(tmp_path_factory.mktemp("bids") / "data set")
    output = root / "derivatives" / "paraspinal"
    assert predict(root, output, model, "--no-pages") == 0
    for scan in SCANS:  # pages take the time of all else together, and their names are enough here
        paths = OutputPaths(output, scan, "")
        paths.page.parent.mkdir(exist_ok=True)
        for path in (paths.page, paths.preview, output / INDEX_FILE):
            path.write_text("page")
    return root, output


def test_names_and_sidecars_by_the_specification(predicted):
    root, output = predicted
    masks = sorted(p.relative_to(output).as_posix() for p in output.rglob("*.nii.gz"))
    assert masks == sorted(f"{folder_of(s)}/{s}_space-orig_desc-paraspinal_dseg.nii.gz" for s in SCANS)
    for mask in masks:
        name = PurePosixPath(mask).name.removesuffix(".nii.gz")
        assert NAME.fullmatch(name)
        np.testing.assert_array_equal(read_labels(output / mask).array, boxes())
        sidecar = json.loads((output / mask.replace(".nii.gz", ".json")).read_text())
        assert (sidecar["SpatialReference"], sidecar["Manual"]) == ("orig", False)
        (source,) = sidecar["Sources"]
        scheme, data_set, path = source.split(":")
        link = json.loads((output / "dataset_description.json").read_text())["DatasetLinks"][data_set]
        assert scheme == "bids"
        assert (output / link / path).samefile(root / path)
        assert name.startswith(PurePosixPath(path).name.removesuffix("_T2w.nii.gz"))


def test_description_look_up_table_and_what_is_no_part_of_it(predicted):
    _, output = predicted
    about = json.loads((output / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert about["Name"] == "Lumbar paraspinal muscles of Boxes"
    assert about["GeneratedBy"][0]["Name"] == "paraspinal-nnunet"
    assert about["SourceDatasets"] == [{"URL": "bids:raw:", "DOI": "doi:10.1234/abcd"}]
    table = pd.read_csv(output / "dseg.tsv", sep="\t")
    assert list(table.columns) == ["index", "name", "abbreviation", "color"]
    assert list(table["index"]) == list(range(7))
    assert table["color"].str.fullmatch("#[0-9a-f]{6}").all()
    assert table.loc[1, "name"] == "multifidus_right"
    kept = {"dataset_description.json", "dseg.tsv", "README.md", ".bidsignore", "phenotype", "sub-01", "sub-02"}
    others = {p.name for p in output.iterdir()} - kept
    assert {"index.html", "pages", "records", "measures"} < others
    ignored = (output / ".bidsignore").read_text().split()
    assert all(any(PurePosixPath(name).match(pattern) for pattern in ignored) for name in others)


def test_one_table_of_subjects_per_session_and_kind_of_scan(predicted):
    _, output = predicted
    tables = {p.name: p for p in (output / "phenotype").glob("*.tsv")}
    kinds = ("ses-a", "ses-b", "acq-axial_run-1")
    assert set(tables) == {f"paraspinal_measures_{kind}.tsv" for kind in kinds}
    for path in tables.values():
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        assert table.columns[0] == "participant_id"
        assert table["participant_id"].is_unique
        assert not (table == "").to_numpy().any()
        described = json.loads(path.with_suffix(".json").read_text())
        assert set(table.columns) <= set(described)
        assert float(table.loc[0, "psoas_major_left_volume_ml"]) == pytest.approx(BOX_ML)
    first = pd.read_csv(tables["paraspinal_measures_ses-a.tsv"], sep="\t")
    assert list(first["participant_id"]) == ["sub-01"]


@pytest.mark.slow
def test_the_validator_of_bids_finds_no_error(predicted):
    """bids-validator-deno, the schema-based validator of the BIDS maintainers: ends with 0 where there is no error."""
    validator = tool("bids-validator-deno")
    root, output = predicted
    for folder in (output, root):
        done = subprocess.run([validator, "--json", str(folder)], capture_output=True, text=True, timeout=120)
        found = json.loads(done.stdout)["issues"]["issues"]
        assert [issue for issue in found if issue["severity"] == "error"] == []
        assert done.returncode == 0


@pytest.mark.slow
def test_the_validator_would_find_one(predicted, tmp_path):
    validator = tool("bids-validator-deno")
    shutil.copytree(predicted[1], tmp_path / "copy")
    mask = next((tmp_path / "copy" / "sub-02").rglob("*.nii.gz"))
    mask.rename(mask.with_name("sub-02_desc-paraspinal_space-orig_dseg.nii.gz"))
    assert subprocess.run([validator, str(tmp_path / "copy")], capture_output=True, timeout=120).returncode != 0


def test_our_converter_matches_each_mask_with_its_scan(predicted):
    root, _ = predicted
    layout, refusals = read_layout(root, Choice()), []
    assert (layout.derivatives, layout.masks) == (("paraspinal",), False)
    matched = labels_by_image(layout, "paraspinal", refusals)
    assert refusals == []
    masks = {image: [PurePosixPath(label.path).name for label in labels] for image, labels in matched.items()}
    assert masks == {
        f"{folder_of(s)}/{s}_T2w.nii.gz": [f"{s}_space-orig_desc-paraspinal_dseg.nii.gz"] for s in SCANS
    }  # fmt: skip


def test_a_second_call_leaves_all_as_it_is_and_a_correction_is_named(predicted, model, tmp_path):
    root = make_data_set(tmp_path / "bids")
    output = tmp_path / "out"
    shutil.copytree(predicted[1], output)
    flags = ("--entity", "ses-b", "--no-pages")
    assert predict(root, output, model, "--overwrite", *flags) == 0
    mask = output / "sub-01/ses-b/anat/sub-01_ses-b_space-orig_desc-paraspinal_dseg.nii.gz"
    before = {p: p.stat().st_mtime_ns for p in output.rglob("*") if p.is_file()}
    assert predict(root, output, model, *flags) == 0
    assert {p: p.stat().st_mtime_ns for p in output.rglob("*") if p.is_file()} == before
    assert json.loads((output / "dataset_description.json").read_text())["DatasetLinks"] == {"raw": "../bids"}
    corrected = boxes()
    corrected[corrected == 6] = 0
    write_labels(mask, corrected, AFFINE)
    assert predict(root, output, model, *flags) == 0
    sidecar = json.loads(mask.with_name(mask.name.replace(".nii.gz", ".json")).read_text())
    assert sidecar["CorrectedByHand"] is True
    table = pd.read_csv(output / "phenotype" / "paraspinal_measures_ses-b.tsv", sep="\t", dtype=str)
    assert float(table.loc[0, "psoas_major_left_volume_ml"]) == 0


def test_a_mask_of_the_earlier_layout_gives_way_and_a_corrected_one_stays(predicted, model, tmp_path):
    root = make_data_set(tmp_path / "bids")
    for case, corrected in (("sub-01_ses-a", False), ("sub-01_ses-b", True)):
        output = tmp_path / case
        shutil.copytree(predicted[1], output)
        old = output / f"{case}_dseg.nii.gz"
        (output / folder_of(case) / f"{case}_space-orig_desc-paraspinal_dseg.nii.gz").rename(old)
        record = output / "records" / f"{case}.json"
        record.write_text(record.read_text().replace(
            f"{folder_of(case)}/{case}_space-orig_desc-paraspinal_dseg.nii.gz", old.name
        ))  # fmt: skip
        if corrected:
            write_labels(old, boxes()[::-1], AFFINE)
        assert predict(root, output, model, "--no-pages", "--entity", case.split("_")[1]) == 0
        assert old.exists() is corrected
        assert len(list(output.rglob(f"{case}_space-*.nii.gz"))) == 1


@pytest.mark.parametrize(
    ("named", "address"),
    [
        ((), ""),
        (("Homepage, https://a.example", "Repository, https://b.example/code"), "https://b.example/code"),
        (("Issues, https://c.example",), ""),
    ],
)
def test_the_code_is_named_where_the_installed_program_knows_its_address(monkeypatch, named, address):
    urls = Message()
    for line in named:
        urls["Project-URL"] = line
    monkeypatch.setattr(bids, "metadata", lambda name: urls)
    assert bids._code_address() == address
