"""Masks and scans find each other where one has the longer name; what nobody asked for is named."""

import logging

import numpy as np
import pytest

from paraspinal_nnunet.errors import InputError
from paraspinal_nnunet.evaluation import evaluate
from paraspinal_nnunet.image_io.nifti import write_image, write_labels
from paraspinal_nnunet.image_io.pairing import no_images, paired, partners, warn_left_out
from paraspinal_nnunet.measures.batch import BatchRequest, measure_batch

AFFINE = np.diag([1.0, 1.0, 4.0, 1.0])


@pytest.fixture
def label_map():
    labels = np.zeros((60, 60, 8), np.uint8)
    labels[35:45, 10:20, 1:7] = 1
    labels[10:20, 10:20, 1:7] = 2
    return labels


def test_two_scans_that_fit_are_both_named():
    assert partners("a", ["a_T1w", "a_T2w", "b"]) == ["a_T1w", "a_T2w"]
    assert partners("c", ["a", "b"]) == []
    assert paired(["a_x", "b"], ["a", "b_1", "b_2"]) == {"a_x": "a"}


def test_a_folder_names_what_is_left_out(tmp_path, caplog):
    for name in ("a.nii.gz", "a.json", "b.img", "c.mgz", ".hidden"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        warn_left_out(logging.getLogger("x"), tmp_path, no_images(tmp_path), "no image")
    assert "left out, no image: b.img, c.mgz" in caplog.text


def test_predictions_may_have_the_longer_name(tmp_path, caplog, label_map):
    for folder, names in {"ref": ("a.nii.gz", "b_GT.nii.gz"), "pred": ("a_seg.nii.gz", "b.nii")}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            write_labels(tmp_path / folder / name, label_map, AFFINE)
    with caplog.at_level(logging.WARNING):
        found = evaluate(tmp_path / "ref", {"m": tmp_path / "pred"})
    assert sorted(set(found["case"])) == ["a", "b_GT"]
    assert "a_seg with a, b with b_GT" in caplog.text
    write_labels(tmp_path / "pred" / "b.nii.gz", label_map, AFFINE)
    with pytest.raises(InputError, match="are both of case b"):
        evaluate(tmp_path / "ref", {"m": tmp_path / "pred"})


def test_masks_may_have_the_longer_name(tmp_path, caplog, label_map):
    for folder in ("masks", "scans"):
        (tmp_path / folder).mkdir()
    for name in ("a_T2w_manual.nii.gz", "B.NII.GZ"):
        write_labels(tmp_path / "masks" / "x.nii.gz", label_map, AFFINE)
        (tmp_path / "masks" / "x.nii.gz").rename(tmp_path / "masks" / name)
    for name in ("a_T2w", "a", "B", "unused"):
        write_image(tmp_path / "scans" / f"{name}.nii.gz", label_map.astype(np.int16) + 5, AFFINE)
    with caplog.at_level(logging.WARNING):
        result = measure_batch(BatchRequest(tmp_path / "masks", tmp_path / "out", scans=tmp_path / "scans"))
    assert result.failed == {}
    assert result.measured == ("B", "a_T2w_manual")
    assert "left out, without label map: a.nii.gz, unused.nii.gz" in caplog.text
