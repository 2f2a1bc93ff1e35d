"""Randomly drawn trunks: the same every time, anatomically laid out, with the contrast that their names promise."""

import time

import numpy as np
import pytest
import torch

from paraspinal_nnunet.cli import main
from paraspinal_nnunet.errors import InputError, ProtocolError
from paraspinal_nnunet.image_io.images import read_image, read_labels
from paraspinal_nnunet.phantom.randomised import pool as pools
from paraspinal_nnunet.phantom.randomised.body import draw_body
from paraspinal_nnunet.phantom.randomised.canvas import SHAPE, X_MM, Y_MM
from paraspinal_nnunet.phantom.randomised.cohort import draw_stack, write_cohort
from paraspinal_nnunet.phantom.randomised.examples import Examples
from paraspinal_nnunet.phantom.randomised.multifidus import oval_outline
from paraspinal_nnunet.phantom.randomised.negatives import draw_negative
from paraspinal_nnunet.phantom.randomised.painting import paint, scan
from paraspinal_nnunet.phantom.randomised.pool import SLICES_PER_CASE, Pool, draw_case, draw_pool
from paraspinal_nnunet.phantom.randomised.sampling import FINER, Frame
from paraspinal_nnunet.phantom.randomised.slices import draw_slice
from paraspinal_nnunet.phantom.randomised.tissues import COUNT, LABELLED, MUSCULAR, Tissue, draw_signals, known_signal

FRAME = Frame((160, 192), 1.5)
MF, ES, PM = (1, 2), (3, 4), (5, 6)


@pytest.fixture(scope="module")
def pool():
    return Pool(*(np.concatenate(arrays) for arrays in zip(*(draw_case(5, case) for case in range(3)), strict=True)))


def centre(tissue, value):
    rows, columns = np.where(tissue == value)
    return X_MM[columns].mean(), Y_MM[rows].mean()


def test_a_case_depends_on_seed_and_number_alone():
    first, again, other = draw_case(5, 1), draw_case(5, 1), draw_case(5, 2)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c, equal_nan=True)
    assert first[0].shape == (SLICES_PER_CASE, *SHAPE)


def test_examples_do_not_depend_on_their_order(pool):
    examples = Examples(pool, FRAME, seed=3, count=20)
    forward = [examples[n] for n in range(3)]
    backward = [examples[n] for n in reversed(range(3))][::-1]
    for (image, labels), (image_again, labels_again) in zip(forward, backward, strict=True):
        assert torch.equal(image, image_again)
        assert torch.equal(labels, labels_again)
    assert not torch.equal(forward[0][0], forward[1][0])


@pytest.mark.parametrize("level", [0.4, 1.5, 2.5, 3.5, 4.5])
def test_muscles_lie_as_in_a_body_seen_in_ras(level):
    for seed in range(8):
        tissue = draw_slice(draw_body(np.random.default_rng(seed)), level, np.random.default_rng(seed)).tissue
        for right, left in (MF, ES, PM):
            assert centre(tissue, right)[0] > centre(tissue, left)[0] + 10
        for side in (0, 1):
            inner, outer, front = (centre(tissue, pair[side]) for pair in (MF, ES, PM))
            middle = (centre(tissue, 1)[0] + centre(tissue, 2)[0]) / 2
            assert abs(inner[0] - middle) < abs(outer[0] - middle)  # multifidus is the inner one
            assert front[1] > inner[1] + 15  # the psoas lies in front
            assert inner[1] < 0 < front[1]  # the canal lies between


@pytest.mark.slow
def test_mirrored_examples_have_their_labels_exchanged(pool):
    examples = Examples(pool, FRAME, seed=9, count=60)
    seen = 0
    for number in range(40):
        labels = examples[number][1][0].numpy()
        for right, left in (MF, ES, PM):
            if (labels == right).sum() > 30 and (labels == left).sum() > 30:
                assert np.where(labels == right)[1].mean() > np.where(labels == left)[1].mean()
                seen += 1
    assert seen > 20


def test_a_multifidus_that_is_an_oval_is_widest_between_its_deep_face_and_its_end():
    for seed in range(12):
        oval = draw_body(np.random.default_rng(seed), ovals=1.0).oval
        for level in (1.0, 3.0):
            outline = oval_outline(oval, level, 0)
            widest = outline[np.argmax(outline[:, 0]), 1]
            assert outline[:, 1].min() + 4 < widest < outline[:, 1].max() - 4


def test_a_share_of_persons_has_ovals_and_the_rest_of_each_is_as_without():
    bodies = [draw_body(np.random.default_rng(seed), ovals=0.3) for seed in range(200)]
    # 60 expected of 200, standard deviation sqrt(200 * 0.3 * 0.7) = 6.5
    assert 40 <= sum(body.oval is not None for body in bodies) <= 80
    for seed, body in enumerate(bodies[:20]):
        without = draw_body(np.random.default_rng(seed))
        assert without.oval is None
        assert (body.size, body.border, body.disc, body.fat) == (
            without.size, without.border, without.disc, without.fat,
        )  # fmt: skip


def test_levels_beyond_the_muscles_have_none_of_them():
    body = draw_body(np.random.default_rng(1))
    low = draw_slice(body, 7.6, np.random.default_rng(0)).tissue
    assert not np.isin(low, range(1, 9)).any()
    high = draw_slice(body, -1.5, np.random.default_rng(0)).tissue
    assert not np.isin(high, PM).any()
    assert np.isin(high, ES).any()


def test_negatives_hold_no_label():
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(30):
        tissue = draw_negative(rng).tissue
        assert not ((tissue > 0) & (tissue <= LABELLED)).any()
        kinds |= set(np.unique(tissue).tolist())
    assert {Tissue.BRAIN, Tissue.GLUTEAL, Tissue.BLOB_1, Tissue.GAS} <= kinds


def test_known_sequences_order_the_tissues_as_scanners_do():
    t2, t1, water, fat = (known_signal(name) for name in ("t2", "t1", "water", "fat"))
    assert t2[Tissue.CSF] > t2[Tissue.FAT] > t2[Tissue.MUSCLE] > t2[Tissue.CORTEX]
    assert t1[Tissue.FAT] > t1[Tissue.MUSCLE] > t1[Tissue.CSF]
    assert water[Tissue.MUSCLE] > 5 * water[Tissue.FAT]
    assert fat[Tissue.FAT] > 5 * fat[Tissue.MUSCLE]
    assert known_signal("opposed")[Tissue.FAT] < 0 < known_signal("opposed")[Tissue.MUSCLE]
    for name in ("t2", "t1", "water", "fat", "in_phase", "opposed"):
        assert known_signal(name).shape == (COUNT,)
        assert known_signal(name)[Tissue.AIR] == 0


def test_drawn_contrasts_keep_muscles_alike_and_sides_equal():
    rng = np.random.default_rng(0)
    brighter = 0
    for _ in range(200):
        signals = draw_signals(rng)
        muscles = signals[list(MUSCULAR)]
        assert np.ptp(muscles) < 0.35 * np.abs(muscles).max() + 1e-6
        for right, left in (MF, ES, PM):
            assert signals[right] == signals[left]
        brighter += abs(signals[Tissue.FAT]) > abs(signals[Tissue.MUSCLE])
    assert 60 < brighter < 180  # neither order of fat and muscle is the rule


def test_opposed_phase_is_dark_where_fat_and_water_share_a_voxel(monkeypatch):
    from paraspinal_nnunet.phantom.randomised import painting

    signals = np.zeros(COUNT, np.float32)
    signals[Tissue.MUSCLE], signals[Tissue.FAT] = 0.6, -0.6
    monkeypatch.setattr(painting, "draw_signals", lambda rng: signals)
    frame = Frame((32, 32), 1.5)
    tissue = torch.full((64, 64), int(Tissue.MUSCLE))
    tissue[:, 31:] = int(Tissue.FAT)  # the border runs through the middle of a voxel
    # this seed draws no chemical shift, which would move fat off the border
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    signal = paint(tissue, torch.zeros(64, 64), frame, rng, generator)
    whole = torch.nn.functional.avg_pool2d(signal[None, None], FINER).abs()[0, 0]
    assert float(whole[:, 15].mean()) < 0.1 * float(whole[:, 5].mean())


@pytest.mark.slow
def test_what_is_outside_the_field_of_view_is_zero_and_unlabelled(pool):
    examples = Examples(pool, FRAME, seed=2, count=40)
    outside = 0
    for number in range(30):
        image, labels = (t[0].numpy() for t in examples[number])
        empty = image == 0
        assert np.isfinite(image).all()
        assert not labels[empty].any() or empty.sum() < 50  # a value of exactly 0 inside is chance
        outside += empty[0, 0] or empty[-1, -1]
    assert outside > 3


def test_a_scan_lies_between_0_and_about_1(pool):
    frame = Frame((64, 64), 1.5)
    signal = torch.rand(128, 128, generator=torch.Generator().manual_seed(0))
    for seed in range(6):
        image = scan(signal, frame, np.random.default_rng(seed), torch.Generator().manual_seed(seed))
        assert 0 <= float(image.min()) <= float(image.max()) <= 1.0
        assert image.shape == (64, 64)


def test_an_example_takes_a_fraction_of_a_second(pool):
    examples = Examples(pool, FRAME, seed=0, count=30)
    examples[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = time.process_time()
    for number in range(10):
        examples[number]
    torch.set_num_threads(threads)
    assert (time.process_time() - start) / 10 < 0.15


def test_a_pool_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    whole = draw_pool(tmp_path / "whole", cases=2, seed=4, workers=1)
    real, calls = pools.draw_case, []

    def stopping(seed, case, ovals):
        calls.append(case)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(seed, case, ovals)

    monkeypatch.setattr(pools, "draw_case", stopping)
    with pytest.raises(KeyboardInterrupt):
        draw_pool(tmp_path / "stopped", cases=2, seed=4, workers=1)
    half = (tmp_path / "stopped" / "tissue.npy").stat()
    assert half.st_blocks * 512 >= half.st_size  # the place of the other half is taken, too: a full disk tells at once
    again = draw_pool(tmp_path / "stopped", cases=2, seed=4, workers=1)
    assert calls == [0, 1, 1]
    np.testing.assert_array_equal(whole.tissue, again.tissue)
    np.testing.assert_array_equal(whole.fat, again.fat)


@pytest.mark.slow
def test_a_cohort_is_written_by_the_command(tmp_path):
    output = tmp_path / "cohort"
    assert main(["phantom", "--domain-randomised", "-n", "1", "--seed", "3", "-o", str(output)]) == 0
    image, labels = read_image(output / "sub-001_img.nii.gz"), read_labels(output / "sub-001_GT.nii.gz")
    stack = draw_stack(3, 0)
    np.testing.assert_array_equal(image.array, stack.image)
    np.testing.assert_array_equal(labels.array, stack.labels)
    assert image.affine[0, 0] > 0.45
    assert 3 <= image.affine[2, 2] <= 8
    with pytest.raises(InputError, match="exists already"):
        write_cohort(output, cases=1, seed=3)


def test_what_a_random_cohort_cannot_be(tmp_path, capsys):
    with pytest.raises(ProtocolError, match="0 cases"):
        write_cohort(tmp_path / "a", cases=0, seed=0)
    assert main(["phantom", "--domain-randomised", "--shape", "64", "64", "16", "-o", str(tmp_path / "b")]) == 1
    assert "leave --shape" in capsys.readouterr().err
