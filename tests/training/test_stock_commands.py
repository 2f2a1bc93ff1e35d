"""nnU-Net's own commands from a shell that ran `eval "$(paraspinal env)"`, from planning to prediction."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="the shell lines are for POSIX shells")]

STOCK = Path(sys.executable).parent
OURS = f"{sys.executable} -m paraspinal_nnunet"
SETTINGS = (
    "spacing=15.625,3.12,3.12 patch_size=32,48 3d_fullres.patch_size=16,48,48 batch_size=4 crops_per_case=2 "
    "3d_fullres.batch_size=2 3d_fullres.crops_per_case=1 iterations=12 iterations_per_epoch=1 val_iterations=1 "
    "micro_batch_size=3 threads=1"
)
TRAINER, PLANS = "nnUNetTrainerParaspinal", "Stock"
MODEL = f"{TRAINER}__{PLANS}__2d"


class Shell:
    """Runs commands after the shell lines of `paraspinal env`, in folders of its own."""

    def __init__(self, root, name):
        self.name = name
        self.preprocessed, self.results = root / "preprocessed" / name, root / "results" / name
        self.environment = {
            **os.environ,
            **{f"nnUNet_{part}": str(root / part) for part in ("raw", "preprocessed", "results")},
            "nnUNet_def_n_proc": "1",
            "nnUNet_n_proc_DA": "0",
            "OMP_NUM_THREADS": "2",
        }

    def start(self, command, **environment):
        return subprocess.Popen(
            ["bash", "-c", f'eval "$({OURS} env 2>/dev/null)"; exec {command}'],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, command, code=0, **environment):
        process = self.start(command, **environment)
        out, error = process.communicate(timeout=300)
        assert process.returncode == code, f"{command}\n{out[-2000:]}\n{error[-3000:]}"
        return out, error


@pytest.fixture(scope="module")
def shell(tiny_original, tmp_path_factory):
    root = tmp_path_factory.mktemp("stock")
    for part in ("raw", "preprocessed", "results", "results2"):
        (root / part).mkdir()
    shutil.copytree(tiny_original.raw, root / "raw" / tiny_original.name)
    shell = Shell(root, tiny_original.name)
    shell.run(f"{OURS} plan -d 501 -np 1 -p {PLANS} --set {SETTINGS}")
    return shell


def digest(fold_folder):
    weights = torch.load(fold_folder / "checkpoint_final.pth", weights_only=False)["network_weights"]
    return hashlib.sha256(b"".join(name.encode() + w.numpy().tobytes() for name, w in weights.items())).hexdigest()


@pytest.fixture(scope="module")
def killed_and_continued(shell):
    """Fold 0 trained by the stock command, killed in the middle and continued with --c."""
    train = f"{STOCK}/nnUNetv2_train 501 2d 0 -tr {TRAINER} -p {PLANS} -device cpu"
    folder = shell.results / MODEL / "fold_0"
    process = shell.start(train)
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint_latest.pth").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert (folder / "checkpoint_latest.pth").exists()
    assert not (folder / "checkpoint_final.pth").exists()
    shell.run(f"{train} --c")
    return folder


def test_a_killed_stock_training_ends_in_the_same_weights_as_ours(shell, killed_and_continued):
    other = shell.results.parent.parent / "results2"
    shell.run(f"{OURS} train -d 501 -c 2d -f 0 -p {PLANS} -device cpu", nnUNet_results=str(other))
    ours = other / shell.name / MODEL / "fold_0"
    assert digest(ours) == digest(killed_and_continued)
    for folder in (ours, killed_and_continued):
        assert not list(folder.glob("checkpoint_[bl]*"))
        splits = json.loads((shell.preprocessed / "splits_final.json").read_text())
        masks = sorted(p.name.removesuffix(".nii.gz") for p in (folder / "validation").glob("*.nii.gz"))
        assert masks == splits[0]["val"]
        assert (folder / "validation" / "summary.json").is_file()


def test_validation_alone(shell, killed_and_continued):
    masks = {p.name: p.read_bytes() for p in (killed_and_continued / "validation").glob("*.nii.gz")}
    for name in masks:
        (killed_and_continued / "validation" / name).unlink()
    out, _ = shell.run(f"{STOCK}/nnUNetv2_train 501 2d 0 -tr {TRAINER} -p {PLANS} -device cpu --val")
    assert "Mean Validation Dice" in out
    assert {p.name for p in (killed_and_continued / "validation").glob("*.nii.gz")} == set(masks)


def test_stock_prediction_follows_the_stored_orientation(shell, killed_and_continued, tiny_original, tmp_path):
    scan = nib.load(tiny_original.raw / "imagesTr" / "sub-002_0000.nii.gz")
    for part in ("scans", "masks", "ours"):
        (tmp_path / part).mkdir()
    for axes in ("RAS", "LAS", "LPI"):
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(scan.affine), nib.orientations.axcodes2ornt(axes)
        )
        nib.save(scan.as_reoriented(turn), tmp_path / "scans" / f"{axes}_0000.nii.gz")
    shell.run(
        f"{STOCK}/nnUNetv2_predict -i {tmp_path}/scans -o {tmp_path}/masks -d 501 -c 2d -f 0 -tr {TRAINER} -p {PLANS} "
        "-device cpu -npp 1 -nps 1"
    )
    model = killed_and_continued.parent
    shell.run(f"{OURS} predict -i {tmp_path}/scans -o {tmp_path}/ours -m {model} -f 0 -device cpu")
    expected = np.asarray(nib.load(tmp_path / "masks" / "RAS.nii.gz").dataobj)
    assert expected.any()
    for axes in ("RAS", "LAS", "LPI"):
        stock, ours = (nib.load(tmp_path / part / f"{axes}.nii.gz") for part in ("masks", "ours"))
        assert nib.aff2axcodes(stock.affine) == tuple(axes)
        np.testing.assert_array_equal(np.asarray(nib.as_closest_canonical(stock).dataobj), expected)
        np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(stock.dataobj))


def test_3d_in_stock_commands(shell):
    shell.run(f"{STOCK}/nnUNetv2_train 501 3d_fullres 1 -tr {TRAINER}Deep -p {PLANS} -device cpu")
    folder = shell.results / f"{TRAINER}Deep__{PLANS}__3d_fullres" / "fold_1"
    assert (folder / "checkpoint_final.pth").is_file()
    assert json.loads((folder / "validation" / "summary.json").read_text())["foreground_mean"]["Dice"] >= 0


def test_the_baseline_on_the_same_folds(shell):
    shell.run(
        f"{OURS} plan -d 501 -c 2d -np 1 -p StockBase --baseline --set iterations=3 iterations_per_epoch=2 "
        "val_iterations=1 threads=2"
    )
    shell.run(f"{STOCK}/nnUNetv2_train 501 2d 0 -tr nnUNetTrainerBaseline -p StockBase -device cpu")
    folder = shell.results / "nnUNetTrainerBaseline__StockBase__2d" / "fold_0"
    weights = torch.load(folder / "checkpoint_final.pth", weights_only=False)
    assert weights["current_epoch"] == 2
    splits = json.loads((shell.preprocessed / "splits_final.json").read_text())
    assert len(splits) == 3
    masks = sorted(p.name.removesuffix(".nii.gz") for p in (folder / "validation").glob("*.nii.gz"))
    assert masks == splits[0]["val"]


def test_a_refusal_ends_the_stock_command_with_one_line(shell):
    _, error = shell.run(f"{STOCK}/nnUNetv2_train 501 2d 3 -tr {TRAINER} -p {PLANS} -device cpu", code=1)
    assert error.strip().splitlines()[-1] == f"{TRAINER}: there is no fold 3; choose 0 to 2 or 'all'"
    assert "Traceback" not in error
