"""`segment` and `measure` from Python, and that the documentation's examples run."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.tiny_portable import AFFINE, BOX_ML, boxes, painted, write_tiny_model

import paraspinal_nnunet
from paraspinal_nnunet import segment
from paraspinal_nnunet.errors import InputError, ProtocolError
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.image_io.nifti import write_image
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.portable import open_model
from paraspinal_nnunet.utils.zip import write_zip

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"
FAST = {"runtime": "onnxruntime", "threads": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def scan(tmp_path):
    write_image(tmp_path / "scan.nii.gz", painted(boxes()), AFFINE)
    return tmp_path / "scan.nii.gz"


def test_images_of_every_kind_give_the_same_labels(scan, model):
    loaded = nib.load(scan)
    given = {
        "path": scan,
        "text": str(scan),
        "nibabel": loaded,
        "pair": (np.asarray(loaded.dataobj), loaded.affine),
        "volume": read_image(scan),
        "SimpleITK": sitk.ReadImage(str(scan)),
    }
    for name, image in given.items():
        result = segment(image, model, **FAST)
        np.testing.assert_array_equal(result.labels, boxes(), err_msg=name)
        np.testing.assert_allclose(result.affine, AFFINE, atol=1e-5)
        assert result.case == ("scan" if name in ("path", "text") else "case")


def test_the_result_is_saved_and_measured(scan, model, tmp_path):
    result = segment(scan, model, **FAST)
    assert result.settings["model"] == "Dataset700_Tiny Tiny 2d"
    mask = read_labels(result.save(tmp_path / "mask.nii.gz"))
    np.testing.assert_array_equal(mask.array, result.labels)
    measures = result.measures(levels={"L4": 5})
    assert measures.case == "scan"
    np.testing.assert_allclose(measures.table()["volume_ml"], BOX_ML)
    assert set(measures.table("levels")["level"]) == {"L4"}
    with pytest.raises(InputError, match="masks are NIfTI"):
        result.save(tmp_path / "mask.mha")


def test_the_lines_for_slicers_console(model, tmp_path, monkeypatch):
    """The documentation's block as it stands, with a Slicer that keeps one volume and writes it as NRRD by ITK."""
    page = (DOCS / "predicting.md").read_text()
    (block,) = re.findall(r"```python\n(slicer\..*?)```", page, flags=re.DOTALL)
    lps = np.diag([-1.0, -1, 1, 1]) @ AFFINE
    volume = sitk.GetImageFromArray(painted(boxes()).transpose(2, 1, 0))
    volume.SetSpacing((1, 1, 4))
    volume.SetOrigin(lps[:3, 3].tolist())
    volume.SetDirection((lps[:3, :3] / (1, 1, 4)).ravel().tolist())
    loaded = []
    util = SimpleNamespace(pip_install=lambda _: None, saveNode=sitk.WriteImage, loadSegmentation=loaded.append)
    scene = SimpleNamespace(GetFirstNodeByClass={"vtkMRMLScalarVolumeNode": volume}.get)
    slicer = SimpleNamespace(util=util, mrmlScene=scene, app=SimpleNamespace(temporaryPath=str(tmp_path)))
    monkeypatch.setattr(paraspinal_nnunet, "segment", lambda path: segment(path, model, **FAST))
    exec(block, {"slicer": slicer})
    np.testing.assert_array_equal(read_labels(Path(loaded[0])).array, boxes())
    assert sitk.ReadImage(loaded[0]).GetMetaData("Segment0_Name") == "Multifidus right"


def test_models_may_be_archives_or_opened_once(scan, model, tmp_path):
    archive = tmp_path / "model.zip"
    write_zip(model, archive)
    np.testing.assert_array_equal(segment(scan, archive, **FAST).labels, boxes())
    opened = open_model(model, **FAST)
    result = segment(scan, opened, mode="fast")
    np.testing.assert_array_equal(result.labels, boxes())
    assert (result.settings["mode"], result.settings["runtime"]) == ("fast", "onnxruntime")
    with pytest.raises(InputError, match="chosen where the model is opened"):
        segment(scan, opened, threads=1)


def test_folds_clean_ups_and_refusals(model, tmp_path):
    labels = boxes()
    labels[1, 1, 1] = 1
    image = Volume(painted(labels), AFFINE)
    np.testing.assert_array_equal(segment(image, model, **FAST).labels, labels)
    np.testing.assert_array_equal(segment(image, model, post=("largest-component",), **FAST).labels, boxes())
    two = write_tiny_model(tmp_path / "two", ("0", "1"), shifts=(0.0, 0.2))
    unsure = segment(image, two, uncertainty=True, **FAST)
    assert unsure.disagreement["psoas_major_left"] == pytest.approx(1)
    assert "folds" in {flag.kind for flag in unsure.measures().flags}
    assert segment(image, two, folds=["0"], **FAST).disagreement is None
    for options, error in (({"post": ("smooth",)}, ProtocolError), ({"mode": "best"}, InputError)):
        with pytest.raises(error, match="unknown"):
            segment(image, model, **options)
    with pytest.raises(InputError, match="a list cannot be"):
        segment([1, 2], model)
    with pytest.raises(InputError, match="is no trained model"):
        segment(image, tmp_path)


def test_importing_the_package_is_cheap():
    assert {"segment", "measure"} <= set(dir(paraspinal_nnunet))
    code = "import sys, paraspinal_nnunet; print({'numpy', 'pandas', 'onnxruntime'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_examples_run(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(model)
    (tmp_path / "scans").mkdir()
    write_image(tmp_path / "scan.nii.gz", painted(boxes()), AFFINE)
    write_image(tmp_path / "scans" / "b.nii.gz", painted(boxes(), 1), AFFINE)
    found = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "python_api.md").read_text(encoding="utf-8"), re.DOTALL):
        exec(block, found)
    np.testing.assert_array_equal(found["result"].labels, boxes())
    assert found["measured"].structure("multifidus_right").volume_ml == pytest.approx(BOX_ML)
    assert [mask.name for mask in found["masks"]] == ["b.nii.gz"]
    assert (tmp_path / "masks" / "b.nii.gz").is_file()
