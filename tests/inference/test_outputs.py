"""What `paraspinal predict` writes of each case and of all, and what it leaves alone."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.tiny_portable import AFFINE, BOX_ML, LABELS, boxes, painted, write_tiny_model

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.image_io.images import images_in, read_labels
from paraspinal_nnunet.image_io.nifti import write_image, write_labels


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, name in enumerate(("a_0000.nii.gz", "b.nii.gz")):
        write_image(folder / name, painted(boxes(), number), AFFINE)
    return folder


def predict(scans, output, model, *flags):
    base = ["predict", "-i", str(scans), "-o", str(output), "-m", str(model), "--runtime", "onnxruntime"]
    return main([*base, "--threads", "1", *map(str, flags)])


def files(folder):
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def test_everything_of_a_case_and_of_all(scans, model, tmp_path, capsys, caplog):
    out = tmp_path / "out"
    assert predict(scans, out, model) == 0
    printed = capsys.readouterr()
    assert printed.out.split() == [str(out / "a.nii.gz"), str(out / "b.nii.gz")]
    assert "input: a folder with 2 scans" in caplog.text
    names = ("asymmetry", "flags", "levels", "measures", "slices")
    tables = tuple(f"{name}.tsv" for name in names)
    expected = {"index.html", "labels.ctbl", "labels_itksnap.txt"}
    of_all = (*names, "measures_wide", "measures_dictionary")  # each with what its columns mean
    expected |= {f"measures/{name}.{ending}" for name in of_all for ending in ("tsv", "json")}
    for case in ("a", "b"):
        expected |= {f"{case}.nii.gz", f"{case}.png", f"pages/{case}.html", f"records/{case}.json"}
        expected |= {f"measures/{case}/{name}" for name in (*tables, "measures.json")}
    assert set(files(out)) == expected
    np.testing.assert_array_equal(read_labels(out / "a.nii.gz").array, boxes())
    measured = pd.read_csv(out / "measures" / "measures.tsv", sep="\t")
    assert list(measured["case"]) == ["a"] * 6 + ["b"] * 6
    np.testing.assert_allclose(measured["volume_ml"], BOX_ML)
    index = (out / "index.html").read_text()
    assert index.index("pages/a.html") < index.index("pages/b.html")
    assert "<h1>a</h1>" in (out / "pages" / "a.html").read_text()
    record = json.loads((out / "records" / "a.json").read_text())
    assert record["input"]["source"] == "a_0000.nii.gz"
    assert record["prediction"]["model"] == "Dataset700_Tiny Tiny 2d"
    assert (record["prediction"]["folds"], record["prediction"]["post"]) == (["0"], [])


def test_what_is_there_stays_and_what_is_missing_is_made_from_the_mask(scans, model, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(scans, out, model) == 0
    before = files(out)
    assert predict(scans, out, model) == 0
    assert files(out) == before
    (out / "pages" / "a.html").unlink()
    (out / "b.png").unlink()
    broken = tmp_path / "broken"  # nothing can be predicted with it
    broken.mkdir()
    (broken / "manifest.json").write_bytes((model / "manifest.json").read_bytes())
    assert predict(scans, out, broken) == 0
    after = files(out)
    assert set(after) == set(before)
    unchanged = {"a.nii.gz", "b.nii.gz", "measures/a/measures.json", "pages/b.html"}
    assert all(after[name] == before[name] for name in unchanged)
    capsys.readouterr()
    assert predict(scans, out, broken, "--overwrite") == 1
    assert "fold_0.onnx: is missing" in capsys.readouterr().err
    assert (out / "a.nii.gz").exists()


def test_other_settings_remake_what_depends_on_them(scans, model, tmp_path, caplog):
    out, scan = tmp_path / "out", scans / "b.nii.gz"
    assert predict(scan, out, model, "--no-measures", "--no-pages") == 0
    assert set(files(out)) == {"b.nii.gz", "labels.ctbl", "labels_itksnap.txt", "records/b.json"}
    mask = files(out)["b.nii.gz"]
    assert predict(scan, out, model, "--no-pages", "--fat") == 0
    table = pd.read_csv(out / "measures" / "b" / "measures.tsv", sep="\t")
    assert not any(name.startswith("fat_fraction") for name in table)
    levels = tmp_path / "levels.tsv"
    levels.write_text("case\tlevel\tslice\nb\tL4\t5\n")
    assert predict(scan, out, model, "--fat", "kmeans", "gmm", "--levels", levels) == 0
    table = pd.read_csv(out / "measures" / "b" / "measures.tsv", sep="\t")
    assert {"fat_fraction_kmeans", "fat_fraction_gmm"} <= set(table)
    assert set(pd.read_csv(out / "measures" / "levels.tsv", sep="\t")["level"]) == {"L4"}
    assert "By vertebral level" in (out / "pages" / "b.html").read_text()
    levels.write_text("case\tlevel\tslice\nb\tL3\t5\n")
    assert predict(scan, out, model, "--fat", "kmeans", "gmm", "--levels", levels) == 0
    assert set(pd.read_csv(out / "measures" / "levels.tsv", sep="\t")["level"]) == {"L3"}
    assert files(out)["b.nii.gz"] == mask
    assert "made again" not in caplog.text
    assert predict(scan, out, model, "--mode", "fast", "--no-measures") == 0
    assert "b: made again: other options are given (mode)" in caplog.text
    assert files(out)["b.nii.gz"] != mask
    assert not (out / "measures" / "b").exists()  # they were of the mask before


def test_named_clean_ups(model, tmp_path):
    labels = boxes()
    labels[14, 5, 4] = 0  # a hole in the right multifidus
    labels[1, 1, 1] = 1
    write_image(tmp_path / "a.nii.gz", painted(labels), AFFINE)
    found = {}
    for steps in ("", "largest-component", "largest-component,fill-holes"):
        out = tmp_path / f"out {steps}"
        assert predict(tmp_path / "a.nii.gz", out, model, "--no-pages", *(["--post", steps] if steps else [])) == 0
        found[steps] = read_labels(out / "a.nii.gz").array
    np.testing.assert_array_equal(found[""], labels)
    labels[1, 1, 1] = 0
    np.testing.assert_array_equal(found["largest-component"], labels)
    np.testing.assert_array_equal(found["largest-component,fill-holes"], boxes())
    with pytest.raises(SystemExit):
        predict(tmp_path / "a.nii.gz", tmp_path, model, "--post", "smooth")


def test_folds_are_averaged_and_their_disagreement_is_flagged(scans, tmp_path):
    model = write_tiny_model(tmp_path / "two", ("0", "1"), shifts=(0.0, 0.2))
    assert predict(scans / "b.nii.gz", tmp_path / "out", model, "--no-pages") == 0
    record = json.loads((tmp_path / "out" / "records" / "b.json").read_text())
    assert record["prediction"]["folds"] == ["0", "1"]
    # The second fold sees each class 0.2 lower in 0..1, which is more than one class: no voxel has the same label.
    assert record["disagreement"] == {key: pytest.approx(1.0) for key in list(LABELS)[1:]}
    flags = pd.read_csv(tmp_path / "out" / "measures" / "flags.tsv", sep="\t")
    assert (flags["kind"] == "folds").sum() == 6
    assert predict(scans / "b.nii.gz", tmp_path / "one", model, "--no-pages", "-f", "0") == 0
    np.testing.assert_array_equal(read_labels(tmp_path / "one" / "b.nii.gz").array, boxes())


def test_a_bad_scan_stands_on_the_page_and_stops_no_other(scans, model, tmp_path, capsys):
    (scans / "aa.nii.gz").write_bytes(b"no scan")
    assert predict(scans, tmp_path / "out", model, "-np", "2") == 1
    printed = capsys.readouterr()
    assert printed.out.split() == [str(tmp_path / "out" / name) for name in ("a.nii.gz", "b.nii.gz")]
    assert "1 of 3 scans failed: aa.nii.gz" in printed.err
    index = (tmp_path / "out" / "index.html").read_text()
    assert "1 without a result" in index
    assert index.index("is no NIfTI file") < index.index("pages/a.html")


def test_a_changed_scan_of_the_same_name_is_predicted_again(scans, model, tmp_path, caplog):
    out = tmp_path / "out"
    assert predict(scans, out, model, "--no-pages") == 0
    before, other = files(out), boxes()
    other[other == 1] = 0
    write_image(scans / "b.nii.gz", painted(other), AFFINE)
    assert predict(scans, out, model, "--no-pages") == 0
    assert "b: made again: the scan has changed" in caplog.text
    np.testing.assert_array_equal(read_labels(out / "b.nii.gz").array, other)
    after = files(out)
    assert {name for name in before if before[name] == after[name]} >= {"a.nii.gz", "records/a.json"}
    table = pd.read_csv(out / "measures" / "measures.tsv", sep="\t").set_index(["case", "muscle", "side"])["volume_ml"]
    assert table["b", "multifidus", "right"] == 0
    assert table["a", "multifidus", "right"] > 0
    write_image(scans / "b.nii.gz", painted(boxes((24, 20, 11))), AFFINE)
    assert predict(scans, out, model, "--no-pages") == 0
    assert read_labels(out / "b.nii.gz").shape == (24, 20, 11)


def test_what_stands_of_a_scan_that_can_no_longer_be_read_is_left_out(scans, model, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(scans, out, model) == 0
    (scans / "b.nii.gz").write_bytes(b"cut off")
    assert predict(scans, out, model) == 1
    assert "b.nii.gz: is no NIfTI file" in capsys.readouterr().err
    assert set(pd.read_csv(out / "measures" / "measures.tsv", sep="\t")["case"]) == {"a"}
    assert "pages/b.html" not in (out / "index.html").read_text()


def test_another_model_makes_masks_again(scans, model, tmp_path, caplog):
    out, scan = tmp_path / "out", scans / "b.nii.gz"
    assert predict(scan, out, model, "--no-pages") == 0
    other = write_tiny_model(tmp_path / "other", shifts=(0.2,))
    assert predict(scan, out, other, "--no-pages") == 0
    assert "b: made again: the model is another" in caplog.text
    assert (read_labels(out / "b.nii.gz").array != boxes()).any()


def test_a_mask_that_was_corrected_by_hand_stays_and_is_measured_again(scans, model, tmp_path, capsys, caplog):
    out, scan = tmp_path / "out", scans / "b.nii.gz"
    assert predict(scan, out, model) == 0
    corrected = boxes()
    corrected[corrected == 1] = 0
    write_labels(out / "b.nii.gz", corrected, AFFINE)
    assert predict(scan, out, model) == 0
    assert "b: its mask was changed by hand; it is kept" in caplog.text
    np.testing.assert_array_equal(read_labels(out / "b.nii.gz").array, corrected)
    table = pd.read_csv(out / "measures" / "b" / "measures.tsv", sep="\t").set_index(["muscle", "side"])["volume_ml"]
    assert table["multifidus", "right"] == 0
    assert json.loads((out / "records" / "b.json").read_text())["prediction"]["corrected"] is True
    before = files(out)
    assert predict(scan, out, model) == 0
    assert files(out) == before
    write_image(scan, painted(boxes(), 7), AFFINE)
    assert predict(scan, out, model) == 1
    assert "was changed by hand, and the scan has changed since it was made" in capsys.readouterr().err
    np.testing.assert_array_equal(read_labels(out / "b.nii.gz").array, corrected)


def test_masks_of_nobody_knows_what_are_not_touched(scans, model, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    write_labels(out / "b.nii.gz", boxes(), AFFINE)
    before = files(out)["b.nii.gz"]
    assert predict(scans, out, model, "--no-pages") == 1
    assert "b.nii.gz: stands there without a record" in capsys.readouterr().err
    assert files(out)["b.nii.gz"] == before
    assert (out / "a.nii.gz").is_file()
    assert predict(scans, out, model, "--no-pages", "--overwrite") == 0


def test_records_of_the_release_before_say_too_little(scans, model, tmp_path, caplog):
    out, scan = tmp_path / "out", scans / "b.nii.gz"
    assert predict(scan, out, model, "--no-pages") == 0
    record = out / "records" / "b.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({k: v for k, v in content.items() if k not in ("fingerprints", "times")}))
    assert predict(scan, out, model, "--no-pages") == 0
    assert "b: made again: the record of its mask does not say from which scan that was made" in caplog.text
    assert json.loads(record.read_text())["fingerprints"] == content["fingerprints"]


def test_equal_runs_give_equal_files_but_for_times(scans, model, tmp_path):
    for name in ("one", "two"):
        assert predict(scans, tmp_path / name, model, "--no-pages") == 0
    assert set(files(tmp_path / "one")) == set(files(tmp_path / "two"))
    for name in files(tmp_path / "one"):
        texts = [(tmp_path / run / name).read_bytes() for run in ("one", "two")]
        if name.startswith("records/"):
            contents = [json.loads(text) for text in texts]
            assert [list(content["products"]) for content in contents] == [["measures"]] * 2
            assert [content.pop("times")["date"] for content in contents]
            assert contents[0] == contents[1]
        elif not name.endswith("measures.json"):
            assert texts[0] == texts[1], name


def test_an_output_that_fails_takes_no_other_with_it(scans, model, tmp_path, capsys, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug\nin a picture")

    monkeypatch.setattr("paraspinal_nnunet.html.preview_png", broken)
    out = tmp_path / "out"
    assert predict(scans / "b.nii.gz", out, model) == 1
    assert "not all that goes beside it (preview: ZeroDivisionError: a bug in a picture)" in capsys.readouterr().err
    assert {"pages/b.html", "measures/measures.tsv", "index.html"} <= set(files(out))
    assert "pages/b.html" in (out / "index.html").read_text()
    monkeypatch.undo()
    before = files(out)
    assert predict(scans / "b.nii.gz", out, model) == 0
    assert (out / "b.png").is_file()
    assert files(out)["pages/b.html"] == before["pages/b.html"]


def test_without_measures_there_is_still_a_page(scans, model, tmp_path, capsys, monkeypatch):
    def broken(*_, **__):
        raise RecursionError

    monkeypatch.setattr("paraspinal_nnunet.measures.case.measure_with_maps", broken)
    out = tmp_path / "out"
    assert predict(scans / "b.nii.gz", out, model) == 1
    assert "(measures: RecursionError)" in capsys.readouterr().err
    assert "pages/b.html" in (out / "index.html").read_text()
    monkeypatch.undo()
    assert predict(scans / "b.nii.gz", out, model) == 0
    assert "cm" in (out / "pages" / "b.html").read_text()


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
def test_a_scan_is_never_replaced_by_its_mask(scans, model, capsys, flags, monkeypatch):
    monkeypatch.chdir(scans)
    before = {p.name: p.read_bytes() for p in scans.iterdir()}
    for given, output in (("b.nii.gz", "."), (scans, scans), (".", scans), (scans / "b.nii.gz", scans)):
        assert predict(given, output, model, *flags) == 1
        assert "is read" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in scans.iterdir()} == before


def test_nor_by_way_of_a_link(scans, model, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.nii.gz").hardlink_to(scans / "b.nii.gz")
    (out / "a.nii.gz").symlink_to(scans / "a_0000.nii.gz")
    for scan in ("b.nii.gz", "a_0000.nii.gz"):
        assert predict(scans / scan, out, model, "--overwrite") == 1
        assert "would be written over what is read" in capsys.readouterr().err


def test_a_model_is_no_place_for_masks(scans, model, capsys):
    assert predict(scans, model / "masks", model) == 1
    assert "would be written into what is read" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["_0000.nii.gz", "measures.tsv.nii.gz", "CON.nii.gz", "nul.x.nii.gz", "-v.nii.gz"])
def test_names_that_cannot_be_a_cases_are_refused_alone(scans, model, tmp_path, capsys, name):
    (scans / "a_0000.nii.gz").rename(scans / name)
    assert predict(scans, tmp_path / "out", model, "--no-pages") == 1
    assert f"{name}: " in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "out").glob("*.nii.gz")} == {"b.nii.gz"}


def test_names_that_differ_by_case_alone_are_refused(scans, model, tmp_path, capsys):
    write_image(scans / "B.nii", painted(boxes()), AFFINE)
    assert predict(scans, tmp_path / "out", model) == 1
    assert "several scans would give one mask B.nii.gz (also written b.nii.gz)" in capsys.readouterr().err


def test_missing_levels_are_told_before_predicting(scans, model, tmp_path, capsys):
    levels = tmp_path / "levels"
    levels.mkdir()
    write_image(levels / "a_levels.nii.gz", np.where(boxes() > 0, 44, 0).astype(np.int16), AFFINE)
    assert predict(scans, tmp_path / "out", model, "--levels", levels, "--no-pages") == 1
    assert "b: needs one levels map" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "out").glob("*.nii.gz")] == ["a.nii.gz"]
    for flags, message in ((("--levels", tmp_path / "none"), "no such file"), (("-np", "0"), "give 1 or more")):
        assert predict(scans, tmp_path / "out", model, *flags) == 1
        assert message in capsys.readouterr().err


def test_shards_write_into_one_folder(scans, model, tmp_path):
    for shard in ("1/2", "2/2"):
        assert predict(scans, tmp_path / "out", model, "--shard", shard, "--no-pages") == 0
    measured = pd.read_csv(tmp_path / "out" / "measures" / "measures.tsv", sep="\t")
    assert sorted(set(measured["case"])) == ["a", "b"]


def test_labels_that_are_unknown_here_give_masks_alone(scans, tmp_path, caplog):
    model = write_tiny_model(tmp_path / "other", labels={"background": 0, "liver": 1, "spleen": 2})
    assert predict(scans, tmp_path / "out", model) == 0
    assert "has labels that are unknown here" in caplog.text
    assert {name for name in files(tmp_path / "out") if "records" not in name} == {"a.nii.gz", "b.nii.gz"}


def test_the_mask_keeps_the_scans_grid_and_loses_nothing_of_its_header(scans, model, tmp_path):
    assert predict(scans, tmp_path / "out", model, "--no-pages", "--no-measures") == 0
    mask = nib.load(tmp_path / "out" / "b.nii.gz")
    np.testing.assert_array_equal(mask.affine, AFFINE)
    assert mask.get_data_dtype() == np.uint8
    assert mask.header.get_xyzt_units()[0] == "mm"


def test_an_interrupted_batch_goes_on_where_it_stopped(scans, model, tmp_path, monkeypatch):
    from paraspinal_nnunet.inference.portable import PortableModel

    segment, seen = PortableModel.segment, []

    def interrupted(self, volume, **options):
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return segment(self, volume, **options)

    monkeypatch.setattr(PortableModel, "segment", interrupted)
    out = tmp_path / "out"
    assert predict(scans, out, model) == 130
    assert [p.name for p in out.glob("*.nii.gz")] == ["a.nii.gz"]
    assert (out / "pages" / "a.html").is_file()
    before = files(out)
    assert predict(scans, out, model) == 0
    assert len(seen) == 3
    assert all(files(out)[name] == when for name, when in before.items())
    (out / "index.html").unlink()
    assert predict(scans, out, model) == 0
    assert "pages/b.html" in (out / "index.html").read_text()
    assert len(seen) == 3


def test_masks_for_slicer_lie_apart_and_are_no_masks_of_their_own(scans, model, tmp_path):
    out = tmp_path / "out"
    assert predict(scans, out, model, "--seg-nrrd", "--no-pages", "--no-measures") == 0
    for name in ("a", "b"):
        np.testing.assert_array_equal(read_labels(out / "slicer" / f"{name}.seg.nrrd").array, boxes())
    before = files(out)
    assert predict(scans, out, model, "--seg-nrrd", "--no-pages", "--no-measures") == 0
    assert files(out) == before
    assert sorted(p.name for p in images_in(out)) == ["a.nii.gz", "b.nii.gz"]


def test_a_record_does_not_tell_in_which_order_things_were_made(tmp_path, model):
    """What is missing beside a mask is made again; the record is that of a run that made everything at once."""
    write_image(tmp_path / "a.nii.gz", painted(boxes()), AFFINE)
    kept = []
    for again in range(2):
        out = tmp_path / f"out{again}"
        assert predict(tmp_path / "a.nii.gz", out, model) == 0
        if again:
            (out / "measures" / "a" / "measures.json").unlink()
            assert predict(tmp_path / "a.nii.gz", out, model) == 0
        kept.append(json.loads((out / "records" / "a.json").read_text())["products"])
    assert list(kept[0]) == list(kept[1]) == ["measures", "preview", "page"]
    assert kept[0] == kept[1]
