"""Folders of cases: pairing, files, what is kept, what fails, and every flag of the command."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from paraspinal_nnunet import cli, measure
from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.image_io.viewers.segmentation_nrrd import write_segmentation_nrrd
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.measures.batch import BatchRequest, measure_batch
from paraspinal_nnunet.measures.outputs.columns import FAT_METHODS, TABLES, column_names
from paraspinal_nnunet.measures.outputs.writing import DICTIONARY

AFFINE = np.diag([-0.5, -0.8, 4.0, 1.0])  # stored LPS
SHAPE = (40, 30, 12)


def labels_of(place):
    """Six boxes in LPS order: the patient's right at small i; one grows with the place."""
    labels = np.zeros(SHAPE, np.uint8)
    for value, (i, j) in enumerate(((16, 20), (21, 20), (8, 20), (28, 20), (9, 5), (27, 5)), start=1):
        labels[i : i + 4, j : j + 6, 2 : 9 + place] = value
    return labels


def grey_of(place):
    rng = np.random.default_rng(place)
    image = rng.integers(80, 120, SHAPE) + 200 * (rng.random(SHAPE) < 0.25)
    image[:20] += 40  # the patient's right lies in a brighter field
    return image.astype(np.int16)


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


@pytest.fixture
def cases(tmp_path):
    for place, name in enumerate(("a", "ab")):
        save(tmp_path / "masks" / f"{name}_dseg.nii.gz", labels_of(place))
        save(tmp_path / "scans" / f"{name}_0000.nii.gz", grey_of(place))
        save(tmp_path / "water" / f"{name}_W.nii.gz", grey_of(place))
        save(tmp_path / "fat" / f"{name}_F.nii.gz", grey_of(place + 5))
    return tmp_path


def run(folder, *flags, out="out"):
    return cli.main(["measure", "-l", str(folder / "masks"), "-o", str(folder / out), "-np", "2", *map(str, flags)])


def table(folder, name="measures", out="out"):
    return pd.read_csv(folder / out / f"{name}.tsv", sep="\t")


def test_files_of_a_batch(cases):
    assert run(cases, "-i", cases / "scans") == 0
    assert sorted(p.name for p in (cases / "out").iterdir() if p.is_dir()) == ["a", "ab"]
    for name in TABLES:
        joined = (cases / "out" / f"{name}.tsv").read_text().splitlines()
        single = [(cases / "out" / c / f"{name}.tsv").read_text().splitlines() for c in ("a", "ab")]
        assert joined == single[0] + single[1][1:]
        assert tuple(joined[0].split("\t")) == column_names(name, ["gmm3"])
    masks = [cases / "masks" / f"{c}_dseg.nii.gz" for c in ("a", "ab")]
    scans = [cases / "scans" / f"{c}_0000.nii.gz" for c in ("a", "ab")]
    for case, mask, scan in zip(("a", "ab"), masks, scans, strict=True):
        result = measure(scan, mask, case=case)
        rows = table(cases).query("case == @case")
        assert rows["volume_ml"].tolist() == pytest.approx([s.volume_ml for s in result.structures])
        assert rows["first_slice"].tolist() == [3] * 6
        record = json.loads((cases / "out" / case / "measures.json").read_text())
        assert record == json.loads(json.dumps(result.to_json()))
        assert record["inputs"] == {"image": scan.name, "labels": mask.name}
    dictionary = pd.read_csv(cases / "out" / f"{DICTIONARY}.tsv", sep="\t")
    for name in TABLES:
        assert dictionary.query("table == @name")["column"].tolist() == list(column_names(name, FAT_METHODS))
    as_json = json.loads((cases / "out" / f"{DICTIONARY}.json").read_text())
    assert as_json["measures"]["volume_ml"]["unit"] == "ml"


def test_fat_maps_lie_on_the_stored_grid_and_count_as_the_numbers(cases):
    flags = ["-i", cases / "scans", "--dixon", cases / "water", cases / "fat", "--fat-maps", "--fat", "otsu", "kmeans"]
    assert run(cases, *flags) == 0
    labels = labels_of(1)
    rows = table(cases).query("case == 'ab'").set_index("label")
    for method in ("otsu", "kmeans"):
        image = nibabel.load(cases / "out" / "ab" / f"fat_{method}.nii.gz")
        np.testing.assert_allclose(image.affine, AFFINE, rtol=1e-6)
        drawn = np.asanyarray(image.dataobj)
        assert set(np.unique(drawn[labels == 0])) == {0}
        for value in range(1, 7):
            share = rows.loc[value, f"fat_fraction_{method}"]  # of six digits
            assert (drawn[labels == value] == 2).mean() == pytest.approx(share, rel=1e-5)
    drawn = np.asanyarray(nibabel.load(cases / "out" / "ab" / "fat_dixon.nii.gz").dataobj)
    water, fat = grey_of(1).astype(float), grey_of(6).astype(float)
    np.testing.assert_allclose(drawn, np.where(labels > 0, fat / (water + fat), 0), rtol=1e-6)
    assert drawn[labels == 3].mean() == pytest.approx(rows.loc[3, "fat_fraction_dixon"], rel=1e-5)


@pytest.mark.slow
def test_what_changed_is_measured_again_and_said(cases, capsys):
    scans, record = ("-i", cases / "scans"), cases / "out" / "a" / "measures.json"

    def again(*flags):
        """What is told of the run, and whether case a was measured."""
        before = record.stat().st_mtime_ns
        assert run(cases, *flags) == 0
        return capsys.readouterr().out, record.stat().st_mtime_ns != before

    assert run(cases, *scans) == 0
    assert "made again" not in capsys.readouterr().out
    (cases / "masks" / "a_dseg.nii.gz").touch()  # a new time, and the same content
    told, measured = again(*scans)
    assert "measured: 0, kept: 2, failed: 0" in told
    assert not measured
    save(cases / "masks" / "a_dseg.nii.gz", labels_of(1))
    told, measured = again(*scans)
    assert "measured: 1, kept: 1, failed: 0\nmade again, other content of the labels: a\n" in told
    assert measured
    assert table(cases).query("case == 'a'")["slices"].tolist() == [8] * 6
    save(cases / "scans" / "a_0000.nii.gz", grey_of(7))
    assert "made again, other content of the image: a" in again(*scans)[0]
    assert "made again, another setting of fat_methods: a, ab" in again(*scans, "--fat", "gmm")[0]
    assert "fat_fraction_gmm" in table(cases).columns
    assert "made again, another setting of fat_methods: a, ab" in again(*scans)[0]
    assert "made again, no fat map by gmm3: a, ab" in again(*scans, "--fat-maps")[0]
    assert "another setting of fat_methods" in again()[0]
    assert "made again, made from labels, now from image, labels: a, ab" in again(*scans, "--fat")[0]
    assert "measured: 0, kept: 2, failed: 0" in again(*scans, "--fat")[0]
    assert again(*scans, "--fat", "--overwrite")[1]


def test_results_of_the_release_before_are_made_again(cases, capsys):
    assert run(cases) == 0
    (cases / "out" / "a" / "made_from.json").unlink()
    (cases / "out" / "ab" / "measures.json").write_text("{")
    assert run(cases) == 0
    told = capsys.readouterr().out
    assert "made again, it does not say what it was made from: a" in told
    assert "made again, its record cannot be read: ab" in told


def test_nothing_that_is_read_is_written_over(cases, capsys):
    before = {path: path.read_bytes() for path in cases.rglob("*.nii.gz")}
    assert run(cases, out="masks") == 0  # beside what is read, but over none of it
    (cases / "tables").mkdir()
    (cases / "levels.tsv").write_text("case\tlevel\tslice\na\tL4\t5\nab\tL4\t6\n")
    (cases / "tables" / "levels.tsv").hardlink_to(cases / "levels.tsv")
    assert run(cases, "--levels", cases / "levels.tsv", out="tables") == 1
    assert run(cases, "--levels", cases / "levels.tsv", out=".") == 1
    assert "levels.tsv: would be written over what is read" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
    (cases / "inner" / "a").mkdir(parents=True)
    (cases / "masks" / "a_dseg.nii.gz").rename(cases / "inner" / "a" / "a_dseg.nii.gz")
    assert cli.main(["measure", "-l", str(cases / "inner" / "a"), "-o", str(cases / "inner")]) == 1
    assert (cases / "inner" / "a" / "a_dseg.nii.gz").read_bytes() == before[cases / "masks" / "a_dseg.nii.gz"]
    assert "would be replaced, but holds the input" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["_0000.nii.gz", "measures.tsv.nii.gz"])
def test_names_that_no_case_can_have(cases, capsys, name):
    assert run(cases) == 0
    save(cases / "masks" / name, labels_of(0))
    assert run(cases) == 1
    assert f"{name}: " in (told := capsys.readouterr().err)
    assert "rename the label map" in told
    assert set(table(cases)["case"]) == {"a", "ab"}
    assert (cases / "out" / "a" / "measures.json").is_file()


def test_endings_in_capital_letters(cases):
    (cases / "scans" / "a_0000.nii.gz").rename(cases / "scans" / "a_0000.NII.GZ")
    nibabel.save(nibabel.load(cases / "masks" / "a_dseg.nii.gz"), cases / "a.nii")
    (cases / "masks" / "a_dseg.nii.gz").unlink()
    (cases / "a.nii").rename(cases / "masks" / "a_dseg.NII")
    assert run(cases, "-i", cases / "scans") == 0
    assert set(table(cases)["case"]) == {"a", "ab"}


def test_whatever_is_raised_is_one_cases_failure(cases, capsys, monkeypatch):
    from paraspinal_nnunet.measures import batch

    def broken(images, mask, **options):
        if options["case"] == "a":
            raise IndexError("tuple index out of range")
        return genuine(images, mask, **options)

    genuine = batch.measure_with_maps
    monkeypatch.setattr(batch, "measure_with_maps", broken)
    assert run(cases) == 1
    captured = capsys.readouterr()
    assert "measured: 1, kept: 0, failed: 1" in captured.out
    assert "case a: not measured:" in captured.err
    assert "a_dseg.nii.gz: IndexError: tuple index out of range" in captured.err


def test_one_bad_case_does_not_stop_the_others(cases, capsys):
    (cases / "scans" / "a_0000.nii.gz").write_bytes(b"no image")
    assert run(cases, "-i", cases / "scans") == 1
    captured = capsys.readouterr()
    assert "measured: 1, kept: 0, failed: 1" in captured.out
    assert "case a: not measured:" in captured.err
    assert set(table(cases)["case"]) == {"ab"}
    assert not (cases / "out" / "a").exists()
    assert not [p for p in (cases / "out").iterdir() if "partial" in p.name]
    save(cases / "scans" / "a_0000.nii.gz", grey_of(0))
    assert run(cases, "-i", cases / "scans") == 0
    assert "measured: 1, kept: 1, failed: 0" in capsys.readouterr().out


def test_scans_and_masks_in_one_folder(tmp_path):
    save(tmp_path / "x_dseg.nii.gz", labels_of(0))
    save(tmp_path / "x.nii.gz", grey_of(0))
    found = measure_batch(BatchRequest(tmp_path, tmp_path / "out", scans=tmp_path, workers=1))
    assert found.measured == ("x",)
    single = BatchRequest(tmp_path / "x_dseg.nii.gz", tmp_path / "one", scans=tmp_path / "x.nii.gz", workers=1)
    assert measure_batch(single).measured == ("x",)


def test_scans_that_cannot_be_told(cases, capsys):
    save(cases / "scans" / "a_other.nii.gz", grey_of(0))
    (cases / "scans" / "ab_0000.nii.gz").unlink()
    assert run(cases, "-i", cases / "scans") == 1
    assert "case ab: needs one image in" in capsys.readouterr().err
    (cases / "scans" / "a_0000.nii.gz").rename(cases / "scans" / "a_more.nii.gz")
    assert run(cases, "-i", cases / "scans") == 1
    assert "found a_more.nii.gz, a_other.nii.gz" in capsys.readouterr().err
    save(cases / "masks" / "a_seg.nii.gz", labels_of(0))
    assert run(cases) == 1
    assert "two label maps are of case a" in capsys.readouterr().err


def test_every_flag_changes_something(cases, tmp_path, capsys):
    scans = ("-i", cases / "scans")
    assert run(cases, *scans, out="plain") == 0
    plain = table(cases, out="plain")

    assert run(cases, *scans, "--fat-per", "side", out="side") == 0
    per_side = table(cases, out="side").query("muscle == 'multifidus'")["threshold_gmm3"]
    assert per_side.nunique() > plain.query("muscle == 'multifidus'")["threshold_gmm3"].nunique()
    assert run(cases, *scans, "--fat", out="none") == 0
    assert not [c for c in table(cases, out="none").columns if "gmm3" in c]
    assert run(cases, *scans, "--muscles", "psoas_major", out="psoas") == 0
    assert set(table(cases, out="psoas")["muscle"]) == {"psoas_major"}

    (tmp_path / "levels.tsv").write_text("case\tlevel\tslice\na\tL4\t5\nab\tL4\t6\n")
    assert run(cases, *scans, "--levels", tmp_path / "levels.tsv", out="table") == 0
    assert table(cases, "levels", out="table").groupby("case")["mid_slice"].first().to_dict() == {"a": 5, "ab": 6}
    for case in ("a", "ab"):
        spine = np.zeros(SHAPE, np.int16)
        spine[15:20, 10:15, 4:7] = 7
        save(cases / "spines" / f"{case}_levels.nii.gz", spine)
    (tmp_path / "names.yaml").write_text("7: L3\n")
    names = ("--levels", cases / "spines", "--level-names", tmp_path / "names.yaml")
    assert run(cases, *scans, *names, out="map") == 0
    assert set(table(cases, "levels", out="map")["level"]) == {"L3"}
    assert run(cases, *scans, *names[:2], out="wrong") == 1

    moved = AFFINE.copy()
    moved[0, 3] = 0.1
    save(cases / "moved" / "a.nii.gz", grey_of(0), moved)
    save(cases / "moved" / "ab.nii.gz", grey_of(1), moved)
    assert run(cases, "-i", cases / "moved", out="refused") == 1
    assert run(cases, "-i", cases / "moved", "--regrid", "by-voxel", out="moved") == 0
    pd.testing.assert_frame_equal(table(cases, out="moved"), plain)
    assert run(cases, "-i", cases / "moved", "--regrid", "resample", out="resampled") == 0

    swapped = Path(tmp_path / "scheme.json")
    swapped.write_text(
        json.dumps({str(v): n for v, n in zip(range(1, 5), _swapped(), strict=True)} | {"5": "ignore", "6": "ignore"})
    )
    assert run(cases, *scans, "--scheme", swapped, out="scheme") == 0
    flags = table(cases, "flags", out="scheme")
    assert set(flags.query("severity == 'serious'")["kind"]) == {"sides", "missing"}
    capsys.readouterr()
    assert run(cases, "--dixon", cases / "water", cases / "nowhere") == 1
    assert "no such file or folder" in capsys.readouterr().err


def test_two_label_maps_with_one_scan_are_told(cases, caplog):
    """Two raters' maps of one scan, or the map of a second visit whose own scan is missing."""
    assert run(cases, "-i", cases / "scans") == 0
    assert "is taken for" not in caplog.text
    save(cases / "masks" / "a_2.nii.gz", labels_of(0))
    assert run(cases, "-i", cases / "scans") == 0
    assert "scan a is taken for a_2, a, by its name; are all drawn on it?" in caplog.text


@pytest.mark.parametrize("place", ["masks/dataset.json", "dataset.json"])
def test_values_are_those_that_nnunets_dataset_json_beside_the_masks_names(cases, place, capsys):
    """Psoas alone, with an ignored value: by our own values they would be multifidus and erector spinae."""
    plain = run(cases) or table(cases).set_index(["case", "muscle", "side"])["voxels"]
    for name in ("a", "ab"):
        labels = np.asarray(nibabel.load(cases / "masks" / f"{name}_dseg.nii.gz").dataobj)
        psoas = np.choose(labels, [0, 3, 0, 0, 0, 2, 1]).astype(np.uint8)
        save(cases / "masks" / f"{name}_dseg.nii.gz", psoas)
    names = {"background": 0, "psoas_left": 1, "psoas_right": 2, "ignore": 3}
    (cases / place).write_text(json.dumps({"labels": names}))
    assert run(cases, out="named") == 0
    assert f"label values as {cases / place} names them" in capsys.readouterr().out
    found = table(cases, out="named").set_index(["case", "muscle", "side"])["voxels"]
    psoas = found.xs("psoas_major", level="muscle")
    assert psoas.equals(plain.xs("psoas_major", level="muscle"))
    assert found.sum() == psoas.sum()
    (cases / place).write_text(json.dumps({"labels": {str(v): n for n, v in names.items()}}))  # the older form
    assert run(cases, out="older") == 0
    assert table(cases, out="older").equals(table(cases, out="named"))


def test_a_dataset_json_that_names_no_muscle_is_not_read_as_our_values(cases, capsys):
    (cases / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    assert run(cases) == 1
    assert "maps no value to a class" in capsys.readouterr().err
    assert run(cases, "--scheme", "author") == 0


def test_segments_of_3d_slicer_are_what_they_are_called(cases):
    """Values are numbered as the segments were drawn: psoas first, which by our values would be multifidus."""
    assert run(cases, "-i", cases / "scans") == 0
    plain = table(cases).query("case == 'ab' and muscle != 'erector_spinae'").reset_index(drop=True)
    (cases / "masks" / "a_dseg.nii.gz").unlink()
    drawn = np.choose(labels_of(1), [0, 3, 4, 6, 6, 1, 2]).astype(np.uint8)
    (cases / "masks" / "ab_dseg.nii.gz").unlink()
    path = write_segmentation_nrrd(cases / "masks" / "ab.seg.nrrd", Volume(drawn, AFFINE))
    names = ("psoas R", "left psoas major", "MF_R", "multifidus L", "Segment_5", "other muscles")
    content = path.read_bytes()
    for structure, name in zip(PARASPINAL, names, strict=True):
        content = content.replace(f"_Name:={structure.display_name}\n".encode(), f"_Name:={name}\n".encode())
    path.write_bytes(content)
    assert run(cases, "-i", cases / "scans", out="slicer") == 0
    found = table(cases, out="slicer").query("muscle != 'erector_spinae'").reset_index(drop=True)
    pd.testing.assert_frame_equal(found, plain, check_dtype=False)
    assert set(table(cases, out="slicer").query("muscle == 'erector_spinae'")["voxels"]) == {0}
    path.write_bytes(content.replace(b"_Name:=psoas R\n", b"_Name:=psoas\n"))
    assert run(cases, out="unclear") == 1
    path.write_bytes(content.replace(b"_Name:=psoas R\n", b"_Name:=left psoas major\n"))
    assert run(cases, out="twice") == 0  # two segments of one muscle are one
    assert table(cases, out="twice").query("muscle == 'psoas_major'")["voxels"].tolist()[0] == 0


def _swapped():
    return "multifidus_left", "multifidus_right", "erector_spinae_right", "erector_spinae_left"


def test_model_flag_reads_the_manifest(cases, capsys):
    from paraspinal_nnunet.models.manifest import SCHEMA, SCHEMA_VERSION

    labels = [{"value": 1, "key": "multifidus_right"}]
    manifest = {
        **{"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "format": "onnx", "dataset_name": "Dataset001_A"},
        **{"trainer": "T", "plans_name": "P", "configuration": "2d", "folds": ["0"], "mirroring_axes": None},
        **{"labels": labels, "protocol": None, "preprocessing": {}, "training": {"spacing_mm": [5.0, 0.1, 0.1]}},
        **{"versions": {}, "created": "2024-01-01", "licence": "x", "citation": []},
        "files": [{"path": "weights", "size_bytes": 1, "sha256": "0" * 64}],
    }
    (cases / "model").mkdir()
    (cases / "model" / "manifest.json").write_text(json.dumps(manifest))
    assert run(cases, "-i", cases / "scans", "-m", cases / "model") == 0
    assert table(cases, "flags").query("kind == 'spacing'")["value"].tolist() == pytest.approx([0.8, 0.8])
    assert run(cases, "-i", cases / "scans", "-m", cases / "scans", out="none") == 1
    assert "scans: does not say what it was trained on" in capsys.readouterr().err


def test_tables_have_six_digits_and_records_all(cases):
    assert run(cases, "-i", cases / "scans") == 0
    cells = (cases / "out" / "a" / "measures.tsv").read_text().split()
    digits = [len(c.split("e")[0].replace(".", "").replace("-", "").lstrip("0")) for c in cells if _is_number(c)]
    assert max(digits) == 6
    record = json.loads((cases / "out" / "a" / "measures.json").read_text())
    result = measure(cases / "scans" / "a_0000.nii.gz", cases / "masks" / "a_dseg.nii.gz")
    assert [row["intensity_sd"] for row in record["measures"]] == [s.intensity_sd for s in result.structures]


def _is_number(cell):
    try:
        return np.isfinite(float(cell))
    except ValueError:
        return False


def test_one_row_per_case_beside_the_long_table(cases):
    assert run(cases, "-i", cases / "scans") == 0
    wide, long = table(cases, "measures_wide").set_index("case"), table(cases)
    assert wide.index.tolist() == ["a", "ab"]
    for row in long.to_dict("records"):
        name = f"{row['muscle']}_{row['side']}"
        assert wide.loc[row["case"], f"{name}_volume_ml"] == row["volume_ml"]
        assert wide.loc[row["case"], f"{name}_fat_fraction_gmm3"] == row["fat_fraction_gmm3"]
    assert run(cases, "--muscles", "psoas_major", out="psoas") == 0
    assert not [c for c in table(cases, "measures_wide", out="psoas").columns if "multifidus" in c]


def test_every_column_has_its_description_beside_the_table(cases):
    """As BIDS has it: a JSON file of the table's name, column -> Description and Units."""
    (cases / "levels.tsv").write_text("case\tlevel\tslice\na\tL4\t5\nab\tL4\t6\n")
    assert run(cases, "-i", cases / "scans", "--levels", cases / "levels.tsv") == 0
    for name in (*TABLES, "measures_wide"):
        described = json.loads((cases / "out" / f"{name}.json").read_text())
        assert list(described) == table(cases, name).columns.tolist()
        assert all(entry["Description"] for entry in described.values())
    wide = json.loads((cases / "out" / "measures_wide.json").read_text())["psoas_major_left_volume_ml"]
    assert wide == {"Description": "Psoas major left: voxels x volume of a voxel", "Units": "ml"}


def test_a_workbook_of_all_tables(cases):
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl comes with the extra 'xlsx'")
    (cases / "masks" / "a_dseg.nii.gz").rename(cases / "masks" / "=1+1_dseg.nii.gz")
    (cases / "scans" / "a_0000.nii.gz").rename(cases / "scans" / "=1+1_0000.nii.gz")
    assert run(cases, "-i", cases / "scans", "--xlsx") == 0
    book = openpyxl.load_workbook(cases / "out" / "measures.xlsx")
    assert book.sheetnames == [*TABLES, "measures_wide", "dictionary"]
    header, first, *_ = book["measures"].iter_rows()
    cells = dict(zip((c.value for c in header), first, strict=True))
    assert (cells["case"].value, cells["case"].data_type) == ("'=1+1", "s")
    assert cells["volume_ml"].data_type == "n"
    assert cells["volume_ml"].value == table(cases)["volume_ml"][0]
    assert table(cases)["case"][0] == "'=1+1"
