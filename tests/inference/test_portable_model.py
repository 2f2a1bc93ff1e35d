"""Portable models from file to labels: nnU-Net's labels in any orientation, tampered files refused, no torch needed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from helpers.command_line import paraspinal
from helpers.portable_models import (
    PLANES,
    STACK,
    export_portable,
    make_model,
    make_plans,
    nnunet_predictor,
    read_json,
    write_scan,
)

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import InputError, SetupError
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.inference.portable import is_portable, open_model
from paraspinal_nnunet.inference.portable.runtimes import load_runtime
from paraspinal_nnunet.models.manifest import FILE_NAME, check_files, read_manifest
from paraspinal_nnunet.utils.fingerprint import file_sha256
from paraspinal_nnunet.utils.zip import write_zip

RUNTIMES = ("onnxruntime", "openvino")
AXES = ("RAS", "LPS", "SAR")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two folds of a 2D network whose grid is not the scans'."""
    return make_model(tmp_path_factory.mktemp("trained"), make_plans(spacing=[5.0, 1.2, 1.2]), ("0", "1"), (0,))


@pytest.fixture(scope="module")
def portable(trained, tmp_path_factory):
    return export_portable(trained, tmp_path_factory.mktemp("portable") / "model")


@pytest.fixture
def copy(portable, tmp_path):
    return Path(shutil.copytree(portable, tmp_path / "copy"))


def nnunet_labels(model, scan, mask, **options):
    predictor = nnunet_predictor(model, **options)
    predictor.predict_from_files_sequential([[str(scan)]], [str(mask).removesuffix(".nii.gz")])
    return np.asarray(nib.load(mask).dataobj)


def runtime_or_skip(name):
    pytest.importorskip(name)
    return name


@pytest.mark.parametrize("axes", AXES)
def test_labels_are_nnunets(trained, portable, tmp_path, axes):
    scan = write_scan(tmp_path / "scan.nii.gz", axes)
    expected = nnunet_labels(trained, scan, tmp_path / "mask.nii.gz")
    assert len(np.unique(expected)) > 2
    volume = read_image(scan)
    for runtime in RUNTIMES:
        found = open_model(portable, runtime=runtime_or_skip(runtime), threads=2).segment(volume)
        assert found.labels.shape == expected.shape
        assert found.labels.dtype == np.uint8
        assert (found.labels != expected).mean() <= 1e-4
        np.testing.assert_array_equal(found.affine, volume.affine)


def test_a_shorter_type_is_used_only_where_it_is_allowed(portable):
    openvino = pytest.importorskip("openvino")
    content = (portable / "fold_0.onnx").read_bytes()
    runtime = load_runtime([content], runtime="openvino", threads=1, device="cpu", parallel=True, where="made")
    patch = np.random.default_rng(0).normal(size=(1, 1, 64, 64)).astype(np.float32)
    before, short, after = (
        next(runtime.stream([(0, patch)], short=allowed)).copy() for allowed in (False, True, False)
    )
    np.testing.assert_array_equal(before, after)
    largest = np.abs(before).max()
    assert np.abs(short - before).max() < 0.05 * largest  # bfloat16 keeps 8 bits
    short_here = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT") != openvino.Type.f32
    assert (short != before).any() == short_here


def test_every_option_changes_what_it_says(trained, portable, tmp_path):
    scan = write_scan(tmp_path / "scan.nii.gz")
    volume, model = read_image(scan), open_model(portable, threads=1)
    plain = model.segment(volume).labels
    changed = {
        "step_size": (model.segment(volume, step_size=0.25).labels, {"step_size": 0.25}),
        "mirroring": (model.segment(volume, mirroring=False).labels, {"mirroring": False}),
    }
    for name, (labels, options) in changed.items():
        assert (labels != plain).any(), name
        expected = nnunet_labels(trained, scan, tmp_path / f"{name}.nii.gz", **options)
        assert (labels != expected).mean() <= 1e-4
    assert (open_model(portable, folds=["1"]).segment(volume).labels != plain).any()
    assert model.segment(volume, mode="fast").labels.shape == plain.shape
    assert model.segment(volume).disagreement is None
    assert open_model(portable, folds=["0"]).segment(volume, uncertainty=True).disagreement is None


def test_disagreement_is_one_minus_dice_between_folds(copy, tmp_path):
    """On the network's grid, which is made the scan's here."""
    manifest = read_json(copy / FILE_NAME)
    _change(copy, preprocessing=manifest["preprocessing"] | {"spacing_mm": [4.0, 1.0, 1.0]})
    folder = copy
    volume = read_image(write_scan(tmp_path / "scan.nii.gz"))
    both = open_model(folder).segment(volume, uncertainty=True)
    a, b = (open_model(folder, folds=[fold]).segment(volume).labels for fold in "01")
    for label, key in enumerate(both.disagreement, start=1):
        dice = 2 * ((a == label) & (b == label)).sum() / ((a == label).sum() + (b == label).sum())
        assert both.disagreement[key] == pytest.approx(1 - dice)
    assert next(iter(both.disagreement)) == "multifidus_right"


def test_labels_come_in_canonical_values(copy, portable, tmp_path):
    """A model that numbers its classes otherwise gives the anatomy's values all the same."""
    volume = read_image(write_scan(tmp_path / "scan.nii.gz"))
    plain = open_model(portable).segment(volume).labels
    manifest = read_json(copy / FILE_NAME)
    for label, key in zip(manifest["labels"], ("psoas_major_left", "multifidus_right"), strict=False):
        label["key"] = key
    (copy / FILE_NAME).write_text(json.dumps(manifest))
    other = open_model(copy).segment(volume).labels
    np.testing.assert_array_equal(other, np.array([0, 6, 1, 3, 4], np.uint8)[plain])
    manifest["labels"][0]["key"] = "liver"
    (copy / FILE_NAME).write_text(json.dumps(manifest))
    np.testing.assert_array_equal(open_model(copy).segment(volume).labels, plain)


@pytest.mark.parametrize(
    ("configuration", "architecture", "patch"), [("2.5d", STACK, [5, 16, 24]), ("2.5d_orthogonal", PLANES, [8, 16, 24])]
)
def test_networks_of_stacks_give_nnunets_labels(configuration, architecture, patch, tmp_path):
    model = make_model(tmp_path, make_plans(configuration, architecture=architecture, patch_size=patch))
    folder = export_portable(model, tmp_path / "model")
    scan = write_scan(tmp_path / "scan.nii.gz", "LPS")
    expected = nnunet_labels(model, scan, tmp_path / "mask.nii.gz")
    for runtime in RUNTIMES:
        opened = open_model(folder, runtime=runtime_or_skip(runtime))
        assert (opened.segment(read_image(scan)).labels != expected).mean() <= 1e-4
        opened.segment(read_image(scan), mode="fast")


def test_the_manifest_has_the_schema_of_other_formats(portable):
    manifest = read_manifest(portable)
    assert (manifest.format, manifest.folds, manifest.configuration) == ("onnx", ("0", "1"), "2d")
    assert [entry.path for entry in manifest.files] == ["fold_0.onnx", "fold_1.onnx"]
    check_files(portable, manifest, exact=True)


def test_archives_and_folders_are_recognised(portable, tmp_path):
    archive = tmp_path / "model.zip"
    write_zip(portable, archive)
    assert is_portable(portable)
    assert is_portable(archive)
    assert open_model(archive).folds == ("0", "1")
    (tmp_path / "noise.zip").write_bytes(b"PK noise")
    assert not any(is_portable(p) for p in (tmp_path, tmp_path / "absent", tmp_path / "noise.zip"))


def _rehash(folder, name):
    manifest = read_json(folder / FILE_NAME)
    for entry in manifest["files"]:
        if entry["path"] == name:
            entry |= {"size_bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
    (folder / FILE_NAME).write_text(json.dumps(manifest))


def _change(folder, **values):
    (folder / FILE_NAME).write_text(json.dumps(read_json(folder / FILE_NAME) | values))


def _flip_a_byte(folder):
    path = folder / "fold_1.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _write(name, content):
    def write(folder):
        (folder / name).write_bytes(content)
        _rehash(folder, name)

    return write


def _refer_outside(folder):
    import onnx

    network = onnx.load(folder / "fold_0.onnx")
    onnx.save(network, folder / "fold_0.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    _rehash(folder, "fold_0.onnx")


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (_flip_a_byte, r"fold_1\.onnx: is not the file that the manifest describes"),
        (lambda f: (f / "fold_0.onnx").unlink(), r"fold_0\.onnx: is missing"),
        (lambda f: (f / FILE_NAME).write_text("{"), "is not valid JSON"),
        (lambda f: _change(f, schema="other"), "is no manifest"),
        (lambda f: _change(f, format="nnunet"), "a model of format 'nnunet', not 'onnx'"),
        (lambda f: _change(f, preprocessing={}), "preprocessing '.*' is missing"),
        (lambda f: _change(f, folds=["0", "1", "2"]), r"does not name fold_2\.onnx"),
        (lambda f: _change(f, labels=read_json(f / FILE_NAME)["labels"][1:]), "are not consecutive"),
        (_write("fold_0.onnx", b"no network"), "the network cannot be run"),
        (_write("fold_0.onnx", b"\x80\x04cos\nsystem\n(S'false'\ntR."), "the network cannot be run"),
        (_refer_outside, "refers to files outside the model"),
    ],
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_tampered_models_are_refused_in_one_line(copy, tamper, said, runtime):
    tamper(copy)
    with pytest.raises(InputError, match=said) as caught:
        open_model(copy, runtime=runtime_or_skip(runtime))
    assert "\n" not in str(caught.value)


def test_a_network_with_other_classes_is_refused(copy, tmp_path):
    _change(copy, labels=read_json(copy / FILE_NAME)["labels"][:-1])
    volume = read_image(write_scan(tmp_path / "scan.nii.gz"))
    with pytest.raises(InputError, match="the network gives 5 classes, not 4"):
        open_model(copy).segment(volume)


def test_unknown_options_are_refused(portable, tmp_path):
    for options, said in (
        ({"folds": ["7"]}, "holds no fold 7, only 0, 1"),
        ({"runtime": "tensorrt"}, "runtime 'tensorrt' is unknown"),
        ({"threads": 0}, "0 threads"),
        ({"device": "mps"}, "on cuda or cpu, not on 'mps'"),
    ):
        with pytest.raises(InputError, match=said):
            open_model(portable, **options)
    volume = read_image(write_scan(tmp_path / "scan.nii.gz"))
    for options, said in (({"mode": "slow"}, "mode 'slow' is unknown"), ({"step_size": 1.5}, "a step of 1.5")):
        with pytest.raises(InputError, match=said):
            open_model(portable).segment(volume, **options)
    if not _has_gpu_build():
        with pytest.raises(SetupError, match="no GPU build of ONNX Runtime"):
            open_model(portable, device="cuda")


def _has_gpu_build():
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


BLOCKED = ("torch", "monai", "nnunetv2", "batchgenerators", "acvl_utils", "onnx", "skimage")


def test_the_command_predicts_where_torch_cannot_be_imported(trained, portable, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    scan = write_scan(scans / "a_0000.nii.gz", "LPS")
    (scans / "b.nii.gz").write_bytes(b"no scan")
    blocked = tmp_path / "blocked"
    for name in BLOCKED:
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text(f"raise ImportError('{name} must not be imported')\n")
    command = paraspinal("predict", "-i", scans, "-o", tmp_path / "masks", "-m", portable, "--threads", "1")
    paths = [str(blocked), str(Path(__file__).resolve().parents[2])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert done.stdout.split() == [str(tmp_path / "masks" / "a.nii.gz")]
    assert "1 of 2 scans failed: b.nii.gz" in done.stderr
    assert sorted(p.name for p in (tmp_path / "masks").glob("*.nii.gz")) == ["a.nii.gz"]
    expected = nnunet_labels(trained, scan, tmp_path / "mask.nii.gz")
    assert (read_labels(tmp_path / "masks" / "a.nii.gz").array != expected).mean() <= 1e-4


def test_importing_pulls_nothing_heavy():
    code = (
        "import sys, paraspinal_nnunet.inference.portable, paraspinal_nnunet.prediction\n"
        "heavy = {'torch', 'monai', 'nnunetv2', 'pandas', 'scipy.ndimage', 'onnxruntime', 'openvino', 'SimpleITK'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_is_there_is_kept_and_flags_reach_the_model(portable, tmp_path, capsys):
    scan = write_scan(tmp_path / "a.nii.gz")
    masks = tmp_path / "masks"
    command = ["predict", "-i", str(scan), "-o", str(masks), "-m", str(portable), "--threads", "1"]
    command += ["--no-measures", "--no-pages"]
    found = {}
    for name, flags in (
        ("plain", []),
        ("fold", ["-f", "1"]),
        ("step", ["-step_size", "0.25"]),
        ("tta", ["--disable_tta"]),
        ("fast", ["--mode", "fast"]),
        ("runtime", ["--runtime", "onnxruntime"]),
    ):
        assert main([*command, *flags, *([] if name == "plain" else ["--overwrite"])]) == 0
        found[name] = read_labels(masks / "a.nii.gz").array
    assert all((found[name] != found["plain"]).any() for name in ("fold", "step", "tta"))
    before = (masks / "a.nii.gz").stat().st_mtime_ns
    assert main([*command, "--runtime", "onnxruntime"]) == 0  # as it was made last
    assert (masks / "a.nii.gz").stat().st_mtime_ns == before
    assert capsys.readouterr().out.split() == [str(masks / "a.nii.gz")] * 7
