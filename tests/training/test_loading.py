import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("blosc2")

from scipy.stats import chi2_contingency

from paraspinal_nnunet.errors import DatasetError
from paraspinal_nnunet.training import loading
from paraspinal_nnunet.training.loading import BatchDataset, CropReader, batches
from paraspinal_nnunet.training.sampling import BatchSchedule, Crop

DRAWS = 12_000
PATCH = (8, 8)


def labels_at_the_borders():
    """Muscle in three corners, along one edge and in the middle, so that most crops are shifted somewhere."""
    labels = np.zeros((4, 20, 24), np.int16)
    labels[0, :3, :2] = 1
    labels[3, 17:, 21:] = 2
    labels[1, 8:12, 23] = 3
    labels[2, 9:13, 10:14] = 4
    labels[3, 0, 23] = 5
    return labels


def reader_of(labels, patch, ratio=0.5):
    """A reader of one case in memory, whose voxels hold their own number."""
    reader = CropReader("nowhere", patch, ratio)
    numbers = np.arange(labels.size, dtype=np.float32).reshape(1, *labels.shape)
    reader._cases["case"] = loading._Case(numbers, labels[None])
    return reader


def crops(count, seed=0):
    return (Crop("case", (seed, n)) for n in range(count))


def monai_starts(labels, patch, count, seed):
    transforms = pytest.importorskip("monai.transforms")
    transform = transforms.RandCropByPosNegLabel(patch, pos=1, neg=1, num_samples=count)
    transform.set_random_state(seed=seed)
    transform.randomize(label=labels[None])
    return [tuple(int(c) - s // 2 for c, s in zip(center, patch, strict=True)) for center in transform.centers]


@pytest.mark.parametrize("patch", [PATCH, (3, 8, 10)], ids=["2d", "3d"])
def test_crops_lie_where_monai_puts_them(patch):
    labels = labels_at_the_borders()
    reader = reader_of(labels, patch)
    first = (0,) * (len(patch) + 1)
    ours = [tuple(int(n) for n in np.unravel_index(int(reader.read(c)[0][first]), labels.shape)) for c in crops(DRAWS)]
    size = (1, *patch) if len(patch) == 2 else patch
    theirs = monai_starts(labels, size, DRAWS, seed=1)
    places = sorted(set(ours) | set(theirs))
    table = np.array([[starts.count(place) for place in places] for starts in (ours, theirs)])
    rare = table.sum(axis=0) < 20
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    assert table.shape[1] > 20
    assert chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue > 1e-3


@pytest.mark.parametrize(("ratio", "share"), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
def test_the_share_of_crops_on_muscle(ratio, share):
    labels = labels_at_the_borders()
    reader = reader_of(labels, (1, 1), ratio)
    hits = [bool(reader.read(crop)[1][0, 0, 0] > 0) for crop in crops(2000)]
    assert np.mean(hits) == pytest.approx(share, abs=0.05)  # 4.5 standard deviations of sqrt(.25 / 2000)


def test_a_crop_of_a_small_image_is_padded_evenly():
    labels = np.full((2, 3, 4), 6, np.int16)
    labels[0, 0, 0] = -1
    image, mask = reader_of(labels, (4, 6, 7)).read(Crop("case", (0,)))
    assert (image.shape, mask.shape) == ((1, 4, 6, 7), (1, 4, 6, 7))
    assert (image.dtype, mask.dtype) == (np.float32, np.int16)
    inside = (slice(None), slice(1, 3), slice(1, 4), slice(1, 5))  # 2, 3 and 3 voxels missing: 1 before each
    assert np.array_equal(image[inside][0].ravel(), np.arange(24))
    outside = np.ones(mask.shape, bool)
    outside[inside] = False
    assert not image[outside].any()
    assert not mask[outside].any()
    assert mask[inside].ravel().tolist() == [0] + [6] * 23  # -1 becomes background


def schedule_of(dataset, **changes):
    names = tuple(sorted(p.name.removesuffix("_seg.b2nd") for p in dataset.glob("*_seg.b2nd")))
    settings = {"batch_size": 4, "crops_per_case": 2, "seed": 0, "fold": 0} | changes
    return BatchSchedule(cases=names, **settings)


@pytest.fixture
def folder(tiny):
    (found,) = (p for p in tiny.preprocessed.iterdir() if p.name.startswith("paraspinal_") and p.is_dir())
    return found


@pytest.fixture
def dataset(folder):
    return BatchDataset(schedule_of(folder), CropReader(folder, (32, 32), 0.5))


def same(one, other):
    return (
        one["keys"] == other["keys"]
        and torch.equal(one["data"], other["data"])
        and torch.equal(one["target"], other["target"])
    )


def test_a_batch_is_what_the_trainer_takes(dataset):
    batch = dataset[0]
    assert (batch["data"].shape, batch["data"].dtype) == ((4, 1, 32, 32), torch.float32)
    assert (batch["target"].shape, batch["target"].dtype) == ((4, 1, 32, 32), torch.int16)
    assert len(batch["keys"]) == 4
    assert int(batch["target"].min()) >= 0
    assert int(batch["target"].max()) in range(1, 7)


def test_crops_are_cut_from_the_case(folder):
    import blosc2

    reader = CropReader(folder, (32, 32), 1.0)
    crop = schedule_of(folder).batch(0)[0]
    image, mask = reader.read(crop)
    whole, labels = (blosc2.open(str(folder / f"{crop.case}{s}.b2nd"))[:][0] for s in ("", "_seg"))
    places = [
        (z, y, x)
        for z in range(whole.shape[0])
        for y in range(whole.shape[1] - 31)
        for x in range(whole.shape[2] - 31)
        if whole[z, y, x] == image[0, 0, 0]
    ]
    assert any(
        np.array_equal(whole[z, y : y + 32, x : x + 32], image[0])
        and np.array_equal(np.maximum(labels[z, y : y + 32, x : x + 32], 0), mask[0])
        for z, y, x in places
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_one_sequence(dataset, workers):
    plain = list(batches(dataset, range(5), workers=0, pin_memory=False))
    worked = list(batches(dataset, range(5), workers=workers, pin_memory=False))
    assert len(plain) == len(worked) == 5
    assert all(same(a, b) for a, b in zip(plain, worked, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_start_in_the_middle_goes_on_with_the_same_batches(dataset, workers):
    plain = list(batches(dataset, range(6), workers=0, pin_memory=False))
    resumed = list(batches(dataset, range(4, 6), workers=workers, pin_memory=False))
    assert [same(a, b) for a, b in zip(plain[4:], resumed, strict=True)] == [True, True]


def test_nothing_is_left_to_load_after_the_last_batch(dataset):
    assert list(batches(dataset, range(7, 7), workers=0, pin_memory=False)) == []


def test_it_travels_to_spawned_workers_without_open_files(dataset):
    first = dataset[1]
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.reader._cases == {}
    assert same(copy[1], first)


def test_processes_shares_make_the_batch(folder):
    reader = CropReader(folder, (32, 32), 0.5)
    schedule = schedule_of(folder)
    parts = [BatchDataset(schedule, reader, share)[2] for share in (slice(0, 3), slice(3, 4))]
    whole = BatchDataset(schedule, reader)[2]
    assert torch.equal(torch.cat([p["data"] for p in parts]), whole["data"])
    assert [key for part in parts for key in part["keys"]] == whole["keys"]


def test_a_missing_case_is_named(folder):
    with pytest.raises(DatasetError, match=r"absent.b2nd: preprocessed file is missing; run 'paraspinal plan' again"):
        CropReader(folder, (32, 32), 0.5).read(Crop("absent", (0,)))
