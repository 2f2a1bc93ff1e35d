import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.inference.options import PredictionOptions
from paraspinal_nnunet.models import nnunet_predictor
from paraspinal_nnunet.prediction import PredictionRequest, predict

AFFINE = np.diag([3.0, 3.0, 15.0, 1.0])


def write_scan(path, axes="RAS"):
    voxels = np.random.default_rng(0).integers(1, 500, (20, 24, 5)).astype(np.int16)
    save_as(nib.Nifti1Image(voxels, AFFINE), path, axes)


def save_as(image, path, axes):
    orientation = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    )
    nib.save(image.as_reoriented(orientation), path)


class FakePredictor:
    """Writes what nnU-Net writes: a mask, and its own files beside it."""

    dataset_json = {"labels": {"background": 0, "multifidus_right": 1}}  # noqa: RUF012

    def __init__(self):
        self.asked = 0

    def predict_from_files_sequential(self, scans, truncated):
        ((scan,),), (mask,) = scans, truncated
        self.asked += 1
        image = nib.load(scan)
        nib.save(nib.Nifti1Image((np.asarray(image.dataobj) > 250).astype(np.uint8), image.affine), f"{mask}.nii.gz")
        for name in ("plans.json", "dataset.json", "predict_from_raw_data_args.json"):
            (Path(mask).parent / name).write_text("nnU-Net's")


@pytest.fixture
def predictor(monkeypatch):
    fake = FakePredictor()
    monkeypatch.setattr(nnunet_predictor, "open_predictor", lambda model, **options: fake)
    return fake


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("b_0000.nii.gz", "a.nii.gz"):
        write_scan(folder / name)
    (folder / "notes.txt").write_text("")
    return folder


def request(scans, tmp_path, **changes):
    return PredictionRequest(**{"scans": scans, "output": tmp_path / "masks", "model": tmp_path / "model"} | changes)


def test_each_scan_gives_a_mask_of_its_name(scans, tmp_path, predictor):
    masks = predict(request(scans, tmp_path))
    assert [p.name for p in masks] == ["a.nii.gz", "b.nii.gz"]
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == ["a.nii.gz", "b.nii.gz", "records"]


def test_a_single_file_may_be_given(scans, tmp_path, predictor):
    assert [p.name for p in predict(request(scans / "b_0000.nii.gz", tmp_path))] == ["b.nii.gz"]


def test_what_is_there_is_not_predicted_again(scans, tmp_path, predictor):
    predict(request(scans / "a.nii.gz", tmp_path))
    assert len(predict(request(scans, tmp_path))) == 2
    assert predictor.asked == 2
    predict(request(scans, tmp_path, overwrite=True))
    assert predictor.asked == 4


def test_nnunet_sees_millimetres_and_the_mask_lands_on_the_scans_grid(tmp_path, predictor, monkeypatch):
    affine = np.diag([-3000.0, 3000, 15000, 1])
    image = nib.Nifti1Image(np.random.default_rng(0).integers(1, 500, (20, 24, 5)).astype(np.int16), affine)
    image.header.set_xyzt_units("micron")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, tmp_path / "microns.nii.gz")
    shutil.copy(tmp_path / "microns.nii.gz", tmp_path / "zipped.nii")  # a name that nibabel cannot open
    seen, original = [], predictor.predict_from_files_sequential

    def watched(scans, truncated):
        seen.append(nib.load(scans[0][0]).header.get_zooms())
        original(scans, truncated)

    monkeypatch.setattr(predictor, "predict_from_files_sequential", watched)
    for name in ("microns.nii.gz", "zipped.nii"):
        (mask,) = predict(request(tmp_path / name, tmp_path))
        made = nib.load(mask)
        np.testing.assert_allclose(made.affine, np.diag([-3.0, 3, 15, 1]), atol=1e-4)
        np.testing.assert_array_equal(np.asarray(made.dataobj), np.asarray(image.dataobj) > 250)
    assert seen == [(3.0, 3.0, 15.0)] * 2


def test_labels_of_a_model_with_numbers_of_its_own_become_the_anatomys(scans, tmp_path, predictor, monkeypatch):
    monkeypatch.setattr(predictor, "dataset_json", {"labels": {"background": 0, "psoas_major_left": 1}})
    mask = predict(request(scans / "a.nii.gz", tmp_path))[0]
    assert set(np.unique(np.asarray(nib.load(mask).dataobj))) == {0, 6}


def test_other_files_in_the_output_folder_stay(scans, tmp_path, predictor):
    output = tmp_path / "masks"
    output.mkdir()
    for name in ("plans.json", "dataset.json"):
        (output / name).write_text("the user's")
    predict(request(scans, tmp_path))
    assert {p.name: p.read_text() for p in output.glob("*.json")} == {
        "plans.json": "the user's",
        "dataset.json": "the user's",
    }


def test_an_interrupted_prediction_leaves_no_mask(scans, tmp_path, predictor, monkeypatch):
    def interrupted(scan, truncated):
        Path(f"{truncated[0]}.nii.gz").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(predictor, "predict_from_files_sequential", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(request(scans, tmp_path))
    assert list((tmp_path / "masks").iterdir()) == []


@pytest.mark.slow
def test_an_unreadable_scan_stops_no_other(scans, tmp_path, predictor, capsys):
    (scans / "aa.nii.gz").write_bytes(b"no scan")
    with pytest.raises(InputError, match=r"1 of 3 scans failed: aa\.nii\.gz \(.*aa\.nii\.gz: is no NIfTI file"):
        predict(request(scans, tmp_path))
    assert predictor.asked == 2
    model = str(tmp_path / "model")
    assert main(["predict", "-i", str(scans), "-o", str(tmp_path / "masks"), "-m", model]) == 1
    printed = capsys.readouterr()
    assert printed.out.split() == [str(tmp_path / "masks" / name) for name in ("a.nii.gz", "b.nii.gz")]
    assert "paraspinal predict: 1 of 3 scans failed" in printed.err
    assert predictor.asked == 2


def test_flags_for_portable_models_are_refused_with_others(scans, tmp_path, predictor):
    for changes in ({"mode": "fast"}, {"runtime": "openvino"}, {"threads": 2}):
        with pytest.raises(InputError, match="are for models of 'paraspinal export --format onnx'"):
            predict(request(scans, tmp_path, **changes))


def test_two_scans_for_one_mask_are_refused(scans, tmp_path):
    write_scan(scans / "a.nii")
    with pytest.raises(InputError, match=r"several scans would give one mask a\.nii\.gz"):
        predict(request(scans, tmp_path))


def test_nothing_to_predict_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        predict(request(tmp_path / "absent", tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        predict(request(tmp_path / "empty", tmp_path))


def test_models_without_the_wanted_fold_are_refused(scans, tmp_path):
    model = tmp_path / "model"
    with pytest.raises(InputError, match=r"is no trained model \(plans.json is missing\)"):
        predict(request(scans, tmp_path))
    model.mkdir()
    (model / "plans.json").write_text("{}")
    with pytest.raises(InputError, match=r"fold any has no checkpoint_final\.pth"):
        predict(request(scans, tmp_path))
    (model / "fold_0").mkdir()
    (model / "fold_0" / "checkpoint_final.pth").touch()
    with pytest.raises(InputError, match=r"fold 2 has no checkpoint_final\.pth; train it to its end"):
        predict(request(scans, tmp_path, folds=["0", "fold_2"]))


def test_fold_all_is_taken_only_where_no_other_is(tmp_path):
    for fold in ("0", "all", "2"):
        (tmp_path / f"fold_{fold}").mkdir()
        (tmp_path / f"fold_{fold}" / "checkpoint_final.pth").touch()
    assert nnunet_predictor.trained_folds(tmp_path) == ["0", "2"]
    for fold in ("0", "2"):
        (tmp_path / f"fold_{fold}" / "checkpoint_final.pth").unlink()
    assert nnunet_predictor.trained_folds(tmp_path) == ["all"]


@pytest.fixture
def model(tiny, one_thread):
    """A network after one step; its masks are of many classes in fine patterns, which any shift or flip shows in."""
    pytest.importorskip("nnunetv2")
    import torch

    from paraspinal_nnunet.trainers import nnUNetTrainerParaspinal

    plans = json.loads(tiny.plans_file.read_text())
    plans["paraspinal"]["overrides"]["iterations"] = 1
    dataset_json = json.loads((tiny.preprocessed / "dataset.json").read_text())
    trainer = nnUNetTrainerParaspinal(plans, "2d", 0, dataset_json, torch.device("cpu"))
    trainer.run_training()
    return Path(trainer.output_folder_base)


@pytest.mark.slow
def test_masks_follow_the_scan_into_any_orientation(tiny, model, tmp_path, kept_environment, capsys, monkeypatch):
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 1)  # threads that wait for a busy core cost a minute
    original = nib.load(tiny.raw / "imagesTr" / "sub-001_0000.nii.gz")
    scans = tmp_path / "turned"
    scans.mkdir()
    axes = ("RAS", "LAS", "LPS", "RPI", "SAR")
    for code in axes:
        save_as(original, scans / f"{code}.nii.gz", code)
    flags = ["-i", str(scans), "-o", str(tmp_path / "masks"), "-m", str(model), "-device", "cpu"]
    flags += ["--no-measures", "--no-pages"]
    assert main(["predict", *flags]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(tmp_path / "masks" / f"{code}.nii.gz") for code in sorted(axes)]
    expected = np.asarray(nib.load(tmp_path / "masks" / "RAS.nii.gz").dataobj)
    assert len(np.unique(expected)) > 2
    assert not np.array_equal(expected, expected[::-1])
    for code in axes:
        mask, scan = (nib.load(tmp_path / part / f"{code}.nii.gz") for part in ("masks", "turned"))
        assert nib.aff2axcodes(mask.affine) == tuple(code)
        assert mask.shape == scan.shape
        np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
        np.testing.assert_array_equal(np.asarray(nib.as_closest_canonical(mask).dataobj), expected)


def test_models_that_write_other_files_are_refused(tiny, model, tmp_path, kept_environment):
    path = model / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"file_ending": ".mha"}))
    write_scan(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"this model writes \.mha files; only \.nii\.gz is supported"):
        predict(request(tmp_path / "a.nii.gz", tmp_path, model=model, device="cpu"))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e308])
def test_times_that_no_clock_takes_are_refused(seconds):
    with pytest.raises(InputError, match=r"a time of .* s cannot be; give more than 0, at most 1000000"):
        PredictionOptions(timeout=seconds).check()
