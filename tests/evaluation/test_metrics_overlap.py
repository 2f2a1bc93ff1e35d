"""Counts and overlap metrics of label maps, against numbers worked out by hand and against other implementations."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from paraspinal_nnunet.errors import GeometryError, LabelError
from paraspinal_nnunet.evaluation.metrics import confusion, overlap
from paraspinal_nnunet.evaluation.metrics.confusion import BinaryCounts, binary_counts, confusion_counts
from paraspinal_nnunet.evaluation.metrics.overlap import METRICS, UNDEFINED, compare_labels, overlap_metrics, situation

# Reference: a 4 x 4 square in a 10 x 10 plane of 2 slices; prediction: the square moved by one column.
# Per slice: common 4 x 3 = 12, reference only 4, prediction only 4; all slices: TP 24, FN 8, FP 8, TN 200 - 40 = 160.
SQUARE = np.zeros((10, 10, 2), np.uint8)
SQUARE[2:6, 2:6] = 1
MOVED = np.roll(SQUARE, 1, axis=1)
SQUARE_COUNTS = BinaryCounts(tp=24, fp=8, fn=8, tn=160)

LABELS = (1, 2, 3, 4, 5, 6)


@pytest.fixture(scope="module")
def random_maps() -> tuple[np.ndarray, np.ndarray]:
    """Two maps of seven values that agree in about half of their voxels, with long stretches of background."""
    generator = np.random.default_rng(3)
    reference = generator.integers(0, 7, (13, 21, 33)).astype(np.uint8)
    prediction = np.where(generator.random(reference.shape) < 0.5, reference, generator.integers(0, 7, reference.shape))
    reference[:, :8], prediction[:, :8] = 0, 0
    reference[4, :12], prediction[4, :12] = 3, 3  # and a long stretch on which both agree
    return reference, prediction.astype(np.uint8)


def test_counts_of_a_moved_square():
    counts = confusion_counts(SQUARE, MOVED)
    assert counts.tolist() == [[160, 8], [8, 24]]
    assert binary_counts(counts, 1) == SQUARE_COUNTS
    assert (SQUARE_COUNTS.reference, SQUARE_COUNTS.prediction) == (32, 32)


def test_counts_say_which_label_was_mistaken_for_which():
    reference = np.array([0, 1, 1, 2, 2, 2, 0, 0, 0, 0, 3], np.uint8)
    prediction = np.array([0, 1, 2, 2, 2, 1, 3, 0, 0, 0, 0], np.uint8)
    assert confusion_counts(reference, prediction).tolist() == [
        [4, 0, 0, 1],
        [0, 1, 1, 0],
        [0, 1, 2, 0],
        [1, 0, 0, 0],
    ]


def test_counts_do_not_depend_on_memory_order(random_maps):
    reference, prediction = random_maps
    expected = confusion_counts(reference, prediction)
    assert np.array_equal(confusion_counts(np.asfortranarray(reference), np.asfortranarray(prediction)), expected)
    assert np.array_equal(confusion_counts(np.asfortranarray(reference), prediction), expected)
    assert np.array_equal(confusion_counts(reference[::-1, :, ::-1], prediction[::-1, :, ::-1]), expected)


def test_counts_equal_a_plain_loop_over_label_pairs(random_maps):
    reference, prediction = random_maps
    plain = [[int(((reference == r) & (prediction == p)).sum()) for p in range(7)] for r in range(7)]
    assert confusion_counts(reference, prediction, classes=7).tolist() == plain


def test_counts_refuse_what_they_cannot_count():
    with pytest.raises(GeometryError, match=r"\(10, 10, 2\).*\(10, 10, 1\)"):
        confusion_counts(SQUARE, MOVED[..., :1])
    with pytest.raises(LabelError, match="prediction is int64"):
        confusion_counts(SQUARE, MOVED.astype(np.int64))
    with pytest.raises(LabelError, match="label value 9 found where values below 7"):
        confusion_counts(SQUARE, MOVED * 9, classes=7)


def test_metrics_of_the_moved_square():
    # Dice 48 / 64, Jaccard 24 / 40, conformity 1 - 16 / 24, TPR 24 / 32, TNR 160 / 168, PPV 24 / 32, volumes equal.
    found = overlap_metrics(SQUARE_COUNTS)
    assert found.dice == 0.75
    assert found.jaccard == 0.6
    assert found.conformity == pytest.approx(1 / 3, abs=1e-15)
    assert found.tpr == 0.75
    assert found.tnr == pytest.approx(20 / 21, abs=1e-15)
    assert found.ppv == 0.75
    assert found.volume_ratio == 1.0


def test_metrics_of_a_prediction_inside_the_reference():
    # 3 of 5 voxels found, nothing else: Dice 6 / 8, Jaccard 3 / 5, conformity 1 - 2 / 3, TPR 3 / 5, ratio 3 / 5.
    found = overlap_metrics(BinaryCounts(tp=3, fp=0, fn=2, tn=7))
    assert (found.dice, found.jaccard, found.tpr, found.tnr, found.ppv, found.volume_ratio) == (
        0.75, 0.6, 0.6, 1.0, 1.0, 0.6,
    )  # fmt: skip
    assert found.conformity == pytest.approx(1 / 3, abs=1e-15)


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("counts", "name", "expected"),
    [
        # dice, jaccard, conformity, tpr, tnr, ppv, volume ratio
        (BinaryCounts(tp=0, fp=0, fn=0, tn=9), "both empty", (NAN, NAN, NAN, NAN, 1, NAN, NAN)),
        (BinaryCounts(tp=0, fp=3, fn=0, tn=6), "reference empty", (0, 0, -INF, NAN, 6 / 9, 0, INF)),
        (BinaryCounts(tp=0, fp=0, fn=3, tn=6), "prediction empty", (0, 0, -INF, 0, 1, NAN, 0)),
        (BinaryCounts(tp=0, fp=2, fn=4, tn=3), "no overlap", (0, 0, -INF, 0, 3 / 5, 0, 0.5)),
        (BinaryCounts(tp=9, fp=0, fn=0, tn=0), None, (1, 1, 1, 1, NAN, 1, 1)),
    ],
)
def test_degenerate_masks(counts, name, expected):
    assert situation(counts) == name
    found = [getattr(overlap_metrics(counts), metric) for metric in METRICS]
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-15)


def test_the_policy_names_known_metrics_and_situations():
    assert set(UNDEFINED) == set(METRICS)
    situations = {"both empty", "reference empty", "prediction empty", "no overlap", "no background"}
    assert {name for row in UNDEFINED.values() for name in row} == situations


def test_compare_labels_reports_absent_labels():
    found = compare_labels(SQUARE, MOVED, (1, 2))
    assert found[1].dice == 0.75
    assert math.isnan(found[2].dice)
    with pytest.raises(LabelError, match="label value 1"):
        compare_labels(np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8), (0,))


@pytest.mark.parametrize("module", [confusion, overlap])
def test_doctests(module):
    assert doctest.testmod(module).failed == 0


def test_against_simpleitk(random_maps):
    import SimpleITK as sitk  # noqa: N813

    reference, prediction = random_maps
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(sitk.GetImageFromArray(reference), sitk.GetImageFromArray(prediction))
    for label, found in compare_labels(reference, prediction, LABELS).items():
        # The filter's "target" is its second image.
        assert found.dice == pytest.approx(measures.GetDiceCoefficient(label), abs=1e-12)
        assert found.jaccard == pytest.approx(measures.GetJaccardCoefficient(label), abs=1e-12)
        # Volume similarity is 2 (P - R) / (P + R) up to its sign.
        ratio = found.volume_ratio
        assert abs(2 * (ratio - 1) / (ratio + 1)) == pytest.approx(abs(measures.GetVolumeSimilarity(label)), abs=1e-12)


def test_against_nnunet(random_maps, tmp_path):
    evaluate_predictions = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions")
    import SimpleITK as sitk  # noqa: N813
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    files = [str(tmp_path / f"{name}.nii.gz") for name in ("reference", "prediction")]
    for array, file in zip(random_maps, files, strict=True):
        sitk.WriteImage(sitk.GetImageFromArray(array), file)
    # What nnU-Net writes to summary.json, label by label.
    theirs = evaluate_predictions.compute_metrics(files[0], files[1], SimpleITKIO(), list(LABELS))["metrics"]
    counts = confusion_counts(*random_maps)
    for label, found in compare_labels(*random_maps, LABELS).items():
        binary = binary_counts(counts, label)
        assert (binary.tp, binary.fp, binary.fn, binary.tn) == tuple(theirs[label][k] for k in ("TP", "FP", "FN", "TN"))
        assert found.dice == theirs[label]["Dice"]
        assert found.jaccard == theirs[label]["IoU"]


def test_against_monai(random_maps):
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")

    one_hot = [torch.stack([torch.from_numpy(m == label) for label in range(7)])[None].float() for m in random_maps]
    theirs = metrics.compute_dice(one_hot[1], one_hot[0], include_background=False)[0].tolist()
    found = compare_labels(*random_maps, LABELS)
    assert [found[label].dice for label in LABELS] == pytest.approx(theirs, abs=1e-6)


label_maps = hnp.arrays(np.uint8, (3, 5, 7), elements=st.integers(0, 3))


@settings(max_examples=60, deadline=None)
@given(label_maps, label_maps)
def test_exchange_of_reference_and_prediction(reference, prediction):
    there = compare_labels(reference, prediction, (1, 2, 3))
    back = compare_labels(prediction, reference, (1, 2, 3))
    for label in there:
        for symmetric in ("dice", "jaccard", "conformity"):
            assert getattr(there[label], symmetric) == pytest.approx(getattr(back[label], symmetric), nan_ok=True)
        assert there[label].tpr == pytest.approx(back[label].ppv, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(label_maps, label_maps)
def test_bounds_and_relations(reference, prediction):
    for found in compare_labels(reference, prediction, (1, 2, 3)).values():
        for value in (found.dice, found.jaccard, found.tpr, found.tnr, found.ppv):
            assert math.isnan(value) or 0 <= value <= 1
        if math.isnan(found.dice):
            continue
        assert found.jaccard == pytest.approx(found.dice / (2 - found.dice), abs=1e-12)
        assert found.conformity <= 1
        if found.dice > 0:
            assert found.conformity == pytest.approx(3 - 2 / found.dice, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(label_maps, label_maps, st.permutations([1, 2, 3]))
def test_renumbering_the_labels_changes_nothing(reference, prediction, order):
    table = np.array([0, *order], np.uint8)
    before = compare_labels(reference, prediction, (1, 2, 3))
    after = compare_labels(table[reference], table[prediction], (1, 2, 3))
    for label in before:
        for metric in METRICS:
            assert getattr(after[int(table[label])], metric) == pytest.approx(
                getattr(before[label], metric), nan_ok=True
            )


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, st.integers(1, 40), elements=st.sampled_from([0, 0, 0, 1, 255])))
def test_counts_sum_to_the_number_of_voxels(labels):
    counts = confusion_counts(labels, labels)
    assert counts.sum() == labels.size
    assert counts[-1, -1] == (labels == len(counts) - 1).sum()
