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
from paraspinal_nnunet.training.cache import GIB, batch_bytes, cached_bytes, choose_cache
from paraspinal_nnunet.training.loading import BatchDataset, CropReader, DeviceCropReader, batches
from paraspinal_nnunet.training.sampling import BatchSchedule

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
@pytest.mark.parametrize("ignore", [None, 7])
def test_crops_on_a_device_are_the_loading_processes_bit_for_bit(folder, patch, ignore):
    """Also where the patch is larger than the image, in 2D, 2.5D and 3D, for every share of a batch."""
    plain = CropReader(folder, patch, 0.5, ignore_label=ignore)
    schedule = BatchSchedule(tuple(SHAPES), batch_size=9, crops_per_case=2, seed=0, fold=0)
    one, other = (BatchDataset(schedule, reader, slice(1, 8)) for reader in (plain, DeviceCropReader(plain, CPU)))
    for number in range(6):
        expected, found = one[number], other[number]
        assert found["keys"] == expected["keys"]
        for key, kind in (("data", torch.float32), ("target", torch.int16)):
            assert found[key].dtype == kind
            assert torch.equal(found[key], expected[key])
    assert torch.equal(next(batches(other, range(3, 4), workers=0, pin_memory=False))["data"], one[3]["data"])


def test_a_case_is_read_once(folder, monkeypatch):
    reader = DeviceCropReader(CropReader(folder, (16, 16), 0.5), CPU)
    schedule = BatchSchedule(tuple(SHAPES), batch_size=3, crops_per_case=1, seed=0, fold=0)
    first = BatchDataset(schedule, reader)[0]
    monkeypatch.setattr(blosc2, "open", lambda **_: pytest.fail("read again"))
    assert torch.equal(BatchDataset(schedule, reader)[0]["data"], first["data"])
    assert len(pickle.dumps(CropReader(folder, (16, 16), 0.5))) < 10_000


def test_the_memory_of_cases_and_batches(folder):
    """6 x 30 x 40 voxels of two float32 channels and an int16 label: 10 bytes each."""
    assert cached_bytes(folder, ["a"]) == 7200 * 10
    assert cached_bytes(folder, ["a", "b"]) == (7200 + 3000) * 10
    assert batch_bytes(PAPER, "2d") / GIB == pytest.approx(200 * 256 * 256 * 2000 / GIB)
    assert batch_bytes(override(PAPER, {"micro_batch_size": 50}), "2d") == batch_bytes(PAPER, "2d") / 4
    assert batch_bytes(override(PAPER, {"channels": [32, 64, 128, 256, 512]}), "2d") == 2 * batch_bytes(PAPER, "2d")


@pytest.mark.parametrize(
    ("wanted", "kind", "augmentation", "free_gib", "taken"),
    [
        ("auto", "cpu", "none", None, "disk"),
        ("auto", "cuda", "none", 80, "device"),
        ("auto", "cuda", "none", 28, "disk"),  # 24.4 GiB for the batch, 85 % of 28 are 23.8
        ("auto", "cuda", "none", 29, "device"),
        ("auto", "cuda", "paper", 80, "disk"),
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
    found = choose_cache(protocol, "2d", folder=folder, cases=list(SHAPES), device=torch.device(kind))
    assert found == taken


def test_a_device_that_is_too_small_is_refused_before_memory_runs_out(folder, monkeypatch):
    monkeypatch.setattr(cache, "free_bytes", lambda device: 8 * GIB)
    given = {"folder": folder, "cases": list(SHAPES), "device": torch.device("cuda")}
    with pytest.raises(ProtocolError, match=r"a step about 24\.4 GiB of the device's memory, 8\.0 GiB are free"):
        choose_cache(override(PAPER, {"cache": "device"}), "2d", **given)
    augmented = replace(override(PAPER, {"cache": "device"}), training=replace(PAPER.training, augmentation="paper"))
    with pytest.raises(ProtocolError, match="augmented crops are made by loading processes"):
        choose_cache(augmented, "2d", **given)
