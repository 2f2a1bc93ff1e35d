import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

from helpers import trainings

from paraspinal_nnunet import trainers
from paraspinal_nnunet.nnunet.splits import read_splits
from paraspinal_nnunet.protocol.paper import PAPER
from paraspinal_nnunet.training.augmentation.crops import AugmentedCropReader

LEAVES = {
    "nnUNetTrainerParaspinalDA": {},
    "nnUNetTrainerParaspinalDANoLabelExchange": {"augmentation.exchange_labels": (True, False)},
    "nnUNetTrainerParaspinalDAPhysical": {"augmentation.space": ("voxel", "physical")},
}


def trainer_of(tiny, name="nnUNetTrainerParaspinalDA", configuration="2d", fold=0, **overrides):
    plans = json.loads(tiny.plans_file.read_text())
    plans["paraspinal"]["overrides"].update(overrides)
    dataset = json.loads((tiny.preprocessed / "dataset.json").read_text())
    return getattr(trainers, name)(plans, configuration, fold, dataset, torch.device("cpu"))


@pytest.mark.parametrize("name", LEAVES)
def test_each_leaf_changes_its_own_setting_and_no_other(tiny, name):
    from paraspinal_nnunet.protocol.paper import entries

    settings = getattr(trainers, name).settings
    papers = {e.key: e.value for e in entries(PAPER)}
    changed = {e.key: (papers[e.key], e.value) for e in entries(settings) if e.value != papers[e.key]}
    assert changed == {"augmentation": ("none", "paper"), **LEAVES[name]}
    reader = trainer_of(tiny, name)._reader("train", ["a"])
    assert (reader.table is None) == ("exchange_labels" in str(LEAVES[name]))
    assert reader.pool.image("0000").space == settings.augmentation.space


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_training_batches_come_from_the_pool_and_test_cases_stay_as_they_are(tiny, configuration):
    trainer = trainer_of(tiny, configuration=configuration)
    train, val = trainer.get_dataloaders()
    batch, test_batch = next(train), next(val)
    assert all(key.isdecimal() and len(key) == 4 for key in batch["keys"])
    assert batch["data"].shape == test_batch["data"].shape
    split = read_splits(tiny.preprocessed / "splits_final.json")[0]
    assert set(test_batch["keys"]) <= set(split["val"])
    reader = trainer._reader("train", split["train"])
    assert {reader.pool.image(i).case for i in reader.pool.ids} == set(split["train"])


def test_batches_are_those_of_the_reader_and_never_seen_in_the_plain_arm(tiny):
    augmented, plain = trainer_of(tiny), trainer_of(tiny, "nnUNetTrainerParaspinal")
    first, again = (next(trainer_of(tiny).get_dataloaders()[0])["data"].numpy() for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, next(plain.get_dataloaders()[0])["data"].numpy())
    assert isinstance(augmented._reader("train", ["a"]), AugmentedCropReader)
    assert not isinstance(augmented._reader("val", ["a"]), AugmentedCropReader)


def test_plans_reach_the_pool(tiny):
    trainer = trainer_of(tiny, **{"augmentation.pool": 5, "seed": 3, "cache": "ram"})
    reader = trainer._reader("train", ["a", "b"])
    assert len(reader.pool.ids) == 5
    assert (reader.pool.seed, reader.in_memory, reader.spacing_mm) == (3, True, (15.625, 3.12, 3.12))


def test_the_training_table_has_the_section_only_where_there_is_augmentation(tiny):
    rows = {row.key: row for row in trainer_of(tiny).settings_table()}
    assert rows["augmentation.elastic_sigma"].value == (6.0, 8.0)
    assert rows["augmentation.elastic_sigma"].is_papers
    plain = {row.key for row in trainer_of(tiny, "nnUNetTrainerParaspinal").settings_table()}
    assert not any(key.startswith("augmentation.") for key in plain)


def test_a_training_step_learns_from_augmented_crops(tiny, one_thread):
    trainer = trainer_of(tiny)
    trainer.initialize()
    batches, _ = trainer.get_dataloaders()
    losses = [float(trainer.train_step(next(batches))["loss"]) for _ in range(2)]
    assert np.isfinite(losses).all()


@pytest.mark.slow
def test_two_trainings_end_in_the_same_weights_whichever_cache_and_when_resumed(tiny, one_thread):
    """40 steps: from the device's cache, again, and begun from disk, killed and ended from the device's cache."""

    def training(fold=0, **given):
        return trainings.trainer_of(
            tiny, trainer=trainers.nnUNetTrainerParaspinalDA, iterations=40, iterations_per_epoch=15, fold=fold, **given
        )

    digests = []
    for _ in range(2):
        trainer = training(cache="device")
        trainer.run_training()
        assert trainer.cache_taken == "device"
        final = trainings.files(trainer)["checkpoint_final.pth"]
        digests.append(trainings.digest(final))
        final.unlink()
    trainings.train_until_killed(training(cache="disk"), epoch=1)
    resumed = training(cache="device", resume=True)
    trainings.resume(resumed)
    resumed.run_training()
    digests.append(trainings.digest(trainings.files(resumed)["checkpoint_final.pth"]))
    assert len(set(digests)) == 1
