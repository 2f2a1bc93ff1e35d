"""The device's cache cuts the very same crops, and is taken only where there is room for it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
blosc2 = pytest.importorskip("blosc2")

from paraspinal_nnunet.errors import ProtocolError
from paraspinal_nnunet.protocol.overrides import override
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.training import cache
from paraspinal_nnunet.training.augmentation import deformation, on_device
from paraspinal_nnunet.training.augmentation.crops import AugmentedCropReader
from paraspinal_nnunet.training.augmentation.elastic import node_counts
from paraspinal_nnunet.training.augmentation.on_device import DeviceAugmentedReader
from paraspinal_nnunet.training.augmentation.transform import AugmentedPool
from paraspinal_nnunet.training.cache import GIB, batch_bytes, cached_bytes, choose_cache
from paraspinal_nnunet.training.device_cache import DeviceCropReader
from paraspinal_nnunet.training.loading import BatchDataset, CropReader, batches_ahead
from paraspinal_nnunet.training.losses import build_loss
from paraspinal_nnunet.training.sampling import BatchSchedule, Crop

SHAPES = {"a": (6, 30, 40), "b": (3, 50, 20), "c": (9, 16, 64)}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three cases of two channels and different sizes; labels with -1, muscles and an ignored 7."""
    path = tmp_path_factory.mktemp("preprocessed")
    for number, (case, shape) in enumerate(SHAPES.items()):
        generator = np.random.default_rng(number)
        image = generator.normal(size=(2, *shape)).astype(np.float32)
        labels = generator.choice([-1, 0, 0, 0, 1, 4, 7], size=(1, *shape)).astype(np.int8)
        blosc2.asarray(image, urlpath=str(path / f"{case}.b2nd"), mode="w")
        blosc2.asarray(labels, urlpath=str(path / f"{case}_seg.b2nd"), mode="w")
    return path


@pytest.mark.parametrize("patch", [(16, 16), (33, 48), (4, 16, 16), (8, 64, 32)])
@pytest.mark.parametrize(("ignore", "by_muscle"), [(None, False), (7, False), (7, True)])
def test_crops_on_a_device_are_the_loading_processes_bit_for_bit(folder, patch, ignore, by_muscle):
    """Also where the patch is larger than the image, in 2D, 2.5D and 3D, for every share of a batch."""
    plain = CropReader(folder, patch, 0.5, ignore_label=ignore, by_muscle=by_muscle)
    schedule = BatchSchedule(tuple(SHAPES), batch_size=9, crops_per_case=2, seed=0, fold=0)
    on_device = DeviceCropReader(plain, tuple(SHAPES), CPU)
    assert_same_batches(*(BatchDataset(schedule, reader, slice(1, 8)) for reader in (plain, on_device)))


def assert_same_batches(one, other, count=6):
    """In their order, each one begun before the one before it is used, and from the midst."""
    for number, found in enumerate(batches_ahead(other, range(count))):
        assert_same(found, one[number])
    assert_same(next(batches_ahead(other, range(3, 5))), one[3])


def assert_same(found, expected):
    assert found["keys"] == expected["keys"]
    for key, kind in (("data", torch.float32), ("target", torch.int16)):
        assert found[key].dtype == kind
        assert found[key].is_contiguous()
        assert torch.equal(found[key], expected[key])


TABLE = {0: 0, 1: 4, 4: 1, 7: 7}


def augmented(folder, patch, table=TABLE, by_muscle=False, **changes):
    settings = {"pool": 7, "originals": True, "probability": 0.7, **changes}
    pool = AugmentedPool(tuple(SHAPES), 0, 0, replace(PAPER.augmentation, **settings))
    given = {"pool": pool, "spacing_mm": (5.0, 0.4, 0.4), "table": table, "ignore_label": 7}
    given["by_muscle"] = by_muscle
    return AugmentedCropReader(folder, patch, 0.5, **given)


@pytest.mark.parametrize("patch", [(16, 16), (33, 48), (4, 16, 16), (8, 40, 24)])
@pytest.mark.parametrize("changes", [{}, {"space": "physical", "by_muscle": True}, {"table": None}], ids=str)
def test_augmented_crops_on_a_device_are_the_loading_processes_bit_for_bit(folder, monkeypatch, patch, changes):
    """With another number of proposals and of voxels looked at in one go, as on a GPU, where fields are drawn once."""
    reader = augmented(folder, patch, **changes)
    monkeypatch.setitem(on_device.ROUNDS_AHEAD, "cpu", 3)
    monkeypatch.setitem(on_device.CROP_VOXELS, "cpu", 3 * int(np.prod(patch)))
    monkeypatch.setitem(deformation.VOXELS, "cpu", 2000)
    schedule = BatchSchedule(reader.pool.ids, batch_size=5, crops_per_case=2, seed=0, fold=0)
    there = DeviceAugmentedReader(reader, CPU)
    assert_same_batches(BatchDataset(schedule, reader), BatchDataset(schedule, there), count=2)
    crop = schedule.batch(5)[0]
    assert all(np.array_equal(a, b) for a, b in zip(there.read(crop), reader.read(crop), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("by_muscle", [False, True])
def test_centres_that_no_proposal_meets_are_those_of_the_loading_processes(tmp_path, by_muscle):
    """Two muscle voxels of 7,200: most searches go on after the proposals that were looked at in one go."""
    labels = np.zeros((1, *SHAPES["a"]), np.int8)
    labels[0, 3, 11, 20:22] = 1
    blosc2.asarray(labels, urlpath=str(tmp_path / "a_seg.b2nd"), mode="w")
    blosc2.asarray(np.ones((1, *SHAPES["a"]), np.float32), urlpath=str(tmp_path / "a.b2nd"), mode="w")
    reader = augmented(tmp_path, (8, 8))
    reader.pool, reader.by_muscle = replace(reader.pool, cases=("a",)), by_muscle
    schedule = BatchSchedule(reader.pool.ids[:2], batch_size=6, crops_per_case=3, seed=0, fold=0)
    assert_same_batches(BatchDataset(schedule, reader), BatchDataset(schedule, DeviceAugmentedReader(reader, CPU)), 4)


@pytest.mark.parametrize("patch", [(16, 16), (8, 40, 24)])
def test_nothing_of_a_batch_is_left_on_another_device(folder, monkeypatch, patch):
    """Torch's meta device holds shapes alone and refuses tensors of another device, as a GPU does."""
    meta = torch.device("meta")
    monkeypatch.setattr(on_device, "answer", lambda values: lambda: np.zeros(values.shape, np.int64))
    crops = [Crop(case, (0, number)) for number, case in enumerate(SHAPES)]
    pooled = [Crop(f"{number:04}", (0, number)) for number in range(5)]
    plain = CropReader(folder, patch, 0.5)
    readers = (DeviceCropReader(plain, tuple(SHAPES), meta), DeviceAugmentedReader(augmented(folder, patch), meta))
    for reader, wanted in zip(readers, (crops, pooled), strict=True):
        image, labels = reader.begin(wanted)()
        assert (image.device, labels.device) == (meta, meta)
        assert (image.shape, labels.shape) == ((len(wanted), 2, *patch), (len(wanted), 1, *patch))
        logits = torch.empty((len(wanted), 8, *patch), device=meta, requires_grad=True)
        value = build_loss("dice_ce")(logits, labels)
        value.backward()
        assert (value.device, logits.grad.device) == (meta, meta)


def test_half_precision_rounds_images_and_nothing_else(folder):
    plain = CropReader(folder, (16, 16), 0.5)
    crop = Crop("a", (0, 1))
    image, labels = DeviceCropReader(plain, ["a"], CPU, "fp16").read(crop)
    expected, expected_labels = plain.read(crop)
    assert np.array_equal(image, expected.astype(np.float16).astype(np.float32))
    assert np.array_equal(labels, expected_labels)
    crop = Crop("0000", (0, 1))
    image, labels = DeviceAugmentedReader(augmented(folder, (16, 16)), CPU, "fp16").read(crop)
    expected, expected_labels = augmented(folder, (16, 16)).read(crop)
    assert 0 < np.abs(image - expected).max() < 2**-11 * np.abs(expected).max() * 2
    assert np.array_equal(labels, expected_labels)


def test_a_case_is_read_once(folder, monkeypatch):
    reader = DeviceCropReader(CropReader(folder, (16, 16), 0.5), tuple(SHAPES), CPU)
    schedule = BatchSchedule(tuple(SHAPES), batch_size=3, crops_per_case=1, seed=0, fold=0)
    first = BatchDataset(schedule, reader)[0]
    monkeypatch.setattr(blosc2, "open", lambda **_: pytest.fail("read again"))
    assert torch.equal(BatchDataset(schedule, reader)[0]["data"], first["data"])
    assert len(pickle.dumps(CropReader(folder, (16, 16), 0.5))) < 10_000


def test_the_memory_of_cases_and_batches(folder):
    """6 x 30 x 40 voxels of two float32 channels and an int16 label: 10 bytes each."""
    assert cached_bytes(PAPER, folder, ["a"]) == 7200 * 10
    assert cached_bytes(PAPER, folder, ["a", "b"]) == (7200 + 3000) * 10
    assert cached_bytes(override(PAPER, {"cache_precision": "fp16"}), folder, ["a"]) == 7200 * 6
    assert batch_bytes(PAPER, "2d", processes=3) == batch_bytes(PAPER, "2d") * 67 // 200  # the largest share
    assert batch_bytes(PAPER, "2d") / GIB == pytest.approx(200 * 256 * 256 * 2000 / GIB)
    assert batch_bytes(override(PAPER, {"micro_batch_size": 50}), "2d") == batch_bytes(PAPER, "2d") / 4
    assert batch_bytes(override(PAPER, {"channels": [32, 64, 128, 256, 512]}), "2d") == 2 * batch_bytes(PAPER, "2d")


def test_the_memory_of_random_fields(folder):
    """1,000 images of cases of 2 x 8 x 10 and 1 x 13 x 5 blocks of 4 voxels: three float32 numbers a block."""
    assert [node_counts(SHAPES[case]) for case in "ab"] == [(2, 8, 10), (1, 13, 5)]
    protocol = override(PAPER, {"augmentation": "paper"})
    fields = cached_bytes(protocol, folder, ["a", "b"]) - cached_bytes(PAPER, folder, ["a", "b"])
    assert fields == 500 * (160 + 65) * 12
    made = DeviceAugmentedReader(augmented(folder, (16, 16), pool=30, probability=1.0, originals=False), CPU)
    assert made._maps.fields.noise.numel() * 4 == 10 * 12 * sum(np.prod(node_counts(s)) for s in SHAPES.values())


@pytest.mark.parametrize(
    ("wanted", "kind", "augmentation", "free_gib", "taken"),
    [
        ("auto", "cpu", "none", None, "disk"),
        ("auto", "mps", "paper", None, "disk"),
        ("auto", "cuda", "none", 80, "device"),
        ("auto", "cuda", "none", 28, "disk"),  # 24.4 GiB for the batch, 85 % of 28 are 23.8
        ("auto", "cuda", "none", 29, "device"),
        ("auto", "cuda", "paper", 80, "device"),
        ("auto", "cuda", "paper", 28, "disk"),
        ("device", "cpu", "paper", None, "device"),
        ("auto", "cuda", "nnunet", 80, "disk"),
        ("device", "cpu", "none", None, "device"),
        ("device", "cuda", "none", 80, "device"),
        ("ram", "cuda", "none", 80, "ram"),
        ("disk", "cuda", "none", 80, "disk"),
    ],
)
def test_where_the_cases_stay(folder, monkeypatch, wanted, kind, augmentation, free_gib, taken):
    monkeypatch.setattr(cache, "free_bytes", lambda device: None if free_gib is None else free_gib * GIB)
    protocol = override(PAPER, {"cache": wanted, "augmentation": augmentation})
    found = choose_cache(protocol, "2d", folder=folder, cases=list(SHAPES), device=torch.device(kind), processes=1)
    assert found == taken


def test_a_device_that_is_too_small_is_refused_before_memory_runs_out(folder, monkeypatch):
    monkeypatch.setattr(cache, "free_bytes", lambda device: 8 * GIB)
    given = {"folder": folder, "cases": list(SHAPES), "device": torch.device("cuda"), "processes": 1}
    with pytest.raises(ProtocolError, match=r"a step about 24\.4 GiB of the device's memory, 8\.0 GiB are free"):
        choose_cache(override(PAPER, {"cache": "device"}), "2d", **given)
    with pytest.raises(ProtocolError, match="nnU-Net's augmentation runs in loading processes"):
        choose_cache(override(PAPER, {"cache": "device", "augmentation": "nnunet"}), "2d", **given)
    with pytest.raises(ProtocolError, match="Apple's GPUs lack the augmentation's double precision"):
        choose_cache(
            override(PAPER, {"cache": "device", "augmentation": "paper"}),
            "2d",
            **given | {"device": torch.device("mps")},
        )
