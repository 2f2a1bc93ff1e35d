"""Every named choice changes what it says, and nothing else."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from torch import nn

from paraspinal_nnunet import trainers
from paraspinal_nnunet.errors import ProtocolError, TrainingRefusedError
from paraspinal_nnunet.network import build_in_planes, build_network, neighbouring_slices
from paraspinal_nnunet.planning.run import PlanRequest, plan
from paraspinal_nnunet.protocol.paper import ORTHOGONAL
from paraspinal_nnunet.protocol.plans import ENTRY
from paraspinal_nnunet.trainers.base import ParaspinalTrainer
from paraspinal_nnunet.trainers.listing import list_trainers
from paraspinal_nnunet.training.augmentation.nnunet import NnunetAugmentedReader
from paraspinal_nnunet.training.sampling import Crop

pytestmark = pytest.mark.usefixtures("one_thread")
OURS = [getattr(trainers, n) for n in trainers.__all__ if issubclass(getattr(trainers, n), ParaspinalTrainer)]


def made(dataset, trainer, configuration="2d", plans_name=None, **overrides):
    file = dataset.preprocessed / f"{plans_name or dataset.plans_name}.json"
    plans = json.loads(file.read_text())
    plans[ENTRY]["overrides"] |= overrides
    dataset_json = json.loads((dataset.preprocessed / "dataset.json").read_text())
    return trainer(plans, configuration, 0, dataset_json, torch.device("cpu"))


@pytest.mark.parametrize("trainer", OURS, ids=lambda t: t.__name__.removeprefix("nnUNetTrainerParaspinal"))
def test_every_trainer_takes_a_step(tiny, trainer):
    """The tiny patch of 32 is a multiple of every network's 16."""
    one = made(tiny, trainer)
    one.initialize()
    train, val = one.get_dataloaders()
    before = [p.detach().clone() for p in one.network.parameters()]
    assert np.isfinite(one.train_step(next(train))["loss"])
    assert any(not torch.equal(a, b) for a, b in zip(before, one.network.parameters(), strict=True))
    assert next(val)["data"].shape[1:] == (1, 32, 32)
    assert one.inference_allowed_mirroring_axes is None


def test_the_plugin_module_and_the_list_name_the_same_trainers(kept_environment):
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from paraspinal_nnunet.nnunet.compat import register_trainers

    register_trainers()
    listed = {entry.name for entry in list_trainers()}
    assert listed == set(trainers.__all__)
    for name in ("nnUNetTrainerParaspinalGroupNorm", "nnUNetTrainerBaseline"):
        assert recursive_find_trainer_class_by_name(name) is getattr(trainers, name)


def test_the_list_tells_each_change_against_the_paper():
    differences = {entry.name: entry.difference for entry in list_trainers()}
    assert differences["nnUNetTrainerParaspinal"] == "none"
    assert differences["nnUNetTrainerParaspinalBatchNorm"] == "norm batch instead of instance"
    assert differences["nnUNetTrainerParaspinalSGDPoly"].split("; ") == [
        "optimizer sgd instead of adamw",
        "learning_rate 0.01 instead of 0.001",
        "weight_decay 3e-05 instead of 0.0001",
        "schedule polynomial instead of constant",
    ]
    assert differences["nnUNetTrainerBaseline"] == "nnU-Net's own protocol"


def test_normalisation_layers_are_exchanged_one_for_one():
    counts = {}
    for norm, layer in (("instance", nn.InstanceNorm2d), ("batch", nn.BatchNorm2d), ("group", nn.GroupNorm)):
        network = build_network(spatial_dims=2, in_channels=1, out_channels=7, norm=norm)
        counts[norm] = sum(isinstance(m, layer) for m in network.modules())
        others = (nn.InstanceNorm2d, nn.BatchNorm2d, nn.GroupNorm)
        assert counts[norm] == sum(isinstance(m, others) for m in network.modules())
    assert counts["instance"] == counts["batch"] == counts["group"] > 0


def test_groups_divide_the_channels():
    network = build_network(spatial_dims=2, in_channels=1, out_channels=7, norm="group")
    groups = {m.num_channels: m.num_groups for m in network.modules() if isinstance(m, nn.GroupNorm)}
    assert groups == {7: 1, 16: 8, 32: 8, 64: 8, 128: 8, 256: 8}


def test_quarter_and_double_batch_follow_the_plans(tiny):
    """The tiny plans have batches of 4."""
    for trainer, size in (
        (trainers.nnUNetTrainerParaspinalQuarterBatch, 1),
        (trainers.nnUNetTrainerParaspinalDoubleBatch, 8),
    ):
        one = made(tiny, trainer)
        one.initialize()
        assert next(one.get_dataloaders()[0])["data"].shape == (size, 1, 32, 32)


def test_polynomial_rate_falls_as_nnunets(tiny):
    """nnU-Net: lr (1 - epoch / epochs) ^ 0.9; 3 epochs here."""
    one = made(tiny, trainers.nnUNetTrainerParaspinalSGDPoly)
    one.initialize()
    one.lr_scheduler.step(1)
    assert one.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 * (1 - 1 / 3) ** 0.9)
    group = one.optimizer.param_groups[0]
    assert (type(one.optimizer), group["momentum"], group["nesterov"]) == (torch.optim.SGD, 0.99, True)


def test_batch_norm_over_micro_batches_is_refused(tiny):
    with pytest.raises(TrainingRefusedError, match="batch normalisation over micro-batches is another method"):
        made(tiny, trainers.nnUNetTrainerParaspinalBatchNorm, micro_batch_size=2)


def test_plans_that_set_another_network_are_refused(tiny):
    with pytest.raises(
        TrainingRefusedError, match="stands for a network of its own, but the plans 'Tiny' set channels"
    ):
        made(tiny, trainers.nnUNetTrainerParaspinalDeep, channels=[8, 16, 32, 64, 128, 256])


def test_cache_in_memory_gives_the_same_batches(tiny):
    disk, ram = (made(tiny, trainers.nnUNetTrainerParaspinal, cache=c).get_dataloaders()[0] for c in ("disk", "ram"))
    one, other = next(disk), next(ram)
    assert torch.equal(one["data"], other["data"])
    assert torch.equal(one["target"], other["target"])


class TestNnunetAugmentation:
    def reader(self, tiny):
        one = made(tiny, trainers.nnUNetTrainerParaspinalNnunetDA)
        reader = one._reader("train", [])
        assert isinstance(reader, NnunetAugmentedReader)
        return reader, one

    def test_a_crop_is_always_augmented_alike(self, tiny):
        reader, one = self.reader(tiny)
        case = one.do_split()[0][0]
        state = np.random.get_state()[1].copy(), torch.get_rng_state()
        image, labels = reader.read(Crop(case, (0, 0, 0, 5)))
        again, _ = reader.read(Crop(case, (0, 0, 0, 5)))
        other, _ = reader.read(Crop(case, (0, 0, 0, 6)))
        assert np.array_equal(image, again)
        assert not np.array_equal(image, other)
        assert image.shape == labels.shape == (1, 32, 32)
        assert np.array_equal(np.random.get_state()[1], state[0])
        assert torch.equal(torch.get_rng_state(), state[1])

    def test_it_never_mirrors(self, tiny):
        from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform

        reader, _ = self.reader(tiny)
        assert not any(isinstance(t, MirrorTransform) for t in reader.transforms.transforms)


class TestTwoAndAHalf:
    def test_neighbours_become_channels_and_the_ends_are_repeated(self):
        stack = torch.arange(4.0).reshape(1, 1, 4, 1, 1)
        assert neighbouring_slices(stack, 3).squeeze().tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]

    def test_channels_stay_together_and_batches_apart(self):
        stack = torch.stack([torch.arange(8.0).reshape(2, 4), 10 + torch.arange(8.0).reshape(2, 4)])[..., None, None]
        slices = neighbouring_slices(stack, 3).squeeze()
        assert slices[1].tolist() == [0, 4, 1, 5, 2, 6]
        assert slices[4].tolist() == [10, 14, 10, 14, 11, 15]

    def test_each_slice_is_segmented_from_itself_and_its_neighbours_alone(self):
        torch.manual_seed(0)
        network = build_network(spatial_dims=2, in_channels=1, out_channels=7, slices=3).eval()
        stack = torch.rand(2, 1, 5, 32, 32)
        changed = stack.clone()
        changed[:, :, 0] += 1
        with torch.no_grad():
            difference = (network(stack) - network(changed)).abs().amax(dim=(0, 1, 3, 4))
        assert network(stack).shape == (2, 7, 5, 32, 32)
        assert (difference > 0).tolist() == [True, True, False, False, False]

    def test_an_even_number_of_slices_is_refused(self):
        with pytest.raises(ProtocolError, match="odd number of slices"):
            build_network(spatial_dims=2, in_channels=1, out_channels=7, slices=2)

    @pytest.mark.slow
    def test_it_is_planned_beside_the_others_and_trained(self, tiny_copy, thread_pools):
        overrides = json.loads(tiny_copy.plans_file.read_text())[ENTRY]["overrides"]
        overrides = {k: v for k, v in overrides.items() if not k.startswith("2.5d")} | {
            "2.5d.patch_size": [4, 32, 32], "2.5d.batch_size": 2, "2.5d.crops_per_case": 1,
        }  # fmt: skip
        plan(PlanRequest(501, ["2.5d"], plans_name="Half", overrides=overrides, processes=1))
        plan(PlanRequest(501, ["2d"], plans_name="Half", overrides=overrides, processes=1))
        plans = json.loads((tiny_copy.preprocessed / "Half.json").read_text())
        assert set(plans["configurations"]) == {"2d", "2.5d"}
        identifiers = {c["data_identifier"] for c in plans["configurations"].values()}
        assert len(identifiers) == 1
        one = made(tiny_copy, trainers.nnUNetTrainerParaspinal, "2.5d", "Half")
        one.initialize()
        batch = next(one.get_dataloaders()[0])
        assert batch["data"].shape == (2, 1, 4, 32, 32)
        assert np.isfinite(one.train_step(batch)["loss"])


class TestOrthogonal:
    """Three 2.5D networks, one per plane; small channels, so that a forward pass takes milliseconds."""

    def network(self):
        torch.manual_seed(0)
        small = {"spatial_dims": 2, "channels": (4, 8), "strides": (2,), "slices": 3}
        return build_in_planes(3, in_channels=1, out_channels=7, **small).eval()

    def test_probabilities_are_the_geometric_mean_of_those_of_the_planes(self):
        """Each plane's network is asked by hand, with the axes exchanged and back again."""
        network, x = self.network(), torch.rand(2, 1, 4, 6, 8)
        orders = {"axial": (0, 1, 2, 3, 4), "coronal": (0, 1, 3, 2, 4), "sagittal": (0, 1, 4, 2, 3)}
        back = {"axial": (0, 1, 2, 3, 4), "coronal": (0, 1, 3, 2, 4), "sagittal": (0, 1, 3, 4, 2)}
        with torch.no_grad():
            each = [network.planes[p](x.permute(orders[p])).permute(back[p]).softmax(1) for p in orders]
            found = network(x)
        product = (each[0] * each[1] * each[2]) ** (1 / 3)
        assert found.shape == (2, 7, 4, 6, 8)
        assert torch.allclose(found.softmax(1), product / product.sum(1, keepdim=True), atol=1e-6)

    def test_every_plane_learns_from_every_voxel(self):
        """Cross-entropy's gradient at the mean of three logits is (p - y) / 3 for each plane, however wrong it is."""
        network, given = self.network(), {}

        def note(plane, _inputs, out):
            out.register_hook(lambda gradient: given.update({plane: gradient}))

        for plane in network.planes.values():
            plane.register_forward_hook(note)
        bias = [p for p in network.planes["sagittal"].parameters() if p.shape == (7,)][-1]
        bias.data[2] += 30  # it calls everything left multifidus
        logits = network(torch.rand(1, 1, 4, 6, 8))
        torch.nn.functional.cross_entropy(logits, torch.ones(1, 4, 6, 8, dtype=torch.long), reduction="sum").backward()
        expected = (logits.softmax(1) - torch.nn.functional.one_hot(torch.tensor(1), 7)[:, None, None, None]) / 3
        back = {"axial": (0, 1, 2, 3, 4), "coronal": (0, 1, 3, 2, 4), "sagittal": (0, 1, 3, 4, 2)}
        for name, axes in back.items():
            assert torch.allclose(given[network.planes[name]].permute(axes), expected, atol=1e-6), name

    def test_a_voxel_is_seen_by_its_neighbours_in_each_plane(self):
        """Beyond the neighbouring slices of all three planes through it nothing changes."""
        network, x = self.network(), torch.rand(1, 1, 8, 8, 8)
        changed = x.clone()
        changed[0, 0, 0, 0, 0] += 5
        with torch.no_grad():
            moved = (network(x) - network(changed)).abs().amax(1)[0] > 1e-7
        assert moved[:2].any()
        assert moved[2:, :2].any()
        assert moved[2:, 2:, :2].any()
        assert not moved[2:, 2:, 2:].any()

    @pytest.mark.slow
    def test_it_is_planned_trained_and_predicts(self, tiny_copy, thread_pools):
        overrides = json.loads(tiny_copy.plans_file.read_text())[ENTRY]["overrides"]
        overrides = {k: v for k, v in overrides.items() if not k.startswith("2.5d")} | {
            f"{ORTHOGONAL}.patch_size": [8, 32, 32], f"{ORTHOGONAL}.batch_size": 2, f"{ORTHOGONAL}.crops_per_case": 1,
        }  # fmt: skip
        plan(PlanRequest(501, [ORTHOGONAL], plans_name="Planes", overrides=overrides, processes=1))
        one = made(tiny_copy, trainers.nnUNetTrainerParaspinal, ORTHOGONAL, "Planes")
        one.initialize()
        assert set(dict(one.network.planes)) == {"axial", "coronal", "sagittal"}
        batches = one.get_dataloaders()[0]
        losses = [float(one.train_step(next(batches))["loss"]) for _ in range(2)]
        assert np.isfinite(losses).all()
        grads = [p.grad.abs().sum() for plane in one.network.planes.values() for p in list(plane.parameters())[:1]]
        assert all(g > 0 for g in grads)
