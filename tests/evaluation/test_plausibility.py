"""Label maps whose values are another scheme's, or whose sides are exchanged: said, recorded and shown."""

import nibabel
import numpy as np
import pytest

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.evaluation import evaluate, read_record
from paraspinal_nnunet.evaluation.metrics.confusion import confusion_counts
from paraspinal_nnunet.evaluation.plausibility import exchanged_labels, place_fault
from paraspinal_nnunet.evaluation.references import Label
from paraspinal_nnunet.image_io.volume import Volume

AFFINE = np.array([[2.0, 0, 0, -100], [0, 2.0, 0, -50], [0, 0, 8.0, 0], [0, 0, 0, 1.0]])
CENTRES = {1: (60, 15), 3: (75, 17), 5: (72, 42)}  # on the right; the midline is at voxel 50, x = 0 mm
LABELS = [Label.of(s.key, s.label) for s in PARASPINAL]
SIDES = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5}
LPM = {3: 1, 1: 2, 2: 3, 4: 4}  # our value -> LPM's: 1 ES right, 2 MF right, 3 MF left, 4 ES left


def body(values=None):
    """Six boxes of 9 x 9 voxels mirrored about the midline, with our values or those of `values`."""
    labels = np.zeros((101, 60, 12), np.uint8)
    for value, (x, y) in CENTRES.items():
        for own, centre in ((value, x), (value + 1, 100 - x)):
            labels[centre - 4 : centre + 5, y - 4 : y + 5, 1:11] = own if values is None else values.get(own, 0)
    return labels


def test_references_are_judged_by_place():
    assert place_fault(Volume(body(), AFFINE), LABELS) is None
    turned = Volume(body().transpose(2, 1, 0), AFFINE[:, [2, 1, 0, 3]])
    assert place_fault(turned, LABELS) is None
    assert "scheme lpm" in place_fault(Volume(body(LPM), AFFINE), LABELS)
    assert "left and right" in place_fault(Volume(body(SIDES), AFFINE), LABELS)
    other = [Label.of("bone", 1), Label.of("disc", 2)]
    assert place_fault(Volume(np.minimum(body(), 2), AFFINE), other) is None


def test_exchanged_labels_of_a_pair():
    assert exchanged_labels(confusion_counts(body(), body()), LABELS) == []
    assert exchanged_labels(confusion_counts(body(), np.zeros_like(body())), LABELS) == []
    found = exchanged_labels(confusion_counts(body(), body(SIDES)), LABELS)
    assert [(label.value, other.value, theirs, own) for label, other, theirs, own in found] == [
        (value, SIDES[value], 1.0, 0.0) for value in range(1, 7)
    ]
    half = body()
    half[:, :, :5] = 0  # poor, and in its place: 4 of 10 slices are missing
    assert exchanged_labels(confusion_counts(body(), half), LABELS) == []


def save(path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, AFFINE), path)


def test_both_are_said_and_recorded(tmp_path, caplog):
    for case, prediction in (("a", body()), ("b", body(SIDES)), ("c", body(LPM))):
        save(tmp_path / "ref" / f"{case}.nii.gz", body(LPM) if case == "c" else body())
        save(tmp_path / "pred" / f"{case}.nii.gz", prediction)
    evaluate(tmp_path / "ref", {"m": tmp_path / "pred"}, tmp_path / "out")
    reference, model = read_record(tmp_path / "out").warnings
    assert reference.startswith("references of 1 case (c) are out of place: ")
    assert model.startswith(
        "model m: labels of 1 case (b) are exchanged: 1 multifidus_right lies where the reference has 2 "
        "multifidus_left (Dice 1.00 against 0.00 with its own)"
    )
    assert [reference, model] == [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.parametrize("muscles", [6, 2])
def test_nothing_is_said_where_nothing_is_odd(tmp_path, caplog, muscles):
    labels = np.where(body() <= muscles, body(), 0).astype(np.uint8)
    save(tmp_path / "ref" / "a.nii.gz", labels)
    save(tmp_path / "pred" / "a.nii.gz", labels)
    evaluate(tmp_path / "ref", {"m": tmp_path / "pred"}, tmp_path / "out")
    assert read_record(tmp_path / "out").warnings == ()
    assert not caplog.records
