import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("torch")
blosc2 = pytest.importorskip("blosc2")

from paraspinal_nnunet.anatomy import PARASPINAL
from paraspinal_nnunet.protocol.overrides import override
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.training.augmentation import centers as center_search
from paraspinal_nnunet.training.augmentation.crops import AugmentedCropReader, augmented_reader
from paraspinal_nnunet.training.augmentation.transform import AugmentedPool, exchange_table
from paraspinal_nnunet.training.loading import BatchDataset
from paraspinal_nnunet.training.sampling import BatchSchedule, Crop, crop_start

SHAPE = (12, 40, 48)
SPACING = (5.0, 0.39, 0.39)
CASES = ("a", "b", "c")
NAMES = {"background": 0, **{s.key: s.label for s in PARASPINAL}}
SETTINGS = replace(PAPER.augmentation, pool=30)


def case_arrays(seed):
    """Noise, and six blocks of labels of which the left ones lie at small x; -1 as nnU-Net marks 'not in the mask'."""
    generator = np.random.default_rng(seed)
    image = generator.normal(size=(2, *SHAPE)).astype(np.float32)
    labels = np.zeros((1, *SHAPE), np.int8)
    for structure in PARASPINAL:
        row, column = divmod(structure.label - 1, 2)
        y, x = 5 + 11 * row + int(generator.integers(3)), 8 if column else 30
        labels[0, 2:10, y : y + 7, x : x + 9] = structure.label
    labels[0, :, :2] = -1
    return image, labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three preprocessed cases in nnU-Net's files."""
    path = tmp_path_factory.mktemp("preprocessed")
    for number, case in enumerate(CASES):
        for suffix, array in zip(("", "_seg"), case_arrays(number), strict=True):
            blosc2.asarray(array, urlpath=str(path / f"{case}{suffix}.b2nd"), mode="w")
    return path


def reader_of(folder, patch=(16, 20), ratio=0.5, settings=SETTINGS, table=True, **options):
    pool = AugmentedPool(CASES, 0, 0, settings)
    table = exchange_table(NAMES) if table else None
    return AugmentedCropReader(folder, patch, ratio, pool=pool, spacing_mm=SPACING, table=table, **options)


def whole(reader, image_id):
    """The full augmented image and labels, a slice at a time as `paraspinal augment` writes them."""
    image = reader.open_image(image_id)
    slices = [image.read((z, 0, 0), (1, *SHAPE[1:])) for z in range(SHAPE[0])]
    return tuple(np.concatenate(parts, axis=-3) for parts in zip(*slices, strict=True))


def crops(image_id, count, seed=0):
    return [Crop(image_id, (seed, n)) for n in range(count)]


def start_of(reader, crop):
    """Where a crop lies, by drawing its centre once more."""
    image, generator = reader.open_image(crop.case), crop.generator()
    foreground = bool(generator.random() < reader.foreground_ratio)
    return crop_start(image.labels.draw_center(generator, foreground), reader.size, SHAPE)


@pytest.mark.slow
@pytest.mark.parametrize("patch", [(16, 20), (5, 16, 20)], ids=["2d", "3d"])
@pytest.mark.parametrize("space", ["voxel", "physical"])
@pytest.mark.parametrize("in_memory", [False, True])
def test_crops_are_regions_of_the_full_augmented_image_exactly(folder, patch, space, in_memory):
    reader = reader_of(folder, patch, settings=replace(SETTINGS, space=space), in_memory=in_memory)
    for image_id in reader.pool.ids[:4]:
        image, labels = whole(reader, image_id)
        for crop in crops(image_id, 6):
            z, y, x = (slice(s, s + n) for s, n in zip(start_of(reader, crop), reader.size, strict=True))
            voxels, values = reader.read(crop)
            expected, expected_labels = image[:, z, y, x], labels[None, z, y, x]
            if len(patch) == 2:
                expected, expected_labels = expected[:, 0], expected_labels[:, 0]
            assert np.array_equal(voxels, expected)
            assert np.array_equal(values, expected_labels)
            assert (voxels.dtype, values.dtype) == (np.float32, np.int16)


def test_images_are_deformed_and_labels_hold_no_marks(folder):
    reader = reader_of(folder)
    image, labels = whole(reader, "0000")
    number = CASES.index(reader.pool.image("0000").case)
    assert not np.array_equal(image, case_arrays(number)[0])
    assert set(np.unique(labels)) <= set(range(7))
    assert (labels > 0).any()


@pytest.mark.parametrize("exchange", [True, False])
def test_mirroring_exchanges_labels_or_leaves_them(folder, exchange):
    """Right labels lie at large x in the cases: in a mirrored image at small x, where left ones then belong."""
    settings = replace(SETTINGS, probability=0.0, flip_probability=1.0)
    reader = reader_of(folder, settings=settings, table=exchange)
    _, labels = whole(reader, "0000")
    number = CASES.index(reader.pool.image("0000").case)
    mirrored = np.maximum(case_arrays(number)[1][0], 0)[..., ::-1]
    by_hand = np.array([0, 2, 1, 4, 3, 6, 5])[mirrored] if exchange else mirrored
    assert np.array_equal(labels, by_hand)
    x = {value: np.argwhere(labels == value)[:, 2].mean() for value in (1, 2)}
    assert (x[1] > x[2]) == exchange


def test_only_mirrored_images_exchange_labels(folder):
    reader = reader_of(folder, settings=replace(SETTINGS, probability=0.0))
    flips = {i: reader.pool.image(i).flip for i in reader.pool.ids}
    assert set(flips.values()) == {True, False}
    for image_id in reader.pool.ids[:8]:
        _, labels = whole(reader, image_id)
        x = {value: np.argwhere(labels == value)[:, 2].mean() for value in (1, 2)}
        assert x[1] > x[2]


@pytest.mark.slow
@pytest.mark.parametrize("foreground", [True, False])
def test_centres_are_uniform_over_the_augmented_voxels_of_their_kind(folder, foreground):
    """Against the full augmented label map: chi-square over 2 x 2 x 3 boxes, each kind on its own."""
    reader = reader_of(folder)
    _, labels = whole(reader, "0001")
    image, generator = reader.open_image("0001"), np.random.default_rng(0)
    drawn = np.array([image.labels.draw_center(generator, foreground) for _ in range(800)])
    kind = (labels > 0) == foreground
    assert kind[tuple(drawn.T)].all()
    box = np.stack(np.meshgrid(*(np.arange(n) * k // n for n, k in zip(SHAPE, (2, 2, 3), strict=True)), indexing="ij"))
    box = np.ravel_multi_index(tuple(box), (2, 2, 3))
    expected = np.bincount(box[kind], minlength=12) / kind.sum() * len(drawn)
    observed = np.bincount(box[tuple(drawn.T)], minlength=12)
    enough = expected >= 5
    observed = np.append(observed[enough], observed[~enough].sum())
    expected = np.append(expected[enough], expected[~enough].sum())
    if expected[-1] == 0:
        observed, expected = observed[:-1], expected[:-1]
    assert stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.slow
def test_the_share_of_foreground_centres_is_the_ratio(folder):
    for ratio in (0.0, 0.5, 1.0):
        reader = reader_of(folder, ratio=ratio)
        image = reader.open_image("0002")
        labels = whole(reader, "0002")[1]
        hits = 0
        for crop in crops("0002", 200):
            generator = crop.generator()
            hits += labels[image.labels.draw_center(generator, bool(generator.random() < ratio))] > 0
        assert stats.binomtest(int(hits), 200, ratio).pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [64, 0])
def test_muscles_of_any_size_are_centres_equally_often(folder, rounds, monkeypatch):
    monkeypatch.setattr(center_search, "ROUNDS", rounds)
    reader = reader_of(folder, by_muscle=True)
    labels = whole(reader_of(folder), "0001")[1]
    image, generator = reader.open_image("0001"), np.random.default_rng(0)
    found = [labels[image.labels.draw_center(generator, True)] for _ in range(200)]
    values, counts = np.unique(found, return_counts=True)
    assert values.tolist() == np.unique(labels[labels > 0]).tolist()
    assert stats.chisquare(counts).pvalue > 1e-3
    assert all(labels[image.labels.draw_center(generator, False)] == 0 for _ in range(5))


def rare(folder, tmp_path, voxels):
    """A data set of one case with so many muscle voxels that proposals hardly ever meet one."""
    labels = np.zeros((1, *SHAPE), np.int8)
    labels[0].reshape(-1)[: SHAPE[1] * SHAPE[2]].reshape(SHAPE[1:])[20, 20 : 20 + voxels] = 1
    for suffix, array in (("", case_arrays(0)[0]), ("_seg", labels)):
        blosc2.asarray(array, urlpath=str(tmp_path / f"rare{suffix}.b2nd"), mode="w")
    pool = AugmentedPool(("rare",), 0, 0, replace(SETTINGS, probability=0.0, flip_probability=0.0))
    return AugmentedCropReader(tmp_path, (16, 20), 0.5, pool=pool, spacing_mm=SPACING, table=None)


def test_rare_voxels_are_found_by_the_whole_label_map(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(center_search, "ROUNDS", 1)
    reader = rare(folder, tmp_path, 2)
    image, generator = reader.open_image("0000"), np.random.default_rng(1)
    centers = [image.labels.draw_center(generator, True) for _ in range(60)]
    assert set(centers) == {(0, 20, 20), (0, 20, 21)}
    assert stats.binomtest(centers.count((0, 20, 20)), 60, 0.5).pvalue > 1e-3


def test_a_centre_does_not_depend_on_what_was_computed_before(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(center_search, "ROUNDS", 3)
    reader = rare(folder, tmp_path, 300)
    used, fresh = (reader._open_image("0000").labels for _ in range(2))
    used.whole()
    for seed in range(12):
        one, other = (labels.draw_center(np.random.default_rng(seed), True) for labels in (used, fresh))
        assert one == other
        fresh._whole = None


def test_an_absent_kind_gives_the_other_as_monai_does(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(center_search, "ROUNDS", 2)
    reader = rare(folder, tmp_path, 0)
    centers = {reader.open_image("0000").labels.draw_center(np.random.default_rng(n), True) for n in range(20)}
    assert len(centers) > 15
    image, labels = reader.read(Crop("0000", (1,)))
    assert (image.shape, labels.shape, labels.max()) == ((2, 16, 20), (1, 16, 20), 0)


def test_no_crop_is_centred_on_ignored_voxels(folder, tmp_path, monkeypatch):
    """Proposals and the whole label map alike; with nothing but ignored voxels any voxel will do."""
    labels = np.full((1, *SHAPE), 7, np.int8)
    labels[0, :, :20] = 0
    labels[0, :, 15:20] = 3
    reader = rare(folder, tmp_path, 0)
    reader.ignore_label = 7
    blosc2.asarray(labels, urlpath=str(tmp_path / "rare_seg.b2nd"), mode="w")
    for rounds in (64, 0):
        monkeypatch.setattr(center_search, "ROUNDS", rounds)
        image, generator = reader.open_image("0000"), np.random.default_rng(rounds)
        rows = [[image.labels.draw_center(generator, kind)[1] for _ in range(100)] for kind in (True, False)]
        assert set(rows[0]) == set(range(15, 20))
        assert max(rows[1]) == 14
    labels[:] = 7
    blosc2.asarray(labels, urlpath=str(tmp_path / "rare_seg.b2nd"), mode="w")
    everything_ignored = pickle.loads(pickle.dumps(reader)).open_image("0000")
    assert len({everything_ignored.labels.draw_center(generator, True) for _ in range(20)}) > 15


def test_a_patch_larger_than_the_image_is_filled_with_background(folder):
    reader = reader_of(folder, (16, 48, 48))
    image, labels = reader.read(Crop("0000", (3,)))
    full, full_labels = whole(reader, "0000")
    assert np.array_equal(image[:, 2:14, 4:44], full)
    assert np.array_equal(labels[0, 2:14, 4:44], full_labels)
    assert not image[:, :2].any()
    assert not labels[:, :, 44:].any()


def test_the_last_image_stays_open_and_others_do_not_change_it(folder):
    reader = reader_of(folder)
    opened = reader.open_image("0000")
    assert reader.open_image("0000") is opened
    fresh = [reader_of(folder).read(c) for c in (*crops("0000", 2), *crops("0001", 2))]
    mixed = [reader.read(c) for c in (*crops("0000", 2), *crops("0001", 2))]
    order = (2, 0, 3, 1)
    shuffled = [reader.read([*crops("0000", 2), *crops("0001", 2)][n]) for n in order]
    for number, (a, b) in enumerate(zip(fresh, mixed, strict=True)):
        c = shuffled[order.index(number)]
        assert all(np.array_equal(x, y) and np.array_equal(x, z) for x, y, z in zip(a, b, c, strict=True))


def batch_elsewhere(reader, number):
    batch = BatchDataset(schedule_of(reader), reader)[number]
    return batch["data"].numpy(), batch["target"].numpy(), batch["keys"]


def schedule_of(reader):
    return BatchSchedule(reader.pool.ids, batch_size=8, crops_per_case=4, seed=0, fold=0)


@pytest.mark.slow
def test_batches_are_the_same_in_other_processes(folder):
    reader = reader_of(folder)
    reader.read(Crop("0000", (0,)))
    assert pickle.loads(pickle.dumps(reader))._last is None
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        data, target, keys = worker.submit(batch_elsewhere, reader, 1).result()
    here = batch_elsewhere(reader, 1)
    assert keys == here[2]
    assert len(set(keys)) == 2
    assert np.array_equal(data, here[0])
    assert np.array_equal(target, here[1])


def test_the_factory_follows_the_protocol(folder):
    protocol = override(PAPER, {"2d.patch_size": [16, 20], "augmentation.pool": 7, "spacing": [4.0, 1.0, 1.0]})
    arguments = {"folder": folder, "cases": CASES[::-1], "fold": 2, "labels": NAMES}
    reader = augmented_reader(protocol, "2d", **arguments)
    assert (reader.size, reader.spacing_mm) == ((1, 16, 20), (4.0, 1.0, 1.0))
    assert reader.pool == AugmentedPool(CASES, 0, 2, protocol.augmentation)
    assert len(reader.pool.ids) == 7
    assert reader.table == {0: 0, 1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5}
    assert reader.ignore_label is None
    partly = {**arguments, "labels": {**NAMES, "ignore": 7}}
    assert augmented_reader(protocol, "2d", **partly).ignore_label == 7
    kept = override(protocol, {"augmentation.exchange_labels": False})
    assert augmented_reader(kept, "2d", **arguments).table is None
    one_sided = {**arguments, "labels": {"background": 0, "psoas_major_right": 1}}
    unmirrored = override(protocol, {"augmentation.flip_probability": 0.0})
    assert augmented_reader(unmirrored, "2d", **one_sided).table is None
