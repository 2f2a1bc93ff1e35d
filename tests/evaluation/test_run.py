"""`paraspinal evaluate` and what it is built on: gathering files, grids, values, tables, the two output files."""

import json
import math
import os
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import GeometryError, InputError, LabelError
from paraspinal_nnunet.evaluation import evaluate, format_summary, read_metrics, read_record, summarise
from paraspinal_nnunet.evaluation.record import COLUMNS
from paraspinal_nnunet.image_io.viewers.lookup_tables import ITKSNAP_FILE, itksnap_labels
from paraspinal_nnunet.image_io.viewers.segmentation_nrrd import write_segmentation_nrrd
from paraspinal_nnunet.image_io.volume import Volume

SHAPE = (12, 10, 4)
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])  # 20 mm3 a voxel


def case_labels(shift: int = 0) -> np.ndarray:
    """Six columns of 1 x 4 voxels in all 4 slices, at every second x; the shift moves them along y."""
    labels = np.zeros(SHAPE, np.uint8)
    for label in range(1, 7):
        labels[2 * (label - 1), 2 + shift : 6 + shift] = label
    return labels


def save(path: Path, labels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, affine), path)
    return path


@pytest.fixture
def folders(tmp_path):
    """ref and pred with cases a and b; predictions are moved by one voxel (a) and not at all (b)."""
    for case, shift in (("a", 1), ("b", 0)):
        save(tmp_path / "ref" / f"{case}.nii.gz", case_labels())
        save(tmp_path / "pred" / f"{case}.nii.gz", case_labels(shift))
    return tmp_path


def run(folders: Path, *more: str, pred: str = "m=pred", ref: str = "ref") -> int:
    name, _, folder = pred.partition("=")
    return main(
        [
            "evaluate",
            "-ref",
            str(folders / ref),
            "--pred",
            f"{name}={folders / folder}",
            "-o",
            str(folders / "out"),
            *more,
        ]
    )


def error_of(capsys: pytest.CaptureFixture) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]


class TestTable:
    def test_rows_and_values(self, folders):
        found = evaluate(folders / "ref", {"m": folders / "pred"})
        assert tuple(found.columns) == COLUMNS
        assert len(found) == 12  # 2 cases x 6 labels
        moved = found[found["case"] == "a"].iloc[0]
        # 4 voxels against 4 voxels moved by one, in 4 slices: TP 12, FN 4, FP 4 of 480 voxels.
        assert moved["dice"] == 0.75
        assert moved["conformity"] == pytest.approx(1 - 8 / 12)
        assert moved["tnr"] == 460 / 464
        # 16 voxels of 20 mm3.
        assert moved["reference_ml"] == pytest.approx(0.32)
        assert moved["prediction_ml"] == pytest.approx(0.32)
        assert list(found["muscle"][:6:2]) == ["multifidus", "erector_spinae", "psoas_major"]
        assert list(found["side"][:2]) == ["right", "left"]
        assert (found["fold"] == "").all()
        assert list(found["subject"]) == list(found["case"])
        assert (found[found["case"] == "b"]["dice"] == 1).all()

    def test_volumes_come_from_the_header(self, folders):
        oblique = AFFINE.copy()
        turn = np.deg2rad(20)
        oblique[:2, :2] = 2 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        for name in ("ref", "pred"):
            save(folders / "oblique" / name / "a.nii.gz", case_labels(), oblique)
        found = evaluate(folders / "oblique/ref", {"m": folders / "oblique/pred"})
        assert found["reference_ml"].to_numpy() == pytest.approx(0.32, abs=1e-6)

    def test_number_of_workers_changes_nothing_but_the_time(self, folders):
        one, three = (evaluate(folders / "ref", {"m": folders / "pred"}, workers=n) for n in (1, 3))
        pd.testing.assert_frame_equal(one, three)

    def test_absent_label_is_undefined(self, folders):
        labels = case_labels()
        labels[labels == 6] = 0
        for name in ("ref", "pred"):
            save(folders / name / "a.nii.gz", labels)
        found = evaluate(folders / "ref", {"m": folders / "pred"}, folders / "out")
        row = found[(found["case"] == "a") & (found["muscle"] == "psoas_major") & (found["side"] == "left")].iloc[0]
        assert math.isnan(row["dice"])
        assert row["reference_ml"] == 0
        pd.testing.assert_frame_equal(read_metrics(folders / "out"), found)

    def test_label_names_of_dataset_json(self, folders):
        labels = {
            "background": 0,
            "autochthon_left": 1,
            "multifidus_right": 2,
            "fat": 3,
            "a_b_right": 4,
            "x": 5,
            "y": 6,
        }
        (folders / "dataset.json").write_text(json.dumps({"labels": labels}))
        found = evaluate(folders / "ref", {"m": folders / "pred"})
        named = [("autochthon", "left"), ("multifidus", "right"), ("fat", ""), ("a_b", "right"), ("x", ""), ("y", "")]
        assert list(zip(found["muscle"][:6], found["side"][:6], strict=True)) == named

    @pytest.mark.parametrize("value", [[1, 2], 300, "1"])
    def test_labels_that_cannot_be_evaluated(self, folders, value):
        (folders / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "multifidus_right": value}}))
        with pytest.raises(LabelError, match="multifidus_right"):
            evaluate(folders / "ref", {"m": folders / "pred"})


class TestGrids:
    def test_other_stored_orientation_of_the_same_grid(self, folders):
        # The same voxels stored from left to right reversed, and with y and z exchanged.
        flipped = AFFINE @ np.array([[-1, 0, 0, SHAPE[0] - 1], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)
        save(folders / "pred/a.nii.gz", case_labels(1)[::-1].transpose(0, 2, 1), flipped)
        found = evaluate(folders / "ref", {"m": folders / "pred"})
        assert (found[found["case"] == "a"]["dice"] == 0.75).all()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda a: a + np.eye(4, k=3) * 0.5, "origin"),
            (lambda a: a @ np.diag([1.1, 1, 1, 1]), "spacing"),
            (lambda a: np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ a, "direction"),
            (lambda a: a @ np.diag([-1, 1, 1, 1]), "direction RAS against LAS"),
        ],
    )
    def test_other_grid(self, folders, change, words):
        save(folders / "pred/a.nii.gz", case_labels(), change(AFFINE))
        with pytest.raises(GeometryError, match=f"model m, case a: .*{words}"):
            evaluate(folders / "ref", {"m": folders / "pred"})

    def test_other_shape(self, folders):
        save(folders / "pred/b.nii.gz", case_labels()[..., :3])
        with pytest.raises(GeometryError, match=r"case b: .*shape \(12, 10, 4\) against \(12, 10, 3\)"):
            evaluate(folders / "ref", {"m": folders / "pred"})

    def test_difference_within_tolerance(self, folders):
        save(folders / "pred/a.nii.gz", case_labels(), AFFINE + np.eye(4, k=3) * 5e-4)
        assert (evaluate(folders / "ref", {"m": folders / "pred"})["dice"] == 1).all()

    def test_directions_that_simpleitk_refuses(self, folders):
        import SimpleITK as sitk  # noqa: N813

        sheared = AFFINE.copy()
        sheared[0, 1] = 0.8
        for name in ("ref", "pred"):
            save(folders / "sheared" / name / "a.nii.gz", case_labels(int(name == "pred")), sheared)
        with pytest.raises(RuntimeError, match="orthonormal"):
            sitk.ReadImage(str(folders / "sheared/ref/a.nii.gz"))
        found = evaluate(folders / "sheared/ref", {"m": folders / "sheared/pred"})
        assert (found["dice"] == 0.75).all()


class TestValues:
    @pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.float32, np.float64])
    def test_stored_types(self, folders, dtype):
        save(folders / "pred/a.nii.gz", case_labels(1).astype(dtype))
        found = evaluate(folders / "ref", {"m": folders / "pred"})
        assert (found[found["case"] == "a"]["dice"] == 0.75).all()

    @pytest.mark.parametrize(
        ("value", "dtype", "words"),
        [
            (9, np.uint8, "unknown label value 9; known are 1 multifidus_right"),
            (-1, np.int16, "value -1"),
            (300, np.int16, "value 300"),
            (0.5, np.float32, "e.g. 0.5"),
            (np.nan, np.float32, "NaN"),
            (np.inf, np.float32, "infinite"),
        ],
    )
    def test_bad_value_in_the_prediction(self, folders, value, dtype, words):
        labels = case_labels().astype(dtype)
        labels[0, 0, 0] = value
        save(folders / "pred/b.nii.gz", labels)
        with pytest.raises(LabelError, match=f"model m, case b: .*{words}"):
            evaluate(folders / "ref", {"m": folders / "pred"})

    def test_unknown_value_in_the_reference(self, folders):
        save(folders / "ref/a.nii.gz", case_labels() * 2)
        with pytest.raises(LabelError, match=r"case a: reference .* value 8, 10, 12"):
            evaluate(folders / "ref", {"m": folders / "pred"})

    def test_four_dimensions(self, folders):
        save(folders / "pred/a.nii.gz", np.stack([case_labels()] * 2, axis=-1))
        with pytest.raises(InputError, match=r"case a: .*shape \(12, 10, 4, 2\)"):
            evaluate(folders / "ref", {"m": folders / "pred"})

    def test_broken_file(self, folders):
        path = folders / "pred/a.nii.gz"
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(InputError, match=r"case a: .*truncated or damaged"):
            evaluate(folders / "ref", {"m": folders / "pred"})
        path.write_bytes(b"no image at all")
        with pytest.raises(InputError, match=r"case a: .*is no NIfTI file"):
            evaluate(folders / "ref", {"m": folders / "pred"})


class TestFiles:
    def test_missing_prediction(self, folders, capsys):
        (folders / "pred/b.nii.gz").unlink()
        assert run(folders) == 1
        assert "model m: no prediction of b " in error_of(capsys)
        assert not (folders / "out").exists()
        assert run(folders, "--subset") == 0
        assert "m: 1 of 2 cases" in capsys.readouterr().out

    def test_extra_prediction(self, folders, capsys):
        save(folders / "pred/c.nii.gz", case_labels())
        for flags in ((), ("--subset",)):
            assert run(folders, *flags) == 1
            assert "model m: no reference for c " in error_of(capsys)

    @pytest.mark.parametrize(
        ("kwargs", "words"),
        [
            ({"pred": "m=nowhere"}, "nowhere does not exist"),
            ({"ref": "nowhere"}, "nowhere does not exist"),
            ({"pred": "m=empty"}, "empty holds neither"),
            ({"ref": "empty"}, "empty holds no *.nii.gz"),
            ({"pred": "=pred"}, "write NAME=DIR"),
        ],
    )
    def test_bad_folders(self, folders, capsys, kwargs, words):
        (folders / "empty").mkdir()
        assert run(folders, **kwargs) == 1
        assert words in error_of(capsys)

    def test_malformed_and_duplicate_names(self, folders, capsys):
        assert run(folders, "--pred", "justafolder") == 1
        assert "--pred justafolder: write NAME=DIR" in error_of(capsys)
        assert run(folders, "--pred", "m=elsewhere") == 1
        assert "the name m is taken" in error_of(capsys)
        assert run(folders, "--pred", "m2=") == 1
        assert "write NAME=DIR" in error_of(capsys)

    def test_bad_number_of_workers_and_output(self, folders, capsys):
        assert run(folders, "-np", "0") == 1
        assert "0 workers" in error_of(capsys)
        (folders / "out").write_text("in the way")
        assert run(folders) == 1
        assert "out is a file" in error_of(capsys)

    def test_images_and_cases_given(self, folders, capsys):
        assert run(folders, "--images", str(folders / "pictures")) == 1
        assert "pictures does not exist" in error_of(capsys)
        save(folders / "pictures/a_0000.nii.gz", case_labels())
        assert run(folders, "--images", str(folders / "pictures")) == 1
        assert "case b: neither b_0000.nii.gz nor b.nii.gz" in error_of(capsys)
        save(folders / "pictures/b.nii.gz", case_labels())
        table = folders / "who.tsv"
        table.write_text("case\tsubject\na\ts1\n")
        assert run(folders, "--images", str(folders / "pictures"), "--cases", str(table)) == 1
        assert "who.tsv: has no row for b" in error_of(capsys)
        table.write_text("case\tsubject\na\t007\nb\tNA\n")
        assert run(folders, "--images", str(folders / "pictures"), "--cases", str(table)) == 0
        metrics, record = read_metrics(folders / "out"), read_record(folders / "out")
        assert dict(zip(metrics["case"], metrics["subject"], strict=True)) == {"a": "007", "b": "NA"}
        assert record.models["m"].cases["b"].image == folders / "pictures/b.nii.gz"
        assert run(folders, "--cases", str(folders / "nobody.tsv")) == 1
        assert "nobody.tsv does not exist" in error_of(capsys)

    def test_data_set_folder(self, folders):
        data = folders / "Dataset501_X"
        data.mkdir()
        (folders / "ref").rename(data / "labelsTr")
        for case in "ab":
            save(data / f"imagesTr/{case}_0000.nii.gz", case_labels())
        (data / "cases.tsv").write_text("case\tsubject\tsex\na\tp1\tf\nb\tp2\tm\n")
        labels = {"background": 0} | {f"label{i}": i for i in range(1, 7)}
        (data / "dataset.json").write_text(json.dumps({"labels": labels}))
        for reference in (data, data / "labelsTr"):
            found = evaluate(reference, {"m": folders / "pred"}, folders / "out")
            assert list(found["subject"].unique()) == ["p1", "p2"]
            assert found["muscle"][0] == "label1"
            record = read_record(folders / "out")
            assert record.models["m"].cases["a"].image == data / "imagesTr/a_0000.nii.gz"


@pytest.fixture
def model(folders, monkeypatch):
    """A trained model's folder: fold_0 has validated a, fold_1 has validated b."""
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    folder = folders / "results/Dataset501_X/nnUNetTrainerX__ParaspinalPlans__2d"
    save(folder / "fold_0/validation/a.nii.gz", case_labels(1))
    save(folder / "fold_1/validation/b.nii.gz", case_labels())
    (folder / "plans.json").write_text(json.dumps({"dataset_name": "Dataset501_X", "paraspinal": {"version": "1"}}))
    return folder


def splits(folders: Path, *val: str) -> None:
    path = folders / "preprocessed/Dataset501_X/splits_final.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"train": [], "val": list(cases)} for cases in val]))


class TestModelFolder:
    PRED = "m=results/Dataset501_X/nnUNetTrainerX__ParaspinalPlans__2d"

    def test_out_of_fold_predictions(self, folders, model, capsys):
        assert run(folders, pred=self.PRED) == 0
        assert "m: 2 of 2 cases, out-of-fold predictions of fold 0, 1" in capsys.readouterr().out
        metrics = read_metrics(folders / "out")
        assert dict(zip(metrics["case"], metrics["fold"], strict=True)) == {"a": "0", "b": "1"}
        entry = read_record(folders / "out").models["m"]
        assert (entry.kind, entry.folds, entry.folder) == ("out-of-fold", ("0", "1"), model)
        assert entry.settings["trainer"] == "nnUNetTrainerX"
        assert entry.settings["configuration"] == "2d"
        assert entry.settings["paraspinal"] == {"version": "1"}

    def test_case_in_two_folds(self, folders, model, capsys):
        save(model / "fold_1/validation/a.nii.gz", case_labels())
        assert run(folders, pred=self.PRED) == 1
        assert "case a is a validation case of fold_0 and of fold_1" in error_of(capsys)

    def test_some_folds_only(self, folders, model, capsys):
        (model / "fold_1/validation/b.nii.gz").unlink()
        assert run(folders, pred=self.PRED) == 0
        assert "m: 1 of 2 cases, out-of-fold predictions of fold 0;" in capsys.readouterr().out

    def test_missing_case_of_a_validated_fold(self, folders, model, capsys, monkeypatch):
        save(folders / "ref/c.nii.gz", case_labels())
        monkeypatch.setenv("nnUNet_preprocessed", str(folders / "preprocessed"))
        splits(folders, "ac", "b")
        assert run(folders, pred=self.PRED) == 1
        assert "model m: no prediction of c " in error_of(capsys)
        splits(folders, "a", "b", "c")  # fold 2 was not trained
        assert run(folders, pred=self.PRED) == 0

    def test_splits_beside_the_ground_truth(self, folders, model, capsys):
        save(folders / "ref/c.nii.gz", case_labels())
        splits(folders, "a", "bc")
        (folders / "ref").rename(folders / "preprocessed/Dataset501_X/gt_segmentations")
        assert run(folders, pred=self.PRED, ref="preprocessed/Dataset501_X/gt_segmentations") == 1
        assert "no prediction of c " in error_of(capsys)

    def test_fold_all(self, folders, model, capsys):
        for case in "ab":
            save(model / f"fold_all/validation/{case}.nii.gz", case_labels())
        assert run(folders, pred=self.PRED) == 0  # real folds come first
        assert set(read_metrics(folders / "out")["fold"]) == {"0", "1"}
        for fold, case in (("0", "a"), ("1", "b")):
            (model / f"fold_{fold}/validation/{case}.nii.gz").unlink()
        capsys.readouterr()
        assert run(folders, pred=self.PRED) == 0
        assert "training Dice" in capsys.readouterr().out
        assert set(read_metrics(folders / "out")["fold"]) == {"all"}
        assert read_record(folders / "out").models["m"].kind == "training"

    def test_nothing_validated(self, folders, model, capsys):
        for path in model.glob("fold_*/validation/*"):
            path.unlink()
        assert run(folders, pred=self.PRED) == 1
        assert "no *.nii.gz in" in error_of(capsys)


class TestOutput:
    def test_record_is_relative_and_survives_a_move(self, folders):
        for case in "ab":
            save(folders / f"images/{case}_0000.nii.gz", case_labels())
        assert run(folders, "--images", str(folders / "images"), "--pred", f"n={folders / 'ref'}") == 0
        written = json.loads((folders / "out/evaluation.json").read_text())
        assert written["models"]["m"]["cases"]["a"] == {
            "image": "../images/a_0000.nii.gz",
            "reference": "../ref/a.nii.gz",
            "prediction": "../pred/a.nii.gz",
            "fold": "",
        }
        assert written["labels"][0] == {"value": 1, "key": "multifidus_right", "muscle": "multifidus", "side": "right"}
        assert list(written["models"]) == ["m", "n"]
        moved = folders.with_name(folders.name + "_moved")
        os.rename(folders, moved)
        assert read_record(moved / "out").models["n"].cases["b"].prediction.is_file()

    def test_csv_keeps_every_digit(self, folders):
        found = evaluate(folders / "ref", {"m": folders / "pred"}, folders / "out")
        pd.testing.assert_frame_equal(read_metrics(folders / "out"), found, check_exact=True)

    def test_missing_or_foreign_results(self, folders):
        with pytest.raises(InputError, match="run paraspinal evaluate first"):
            read_metrics(folders)
        (folders / "metrics.tsv").write_text("a,b\n1,2\n")
        with pytest.raises(InputError, match="has the columns a, b"):
            read_metrics(folders)
        (folders / "evaluation.json").write_text("{}")
        with pytest.raises(InputError, match="version is missing; run paraspinal evaluate again"):
            read_record(folders)


class TestSummary:
    def test_mean_and_sd(self, folders):
        # Dice .75 and 1: mean .875, SD with ddof 1 is .25 / sqrt(2).
        summary = summarise(evaluate(folders / "ref", {"m": folders / "pred"}))
        dice = summary[summary["metric"] == "dice"]
        assert len(dice) == 7
        assert dice["mean"].to_numpy() == pytest.approx(0.875)
        assert dice["sd"].to_numpy() == pytest.approx(0.25 / math.sqrt(2))
        assert dice["muscle"].iloc[-1] == "all muscles"

    def test_undefined_values_are_left_out_and_counted(self):
        values = [0.8, 0.6, math.nan]
        rows = [("m", str(i), str(i), "", "psoas_major", "left", *[v] * 7, 1.0, 1.0) for i, v in enumerate(values)]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        row = summarise(table).iloc[0]
        assert (row["mean"], row["n"], row["skipped"]) == (pytest.approx(0.7), 2, 1)
        text = format_summary(table, {"m": "model m"}, columns=("dice",))
        assert "0.700 (0.141)" in text  # sqrt(2 * 0.1^2)
        assert "undefined and left out of the mean, psoas major left: 1 Dice" in text
        assert "values of single muscles that enter the mean, all muscles: 2 of 3 Dice" in text

    def test_a_mean_over_muscles_says_what_it_leaves_out(self):
        """Two cases of two muscles, one of them without Dice: case means .8 and .9; three of four values enter."""
        values = [("a", "left", 0.8), ("a", "right", math.nan), ("b", "left", 1.0), ("b", "right", 0.8)]
        rows = [("m", case, case, "", "psoas_major", side, *[v] * 7, 1.0, 1.0) for case, side, v in values]
        row = summarise(pd.DataFrame(rows, columns=list(COLUMNS))).query("muscle == 'all muscles'").iloc[0]
        assert row["mean"] == pytest.approx(0.85)
        assert (row["n"], row["skipped"], row["entered"], row["entries"], row["infinite"]) == (2, 0, 3, 4, 0)

    def test_infinite_values_are_kept(self):
        values = [0.5, -math.inf]
        rows = [("m", str(i), str(i), "", "psoas_major", "left", *[v] * 7, 1.0, 1.0) for i, v in enumerate(values)]
        row = summarise(pd.DataFrame(rows, columns=list(COLUMNS))).iloc[0]
        assert row["mean"] == -math.inf
        assert math.isnan(row["sd"])
        assert (row["skipped"], row["infinite"]) == (0, 1)

    def test_printed_table(self, folders, capsys):
        assert run(folders) == 0
        out = capsys.readouterr().out
        assert "m: 2 of 2 cases, predictions in one folder; mean (SD)" in out
        line = next(line for line in out.splitlines() if line.startswith("erector spinae") and "left" in line)
        assert "0.875 (0.177)" in line


@pytest.mark.real_data
def test_real_labels_against_themselves(tmp_path):
    root = os.environ.get("PARASPINAL_REAL_DATA")
    if not root:
        pytest.skip("PARASPINAL_REAL_DATA is not set")
    labels = Path(root) / "TUM01_water_img_img_L2-L5_nnunet_to_seg-segmentation-label.nii.gz"
    for name in ("ref", "pred"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "TUM01.nii.gz").write_bytes(labels.read_bytes())
    found = evaluate(tmp_path / "ref", {"m": tmp_path / "pred"})
    present = found[found["reference_ml"] > 0]
    assert len(present) == 4  # the source has no psoas
    assert (present["dice"] == 1).all()
    voxels = np.asarray(nibabel.load(labels).dataobj)
    voxel_ml = math.prod(float(v) for v in nibabel.load(labels).header.get_zooms()) / 1000
    assert found["reference_ml"].iloc[0] == pytest.approx((voxels == 1).sum() * voxel_ml, rel=1e-5)


def test_post_processing_is_applied_before_comparing_and_recorded(folders):
    """In case b one stray voxel of label 1 (20 mm3) lies apart; the reference has 16 voxels of it."""
    stray = case_labels()
    stray[11, 0, 0] = 1
    save(folders / "pred" / "b.nii.gz", stray)
    assert run(folders) == 0
    plain = read_metrics(folders / "out").query("case == 'b'").iloc[0]
    assert run(folders, "--post", "largest-component") == 0
    cleaned = read_metrics(folders / "out").query("case == 'b'").iloc[0]
    assert (plain["dice"], cleaned["dice"]) == (pytest.approx(2 * 16 / (16 + 17)), 1.0)
    assert read_record(folders / "out").models["m"].settings["post"] == ["largest-component"]


def test_unknown_post_processing_is_named(folders, capsys):
    assert run(folders, "--post", "opening") == 1
    assert "unknown post-processing 'opening'; choose from largest-component, fill-holes" in capsys.readouterr().err
    assert not (folders / "out").exists()


def test_ignored_voxels_count_nowhere(folders):
    """As nnU-Net's compute_metrics counts with an ignore label: of a mask's voxels those under it are left out.

    The label 'ignore' (7) takes the place of a third of multifidus right's voxels in the reference of case b, whose
    prediction is the reference without it: what is left is equal, and these voxels are in no count, not even the true
    negatives of the others.
    """
    labels = {"background": 0, **{s.key: s.label for s in PARASPINAL}, "ignore": 7}
    (folders / "ref" / "dataset.json").write_text(json.dumps({"labels": labels}))
    whole = np.asarray(nibabel.load(folders / "ref/b.nii.gz").dataobj).copy()
    save(folders / "pred/b.nii.gz", whole)
    places = np.argwhere(whole == 1)[::3]
    ignored = whole.copy()
    ignored[tuple(places.T)] = 7
    save(folders / "ref/b.nii.gz", ignored)
    table = evaluate(folders / "ref", {"m": folders / "pred"})
    row = table[(table["case"] == "b") & (table["muscle"] == "multifidus") & (table["side"] == "right")].iloc[0]
    voxel_ml = 0.02
    assert (row["dice"], row["tnr"]) == (1, 1)
    left = ((whole == 1).sum() - len(places)) * voxel_ml
    assert (row["reference_ml"], row["prediction_ml"]) == (pytest.approx(left), pytest.approx(left))
    save(folders / "pred/b.nii.gz", ignored)
    with pytest.raises(LabelError, match=r"prediction .* holds the unknown label value 7"):
        evaluate(folders / "ref", {"m": folders / "pred"})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"multifidus_left": 1, "multifidus_right": 2}, "gives multifidus_left the value 1, where .* have 2 for it"),
        ({"MF_R": 1, "ES_R": 2}, "gives erector_spinae_right the value 2, where .* have 3 for it"),
        ({"iliopsoas_right": 5}, "gives iliopsoas_right the value 5, where .* have psoas_major_right"),
    ],
)
def test_predictions_whose_own_names_contradict_the_references_are_refused(folders, labels, message):
    (folders / "pred" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, **labels}}))
    with pytest.raises(LabelError, match=f"model m: .*dataset.json {message}"):
        evaluate(folders / "ref", {"m": folders / "pred"})


def test_masks_of_our_own_prediction_are_held_to_the_references_names(folders):
    """A data set of another order, and masks of 'paraspinal predict', which have our values whatever the model's."""
    (folders / "pred" / ITKSNAP_FILE).write_text(itksnap_labels(PARASPINAL))
    evaluate(folders / "ref", {"m": folders / "pred"})
    names = [s.key for s in PARASPINAL]
    labels = {key: value for value, key in enumerate(["background", *names[2:4], *names[:2], *names[4:]])}
    (folders / "dataset.json").write_text(json.dumps({"labels": labels}))
    with pytest.raises(
        LabelError, match=f"model m: .*{ITKSNAP_FILE} gives multifidus_right the value 1, .* have 3 for"
    ):
        evaluate(folders / "ref", {"m": folders / "pred"})


def test_segments_of_another_name_than_the_references_values_are_refused(folders):
    (folders / "pred" / "a.nii.gz").unlink()
    path = write_segmentation_nrrd(folders / "pred" / "a.nrrd", Volume(case_labels(1), AFFINE))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"_Name:=Psoas major left\n", b"_Name:=MF_L\n"))
    with pytest.raises(LabelError, match=r"model m, case a: .*a\.nrrd: calls the value 6 'MF_L'"):
        evaluate(folders / "ref", {"m": folders / "pred"})
    path.write_bytes(content)
    assert len(evaluate(folders / "ref", {"m": folders / "pred"})) == 12


def test_predictions_whose_own_names_agree_are_evaluated(folders):
    plain = evaluate(folders / "ref", {"m": folders / "pred"})
    labels = {"background": 0, "R_multifidus": 1, "MF left": 2, "erector_spinae_right": 3, "something": 4}
    (folders / "pred" / "dataset.json").write_text(json.dumps({"labels": labels}))
    pd.testing.assert_frame_equal(evaluate(folders / "ref", {"m": folders / "pred"}), plain)


def test_a_record_of_other_predictions_does_not_stay_beside_new_metrics(folders, monkeypatch):
    """Stopped after its first table, an evaluation leaves none that names the predictions of the one before."""
    assert run(folders) == 0
    (record,) = folders.rglob("evaluation.json")

    def stopped(table, path):
        path.write_text("new")
        raise KeyboardInterrupt

    monkeypatch.setattr("paraspinal_nnunet.evaluation.record.write_described", stopped)
    assert run(folders) == 130
    assert (record.parent / "metrics.tsv").read_text() == "new"
    assert not record.exists()


def test_references_in_another_unit_are_refused(folders):
    affine = np.diag([0.002, 0.002, 0.005, 1.0])
    for folder in ("ref", "pred"):
        save(folders / folder / "b.nii.gz", case_labels(), affine)
    with pytest.raises(GeometryError, match=r"case b: .*voxels of 0\.002 x 0\.002 x 0\.005 mm are impossible"):
        evaluate(folders / "ref", {"m": folders / "pred"})
