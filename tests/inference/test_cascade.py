"""Two models in a row: the second looks in the box around what the first finds, and decides there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.tiny_portable import AFFINE, boxes, painted, write_tiny_model

from paraspinal_nnunet import segment
from paraspinal_nnunet.anatomy import Muscle
from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.image_io.masks.boxes import MuscleBox
from paraspinal_nnunet.image_io.nifti import write_image
from paraspinal_nnunet.image_io.volume import Volume
from paraspinal_nnunet.inference.cascade import Cascade
from paraspinal_nnunet.inference.options import PredictionOptions
from paraspinal_nnunet.inference.portable import Segmentation, open_model
from paraspinal_nnunet.inference.segmenters import opened_segmenter
from paraspinal_nnunet.models.description import ModelDescription, describe_model

FAST = {"runtime": "onnxruntime", "threads": 1}
PSOAS = {"background": 0, "psoas_major_right": 1, "psoas_major_left": 2}
BOX = {"muscles": ["psoas_major"], "margin_mm": 2.0}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("first") / "model")


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """Both psoas muscles have grey values far above its last class, the left one: it calls both so."""
    folder = write_tiny_model(tmp_path_factory.mktemp("second") / "model", labels=PSOAS)
    return with_box(folder, BOX)


def with_box(folder, box):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["preprocessing"]["box"] = box
    path.write_text(json.dumps(content))
    return folder


@pytest.fixture
def scan(tmp_path):
    write_image(tmp_path / "scan.nii.gz", painted(boxes()), AFFINE)
    return tmp_path / "scan.nii.gz"


def decided():
    """What the first finds, with the second's psoas."""
    return np.where(boxes() == 5, 6, boxes())


def test_the_second_decides_about_its_muscles_alone(scan, first, second):
    result = segment(scan, first, then=second, **FAST)
    np.testing.assert_array_equal(result.labels, decided())
    assert result.settings["model"] == "Dataset700_Tiny Tiny 2d, then Dataset700_Tiny Tiny 2d"
    assert result.settings["then"]["box"] == BOX
    np.testing.assert_array_equal(segment(scan, first, **FAST).labels, boxes())


class Fixed:
    """A segmenter that always finds the same, and notes what it was asked."""

    settings: ClassVar = {}

    def __init__(self, labels=None):
        self.labels, self.asked, self.shares = labels, [], None

    def segment(self, volume):
        self.asked.append(volume)
        return Segmentation(self.labels, volume.affine, self.shares, 1.0)


def test_where_the_first_finds_nothing_the_second_is_not_asked(caplog):
    about = ModelDescription("second", box=MuscleBox((Muscle.PSOAS_MAJOR,), 2.0))
    alone, second = np.where(boxes() > 4, 0, boxes()), Fixed()
    made = Cascade(Fixed(alone), second, about).segment(Volume(painted(boxes()), AFFINE))
    np.testing.assert_array_equal(made.labels, alone)
    assert not second.asked
    assert "no psoas major found by the first model" in caplog.text


def test_the_folds_disagreement_on_its_muscles_is_the_seconds():
    """Psoas lies in 6..18, 12..15 and 2..7; 2 mm more are 2 voxels in plane and, of 4 mm, 1 slice."""
    about = ModelDescription("second", box=MuscleBox((Muscle.PSOAS_MAJOR,), 2.0))
    first, second = Fixed(boxes()), Fixed(np.zeros((17, 8, 8), np.uint8))
    first.shares, second.shares = {"psoas_major_right": 0.5, "multifidus_right": 0.1}, {"psoas_major_right": 0.2}
    made = Cascade(first, second, about).segment(Volume(boxes(), AFFINE))
    assert made.disagreement == {"psoas_major_right": 0.2, "multifidus_right": 0.1}
    assert second.asked[0].shape == (17, 8, 8)
    assert made.seconds == 2
    np.testing.assert_array_equal(made.labels, np.where(boxes() > 4, 0, boxes()))


def test_a_second_model_without_the_muscles_labels_is_refused(scan, first, tmp_path):
    only = with_box(write_tiny_model(tmp_path / "other", labels={"background": 0, "multifidus_right": 1}), BOX)
    with pytest.raises(InputError, match="has no label psoas_major_right"):
        segment(scan, first, then=only, **FAST)


def test_the_command_writes_the_mask_and_makes_it_again_when_the_second_changes(scan, first, second, tmp_path):
    command = ["predict", "-i", scan, "-o", tmp_path / "out", "-m", first, "--runtime", "onnxruntime", "--threads", 1]
    command = [str(part) for part in (*command, "--no-pages", "--no-measures")]
    mask, record = tmp_path / "out/scan.nii.gz", tmp_path / "out/records/scan.json"
    assert main(command) == 0
    np.testing.assert_array_equal(read_labels(mask).array, boxes())
    assert main([*command, "--then", str(second)]) == 0
    np.testing.assert_array_equal(read_labels(mask).array, decided())
    made = json.loads(record.read_text())["times"]["made"]
    assert main([*command, "--then", str(second)]) == 0
    assert json.loads(record.read_text())["times"]["made"] == made
    assert json.loads(record.read_text())["prediction"]["then"]["box"] == BOX


def test_models_in_the_wrong_place_are_refused(scan, first, second, tmp_path):
    with pytest.raises(InputError, match=r"trained inside boxes around psoas major and takes no whole scans; give it"):
        segment(scan, second, **FAST)
    with pytest.raises(InputError, match="takes no whole scans"):
        segment(scan, open_model(second, **FAST))
    with pytest.raises(InputError, match=r"was not trained inside boxes; 'paraspinal convert boxes' makes a data set"):
        segment(scan, first, then=first, **FAST)
    with pytest.raises(InputError, match="no such model"):
        segment(scan, first, then=tmp_path / "nothing", **FAST)


@pytest.mark.slow
def test_from_the_first_models_masks_to_two_trained_models_in_a_row(tiny_copy, thread_pools, tmp_path):
    """Boxes are converted, planned and trained on; nnU-Net's two model folders then predict one after the other."""
    from paraspinal_nnunet.planning.run import PlanRequest, plan
    from paraspinal_nnunet.protocol.overrides import parse_settings

    splits = json.loads((tiny_copy.preprocessed / "splits_final.json").read_text())
    from helpers.trainings import trainer_of

    trained = trainer_of(tiny_copy, iterations=3)
    trained.run_training()
    first = Path(trained.output_folder_base)
    for fold, split in enumerate(splits):
        (first / f"fold_{fold}/validation").mkdir(parents=True, exist_ok=True)
        for case in split["val"]:  # masks of a better model
            shutil.copy(tiny_copy.raw / f"labelsTr/{case}.nii.gz", first / f"fold_{fold}/validation")
    given = ["convert", "boxes", "-i", tiny_copy.raw, "--masks", first, "-d", 502, "-n", "Boxes", "-np", 1]
    assert main([str(part) for part in given]) == 0
    settings = parse_settings(["spacing=15.625,3.12,3.12", "patch_size=32,32", "batch_size=2", "crops_per_case=1"])
    settings |= parse_settings(["iterations=2", "iterations_per_epoch=2", "val_iterations=1"])
    plan(PlanRequest(502, ["2d"], plans_name="Tiny", overrides=settings, processes=1))
    boxes = replace(tiny_copy, name="Dataset502_Boxes")
    assert json.loads((boxes.preprocessed / "splits_final.json").read_text()) == splits
    trained = trainer_of(boxes)
    trained.run_training()
    second = Path(trained.output_folder_base)
    case = splits[0]["val"][0]
    scan, drawn = tiny_copy.raw / f"imagesTr/{case}_0000.nii.gz", tiny_copy.raw / f"labelsTr/{case}.nii.gz"
    options = {"folds": ["0"], "device": "cpu"}
    both = segment(scan, first, then=second, **options)
    assert both.settings["then"]["box"] == {"muscles": ["multifidus"], "margin_mm": 15.0}
    with opened_segmenter(second, PredictionOptions(**options)) as again:  # after a first that finds the muscles
        labels = read_labels(drawn).array.astype(np.uint8)
        made = Cascade(Fixed(labels), again, describe_model(second)).segment(read_image(scan))
    own = np.isin(labels, (1, 2)) | np.isin(made.labels, (1, 2))
    np.testing.assert_array_equal(made.labels[~own], labels[~own])
    with pytest.raises(InputError, match="takes no whole scans"):
        segment(scan, second, **options)
