"""Left stays left: every stored orientation, straight and oblique, through each way of predicting."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.command_line import paraspinal
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes, apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from scipy.spatial.transform import Rotation

from paraspinal_nnunet.image_io.geometry import grid_difference, to_ras

ORIENTATIONS = [
    "".join(signs)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for signs in itertools.product(*(tuple(a) for a in axes))
]
MASKS_ALONE = ("--no-measures", "--no-pages")
LARGEST_TILT = 30
"""Degrees; three turns of this size keep every axis nearest to its own."""


def stored_as(array, affine, codes):
    """The same voxels at the same places, stored in another order."""
    transform = ornt_transform(nib.orientations.io_orientation(affine), axcodes2ornt(codes))
    return apply_orientation(array, transform), affine @ inv_ornt_aff(transform, array.shape)


def tilted(affine, degrees):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return turn @ affine


tilts = st.tuples(*[st.floats(-LARGEST_TILT, LARGEST_TILT)] * 3)


@given(codes=st.sampled_from(ORIENTATIONS), degrees=tilts, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_nnunets_reader_for_our_plans_sees_ras_and_writes_back_to_the_grid(tmp_path_factory, codes, degrees, seed):
    reader_writer = pytest.importorskip("nnunetv2.imageio.nibabel_reader_writer").NibabelIOWithReorient()
    folder = tmp_path_factory.mktemp("turned")
    rng = np.random.default_rng(seed)
    voxels = rng.integers(0, 6, tuple(rng.integers(3, 7, 3))).astype(np.int16)
    affine = tilted(np.diag([*rng.uniform(0.3, 6, 3), 1]), degrees)
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    array, stored_affine = stored_as(voxels, affine, codes)
    nib.save(nib.Nifti1Image(array, stored_affine), folder / "scan.nii.gz")
    scan = nib.load(folder / "scan.nii.gz")
    seen, properties = reader_writer.read_images([str(folder / "scan.nii.gz")])
    in_ras, _ = to_ras(np.asarray(scan.dataobj), scan.affine)
    np.testing.assert_array_equal(seen[0], in_ras.T)
    reader_writer.write_seg(seen[0].astype(np.uint8), str(folder / "mask.nii.gz"), properties)
    mask = nib.load(folder / "mask.nii.gz")
    assert grid_difference(mask.shape, mask.affine, scan.shape, scan.affine) is None
    assert aff2axcodes(mask.affine) == aff2axcodes(scan.affine)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(scan.dataobj))


@pytest.fixture(scope="module")
def turned(tiny_original, tmp_path_factory):
    """One scan in all 48 stored orientations, every second one tilted; (folder, the voxels in RAS)."""
    folder = tmp_path_factory.mktemp("turned")
    whole = nib.as_closest_canonical(nib.load(tiny_original.raw / "imagesTr" / "sub-001_0000.nii.gz"))
    scan = whole.slicer[8:48, 10:56, 4:9]
    voxels = np.asarray(scan.dataobj)
    rng = np.random.default_rng(7)
    for number, codes in enumerate(ORIENTATIONS):
        degrees = rng.uniform(-LARGEST_TILT, LARGEST_TILT, 3) * (number % 2)
        array, affine = stored_as(voxels, tilted(scan.affine, degrees), codes)
        nib.save(nib.Nifti1Image(array, affine), folder / f"{codes}_0000.nii.gz")
    return folder, voxels


@pytest.fixture(scope="module")
def model(tiny_original, tmp_path_factory, thread_pool_context):
    """A network after one step, patches of whole slices: fine patterns of many classes, in which any flip shows."""
    pytest.importorskip("torch")
    pytest.importorskip("nnunetv2")
    from paraspinal_nnunet.planning.run import PlanRequest, plan
    from paraspinal_nnunet.protocol.overrides import parse_settings
    from paraspinal_nnunet.training.run import TrainingRequest, train

    dataset = type(tiny_original)(tmp_path_factory.mktemp("laterality") / "tiny")
    shutil.copytree(tiny_original.root, dataset.root)
    wanted = ["spacing=15.625,3.12,3.12", "2d.patch_size=64,64", "batch_size=2", "iterations=1", "val_iterations=1"]
    with pytest.MonkeyPatch.context() as patch, thread_pool_context():
        for variable, folder in dataset.variables().items():
            patch.setenv(variable, folder)
        patch.setenv("nnUNet_n_proc_DA", "0")
        for variable in ("nnUNet_extTrainer", "PYTHONPATH"):
            patch.setenv(variable, os.environ.get(variable, ""))
        overrides = parse_settings([*wanted, "iterations_per_epoch=1"])
        plan(PlanRequest(501, configurations=("2d",), plans_name="Whole", overrides=overrides, processes=1))
        yield Path(train(TrainingRequest(501, "2d", 0, "nnUNetTrainerParaspinal", "Whole", device="cpu")))


def stock_command(scans, masks, model, tmp_path):
    """nnU-Net's own command, on an exported model: it needs none of our environment variables."""
    from paraspinal_nnunet.export.run import ExportRequest, export

    exported = export(ExportRequest(model, tmp_path / "exported"))
    return [
        *(Path(sys.executable).parent / "nnUNetv2_predict_from_modelfolder", "-i", scans, "-o", masks, "-m", exported),
        *("-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1"),
    ]


def our_command(scans, masks, model, tmp_path):
    return paraspinal("predict", "-i", scans, "-o", masks, "-m", model, "-device", "cpu", *MASKS_ALONE)


def portable_model(scans, masks, model, tmp_path):
    from paraspinal_nnunet.export.run import ExportRequest, export

    pytest.importorskip("onnxruntime")
    exported = export(ExportRequest(model, tmp_path / "portable", format="onnx"))
    return paraspinal("predict", "-i", scans, "-o", masks, "-m", exported, *MASKS_ALONE)


@pytest.mark.slow
@pytest.mark.parametrize("way", [stock_command, our_command, portable_model])
def test_masks_follow_the_scan_into_all_48_orientations(way, turned, model, tmp_path):
    scans, voxels = turned
    masks = tmp_path / "masks"
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "nnUNet_def_n_proc": "1"}
    command = [str(word) for word in way(scans, masks, model, tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{result.stdout[-1500:]}\n{result.stderr[-3000:]}"
    expected = None
    for codes in ORIENTATIONS:
        mask, scan = nib.load(masks / f"{codes}.nii.gz"), nib.load(scans / f"{codes}_0000.nii.gz")
        assert grid_difference(mask.shape, mask.affine, scan.shape, scan.affine) is None, codes
        assert aff2axcodes(mask.affine) == tuple(codes)
        in_ras, _ = to_ras(np.asarray(mask.dataobj), mask.affine)
        expected = in_ras if expected is None else expected
        np.testing.assert_array_equal(in_ras, expected, err_msg=codes)
    assert expected.shape == voxels.shape
    assert len(np.unique(expected)) > 2
    assert not np.array_equal(expected, expected[::-1])
