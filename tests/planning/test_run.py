import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("nnunetv2")

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import DatasetError, ProtocolError
from paraspinal_nnunet.nnunet.preprocessed import MARKER_SUFFIX, check_complete, is_made_from, source_digest
from paraspinal_nnunet.nnunet.splits import make_splits, read_splits, write_splits
from paraspinal_nnunet.planning import run
from paraspinal_nnunet.planning.run import PlanRequest, _set_channels, plan, prepare_splits, remove_half_copies
from paraspinal_nnunet.protocol.overrides import parse_settings
from paraspinal_nnunet.protocol.plans import BASELINE_ENTRY, ENTRY

pytestmark = pytest.mark.usefixtures("thread_pools")


def tiny_request(tiny_copy, *more, **changes):
    settings = json.loads(tiny_copy.plans_file.read_text())[ENTRY]["overrides"]
    settings |= parse_settings(list(more))
    return PlanRequest(501, **{"plans_name": "Tiny", "overrides": settings, "processes": 1} | changes)


def arrays(tiny_copy):
    return {p: p.stat().st_mtime_ns for p in tiny_copy.preprocessed.glob("paraspinal_*/*.b2nd")}


def test_planning_leaves_plans_folds_and_cases(tiny):
    plans = json.loads(tiny.plans_file.read_text())
    (folder,) = {tiny.preprocessed / c["data_identifier"] for c in plans["configurations"].values()}
    assert sorted(p.name for p in folder.glob("*_seg.b2nd")) == [f"sub-00{n}_seg.b2nd" for n in range(1, 7)]
    check_complete(folder)
    assert is_made_from(folder, source_digest(tiny.raw))
    assert not is_made_from(folder, "another source")
    assert [len(s["val"]) for s in read_splits(tiny.preprocessed / "splits_final.json")] == [2, 2, 2]
    assert len(list((tiny.preprocessed / "gt_segmentations").iterdir())) == 6


@pytest.mark.slow
def test_planning_again_preprocesses_nothing(tiny_copy):
    before = arrays(tiny_copy)
    assert len(before) == 12
    plan(tiny_request(tiny_copy))
    plan(tiny_request(tiny_copy, "iterations=9", plans_name="Other"))
    assert arrays(tiny_copy) == before


def test_no_trainer_thread_setting_hinders_it(tiny_copy, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    plan(tiny_request(tiny_copy))
    assert os.environ["nnUNet_n_proc_DA"] == "0"


@pytest.mark.slow
def test_changed_raw_files_are_preprocessed_anew(tiny_copy):
    before = arrays(tiny_copy)
    label = tiny_copy.raw / "labelsTr" / "sub-003.nii.gz"
    os.utime(label, (label.stat().st_atime, label.stat().st_mtime + 10))
    plan(tiny_request(tiny_copy))
    after = arrays(tiny_copy)
    assert set(after) == set(before)
    assert all(after[path] > before[path] for path in before)


@pytest.mark.slow
def test_an_unfinished_folder_is_preprocessed_anew(tiny_copy):
    before = arrays(tiny_copy)
    (marker,) = tiny_copy.preprocessed.glob(f"*{MARKER_SUFFIX}")
    marker.unlink()
    plan(tiny_request(tiny_copy))
    after = arrays(tiny_copy)
    assert all(after[path] > before[path] for path in before)
    assert marker.is_file()


def test_other_settings_under_the_same_name_are_refused(tiny_copy):
    text = tiny_copy.plans_file.read_text()
    with pytest.raises(ProtocolError, match=r"Tiny.json: plans of this name hold other settings .* -p, or --overwrite"):
        plan(tiny_request(tiny_copy, "iterations=8"))
    assert tiny_copy.plans_file.read_text() == text
    plan(tiny_request(tiny_copy, "iterations=8", overwrite=True))
    assert json.loads(tiny_copy.plans_file.read_text())[ENTRY]["overrides"]["iterations"] == 8


@pytest.mark.parametrize("name", [None, "ParaspinalPlans", "nnUNetPlans"])
def test_settings_need_a_name_of_their_own(tiny_copy, name):
    with pytest.raises(ProtocolError, match=r"name the plans, e\.g\. -p"):
        plan(PlanRequest(501, plans_name=name, overrides={"iterations": 5}))


@pytest.mark.parametrize("reader", [None, "SimpleITKIO"])
def test_a_reader_that_keeps_the_stored_orientation_is_refused(tiny_copy, reader):
    path = tiny_copy.raw / "dataset.json"
    content = json.loads(path.read_text())
    del content["overwrite_image_reader_writer"]
    path.write_text(json.dumps(content | ({"overwrite_image_reader_writer": reader} if reader else {})))
    with pytest.raises(DatasetError, match='set "overwrite_image_reader_writer": "NibabelIOWithReorient"'):
        plan(tiny_request(tiny_copy))


def test_folds_of_another_number_are_refused(tiny_copy):
    cases = {f"sub-00{n}": f"sub-00{n}" for n in range(1, 7)}
    path = tiny_copy.preprocessed / "splits_final.json"
    write_splits(path, make_splits(cases, folds=5, seed=12345))
    before = path.read_text()
    with pytest.raises(DatasetError, match="has 5 folds, the plans ask for 3; move it away"):
        plan(tiny_request(tiny_copy))
    with pytest.raises(DatasetError, match="has 5 folds"):
        plan(PlanRequest(501, baseline=True, processes=1))
    assert path.read_text() == before


def write_people(tiny_copy, people):
    """Replace cases.tsv: subject and sex of each of the six cases."""
    lines = ["case\tsubject\tsex", *(f"sub-00{n}\t{who}\t{sex}" for n, (who, sex) in enumerate(people, 1))]
    (tiny_copy.raw / "cases.tsv").write_text("\n".join(lines) + "\n")


def test_too_few_subjects_leave_no_folds(tiny_copy, caplog):
    write_people(tiny_copy, [("a", "F")] * 3 + [("b", "M")] * 3)
    path = tiny_copy.preprocessed / "splits_final.json"
    path.unlink()
    with caplog.at_level(logging.INFO, logger="paraspinal_nnunet"):
        prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, tiny_request(tiny_copy))
    assert not path.exists()
    assert "2 subject(s) cannot make 3 folds: no folds are written, only fold 'all' can be trained" in caplog.text


def test_folds_of_more_subjects_are_refused(tiny_copy):
    write_people(tiny_copy, [("a", "F")] * 3 + [("b", "M")] * 3)
    with pytest.raises(DatasetError, match="fewer subjects than 3 folds; move this file away"):
        prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, tiny_request(tiny_copy))


def test_folds_are_dealt_out_by_subject_and_sex(tiny_copy):
    write_people(tiny_copy, [("a", "F"), ("a", "F"), ("b", "F"), ("c", "F"), ("d", "M"), ("e", "M")])
    path = tiny_copy.preprocessed / "splits_final.json"
    path.unlink()
    prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, tiny_request(tiny_copy, stratify=True))
    splits = read_splits(path)
    assert all(("sub-001" in s["val"]) == ("sub-002" in s["val"]) for s in splits)
    women = [len({"sub-001", "sub-003", "sub-004"} & set(s["val"])) for s in splits]
    assert women == [1, 1, 1]


def test_folds_that_contradict_the_request_are_refused(tiny_copy):
    write_people(tiny_copy, [(letter, "F" if letter in "aef" else "M") for letter in "abcdef"])
    path = tiny_copy.preprocessed / "splits_final.json"
    path.unlink()
    request = tiny_request(tiny_copy)
    prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, request)
    with pytest.raises(DatasetError, match="holds other folds than --stratify or split_seed ask for"):
        prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, replace(request, stratify=True))
    with pytest.raises(DatasetError, match="holds other folds"):
        prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, tiny_request(tiny_copy, "split_seed=4"))
    path.unlink()
    for again in range(2):  # written, then found to be what was asked for
        prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, replace(request, stratify=True))
        assert path.is_file(), again
    prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, request)


def test_a_baseline_takes_channels_where_they_fit_its_stages():
    def planned(*channels):
        return {"architecture": {"arch_kwargs": {"n_stages": len(channels), "features_per_stage": list(channels)}}}

    plans = {"configurations": {"2d": planned(32, 64, 128), "3d_fullres": planned(32, 64)}}
    request = PlanRequest(501, configurations=["2d"], overrides=parse_settings(["channels=8,16,32"]), baseline=True)
    _set_channels(plans, request)
    assert plans["configurations"] == {"2d": planned(8, 16, 32), "3d_fullres": planned(32, 64)}
    with pytest.raises(ProtocolError, match=r"channels: 3 numbers, but nnU-Net planned 2 stages of 3d_fullres"):
        _set_channels(plans, replace(request, configurations=["3d_fullres"]))


@pytest.mark.slow
def test_a_baseline_plans_itself_and_carries_its_length(tiny_copy):
    settings = parse_settings(["iterations=5", "iterations_per_epoch=2", "val_iterations=1"])
    path = plan(
        PlanRequest(501, configurations=["2d"], plans_name="Base", overrides=settings, baseline=True, processes=1)
    )
    plans = json.loads(path.read_text())
    assert plans[BASELINE_ENTRY] == {"iterations": 5, "iterations_per_epoch": 2, "val_iterations": 1}
    assert ENTRY not in plans
    assert plans["configurations"]["2d"]["architecture"]["network_class_name"].endswith("PlainConvUNet")
    assert plans["configurations"]["2d"]["data_identifier"] == "Base_2d"
    check_complete(tiny_copy.preprocessed / "Base_2d")
    assert [len(s["val"]) for s in read_splits(tiny_copy.preprocessed / "splits_final.json")] == [2, 2, 2]
    with pytest.raises(ProtocolError, match="hold other settings"):
        plan(PlanRequest(501, plans_name="Base", overrides={"iterations": 6}, baseline=True))


def test_a_baseline_configures_itself(tiny_copy):
    with pytest.raises(ProtocolError, match=r"only iterations, .* can be set, not 2d.batch_size"):
        plan(PlanRequest(501, plans_name="Base", overrides={"2d.batch_size": 6}, baseline=True))


def test_a_baseline_does_not_replace_the_papers_plans(tiny_copy):
    text = tiny_copy.plans_file.read_text()
    with pytest.raises(ProtocolError, match="holds the paper's plans; choose another name"):
        plan(PlanRequest(501, plans_name="Tiny", baseline=True))
    assert tiny_copy.plans_file.read_text() == text


def test_the_command_plans(tiny_copy, capsys):
    flags = ["-d", "501", "-c", "2d", "-np", "1", "-p", "Cli"]
    settings = ["--set", "spacing=15.625,3.12,3.12", "patch_size=48,32", "--set", "iterations=11"]
    assert main(["plan", *flags, *settings]) == 0
    path = tiny_copy.preprocessed / "Cli.json"
    assert capsys.readouterr().out == f"{path}\n"
    plans = json.loads(path.read_text())
    assert list(plans["configurations"]) == ["2d"]
    assert plans["configurations"]["2d"]["patch_size"] == [48, 32]
    assert plans[ENTRY]["overrides"]["iterations"] == 11
    assert main(["plan", *flags, "--set", "iterations=12"]) == 1
    error = capsys.readouterr().err
    assert "--overwrite to replace them" in error
    assert error.splitlines()[-1].startswith("paraspinal plan: error: ")


@pytest.mark.slow
def test_planning_stops_where_it_is_told(tiny_copy):
    """Another voxel size would ask for another preprocessed copy: with --until plan there is none."""
    (tiny_copy.preprocessed / "dataset_fingerprint.json").unlink()
    flags = ["plan", "-d", "501", "-p", "Coarse", "-np", "1", "-c", "2d", "--set", "spacing=15.625,6.24,6.24"]
    assert main([*flags, "--until", "fingerprint"]) == 0
    assert (tiny_copy.preprocessed / "dataset_fingerprint.json").is_file()
    assert not (tiny_copy.preprocessed / "Coarse.json").exists()
    assert main([*flags, "--until", "plan"]) == 0
    folder = json.loads((tiny_copy.preprocessed / "Coarse.json").read_text())["configurations"]["2d"]["data_identifier"]
    assert not (tiny_copy.preprocessed / folder).exists()
    assert main(flags) == 0
    check_complete(tiny_copy.preprocessed / folder)


def test_a_mirrored_label_header_is_refused_before_anything_is_written(tiny_copy, capsys):
    import nibabel as nib

    path = tiny_copy.raw / "labelsTr" / "sub-003.nii.gz"
    label = nib.load(path)
    affine = label.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (label.shape[0] - 1)
    affine[:3, 0] *= -1
    nib.save(nib.Nifti1Image(label.get_fdata().astype("uint8"), affine), path)
    before = sorted(p.name for p in tiny_copy.preprocessed.iterdir())
    assert main(["plan", "-d", "501", "-np", "1", "-p", "Other"]) == 1
    error = capsys.readouterr().err
    expected = "paraspinal plan: error: Dataset501_Tiny: 1 of 6 cases cannot be trained on"
    assert error.splitlines()[-1].startswith(expected)
    assert "sub-003: sub-003.nii.gz: is stored in RAS, sub-003_0000.nii.gz in LAS" in error
    assert sorted(p.name for p in tiny_copy.preprocessed.iterdir()) == before


def test_folds_that_came_with_the_data_are_kept(tiny_copy):
    """Boxes of a first model's cases must be tested where that model was."""
    cases = [f"sub-00{n}" for n in range(1, 7)]
    own = [{"train": [c for c in cases if c not in val], "val": val} for val in (cases[:2], cases[2:4], cases[4:])]
    write_splits(tiny_copy.raw / "splits_final.json", own)
    with pytest.raises(DatasetError, match=r"holds other folds than .*, which came with the data; move it away"):
        prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, tiny_request(tiny_copy))
    path = tiny_copy.preprocessed / "splits_final.json"
    path.unlink()
    for again in range(2):
        prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, tiny_request(tiny_copy))
        assert read_splits(path) == own, again
    write_splits(tiny_copy.raw / "splits_final.json", own[:2])
    path.unlink()
    with pytest.raises(DatasetError, match="has 2 folds, the plans ask for 3"):
        prepare_splits(tiny_copy.raw, tiny_copy.preprocessed, tiny_request(tiny_copy))


def test_label_maps_that_were_cut_short_are_copied_again(tmp_path):
    """nnU-Net copies what is older than its source alone; a half copy of a stopped run is younger."""
    raw, preprocessed = tmp_path / "raw", tmp_path / "preprocessed"
    for folder, sizes in ((raw / "labelsTr", (9, 9)), (preprocessed / "gt_segmentations", (9, 4))):
        folder.mkdir(parents=True)
        for case, size in zip("ab", sizes, strict=True):
            (folder / f"{case}.nii.gz").write_bytes(bytes(size))
    (preprocessed / "gt_segmentations" / "of_others.nii.gz").write_bytes(b"1")
    remove_half_copies(raw, preprocessed)
    left = sorted(p.name for p in (preprocessed / "gt_segmentations").iterdir())
    assert left == ["a.nii.gz", "of_others.nii.gz"]


def test_a_full_disk_leaves_no_half_plans_of_the_baseline(tmp_path, monkeypatch):
    from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner as planners

    def full(content, path, **options):
        Path(path).write_text("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(planners, "save_json", full)
    with pytest.raises(OSError, match="No space left"), run._written_whole():
        planners.save_json({"a": 1}, str(tmp_path / "plans.json"), sort_keys=False)
    assert list(tmp_path.iterdir()) == []
    assert planners.save_json is full
