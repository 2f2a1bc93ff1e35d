"""nnU-Net's commands after training, run on three-fold models of ours from a shell that knows nothing of our trainers.

The commands are those of docs/reference/stock_commands.md.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from paraspinal_nnunet.nnunet.compat import fixed_python_path, trainer_path

pytestmark = pytest.mark.slow

TRAINER = "nnUNetTrainerParaspinal"
PLANS = "Whole"
SETTINGS = (
    "spacing=15.625,3.12,3.12",
    "patch_size=64,64",
    "3d_fullres.patch_size=16,64,64",
    "batch_size=2",
    "3d_fullres.batch_size=1",
    "iterations=3",
    "iterations_per_epoch=3",
    "val_iterations=1",
)
"""Patches of whole slices: validation then takes one tile instead of nine."""

CONFIGURATIONS = ("2d", "3d_fullres")
FOLDS = (0, 1, 2)
PREDICTION = ("-device", "cpu", "-npp", 1, "-nps", 1)


class Shell:
    """Runs nnU-Net's commands in folders of its own; with our trainers in sight only where asked."""

    def __init__(self, dataset, models):
        self.dataset, self.models = dataset, models

    def run(self, command, *arguments, plugin=False, **variables):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("nnUNet_") and k != "PYTHONPATH"}
        found = {"nnUNet_extTrainer": trainer_path({}), "PYTHONPATH": fixed_python_path({})} if plugin else {}
        environment = {**kept, **self.dataset.variables(), "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "2", **found}
        result = subprocess.run(
            [Path(sys.executable).parent / command, *map(str, arguments)],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout[-1500:]}\n{result.stderr[-3000:]}"
        return result.stdout


@pytest.fixture(scope="module")
def shell(tiny_original, tmp_path_factory, thread_pool_context):
    from paraspinal_nnunet.planning.run import PlanRequest, plan
    from paraspinal_nnunet.protocol.overrides import parse_settings
    from paraspinal_nnunet.training.run import TrainingRequest, train

    dataset = type(tiny_original)(tmp_path_factory.mktemp("stock") / "tiny")
    shutil.copytree(tiny_original.root, dataset.root)
    models = {}
    with pytest.MonkeyPatch.context() as patch, thread_pool_context():
        for variable, folder in dataset.variables().items():
            patch.setenv(variable, folder)
        patch.setenv("nnUNet_n_proc_DA", "0")
        for variable in ("nnUNet_extTrainer", "PYTHONPATH"):
            patch.setenv(variable, os.environ.get(variable, ""))
        plan(PlanRequest(501, plans_name=PLANS, overrides=parse_settings(list(SETTINGS)), processes=1))
        for configuration in CONFIGURATIONS:
            for fold in FOLDS:
                request = TrainingRequest(
                    501, configuration, fold, TRAINER, PLANS, device="cpu", keep_probabilities=True
                )
                models[configuration] = train(request)
    return Shell(dataset, models)


@pytest.fixture(scope="module")
def best(shell):
    """The output of nnUNetv2_find_best_configuration, which later commands build on."""
    return shell.run(
        "nnUNetv2_find_best_configuration", 501, "-c", *CONFIGURATIONS, "-f", *FOLDS, "-tr", TRAINER, "-p", PLANS
    )


@pytest.fixture(scope="module")
def scans(shell, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    scan = nib.load(shell.dataset.raw / "imagesTr" / "sub-001_0000.nii.gz")
    nib.save(scan.slicer[8:56, 12:52, 4:8], folder / "new_0000.nii.gz")
    return folder


def labels(folder):
    return {p.name: np.asanyarray(nib.load(p).dataobj) for p in folder.glob("*.nii.gz")}


def test_best_configuration_is_found_over_our_three_folds(shell, best):
    information = json.loads((shell.dataset.results / shell.dataset.name / "inference_information.json").read_text())
    names = [f"{TRAINER}__{PLANS}__{c}" for c in CONFIGURATIONS]
    ensemble = f"ensemble___{'___'.join(names)}___0_1_2"
    assert set(information["all_results"]) == {*names, ensemble}
    assert information["folds"] == list(FOLDS)
    assert "*Best*" in best
    for configuration in CONFIGURATIONS:
        merged = shell.models[configuration] / "crossval_results_folds_0_1_2"
        assert sorted(labels(merged)) == [f"sub-00{n}.nii.gz" for n in range(1, 7)]


def test_models_travel_by_the_stock_archive(shell, best, scans, tmp_path):
    archive = tmp_path / "stock.zip"
    shell.run(
        "nnUNetv2_export_model_to_zip",
        *("-d", 501, "-o", archive, "-c", "2d", "-f", *FOLDS, "-tr", TRAINER, "-p", PLANS),
    )
    elsewhere = tmp_path / "results"
    elsewhere.mkdir()
    shell.run("nnUNetv2_install_pretrained_model_from_zip", archive, nnUNet_results=str(elsewhere))
    arguments = ("-i", scans, "-d", 501, "-c", "2d", "-f", *FOLDS, "-tr", TRAINER, "-p", PLANS, *PREDICTION)
    shell.run("nnUNetv2_predict", "-o", tmp_path / "here", *arguments, plugin=True)
    shell.run("nnUNetv2_predict", "-o", tmp_path / "there", *arguments, plugin=True, nnUNet_results=str(elsewhere))
    here, there = labels(tmp_path / "here"), labels(tmp_path / "there")
    assert here.keys() == there.keys() == {"new.nii.gz"}
    assert np.array_equal(here["new.nii.gz"], there["new.nii.gz"])


def test_ensemble_and_postprocessing(shell, best, scans, tmp_path):
    for configuration in CONFIGURATIONS:
        shell.run(
            "nnUNetv2_predict",
            *("-i", scans, "-o", tmp_path / configuration, "-d", 501, "-c", configuration, "-f", *FOLDS),
            *("-tr", TRAINER, "-p", PLANS, "-step_size", 0.75, "--save_probabilities", *PREDICTION),
            plugin=True,
        )
    shell.run("nnUNetv2_ensemble", "-i", *(tmp_path / c for c in CONFIGURATIONS), "-o", tmp_path / "ensemble", "-np", 1)
    probabilities = [np.load(tmp_path / c / "new.npz")["probabilities"] for c in CONFIGURATIONS]
    expected = np.mean(probabilities, axis=0, dtype=np.float32).argmax(0)
    mask = nib.as_closest_canonical(nib.load(tmp_path / "ensemble" / "new.nii.gz"))
    assert np.array_equal(np.asanyarray(mask.dataobj).T, expected)  # probabilities are RAS and (class, z, y, x)
    best_folder = next(shell.dataset.results.rglob("postprocessing.pkl")).parent
    shell.run(
        "nnUNetv2_apply_postprocessing",
        *("-i", tmp_path / "ensemble", "-o", tmp_path / "final", "-pp_pkl_file", best_folder / "postprocessing.pkl"),
        *("-plans_json", best_folder / "plans.json", "-dataset_json", best_folder / "dataset.json", "-np", 1),
    )
    assert labels(tmp_path / "final").keys() == {"new.nii.gz"}


def test_exported_models_can_be_ensembled_too(shell, scans, tmp_path):
    from paraspinal_nnunet.export.run import ExportRequest, export

    for configuration in CONFIGURATIONS:
        model = export(ExportRequest(shell.models[configuration], tmp_path / "models" / configuration))
        shell.run(
            "nnUNetv2_predict_from_modelfolder",
            *("-i", scans, "-o", tmp_path / configuration, "-m", model, "-f", *FOLDS),
            *("--save_probabilities", *PREDICTION),
        )
    shell.run("nnUNetv2_ensemble", "-i", *(tmp_path / c for c in CONFIGURATIONS), "-o", tmp_path / "ensemble", "-np", 1)
    assert labels(tmp_path / "ensemble").keys() == {"new.nii.gz"}


@pytest.fixture(scope="module")
def residual_plans(shell):
    """nnU-Net's residual-encoder plans of the same data, preprocessed."""
    shell.run("nnUNetv2_plan_experiment", "-d", 501, "-pl", "nnUNetPlannerResEncM")
    shell.run("nnUNetv2_preprocess", "-d", 501, "-plans_name", "nnUNetResEncUNetMPlans", "-c", "2d", "-np", 1)
    return shell.dataset.preprocessed / "nnUNetResEncUNetMPlans.json"


def test_residual_encoder_plans_share_the_folds(shell, residual_plans):
    plans = json.loads(residual_plans.read_text())
    name = plans["configurations"]["2d"]["architecture"]["network_class_name"]
    assert name == "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    assert plans["image_reader_writer"] == "NibabelIOWithReorient"
    assert len(list((shell.dataset.preprocessed / plans["configurations"]["2d"]["data_identifier"]).glob("*.pkl"))) == 6
    splits = json.loads((shell.dataset.preprocessed / "splits_final.json").read_text())
    assert [sorted(fold["val"]) for fold in splits] == [
        sorted(p.name.removesuffix(".nii.gz") for p in (shell.models["2d"] / f"fold_{n}" / "validation").glob("*.gz"))
        for n in FOLDS
    ]


def test_a_residual_encoder_is_trained_on_our_folds_and_compared(shell, residual_plans, tmp_path):
    """Stock plans with the length of the baseline in them; a fold's test cases are the same as ours."""
    from paraspinal_nnunet.cli import main
    from paraspinal_nnunet.protocol.plans import BASELINE_ENTRY

    plans = json.loads(residual_plans.read_text())
    plans[BASELINE_ENTRY] = {"iterations": 2, "iterations_per_epoch": 2, "val_iterations": 1}
    numbers = plans["configurations"]["2d"] | {"batch_size": 2, "patch_size": [64, 64]}
    plans["configurations"]["2d"] = numbers
    residual_plans.with_name("ShortResEnc.json").write_text(json.dumps(plans | {"plans_name": "ShortResEnc"}))
    other = "nnUNetTrainerBaselineNoMirroring"
    arguments = (501, "2d", 0, "-tr", other, "-p", "ShortResEnc", "-device", "cpu")
    shell.run("nnUNetv2_train", *arguments, plugin=True, nnUNet_n_proc_DA="0")
    model = shell.dataset.results / shell.dataset.name / f"{other}__ShortResEnc__2d"
    pairs = [
        f"{name}={at / 'fold_0' / 'validation'}" for name, at in (("residual", model), ("paper", shell.models["2d"]))
    ]
    reference, output = str(shell.dataset.raw), str(tmp_path / "evaluation")
    assert main(["evaluate", "-ref", reference, "-o", output, "--pred", *pairs, "--subset"]) == 0
    rows = (tmp_path / "evaluation" / "metrics.tsv").read_text().splitlines()[1:]
    assert {row.split("\t")[0] for row in rows} == {"residual", "paper"}
    assert len(rows) == 2 * 2 * 6  # models, test cases of fold 0, muscles


def test_overlays_of_raw_and_preprocessed_cases_are_drawn(shell, tmp_path):
    from PIL import Image

    shell.run("nnUNetv2_plot_overlay_pngs", "-d", 501, "-o", tmp_path / "raw", "-np", 1, "--use_raw")
    shell.run("nnUNetv2_plot_overlay_pngs", "-d", 501, "-o", tmp_path / "made", "-np", 1, "-p", PLANS, "-c", "2d")
    for part in ("raw", "made"):
        pictures = sorted((tmp_path / part).glob("*.png"))
        assert [p.name for p in pictures] == [f"sub-00{n}.png" for n in range(1, 7)]
        drawn = np.asarray(Image.open(pictures[0]).convert("RGB")).reshape(-1, 3).astype(int)
        assert (np.ptp(drawn, axis=1) > 60).any()  # grey is the scan, colours are the muscles
